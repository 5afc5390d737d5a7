//! The limits of a process, by `getrlimit`; and of the system, where `/proc` tells.

use std::convert::identity;
use std::fs;
use std::io;

use super::LEFT;
use crate::protocol::lock::Inside;
use crate::stack::page;

/// Whether the limits of the process, as far as it can know them, let it map so many bytes and [`LEFT`] besides.
///
/// # Errors
///
/// They do not, and the system would refuse it.
pub(in crate::stack) fn limits_leave(bytes: usize) -> io::Result<()> {
    let limits = [libc::RLIMIT_AS, libc::RLIMIT_DATA].map(soft_limit);
    if limits == [libc::RLIM_INFINITY; 2] {
        return Ok(());
    }
    let Some(mapped) = mapped() else {
        return Ok(());
    };
    let needed = (bytes + LEFT) as libc::rlim_t;
    if limits
        .iter()
        .zip(mapped)
        .all(|(&limit, mapped)| limit.saturating_sub(mapped) >= needed)
    {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ENOMEM))
    }
}

/// How many bytes of the process count for `ulimit -v` and, with its first stack, for `ulimit -d`, where the system tells.
fn mapped() -> Option<[libc::rlim_t; 2]> {
    let _inside = Inside::enter();
    let pages = fs::read_to_string("/proc/thread-self/statm").ok()?;
    let mut pages = pages.split_whitespace().map(str::parse::<libc::rlim_t>);
    let mut bytes = |place| Some(pages.nth(place)?.ok()? * page::page() as libc::rlim_t);
    let all = bytes(0)?;
    // Behind what is resident, shared and text, and what is always 0.
    let data = bytes(4)?;
    Some([all, data])
}

/// What limits the number of OS threads.
pub(super) fn limits_of_threads() -> String {
    let mut limits = vec![limit("ulimit -u", libc::RLIMIT_NPROC, identity)];
    limits.extend(sysctl("kernel.threads-max"));
    limits.extend(sysctl("kernel.pid_max"));
    if cfg!(target_os = "linux") {
        limits.push("a cgroup has pids.max".to_owned());
    }
    limits.join(", ")
}

/// What limits the memory of this process.
pub(super) fn limits() -> String {
    let kib = |bytes: libc::rlim_t| bytes >> 10;
    let mut limits = vec![
        limit("ulimit -v", libc::RLIMIT_AS, kib),
        limit("ulimit -d", libc::RLIMIT_DATA, kib),
        limit("ulimit -l", libc::RLIMIT_MEMLOCK, kib),
    ];
    let overcommit = sysctl("vm.overcommit_memory");
    if overcommit.as_ref().is_some_and(|mode| mode.ends_with('2')) {
        limits.extend(sysctl("vm.overcommit_ratio"));
    }
    limits.extend(overcommit);
    limits.extend(sysctl("vm.max_map_count"));
    limits.join(", ")
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

/// What a limit is, as the shell's command `name` counts it.
fn limit(
    name: &str,
    resource: Resource,
    count: impl FnOnce(libc::rlim_t) -> libc::rlim_t,
) -> String {
    match soft_limit(resource) {
        libc::RLIM_INFINITY => format!("{name} is unlimited"),
        most => format!("{name} is {}", count(most)),
    }
}

fn soft_limit(resource: Resource) -> libc::rlim_t {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: it is written to a `rlimit`, if at all.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    limit.rlim_cur
}

/// What a setting of the kernel is, where there are such.
fn sysctl(name: &str) -> Option<String> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let _inside = Inside::enter();
    let value = fs::read_to_string(path).ok()?;
    Some(format!("{name} is {}", value.trim()))
}
