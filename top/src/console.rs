//! The console of the program: where it is, and what it answers.

use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A dump of a thread that computes may wait for the kernel's next tick, and others may ask too.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program that can be asked.
#[derive(Debug)]
pub(crate) struct Console {
    path: PathBuf,
}

/// What was seen at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    pub(crate) pid: u32,
    pub(crate) runtimes: Vec<Runtime>,
    pub(crate) threads: Vec<Thread>,
    pub(crate) left_out: usize,
}

#[derive(Deserialize)]
struct Numbers {
    pid: u32,
    runtimes: Vec<Runtime>,
}

#[derive(Deserialize)]
struct Threads {
    threads: Vec<Thread>,
    left_out: usize,
}

/// The numbers of a runtime: of those that there are, what is shown.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Runtime {
    pub(crate) uptime: f64,
    pub(crate) spawned: u64,
    pub(crate) alive: usize,
    pub(crate) running: usize,
    pub(crate) runnable: usize,
    pub(crate) parked: usize,
    pub(crate) runs: u64,
    pub(crate) hand_overs: u64,
    pub(crate) workers: Vec<Worker>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Worker {
    pub(crate) is_spare: bool,
    pub(crate) runs: u64,
    pub(crate) steals: u64,
    pub(crate) queued: usize,
    pub(crate) is_stuck: bool,
    pub(crate) busy: f64,
    pub(crate) idle: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Thread {
    pub(crate) id: u64,
    pub(crate) runtime: usize,
    pub(crate) name: Option<String>,
    pub(crate) state: State,
    pub(crate) worker: Option<usize>,
    pub(crate) spawned_at: String,
    pub(crate) why: Option<String>,
    pub(crate) waits_at: Option<String>,
    pub(crate) seconds: Option<f64>,
    pub(crate) seconds_left: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Running,
    Runnable,
    #[default]
    Parked,
    Ended,
}

/// The functions that a thread is in, from the inside to the outside.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Stack {
    #[serde(rename = "stack")]
    pub(crate) frames: Vec<Frame>,
    /// Why there are none.
    #[serde(rename = "no_stack")]
    pub(crate) missing: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Frame {
    pub(crate) function: String,
    pub(crate) place: Option<String>,
}

/// A dump of one thread: it is in a group, or a worker runs it.
#[derive(Deserialize)]
struct Dump {
    groups: Vec<Stack>,
    workers: Vec<Runs>,
}

#[derive(Deserialize)]
struct Runs {
    does: Option<Stack>,
}

#[derive(Deserialize)]
struct Mistake {
    error: String,
}

impl Console {
    /// That of a process, or at a path.
    pub(crate) fn of(program: &str) -> Result<Self> {
        let path = match program.parse::<u32>() {
            Ok(pid) => of_process(pid)?,
            Err(_) => program.into(),
        };
        Ok(Self { path })
    }

    pub(crate) fn look(&self) -> Result<Look> {
        let Numbers { pid, runtimes } = self.ask("metrics")?;
        let Threads { threads, left_out } = self.ask("threads")?;
        Ok(Look {
            pid,
            runtimes,
            threads,
            left_out,
        })
    }

    pub(crate) fn stack(&self, id: u64) -> Result<Stack> {
        let dump: Dump = self.ask(&format!("thread {id}"))?;
        let of_workers = dump.workers.into_iter().filter_map(|worker| worker.does);
        let stack = dump.groups.into_iter().chain(of_workers).next();
        stack.with_context(|| format!("there is no stack of thread {id}"))
    }

    fn ask<T: DeserializeOwned>(&self, question: &str) -> Result<T> {
        let answer = self.answer(question)?;
        if let Ok(Mistake { error }) = serde_json::from_str(&answer) {
            bail!(error);
        }
        serde_json::from_str(&answer)
            .with_context(|| {
                let path = self.path.display();
                format!("cannot understand what the program at {path} answers: is it of another version of Roving?")
            })
    }

    fn answer(&self, question: &str) -> Result<String> {
        let path = self.path.display();
        let mut stream = UnixStream::connect(&self.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                anyhow!("nobody listens at {path}: there is no such file. Has the program ended?")
            }
            ErrorKind::ConnectionRefused => {
                anyhow!("nobody listens at {path}: the program has ended")
            }
            ErrorKind::PermissionDenied => {
                anyhow!("the console at {path} is another user's: only that user may look")
            }
            _ => anyhow!("nobody listens at {path}: {error}"),
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut answer = String::new();
        writeln!(stream, "{question}")
            .and_then(|()| stream.read_to_string(&mut answer))
            .with_context(|| format!("the program at {path} does not answer"))?;
        if answer.is_empty() {
            bail!("the program at {path} has ended, or is another user's: only that user may look");
        }
        Ok(answer)
    }
}

/// Where a process has its console, by what it was started with.
fn of_process(pid: u32) -> Result<PathBuf> {
    let environment =
        fs::read(format!("/proc/{pid}/environ")).map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!("there is no process {pid}"),
            ErrorKind::PermissionDenied => {
                anyhow!("process {pid} is another user's: only that user may look")
            }
            _ => anyhow!("process {pid} cannot be asked where its console is: {error}"),
        })?;
    let path = console_in(&environment).with_context(|| {
        format!(
            "process {pid} was not started with ROVING_CONSOLE=path. If it has a console all the same, give its path"
        )
    })?;
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    Ok(folder.join(path))
}

