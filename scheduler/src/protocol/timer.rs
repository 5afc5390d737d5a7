//! Deadlines: which waits end when.
//!
//! Each worker has a shard: a 4-ary min-heap of deadlines beside a slab that remembers where in the
//! heap each timer is, so that a cancelled timer leaves at once (a read timeout that is armed and
//! cancelled a million times holds one slot, and not a million until they expire). Arming costs
//! O(1) when deadlines come in order, which timeouts of one length do, and O(log n) at worst; so
//! does cancelling.
//!
//! A green thread arms in the shard of the worker that it runs on, so the lock is nearly always
//! free and **arming never wakes anybody**: the worker itself looks at its shard before it sleeps,
//! whenever its queues run dry, and at each of its regular ticks. [`Shard::next`] can be read
//! without the lock.
//!
//! Times are nanoseconds since [`origin`], which makes them fit in an atomic.
//!
//! Rejected: a hierarchical timing wheel, whose granularity would round every sleep up; a heap that
//! leaves cancelled timers in place, as it grows with every timeout that did not come; and one heap
//! for all workers, whose lock every timeout would take.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::protocol::lock::Mutex;
use slab::Slab;

const ARITY: usize = 4;
const NEVER: u64 = u64::MAX;

/// A heap that has room for so many times its timers, and for more than a few, has had a burst of them.
const SPARSE: usize = 4;
const FEW: usize = 256;

/// Sets the zero of timer times, if it is not set.
pub(crate) fn begin() {
    origin();
}

/// The zero of timer times.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// Timer time of `instant`; `None` if it is too far ahead to ever come.
fn nanos(instant: Instant) -> Option<u64> {
    u64::try_from(instant.saturating_duration_since(origin()).as_nanos())
        .ok()
        .filter(|nanos| *nanos != NEVER)
}

/// The name of an armed timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerKey {
    slot: usize,
    /// Slots are used again, sequence numbers are not.
    sequence: u64,
}

#[derive(Debug)]
struct Entry<T> {
    /// Where in the heap this entry's node is.
    position: usize,
    value: T,
}

/// What the heap is ordered by, beside the slot of the entry: so that of many timers few cache lines are
/// looked at.
#[derive(Debug, Clone, Copy)]
struct Node {
    at: u64,
    sequence: u64,
    slot: usize,
}

impl Node {
    fn order(&self) -> (u64, u64) {
        (self.at, self.sequence)
    }

    fn is_before(&self, other: &Self) -> bool {
        self.order() < other.order()
    }
}

/// A heap of timers, earliest first. Timers of the same instant expire in the order in which they
/// were armed.
#[derive(Debug)]
struct Heap<T> {
    entries: Slab<Entry<T>>,
    /// Each is not earlier than its parent at `(index - 1) / ARITY`.
    nodes: Vec<Node>,
    next_sequence: u64,
}

impl<T> Heap<T> {
    fn new() -> Self {
        Self {
            entries: Slab::new(),
            nodes: Vec::new(),
            next_sequence: 0,
        }
    }

    fn next(&self) -> u64 {
        self.nodes.first().map_or(NEVER, |node| node.at)
    }

    fn arm(&mut self, at: u64, value: T) -> TimerKey {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let position = self.nodes.len();
        let slot = self.entries.insert(Entry { position, value });
        let node = Node { at, sequence, slot };
        self.nodes.push(node);
        self.sift_up(position, node);
        TimerKey { slot, sequence }
    }

    fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let position = self.entries.get(key.slot)?.position;
        (self.nodes[position].sequence == key.sequence).then(|| self.remove(position))
    }

    fn pop_due(&mut self, now: u64) -> Option<T> {
        (self.next() <= now).then(|| self.remove(0))
    }

    fn remove(&mut self, position: usize) -> T {
        let removed = self.nodes.swap_remove(position);
        if let Some(&last) = self.nodes.get(position) {
            if last.is_before(&removed) {
                self.sift_up(position, last);
            } else {
                self.sift_down(position, last);
            }
        }
        self.entries.remove(removed.slot).value
    }

    fn shrink(&mut self) {
        if self.entries.capacity() / SPARSE > self.nodes.len().max(FEW) {
            self.nodes.shrink_to(2 * self.nodes.len());
            self.entries.shrink_to_fit();
        }
    }

    fn put(&mut self, position: usize, node: Node) {
        self.nodes[position] = node;
        self.entries[node.slot].position = position;
    }

    /// Puts `node` at `position` or above, and moves those down that it passes.
    fn sift_up(&mut self, mut position: usize, node: Node) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if !node.is_before(&self.nodes[parent]) {
                break;
            }
            self.put(position, self.nodes[parent]);
            position = parent;
        }
        self.put(position, node);
    }

    /// Puts `node` at `position` or below, and moves those up that it passes.
    fn sift_down(&mut self, mut position: usize, node: Node) {
        loop {
            let first = position * ARITY + 1;
            let children = first..(first + ARITY).min(self.nodes.len());
            let Some(least) = children.min_by_key(|child| self.nodes[*child].order()) else {
                break;
            };
            if !self.nodes[least].is_before(&node) {
                break;
            }
            self.put(position, self.nodes[least]);
            position = least;
        }
        self.put(position, node);
    }
}

/// The timers of one worker.
#[derive(Debug)]
pub(crate) struct Shard<T> {
    heap: Mutex<Heap<T>>,
    /// The earliest deadline in `heap`, written under its lock.
    next: AtomicU64,
}

impl<T> Shard<T> {
    pub(crate) fn new() -> Self {
        // Fix the origin before the first deadline is taken.
        origin();
        Self {
            heap: Mutex::new(Heap::new()),
            next: AtomicU64::new(NEVER),
        }
    }

    /// Arms a timer; `None` if the deadline is too far ahead to ever come.
    pub(crate) fn arm(&self, deadline: Instant, value: T) -> Option<TimerKey> {
        let at = nanos(deadline)?;
        let mut heap = self.heap.lock();
        let key = heap.arm(at, value);
        self.next.store(heap.next(), Ordering::Relaxed);
        Some(key)
    }

    /// Takes a timer back; `None` if it has expired.
    pub(crate) fn cancel(&self, key: TimerKey) -> Option<T> {
        let mut heap = self.heap.lock();
        let value = heap.cancel(key);
        self.next.store(heap.next(), Ordering::Relaxed);
        value
    }

    /// Takes all timers, whatever their deadlines.
    pub(crate) fn take_all(&self) -> Vec<T> {
        let mut heap = self.heap.lock();
        heap.nodes.clear();
        let all = std::mem::take(&mut heap.entries);
        self.next.store(heap.next(), Ordering::Relaxed);
        drop(heap);
        all.into_iter().map(|(_, entry)| entry.value).collect()
    }

