//! Whether a worker gets on with its work, for those who watch it.
//!
//! A worker writes one word each time it runs a green thread, by a plain store: so whoever finds the same
//! word again knows that the same green thread has kept it since. The word is
//!
//! ```text
//!     bit     63 ..... 8    7      6 .. 0
//!             turn          rests  runs of this turn
//! ```
//!
//! A worker rests until it begins, and when it is about to sleep until it is busy again.
//!
//! Beside it is a mark, that the worker is *stuck*. Who marks and who unmarks, and that nobody who rests
//! stays marked, is the business of the [`roster`](crate::protocol::roster), under whose lock the mark
//! changes. The worker reads its own without the lock.

use crate::protocol::primitive::{AtomicU32, AtomicU64, Ordering};

const RESTS: u64 = 1 << 7;
const TURN: u64 = 1 << 8;

/// What a worker has written of itself at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen(u64);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Pace {
    word: AtomicU64,
    stuck: AtomicU32,
}

impl Pace {
    /// Of one who has not begun.
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(RESTS),
            stuck: AtomicU32::new(0),
        }
    }

    /// The worker is about to run a green thread. Gives how many that makes in this turn, which may not
    /// be more than 127.
    #[inline]
    pub(crate) fn runs(&self) -> u8 {
        let word = self.word.load(Ordering::Relaxed) + 1;
        self.word.store(word, Ordering::Relaxed);
        word as u8
    }

    /// The worker, which is awake, begins a turn.
    pub(crate) fn begin_turn(&self) {
        let word = self.word.load(Ordering::Relaxed);
        self.word
            .store((word & !(TURN - 1)) + TURN, Ordering::Relaxed);
    }

    /// The worker is about to announce that it sleeps.
    pub(crate) fn rest(&self) {
        let word = self.word.load(Ordering::Relaxed);
        self.word.store(word | RESTS, Ordering::Relaxed);
    }

    /// The worker has slept, or begins, and is about to be busy.
    pub(crate) fn go_on(&self) {
        let word = self.word.load(Ordering::Relaxed);
        self.word.store((word & !RESTS) + TURN, Ordering::Relaxed);
    }

    /// What a worker that is busy has written last, unless it is marked.
    pub(crate) fn seen(&self) -> Option<Seen> {
        self.run().filter(|_| !self.is_stuck())
    }

    /// What a worker that is busy has written last, be it marked or not.
    pub(crate) fn run(&self) -> Option<Seen> {
        let word = self.word.load(Ordering::Relaxed);
        (word & RESTS == 0).then_some(Seen(word))
    }

    /// What a worker that sleeps has written last.
    pub(crate) fn rested(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    /// Whether the worker is busy, and has not written anything else since.
    pub(super) fn is_still(&self, seen: Seen) -> bool {
        self.word.load(Ordering::Relaxed) == seen.0
    }

    #[inline]
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed) != 0
    }

    pub(super) fn mark(&self, stuck: bool) {
        self.stuck.store(u32::from(stuck), Ordering::Relaxed);
    }
}
