//! The pages of free stacks that nobody has needed for a while go back to the system.
//!
//! A pool notes the fewest stacks that were warm at any moment since it was looked at: so many nobody
//! has needed. Beyond [some bytes](Class::most_warm) of a class they are cooled, some at a time. So
//! a burst of a million green threads, or of a few hundred that go deep, leaves address space behind, and
//! of memory the page tables.

use crate::protocol::lock::Mutex;

use super::class::Class;
use super::guard;
use super::pool::{Pool, Stack, pools};
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
    /// Looks after the guards, and how many stacks of each class nobody has needed since the last time. `true` if there
    /// are so many free ones that it should be looked again after a while.
    pub(crate) fn look(&mut self) -> bool {
        guard::look_after();
        let mut again = false;
        self.left.clear();
        for (index, pool) in pools().iter().enumerate() {
            let most_warm = Class::most_warm(index);
            let mut pool = pool.lock();
            self.left.push(pool.unneeded().saturating_sub(most_warm));
            again |= pool.warm.len() > most_warm;
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

/// Cools all free stacks but those of each class that may stay warm.
pub(crate) fn cool_all() {
    for (index, pool) in pools().iter().enumerate() {
        loop {
            let surplus = {
                let pool = pool.lock();
                let surplus = pool.warm.len().saturating_sub(Class::most_warm(index));
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
        .partition(|stack| stack.block().is_none_or(Block::is_forgettable));
    let blocks: Vec<_> = bare.iter().filter_map(Stack::block).collect();
    // SAFETY: nobody uses these stacks, and the blocks may be forgotten.
    if !blocks.is_empty() && unsafe { tls::forget(&blocks) } {
        bare.iter_mut().for_each(Stack::forget_block);
    }
    bare.extend(with_block);
    bare.iter().for_each(Stack::drop_pages);
    let mut pool = pool.lock();
    pool.cold.append(&mut bare);
    pool.shrink_warm();
    pool.promised -= promised;
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::super::pool::{Promise, pool_of};
    use super::*;
    use crate::stack::not_tested;

    #[test]
    fn what_nobody_has_needed_for_a_while_gets_cold() {
        let class = Class::of(256 << 10).unwrap();
        let most_warm = Class::most_warm(class.index());
        let stacks: Vec<_> = (0..most_warm + 600)
            .map(|_| Promise::new(class).unwrap().redeem())
            .collect();
        drop(stacks);
        let mut pool = pool_of(class).lock();
        assert_eq!(pool.unneeded(), 0, "they have just been needed");
        // Some of them are needed again.
        let needed: Vec<_> = pool.take_warm(100).collect();
        pool.warm.extend(needed);
        assert_eq!(pool.unneeded(), most_warm + 500);
        assert_eq!(pool.unneeded(), most_warm + 600);
        drop(pool);
        cool(pool_of(class), 500);
        let pool = pool_of(class).lock();
        assert_eq!((pool.warm.len(), pool.cold.len()), (most_warm + 100, 500));
        assert_eq!((pool.free(), pool.promised), (pool.carved, 0));
    }

    #[test]
    fn what_stays_warm_is_counted_in_bytes() {
        for size in [16 << 10, 256 << 10, 8 << 20, 1 << 30] {
            let plain = Class::of(size).unwrap();
            let own = tls::find(|| None, false).map(|_| plain.with_thread_locals());
            for class in [Ok(plain), own] {
                match class {
                    Ok(class) => assert!(Class::most_warm(class.index()) * size <= 32 << 20),
                    Err(why) => not_tested::without_own_thread_locals(why),
                }
            }
        }
    }
}
