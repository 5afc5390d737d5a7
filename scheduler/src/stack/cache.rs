//! What one worker keeps at hand, without a lock: free stacks, and promises of them, of two classes. One is that of its
//! runtime; the other is asked for by name, as std does for its threads, and is the one that was asked for again and again last.
//!
//! They are bounded in number and in bytes, and a worker that has been idle for a while
//! [gives them back](Cache::empty).

use std::io;
use std::mem;

use super::class::Class;
use super::pool::{Promise, Stack, pool_of};
use crate::protocol::lock::Inside;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Cache {
    main: Shelf,
    other: Option<Shelf>,
    /// How often a class was asked for that is not kept, since the other one was.
    passed_over: u32,
}

impl Cache {
    /// So often a class is asked for before it takes the place of another one.
    const PATIENCE: u32 = 16;

    pub(crate) fn new(class: Class) -> Self {
        Self {
            main: Shelf::new(class),
            other: None,
            passed_over: 0,
        }
    }

    /// Where a class is kept, if it is.
    #[inline]
    fn shelf(&mut self, class: Class) -> Option<&mut Shelf> {
        if self.main.is_of(class) {
            return (self.main.capacity > 0).then_some(&mut self.main);
        }
        let other = self.other.as_mut().filter(|other| other.is_of(class))?;
        self.passed_over = 0;
        Some(other)
    }

    /// The same, where it is asked for, and so may be kept from now on.
    #[inline]
    fn shelf_of_asked(&mut self, class: Class) -> Option<&mut Shelf> {
        let is_of_it = |other: &Shelf| other.is_of(class);
        if !self.main.is_of(class) && !self.other.as_ref().is_some_and(is_of_it) {
            self.consider(class);
        }
        self.shelf(class)
    }

    /// A class was asked for that is not kept.
    #[cold]
    #[inline(never)]
    fn consider(&mut self, class: Class) {
        // The allocator may wait for a lock, for which nobody parks who has borrowed this. It is left when the old shelf is gone.
        let _inside = Inside::enter();
        let is_free = self.other.is_none();
        if !is_free && self.passed_over < Self::PATIENCE {
            self.passed_over += 1;
            return;
        }
        self.passed_over = 0;
        let shelf = Shelf::new(class);
        if shelf.capacity > 0 {
            self.other = Some(shelf);
        }
    }

    /// See [`Promise::new`].
    pub(crate) fn promise(&mut self, class: Class) -> io::Result<Promise> {
        match self.shelf_of_asked(class) {
            Some(shelf) => shelf.promise(),
            None => Promise::new(class),
        }
    }

    /// Gives the stack that was promised.
    pub(crate) fn redeem(&mut self, promise: Promise) -> Stack {
        match self.shelf_of_asked(promise.class()) {
            Some(shelf) => shelf.redeem(promise),
            None => promise.redeem(),
        }
    }

    /// Takes the stack of a thread that has ended.
    pub(crate) fn give_back(&mut self, stack: Stack) {
        if let Some(shelf) = self.shelf(stack.class) {
            shelf.give_back(stack);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let mut shelves = [&self.main].into_iter().chain(&self.other);
        shelves.all(|shelf| shelf.promises == 0)
    }

    /// Gives everything back to the pools. `false` if there was nothing.
    pub(crate) fn empty(&mut self) -> bool {
        let had_some = self.main.empty();
        self.other.as_mut().is_some_and(Shelf::empty) || had_some
    }
}

/// What is kept of one class.
#[derive(Debug)]
struct Shelf {
    class: Class,
    stacks: Vec<Stack>,
    /// Never fewer than `stacks`: see [`Pool`](super::pool::Pool).
    promises: usize,
    /// How many stacks it keeps, and how many promises beyond those.
    capacity: usize,
}

impl Shelf {
    const MOST: usize = 64;
    const MOST_BYTES: usize = 16 << 20;

    fn new(class: Class) -> Self {
        let capacity = (Self::MOST_BYTES / class.size()).min(Self::MOST);
        Self {
            class,
            stacks: Vec::with_capacity(capacity + 1),
            promises: 0,
            capacity,
        }
    }

    #[inline]
    fn is_of(&self, class: Class) -> bool {
        class == self.class
    }

