//! Waits in destructors that run while their thread unwinds or ends: what is set up in a destructor
//! bounds them, what comes from outside of it does not, and nothing unwinds out of one, which would
//! abort the process.

mod common;

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::drops::OnDrop;
use common::{on_each_worker_count, on_every_kind, on_pinned_threads};
use roving_scheduler::wait::{self, Cancelled};
use roving_scheduler::{
    CancelToken, DeadlineElapsed, Handle, ThreadLocals, channel, deadline, shield, thread,
};

const SHORT: Duration = Duration::from_micros(300);
/// Longer than a short one, and what a wait takes that is not bounded by it.
const LONGER: Duration = Duration::from_millis(2);

fn forever() {
    thread::sleep(Duration::MAX);
}

/// Ways to begin an unwinding.
const RAISES: [fn(); 3] = [
    || panic::resume_unwind(Box::new("raised")),
    || panic::panic_any("raised"),
    || {
        // One that is on its way to nobody.
        let elapsed = thread::spawn(|| deadline(SHORT, forever).unwrap_err());
        panic::resume_unwind(Box::new(elapsed.join().unwrap()));
    },
];

/// Runs `test` in a destructor while the thread unwinds.
fn while_unwinding(raise: fn(), test: impl FnOnce()) -> Box<dyn Any + Send> {
    let mut test = Some(test);
    let mut is_over = false;
    let caught = panic::catch_unwind(AssertUnwindSafe(|| {
        let _tests = OnDrop(|| {
            assert!(thread::panicking() && std::thread::panicking());
            test.take().unwrap()();
            assert!(thread::panicking() && std::thread::panicking());
            is_over = true;
        });
        raise();
    }));
    assert!(is_over);
    caught.unwrap_err()
}

/// On every kind of thread, and in every mode that is safe to ask for. The hook is silent: `RAISES`
/// would say much.
fn everywhere(test: impl Fn() + Send + Sync) {
    static QUIET: std::sync::Once = std::sync::Once::new();
    QUIET.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref() != Some(&"raised") {
                loud(info);
            }
        }));
    });
    on_every_kind(&test);
    on_pinned_threads(test);
}

/// Each operation that can block ends.
fn each_kind_of_wait_is_bounded() {
    assert!(deadline(SHORT, forever).is_err());
    assert!(deadline(SHORT, thread::park).is_err());
    let (_sender, receiver) = channel::bounded::<()>(0);
    assert!(deadline(SHORT, || receiver.recv()).is_err());
    assert!(receiver.recv_timeout(SHORT).is_err());
    let error = deadline(SHORT, || {
        let wait = wait::begin_interruptible();
        wait.try_block(None).map_err(wait::Interrupt::into_error)
    });
    let error = error.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    // And what is not bounded is not ended.
    thread::sleep(LONGER);
}

#[test]
fn a_deadline_of_a_destructor_holds_while_it_unwinds() {
    everywhere(|| {
        for raise in RAISES {
            let payload = while_unwinding(raise, each_kind_of_wait_is_bounded);
            assert!(payload.is::<&str>() || payload.is::<DeadlineElapsed>());
            assert!(!thread::panicking());
        }
    });
}

#[test]
fn what_comes_from_outside_does_not() {
    everywhere(|| {
        // A deadline that has ended the thread, and a token that is cancelled meanwhile.
        let token = CancelToken::new();
        let mut woke_by_itself = false;
        let cancelled = token.run(|| {
            let late = deadline(SHORT, || {
                let _slow = OnDrop(|| {
                    token.cancel();
                    thread::sleep(LONGER);
                    thread::yield_now();
                    assert!(deadline(SHORT, forever).is_err());
                    let within = deadline(Duration::MAX, || thread::sleep(LONGER));
                    woke_by_itself = within.is_ok();
                });
                forever();
            });
            assert!(late.is_err());
            // It has not been forgotten.
            forever();
        });
        assert!(cancelled.is_err() && woke_by_itself);
        // The thread as a whole.
        let thread = thread::spawn(|| {
            let _slow = OnDrop(|| {
                let within = deadline(Duration::from_secs(1000), || thread::sleep(LONGER));
                assert!(within.is_ok());
                each_kind_of_wait_is_bounded();
            });
            forever();
        });
        thread::sleep(SHORT);
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<Cancelled>());
    });
}

#[test]
fn tokens_and_shields_of_a_destructor_hold() {
    everywhere(|| {
        let payload = while_unwinding(RAISES[0], || {
            let token = CancelToken::new();
            let cancels = {
                let token = token.clone();
                thread::spawn(move || token.cancel())
            };
            assert!(token.run(forever).is_err());
            cancels.join().unwrap();
            let mut finished = false;
            let shielded = token.run(|| {
                shield(|| {
                    thread::sleep(LONGER);
                    assert!(deadline(SHORT, forever).is_err());
                    finished = true;
                });
                forever();
            });
            assert!(shielded.is_err() && finished);
            // Deadlines nest as they do elsewhere.
            let outer = deadline(SHORT, || deadline(Duration::MAX, forever));
            assert!(outer.is_err());
            let inner = deadline(Duration::from_secs(1000), || deadline(SHORT, forever));
            assert!(matches!(inner, Ok(Err(_))));
        });
        assert!(payload.is::<&str>());
    });
}

