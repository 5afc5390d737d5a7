//! `block_on`: futures on threads that block.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{self, Future};
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{each_worker_count, on_each_mode, on_each_worker_count};
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{DeadlineElapsed, block_on, deadline, thread};

/// Is ready once it has been opened, and counts how often it was polled.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, Option<Waker>)>,
    polls: AtomicUsize,
}

impl Gate {
    fn open(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        let waker = state.1.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    fn passed(&self) -> impl Future<Output = ()> {
        future::poll_fn(|context| {
            self.polls.fetch_add(1, Ordering::Relaxed);
            let mut state = self.state.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1 = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// Waits, in another thread, until somebody waits here.
    fn waker(&self) -> Waker {
        loop {
            if let Some(waker) = &self.state.lock().unwrap().1 {
                return waker.clone();
            }
            thread::yield_now();
        }
    }
}

/// Wakes itself `times` times before it is ready.
struct YieldsItself(usize);

impl Future for YieldsItself {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn what_is_neither_send_nor_static_is_polled_where_it_is() {
    let borrowed = RefCell::new(Vec::new());
    let local = Rc::new(Cell::new(1));
    let sum = block_on(async {
        borrowed.borrow_mut().push(local.get());
        YieldsItself(3).await;
        borrowed.borrow().len() + local.get()
    });
    assert_eq!(sum, 2);
    on_each_mode(|| {
        let local = Rc::new(Cell::new(0));
        block_on(async {
            for _ in 0..100 {
                local.set(local.get() + 1);
                YieldsItself(1).await;
            }
        });
        assert_eq!(local.get(), 100);
    });
}

#[test]
fn a_pending_future_parks_its_green_thread_and_nobody_else() {
    on_each_mode(|| {
        let gates: Vec<_> = (0..100).map(|_| Arc::new(Gate::default())).collect();
        let waiting: Vec<_> = gates
            .iter()
            .cloned()
            .map(|gate| thread::spawn(move || block_on(gate.passed())))
            .collect();
        // All of them wait at the same time, on few workers.
        gates.iter().for_each(|gate| drop(gate.waker()));
        gates.iter().for_each(|gate| gate.open());
        waiting
            .into_iter()
            .for_each(|handle| handle.join().unwrap());
        for gate in gates {
            assert_eq!(
                gate.polls.load(Ordering::Relaxed),
                2,
                "nobody polls in vain"
            );
        }
    });
}

#[test]
fn os_threads_wake_green_ones_and_are_woken_by_them() {
    each_worker_count(|runtime| {
        let [first, second] = [(); 2].map(|()| Arc::new(Gate::default()));
        let green = {
            let [first, second] = [first.clone(), second.clone()];
            runtime.spawn(move || {
                block_on(first.passed());
                second.open();
            })
        };
        first.waker();
        first.open();
        block_on(second.passed());
        green.join().unwrap();
    });
}

#[test]
fn a_wake_up_while_it_is_polled_is_not_lost() {
    on_each_worker_count(|| {
        for _ in 0..200 {
            let gate = Arc::new(Gate::default());
            let (sender, receiver) = mpsc::channel::<Waker>();
            let opens = {
                let gate = gate.clone();
                std::thread::spawn(move || {
                    gate.open();
                    receiver.into_iter().for_each(Waker::wake);
                })
            };
            block_on(async {
                let mut polls = 0;
                future::poll_fn(|context| {
                    polls += 1;
                    sender.send(context.waker().clone()).ok();
                    if polls < 3 {
                        Poll::Pending
                    } else {
                        Poll::Ready(())
                    }
                })
                .await;
                gate.passed().await;
            });
            drop(sender);
            opens.join().unwrap();
        }
    });
}

#[test]
fn a_thousand_wake_ups_are_one_and_a_late_one_is_nobodys() {
    on_each_worker_count(|| {
        let gate = Arc::new(Gate::default());
        let waiting = {
            let gate = gate.clone();
            thread::spawn(move || {
                block_on(gate.passed());
                // The waits that follow end when their time has come.
                thread::park_timeout(Duration::from_millis(1));
                block_on(YieldsItself(1));
                thread::sleep(Duration::from_millis(1));
            })
        };
        let waker = gate.waker();
        (0..1_000).for_each(|_| waker.wake_by_ref());
        gate.waker();
        gate.open();
        while !waiting.is_finished() {
            waker.wake_by_ref();
            thread::yield_now();
        }
        waiting.join().unwrap();
        assert!(gate.polls.load(Ordering::Relaxed) <= 1_002);
        waker.wake();
    });
}

#[test]
fn one_within_another_takes_no_wake_up_that_is_meant_for_the_other() {
    on_each_mode(|| {
        let [outer, inner] = [(); 2].map(|()| Arc::new(Gate::default()));
        let waiting = {
            let [outer, inner] = [outer.clone(), inner.clone()];
            thread::spawn(move || {
                let mut passed = Box::pin(outer.passed());
                block_on(future::poll_fn(|context| {
                    let polled = passed.as_mut().poll(context);
                    if polled.is_pending() {
                        block_on(inner.passed());
                    }
                    polled
                }));
            })
        };
        inner.waker();
        // The outer one is woken while the inner one waits.
        outer.open();
        inner.open();
        waiting.join().unwrap();
    });
}

#[test]
fn one_that_wakes_itself_lets_others_run() {
    on_each_worker_count(|| {
        let stop = Arc::new(AtomicUsize::new(0));
        let busy = {
            let stop = stop.clone();
            thread::spawn(move || {
                block_on(async {
                    while stop.load(Ordering::Acquire) == 0 {
                        YieldsItself(1).await;
                    }
                })
            })
        };
        thread::spawn(move || stop.store(1, Ordering::Release))
            .join()
            .unwrap();
        busy.join().unwrap();
    });
}

/// Says so when it has been dropped, for which it blocks.
struct Dropped<'a>(&'a AtomicUsize);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        thread::sleep(Duration::from_millis(1));
        block_on(YieldsItself(1));
        self.0.fetch_add(1, Ordering::Release);
    }
}

#[test]
fn a_cancellation_and_a_deadline_drop_the_future_whose_destructor_may_block() {
    on_each_mode(|| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Gate::default());
        let cancelled = {
            let (dropped, gate) = (dropped.clone(), gate.clone());
            thread::spawn(move || {
                block_on(async {
                    let _dropped = Dropped(&dropped);
                    gate.passed().await;
                })
            })
        };
        let waker = gate.waker();
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is::<Cancelled>());
        assert_eq!(dropped.load(Ordering::Acquire), 1);
        waker.wake();

        let elapsed = deadline(Duration::from_millis(1), || {
            block_on(async {
                let _dropped = Dropped(&dropped);
                future::pending::<()>().await;
            })
        });
        assert!(matches!(elapsed, Err(DeadlineElapsed { .. })));
        assert_eq!(dropped.load(Ordering::Acquire), 2);

        // One that never waits is interrupted as well.
        let elapsed = deadline(Duration::from_millis(1), || {
            block_on(YieldsItself(usize::MAX))
        });
        assert!(elapsed.is_err());
    });
}

#[test]
fn a_panic_of_the_future_goes_on_in_the_caller() {
    on_each_worker_count(|| {
        let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
            block_on(async {
                YieldsItself(2).await;
                panic!("of the future");
            })
        }));
        assert_eq!(common::message(&*panicked.unwrap_err()), "of the future");
    });
}
