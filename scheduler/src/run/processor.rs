//! What an OS thread of this process does, seen from another one: how long it has run, and whether it waits.

use std::time::Duration;

/// The kernel's number of the current OS thread; 0 where there is none. Safe in a signal handler.
pub(crate) fn os_thread() -> u32 {
    // In a program that is adopted the C library's tells a green thread a number of its own.
    #[cfg(all(target_os = "linux", feature = "adopt"))]
    {
        rustix::thread::gettid().as_raw_pid().cast_unsigned()
    }
    #[cfg(all(target_os = "linux", not(feature = "adopt")))]
    {
        // SAFETY: it has no preconditions.
        unsafe { libc::syscall(libc::SYS_gettid) as u32 }
    }
    #[cfg(not(target_os = "linux"))]
    {
        0
    }
}

/// How long an OS thread has run on some processor. Zero where that is not known.
#[cfg(target_os = "linux")]
pub(crate) fn time_of(os_thread: u32) -> Duration {
    // As in the kernel's `posix-timers.h`: the clock of one thread, in its scheduler's time.
    const PER_THREAD: libc::clockid_t = 4;
    const SCHEDULED: libc::clockid_t = 2;
    let clock = (!os_thread.cast_signed() << 3) | PER_THREAD | SCHEDULED;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes a `timespec`, or fails.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Duration::ZERO;
    }
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn time_of(_os_thread: u32) -> Duration {
    Duration::ZERO
}

/// Whether an OS thread waits, and not just for a processor. Where the system does not say, it does.
#[cfg(target_os = "linux")]
pub(crate) fn waits(os_thread: u32) -> bool {
    let stat = std::fs::read(format!("/proc/self/task/{os_thread}/stat"));
    let state = stat.ok().and_then(|stat| {
        // The name before it may have anything in it.
        let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
        stat.get(name_ends + 2).copied()
    });
    state != Some(b'R')
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn waits(_os_thread: u32) -> bool {
    true
}

/// Whether this OS thread has forked processes that it is the parent of. If the system does not say,
/// it may have.
#[cfg(target_os = "linux")]
pub(crate) fn has_children() -> bool {
    !std::fs::read("/proc/thread-self/children").is_ok_and(|children| children.is_empty())
}

/// Elsewhere children belong to the process.
#[cfg(not(target_os = "linux"))]
pub(crate) fn has_children() -> bool {
    false
}

#[cfg(all(test, target_os = "linux", not(roving_loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::thread;

    #[test]
    fn one_that_sleeps_waits_and_one_that_computes_runs() {
        let stop = AtomicBool::new(false);
        let until_stopped = |number: &AtomicU32, turn: fn()| {
            number.store(os_thread(), Ordering::Release);
            while !stop.load(Ordering::Acquire) {
                turn();
            }
        };
        let (first, second) = (AtomicU32::new(0), AtomicU32::new(0));
        let number = |number: &AtomicU32| {
            while number.load(Ordering::Acquire) == 0 {
                thread::yield_now();
            }
            number.load(Ordering::Acquire)
        };
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| until_stopped(&first, thread::park));
            scope.spawn(|| until_stopped(&second, || ()));
            let (sleeps, runs) = (number(&first), number(&second));
            while !waits(sleeps) {
                thread::yield_now();
            }
            let slept = time_of(sleeps);
            assert!(!waits(runs));
            let begun = time_of(runs);
            while time_of(runs) < begun + Duration::from_millis(1) {}
            assert_eq!(time_of(sleeps), slept);
            stop.store(true, Ordering::Release);
            sleeper.thread().unpark();
        });
    }
}
