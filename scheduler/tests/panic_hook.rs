//! Panic hooks that block, each in a process of its own, since there is one hook for all.
//!
//! - a hook may wait for other green threads, for time, for a lock; whoever changes the hook
//!   meanwhile gets to it
//! - whoever panics while another one is in the hook does so as on a thread of its own, also if the
//!   program has set its hook after the runtime had started
//! - nothing unwinds out of a hook

mod common;

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{child, is_child, message, on_each_mode, run};
use roving_scheduler::{CancelToken, channel, deadline, sync, thread};

/// Runs `test` in a process of its own, where this is called.
fn in_a_child(name: &str, test: impl FnOnce()) {
    if is_child(name) {
        test();
    } else {
        run(child(name));
    }
}

#[test]
fn one_that_sleeps_keeps_nobody_from_changing_it() {
    in_a_child("one_that_sleeps_keeps_nobody_from_changing_it", || {
        on_each_mode(|| {
            panic::set_hook(Box::new(|_| thread::sleep(Duration::from_millis(20))));
            let panics = thread::spawn(|| panic::panic_any("first"));
            let changes = thread::spawn(|| {
                thread::yield_now();
                drop(panic::take_hook());
            });
            assert_eq!(message(&*panics.join().unwrap_err()), "first");
            changes.join().unwrap();
        });
    });
}

#[test]
fn one_that_yields_keeps_nobody_from_changing_it() {
    in_a_child("one_that_yields_keeps_nobody_from_changing_it", || {
        on_each_mode(|| {
            static HAS_CHANGED: AtomicBool = AtomicBool::new(false);
            HAS_CHANGED.store(false, Ordering::Release);
            panic::set_hook(Box::new(|_| (0..100).for_each(|_| thread::yield_now())));
            let panics = thread::spawn(|| panic::panic_any("first"));
            let changes = thread::spawn(|| drop(panic::take_hook()));
            assert_eq!(message(&*panics.join().unwrap_err()), "first");
            changes.join().unwrap();
            // One that yields until a neighbour has run gets there, too.
            panic::set_hook(Box::new(|_| {
                while !HAS_CHANGED.load(Ordering::Acquire) {
                    thread::yield_now();
                }
            }));
            let panics = thread::spawn(|| panic::panic_any("second"));
            let changes = thread::spawn(|| HAS_CHANGED.store(true, Ordering::Release));
            assert_eq!(message(&*panics.join().unwrap_err()), "second");
            changes.join().unwrap();
            drop(panic::take_hook());
        });
    });
}

/// Is told whether its thread seemed to panic before and after it has blocked.
struct Slow(Arc<AtomicUsize>);

impl Drop for Slow {
    fn drop(&mut self) {
        let panicking = || usize::from(std::thread::panicking() && thread::panicking());
        self.0.fetch_add(panicking(), Ordering::AcqRel);
        thread::sleep(Duration::from_micros(300));
        self.0.fetch_add(panicking(), Ordering::AcqRel);
    }
}

#[test]
fn one_that_waits_for_another_green_thread() {
    in_a_child("one_that_waits_for_another_green_thread", || {
        on_each_mode(|| {
            const PANICS: usize = 3;
            let (reports, inbox) = channel::bounded::<String>(0);
            // Set after the runtime has started, and it does not call the one before.
            panic::set_hook(Box::new(move |info| {
                let report = (*info.payload().downcast_ref::<&str>().unwrap()).to_owned();
                reports.send(report).unwrap();
            }));
            let lock = Arc::new(sync::Mutex::new(()));
            let seen = Arc::new(AtomicUsize::new(0));
            let panic_all: Vec<_> = (0..PANICS)
                .map(|n| {
                    let (lock, seen) = (lock.clone(), seen.clone());
                    thread::spawn(move || {
                        let _slow = Slow(seen);
                        let _guard = (n == 0).then(|| lock.lock());
                        panic::panic_any("reported");
                    })
                })
                .collect();
            let neighbours: Vec<_> = (0..PANICS)
                .map(|_| {
                    thread::spawn(|| {
                        let seems_to_panic = |_| {
                            thread::sleep(Duration::from_micros(300));
                            std::thread::panicking()
                        };
                        (0..20).filter(|n: &usize| seems_to_panic(*n)).count()
                    })
                })
                .collect();
            // They are in the hook by then.
            thread::sleep(Duration::from_millis(1));
            for _ in 0..PANICS {
                assert_eq!(inbox.recv().unwrap(), "reported");
            }
            for panics in panic_all {
                assert_eq!(message(&*panics.join().unwrap_err()), "reported");
            }
            for neighbour in neighbours {
                assert_eq!(neighbour.join().unwrap(), 0);
            }
            assert!(lock.is_poisoned());
            assert_eq!(seen.load(Ordering::Acquire), 2 * PANICS);
            drop(panic::take_hook());
        });
    });
}

#[test]
fn nothing_unwinds_out_of_one() {
    in_a_child("nothing_unwinds_out_of_one", || {
        on_each_mode(|| {
            static RUNS: AtomicUsize = AtomicUsize::new(0);
            RUNS.store(0, Ordering::Release);
            panic::set_hook(Box::new(|_| {
                thread::sleep(Duration::from_millis(1));
                let of_hook = deadline(Duration::ZERO, || thread::sleep(Duration::from_millis(1)));
                assert!(of_hook.is_ok());
                RUNS.fetch_add(1, Ordering::AcqRel);
            }));
            let interrupted = thread::spawn(|| {
                let token = CancelToken::new();
                token.run(|| {
                    token.cancel();
                    deadline(Duration::ZERO, || panic::panic_any("not the interruption"))
                })
            });
            let payload = interrupted.join().unwrap_err();
            assert_eq!(message(&*payload), "not the interruption");
            assert_eq!(RUNS.load(Ordering::Acquire), 1);
            drop(panic::take_hook());
        });
    });
}
