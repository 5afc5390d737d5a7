//! Where a worker keeps the green thread that its running one has woken last.
//!
//! The worker runs it next, as soon as the running one gives the worker back, and nobody is woken for it.
//! That may be late: the running one computes, or waits in the system for what the woken one must do. So
//! whoever has nothing to do [looks](Looker::look) into the slots of the others, and takes what has been
//! in one of them for [`LONG`].
//!
//! The slot is a pointer with a mark:
//!
//! ```text
//!     Empty, New, Seen, Stays --put--> New, or Stays     (its worker has what was there before)
//!     New --look--> Seen --look, LONG after that--> Empty  (who looks has it)
//!     New, Seen, Stays --take--> Empty                     (its worker has it)
//! ```
//!
//! Invariants:
//!
//! - Only its worker puts and takes. So what it finds `Empty` or `Stays` is so until it changes it itself,
//!   by a plain store. What it finds `New` or `Seen` it takes by a swap, and who looks by a
//!   compare-and-swap: one of them gets it.
//! - What is put is `New`, though it be the same thread once more. So what is `Seen` has not left the
//!   slot since the look that made it so.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::protocol::primitive::{AtomicPtr, AtomicU64, Ordering};

/// Who has been seen in a slot for so long is taken from there.
pub(crate) const LONG: Duration = Duration::from_millis(10);

/// The marks, in the bits that are free in an aligned pointer.
const NEW: usize = 0;
const SEEN: usize = 1;
const STAYS: usize = 2;
const MARKS: usize = 3;

/// The worker's half of a slot.
pub(crate) struct Slot<T> {
    shared: Arc<CachePadded<Shared<T>>>,
    /// One OS thread at a time has it.
    not_sync: PhantomData<Cell<()>>,
}

/// The half of everybody else.
pub(crate) struct Looker<T>(Arc<CachePadded<Shared<T>>>);

struct Shared<T> {
    /// From `Arc::into_raw`, with a mark, or null.
    content: AtomicPtr<T>,
    /// When what is `SEEN` was first seen, in nanoseconds.
    since: AtomicU64,
    owns: PhantomData<Arc<T>>,
}

impl<T> Slot<T> {
    const FITS: () = assert!(align_of::<T>() > MARKS, "the marks fit into a pointer");

    pub(crate) fn new() -> Self {
        const { Self::FITS };
        Self {
            shared: Arc::new(CachePadded::new(Shared {
                content: AtomicPtr::new(ptr::null_mut()),
                since: AtomicU64::new(0),
                owns: PhantomData,
            })),
            not_sync: PhantomData,
        }
    }

    pub(crate) fn looker(&self) -> Looker<T> {
        Looker(self.shared.clone())
    }

    /// Puts a thread there and gives what was there before. If it `stays`, nobody else takes it.
    #[must_use]
    #[inline]
    pub(crate) fn put(&self, thread: Arc<T>, stays: bool) -> Option<Arc<T>> {
        let mark = if stays { STAYS } else { NEW };
        let thread = Arc::into_raw(thread).cast_mut();
        let seen = self.shared.content.load(Ordering::Relaxed);
        self.replace(seen, thread.map_addr(|address| address | mark))
    }

    /// Takes what is there.
    #[inline]
    pub(crate) fn take(&self) -> Option<Arc<T>> {
        let seen = self.shared.content.load(Ordering::Relaxed);
        if seen.is_null() {
            return None;
        }
        self.replace(seen, ptr::null_mut())
    }

    #[inline]
    fn replace(&self, seen: *mut T, new: *mut T) -> Option<Arc<T>> {
        let content = &self.shared.content;
        let before = if is_out_of_reach(seen) {
            content.store(new, Ordering::Release);
            seen
        } else {
            content.swap(new, Ordering::Release)
        };
        // SAFETY: it has come out of the slot, here and nowhere else.
        unsafe { thread_of(before) }
    }
}

