//! Deadlines over whatever blocks.

mod common;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::on_every_kind;
use roving_scheduler::wait::{self, Outcome};
use roving_scheduler::{
    CancelToken, DeadlineElapsed, Runtime, deadline, deadline_at, shield, thread,
};

const SHORT: Duration = Duration::from_micros(300);
const LONG: Duration = Duration::from_secs(1000);

fn forever() {
    thread::sleep(Duration::MAX);
}

/// An operation that tells of an interruption by an error.
fn fallible() -> io::Result<()> {
    match wait::begin_interruptible().try_block(None) {
        Ok(_) => Ok(()),
        Err(interrupt) => Err(interrupt.into_error()),
    }
}

/// An operation that has a timeout of its own.
fn timed(limit: Duration) -> Outcome {
    wait::begin().block_timed(Instant::now().checked_add(limit))
}

#[test]
fn it_ends_what_blocks_and_not_sooner() {
    on_every_kind(|| {
        let start = Instant::now();
        assert!(deadline(SHORT, forever).is_err());
        assert!(start.elapsed() >= SHORT);
        assert!(deadline(SHORT, thread::park).is_err());
        let stays = thread::spawn(thread::park);
        let other = stays.thread().clone();
        assert!(deadline(SHORT, move || stays.join().unwrap()).is_err());
        other.unpark();
        assert!(deadline_at(Instant::now(), forever).is_err());
        assert!(
            deadline(SHORT, || loop {
                thread::yield_now();
            })
            .is_err()
        );
        // Nothing of it is left.
        thread::sleep(Duration::from_nanos(1));
    });
}

#[test]
fn what_returns_is_given_however_late() {
    on_every_kind(|| {
        assert_eq!(deadline(LONG, || 1), Ok(1));
        assert_eq!(deadline(Duration::MAX, || 2), Ok(2));
        let late = deadline(Duration::ZERO, || {
            let start = Instant::now();
            while start.elapsed() < SHORT {
                std::hint::spin_loop();
            }
            3
        });
        assert_eq!(late, Ok(3));
        let panicked = catch_unwind(|| deadline(SHORT, || panic!("its own")));
        assert_eq!(common::message(&*panicked.unwrap_err()), "its own");
    });
}

#[test]
fn the_nearest_counts_and_the_outermost_of_equals() {
    on_every_kind(|| {
        let outer = deadline(SHORT, || deadline(LONG, forever));
        assert!(outer.is_err());
        let inner = deadline(LONG, || deadline(SHORT, forever));
        assert!(matches!(inner, Ok(Err(_))));
        let at = Instant::now() + SHORT;
        assert!(deadline_at(at, || deadline_at(at, forever)).is_err());
        let one_after_the_other = deadline(LONG, || {
            assert!(deadline(SHORT, forever).is_err());
            assert!(deadline(SHORT, forever).is_err());
            thread::sleep(Duration::from_nanos(1));
        });
        assert_eq!(one_after_the_other, Ok(()));
    });
}

#[test]
fn errors_tell_of_it_once() {
    on_every_kind(|| {
        let mut errors = 0;
        let unwound = deadline(SHORT, || {
            loop {
                let error = fallible().unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                assert!(error.get_ref().unwrap().is::<DeadlineElapsed>());
                errors += 1;
            }
        });
        assert!(unwound.is_err());
        assert_eq!(errors, 1);
        let mut timeouts = 0;
        let unwound = deadline(SHORT, || {
            loop {
                assert_eq!(timed(LONG), Outcome::TimedOut);
                timeouts += 1;
            }
        });
        assert!(unwound.is_err());
        assert_eq!(timeouts, 1);
        // Its own timeout is no deadline.
        let own = deadline(LONG, || [timed(SHORT), timed(SHORT), timed(SHORT)]);
        assert_eq!(own, Ok([Outcome::TimedOut; 3]));
        assert_eq!(deadline(SHORT, || fallible().is_err()), Ok(true));
    });
}

