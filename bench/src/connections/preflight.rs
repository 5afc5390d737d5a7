//! Whether what was asked for can be done: every reason why not is found before anything is
//! started.

use super::plan::Bounds;
use crate::fail::Nonsense;
use crate::limits;
use crate::load::ExchangeKind;
use crate::server::{LONGEST_MESSAGE, ServerKind};
use std::fs::{self, OpenOptions};
use std::path::Path;

/// Bytes of memory that a connection costs the machine: both sockets with their epoll entries, and
/// a green thread.
const BYTES_A_CONNECTION: u64 = 24 << 10;
/// Processes of one run that are still reasonable.
const MOST_PROCESSES: u64 = 256;
/// Longest window of one run.
const MOST_SECONDS: u64 = 3600;
/// Most workers of one server process.
const MOST_WORKERS: u64 = 1024;

/// What was asked for, as far as it can be nonsense.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    pub(super) connections: u32,
    pub(super) exchange: ExchangeKind,
    pub(super) message: u32,
    pub(super) seconds: u64,
    pub(super) active: Option<u32>,
    pub(super) servers: &'a [ServerKind],
    pub(super) workers: Option<u64>,
    pub(super) computing: u32,
    pub(super) stack_size: u64,
    pub(super) thread_stack_size: u64,
}

/// What the machine has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) bounds: Bounds,
    /// Bytes of memory that can be had.
    pub(super) memory: u64,
    /// Files that may still be opened in the whole system, if there is a limit.
    pub(super) files: Option<u64>,
}

impl Room {
    /// Looks at this machine.
    pub(super) fn look(bounds: Bounds) -> Room {
        let readings = limits::Readings::take();
        Room {
            bounds,
            memory: readings.available,
            files: readings
                .file_max
                .map(|limit| limit.saturating_sub(readings.files)),
        }
    }

    /// The most connections that it can hold, and what bounds them.
    fn most(self) -> (u64, String) {
        let per_process = self.bounds.per_client();
        [
            (
                self.memory / BYTES_A_CONNECTION,
                format!("{} MiB of memory are available", self.memory >> 20),
            ),
            (
                per_process * (MOST_PROCESSES / 2),
                format!(
                    "{MOST_PROCESSES} processes of {} descriptors each are the most it starts",
                    self.bounds.descriptors
                ),
            ),
            (
                self.files.unwrap_or(u64::MAX) / 2,
                format!(
                    "{} more files can be opened in the system (fs.file-max)",
                    self.files.unwrap_or(u64::MAX)
                ),
            ),
        ]
        .into_iter()
        .min_by_key(|(most, _)| *most)
        .expect("the array is not empty")
    }
}

/// Finds what is wrong with a request.
pub(super) fn check(request: &Request<'_>, room: Room) -> Result<(), Nonsense> {
    let wrong = |what: String| Err(Nonsense(what));
    if request.servers.is_empty() {
        return wrong("--servers names no server; name `roving`, `threads`, or both: `--servers roving,threads`".into());
    }
    if request.connections == 0 {
        return wrong("--connections 0 leaves nothing to measure; ask for at least 1".into());
    }
    if request.message == 0 || request.message > LONGEST_MESSAGE {
        return wrong(format!(
            "--message {}: a message has 1 to {LONGEST_MESSAGE} bytes",
            request.message
        ));
    }
    if request.seconds == 0 || request.seconds > MOST_SECONDS {
        return wrong(format!(
            "--seconds {}: a measurement takes 1 to {MOST_SECONDS} seconds",
            request.seconds
        ));
    }
    if let Some(active) = request.active
        && (active == 0 || active > request.connections)
    {
        return wrong(format!(
            "--active {active}: of {connections} connections, 1 to {connections} or `all` can be active",
            connections = request.connections
        ));
    }
    if let Some(workers) = request.workers
        && (workers == 0 || workers > MOST_WORKERS)
    {
        return wrong(format!(
            "--workers {workers}: a server process has 1 to {MOST_WORKERS} workers"
        ));
    }
    // The buffer of a message lies on the stack, and the calls that fill it lie above it.
    let least = 12 * 1024 + u64::from(request.message);
    for (option, size) in [
        ("--stack-size", request.stack_size),
        ("--thread-stack-size", request.thread_stack_size),
    ] {
        if !(least..=1 << 30).contains(&size) {
            return wrong(format!(
                "{option} {size}: with this message a stack has {least} to {} bytes",
                1 << 30
            ));
        }
    }
    let (most, because) = room.most();
    if u64::from(request.connections) > most {
        return wrong(format!(
            "--connections {}: this machine can hold about {most}, since {because}; ask for at most {most}",
            request.connections
        ));
    }
    Ok(())
}

