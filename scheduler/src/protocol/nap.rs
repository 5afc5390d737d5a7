//! How often and how long a worker naps that has been woken for nothing (see [`idle`](crate::protocol::idle)).
//!
//! Who spawns and joins at once has one thread waiting alone about half of the time, so one vain look
//! tells little, and one that finds nothing at all tells little too. A miss is worth several naps, and
//! each miss makes them longer, so that a thief takes next to nothing of the time of whom it looks at.

use std::mem;
use std::time::Duration;

/// So many naps follow a miss, if no other one comes. In a model it is one, for it has no time.
const NAPS: u32 = if cfg!(roving_loom) { 1 } else { 8 };
const SHORTEST: Duration = Duration::from_micros(64);
const LONGEST: Duration = Duration::from_micros(512);

/// The naps of a worker that has nothing to do.
#[derive(Debug)]
pub(crate) struct Naps {
    /// Whether there was a miss since the last sleep.
    missed: bool,
    left: u32,
    length: Duration,
}

impl Naps {
    pub(crate) fn new() -> Self {
        Self {
            missed: false,
            left: 0,
            length: SHORTEST,
        }
    }

    /// What the worker has come for was gone.
    pub(crate) fn missed(&mut self) {
        self.missed = true;
    }

    /// How long the next sleep may be, if it is a nap.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        if mem::take(&mut self.missed) {
            if self.left > 0 {
                self.length = LONGEST.min(2 * self.length);
            }
            self.left = NAPS;
        }
        if self.left == 0 {
            self.length = SHORTEST;
            return None;
        }
        self.left -= 1;
        Some(self.length)
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn naps_get_longer_with_each_miss_and_end_without_any() {
        let mut naps = Naps::new();
        assert_eq!(naps.next(), None);
        let mut lengths = Vec::new();
        for _ in 0..10 {
            naps.missed();
            lengths.extend(naps.next());
        }
        assert!(lengths.is_sorted());
        assert_eq!(lengths.first(), Some(&SHORTEST));
        assert_eq!(lengths.last(), Some(&LONGEST));
        assert_eq!(
            std::iter::from_fn(|| naps.next()).count(),
            NAPS as usize - 1
        );
        naps.missed();
        assert_eq!(naps.next(), Some(SHORTEST));
    }
}
