//! Where in memory the threads are that wait in a queue, so that what a switch to one of them touches can be in the
//! cache when its turn comes.
//!
//! Whoever queues a thread [notes](Whereabouts::queued) that, while it still has the right to run it. Whoever takes one
//! [looks](Whereabouts::ahead) where that one is which is taken [some turns](AHEAD) later, and
//! [prefetches](Place::prefetch) it. In a short queue nobody does: all is in the cache there.
//!
//! Unless [many come](Whereabouts::many_come) that have waited for events: between two turns of each of those others have had theirs, and
//! the system has worked for all of them. So that is done for each of them, and for more of its frames.
//!
//! # Invariants
//!
//! - **What is noted is a hint, and nobody goes to where it says.** The thread may have been stolen since, and be at
//!   its end; its memory may be another's, or the system's again. A prefetch is no access.
//! - **A hint may be that of another thread.** It is found by how far its thread is from the end of the queue: one
//!   that came there without a note has those before it missed by one, until they have had their turn.
//! - Thieves change how many wait. To those who come it does not matter, and in a short queue nobody counts who goes: its
//!   worker looks again when as many have come as would make it long.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicIsize, Ordering};

use crate::run::green::{Runnable, Waiter};
use crate::stack::prefetch::{LINE, prefetch, prefetch_range};

/// The thread that is next but one.
const AHEAD: usize = 2;

/// What fewer threads touch is in the cache.
const FEW: usize = 512;

/// Unless so many come at a time that have waited for events.
const MANY: usize = 8;

/// So much of its frames does one touch that has yielded, above where it has suspended.
const YIELDS: usize = LINE + 1;

/// So much one that has waited for an event, in an operation.
const OPERATES: usize = 10 * LINE;

/// How far from its thread pointer a thread has what each wait asks for, where all have it at the same distance.
static THREAD_LOCALS: AtomicIsize = AtomicIsize::new(0);

/// Notes where the current OS thread has what each wait asks for.
pub(crate) fn note_thread_locals(thread_pointer: usize, anchor: usize) {
    let distance = anchor.wrapping_sub(thread_pointer).cast_signed();
    THREAD_LOCALS.store(distance, Ordering::Relaxed);
}

/// Where one thread is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    /// 0 if nothing is known.
    control_block: usize,
    /// Where its frames end.
    suspended_at: usize,
    stack_base: usize,
    /// 0 if its thread-locals are its worker's.
    thread_pointer: usize,
}

impl Place {
    pub(crate) fn of(runnable: &Runnable) -> Self {
        // SAFETY: the runnable is the right to run it, and what comes to these queues has run.
        let started = unsafe { runnable.green().own_stack.started() };
        Self {
            control_block: (&raw const *runnable.0).addr(),
            suspended_at: started.coroutine.suspended_at(),
            stack_base: started.coroutine.stack().base(),
            thread_pointer: started.thread_pointer.map_or(0, usize::from),
        }
    }

    /// Brings what a switch touches nearer. The worker's own thread-locals must be loaded: what is missed after the
    /// thread pointer has been changed holds up the processor for longer.
    pub(crate) fn prefetch(self, frames: usize) {
        if self.control_block == 0 {
            return;
        }
        Waiter::prefetch(self.control_block);
        // Below it are the registers that were saved, above it is whoever has suspended.
        let end = (self.suspended_at + frames).min(self.stack_base);
        prefetch_range(self.suspended_at - LINE, end);
        prefetch(self.stack_base - 1);
        if self.thread_pointer != 0 {
            let distance = THREAD_LOCALS.load(Ordering::Relaxed);
            prefetch(self.thread_pointer);
            prefetch(self.thread_pointer.wrapping_add_signed(distance));
        }
    }
}

/// See the [module](self). It is one worker's, as is the end of the queue.
pub(crate) struct Whereabouts<T = Place> {
    /// Where fewer wait, nobody looks.
    enough: Cell<usize>,
    /// At least so many wait, but for those that thieves and its worker have taken since it was last seen how many
    /// there are.
    waiting: Cell<usize>,
    /// How many have been noted.
    noted: Cell<usize>,
    /// The nth that was noted is at n modulo the length, which is 0 or a power of two.
    places: RefCell<Box<[T]>>,
}

