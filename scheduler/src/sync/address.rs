//! Waiting for a word at an address, as the system's futex does it, for threads of both kinds.
//!
//! What is awaited is the caller's. The rule is the futex's: who changes the word does so before he wakes, and who waits looks at
//! it once more when nobody can wake in between.

use std::time::Instant;

use super::parking::{self, End, For, Patience, Place};
use crate::wait::Why;

/// How waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// What was to be looked at was not as expected.
    Changed,
    /// Somebody has woken it.
    Woken,
    /// The deadline came.
    TimedOut,
}

/// Waits at `address` until it is woken there for one of `bits`, or the deadline comes, if it `still_waits` when nobody
/// can wake in between. Nothing else ends it. `still_waits` must neither block nor wake.
#[track_caller]
pub fn wait(
    address: usize,
    bits: u32,
    deadline: Option<Instant>,
    why: &dyn Why,
    still_waits: impl FnOnce() -> bool,
) -> Awaited {
    let waits = (bits, Place::Back);
    let patience = Patience::Masked(deadline);
    match parking::park(
        For::Event(why),
        address,
        waits,
        patience,
        still_waits,
        || (),
    ) {
        End::Invalid => Awaited::Changed,
        End::Woken(_) => Awaited::Woken,
        End::TimedOut => Awaited::TimedOut,
    }
}

/// Wakes as many as that of those who wait at `address` for one of `bits`, the first first, and tells how many.
pub fn wake(address: usize, bits: u32, at_most: usize) -> usize {
    parking::with_parked(address, |parked| {
        let wakes = |_: &usize| parked.wake_one(|awaited| awaited & bits != 0, 0);
        (0..at_most).take_while(wakes).count()
    })
}