fn console_in(environment: &[u8]) -> Option<PathBuf> {
    let mut variables = environment.split(|byte| *byte == 0);
    let path = variables.find_map(|variable| variable.strip_prefix(b"ROVING_CONSOLE="))?;
    (!path.is_empty()).then(|| OsStr::from_bytes(path).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tells_where_its_console_is() {
        let found = |environment: &str| console_in(environment.as_bytes());
        let path = Some(PathBuf::from("/tmp/a b"));
        assert_eq!(found("A=1\0ROVING_CONSOLE=/tmp/a b\0B=2\0"), path);
        assert_eq!(found("ROVING_CONSOLE=\0"), None);
        assert_eq!(found("MY_ROVING_CONSOLE=/tmp/x\0"), None);
    }

    /// What a real program answers is understood.
    #[test]
    fn a_program_is_looked_at() {
        let path = std::env::temp_dir().join(format!("roving-top-program-{}", std::process::id()));
        let builder = roving::Builder::new().workers(2).console(&path);
        let runtime = builder.build().unwrap();
        let named = || {
            let builder = roving::thread::Builder::new().name("waits".to_owned());
            builder.spawn(waits_here).unwrap()
        };
        let waits = runtime.run(named);
        let console = Console::of(path.to_str().unwrap()).unwrap();
        let parked = |thread: &Thread| thread.state == State::Parked;
        let look = loop {
            let look = console.look().unwrap();
            if look.threads.iter().any(parked) {
                break look;
            }
        };
        assert_eq!((look.pid, look.left_out), (std::process::id(), 0));
        let numbers = &look.runtimes[0];
        assert_eq!((numbers.alive, numbers.parked), (1, 1));
        assert!(numbers.workers.len() >= 2 && numbers.workers[0].idle > 0.0);
        let thread = &look.threads[0];
        assert_eq!(thread.name.as_deref(), Some("waits"));
        assert_eq!(thread.why.as_deref(), Some("park"));
        let stack = console.stack(thread.id).unwrap();
        let functions = stack.frames.iter().map(|frame| &frame.function);
        assert!(
            functions.clone().any(|name| name.contains("waits_here")),
            "{stack:?}"
        );
        waits.thread().unpark();
        waits.join().unwrap();
        let error = console.stack(thread.id).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("there is no green thread {}, or no more", thread.id)
        );
    }

    #[inline(never)]
    fn waits_here() {
        roving::thread::park();
        std::hint::black_box(());
    }

    #[test]
    fn it_is_told_why_nobody_answers() {
        let why = |program: &str| {
            let looked = Console::of(program).and_then(|console| console.look());
            format!("{:#}", looked.unwrap_err())
        };
        assert!(why("/no/such/file").starts_with("nobody listens at /no/such/file"));
        assert_eq!(why("4294967295"), "there is no process 4294967295");
        let own = std::process::id().to_string();
        assert!(why(&own).contains("was not started with ROVING_CONSOLE"));
        let left = std::env::temp_dir().join(format!("roving-top-{own}"));
        drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
        assert!(why(left.to_str().unwrap()).contains("has ended"));
        fs::remove_file(left).unwrap();
    }
}
