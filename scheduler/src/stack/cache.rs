//! What one worker keeps at hand, without a lock: free stacks of one class, and promises of them.

use std::io;

use super::class::Class;
use super::pool::{Promise, Stack, pool_of};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Cache {
    class: Class,
    stacks: Vec<Stack>,
    /// Never fewer than `stacks`: see [`Pool`](super::pool::Pool).
    promises: usize,
}

impl Cache {
    const CAPACITY: usize = 64;
    const BATCH: usize = 32;

    pub(crate) fn new(class: Class) -> Self {
        Self {
            class,
            stacks: Vec::with_capacity(Self::CAPACITY + 1),
            promises: 0,
        }
    }

    fn keeps(&self, class: Class) -> bool {
        class.index() == self.class.index()
    }

    /// See [`Promise::new`].
    pub(crate) fn promise(&mut self, class: Class) -> io::Result<Promise> {
        if !self.keeps(class) {
            return Promise::new(class);
        }
        if self.promises == self.stacks.len() {
            let mut pool = pool_of(class).lock();
            // A batch of what there is, but no stack is carved that nobody has asked for.
            let more = pool.unpromised().clamp(1, Self::BATCH);
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
                .extend(pool.take_warm(self.promises.min(Self::BATCH)));
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
        let too_many = self.stacks.len() > Self::CAPACITY;
        let too_promising = self.promises - self.stacks.len() > Self::CAPACITY;
        if too_many || too_promising {
            let mut pool = pool_of(self.class).lock();
            if too_many {
                pool.warm.extend(self.stacks.drain(..Self::BATCH));
            }
            pool.promised -= Self::BATCH;
            self.promises -= Self::BATCH;
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // Each stack gives one promise back.
        let others = self.promises - self.stacks.len();
        pool_of(self.class).lock().promised -= others;
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_cache_returns_what_it_cannot_keep() {
        let class = Class::of(64 << 10, None).unwrap();
        let mut cache = Cache::new(class);
        let promises: Vec<_> = (0..3 * Cache::CAPACITY)
            .map(|_| cache.promise(class).unwrap())
            .collect();
        let stacks: Vec<_> = promises
            .into_iter()
            .map(|promise| cache.redeem(promise))
            .collect();
        for stack in stacks {
            cache.give_back(stack);
            assert!(cache.stacks.len() <= Cache::CAPACITY);
            assert!(cache.promises >= cache.stacks.len());
        }
        assert!(!cache.stacks.is_empty());
        drop(cache);
        let pool = pool_of(class).lock();
        assert_eq!((pool.free(), pool.promised), (pool.carved, 0));
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
            assert!(held <= 3 * Cache::CAPACITY, "{held} promises are held");
            assert_eq!(pool.promised, held);
            assert!(pool.promised <= pool.carved);
        }
        drop((spawns, runs));
        assert_eq!(pool_of(class).lock().promised, 0);
    }
}
