//! Cancellation: handles, tokens, shields, and what is inherited.

mod common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{each_worker_count, on_each_worker_count};
use roving_scheduler::sync::Notify;
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{
    CancelToken, DeadlineElapsed, Runtime, deadline, greenly, local, shield, thread,
};

const EVER: Duration = Duration::MAX;
const SHORT: Duration = Duration::from_millis(1);

#[test]
fn a_handle_cancels() {
    on_each_worker_count(|| {
        let sleeps = thread::spawn(|| thread::sleep(EVER));
        thread::yield_now();
        sleeps.cancel();
        sleeps.cancel();
        assert!(sleeps.join().unwrap_err().is::<Cancelled>());
        let ended = thread::spawn(|| 1);
        while !ended.is_finished() {
            thread::yield_now();
        }
        ended.cancel();
        assert_eq!(ended.join().unwrap(), 1);
    });
}

#[test]
fn one_that_has_not_started_drops_its_closure() {
    each_worker_count(|runtime| {
        let captured = Arc::new(());
        runtime.run(|| {
            let held = captured.clone();
            let ran = Arc::new(AtomicBool::new(false));
            let runs = ran.clone();
            let thread = thread::spawn(move || {
                let _held = held;
                thread::sleep(EVER);
                runs.store(true, Ordering::Relaxed);
            });
            thread.cancel();
            assert!(thread.join().unwrap_err().is::<Cancelled>());
            assert!(!ran.load(Ordering::Relaxed));
        });
        assert_eq!(Arc::strong_count(&captured), 1);
    });
}

#[test]
fn a_swallowed_cancellation_comes_again() {
    on_each_worker_count(|| {
        let times = Arc::new(AtomicUsize::new(0));
        let swallowed = times.clone();
        let swallows = thread::spawn(move || {
            for _ in 0..5 {
                let ended = panic::catch_unwind(|| thread::sleep(EVER));
                assert!(ended.unwrap_err().is::<Cancelled>());
                swallowed.fetch_add(1, Ordering::Relaxed);
            }
        });
        swallows.cancel();
        // Unless it had not started.
        let ended = swallows.join();
        assert!(ended.is_err() || times.load(Ordering::Relaxed) == 5);
    });
}

#[test]
fn destructors_block_while_unwinding() {
    struct Sleeps(Arc<AtomicBool>);
    impl Drop for Sleeps {
        fn drop(&mut self) {
            thread::sleep(SHORT);
            self.0.store(true, Ordering::Relaxed);
        }
    }
    on_each_worker_count(|| {
        let slept = Arc::new(AtomicBool::new(false));
        let sleeps = Sleeps(slept.clone());
        let begun = Arc::new(Notify::new());
        let begins = begun.clone();
        let thread = thread::spawn(move || {
            let _sleeps = sleeps;
            begins.notify_one();
            deadline(Duration::from_secs(3600), || thread::sleep(EVER))
        });
        begun.wait();
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<Cancelled>());
        assert!(slept.load(Ordering::Relaxed));
    });
}

#[test]
fn tokens_nest() {
    on_each_worker_count(|| {
        let (outer, inner) = (CancelToken::new(), CancelToken::new());
        // The inner one ends the inner run only.
        inner.cancel();
        let result = outer.run(|| {
            assert!(inner.run(|| thread::sleep(EVER)).is_err());
            thread::sleep(SHORT);
            7
        });
        assert_eq!(result, Ok(7));
        // The outer one ends both.
        let mut after_inner = false;
        let canceller = outer.clone();
        let result = outer.run(|| {
            let fresh = CancelToken::new();
            let _ = fresh.run(|| {
                canceller.cancel();
                thread::sleep(EVER);
            });
            after_inner = true;
        });
        assert!(result.is_err() && !after_inner);
        assert!(outer.is_cancelled() && !CancelToken::new().is_cancelled());
        // Outside of it nothing is cancelled.
        thread::sleep(SHORT);
    });
}

#[test]
fn children_of_tokens() {
    on_each_worker_count(|| {
        let parent = CancelToken::new();
        let (one, two) = (parent.child(), parent.child());
        one.cancel();
        assert!(!parent.is_cancelled() && !two.is_cancelled());
        let waits = {
            let two = two.clone();
            thread::spawn(move || two.wait())
        };
        parent.cancel();
        waits.join().unwrap();
        assert!(two.is_cancelled() && parent.child().is_cancelled());
        two.wait();
    });
}

#[test]
fn a_token_cancels_an_os_thread() {
    let token = CancelToken::new();
    let waits = {
        let token = token.clone();
        std::thread::spawn(move || token.run(|| thread::sleep(EVER)).is_err())
    };
    std::thread::sleep(SHORT);
    token.cancel();
    assert!(waits.join().unwrap());
}