#[test]
fn one_that_is_swallowed_comes_again() {
    on_every_kind(|| {
        let result = deadline(SHORT, || {
            for _ in 0..3 {
                assert!(catch_unwind(forever).unwrap_err().is::<DeadlineElapsed>());
            }
            forever();
        });
        assert!(result.is_err());
    });
}

#[test]
fn destructors_block_while_it_unwinds() {
    struct Blocks<'a>(&'a AtomicUsize);
    impl Drop for Blocks<'_> {
        fn drop(&mut self) {
            thread::sleep(SHORT);
            thread::spawn(thread::yield_now).join().unwrap();
            assert_eq!(timed(SHORT), Outcome::TimedOut);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    on_every_kind(|| {
        let dropped = AtomicUsize::new(0);
        let result = deadline(SHORT, || {
            let _first = Blocks(&dropped);
            let _second = Blocks(&dropped);
            forever();
        });
        assert!(result.is_err());
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_shield_keeps_it_out_until_it_goes() {
    on_every_kind(|| {
        let mut finished = false;
        let result = deadline(SHORT, || {
            shield(|| {
                thread::sleep(2 * SHORT);
                finished = true;
            });
            forever();
        });
        assert!(finished && result.is_err());
        let value = deadline(SHORT, || {
            shield(|| {
                thread::sleep(2 * SHORT);
                4
            })
        });
        assert_eq!(value, Ok(4));
    });
}

#[test]
fn scoped_children_inherit_it_and_detached_ones_do_not() {
    on_every_kind(|| {
        let go = std::sync::Arc::new(AtomicBool::new(false));
        let mut detached = None;
        let result = deadline(SHORT, || {
            let seen = go.clone();
            detached = Some(thread::spawn(move || {
                while !seen.load(Ordering::Acquire) {
                    thread::sleep(Duration::from_micros(50));
                }
            }));
            // The child alone is interrupted: its parent is shielded while it waits for it.
            thread::scope(|s| {
                let child = s.spawn(forever);
                shield(|| {
                    while !child.is_finished() {
                        thread::sleep(Duration::from_micros(50));
                    }
                });
            })
        });
        // The scope's thread is subject to what its child was ended by.
        assert!(result.is_err());
        go.store(true, Ordering::Release);
        detached.unwrap().join().unwrap();
    });
}

#[test]
fn a_childs_deadline_goes_on_in_whoever_joins_it() {
    on_every_kind(|| {
        let result = deadline(SHORT, || {
            thread::scope(|s| {
                let child = s.spawn(forever);
                let joined = shield(|| child.join());
                std::panic::resume_unwind(joined.unwrap_err())
            })
        });
        assert!(result.is_err());
    });
}

#[test]
fn a_runtime_runs_under_the_callers_deadline() {
    common::each_worker_count(|runtime: &Runtime| {
        assert!(deadline(SHORT, || runtime.run(forever)).is_err());
        let nested = runtime.run(|| {
            let result = deadline(SHORT, || runtime.run(forever));
            thread::sleep(Duration::from_nanos(1));
            result
        });
        assert!(nested.is_err());
        let token = CancelToken::new();
        let handle = {
            let token = token.clone();
            runtime.spawn(move || token.cancel())
        };
        assert!(token.run(|| runtime.run(forever)).is_err());
        handle.join().unwrap();
    });
}

#[test]
fn it_races_a_wake_up() {
    on_every_kind(|| {
        for n in 0..300u64 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                deadline(Duration::from_micros(n % 40), || {
                    let current = thread::current();
                    let handle = thread::spawn(move || current.unpark());
                    thread::park();
                    handle
                })
            }));
            match result.unwrap() {
                Ok(handle) => handle.join().unwrap(),
                // The other may still unpark.
                Err(DeadlineElapsed { .. }) => thread::park(),
            }
        }
    });
}
