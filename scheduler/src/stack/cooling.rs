//! The pages of free stacks that nobody has needed for a while go back to the system.
//!
//! A pool notes the fewest stacks that were warm at any moment since it was looked at: so many nobody
//! has needed. Beyond the first [`WARM`] of a class they are cooled, some at a time. So a burst of a
//! million green threads leaves address space behind and no memory.

use parking_lot::Mutex;

use super::pool::{Pool, Stack, WARM, pools};
use super::tls::{self, Block};

/// So many stacks give their pages back at a time.
const COOLED_AT_ONCE: usize = 256;

/// Gives the pages of stacks that nobody has needed for a while back to the system, some at a time.
#[derive(Debug, Default)]
pub(crate) struct Cooling {
    /// How many are left to do, by class.
    left: Vec<usize>,
}

impl Cooling {
    /// Looks how many stacks of each class nobody has needed since the last time. `true` if there
    /// are so many free ones that it should be looked again after a while.
    pub(crate) fn look(&mut self) -> bool {
        let mut again = false;
        self.left.clear();
        for pool in pools() {
            let mut pool = pool.lock();
            self.left.push(pool.surplus());
            again |= pool.warm.len() > WARM;
        }
        again
    }

    /// Cools some of them. `true` if there are more.
    pub(crate) fn slice(&mut self) -> bool {
        let Some(class) = self.left.iter().position(|&left| left > 0) else {
            return false;
        };
        let count = self.left[class].min(COOLED_AT_ONCE);
        self.left[class] -= count;
        cool(&pools()[class], count);
        true
    }
}

/// Cools all free stacks but the first [`WARM`] of each class.
pub(crate) fn cool_all() {
    for pool in pools() {
        loop {
            let surplus = {
                let pool = pool.lock();
                let surplus = pool.warm.len().saturating_sub(WARM);
                surplus.min(pool.unpromised())
            };
            if surplus == 0 {
                break;
            }
            cool(pool, surplus.min(COOLED_AT_ONCE));
        }
    }
}

/// Gives the pages of up to `count` free stacks to the system, and their thread-locals first.
fn cool(pool: &Mutex<Pool>, count: usize) {
    let stacks: Vec<_> = {
        let mut pool = pool.lock();
        // While they are out of the pool, they are promised.
        let count = count.min(pool.unpromised());
        let stacks: Vec<_> = pool.take_warm(count).collect();
        pool.promised += stacks.len();
        stacks
    };
    let promised = stacks.len();
    let (mut bare, with_block): (Vec<_>, Vec<_>) = stacks
        .into_iter()
        .partition(|stack| stack.block.is_none_or(Block::is_forgettable));
    let blocks: Vec<_> = bare.iter().filter_map(|stack| stack.block).collect();
    // SAFETY: nobody uses these stacks, and the blocks may be forgotten.
    if !blocks.is_empty() && unsafe { tls::forget(&blocks) } {
        bare.iter_mut().for_each(|stack| stack.block = None);
    }
    bare.extend(with_block);
    bare.iter().for_each(Stack::drop_pages);
    let mut pool = pool.lock();
    pool.cold.append(&mut bare);
    pool.promised -= promised;
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::super::class::Class;
    use super::super::pool::{Promise, pool_of};
    use super::*;

    #[test]
    fn what_nobody_has_needed_for_a_while_gets_cold() {
        let class = Class::of(2 << 20, None).unwrap();
        let stacks: Vec<_> = (0..WARM + 600)
            .map(|_| Promise::new(class).unwrap().redeem())
            .collect();
        drop(stacks);
        let mut pool = pool_of(class).lock();
        assert_eq!(pool.surplus(), 0, "they have just been needed");
        // Some of them are needed again.
        let needed: Vec<_> = pool.take_warm(100).collect();
        pool.warm.extend(needed);
        assert_eq!(pool.surplus(), 500);
        assert_eq!(pool.surplus(), 600);
        drop(pool);
        cool(pool_of(class), 500);
        let pool = pool_of(class).lock();
        assert_eq!((pool.warm.len(), pool.cold.len()), (WARM + 100, 500));
        assert_eq!((pool.free(), pool.promised), (pool.carved, 0));
    }
}
