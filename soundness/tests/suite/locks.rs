//! What may be held over the locks and the other primitives of `sync`, and what each of them may be
//! held over.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

use roving::sync::{
    Barrier, Condvar, LazyLock, Mutex, MutexGuard, Notify, Once, OnceLock, RwLock,
    RwLockWriteGuard, Semaphore, WaitGroup, broadcast, mpsc, oneshot, watch,
};
use roving::thread;
use roving_soundness::{ROUNDS, THREADS, holding, many_holding, many_sharing, migrate};

/// The rounds of what suspends several times in each.
const SOME: usize = ROUNDS / 2;
const MOMENT: Duration = Duration::from_micros(30);

#[test]
fn a_mutex_is_waited_for_and_held_over_migrations() {
    many_holding(
        || Mutex::new(0),
        |number, held, mutex| {
            for round in 0..SOME {
                let mut count = mutex.lock().unwrap();
                held.is_mine();
                let before = *count;
                migrate(number + round);
                held.is_mine();
                *count = before + 1;
                drop(count);
                held.is_mine();
            }
        },
    );
}

#[test]
fn a_mutex_that_does_not_come_in_time_leaves_the_thread_as_it_was() {
    many_holding(
        || Mutex::new(0),
        |number, held, mutex| {
            for round in 0..SOME {
                match mutex.try_lock_for(MOMENT) {
                    Ok(mut count) => {
                        migrate(number + round);
                        *count += 1;
                    }
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Poisoned(_)) => unreachable!("nobody panics"),
                }
                held.is_mine();
            }
        },
    );
}

#[test]
fn readers_and_writers_wait_and_hold_over_migrations() {
    many_holding(
        || RwLock::new((0, 0)),
        |number, held, lock| {
            for round in 0..SOME {
                if (number + round) % 3 == 0 {
                    let mut pair = lock.write().unwrap();
                    held.is_mine();
                    pair.0 += 1;
                    migrate(round);
                    pair.1 += 1;
                    let pair = RwLockWriteGuard::downgrade(pair);
                    migrate(number);
                    assert_eq!(pair.0, pair.1);
                } else {
                    let pair = lock.read().unwrap();
                    held.is_mine();
                    migrate(number + round);
                    assert_eq!(pair.0, pair.1);
                }
                held.is_mine();
            }
        },
    );
}

fn wait<'a>(
    condvar: &Condvar,
    turn: MutexGuard<'a, usize>,
    number: usize,
) -> MutexGuard<'a, usize> {
    let waited = condvar.wait_while(turn, |turn| *turn % THREADS != number);
    waited.unwrap()
}

#[test]
fn threads_take_turns_by_a_condition_variable() {
    many_holding(
        || (Mutex::new(0), Condvar::new()),
        |number, held, (turn, changed)| {
            for round in 0..SOME {
                let mut turn = wait(changed, turn.lock().unwrap(), number);
                held.is_mine();
                assert_eq!(*turn, round * THREADS + number);
                *turn += 1;
                changed.notify_all();
                drop(turn);
                held.is_mine();
            }
        },
    );
}

#[test]
fn a_condition_variable_times_out() {
    many_holding(
        || (Mutex::new(()), Condvar::new()),
        |_, held, (mutex, never)| {
            for _ in 0..SOME {
                let (guard, result) = never.wait_timeout(mutex.lock().unwrap(), MOMENT).unwrap();
                held.is_mine();
                assert!(result.timed_out());
                drop(guard);
                held.is_mine();
            }
        },
    );
}

#[test]
fn permits_are_waited_for_and_held_over_migrations() {
    many_holding(
        || (Semaphore::new(3), AtomicUsize::new(0)),
        |number, held, (semaphore, taken)| {
            for round in 0..SOME {
                let permits = 1 + (number + round) % 3;
                let permit = semaphore.acquire_many(permits);
                held.is_mine();
                assert!(taken.fetch_add(permits, Ordering::SeqCst) + permits <= 3);
                migrate(round);
                taken.fetch_sub(permits, Ordering::SeqCst);
                drop(permit);
                held.is_mine();
                drop(semaphore.try_acquire_for(MOMENT));
                held.is_mine();
            }
        },
    );
}

#[test]
fn all_meet_at_a_barrier() {
    many_holding(
        || (Barrier::new(THREADS), AtomicUsize::new(0)),
        |_, held, (barrier, came)| {
            for round in 1..=SOME {
                came.fetch_add(1, Ordering::SeqCst);
                barrier.wait();
                held.is_mine();
                assert_eq!(came.load(Ordering::SeqCst), round * THREADS);
                barrier.wait();
                held.is_mine();
            }
        },
    );
}

#[test]
fn threads_in_a_ring_notify_each_other() {
    many_holding(
        || -> Vec<Notify> { (0..THREADS).map(|_| Notify::new()).collect() },
        |number, held, ring| {
            for _ in 0..SOME {
                if number == 0 {
                    ring[1].notify_one();
                    ring[0].wait();
                } else {
                    ring[number].wait();
                    ring[(number + 1) % THREADS].notify_one();
                }
                held.is_mine();
            }
        },
    );
}

#[test]
fn a_notification_that_does_not_come_in_time_leaves_the_thread_as_it_was() {
    many_holding(Notify::new, |_, held, never| {
        for _ in 0..SOME {
            assert!(!never.wait_timeout(MOMENT));
            held.is_mine();
        }
    });
}

