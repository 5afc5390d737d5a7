//! The limits of the system that many connections run into: reading them, and naming the one that
//! was met.
//!
//! An error number seldom tells which limit it was (`EAGAIN` for a thread may come of five), so
//! what the system counts at the moment of the failure is compared with each limit, and the one
//! that is reached is named. Nothing here changes a setting of the system; the soft limit of
//! descriptors is raised to the hard one, which every process may do.

use crate::system::{meminfo, number, tasks};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Descriptors that a process needs for other things than connections.
pub(crate) const SPARE_DESCRIPTORS: u64 = 64;

/// Mappings that a process needs for other things than connections.
pub(crate) const SPARE_MAPPINGS: u64 = 512;

/// Raises the soft limit of descriptors to the hard one and returns how many this process may open.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// What the system counts against its limits, and the limits, at one moment. A limit that could not
/// be read, or is none, is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Readings {
    /// Threads of the whole system.
    pub(crate) tasks: u64,
    pub(crate) pid_max: Option<u64>,
    pub(crate) threads_max: Option<u64>,
    /// Memory mappings of this process.
    pub(crate) mappings: u64,
    pub(crate) max_map_count: Option<u64>,
    /// Tasks of the control group that is nearest to its limit, and the limit.
    pub(crate) cgroup: Option<(u64, u64)>,
    /// Threads of this user, and `RLIMIT_NPROC`, which binds all users but root.
    pub(crate) user: Option<(u64, u64)>,
    /// Bytes of address space of this process, and `RLIMIT_AS`.
    pub(crate) address_space: Option<(u64, u64)>,
    /// Descriptors of this process, and `RLIMIT_NOFILE`.
    pub(crate) descriptors: u64,
    pub(crate) nofile: Option<u64>,
    /// Descriptions of open files in the whole system.
    pub(crate) files: u64,
    pub(crate) file_max: Option<u64>,
    /// Bytes that can still be had.
    pub(crate) available: u64,
}

impl Readings {
    /// Reads them for the calling process.
    pub(crate) fn take() -> Readings {
        let file_nr = fs::read_to_string("/proc/sys/fs/file-nr").unwrap_or_default();
        Readings {
            tasks: tasks().unwrap_or(0),
            pid_max: number("/proc/sys/kernel/pid_max"),
            threads_max: number("/proc/sys/kernel/threads-max"),
            mappings: fs::read_to_string("/proc/self/maps")
                .map_or(0, |maps| maps.lines().count() as u64),
            max_map_count: number("/proc/sys/vm/max_map_count"),
            cgroup: cgroup_pids(),
            user: user_tasks(),
            address_space: address_space(),
            descriptors: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            nofile: getrlimit(Resource::Nofile).current,
            files: file_nr
                .split_whitespace()
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(0),
            file_max: number("/proc/sys/fs/file-max"),
            available: available_memory().unwrap_or(0),
        }
    }

    /// The limit that made the system refuse one more connection with error number `errno`.
    pub(crate) fn limit_met(&self, errno: i32) -> String {
        let errno = Errno::from_raw_os_error(errno);
        match errno {
            Errno::MFILE => {
                return format!(
                    "RLIMIT_NOFILE = {} ({} descriptors open)",
                    shown(self.nofile),
                    self.descriptors
                );
            }
            Errno::NFILE => {
                return format!(
                    "fs.file-max = {} ({} files open in the system)",
                    shown(self.file_max),
                    self.files
                );
            }
            _ => {}
        }
        // Identifiers below 300 are not used again, and a few threads may have ended since the
        // refusal.
        let reached = |count: u64, limit: Option<u64>, slack: u64| {
            limit.is_some_and(|limit| count + slack >= limit)
        };
        if reached(self.mappings, self.max_map_count, 64) {
            return format!(
                "vm.max_map_count = {} ({} mappings)",
                shown(self.max_map_count),
                self.mappings
            );
        }
        // What was refused is as large as a stack.
        if let Some((bytes, limit)) = self.address_space
            && reached(bytes, Some(limit), 8 << 20)
        {
            return format!("RLIMIT_AS = {limit} ({bytes} bytes of address space)");
        }
        if let Some((count, limit)) = self.cgroup
            && reached(count, Some(limit), 64)
        {
            return format!("pids.max of the control group = {limit} ({count} tasks)");
        }
        if let Some((count, limit)) = self.user
            && reached(count, Some(limit), 64)
        {
            return format!("RLIMIT_NPROC = {limit} ({count} threads of this user)");
        }
        if reached(self.tasks, self.pid_max, 300 + 64) {
            return format!(
                "kernel.pid_max = {} ({} tasks in the system)",
                shown(self.pid_max),
                self.tasks
            );
        }
        if reached(self.tasks, self.threads_max, 64) {
            return format!(
                "kernel.threads-max = {} ({} tasks in the system)",
                shown(self.threads_max),
                self.tasks
            );
        }
        match errno {
            Errno::NOMEM => format!("memory ({} MiB available)", self.available >> 20),
            errno => format!(
                "error {} ({errno}), with no known limit reached",
                errno.raw_os_error()
            ),
        }
    }
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".into(), |limit| limit.to_string())
}

