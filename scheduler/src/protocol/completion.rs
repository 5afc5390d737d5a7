//! The hand-over from a thread that ends to the one that joins it.
//!
//! ```text
//!     Running --join--> Joined (the joiner's ticket lies in the slot) --complete--> Done: the finisher fires the ticket
//!        |                 |
//!        |                 +--retract--> Running                         (the joiner gave up: it takes the ticket back)
//!        +----complete----> Done                                         (the joiner finds out and does not wait)
//! ```
//!
//! The slot belongs to the joiner in `Running`, to nobody in `Joined`, and to the finisher once it
//! has moved `Joined` to `Done`. `complete` is a release and what finds `Done` an acquire, so the
//! result is seen by the joiner.

use crate::protocol::primitive::{AtomicUsize, Ordering, UnsafeCell};

const RUNNING: usize = 0;
const JOINED: usize = 1;
const DONE: usize = 2;

/// See the [module](self). `T` is what wakes the joiner.
#[derive(Debug)]
pub(crate) struct Completion<T> {
    state: AtomicUsize,
    joiner: UnsafeCell<Option<T>>,
}

// SAFETY: the slot is only touched by the side that the state gives it to (see the module), so `T`
// is moved between threads and never shared.
unsafe impl<T: Send> Send for Completion<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Completion<T> {}

impl<T> Completion<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicUsize::new(RUNNING),
            joiner: UnsafeCell::new(None),
        }
    }

    /// Whether the thread has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Leaves `joiner` for the finisher; `false` if the thread has ended already.
    ///
    /// # Safety
    ///
    /// There is one joiner, and it has nothing in the slot.
    pub(crate) unsafe fn join(&self, joiner: T) -> bool {
        // SAFETY: the state is `Running` or `Done`, in both of which the finisher leaves the slot
        // alone.
        self.joiner.with_mut(|slot| unsafe { *slot = Some(joiner) });
        self.state
            .compare_exchange(RUNNING, JOINED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Takes the joiner back; `false` if the thread has ended, in which case the finisher may still
    /// be using it.
    pub(crate) fn retract(&self) -> bool {
        let taken = !self.is_done()
            && self
                .state
                .compare_exchange(JOINED, RUNNING, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
        if taken {
            // SAFETY: the state is `Running` again, and only the one joiner moves it from there to
            // `Joined`.
            self.joiner.with_mut(|slot| unsafe { *slot = None });
        }
        taken
    }

    /// Marks the thread as ended, and gives the joiner that must be told. Called once.
    #[must_use]
    pub(crate) fn complete(&self) -> Option<T> {
        match self.state.swap(DONE, Ordering::AcqRel) {
            // SAFETY: `Joined` to `Done` gave the slot to this caller.
            JOINED => self.joiner.with_mut(|slot| unsafe { (*slot).take() }),
            _ => None,
        }
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_finisher_gets_the_joiner_and_a_late_joiner_is_told() {
        let completion = Completion::new();
        // SAFETY: the only joiner.
        assert!(unsafe { completion.join(1) });
        assert!(completion.retract());
        // SAFETY: the only joiner, which has taken its first ticket back.
        assert!(unsafe { completion.join(2) });
        assert_eq!(completion.complete(), Some(2));
        assert!(!completion.retract());
        assert!(completion.is_done());
        // SAFETY: the only joiner.
        assert!(!unsafe { completion.join(3) });
    }
}

#[cfg(all(test, roving_loom))]
mod models {
    use super::*;
    use crate::protocol::word::{By, Commit, Fire, WaitWord};
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize as Count;
    use loom::thread;

    struct Model {
        completion: Completion<crate::protocol::word::Epoch>,
        result: UnsafeCell<u32>,
        word: WaitWord,
        runs: Count,
    }

    // SAFETY: what the models check.
    unsafe impl Sync for Model {}

    /// Writes the result, completes, and wakes the joiner; gives `true` if it holds the right to
    /// run the joiner.
    fn finish_thread(model: &Model) -> bool {
        // SAFETY: not complete yet, so the result is the finisher's.
        model.result.with_mut(|result| unsafe { *result = 9 });
        match model.completion.complete() {
            Some(epoch) => model.word.fire(epoch, By::Ticket) == Fire::Parked,
            None => false,
        }
    }

    fn model(joiner: impl Fn(&Model) + Sync + Send + Copy + 'static) {
        loom::model(move || {
            let model = Arc::new(Model {
                completion: Completion::new(),
                result: UnsafeCell::new(0),
                word: WaitWord::new(),
                runs: Count::new(0),
            });
            let finisher = {
                let model = model.clone();
                thread::spawn(move || {
                    if finish_thread(&model) {
                        model.runs.fetch_add(1, Ordering::Relaxed);
                    }
                })
            };
            joiner(&model);
            finisher.join().unwrap();
            // SAFETY: the finisher is gone.
            model
                .result
                .with_mut(|result| assert_eq!(unsafe { *result }, 9));
        });
    }

    #[test]
    fn a_joiner_is_told_once_or_finds_out() {
        model(|model| {
            let epoch = model.word.begin(false);
            // SAFETY: the only joiner.
            if unsafe { model.completion.join(epoch) } {
                if model.word.commit() == Commit::Parked {
                    while model.runs.load(Ordering::Relaxed) == 0 {
                        thread::yield_now();
                    }
                }
                assert_eq!(model.word.finish(), Some(By::Ticket));
            } else {
                assert!(model.word.finish().is_none());
            }
            assert!(model.completion.is_done());
            // SAFETY: the thread has ended, so the result is the joiner's.
            model
                .result
                .with_mut(|result| assert_eq!(unsafe { *result }, 9));
        });
    }

    #[test]
    fn a_joiner_that_gives_up_leaves_nothing_behind() {
        model(|model| {
            let epoch = model.word.begin(false);
            // SAFETY: the only joiner.
            if unsafe { model.completion.join(epoch) } && model.completion.retract() {
                assert!(model.word.finish().is_none());
            } else {
                let _ = model.word.finish();
                assert!(model.completion.is_done());
            }
        });
    }
}