#[test]
fn children_of_a_destructor_inherit_what_it_has_set_up() {
    everywhere(|| {
        let payload = while_unwinding(RAISES[0], || {
            let mut unwound = 0;
            let late = deadline(LONGER, || {
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let _counts = OnDrop(|| unwound += 1);
                        forever();
                    });
                    thread::sleep(SHORT);
                });
            });
            assert!(late.is_err());
            assert!(unwound <= 1);
        });
        assert!(payload.is::<&str>());
    });
}

/// A deadline that is set up in a destructor must not unwind one that runs in a later unwinding:
/// that would leave a destructor.
#[test]
fn a_later_unwinding_is_left_alone() {
    everywhere(|| {
        for raise in RAISES {
            for raise_again in RAISES {
                let payload = while_unwinding(raise, || {
                    let mut slept = Duration::ZERO;
                    let outer = deadline(SHORT, || {
                        while_unwinding(raise_again, || {
                            let start = Instant::now();
                            // Longer than the deadline that is outside of this destructor.
                            thread::sleep(LONGER);
                            slept = start.elapsed();
                            each_kind_of_wait_is_bounded();
                            while_unwinding(raise, each_kind_of_wait_is_bounded);
                        });
                        // It is over, so the deadline counts again.
                        forever();
                    });
                    assert!(outer.is_err() && slept >= LONGER);
                    each_kind_of_wait_is_bounded();
                });
                assert!(payload.is::<&str>() || payload.is::<DeadlineElapsed>());
            }
        }
    });
}

#[test]
fn a_panic_that_was_caught_in_a_destructor_is_over() {
    everywhere(|| {
        while_unwinding(RAISES[0], || {
            let late = deadline(SHORT, || {
                let caught = panic::catch_unwind(RAISES[0]);
                assert!(caught.is_err());
                forever();
            });
            assert!(late.is_err());
        });
    });
}

/// Runs its function when it is dropped, and says so.
struct Last(fn(), Arc<AtomicUsize>);

impl Drop for Last {
    fn drop(&mut self) {
        (self.0)();
        self.1.fetch_add(1, Ordering::AcqRel);
    }
}

thread_local! {
    static OF_THREAD: RefCell<Option<Last>> = const { RefCell::new(None) };
}

#[test]
fn a_deadline_holds_in_destructors_at_the_end_of_a_thread() {
    const TESTS: [fn(); 2] = [each_kind_of_wait_is_bounded, || {
        while_unwinding(RAISES[0], each_kind_of_wait_is_bounded);
        let late = deadline(SHORT, || {
            while_unwinding(RAISES[0], || thread::sleep(LONGER));
            forever();
        });
        assert!(late.is_err());
    }];
    let of_result = || {
        for test in TESTS {
            let dropped = Arc::new(AtomicUsize::new(0));
            let detached = {
                let dropped = dropped.clone();
                thread::spawn(move || {
                    thread::park();
                    Last(test, dropped)
                })
            };
            // It ends although it has been cancelled.
            let other = detached.thread().clone();
            drop(detached);
            other.unpark();
            while dropped.load(Ordering::Acquire) == 0 {
                thread::sleep(SHORT);
            }
        }
    };
    on_every_kind(of_result);
    on_pinned_threads(of_result);
    on_each_worker_count(|| {
        let runtime = Handle::current().expect("a green thread has one");
        if runtime.thread_locals() != ThreadLocals::Own {
            // Those of a worker end with the worker.
            return;
        }
        for test in TESTS {
            let dropped = Arc::new(AtomicUsize::new(0));
            let last = Last(test, dropped.clone());
            let begun = Arc::new(AtomicBool::new(false));
            let begins = begun.clone();
            let thread = thread::spawn(move || {
                OF_THREAD.with_borrow_mut(|of_thread| *of_thread = Some(last));
                begins.store(true, Ordering::Release);
                forever();
            });
            while !begun.load(Ordering::Acquire) {
                thread::yield_now();
            }
            thread.cancel();
            assert!(thread.join().unwrap_err().is::<Cancelled>());
            assert_eq!(dropped.load(Ordering::Acquire), 1);
        }
    });
}

/// As one of std is: what others know of it is true still.
#[cfg(unix)]
#[test]
fn an_os_thread_is_the_same_thread_when_its_thread_locals_are_destroyed() {
    type AtEnd = OnDrop<Box<dyn FnMut()>>;

    thread_local! {
        static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
    }

    let _watchdog = common::watchdog("on an OS thread");
    let (tells, told) = std::sync::mpsc::channel();
    let os_thread = std::thread::spawn(move || {
        // Registered before whatever the runtime may register.
        AT_END.with(|_| ());
        let me = thread::current();
        tells.send(me.clone()).unwrap();
        let at_end: Box<dyn FnMut()> = Box::new(move || {
            assert_eq!(thread::current().id(), me.id());
            tells.send(me.clone()).unwrap();
            thread::park();
        });
        AT_END.set(Some(OnDrop(at_end)));
    });
    let known = told.recv().unwrap();
    told.recv().unwrap();
    known.unpark();
    os_thread.join().unwrap();
}