impl<T> Default for Whereabouts<T> {
    fn default() -> Self {
        Self {
            enough: Cell::new(FEW),
            waiting: Cell::new(0),
            noted: Cell::new(0),
            places: RefCell::default(),
        }
    }
}

impl<T: Copy + Default> Whereabouts<T> {
    /// So many are about to be queued that have waited for events, behind those that are `waiting`. It is noted where
    /// they are, and where those are that come before the queue is nearly empty.
    #[inline]
    pub(crate) fn many_come(&self, count: usize, waiting: impl FnOnce() -> usize) {
        if count >= MANY {
            self.waiting.set(waiting());
            self.enough.set(AHEAD + 1);
        }
    }

    /// How much of the frames of those that wait is touched.
    pub(crate) fn frames(&self) -> usize {
        if self.enough.get() == FEW {
            YIELDS
        } else {
            OPERATES
        }
    }

    /// One that has run comes to the end of the queue.
    #[inline]
    pub(crate) fn queued(&self, place: impl FnOnce() -> T) {
        let others = self.waiting.get();
        self.waiting.set(others + 1);
        if others >= self.enough.get() {
            self.note(others, place);
        }
    }

    #[inline(never)]
    fn note(&self, others: usize, place: impl FnOnce() -> T) {
        let mut places = self.places.borrow_mut();
        if others >= places.len() {
            self.grow(&mut places, others);
        }
        let nth = self.noted.get();
        self.noted.set(nth.wrapping_add(1));
        let mask = places.len() - 1;
        places[nth & mask] = place();
    }

    #[cold]
    fn grow(&self, places: &mut Box<[T]>, others: usize) {
        let len = (others + 1).next_power_of_two();
        let mut more = vec![T::default(); len].into_boxed_slice();
        for back in 1..=places.len() {
            let nth = self.noted.get().wrapping_sub(back);
            more[nth & (len - 1)] = places[nth & (places.len() - 1)];
        }
        *places = more;
    }

    /// So many have come to the end of the queue of which it is not known where they are.
    pub(crate) fn unknown(&self, count: usize) {
        self.waiting.set(self.waiting.get() + count);
        self.noted.set(self.noted.get().wrapping_add(count));
    }

    /// Whether many may wait, so that it is worth while to look where they are.
    #[inline]
    pub(crate) fn may_be_long(&self) -> bool {
        self.waiting.get() >= self.enough.get()
    }

    /// One is about to be taken, of so many that wait. Gives where that one is which is taken [some turns](AHEAD)
    /// later, if it is known.
    pub(crate) fn ahead(&self, waiting: usize) -> Option<T> {
        self.waiting.set(waiting.saturating_sub(1));
        let is_enough = waiting >= self.enough.get();
        if waiting <= AHEAD + 1 {
            self.enough.set(FEW);
        }
        if !is_enough {
            return None;
        }
        let places = self.places.borrow();
        let next = self.noted.get().wrapping_sub(waiting);
        let nth = next.wrapping_add(AHEAD);
        places.get(nth & places.len().wrapping_sub(1)).copied()
    }