    /// How many timers are armed, and how many ever were.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let heap = self.heap.lock();
        (heap.nodes.len(), heap.next_sequence)
    }

    /// Gives back the room of a burst that is over.
    pub(crate) fn shrink(&self) {
        self.heap.lock().shrink();
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        match self.next.load(Ordering::Relaxed) {
            NEVER => None,
            nanos => Some(origin() + Duration::from_nanos(nanos)),
        }
    }

    /// Whether some deadline has come.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let next = self.next.load(Ordering::Relaxed);
        next != NEVER && nanos(now).is_some_and(|now| next <= now)
    }

    /// Takes the timers whose deadlines have come, earliest first.
    pub(crate) fn expire(&self, now: Instant, due: &mut Vec<T>) {
        if !self.is_due(now) {
            return;
        }
        let Some(now) = nanos(now) else { return };
        let mut heap = self.heap.lock();
        while let Some(value) = heap.pop_due(now) {
            due.push(value);
        }
        self.next.store(heap.next(), Ordering::Relaxed);
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone)]
    enum Step {
        Arm(u64),
        /// Cancels the timer armed so many arms ago, whether it is still there or not.
        Cancel(usize),
        Expire(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..100u64).prop_map(Step::Arm),
            2 => (0..20usize).prop_map(Step::Cancel),
            1 => (0..100u64).prop_map(Step::Expire),
        ];
        prop::collection::vec(step, 0..400)
    }

    fn check_shape(heap: &Heap<usize>) {
        assert_eq!(heap.nodes.len(), heap.entries.len());
        for (position, node) in heap.nodes.iter().enumerate() {
            assert_eq!(heap.entries[node.slot].position, position);
            let parent = position.checked_sub(1).map(|above| above / ARITY);
            assert!(parent.is_none_or(|parent| heap.nodes[parent].is_before(node)));
        }
    }

    proptest! {
        #[test]
        fn behaves_like_an_ordered_map(steps in steps()) {
            let mut heap = Heap::new();
            let mut model = BTreeMap::new();
            let mut keys = Vec::new();
            for step in steps {
                match step {
                    Step::Arm(at) => {
                        let id = keys.len();
                        keys.push((heap.arm(at, id), at));
                        model.insert((at, id), id);
                    }
                    Step::Cancel(back) => {
                        if let Some(id) = keys.len().checked_sub(back + 1) {
                            let (key, at) = keys[id];
                            prop_assert_eq!(heap.cancel(key), model.remove(&(at, id)));
                        }
                    }
                    Step::Expire(now) => {
                        while let Some(id) = heap.pop_due(now) {
                            let (first, expected) = model.pop_first().unwrap();
                            prop_assert!(first.0 <= now);
                            prop_assert_eq!(id, expected);
                        }
                        prop_assert!(model.first_key_value().is_none_or(|(key, _)| key.0 > now));
                    }
                }
                check_shape(&heap);
                prop_assert_eq!(heap.next(), model.first_key_value().map_or(NEVER, |(key, _)| key.0));
            }
        }
    }

    #[test]
    fn a_key_of_an_expired_timer_cancels_nothing() {
        let shard = Shard::new();
        let now = Instant::now();
        let key = shard.arm(now, 'a').unwrap();
        let mut due = Vec::new();
        shard.expire(now, &mut due);
        assert_eq!(due, ['a']);
        shard.arm(now, 'b').unwrap();
        assert_eq!(shard.cancel(key), None);
        assert!(shard.is_due(now));
    }

    #[test]
    fn what_is_past_is_due_and_what_never_comes_is_not_armed() {
        let shard = Shard::new();
        let now = Instant::now();
        assert!(shard.next().is_none());
        let far = now + Duration::from_secs(1 << 40);
        assert_eq!(shard.arm(far, 'f'), None);
        shard.arm(now - Duration::from_millis(1), 'p').unwrap();
        assert!(shard.is_due(now));
        assert!(shard.next().unwrap() <= now);
    }

    #[test]
    fn a_million_timers_are_armed_cancelled_and_expired() {
        let shard = Shard::new();
        let now = Instant::now();
        let keys: Vec<_> = (0..1_000_000u64)
            .map(|n| {
                shard
                    .arm(now + Duration::from_nanos(n * 7919 % 1_000_003), n)
                    .unwrap()
            })
            .collect();
        for key in keys.iter().step_by(2) {
            assert!(shard.cancel(*key).is_some());
        }
        let mut due = Vec::new();
        shard.expire(now + Duration::from_secs(1), &mut due);
        assert_eq!(due.len(), 500_000);
        assert!(due.is_sorted_by_key(|n| n * 7919 % 1_000_003));
        assert!(shard.next().is_none());
    }

    #[test]
    fn the_room_of_a_burst_goes_back_and_keys_stay_good() {
        let mut heap = Heap::new();
        let kept = heap.arm(7, 7);
        let keys: Vec<_> = (0..100_000).map(|at| heap.arm(at, at)).collect();
        let room = heap.entries.capacity();
        heap.shrink();
        assert_eq!(heap.entries.capacity(), room, "it is in use");
        let late = keys[99_999];
        for &key in &keys[..99_999] {
            assert!(heap.cancel(key).is_some());
        }
        heap.shrink();
        assert!(heap.nodes.capacity() < FEW);
        assert_eq!(heap.cancel(late), Some(99_999), "its slot was the last");
        heap.shrink();
        assert!(heap.entries.capacity() < FEW);
        let again = heap.arm(8, 8);
        assert_eq!(heap.cancel(late), None);
        assert_eq!((heap.cancel(kept), heap.cancel(again)), (Some(7), Some(8)));
    }
}
