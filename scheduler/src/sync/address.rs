//! Waiting for a word at an address, as the system's futex does it, for threads of both kinds.
//!
//! What is awaited is the caller's. The rule is the futex's: who changes the word does so before he wakes, and who waits looks at
//! it once more when nobody can wake in between. A thread may be woken for nothing.
//!
//! Most who wake find nobody who waits, and are not to take a lock for that. So those who wait are [counted](waiting), by a hash of the
//! address, before they look at the word, and who wakes looks at the count after he has changed the word. Between the two
//! each has a fence, and of two fences one comes first:
//!
//! - that of the one who waits: then the other one sees the count;
//! - that of the one who wakes: then the other one sees the word as it was changed, and does not wait.
//!
//! Where the count is seen without it, that fence is not needed: who wakes then takes the lock under which the others look at the word.
//!
//! To wake takes locks of the runtime and changes queues of its. It is for callers who are not doing either; others have it
//! [done for them](super::noted).

use std::time::Instant;

use super::parking::{self, Count, End, For, Patience, Place};
use crate::protocol::primitive::{Ordering, fence};
use crate::wait::Why;

/// How waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// What was to be looked at was not as expected.
    Changed,
    /// Somebody has woken it.
    Woken,
    /// The deadline came, or the thread was nudged.
    TimedOut,
}

/// Waits at `address` until it is woken there for one of `bits`, or the deadline comes, if it `still_waits` when nobody
/// can wake in between. Nothing else ends it. `still_waits` must neither block nor wake. When the thread can be woken, and before
/// it blocks, it does `then`, which does not wait.
///
/// The caller is not inside of the runtime.
#[track_caller]
pub fn wait(
    address: usize,
    bits: u32,
    deadline: Option<Instant>,
    why: &dyn Why,
    still_waits: impl FnOnce() -> bool,
    then: impl FnOnce(),
) -> Awaited {
    // Who is to be woken by a handler is counted when there is somebody to do it. Where the system refuses that, others wake him.
    #[cfg(feature = "adopt")]
    let _ = super::noted::begin_in_child();
    // Lists and counts are of the same hash, so a count changes under one lock.
    let count = Count(Some(waiting::count(address)));
    let waits = (bits, Place::Back);
    #[cfg(feature = "adopt")]
    let patience = Patience::Nudgeable(deadline);
    #[cfg(not(feature = "adopt"))]
    let patience = Patience::Masked(deadline);
    let why = For::Event(why);
    match parking::park_counted(count, why, address, waits, patience, still_waits, then) {
        End::Invalid => Awaited::Changed,
        End::Woken(_) => Awaited::Woken,
        End::TimedOut => Awaited::TimedOut,
    }
}

/// Wakes as many as that of those who wait at `address` for one of `bits`, the first first, and tells how many.
pub fn wake(address: usize, bits: u32, at_most: usize) -> usize {
    if is_awaited(address) {
        wake_awaited(address, bits, at_most)
    } else {
        0
    }
}

/// Whether anybody may wait at `address`.
#[inline]
pub(super) fn is_awaited(address: usize) -> bool {
    let count = waiting::count(address);
    let is_somebody_there = || count.load(Ordering::Relaxed) != 0;
    is_somebody_there() || {
        // With that of who is counted.
        fence(Ordering::SeqCst);
        is_somebody_there()
    }
}

/// The same, where somebody may wait.
#[cold]
pub(super) fn wake_awaited(address: usize, bits: u32, at_most: usize) -> usize {
    parking::with_parked(address, |parked| {
        let wakes = |_: &usize| parked.wake_one(|awaited| awaited & bits != 0, 0);
        (0..at_most).take_while(wakes).count()
    })
}

#[cfg(not(roving_loom))]
mod waiting {
    use crate::protocol::primitive::AtomicU32;

    use crate::sync::parking::BUCKETS_LOG;

    /// A forked child has those of its parent: it looks in vain where somebody waits there.
    static COUNTS: [AtomicU32; 1 << BUCKETS_LOG] = [const { AtomicU32::new(0) }; 1 << BUCKETS_LOG];

    /// How many wait at `address`, or at others of the same hash.
    pub(super) fn count(address: usize) -> &'static AtomicU32 {
        // Fibonacci hashing.
        let hash = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &COUNTS[(hash >> (u64::BITS - BUCKETS_LOG)) as usize]
    }
}

#[cfg(roving_loom)]
mod waiting {
    use crate::protocol::primitive::AtomicU32;
    use loom::sync::Arc;

    loom::lazy_static! {
        static ref COUNT: Arc<AtomicU32> = Arc::new(AtomicU32::new(0));
    }

    pub(super) fn count(_: usize) -> &'static AtomicU32 {
        &COUNT
    }
}