/// Finds out whether a file can be written, and leaves everything as it was.
pub(super) fn check_writable(option: &str, path: &Path) -> Result<(), Nonsense> {
    let wrong = |error: std::io::Error| {
        let shown = path.display();
        Nonsense(format!(
            "{option} {shown}: cannot be written ({error}); name a file in a directory that you may write to"
        ))
    };
    let existed = path.exists();
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(wrong)?;
    if !existed {
        fs::remove_file(path).map_err(wrong)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room {
        bounds: Bounds {
            descriptors: 20_000,
            mappings: Some(65_530),
            ports: 28_232,
            cores: 2,
        },
        memory: 16 << 30,
        files: Some(2_000_000),
    };

    fn good() -> Request<'static> {
        Request {
            connections: 100_000,
            exchange: ExchangeKind::Echo,
            message: 64,
            seconds: 10,
            active: None,
            servers: &[ServerKind::Roving],
            workers: None,
            computing: 0,
            stack_size: 64 << 10,
            thread_stack_size: 16 << 10,
        }
    }

    #[track_caller]
    fn says(request: Request<'_>, words: &[&str]) {
        let message = check(&request, ROOM).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "{message:?} does not say {word:?}");
        }
    }

    #[test]
    fn sense_passes() {
        check(&good(), ROOM).unwrap();
        check(
            &Request {
                active: Some(100_000),
                workers: Some(3),
                message: 4096,
                thread_stack_size: 1 << 16,
                ..good()
            },
            ROOM,
        )
        .unwrap();
    }

    #[test]
    fn nonsense_is_told_with_what_would_work() {
        says(
            Request {
                connections: 0,
                ..good()
            },
            &["--connections 0", "at least 1"],
        );
        says(
            Request {
                message: 0,
                ..good()
            },
            &["--message 0", "1 to 4096"],
        );
        says(
            Request {
                message: 4097,
                ..good()
            },
            &["--message 4097", "1 to 4096"],
        );
        says(
            Request {
                seconds: 0,
                ..good()
            },
            &["--seconds 0", "1 to 3600"],
        );
        says(
            Request {
                active: Some(100_001),
                ..good()
            },
            &["--active 100001", "1 to 100000"],
        );
        says(
            Request {
                active: Some(0),
                ..good()
            },
            &["--active 0", "`all`"],
        );
        says(
            Request {
                servers: &[],
                ..good()
            },
            &["--servers", "roving,threads"],
        );
        says(
            Request {
                workers: Some(0),
                ..good()
            },
            &["--workers 0", "1 to 1024"],
        );
        says(
            Request {
                stack_size: 100,
                ..good()
            },
            &["--stack-size 100"],
        );
        says(
            Request {
                thread_stack_size: 100,
                ..good()
            },
            &["--thread-stack-size 100"],
        );
        says(
            Request {
                connections: 699_052,
                ..good()
            },
            &["about 699050", "16384 MiB of memory"],
        );
    }

    #[test]
    fn the_tightest_bound_of_the_machine_is_named() {
        let request = Request {
            connections: 50_000,
            ..good()
        };
        let few_descriptors = Room {
            bounds: Bounds {
                descriptors: 256,
                ..ROOM.bounds
            },
            ..ROOM
        };
        let message = check(&request, few_descriptors).unwrap_err().to_string();
        assert!(message.contains("256 descriptors"), "{message}");
        let few_files = Room {
            files: Some(1_000),
            ..ROOM
        };
        let message = check(&request, few_files).unwrap_err().to_string();
        assert!(
            message.contains("at most 500") && message.contains("fs.file-max"),
            "{message}"
        );
    }

    #[test]
    fn looking_whether_a_file_can_be_written_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let new = directory.path().join("new.json");
        check_writable("--json", &new).unwrap();
        assert!(!new.exists());
        let old = directory.path().join("old.json");
        fs::write(&old, "kept").unwrap();
        check_writable("--json", &old).unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "kept");
        let message = check_writable("--svg", &directory.path().join("no/such/file.svg"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("--svg") && message.contains("cannot be written"),
            "{message}"
        );
    }
}
