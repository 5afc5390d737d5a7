//! What is held when a wait is ended from outside, and when a thread waits for others: scopes, groups,
//! cancellation, deadlines, timers, and destructors that block on the way out.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use roving::sync::{Barrier, Condvar, Mutex};
use roving::time::interval;
use roving::{CancelToken, Group, channel, deadline, local, shield, thread};
use roving_soundness::{
    Held, ROUNDS, THREADS, holding, many_holding, many_sharing, migrate, nothing_is_held,
};

/// The rounds of what suspends several times in each.
const SOME: usize = ROUNDS / 10;
const MOMENT: Duration = Duration::from_micros(50);

/// Moves while it is dropped, and sees that what its thread holds is its own still.
struct Unwinds<'a>(&'a Held<'a>);

impl Drop for Unwinds<'_> {
    fn drop(&mut self) {
        for way in 0..4 {
            self.0.is_mine_in_a_panic();
            migrate(way);
        }
        let inner = std::panic::catch_unwind(|| {
            migrate(1);
            std::panic::resume_unwind(Box::new("within"));
        });
        assert!(inner.is_err());
        self.0.is_mine_in_a_panic();
    }
}

/// Blocks for ever, in one of several ways.
fn block(way: usize) {
    match way % 7 {
        0 => thread::sleep(Duration::MAX),
        1 => thread::park(),
        2 => drop(channel::bounded::<()>(0).0.send(())),
        3 => drop(channel::never::<()>().recv()),
        4 => drop(Barrier::new(2).wait()),
        5 => {
            let mutex = Mutex::new(());
            drop(Condvar::new().wait(mutex.lock().unwrap()));
        }
        _ => thread::scope(|scope| {
            scope.spawn(|| thread::sleep(Duration::MAX));
        }),
    }
}

/// Blocks for ever, holding something that is seen to be there while this unwinds.
fn block_holding(number: usize, way: usize) {
    holding(number, |held| {
        let _unwinds = Unwinds(held);
        migrate(way);
        held.is_mine();
        // A channel whose receiver is gone does not block.
        loop {
            block(way);
        }
    });
}

#[test]
fn a_deadline_unwinds_through_what_is_held() {
    many_sharing(
        || (),
        |number, ()| {
            for round in 0..SOME {
                let late = deadline(MOMENT, || block_holding(number, round));
                assert!(late.is_err());
                assert!(nothing_is_held());
            }
        },
    );
}

#[test]
fn a_token_unwinds_through_what_is_held() {
    many_sharing(
        || (),
        |number, ()| {
            for round in 0..SOME {
                let token = CancelToken::new();
                let cancels = if round % 2 == 0 {
                    token.clone()
                } else {
                    let parent = token;
                    let child = parent.child();
                    thread::spawn(move || parent.cancel());
                    child
                };
                if round % 2 == 0 {
                    let cancels = cancels.clone();
                    thread::spawn(move || {
                        migrate(round);
                        cancels.cancel();
                    });
                }
                assert!(cancels.run(|| block_holding(number, round)).is_err());
                assert!(nothing_is_held());
            }
        },
    );
}

#[test]
fn a_handle_cancels_one_that_holds_something() {
    many_holding(
        || (),
        |number, held, ()| {
            for round in 0..SOME {
                let this = thread::current();
                let child = thread::spawn(move || {
                    this.unpark();
                    block_holding(number, round);
                });
                thread::park();
                held.is_mine();
                child.cancel();
                let payload = child.join().unwrap_err();
                assert!(payload.is::<roving::Cancelled>());
                held.is_mine();
            }
        },
    );
}

#[test]
fn what_is_shielded_is_not_unwound() {
    many_sharing(
        || (),
        |number, ()| {
            for round in 0..SOME {
                let finished = Cell::new(false);
                let late = deadline(MOMENT, || {
                    holding(number, |held| {
                        shield(|| {
                            thread::sleep(MOMENT * 2);
                            migrate(round);
                            held.is_mine();
                            finished.set(true);
                        });
                        let _unwinds = Unwinds(held);
                        block(round);
                    });
                });
                assert!(late.is_err() && finished.get());
                assert!(nothing_is_held());
            }
        },
    );
}

#[test]
fn a_scope_waits_for_threads_that_move_and_lends_to_them() {
    many_holding(
        || (),
        |number, held, ()| {
            for round in 0..SOME {
                let sum = AtomicUsize::new(0);
                let (one, other) = thread::scope(|scope| {
                    for child in 0..3 {
                        let sum = &sum;
                        scope.spawn(move || {
                            holding(child, |held| {
                                migrate(child + round);
                                held.is_mine();
                            });
                            sum.fetch_add(child, Ordering::SeqCst);
                        });
                    }
                    let one = scope.spawn(|| number);
                    let other = scope.spawn(|| sum.load(Ordering::SeqCst));
                    held.is_mine();
                    let joined = (one.join().unwrap(), other.join().unwrap());
                    held.is_mine();
                    joined
                });
                held.is_mine();
                assert_eq!(one, number);
                assert!(other <= sum.load(Ordering::SeqCst));
                assert_eq!(sum.load(Ordering::SeqCst), 3);
            }
        },
    );
}

