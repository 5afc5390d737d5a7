//! Room that is left to the rest of the process.
//!
//! Where address space or memory to be promised (`ulimit -v`, `ulimit -d`, `vm.overcommit_memory=2`) comes to its end, whoever asks
//! for a stack is told by an error. An allocation that fails ends the process, and so does an OS thread that lacks
//! memory as it starts. So neither stacks nor OS threads of ours take the last: what they are made of is had only if
//! [`LEFT`] bytes are there besides.

use std::fs;
use std::io;

use super::slab;

/// Enough for some OS threads that start, with 2 MiB each.
const LEFT: usize = 8 << 20;

/// Whether the system would give [`LEFT`] bytes more.
///
/// # Errors
///
/// It would not, for the reason that it has given.
pub(crate) fn is_left() -> io::Result<()> {
    let start = slab::map_bytes(LEFT)?;
    // SAFETY: it has just been mapped, and nobody knows of it.
    unsafe { slab::unmap(start, LEFT) };
    Ok(())
}

/// What limits the memory of this process, for those who are told that there is no more.
pub(crate) fn limits() -> String {
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
pub(crate) fn limit(
    name: &str,
    resource: Resource,
    count: impl FnOnce(libc::rlim_t) -> libc::rlim_t,
) -> String {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: it is written to a `rlimit`, if at all.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    match limit.rlim_cur {
        libc::RLIM_INFINITY => format!("{name} is unlimited"),
        most => format!("{name} is {}", count(most)),
    }
}

/// What a setting of the kernel is, where there are such.
pub(crate) fn sysctl(name: &str) -> Option<String> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let value = fs::read_to_string(path).ok()?;
    Some(format!("{name} is {}", value.trim()))
}
