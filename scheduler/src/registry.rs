//! The green threads that are alive, so that a shutdown finds those that are parked and in no
//! queue.
//!
//! The list is in shards, each a slab under its own lock, so that spawning and ending on different
//! workers do not meet. A green thread stays in the shard of whoever spawned it. Invariant: once
//! [`close`](Registry::close) has returned, every green thread that will ever be is in the list,
//! since `insert` looks at the flag under the lock of the shard that `close` then takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use slab::Slab;

use crate::green::Waiter;

/// Where a green thread is in the registry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    shard: u32,
    slot: u32,
}

/// How far somebody has looked through the registry.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor {
    shard: usize,
    slot: usize,
}

/// The runtime is shutting down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed;

type Shard = CachePadded<Mutex<Slab<Arc<Waiter>>>>;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Registry {
    shards: Box<[Shard]>,
    closed: AtomicBool,
}

impl Registry {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            closed: AtomicBool::new(false),
        }
    }

    /// Adds the green thread that `make` makes to a shard.
    pub(crate) fn insert(
        &self,
        shard: usize,
        make: impl FnOnce(Key) -> Arc<Waiter>,
    ) -> Result<Arc<Waiter>, Closed> {
        let mut threads = self.shards[shard].lock();
        if self.is_closed() {
            return Err(Closed);
        }
        let entry = threads.vacant_entry();
        let key = Key {
            shard: u32::try_from(shard).expect("shards are workers"),
            slot: u32::try_from(entry.key()).expect("no machine holds four billion threads"),
        };
        let waiter = make(key);
        entry.insert(waiter.clone());
        Ok(waiter)
    }

    /// Some of the green threads that are alive, and where to go on; `None` if these are the last.
    pub(crate) fn some_from(
        &self,
        Cursor { shard, slot }: Cursor,
        limit: usize,
    ) -> (Vec<Arc<Waiter>>, Option<Cursor>) {
        let threads = self.shards[shard].lock();
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

    pub(crate) fn remove(&self, key: Key) {
        let waiter = self.shards[key.shard as usize]
            .lock()
            .remove(key.slot as usize);
        drop(waiter);
    }

    /// How many green threads are alive.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Refuses new green threads from now on, and gives those that are alive.
    pub(crate) fn close(&self) -> Vec<Arc<Waiter>> {
        self.closed.store(true, Ordering::SeqCst);
        let alive = self.shards.iter().flat_map(|shard| {
            let shard = shard.lock();
            shard
                .iter()
                .map(|(_, waiter)| waiter.clone())
                .collect::<Vec<_>>()
        });
        alive.collect()
    }
}
