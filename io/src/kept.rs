//! Descriptors that the runtime has opened for itself, and would not go on without: those of its drivers. `roving-adopt` keeps them
//! open where a program closes what it has not opened.
//!
//! Whoever asks may be a handler of a signal: no lock is taken. There is room for those of some drivers; what finds none is not
//! kept.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

const NONE: RawFd = -1;

/// The descriptors, anywhere.
static KEPT: [AtomicI32; 40] = [const { AtomicI32::new(NONE) }; 40];

/// Descriptors that are kept for as long as there is this, which goes before they are closed.
#[derive(Debug)]
pub struct Kept(Box<[RawFd]>);

impl Kept {
    /// They are open, and stay so until this is dropped.
    pub fn new(descriptors: impl IntoIterator<Item = RawFd>) -> Self {
        let descriptors: Box<[_]> = descriptors.into_iter().collect();
        for &descriptor in &descriptors {
            replace(NONE, descriptor);
        }
        Self(descriptors)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for &descriptor in &self.0 {
            replace(descriptor, NONE);
        }
    }
}

/// Replaces one of these, if there is one.
fn replace(one: RawFd, by: RawFd) {
    let (set, failed) = (Ordering::Relaxed, Ordering::Relaxed);
    let is_here = |place: &&AtomicI32| place.compare_exchange(one, by, set, failed).is_ok();
    let _ = KEPT.iter().find(is_here);
}

/// All that are kept.
pub fn kept() -> impl Iterator<Item = RawFd> {
    let kept = KEPT.iter().map(|place| place.load(Ordering::Relaxed));
    kept.filter(|&descriptor| descriptor != NONE)
}

/// Keeps none of those that there are, in a forked child, whose copies of them are of no use.
pub fn forget_kept() {
    for place in &KEPT {
        place.store(NONE, Ordering::Relaxed);
    }
}
