//! The numbers of threads that the kernel knows nothing of: `tid` in their `struct pthread`, by which mutexes know their owner.
//!
//! No two threads of a process that are alive have the same, nor has an OS thread. Another process may have made up the same: where that matters, who
//! adopts programs has a thread go by one from [`END`] on for a moment. And as the kernel does, the numbers are gone through: one that has
//! been a thread's is not the next one's.
//!
//! A block has a place among all that there are, and goes through the numbers of that place, one thread after another:
//!
//! ```text
//!     FIRST      round 1        round 2               round 64       beyond      END
//!       | places 0.. | places 0.. | ... | places 0.. | places that come after |
//! ```
//!
//! The places beyond so many, which is millions, have one number each.

/// No OS thread has an id from here on: this is `PID_MAX_LIMIT`.
pub(super) const FIRST: u32 = 1 << 22;
/// A futex has room for 30 bits of an id, and a clock for 29.
const END: u32 = 1 << 29;

const PLACES: u32 = 1 << 22;
const ROUNDS: u32 = 64;
const BEYOND: u32 = FIRST + ROUNDS * PLACES;

/// The number of the next thread on the block of one that had this.
pub(super) fn next(tid: u32) -> u32 {
    match tid {
        BEYOND.. => tid,
        _ if tid + PLACES < BEYOND => tid + PLACES,
        _ => FIRST + (tid - FIRST) % PLACES,
    }
}

/// The numbers of blocks.
#[derive(Debug)]
pub(super) struct Tids {
    /// Those of blocks that are there no more.
    left: Vec<u32>,
    /// That of the next block, if none is left.
    new: u32,
}

impl Tids {
    pub(super) fn new() -> Self {
        Self {
            left: Vec::new(),
            new: FIRST,
        }
    }

    /// One for the first thread on a block.
    pub(super) fn take(&mut self) -> u32 {
        if let Some(tid) = self.left.pop() {
            return tid;
        }
        let tid = self.new;
        assert!(
            tid < END,
            "no number for another green thread: there are {} with thread-locals of their own, and no more are possible",
            END - BEYOND + PLACES
        );
        self.new = match tid + 1 {
            // Those of the other rounds come after it.
            after if after == FIRST + PLACES => BEYOND,
            after => after,
        };
        tid
    }

    /// That of a block that is there no more.
    pub(super) fn leave(&mut self, tid: u32) {
        self.left.push(next(tid));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_block_goes_through_its_numbers() {
        let mut tids = Tids::new();
        for tid in [tids.take(), tids.take()] {
            let mut seen = HashSet::from([tid]);
            let mut last = tid;
            loop {
                last = next(last);
                if !seen.insert(last) {
                    break;
                }
            }
            assert_eq!((last, seen.len()), (tid, ROUNDS as usize));
            assert!(seen.iter().all(|tid| (FIRST..BEYOND).contains(tid)));
        }
    }

    #[test]
    fn no_number_is_of_two_places() {
        let mut tids = Tids::new();
        let mut firsts: Vec<_> = (0..PLACES + 1000).map(|_| tids.take()).collect();
        let beyond = firsts.split_off(PLACES as usize);
        assert_eq!(firsts, (FIRST..FIRST + PLACES).collect::<Vec<_>>());
        assert_eq!(beyond, (BEYOND..BEYOND + 1000).collect::<Vec<_>>());
        let is_of_its_place = |&tid: &u32| (tid - FIRST) % PLACES == (next(tid) - FIRST) % PLACES;
        assert!(firsts.iter().all(is_of_its_place));
        assert!(beyond.iter().all(|&tid| next(tid) == tid));
    }

    #[test]
    fn what_is_left_is_used_again() {
        let mut tids = Tids::new();
        let [first, second] = [tids.take(), tids.take()];
        tids.leave(first);
        let again = tids.take();
        assert_eq!(again, next(first));
        assert_eq!(tids.take(), second + 1);
    }
}