#[test]
fn a_scope_whose_deadline_comes_unwinds_its_threads_and_then_itself() {
    many_sharing(
        || (),
        |number, ()| {
            for round in 0..SOME {
                let unwound = AtomicUsize::new(0);
                let late = deadline(MOMENT, || {
                    holding(number, |held| {
                        let _unwinds = Unwinds(held);
                        thread::scope(|scope| {
                            for child in 0..2 {
                                let unwound = &unwound;
                                scope.spawn(move || {
                                    struct Counts<'a>(&'a AtomicUsize);
                                    impl Drop for Counts<'_> {
                                        fn drop(&mut self) {
                                            migrate(0);
                                            self.0.fetch_add(1, Ordering::SeqCst);
                                        }
                                    }
                                    let _counts = Counts(unwound);
                                    block_holding(child, child + round);
                                });
                            }
                        });
                    });
                });
                assert!(late.is_err());
                assert!(nothing_is_held());
                // One that had not begun has nothing to unwind.
                assert!(unwound.load(Ordering::SeqCst) <= 2);
            }
        },
    );
}

#[test]
fn a_group_cancels_members_that_hold_something() {
    many_holding(
        || (),
        |number, held, ()| {
            for round in 0..SOME {
                let failed: Result<Vec<()>, usize> = Group::new().run(|group| {
                    for member in 0..3 {
                        group.spawn(move || {
                            if member == 2 {
                                migrate(round);
                                return Err(number);
                            }
                            block_holding(member, member + round);
                            Ok(())
                        });
                    }
                    held.is_mine();
                    Ok(())
                });
                held.is_mine();
                assert_eq!(failed, Err(number));
                let values = Group::new().limit(2).map(0..5, |n| {
                    holding(n, |held| {
                        migrate(n);
                        held.is_mine();
                    });
                    Ok::<_, ()>(n * number)
                });
                held.is_mine();
                assert_eq!(values.unwrap().len(), 5);
            }
        },
    );
}

#[test]
fn timers_wake_one_that_holds_something() {
    many_holding(
        || (),
        |number, held, ()| {
            let mut ticks = interval(MOMENT);
            for round in 0..SOME {
                thread::sleep(MOMENT);
                held.is_mine();
                thread::sleep_until(Instant::now() + MOMENT);
                held.is_mine();
                thread::park_timeout(MOMENT);
                held.is_mine();
                ticks.tick();
                held.is_mine();
                assert_eq!(deadline(Duration::from_secs(60), || number), Ok(number));
                migrate(round);
                held.is_mine();
            }
        },
    );
}

local! {
    static INHERITED: usize;
}

#[test]
fn inherited_values_follow_those_that_move() {
    many_holding(
        || (),
        |number, held, ()| {
            for round in 0..SOME {
                INHERITED.set(number + round, || {
                    migrate(round);
                    held.is_mine();
                    assert_eq!(INHERITED.get(), Some(number + round));
                    let child = thread::spawn(move || {
                        migrate(number);
                        INHERITED.get()
                    });
                    assert_eq!(child.join().unwrap(), Some(number + round));
                });
                held.is_mine();
                assert_eq!(INHERITED.get(), None);
            }
        },
    );
}

#[test]
fn calls_that_block_in_the_system_give_the_thread_back_as_it_was() {
    many_holding(
        || (),
        |number, held, ()| {
            for round in 0..SOME {
                let given = roving::blocking(|| {
                    std::thread::sleep(MOMENT);
                    number
                });
                held.is_mine();
                assert_eq!(given, number);
                roving::blocking(|| {
                    std::thread::sleep(MOMENT);
                    migrate(round);
                    held.is_mine();
                    std::thread::sleep(MOMENT);
                });
                held.is_mine();
            }
        },
    );
}

#[test]
fn destructors_of_many_kinds_block_while_a_runtime_shuts_down() {
    static UNWOUND: AtomicUsize = AtomicUsize::new(0);
    struct Blocks(usize);
    impl Drop for Blocks {
        fn drop(&mut self) {
            let id = std::thread::current().id();
            for way in 0..2 {
                migrate(way);
                assert!(std::thread::panicking());
            }
            let (sender, receiver) = channel::bounded(1);
            sender.send(self.0).unwrap();
            assert_eq!(receiver.recv(), Ok(self.0));
            assert!(receiver.recv_timeout(MOMENT).is_err());
            let mutex = Mutex::new(());
            let waited = Condvar::new().wait_timeout(mutex.lock().unwrap(), MOMENT);
            assert!(waited.unwrap().1.timed_out());
            assert_eq!(std::thread::current().id(), id);
            UNWOUND.fetch_add(1, Ordering::SeqCst);
        }
    }
    let begun = std::sync::Arc::new(AtomicUsize::new(0));
    roving_soundness::on_moving_threads(|runtime| {
        for number in 0..THREADS {
            let begun = begun.clone();
            runtime.spawn(move || {
                let _blocks = Blocks(number);
                begun.fetch_add(1, Ordering::SeqCst);
                loop {
                    block(number);
                }
            });
        }
    });
    // Both runtimes have ended.
    assert_eq!(UNWOUND.load(Ordering::SeqCst), begun.load(Ordering::SeqCst));
}
