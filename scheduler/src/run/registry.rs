//! The green threads that are alive: how many, and, so that a shutdown finds those that are parked
//! and in no queue, which of them have suspended.
//!
//! A green thread is counted when it is spawned and entered at its first suspension, by the worker
//! that ran it: one that ends without having waited never is. Both are done in shards, one a worker,
//! so that workers do not meet; the list of a shard is a slab under its own lock.
//!
//! # Invariants once the registry is [closed](Registry::close)
//!
//! - **Nothing is counted any more.** `count` adds first and looks at the flag afterwards, `close` sets
//!   the flag first and whoever waits for the end reads the counts afterwards, all sequentially
//!   consistent: one of the two sees the other.
//! - **Every green thread that is alive is told of it**: by `close` if it has been entered before
//!   `close` took the lock of its shard; else by the worker that has entered it and looks at the flag
//!   afterwards, which was set before that lock was taken; and if it has not even started, by its
//!   start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

use crate::protocol::lock::Mutex;
use crossbeam_utils::CachePadded;
use slab::Slab;

use crate::protocol::outline::{Field, fields};
use crate::run::green::Waiter;

/// A list that has room for so many times its threads, and for more than a few, has had a burst of them.
const SPARSE: usize = 4;
const FEW: usize = 256;

/// Where a green thread is in the registry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    shard: u32,
    slot: u32,
}

impl Key {
    /// The key as a number, which is never [`NO_KEY`].
    pub(crate) fn to_number(self) -> u64 {
        u64::from(self.shard) << 32 | u64::from(self.slot)
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        (number != NO_KEY).then_some(Self {
            shard: (number >> 32) as u32,
            slot: number as u32,
        })
    }
}

/// There are not so many shards.
pub(crate) const NO_KEY: u64 = u64::MAX;

/// How far somebody has looked through the registry.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor {
    shard: usize,
    slot: usize,
}

/// The runtime is shutting down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed;

#[derive(Debug, Default)]
struct Shard {
    /// How many were counted here, less how many ended here.
    alive: AtomicIsize,
    entered: Mutex<Entered>,
}

/// Those that have been entered.
pub(crate) type Entered = Slab<Arc<Waiter>>;

impl Shard {
    const FIELDS: [Field; 2] = fields!(Shard: alive, entered);
    const SIZE: Field = Field::new("Shard.size", size_of::<CachePadded<Self>>());
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Registry {
    shards: Box<[CachePadded<Shard>]>,
    closed: AtomicBool,
}

impl Registry {
    pub(crate) const FIELDS: [Field; 1] = fields!(Registry: shards);
    pub(crate) const OF_SHARDS: [Field; 2] = Shard::FIELDS;
    pub(crate) const SIZE_OF_SHARD: Field = Shard::SIZE;

    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| CachePadded::default()).collect(),
            closed: AtomicBool::new(false),
        }
    }

    /// Counts a green thread that is about to be spawned. It must be counted [off](Self::ended) even
    /// if the registry is closed.
    pub(crate) fn count(&self, shard: usize) -> Result<(), Closed> {
        self.shards[shard].alive.fetch_add(1, Ordering::SeqCst);
        if self.is_closed() {
            Err(Closed)
        } else {
            Ok(())
        }
    }

    /// Counts a green thread off. `true` if nobody is alive and nobody will be.
    #[must_use]
    pub(crate) fn ended(&self, shard: usize) -> bool {
        self.shards[shard].alive.fetch_sub(1, Ordering::SeqCst);
        self.is_closed() && self.len() == 0
    }

    /// Enters a green thread that suspends for the first time. The caller must then look whether the
    /// registry is closed.
    pub(crate) fn enter(&self, shard: usize, waiter: &Arc<Waiter>) -> Key {
        let slot = self.shards[shard].entered.lock().insert(waiter.clone());
        Key {
            shard: u32::try_from(shard).expect("shards are workers"),
            slot: u32::try_from(slot).expect("no machine holds four billion threads"),
        }
    }

    /// Some of the green threads that have been entered, and where to go on; `None` if these are the
    /// last.
    pub(crate) fn some_from(
        &self,
        Cursor { shard, slot }: Cursor,
        limit: usize,
    ) -> (Vec<Arc<Waiter>>, Option<Cursor>) {
        let threads = self.shards[shard].entered.lock();
        let end = threads.capacity().min(slot + limit);
        let found = (slot..end).filter_map(|slot| threads.get(slot).cloned());
        let next = if end < threads.capacity() {
            Some(Cursor { shard, slot: end })
        } else {
            let shard = shard + 1;
            (shard < self.shards.len()).then_some(Cursor { shard, slot: 0 })
        };
        (found.collect(), next)
    }

    /// Gives back the room of a burst that is over.
    pub(crate) fn shrink(&self, shard: usize) {
        let mut entered = self.shards[shard].entered.lock();
        if entered.capacity() / SPARSE > entered.len().max(FEW) {
            entered.shrink_to_fit();
        }
    }

    pub(crate) fn remove(&self, key: Key) {
        let waiter = self.shards[key.shard as usize]
            .entered
            .lock()
            .remove(key.slot as usize);
        drop(waiter);
    }

    /// How many green threads are alive. While some are spawned and others end, it is about right;
    /// once the registry is closed, the counts only fall, and then 0 is none.
    pub(crate) fn len(&self) -> usize {
        let alive = self.shards.iter().map(|shard| &shard.alive);
        let alive: isize = alive.map(|count| count.load(Ordering::SeqCst)).sum();
        usize::try_from(alive).unwrap_or(0)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Refuses new green threads from now on, and gives those that have been entered.
    pub(crate) fn close(&self) -> Vec<Arc<Waiter>> {
        self.closed.store(true, Ordering::SeqCst);
        let entered = self.shards.iter().flat_map(|shard| {
            let entered = shard.entered.lock();
            entered
                .iter()
                .map(|(_, waiter)| waiter.clone())
                .collect::<Vec<_>>()
        });
        entered.collect()
    }
}