#[test]
fn shields() {
    on_each_worker_count(|| {
        let token = CancelToken::new();
        let mut slept = 0;
        let result = token.run(|| {
            deadline(Duration::ZERO, || {
                shield(|| {
                    token.cancel();
                    thread::sleep(SHORT);
                    slept += 1;
                    // What is begun within has its effect.
                    assert!(deadline(SHORT, || thread::sleep(EVER)).is_err());
                    let inner = CancelToken::new();
                    inner.cancel();
                    assert!(inner.run(|| thread::sleep(EVER)).is_err());
                    thread::sleep(SHORT);
                    slept += 1;
                });
                thread::sleep(EVER);
            })
        });
        assert!(result.is_err());
        assert_eq!(slept, 2);
    });
}

#[test]
fn a_handle_cancels_after_the_shield() {
    on_each_worker_count(|| {
        let begun = Arc::new(Notify::new());
        let done = Arc::new(AtomicBool::new(false));
        let (begins, does) = (begun.clone(), done.clone());
        let thread = thread::spawn(move || {
            shield(|| {
                begins.notify_one();
                thread::sleep(Duration::from_millis(3));
                does.store(true, Ordering::Relaxed);
            });
            thread::sleep(EVER);
        });
        begun.wait();
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<Cancelled>());
        assert!(done.load(Ordering::Relaxed));
    });
}

#[test]
fn scoped_threads_inherit_and_detached_ones_do_not() {
    local! {
        static TRACE: u32;
    }
    on_each_worker_count(|| {
        let token = CancelToken::new();
        let detached = Arc::new(Notify::new());
        let result = token.run(|| {
            TRACE.set(5, || {
                let wakes = detached.clone();
                thread::spawn(move || {
                    assert_eq!(TRACE.get(), Some(5));
                    thread::sleep(Duration::from_millis(2));
                    wakes.notify_one();
                });
                let ended: DeadlineElapsed = deadline(SHORT, || {
                    thread::scope(|scope| {
                        scope.spawn(|| {
                            assert_eq!(TRACE.get(), Some(5));
                            thread::sleep(EVER);
                        });
                    });
                })
                .unwrap_err();
                assert!(!ended.to_string().is_empty());
                thread::scope(|scope| {
                    scope.spawn(|| {
                        token.cancel();
                        thread::sleep(EVER);
                    });
                });
                // Its threads may have ended before the scope had to wait for them.
                thread::sleep(EVER);
            })
        });
        assert!(result.is_err());
        assert_eq!(TRACE.get(), None);
        detached.wait();
    });
}

/// A cancellation races with a wake-up, a deadline and another cancellation: one wins, and the
/// thread ends.
#[test]
fn stress() {
    each_worker_count(|runtime| {
        for round in 0..300u64 {
            let notify = Arc::new(Notify::new());
            let token = CancelToken::new();
            let waits = {
                let (notify, token) = (notify.clone(), token.clone());
                runtime.spawn(move || {
                    token.run(|| {
                        deadline(Duration::from_micros(round % 60), || {
                            notify.wait();
                            thread::yield_now();
                            notify.wait_timeout(Duration::from_micros(20));
                        })
                    })
                })
            };
            let wakes = runtime.spawn(move || notify.notify_one());
            let cancels = runtime.spawn(move || token.cancel());
            if round % 3 == 0 {
                waits.cancel();
            }
            wakes.join().unwrap();
            cancels.join().unwrap();
            if let Err(payload) = waits.join() {
                assert!(round % 3 == 0 && payload.is::<Cancelled>());
            }
        }
    });
}

#[test]
fn a_panic_is_no_cancellation() {
    on_each_worker_count(|| {
        let token = CancelToken::new();
        let panics = panic::catch_unwind(AssertUnwindSafe(|| {
            let _ = token.run(|| panic::resume_unwind(Box::new("on purpose")));
        }));
        assert_eq!(
            *panics.unwrap_err().downcast::<&str>().unwrap(),
            "on purpose"
        );
    });
}

#[test]
fn a_long_chain_of_tokens_is_cancelled() {
    on_each_worker_count(|| {
        let first = CancelToken::new();
        let chain: Vec<_> = std::iter::successors(Some(first.child()), |token| Some(token.child()))
            .take(20_000)
            .collect();
        first.cancel();
        assert!(chain.last().unwrap().is_cancelled());
    });
}