    /// Gives back the room of a burst that is over, if so many wait.
    pub(crate) fn shrink(&self, waiting: usize) {
        self.waiting.set(waiting);
        let mut places = self.places.borrow_mut();
        if places.len() / 4 > waiting.max(FEW) {
            *places = Box::default();
        }
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A queue of numbers, each of which is its own place.
    #[derive(Default)]
    struct Numbers {
        queue: VecDeque<usize>,
        next: usize,
        whereabouts: Whereabouts<usize>,
    }

    impl Numbers {
        fn push(&mut self) {
            self.whereabouts.queued(|| self.next);
            self.push_unnoted();
        }

        fn push_unnoted(&mut self) {
            self.queue.push_back(self.next);
            self.next += 1;
        }

        /// Takes one, and gives whether it is seen where the next but one after it is.
        fn pop(&mut self) -> bool {
            let waiting = self.queue.len();
            let seen = self.look(waiting);
            let is_right = seen.is_some() && seen == self.queue.get(AHEAD).copied();
            self.queue.pop_front();
            is_right
        }

        fn look(&self, waiting: usize) -> Option<usize> {
            let may_be_long = self.whereabouts.may_be_long();
            may_be_long.then(|| self.whereabouts.ahead(waiting))?
        }

        /// Each of those that wait takes a turn. Gives whether all were right.
        fn round(&mut self) -> bool {
            let mut all_right = true;
            for _ in 0..self.queue.len() {
                all_right &= self.pop();
                self.push();
            }
            all_right
        }
    }

    fn queue_of(count: usize) -> Numbers {
        let mut numbers = Numbers::default();
        (0..count).for_each(|_| numbers.push());
        numbers.round();
        numbers
    }

    #[test]
    fn who_takes_one_sees_where_the_next_but_one_is() {
        let mut numbers = queue_of(3 * FEW);
        assert!(numbers.round());
        // It grows past its room, and wraps around.
        for _ in 0..10 * FEW {
            numbers.push();
            numbers.push();
            assert!(numbers.pop());
        }
        for _ in 0..4 {
            assert!(numbers.round());
        }
        while numbers.queue.len() >= FEW {
            assert!(numbers.pop());
        }
        assert!(!numbers.pop());
    }

    #[test]
    fn what_thieves_take_and_what_comes_unnoted_is_made_up_for() {
        let mut numbers = queue_of(4 * FEW);
        numbers.queue.drain(..FEW / 2);
        assert!(numbers.round());

        (0..7).for_each(|_| numbers.push_unnoted());
        numbers.whereabouts.unknown(7);
        assert!((0..FEW).all(|_| numbers.pop()));
        numbers.round();
        assert!(numbers.round());

        (0..7).for_each(|_| numbers.push_unnoted());
        assert!(!numbers.pop(), "it has not been told");
        numbers.round();
        assert!(
            numbers.round(),
            "it is right again, though it was never told"
        );
    }

    #[test]
    fn where_many_come_at_once_a_short_queue_is_noted_too() {
        let mut numbers = Numbers::default();
        let come = |numbers: &mut Numbers, count| {
            let waiting = numbers.queue.len();
            numbers.whereabouts.many_come(count, || waiting);
            (0..count).for_each(|_| numbers.push());
        };
        come(&mut numbers, MANY - 1);
        (0..MANY - 1).for_each(|_| assert!(!numbers.pop(), "they are few"));

        come(&mut numbers, 3 * MANY);
        // It is not known where the first are, behind whom there were too few.
        let seen = (0..3 * MANY).filter(|_| numbers.pop()).count();
        assert_eq!(seen, 3 * MANY - (AHEAD + 1));
        assert_eq!(
            numbers.whereabouts.frames(),
            YIELDS,
            "it has been nearly empty"
        );

        (0..MANY).for_each(|_| numbers.push());
        (0..MANY).for_each(|_| assert!(!numbers.pop(), "they are few"));
    }

    #[test]
    fn a_short_queue_is_not_noted_and_a_burst_leaves_nothing() {
        let mut numbers = queue_of(FEW - 1);
        for _ in 0..3 {
            numbers.round();
        }
        assert!(numbers.whereabouts.waiting.get() <= FEW);
        assert_eq!(numbers.look(FEW - 1), None);

        let mut numbers = queue_of(16 * FEW);
        let room = |numbers: &Numbers| numbers.whereabouts.places.borrow().len();
        numbers.whereabouts.shrink(numbers.queue.len());
        assert_eq!(room(&numbers), 16 * FEW, "all wait");
        numbers.queue.clear();
        numbers.whereabouts.shrink(0);
        assert_eq!(room(&numbers), 0);
        // What was noted is gone, and what comes is noted again.
        (0..3 * FEW).for_each(|_| numbers.push());
        numbers.round();
        assert!(numbers.round());
    }
}
