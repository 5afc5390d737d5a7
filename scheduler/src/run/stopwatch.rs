//! For how long somebody has been at something, all in all, also while that goes on.
//!
//! A stopwatch is one word, so that whoever reads it sees no half of a change:
//!
//! ```text
//!     bit     63 ..................................... 1     0
//!             it stands: the ticks that it shows             0
//!             it runs: when it would have shown zero         1
//! ```
//!
//! A worker has one that runs while it is idle, and one that runs as long as it is there. The rest of that time it has
//! been busy, and that is shown by one that stands as long as the other one runs. So whoever asks must see both as they were
//! at one moment: it reads, and if the first has changed meanwhile, reads again.
//!
//! One that is about to be stopped shows what it does to whoever reads it still running, and that may be more than what it is
//! stopped at, as that time was taken before. So what was told is kept, and nobody is told less than that.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::run::ticks;

const RUNS: u64 = 1;

/// Times are in [ticks]. One thread starts and stops it, anybody reads it.
#[derive(Debug, Default)]
struct Stopwatch(AtomicU64);

impl Stopwatch {
    #[inline]
    fn start(&self, now: u64) {
        let shown = self.0.load(Ordering::Relaxed);
        let zero = (now << 1).wrapping_sub(shown);
        self.0.store(zero | RUNS, Ordering::Release);
    }

    #[inline]
    fn stop(&self, now: u64) {
        let zero = self.0.load(Ordering::Relaxed) & !RUNS;
        self.0
            .store((now << 1).saturating_sub(zero), Ordering::Release);
    }

    fn word(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// What one with this word shows.
    fn shows(word: u64, now: u64) -> u64 {
        match word & RUNS {
            0 => word >> 1,
            _ => now.saturating_sub(word >> 1),
        }
    }
}

/// How long a worker has been busy, and how long idle. Whoever sits there as a spare adds to what those before it have
/// shown.
#[derive(Debug, Default)]
pub(crate) struct Shift {
    whole: Stopwatch,
    idle: Stopwatch,
    told_busy: AtomicU64,
    told_idle: AtomicU64,
}

impl Shift {
    /// It begins, busy.
    pub(crate) fn begin(&self, now: u64) {
        self.whole.start(now);
    }

    /// It has been busy, and looks for work or sleeps from now on.
    #[inline]
    pub(crate) fn rest(&self, now: u64) {
        self.idle.start(now);
    }

    /// It has been idle, and is busy from now on.
    #[inline]
    pub(crate) fn go_on(&self, now: u64) {
        self.idle.stop(now);
    }

    /// It ends, busy.
    pub(crate) fn end(&self, now: u64) {
        self.whole.stop(now);
    }

    /// How long it has been busy, and how long idle. Neither is ever less than it was.
    pub(crate) fn read(&self) -> (u64, u64) {
        let grown = |told: &AtomicU64, now: u64| told.fetch_max(now, Ordering::Relaxed).max(now);
        let (busy, idle) = self.read_now();
        (grown(&self.told_busy, busy), grown(&self.told_idle, idle))
    }

    fn read_now(&self) -> (u64, u64) {
        let mut idle = self.idle.word();
        loop {
            let (whole, now) = (self.whole.word(), ticks::now());
            let again = self.idle.word();
            if again == idle {
                let (whole, idle) = (Stopwatch::shows(whole, now), Stopwatch::shows(idle, now));
                return (whole.saturating_sub(idle), idle);
            }
            idle = again;
        }
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_it_shows_is_what_it_has_run() {
        let shift = Shift::default();
        shift.begin(100);
        shift.rest(110);
        assert_eq!(shift.read_now().0, 10);
        shift.go_on(150);
        assert_eq!(shift.read_now().1, 40);
        shift.rest(153);
        shift.go_on(154);
        shift.end(160);
        assert_eq!(shift.read_now(), (19, 41));
        shift.begin(1000);
        shift.end(1001);
        assert_eq!(shift.read_now(), (20, 41));
    }

    #[test]
    fn one_that_is_stopped_late_shows_no_less_than_it_did() {
        let shift = Shift::default();
        let begin = ticks::now();
        shift.begin(begin);
        shift.rest(begin);
        let is_stopped_at = ticks::now();
        let (_, idle) = shift.read();
        shift.go_on(is_stopped_at);
        assert!(shift.read().1 >= idle);
        let is_stopped_at = ticks::now();
        let (busy, _) = shift.read();
        shift.end(is_stopped_at);
        assert!(shift.read().0 >= busy);
    }

    #[test]
    fn while_it_runs_it_shows_more_and_more() {
        let watch = Stopwatch::default();
        let begin = ticks::now();
        watch.start(begin);
        let mut before = 0;
        for _ in 0..100 {
            let now = Stopwatch::shows(watch.word(), ticks::now());
            assert!(now >= before);
            before = now;
        }
        assert!(before <= ticks::now() - begin);
    }
}
