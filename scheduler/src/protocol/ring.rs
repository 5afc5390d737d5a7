//! The last of what several threads write down, for whoever reads it later.
//!
//! A ring has so many slots, and what is written takes the place of the oldest. Nobody waits: who writes
//! takes a number and writes to the slot of that number, and who reads takes what is whole. A slot has a
//! *stamp* beside its words, as a sequence lock has:
//!
//! ```text
//!     0         never written
//!     2n + 1    the one with the number n writes
//!     2n + 2    what the one with the number n has written is here, whole
//! ```
//!
//! - **Who writes** makes the stamp odd, by a compare-and-swap from an even one of a smaller number, which is
//!   an acquire; *release fence*; the words; then the even stamp, which is a release. If the slot is being
//!   written, or has something newer in it, what was to be written is lost: the ring has been written once
//!   around while a writer was at it. So at most one writes to a slot at a time, each after all that was
//!   written there before.
//! - **Who reads** loads the stamp, which is an acquire, the words, *acquire fence*, and the stamp again. If
//!   that is even, not 0 and the same both times, the words are those of this number: if one of them were of a later writer,
//!   the fences would order that one's odd stamp before the second load; and what an earlier one wrote
//!   was overwritten before the stamp that the first load has seen.

use std::fmt;

use crate::protocol::primitive::{AtomicU64, Ordering, fence};

/// See the [module](self).
pub(crate) struct Ring<const WORDS: usize> {
    /// How many numbers have been taken.
    next: AtomicU64,
    /// As many as a power of two.
    slots: Box<[Slot<WORDS>]>,
}

/// With seven words it fills a line of the cache.
#[repr(align(64))]
struct Slot<const WORDS: usize> {
    stamp: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// What was written under a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written<const WORDS: usize> {
    pub(crate) number: u64,
    pub(crate) words: [u64; WORDS],
}

impl<const WORDS: usize> Ring<WORDS> {
    /// For so many, rounded up to a power of two.
    pub(crate) fn new(size: usize) -> Self {
        let slot = |_| Slot {
            stamp: AtomicU64::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        Self {
            next: AtomicU64::new(0),
            slots: (0..size.next_power_of_two()).map(slot).collect(),
        }
    }

    fn slot(&self, number: u64) -> &Slot<WORDS> {
        &self.slots[number as usize & (self.slots.len() - 1)]
    }

    /// Writes that down. It may be lost, if it would be gone soon anyway.
    pub(crate) fn write(&self, words: [u64; WORDS]) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = self.slot(number);
        let (begun, whole) = (2 * number + 1, 2 * number + 2);
        let seen = slot.stamp.load(Ordering::Relaxed);
        let is_free = seen.is_multiple_of(2) && seen < begun;
        // Acquire: these words come after those of whoever has written here.
        let is_taken = is_free
            && slot
                .stamp
                .compare_exchange(seen, begun, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if !is_taken {
            return;
        }
        // Who reads one of these words sees the stamp.
        fence(Ordering::Release);
        for (place, word) in slot.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        slot.stamp.store(whole, Ordering::Release);
    }

    /// What is there and whole, the oldest first. What has been overwritten since this began to read is left
    /// out, and so is what is newer.
    pub(crate) fn read(&self) -> Vec<Written<WORDS>> {
        let begin = self.begin();
        let end = begin + self.slots.len() as u64;
        let written = (begin..end).filter_map(|number| {
            let words = self.slot(number).read(2 * number + 2)?;
            Some(Written { number, words })
        });
        let mut written: Vec<_> = written.collect();
        // Of those before this one some are gone and some were read in time.
        let begin = self.begin();
        written.retain(|written| written.number >= begin);
        written
    }

    /// The oldest number that may be there.
    fn begin(&self) -> u64 {
        let end = self.next.load(Ordering::Acquire);
        end.saturating_sub(self.slots.len() as u64)
    }
}

impl<const WORDS: usize> Slot<WORDS> {
    /// The words, if they are whole and were written under this stamp.
    fn read(&self, whole: u64) -> Option<[u64; WORDS]> {
        let before = self.stamp.load(Ordering::Acquire);
        let words = std::array::from_fn(|n| self.words[n].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let after = self.stamp.load(Ordering::Relaxed);
        (before == whole && after == whole).then_some(words)
    }
}

impl<const WORDS: usize> fmt::Debug for Ring<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("slots", &self.slots.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    fn numbers(ring: &Ring<2>) -> Vec<u64> {
        ring.read().iter().map(|written| written.words[0]).collect()
    }

    #[test]
    fn the_last_ones_are_there() {
        let ring = Ring::new(3);
        assert!(numbers(&ring).is_empty());
        (0..3).for_each(|n| ring.write([n, n]));
        assert_eq!(numbers(&ring), [0, 1, 2]);
        (3..10).for_each(|n| ring.write([n, n]));
        assert_eq!(numbers(&ring), [6, 7, 8, 9]);
    }

    #[test]
    fn what_is_read_is_whole_while_many_write() {
        let ring = Ring::<7>::new(8);
        let done = AtomicBool::new(false);
        thread::scope(|s| {
            for writer in 0..3 {
                let (ring, done) = (&ring, &done);
                s.spawn(move || {
                    let mut n = writer;
                    while !done.load(Ordering::Relaxed) {
                        ring.write([n; 7]);
                        n += 3;
                    }
                });
            }
            let mut read = 0;
            while read < 100_000 {
                let written = ring.read();
                read += written.len().max(1);
                for Written { words, .. } in &written {
                    assert_eq!(*words, [words[0]; 7]);
                }
                assert!(written.is_sorted_by_key(|written| written.number));
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

#[cfg(all(test, roving_loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// A ring of one slot, in which everybody meets.
    fn ring() -> Arc<Ring<2>> {
        Arc::new(Ring::new(1))
    }

    #[test]
    fn what_is_read_is_whole_and_its_own() {
        loom::model(|| {
            let ring = ring();
            let writes = ring.clone();
            let writer = thread::spawn(move || {
                writes.write([1, 1]);
                writes.write([2, 2]);
            });
            for Written { number, words } in ring.read() {
                assert_eq!(words, [number + 1; 2]);
            }
            writer.join().unwrap();
            assert_eq!(ring.read()[0].words, [2, 2]);
        });
    }

    #[test]
    fn what_two_write_is_whole() {
        loom::model(|| {
            let ring = ring();
            let write = |word| {
                let writes = ring.clone();
                thread::spawn(move || writes.write([word, word]))
            };
            let writers = [write(1), write(2)];
            for Written { words, .. } in ring.read() {
                assert!(words == [1, 1] || words == [2, 2]);
            }
            for writer in writers {
                writer.join().unwrap();
            }
            for Written { words, .. } in ring.read() {
                assert!(words == [1, 1] || words == [2, 2]);
            }
        });
    }
}
