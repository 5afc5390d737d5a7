//! What one worker keeps at hand, without a lock: free stacks of one class, and promises of them.
//!
//! They are bounded in number and in bytes, and a worker that has been idle for a while
//! [gives them back](Cache::empty).

use std::io;
use std::mem;

use super::class::Class;
use super::pool::{Promise, Stack, pool_of};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Cache {
    class: Class,
    stacks: Vec<Stack>,
    /// Never fewer than `stacks`: see [`Pool`](super::pool::Pool).
    promises: usize,
    /// How many stacks it keeps, and how many promises beyond those.
    capacity: usize,
}

impl Cache {
    const MOST: usize = 64;
    const MOST_BYTES: usize = 16 << 20;

    pub(crate) fn new(class: Class) -> Self {
        let capacity = (Self::MOST_BYTES / class.size()).min(Self::MOST);
        Self {
            class,
            stacks: Vec::with_capacity(capacity + 1),
            promises: 0,
            capacity,
        }
    }

    /// How many it takes from the pool or gives back at a time.
    fn batch(&self) -> usize {
        self.capacity.div_ceil(2)
    }

    fn keeps(&self, class: Class) -> bool {
        self.capacity > 0 && class.index() == self.class.index()
    }

    /// See [`Promise::new`].
    pub(crate) fn promise(&mut self, class: Class) -> io::Result<Promise> {
        if !self.keeps(class) {
            return Promise::new(class);
        }
        if self.promises == self.stacks.len() {
            let mut pool = pool_of(class).lock();
            // A batch of what there is, but no stack is carved that nobody has asked for.
            let more = pool.unpromised().clamp(1, self.batch());
            pool.promise(class, more)?;
            self.promises += more;
        }
        self.promises -= 1;
        Ok(Promise::of(class))
    }

    /// Gives the stack that was promised.
    pub(crate) fn redeem(&mut self, promise: Promise) -> Stack {
        if !self.keeps(promise.class()) {
            return promise.redeem();
        }
        if self.stacks.is_empty() {
            let mut pool = pool_of(self.class).lock();
            self.stacks
                .extend(pool.take_warm(self.promises.min(self.batch())));
        }
        match self.stacks.pop() {
            Some(stack) => {
                promise.keep();
                stack
            }
            None => promise.redeem(),
        }
    }

    /// Takes the stack of a thread that has ended.
    pub(crate) fn give_back(&mut self, stack: Stack) {
        if !self.keeps(stack.class) {
            return;
        }
        // The stack was a promise, which is the cache's now.
        self.promises += 1;
        self.stacks.push(stack);
        let too_many = self.stacks.len() > self.capacity;
        let too_promising = self.promises - self.stacks.len() > self.capacity;
        if too_many || too_promising {
            let batch = self.batch();
            let mut pool = pool_of(self.class).lock();
            if too_many {
                pool.warm.extend(self.stacks.drain(..batch));
            }
            pool.promised -= batch;
            self.promises -= batch;
        }
    }

    /// Gives everything back to the pool. `false` if there was nothing.
    pub(crate) fn empty(&mut self) -> bool {
        if self.promises == 0 {
            return false;
        }
        let mut pool = pool_of(self.class).lock();
        pool.warm.append(&mut self.stacks);
        pool.promised -= mem::take(&mut self.promises);
        true
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.empty();
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_cache_returns_what_it_cannot_keep() {
        let class = Class::of(64 << 10, None).unwrap();
        let mut cache = Cache::new(class);
        let promises: Vec<_> = (0..3 * Cache::MOST)
            .map(|_| cache.promise(class).unwrap())
            .collect();
        let stacks: Vec<_> = promises
            .into_iter()
            .map(|promise| cache.redeem(promise))
            .collect();
        for stack in stacks {
            cache.give_back(stack);
            assert!(cache.stacks.len() <= Cache::MOST);
            assert!(cache.promises >= cache.stacks.len());
        }
        assert!(!cache.stacks.is_empty());
        assert!(cache.empty() && !cache.empty());
        let pool = pool_of(class).lock();
        assert_eq!((pool.free(), pool.promised), (pool.carved, 0));
    }

    #[test]
    fn few_large_stacks_are_kept_and_none_of_those_that_are_larger_still() {
        for (size, kept) in [(8 << 20, 2), (32 << 20, 0)] {
            let class = Class::of(size, None).unwrap();
            let mut cache = Cache::new(class);
            let promises: Vec<_> = (0..5).map(|_| cache.promise(class).unwrap()).collect();
            let stacks: Vec<_> = promises.into_iter().map(|p| cache.redeem(p)).collect();
            for stack in stacks {
                cache.give_back(stack);
                assert!(cache.stacks.len() <= kept && cache.promises <= 2 * kept);
            }
            cache.empty();
            let pool = pool_of(class).lock();
            assert_eq!((pool.free(), pool.promised), (pool.carved, 0));
        }
    }

    #[test]
    fn a_promise_is_kept_whoever_holds_the_others() {
        let class = Class::of(128 << 10, None).unwrap();
        let (mut spawns, mut runs) = (Cache::new(class), Cache::new(class));
        for round in 1..500 {
            let promises: Vec<_> = (0..round % 70)
                .map(|_| spawns.promise(class).unwrap())
                .collect();
            let stacks: Vec<_> = promises
                .into_iter()
                .map(|promise| runs.redeem(promise))
                .collect();
            stacks.into_iter().for_each(|stack| runs.give_back(stack));
            let pool = pool_of(class).lock();
            let held = spawns.promises + runs.promises;
            assert!(held <= 3 * Cache::MOST, "{held} promises are held");
            assert_eq!(pool.promised, held);
            assert!(pool.promised <= pool.carved);
        }
        drop((spawns, runs));
        assert_eq!(pool_of(class).lock().promised, 0);
    }
}