impl<T> Looker<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.content.load(Ordering::Relaxed).is_null()
    }

    /// Whether there is something that may be taken one day.
    pub(crate) fn is_within_reach(&self) -> bool {
        !is_out_of_reach(self.0.content.load(Ordering::Relaxed))
    }

    /// Takes what has been seen there [`LONG`] before `now`, or earlier. What is `New` is seen `now`.
    pub(crate) fn look(&self, now: Duration) -> Option<Arc<T>> {
        let seen = self.0.content.load(Ordering::Relaxed);
        if is_out_of_reach(seen) {
            return None;
        }
        if seen.addr() & MARKS == NEW {
            self.0.since.store(nanos(now), Ordering::Relaxed);
            // If this fails, it has left the slot, or another one has seen it.
            self.exchange(seen, seen.map_addr(|address| address | SEEN));
            return None;
        }
        let since = self.0.since.load(Ordering::Relaxed);
        if nanos(now).saturating_sub(since) < nanos(LONG) || !self.exchange(seen, ptr::null_mut()) {
            return None;
        }
        // SAFETY: it has come out of the slot, here and nowhere else.
        unsafe { thread_of(seen) }
    }

    /// What the worker did before it put `seen` there has then happened before.
    fn exchange(&self, seen: *mut T, new: *mut T) -> bool {
        self.0
            .content
            .compare_exchange(seen, new, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> fmt::Debug for Looker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looker")
            .field("is_within_reach", &self.is_within_reach())
            .finish()
    }
}

/// Whether nobody but its worker may change the slot, which has this in it.
#[inline]
fn is_out_of_reach<T>(content: *mut T) -> bool {
    content.is_null() || content.addr() & MARKS == STAYS
}

/// # Safety
///
/// `content` has been in a slot, and whoever calls has changed that.
#[inline]
unsafe fn thread_of<T>(content: *mut T) -> Option<Arc<T>> {
    let thread = content.map_addr(|address| address & !MARKS);
    // SAFETY: what is in a slot and not null is from `Arc::into_raw`, but for its mark.
    (!thread.is_null()).then(|| unsafe { Arc::from_raw(thread) })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn its_worker_takes_what_it_put_last() {
        let slot = Slot::new();
        assert_eq!(slot.take(), None);
        assert_eq!(slot.put(Arc::new(1), false), None);
        assert_eq!(slot.put(Arc::new(2), true), Some(Arc::new(1)));
        assert_eq!(slot.put(Arc::new(3), false), Some(Arc::new(2)));
        assert_eq!(slot.take(), Some(Arc::new(3)));
        assert_eq!(slot.take(), None);
    }

    #[test]
    fn what_has_been_seen_for_long_is_taken() {
        let slot = Slot::new();
        let looker = slot.looker();
        assert!(!looker.is_within_reach());
        assert_eq!(looker.look(NOW), None);
        assert_eq!(slot.put(Arc::new(1), false), None);
        assert!(looker.is_within_reach());
        assert_eq!(looker.look(NOW), None);
        assert_eq!(looker.look(NOW + LONG / 2), None);
        assert_eq!(looker.look(NOW + LONG), Some(Arc::new(1)));
        assert_eq!(looker.look(NOW + LONG), None);
        assert_eq!(slot.take(), None);
    }

    #[test]
    fn what_was_put_again_is_seen_anew() {
        let slot = Slot::new();
        let looker = slot.looker();
        assert_eq!(slot.put(Arc::new(1), false), None);
        assert_eq!(looker.look(NOW), None);
        let thread = slot.take().expect("nobody has taken it");
        assert_eq!(slot.put(thread, false), None);
        assert_eq!(looker.look(NOW + LONG), None);
        assert_eq!(slot.take(), Some(Arc::new(1)));
    }

    #[test]
    fn what_stays_is_taken_by_its_worker_only() {
        let slot = Slot::new();
        let looker = slot.looker();
        assert_eq!(slot.put(Arc::new(1), true), None);
        assert!(!looker.is_within_reach());
        assert_eq!(looker.look(NOW), None);
        assert_eq!(looker.look(NOW + LONG), None);
        assert_eq!(slot.take(), Some(Arc::new(1)));
    }

    #[test]
    fn what_is_left_in_a_slot_is_dropped() {
        let thread = Arc::new(1);
        let slot = Slot::new();
        assert_eq!(slot.put(thread.clone(), false), None);
        drop(slot);
        assert_eq!(Arc::strong_count(&thread), 1);
    }
}