    /// How many it takes from the pool or gives back at a time.
    fn batch(&self) -> usize {
        self.capacity.div_ceil(2)
    }

    fn promise(&mut self) -> io::Result<Promise> {
        let class = self.class;
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

    fn redeem(&mut self, promise: Promise) -> Stack {
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

    fn give_back(&mut self, stack: Stack) {
        // The stack was a promise, which is the shelf's now.
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
    fn empty(&mut self) -> bool {
        if self.promises == 0 {
            return false;
        }
        let mut pool = pool_of(self.class).lock();
        pool.warm.append(&mut self.stacks);
        pool.promised -= mem::take(&mut self.promises);
        true
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.empty();
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_cache_returns_what_it_cannot_keep() {
        let class = Class::of(64 << 10).unwrap();
        let mut cache = Cache::new(class);
        let promises: Vec<_> = (0..3 * Shelf::MOST)
            .map(|_| cache.promise(class).unwrap())
            .collect();
        let stacks: Vec<_> = promises
            .into_iter()
            .map(|promise| cache.redeem(promise))
            .collect();
        for stack in stacks {
            cache.give_back(stack);
            assert!(cache.main.stacks.len() <= Shelf::MOST);
            assert!(cache.main.promises >= cache.main.stacks.len());
        }
        assert!(!cache.main.stacks.is_empty());
        assert!(cache.empty() && !cache.empty());
        let pool = pool_of(class).lock();
        assert_eq!((pool.free(), pool.promised), (pool.carved, 0));
    }

    #[test]
    fn few_large_stacks_are_kept_and_none_of_those_that_are_larger_still() {
        for (size, kept) in [(8 << 20, 2), (32 << 20, 0)] {
            let class = Class::of(size).unwrap();
            let mut cache = Cache::new(class);
            let promises: Vec<_> = (0..5).map(|_| cache.promise(class).unwrap()).collect();
            let stacks: Vec<_> = promises.into_iter().map(|p| cache.redeem(p)).collect();
            for stack in stacks {
                cache.give_back(stack);
                assert!(cache.main.stacks.len() <= kept && cache.main.promises <= 2 * kept);
            }
            cache.empty();
            let pool = pool_of(class).lock();
            assert_eq!((pool.free(), pool.promised), (pool.carved, 0));
        }
    }

    #[test]
    fn a_promise_is_kept_whoever_holds_the_others() {
        let class = Class::of(128 << 10).unwrap();
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
            let held = spawns.main.promises + runs.main.promises;
            assert!(held <= 3 * Shelf::MOST, "{held} promises are held");
            assert_eq!(pool.promised, held);
            assert!(pool.promised <= pool.carved);
        }
        drop((spawns, runs));
        assert_eq!(pool_of(class).lock().promised, 0);
    }

    #[test]
    fn the_other_class_is_the_one_that_is_asked_for_again_and_again() {
        let [main, first, second, huge] =
            [512 << 10, 2 << 20, 16 << 20, 64 << 20].map(|size| Class::of(size).unwrap());
        let mut cache = Cache::new(main);
        let mut use_one = |class: Class| {
            let promise = cache.promise(class).unwrap();
            let stack = cache.redeem(promise);
            cache.give_back(stack);
            let other = cache.other.as_ref();
            other.map(|other| (other.class.size(), other.stacks.len()))
        };
        assert_eq!(use_one(huge), None);
        assert_eq!(use_one(first), Some((first.size(), 1)));
        for _ in 0..Cache::PATIENCE {
            // It is used in between.
            assert_eq!(use_one(second), Some((first.size(), 1)));
            assert_eq!(use_one(first), Some((first.size(), 1)));
        }
        let asked = (0..=Cache::PATIENCE).find(|_| use_one(second).unwrap().0 == second.size());
        assert!(asked.is_some_and(|asked| asked > 1), "{asked:?}");
        assert_eq!(use_one(main), Some((second.size(), 1)));
        let given_back = pool_of(first).lock();
        assert_eq!(given_back.free(), given_back.carved);
        assert_eq!(given_back.promised, 0);
        drop(given_back);
        assert!(cache.empty() && !cache.empty());
        for class in [main, second] {
            let pool = pool_of(class).lock();
            assert_eq!((pool.free(), pool.promised), (pool.carved, 0));
        }
    }
}
