//! Descriptors that the runtime has opened, which the program knows nothing of.
//!
//! A program that becomes a daemon, or is about to execute another one, closes whatever it has not opened itself. The driver would not
//! live on without its own. So these stay open: to the program they are descriptors that are not there. All of them are closed where
//! another program is executed.

use std::ffi::{c_int, c_uint};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::is_adopted;

const NONE: c_int = -1;

static KEPT: [AtomicI32; 3] = [const { AtomicI32::new(NONE) }; 3];

/// Keeps these open, those of the driver with which all wait.
pub(crate) fn keep(descriptors: &[RawFd; 3]) {
    for (kept, &descriptor) in KEPT.iter().zip(descriptors) {
        kept.store(descriptor, Ordering::Relaxed);
    }
}

/// Keeps none, in a forked child, which has another driver.
pub(crate) fn forget() {
    for kept in &KEPT {
        kept.store(NONE, Ordering::Relaxed);
    }
}

/// Whether it is to stay open.
pub(crate) fn is_kept(descriptor: c_int) -> bool {
    is_adopted()
        && descriptor != NONE
        && KEPT
            .iter()
            .any(|kept| kept.load(Ordering::Relaxed) == descriptor)
}

/// Calls `close` for each part of a range of descriptors that has none of these in it, until one fails, which gives -1.
pub(crate) fn around(
    first: c_uint,
    last: c_uint,
    mut close: impl FnMut(c_uint, c_uint) -> c_int,
) -> c_int {
    let mut kept = KEPT.each_ref().map(|kept| kept.load(Ordering::Relaxed));
    kept.sort_unstable();
    let is_in_range = |&kept: &c_uint| (first..=last).contains(&kept);
    let kept = kept.into_iter().filter_map(|kept| kept.try_into().ok());
    let mut next = first;
    for kept in kept.filter(is_in_range).filter(|_| is_adopted()) {
        if next < kept && close(next, kept - 1) != 0 {
            return -1;
        }
        next = kept + 1;
    }
    // Nothing is left if the last of all is one of these. An empty range is the caller's mistake, for the system to tell.
    if next > last && next > first {
        return 0;
    }
    close(next, last)
}