#[test]
fn whoever_initialises_moves_and_all_others_wait_for_it() {
    static LAZY: LazyLock<usize> = LazyLock::new(|| {
        holding_more(|| (0..8).for_each(migrate));
        7
    });
    /// The initialiser runs in the middle of what its thread holds.
    fn holding_more(run: impl FnOnce()) {
        let before = std::thread::current().id();
        run();
        assert_eq!(std::thread::current().id(), before);
        assert!(!std::thread::panicking());
    }
    many_holding(
        || (Once::new(), OnceLock::new(), AtomicUsize::new(0)),
        |number, held, (once, cell, runs)| {
            once.call_once(|| {
                held.is_mine();
                (0..8).for_each(migrate);
                held.is_mine();
                runs.fetch_add(1, Ordering::SeqCst);
            });
            held.is_mine();
            assert_eq!(runs.load(Ordering::SeqCst), 1);
            let first = *cell.get_or_init(|| {
                held.is_mine();
                (0..8).for_each(migrate);
                held.is_mine();
                number
            });
            held.is_mine();
            assert_eq!(cell.get(), Some(&first));
            assert_eq!(*LAZY, 7);
            held.is_mine();
        },
    );
}

#[test]
fn an_initialiser_that_panics_moves_while_it_unwinds() {
    struct Moves;
    impl Drop for Moves {
        fn drop(&mut self) {
            for way in 0..4 {
                assert!(std::thread::panicking());
                migrate(way);
            }
        }
    }
    many_sharing(Once::new, |number, once| {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            once.call_once_force(|_| {
                let _moves = Moves;
                std::panic::resume_unwind(Box::new(number));
            });
        }));
        assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&number));
        assert!(!std::thread::panicking());
        holding(number, |held| {
            migrate(number);
            held.is_mine();
        });
    });
}

#[test]
fn answers_come_by_oneshots() {
    many_holding(
        || (),
        |number, held, ()| {
            for round in 0..SOME {
                let (sender, receiver) = oneshot::channel();
                thread::spawn(move || {
                    migrate(number + round);
                    sender.send(number).unwrap();
                });
                assert_eq!(receiver.recv(), Ok(number));
                held.is_mine();
                let (_sender, receiver) = oneshot::channel::<()>();
                assert!(receiver.recv_timeout(MOMENT).is_err());
                held.is_mine();
            }
        },
    );
}

#[test]
fn everyone_hears_what_is_broadcast() {
    many_holding(
        || (broadcast::channel(2 * THREADS).0, Barrier::new(THREADS)),
        |number, held, (sender, all)| {
            let receiver = sender.subscribe();
            all.wait();
            for _ in 0..SOME {
                sender.send(number).unwrap();
                let sum: usize = (0..THREADS).map(|_| receiver.recv().unwrap()).sum();
                held.is_mine();
                assert_eq!(sum, THREADS * (THREADS - 1) / 2);
                // Nobody begins the next round before all have heard this one.
                all.wait();
                held.is_mine();
            }
        },
    );
}

#[test]
fn a_watched_value_changes_under_those_who_wait() {
    many_holding(
        || watch::channel(0_usize).0,
        |number, held, sender| {
            let mut receiver = sender.subscribe();
            for round in 0..SOME {
                let before = *receiver.borrow_and_update();
                if before % THREADS == number {
                    migrate(round);
                    sender.send_replace(before + 1);
                } else {
                    let _ = receiver.changed_timeout(MOMENT * 10);
                }
                held.is_mine();
                assert!(*receiver.borrow() >= before);
            }
        },
    );
}

#[test]
fn a_wait_group_waits_for_those_that_move() {
    many_holding(
        || (),
        |number, held, ()| {
            for round in 0..SOME {
                let group = WaitGroup::new();
                for way in 0..3 {
                    let group = group.clone();
                    thread::spawn(move || {
                        migrate(number + round + way);
                        drop(group);
                    });
                }
                group.wait();
                held.is_mine();
            }
        },
    );
}

#[test]
fn messages_of_mpsc_come_to_one_that_holds_its_receiver() {
    many_holding(
        || (),
        |number, held, ()| {
            for bound in [0, 1, 4] {
                let (sender, receiver) = mpsc::sync_channel(bound);
                thread::spawn(move || (0..SOME).for_each(|n| sender.send(n + number).unwrap()));
                for n in 0..SOME {
                    assert_eq!(receiver.recv(), Ok(n + number));
                    held.is_mine();
                }
                assert!(receiver.recv().is_err());
                held.is_mine();
            }
        },
    );
}

#[test]
fn a_lock_is_poisoned_by_one_that_moves_while_it_unwinds() {
    struct Moves;
    impl Drop for Moves {
        fn drop(&mut self) {
            migrate(0);
            migrate(1);
            assert!(std::thread::panicking());
        }
    }
    many_sharing(
        || Mutex::new(0),
        |number, mutex| {
            holding(number, |held| {
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let mut count = mutex.lock().unwrap_or_else(PoisonError::into_inner);
                    let _moves = Moves;
                    *count += 1;
                    std::panic::resume_unwind(Box::new(number));
                }));
                assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&number));
                held.is_mine();
                assert!(mutex.is_poisoned());
            });
        },
    );
}
