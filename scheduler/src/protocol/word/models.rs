//! What two who end the same wait may see, and its worker.

use super::*;
use crate::protocol::primitive::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

/// A waiter, its worker and its stack: whoever holds the right to run touches `stack`, which
/// loom checks for races.
struct Model {
    word: WaitWord,
    stack: UnsafeCell<u32>,
    runs: AtomicUsize,
    message: UnsafeCell<u32>,
}

// SAFETY: what the models check: the cells are only touched by the holder of the right that the
// word gives.
unsafe impl Sync for Model {}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            word: WaitWord::new(),
            stack: UnsafeCell::new(0),
            runs: AtomicUsize::new(0),
            message: UnsafeCell::new(0),
        })
    }

    fn run_on(&self) {
        // SAFETY: the caller holds the right to run.
        self.stack.with_mut(|stack| unsafe { *stack += 1 });
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    fn fire(&self, epoch: Epoch, by: By) -> bool {
        match self.word.fire(epoch, by) {
            Fire::Lost => false,
            Fire::Armed => true,
            Fire::Parked => {
                self.run_on();
                true
            }
        }
    }

    fn cancel(&self) {
        if self.word.request_cancel() == Fire::Parked {
            self.run_on();
        }
    }

    /// The worker's side: writes the stack, as a switch does, then commits.
    fn park(&self) {
        // SAFETY: not committed yet, so the caller holds the thread.
        self.stack.with_mut(|stack| unsafe { *stack += 1 });
        if self.word.commit() == Commit::Ended {
            self.run_on();
        }
    }
}

#[test]
fn two_firers_and_a_commit_run_the_waiter_once() {
    loom::model(|| {
        let model = Model::new();
        let epoch = model.word.begin(false);
        let firers: Vec<_> = [By::Ticket, By::Timer]
            .into_iter()
            .map(|by| {
                let model = model.clone();
                thread::spawn(move || model.fire(epoch, by))
            })
            .collect();
        model.park();
        let won = firers
            .into_iter()
            .map(|firer| firer.join().unwrap())
            .filter(|w| *w)
            .count();
        assert_eq!(won, 1);
        assert_eq!(model.runs.load(Ordering::Relaxed), 1);
        assert!(model.word.finish().is_some());
    });
}

#[test]
fn one_who_holds_a_parked_thread_races_with_a_firer_and_a_canceller() {
    loom::model(|| {
        let model = Model::new();
        let epoch = model.word.begin(false);
        model.park();
        let others = [
            {
                let model = model.clone();
                thread::spawn(move || model.fire(epoch, By::Timer))
            },
            {
                let model = model.clone();
                thread::spawn(move || {
                    model.cancel();
                    false
                })
            },
        ];
        if model.word.hold(epoch) {
            model.park();
        }
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(model.runs.load(Ordering::Relaxed), 1);
        assert!(model.word.finish().is_some());
    });
}

#[test]
fn two_who_would_hold_a_parked_thread_race_with_a_firer() {
    loom::model(|| {
        let model = Model::new();
        let epoch = model.word.begin(false);
        model.park();
        let holder = {
            let model = model.clone();
            thread::spawn(move || {
                if model.word.hold(epoch) {
                    model.park();
                }
            })
        };
        let firer = {
            let model = model.clone();
            thread::spawn(move || model.fire(epoch, By::Ticket))
        };
        if model.word.hold(epoch) {
            model.park();
        }
        holder.join().unwrap();
        assert!(firer.join().unwrap());
        assert_eq!(model.runs.load(Ordering::Relaxed), 1);
        assert_eq!(model.word.finish(), Some(By::Ticket));
    });
}

#[test]
fn cancel_races_with_a_firer_and_with_the_beginning_of_the_wait() {
    loom::model(|| {
        let model = Model::new();
        let canceller = {
            let model = model.clone();
            thread::spawn(move || model.cancel())
        };
        let epoch = model.word.begin(false);
        let firer = {
            let model = model.clone();
            thread::spawn(move || model.fire(epoch, By::Ticket))
        };
        model.park();
        canceller.join().unwrap();
        let fired = firer.join().unwrap();
        assert_eq!(model.runs.load(Ordering::Relaxed), 1);
        let by = model.word.finish();
        assert_eq!(by == Some(By::Ticket), fired);
        assert!(fired || by == Some(By::Cancel));
        assert!(model.word.cancel_requested());
    });
}

#[test]
fn what_the_firer_wrote_is_seen_by_the_waiter() {
    loom::model(|| {
        let model = Model::new();
        let epoch = model.word.begin(false);
        let firer = {
            let model = model.clone();
            thread::spawn(move || {
                // SAFETY: the waiter reads it only after the wait has ended.
                model.message.with_mut(|message| unsafe { *message = 7 });
                assert!(model.fire(epoch, By::Ticket));
            })
        };
        if model.word.has_ended() {
            assert_eq!(model.word.finish(), Some(By::Ticket));
            // SAFETY: the firer is done with it.
            model
                .message
                .with_mut(|message| assert_eq!(unsafe { *message }, 7));
        }
        firer.join().unwrap();
    });
}

#[test]
fn a_stale_ticket_loses_against_the_next_wait() {
    loom::model(|| {
        let model = Model::new();
        let first = model.word.begin(false);
        let late = {
            let model = model.clone();
            thread::spawn(move || model.fire(first, By::Ticket))
        };
        let ended_first = model.word.finish().is_some();
        let _second = model.word.begin(false);
        let won = late.join().unwrap();
        assert_eq!(won, ended_first);
        assert_eq!(model.word.finish(), None);
    });
}
