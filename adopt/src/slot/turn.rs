//! Whose turn it is to read from a file by a number.
//!
//! The system reads from a file for one caller after the other, so that nobody has bytes of another one's between his own. A read of which a part
//! has to come from a disk is made of two calls. So green threads that read by the same number take turns, which lie in its slot.
//!
//! The handler of a signal may jump out of a read: then the thread [leaves](leave_turn) its turn as it jumps.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};

use roving_scheduler::adopt::{self, Awaited};

use super::Slot;
use crate::thread::heed;

const FREE: u8 = 0;
const TAKEN: u8 = 1;
/// And somebody may wait for it.
const AWAITED: u8 = 2;

thread_local! {
    /// Of which slot the current thread has the turn.
    static OWN: Cell<Option<&'static Slot>> = const { Cell::new(None) };
}

// Not inlined: a compiler may keep the address of a thread-local for as long as a function runs.
#[inline(never)]
fn set_own(slot: Option<&'static Slot>) -> Option<&'static Slot> {
    OWN.replace(slot)
}

/// The current thread's turn, until it is dropped.
pub(crate) struct Turn(());

impl Turn {
    /// Waits for it. The caller may be parked.
    pub(crate) fn take(slot: &'static Slot) -> Self {
        let turn = &slot.turn;
        let (took, failed) = (Ordering::Acquire, Ordering::Relaxed);
        if turn.compare_exchange(FREE, TAKEN, took, failed).is_err() {
            wait(turn);
        }
        set_own(Some(slot));
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        leave_turn();
    }
}

#[cold]
#[inline(never)]
fn wait(turn: &AtomicU8) {
    let place = (&raw const *turn).addr();
    let is_awaited = || turn.load(Ordering::Relaxed) == AWAITED;
    while turn.swap(AWAITED, Ordering::Acquire) != FREE {
        let awaited = adopt::wait(place, !0, None, &"a turn to read", is_awaited, || ());
        if awaited == Awaited::TimedOut {
            heed(false);
        }
    }
}

/// The current thread has no turn any more.
pub(crate) fn leave_turn() {
    let Some(slot) = set_own(None) else { return };
    if slot.turn.swap(FREE, Ordering::Release) == AWAITED {
        adopt::wake((&raw const slot.turn).addr(), !0, 1);
    }
}