#[test]
fn a_scope_in_a_destructor_runs_to_its_end() {
    struct Scopes<'a>(&'a AtomicBool);
    impl Drop for Scopes<'_> {
        fn drop(&mut self) {
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(SHORT);
                    self.0.store(true, Ordering::Relaxed);
                });
            });
        }
    }
    on_each_worker_count(|| {
        let done = AtomicBool::new(false);
        let late = deadline(SHORT, || {
            let _scopes = Scopes(&done);
            thread::sleep(EVER);
        });
        assert!(late.is_err() && done.load(Ordering::Relaxed));
    });
}

/// Blocks in `runtime` for ever, for a caller that lends the count of those who have unwound from that.
fn run_for_ever(runtime: &Runtime, unwound: &AtomicUsize, begins: impl FnOnce() + Send) {
    struct Counts<'a>(&'a AtomicUsize);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            thread::sleep(SHORT);
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    runtime.run(|| {
        let _counts = Counts(unwound);
        begins();
        thread::sleep(EVER);
    });
}

#[test]
fn what_runs_in_another_runtime_is_cancelled_with_the_one_who_waits_for_it() {
    each_worker_count(|runtime| {
        let (other, unwound) = (common::runtime(1), AtomicUsize::new(0));
        let (other, unwound) = (&other, &unwound);
        let cancelled = |expected: usize| {
            assert_eq!(unwound.load(Ordering::SeqCst), expected);
            assert_eq!(other.green_threads(), 0);
        };
        runtime.run(|| {
            let begun = Notify::new();
            thread::scope(|scope| {
                let runs = scope.spawn(|| run_for_ever(other, unwound, || begun.notify_one()));
                begun.wait();
                runs.cancel();
                assert!(runs.join().unwrap_err().is::<Cancelled>());
            });
            cancelled(1);
            let token = CancelToken::new();
            let ended = token.run(|| run_for_ever(other, unwound, || token.cancel()));
            assert!(ended.is_err());
            cancelled(2);
            // The time may be up before it begins.
            let began = AtomicUsize::new(0);
            let begins = || began.store(1, Ordering::SeqCst);
            assert!(deadline(SHORT, || run_for_ever(other, unwound, begins)).is_err());
            cancelled(2 + began.load(Ordering::SeqCst));
        });
    });
}

#[test]
fn a_runtime_that_shuts_down_ends_what_its_threads_run_in_another() {
    each_worker_count(|runtime| {
        let (ends, other) = (
            common::runtime(2),
            Arc::new(common::runtime(runtime.workers())),
        );
        let unwound = Arc::new(AtomicUsize::new(0));
        let begun = Arc::new(Notify::new());
        let runs = {
            let (other, unwound, begun) = (other.clone(), unwound.clone(), begun.clone());
            ends.spawn(move || run_for_ever(&other, &unwound, || begun.notify_one()))
        };
        begun.wait();
        ends.shutdown();
        assert!(runs.join().unwrap_err().is::<Cancelled>());
        assert_eq!(unwound.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn one_who_is_cancelled_gets_what_it_has_run_in_another_runtime() {
    each_worker_count(|other| {
        let runtime = common::runtime(1);
        let begun = Notify::new();
        runtime.run(|| {
            thread::scope(|scope| {
                let runs = scope.spawn(|| {
                    let seven = other.run(|| {
                        begun.notify_one();
                        let ended = panic::catch_unwind(|| thread::sleep(EVER));
                        assert!(ended.is_err());
                        7
                    });
                    assert_eq!(seven, 7);
                    thread::sleep(EVER);
                });
                begun.wait();
                runs.cancel();
                assert!(runs.join().unwrap_err().is::<Cancelled>());
            });
        });
    });
}

/// Whoever is woken by a cancellation may ask what cancelled it, at once.
#[test]
fn a_waker_that_asks_the_token() {
    struct Asks(CancelToken, AtomicBool);

    impl Wake for Asks {
        fn wake(self: Arc<Self>) {
            self.1.store(self.0.is_cancelled(), Ordering::Release);
        }
    }

    let token = CancelToken::new();
    let child = token.child();
    let asks = Arc::new(Asks(child.clone(), AtomicBool::new(false)));
    let mut sleeps = Box::pin(greenly(move || child.run(|| thread::sleep(EVER))));
    let waker = Waker::from(asks.clone());
    let mut context = Context::from_waker(&waker);
    assert!(sleeps.as_mut().poll(&mut context).is_pending());
    token.cancel();
    assert!(asks.1.load(Ordering::Acquire));
    assert!(matches!(
        sleeps.as_mut().poll(&mut context),
        Poll::Ready(Err(Cancelled { .. }))
    ));
}
