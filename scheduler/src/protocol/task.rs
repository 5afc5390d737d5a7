//! A waiter that is polled: the task of somebody else's executor, in place of a thread.
//!
//! A task has a wait word as a thread has, and passes through the same states. It is not resumed but
//! told, by the waker of the poll that came last, and its executor polls it again. So whoever fires a
//! parked wait takes the waker and wakes with it; that is what the right to run is worth here.
//!
//! **No wake-up is lost.** A poll leaves its waker first and looks at the word then: it commits, or if
//! it has committed before, looks whether the wait has ended. Whoever ends a parked wait does that
//! first and takes the waker then. The waker is under a lock. If it is taken after the poll has left
//! its own, that poll's task is woken; if before, the wait had ended before the poll looks.
//!
//! An executor may poll for reasons of its own, any number of times, and from another task each time.

use super::primitive::Mutex;
use super::word::{Commit, WaitWord};

/// What wakes a task.
pub(crate) trait Wakes: Clone {
    /// Whether both wake one task.
    fn will_wake(&self, other: &Self) -> bool;

    fn wake(self);
}

impl Wakes for std::task::Waker {
    fn will_wake(&self, other: &Self) -> bool {
        self.will_wake(other)
    }

    fn wake(self) {
        self.wake();
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Task<W> {
    /// Nothing of a waker that may be anybody's code runs under this lock.
    waker: Mutex<Option<W>>,
}

impl<W: Wakes> Task<W> {
    pub(crate) fn new() -> Self {
        Self {
            waker: Mutex::new(None),
        }
    }

    /// Whether the wait that the task has begun in `word` has ended. If not, `waker` wakes it when it
    /// does. Called by the task.
    pub(crate) fn poll(&self, word: &WaitWord, waker: &W) -> bool {
        let is_known = self
            .waker
            .lock()
            .as_ref()
            .is_some_and(|known| known.will_wake(waker));
        if !is_known {
            let new = waker.clone();
            let old = self.waker.lock().replace(new);
            drop(old);
        }
        let has_ended = match word.parked() {
            Some(_) => word.has_ended(),
            None => word.commit() == Commit::Ended,
        };
        // With this it sees what whoever ended it did before.
        has_ended && word.finish().is_some()
    }

    /// Wakes the task. Called by whoever has ended its parked wait.
    pub(crate) fn wake(&self) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Forgets the waker, since nobody will poll any more.
    pub(crate) fn forget(&self) {
        let waker = self.waker.lock().take();
        drop(waker);
    }
}

#[cfg(all(test, roving_loom))]
mod models {
    use super::*;
    use crate::protocol::primitive::{AtomicUsize, Ordering, UnsafeCell};
    use crate::protocol::word::{By, Epoch, Fire};
    use loom::sync::Arc;
    use loom::thread;

    /// Counts wake-ups of one task.
    #[derive(Clone)]
    struct Counts(Arc<AtomicUsize>);

    impl Counts {
        fn new() -> Self {
            Self(Arc::new(AtomicUsize::new(0)))
        }

        fn wait_for_one(&self) {
            while self.0.load(Ordering::Acquire) == 0 {
                thread::yield_now();
            }
        }
    }

    impl Wakes for Counts {
        fn will_wake(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.0, &other.0)
        }

        fn wake(self) {
            self.0.fetch_add(1, Ordering::Release);
        }
    }

    struct Model {
        word: WaitWord,
        task: Task<Counts>,
        message: UnsafeCell<u32>,
    }

    // SAFETY: what the models check: the message is the firer's until the wait has ended.
    unsafe impl Sync for Model {}
    // SAFETY: as above.
    unsafe impl Send for Model {}

    impl Model {
        fn begin() -> (Arc<Self>, Epoch) {
            let model = Arc::new(Self {
                word: WaitWord::new(),
                task: Task::new(),
                message: UnsafeCell::new(0),
            });
            let epoch = model.word.begin(true);
            (model, epoch)
        }

        fn fire(&self, epoch: Epoch, by: By) -> bool {
            let fire = self.word.fire(epoch, by);
            if fire == Fire::Parked {
                self.task.wake();
            }
            fire != Fire::Lost
        }
    }

    #[test]
    fn a_task_that_is_told_to_wait_is_woken() {
        loom::model(|| {
            let (model, epoch) = Model::begin();
            let firer = {
                let model = model.clone();
                thread::spawn(move || {
                    // SAFETY: the wait has not ended.
                    model.message.with_mut(|message| unsafe { *message = 7 });
                    model.fire(epoch, By::Ticket)
                })
            };
            let waker = Counts::new();
            while !model.task.poll(&model.word, &waker) {
                waker.wait_for_one();
            }
            // SAFETY: the wait has ended.
            let message = model.message.with_mut(|message| unsafe { *message });
            assert_eq!(message, 7);
            assert!(firer.join().unwrap());
        });
    }

    #[test]
    fn the_task_that_has_polled_last_is_woken() {
        loom::model(|| {
            let (model, epoch) = Model::begin();
            let firer = {
                let model = model.clone();
                thread::spawn(move || model.fire(epoch, By::Ticket))
            };
            let (earlier, later) = (Counts::new(), Counts::new());
            if !model.task.poll(&model.word, &earlier) && !model.task.poll(&model.word, &later) {
                later.wait_for_one();
            }
            firer.join().unwrap();
            assert!(model.task.poll(&model.word, &later));
        });
    }

    #[test]
    fn one_that_is_dropped_is_fired_by_nobody_or_has_been() {
        loom::model(|| {
            let (model, epoch) = Model::begin();
            let firer = {
                let model = model.clone();
                thread::spawn(move || model.fire(epoch, By::Ticket))
            };
            let waker = Counts::new();
            let was_ready = model.task.poll(&model.word, &waker);
            let ended = model.word.finish();
            model.task.forget();
            let fired = firer.join().unwrap();
            assert_eq!(ended.is_some(), fired, "both know whether it was fired");
            assert!(!was_ready || fired);
        });
    }

    #[test]
    fn who_drops_one_that_waits_polls_it_to_its_end() {
        loom::model(|| {
            let (model, epoch) = Model::begin();
            let outer = Counts::new();
            let is_pending = !model.task.poll(&model.word, &outer);
            let firer = {
                let model = model.clone();
                thread::spawn(move || model.fire(epoch, By::Ticket))
            };
            // It is cancelled, and from now on polled with another waker: by whoever drops it.
            let cancelled = model.fire(epoch, By::Cancel);
            let waker = Counts::new();
            while !model.task.poll(&model.word, &waker) {
                waker.wait_for_one();
            }
            // Its destructors wait too.
            let epoch = model.word.begin(true);
            let other = {
                let model = model.clone();
                thread::spawn(move || model.fire(epoch, By::Ticket))
            };
            loop {
                // Whoever has ended the first wait may wake for it as late as this.
                let earlier = waker.0.load(Ordering::Acquire);
                if model.task.poll(&model.word, &waker) {
                    break;
                }
                while waker.0.load(Ordering::Acquire) == earlier {
                    thread::yield_now();
                }
            }
            assert!(other.join().unwrap());
            assert!(is_pending && cancelled != firer.join().unwrap());
        });
    }

    #[test]
    fn two_who_fire_wake_once() {
        loom::model(|| {
            let (model, epoch) = Model::begin();
            let firers = [By::Ticket, By::Timer].map(|by| {
                let model = model.clone();
                thread::spawn(move || model.fire(epoch, by))
            });
            let waker = Counts::new();
            if !model.task.poll(&model.word, &waker) {
                waker.wait_for_one();
                assert!(model.task.poll(&model.word, &waker));
            }
            let fired = firers.map(|firer| firer.join().unwrap());
            assert!(fired[0] != fired[1]);
            assert!(waker.0.load(Ordering::Acquire) <= 1);
        });
    }
}