#[cfg(all(test, roving_loom))]
mod models {
    use super::*;
    use crate::protocol::primitive::UnsafeCell;
    use loom::thread;

    const NOW: Duration = Duration::from_secs(1);

    /// A thread with its stack, which whoever has it out of the slot writes, and loom checks for races.
    struct Thread {
        runs: UnsafeCell<u32>,
        _aligned: u64,
    }

    // SAFETY: what the models check: the cell is only touched by who has the thread.
    unsafe impl Sync for Thread {}
    // SAFETY: as above.
    unsafe impl Send for Thread {}

    impl Thread {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                runs: UnsafeCell::new(0),
                _aligned: 0,
            })
        }

        fn run(&self) -> u32 {
            self.runs.with_mut(|runs| {
                // SAFETY: the caller has it out of the slot.
                unsafe { *runs += 1 };
                // SAFETY: as above.
                unsafe { *runs }
            })
        }
    }

    /// Looks so often, a long time after the last look, and runs what that gives.
    fn look_and_run(looker: &Looker<Thread>, looks: u32) -> usize {
        (0..looks)
            .filter_map(|n| looker.look(NOW + n * LONG))
            .map(|thread| thread.run())
            .count()
    }

    #[test]
    fn each_that_was_put_is_run_once() {
        loom::model(|| {
            let slot = Slot::new();
            let lookers = [(); 2].map(|()| {
                let looker = slot.looker();
                thread::spawn(move || look_and_run(&looker, 2))
            });
            let mut runs = 0;
            for thread in [Thread::new(), Thread::new()] {
                thread.run();
                if let Some(displaced) = slot.put(thread, false) {
                    displaced.run();
                    runs += 1;
                }
            }
            let mut run_here = || {
                if let Some(thread) = slot.take() {
                    thread.run();
                    runs += 1;
                }
            };
            run_here();
            for looker in lookers {
                runs += looker.join().unwrap();
            }
            assert_eq!(runs, 2);
        });
    }

    #[test]
    fn one_that_is_put_again_and_again_is_run_by_one_at_a_time() {
        loom::model(|| {
            let slot = Slot::new();
            let looker = slot.looker();
            let looks = thread::spawn(move || look_and_run(&looker, 3));
            let mut thread = Thread::new();
            let mut runs = 0;
            for _ in 0..2 {
                runs = thread.run();
                assert!(slot.put(thread, false).is_none());
                match slot.take() {
                    Some(taken) => thread = taken,
                    None => {
                        assert_eq!(looks.join().unwrap(), 1);
                        return;
                    }
                }
            }
            assert_eq!(runs, 2);
            assert_eq!(looks.join().unwrap(), 0);
            thread.run();
        });
    }

    #[test]
    fn what_stays_is_out_of_reach_beside_what_does_not() {
        loom::model(|| {
            let slot = Slot::new();
            let looker = slot.looker();
            let looks = thread::spawn(move || look_and_run(&looker, 3));
            assert!(slot.put(Thread::new(), true).is_none());
            let stayed = slot.put(Thread::new(), false);
            stayed.expect("nobody else may take it").run();
            let last = slot.put(Thread::new(), true);
            if let Some(last) = &last {
                last.run();
            }
            slot.take().expect("nobody else may take it").run();
            assert_eq!(looks.join().unwrap() + usize::from(last.is_some()), 1);
        });
    }
}
