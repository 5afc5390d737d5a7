//! Times as the C library gives them.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use libc::{clockid_t, timespec};

/// A span of time; `None` if it is not one.
pub(crate) fn duration(time: timespec) -> Option<Duration> {
    let nanoseconds = u32::try_from(time.tv_nsec)
        .ok()
        .filter(|&n| n < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, nanoseconds))
}

/// What a clock shows; `None` if there is no such clock.
pub(crate) fn now(clock: clockid_t) -> Option<timespec> {
    let mut now = MaybeUninit::uninit();
    // SAFETY: there is room for the answer, which is there if it succeeds.
    unsafe { (libc::clock_gettime(clock, now.as_mut_ptr()) == 0).then(|| now.assume_init()) }
}

/// When a span of time will be over; `None` if it is too far away to wait for.
pub(crate) fn after(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}

/// How long it is until a clock shows this. Nothing, if it has.
///
/// # Errors
///
/// `EINVAL`: there is no such clock, or the system takes it for no time, as all that is before a clock's zero.
pub(crate) fn left(clock: clockid_t, until: timespec) -> Result<Duration, c_int> {
    let time = signed(until).filter(|_| until.tv_sec >= 0);
    let (Some(until), Some(now)) = (time, now(clock).and_then(signed)) else {
        return Err(libc::EINVAL);
    };
    let left = until.saturating_sub(now).max(0);
    let nanoseconds = (left % 1_000_000_000) as u32;
    Ok(Duration::new((left / 1_000_000_000) as u64, nanoseconds))
}

/// In nanoseconds, before or after the clock's zero.
fn signed(time: timespec) -> Option<i128> {
    (0..1_000_000_000)
        .contains(&time.tv_nsec)
        .then(|| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec))
}