/// Bytes of memory that new programs can have without swapping.
pub(crate) fn available_memory() -> Option<u64> {
    meminfo("MemAvailable")
}

/// First and last of the ports that the system gives to outgoing connections.
pub(crate) fn ephemeral_ports() -> (u16, u16) {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ports = range
        .split_whitespace()
        .filter_map(|port| port.parse().ok());
    match (ports.next(), ports.next()) {
        (Some(first), Some(last)) if first <= last => (first, last),
        _ => (32_768, 60_999),
    }
}

/// Count and limit of tasks, of the control group of this process or the one above it that is
/// nearest to its limit.
fn cgroup_pids() -> Option<(u64, u64)> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut nearest: Option<(u64, u64)> = None;
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let root = match controllers {
            "" => Path::new("/sys/fs/cgroup"),
            _ if controllers
                .split(',')
                .any(|controller| controller == "pids") =>
            {
                Path::new("/sys/fs/cgroup/pids")
            }
            _ => continue,
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let group = root.join(group);
            if let (Some(count), Some(limit)) = (
                number(group.join("pids.current")),
                number(group.join("pids.max")),
            ) && nearest.is_none_or(|(c, l)| limit.saturating_sub(count) < l.saturating_sub(c))
            {
                nearest = Some((count, limit));
            }
        }
    }
    nearest
}

/// Bytes of address space of this process and the limit of them, if there is one.
fn address_space() -> Option<(u64, u64)> {
    let limit = getrlimit(Resource::As).current?;
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().next()?.parse().ok()?;
    Some((pages * rustix::param::page_size() as u64, limit))
}

/// Threads of this user and the limit of them; `None` where nothing binds: no limit, or root.
fn user_tasks() -> Option<(u64, u64)> {
    let limit = getrlimit(Resource::Nproc).current?;
    let user = rustix::process::getuid();
    if user.is_root() {
        return None;
    }
    let mut count = 0;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        if field("Uid:") == Some(user.as_raw().into()) {
            count += field("Threads:").unwrap_or(0);
        }
    }
    Some((count, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roomy() -> Readings {
        Readings {
            tasks: 100,
            pid_max: Some(32_768),
            threads_max: Some(192_730),
            mappings: 100,
            max_map_count: Some(65_530),
            cgroup: Some((10, 1_000)),
            user: Some((10, 1_000)),
            address_space: Some((1 << 20, 1 << 30)),
            descriptors: 100,
            nofile: Some(20_000),
            files: 100,
            file_max: Some(2_000_000),
            available: 1 << 30,
        }
    }

    const EAGAIN: i32 = Errno::AGAIN.raw_os_error();

    #[test]
    fn names_the_limit_that_is_reached() {
        let met = |readings: Readings| readings.limit_met(EAGAIN);
        assert!(
            met(Readings {
                tasks: 32_460,
                ..roomy()
            })
            .starts_with("kernel.pid_max = 32768")
        );
        assert!(
            met(Readings {
                mappings: 65_529,
                ..roomy()
            })
            .starts_with("vm.max_map_count = 65530")
        );
        assert!(
            met(Readings {
                cgroup: Some((1_000, 1_000)),
                ..roomy()
            })
            .starts_with("pids.max of the control group")
        );
        assert!(
            met(Readings {
                user: Some((999, 1_000)),
                ..roomy()
            })
            .starts_with("RLIMIT_NPROC = 1000")
        );
        let wide = Readings {
            address_space: Some(((1 << 30) - 4096, 1 << 30)),
            ..roomy()
        };
        assert!(met(wide).starts_with("RLIMIT_AS = 1073741824"));
        let many = Readings {
            tasks: 192_730,
            pid_max: Some(4_194_304),
            ..roomy()
        };
        assert!(met(many).starts_with("kernel.threads-max = 192730"));
    }

    #[test]
    fn error_numbers_that_say_it_all_are_believed() {
        let met = |errno: Errno| roomy().limit_met(errno.raw_os_error());
        assert!(met(Errno::MFILE).starts_with("RLIMIT_NOFILE = 20000"));
        assert!(met(Errno::NFILE).starts_with("fs.file-max = 2000000"));
        assert!(met(Errno::NOMEM).starts_with("memory (1024 MiB"));
    }

    #[test]
    fn no_limit_is_invented() {
        assert!(roomy().limit_met(EAGAIN).contains("no known limit"));
    }

    #[test]
    fn reads_this_system() {
        let readings = Readings::take();
        assert!(readings.tasks > 0);
        assert!(readings.mappings > 0);
        assert!(readings.descriptors >= 3);
        assert!(readings.pid_max.is_some());
        assert!(readings.available > 0);
        let (first, last) = ephemeral_ports();
        assert!(first < last);
    }

    #[test]
    fn descriptor_limit_is_raised_to_the_hard_one() {
        let raised = raise_descriptor_limit();
        assert_eq!(
            getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            raised
        );
    }
}
