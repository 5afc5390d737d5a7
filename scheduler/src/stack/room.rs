//! Room that is left to the rest of the process.
//!
//! Where address space or memory to be promised (`ulimit -v`, `ulimit -d`, `vm.overcommit_memory=2`) comes to its end, whoever asks
//! for a stack is told by an error. An allocation that fails ends the process, and so does an OS thread that lacks
//! memory as it starts. So neither stacks nor OS threads of ours take the last: what they are made of is had only if
//! [`LEFT`] bytes are there besides.
//!
//! To find that out the room is taken for a moment, in which nobody else has it. So where a limit can be asked for, there must be
//! as much again.

use std::fs;
use std::io;

use super::{page, slab};
use crate::protocol::lock::Inside;

/// Enough for some OS threads that start, with 2 MiB each.
const LEFT: usize = 8 << 20;

/// Whether the system would give [`LEFT`] bytes more.
///
/// # Errors
///
/// It would not, for the reason that it has given.
pub(crate) fn is_left() -> io::Result<()> {
    limits_leave(LEFT)?;
    let start = slab::map_bytes(LEFT)?;
    // SAFETY: it has just been mapped, and nobody knows of it.
    unsafe { slab::unmap(start, LEFT) };
    Ok(())
}

/// Whether the limits of the process, as far as it can know them, let it map so many bytes and [`LEFT`] besides.
///
/// # Errors
///
/// They do not, and the system would refuse it.
pub(super) fn limits_leave(bytes: usize) -> io::Result<()> {
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
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = pages.split_whitespace().map(str::parse::<libc::rlim_t>);
    let mut bytes = |place| Some(pages.nth(place)?.ok()? * page::page() as libc::rlim_t);
    let all = bytes(0)?;
    // Behind what is resident, shared and text, and what is always 0.
    let data = bytes(4)?;
    Some([all, data])
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
pub(crate) fn sysctl(name: &str) -> Option<String> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let _inside = Inside::enter();
    let value = fs::read_to_string(path).ok()?;
    Some(format!("{name} is {}", value.trim()))
}
