//! The token of a thread that parks, as in `std::thread`.
//!
//! ```text
//!     Empty --park--> Waiting(epoch) --unpark--> Token, and the wait `epoch` is fired
//!     Empty --unpark--> Token --park--> Empty, at once
//! ```
//!
//! `unpark` is a swap, so exactly one of any number of unparks finds `Waiting` and fires. Swaps of
//! one word are totally ordered and acquire and release, so what happened before an unpark is seen
//! after the park that took its token. A park that is interrupted leaves a token that came
//! meanwhile.

use super::primitive::{AtomicU64, Ordering};
use super::word::Epoch;

const EMPTY: u64 = 0;
const TOKEN: u64 = 1;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Token(AtomicU64);

impl Token {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(EMPTY))
    }

    /// Makes the token available. Gives the wait that the caller must fire.
    #[must_use]
    pub(crate) fn unpark(&self) -> Option<Epoch> {
        Epoch::from_token(self.0.swap(TOKEN, Ordering::AcqRel))
    }

    /// Says that the current thread waits for the token; `false`, with the token taken, if it is
    /// there.
    pub(crate) fn wait_for(&self, epoch: Epoch) -> bool {
        let waiting = self
            .0
            .compare_exchange(EMPTY, epoch.to_token(), Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if !waiting {
            self.take();
        }
        waiting
    }

    /// Takes the token if it is there.
    pub(crate) fn take(&self) {
        self.0.swap(EMPTY, Ordering::AcqRel);
    }

    /// Says that the current thread does not wait for the token any more. If it has come, it stays.
    pub(crate) fn give_up(&self, epoch: Epoch) {
        let waiting = epoch.to_token();
        let _came = self
            .0
            .compare_exchange(waiting, EMPTY, Ordering::AcqRel, Ordering::Acquire);
    }
}
