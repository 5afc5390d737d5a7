//! Threads that wait for one another in a circle are told of, once, and what is set for it is done. Whoever waits for
//! what comes by itself is left in peace.
//!
//! What is to be told is in children, which end since one of the threads panics. What is not is here, on runtimes
//! that abort.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use common::{
    WORKER_COUNTS, child, is_child, message, printed, run, stacks_returned, wait_until_parked,
    watchdog,
};
use roving_scheduler::channel::{Receiver, bounded};
use roving_scheduler::sync::{Barrier, Mutex, MutexGuard, Once, RwLock};
use roving_scheduler::thread::{self, JoinHandle, State};
use roving_scheduler::{
    Builder, CancelToken, Deadlocks, Handle, Runtime, ThreadLocals, block_on, coroutine, deadline,
    dump, greenly, on_warm_stack,
};

/// Runtimes of all sizes, in the mode that is asked for.
fn builders() -> impl Iterator<Item = Builder> {
    let of_size = |workers| Builder::new().workers(workers);
    WORKER_COUNTS.into_iter().map(of_size)
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned())
}

#[track_caller]
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a child: has `begin` make a deadlock in each runtime, and then ends, as one of its threads panics. Else gives what
/// that child prints.
fn told(test: &str, begin: fn(&Runtime) -> Vec<JoinHandle<()>>) -> Option<String> {
    told_times(test, 1, begin)
}

/// The same with so many deadlocks, one after the other.
fn told_times(
    test: &str,
    deadlocks: usize,
    begin: fn(&Runtime) -> Vec<JoinHandle<()>>,
) -> Option<String> {
    if !is_child(test) {
        let printed = run(child(test));
        let times = printed.matches("roving: deadlock: ").count();
        assert_eq!(
            times,
            deadlocks * WORKER_COUNTS.len(),
            "once for each:
{printed}"
        );
        return Some(printed);
    }
    let _watchdog = watchdog("");
    let in_runtime = |builder: Builder| {
        std::thread::spawn(move || {
            let runtime = builder.deadlocks(Deadlocks::Panic).build().unwrap();
            let ends = begin(&runtime).into_iter().map(JoinHandle::join);
            let panics: Vec<_> = ends.filter_map(Result::err).collect();
            let panics: Vec<_> = panics.iter().map(|payload| message(&**payload)).collect();
            assert!(!panics.is_empty());
            let known = ["deadlock: ", "a scoped thread panicked"];
            for panic in &panics {
                assert!(known.iter().any(|text| panic.contains(text)), "{panics:?}");
            }
            runtime.shutdown();
        })
    };
    let all: Vec<_> = builders().map(in_runtime).collect();
    all.into_iter().for_each(|ends| ends.join().unwrap());
    None
}

fn assert_has(printed: &str, texts: &[&str]) {
    for text in texts {
        assert!(printed.contains(text), "{text:?} is missing:\n{printed}");
    }
}

/// So many threads, each of which takes a lock, and when all have done so, that of the next.
fn ring_of_locks(runtime: &Runtime, names: &[&'static str]) -> Vec<JoinHandle<()>> {
    let locks: Arc<Vec<_>> = Arc::new(names.iter().map(|_| Mutex::new(0)).collect());
    let all = Arc::new(Barrier::new(names.len()));
    runtime.run(|| {
        let spawn = |index: usize| {
            let (locks, all) = (locks.clone(), all.clone());
            let body = move || take_two(&locks[index], &locks[(index + 1) % locks.len()], &all);
            named(names[index]).spawn(body).unwrap()
        };
        (0..names.len()).map(spawn).collect()
    })
}

#[inline(never)]
fn take_two(one: &Mutex<i32>, other: &Mutex<i32>, all: &Barrier) {
    let mut from = lock(one);
    all.wait();
    *lock(other) += 1;
    *from -= 1;
}

#[test]
fn two_mutexes_in_the_wrong_order() {
    let test = "two_mutexes_in_the_wrong_order";
    if let Some(printed) = told(test, |runtime| ring_of_locks(runtime, &["pays", "refunds"])) {
        assert_has(
            &printed,
            &[
                "\"pays\"",
                "\"refunds\"",
                ", which waits for thread",
                "lock of Mutex<i32> at 0x",
                ", held by thread",
                "take_two",
                "tests/deadlock.rs:",
                " panics, as the runtime is set to have it (Builder::deadlocks, ROVING_DEADLOCKS)",
            ],
        );
    }
}

#[test]
fn three_in_a_ring() {
    if let Some(printed) = told("three_in_a_ring", |runtime| {
        ring_of_locks(runtime, &["alpha", "beta", "gamma"])
    }) {
        let circle = printed
            .lines()
            .find(|line| line.contains("roving: deadlock"));
        let circle = circle.unwrap();
        assert_eq!(circle.matches("which waits for").count(), 2, "{circle}");
        assert_has(circle, &["\"alpha\"", "\"beta\"", "\"gamma\""]);
    }
}

#[test]
fn one_that_waits_for_itself() {
    if let Some(printed) = told("one_that_waits_for_itself", |runtime| {
        vec![runtime.spawn(|| {
            let mutex = Mutex::new(());
            let _held = lock(&mutex);
            let _ = mutex.try_lock_for(Duration::MAX);
        })]
    }) {
        assert_has(&printed, &[" waits for itself"]);
    }
}

#[test]
fn joins_in_a_ring() {
    if let Some(printed) = told("joins_in_a_ring", |runtime| {
        let (alive, ended) = bounded::<()>(0);
        let (first, second) = (bounded::<JoinHandle<()>>(1), bounded::<JoinHandle<()>>(1));
        let joins = |receives: Receiver<JoinHandle<()>>| {
            let alive = alive.clone();
            runtime.run(|| {
                let joins = move || {
                    let _alive = alive;
                    drop(receives.recv().unwrap().join());
                };
                named("joins").spawn(joins).unwrap()
            })
        };
        first.0.send(joins(second.1)).unwrap();
        second.0.send(joins(first.1)).unwrap();
        drop(alive);
        // Nobody else has their handles.
        vec![runtime.spawn(move || {
            ended.recv().unwrap_err();
            panic!("deadlock: both have ended");
        })]
    }) {
        assert_has(&printed, &["join of thread", "\"joins\""]);
    }
}

#[test]
fn a_lock_and_a_join() {
    if let Some(printed) = told("a_lock_and_a_join", |runtime| {
        vec![runtime.spawn(|| {
            let mutex = Arc::new(Mutex::new(0));
            let held = lock(&mutex);
            let wants = mutex.clone();
            let child = named("wants").spawn(move || *lock(&wants) += 1).unwrap();
            let end = child.join();
            drop(held);
            if let Err(payload) = end {
                std::panic::resume_unwind(payload);
            }
        })]
    }) {
        assert_has(
            &printed,
            &["join of thread", "lock of Mutex<i32>", "\"wants\""],
        );
    }
}

#[test]
fn a_lock_and_the_end_of_a_scope() {
    if let Some(printed) = told("a_lock_and_the_end_of_a_scope", |runtime| {
        vec![runtime.spawn(|| {
            let mutex = Mutex::new(0);
            let _held = lock(&mutex);
            thread::scope(|scope| {
                scope.spawn(|| *lock(&mutex) += 1);
                scope.spawn(thread::yield_now);
            });
        })]
    }) {
        assert_has(
            &printed,
            &["end of a scope with 1 threads", "lock of Mutex<i32>"],
        );
    }
}

/// When one has panicked, the next is in a deadlock still.
#[test]
fn several_threads_of_a_scope() {
    const WANT: usize = 3;
    told_times("several_threads_of_a_scope", WANT, |runtime| {
        vec![runtime.spawn(|| {
            let mutex = Mutex::new(0);
            let _held = lock(&mutex);
            let holds = thread::current();
            thread::scope(|scope| {
                for _ in 0..WANT {
                    scope.spawn(|| {
                        wait_until_parked(&holds);
                        *lock(&mutex) += 1;
                    });
                }
            });
        })]
    });
}

/// The same, and the threads are of runtimes that have looked before.
#[test]
fn several_threads_of_a_scope_and_of_two_runtimes() {
    const WANT: usize = 2;
    let test = "several_threads_of_a_scope_and_of_two_runtimes";
    told_times(test, WANT, |runtime| {
        let other = Builder::new().workers(1).deadlocks(Deadlocks::Panic);
        let other: &'static Runtime = Box::leak(Box::new(other.build().unwrap()));
        let mutex: &'static Mutex<i32> = Box::leak(Box::new(Mutex::new(0)));
        vec![runtime.spawn(move || {
            let _held = lock(mutex);
            let holds = thread::current();
            thread::scope(|scope| {
                scope.spawn(|| {
                    let (holds, wants) = (holds.clone(), move || *lock(mutex) += 1);
                    let elsewhere = other.spawn(move || {
                        wait_until_parked(&holds);
                        wants();
                    });
                    elsewhere.join().unwrap();
                });
                scope.spawn(|| {
                    wait_until_parked(&holds);
                    thread::sleep(LONG);
                    *lock(mutex) += 1;
                });
            });
        })]
    });
}

#[test]
fn locks_for_reading_and_writing() {
    if let Some(printed) = told("locks_for_reading_and_writing", |runtime| {
        let locks = Arc::new((RwLock::new(0), RwLock::new(0)));
        let all = Arc::new(Barrier::new(2));
        let (its_locks, its_all) = (locks.clone(), all.clone());
        let reads = runtime.spawn(move || {
            let _held = its_locks.0.write();
            its_all.wait();
            drop(its_locks.1.read());
        });
        let writes = runtime.spawn(move || {
            let _held = locks.1.write();
            all.wait();
            drop(locks.0.write());
        });
        vec![reads, writes]
    }) {
        assert_has(
            &printed,
            &["read lock of RwLock<i32>", "write lock of RwLock<i32>"],
        );
    }
}

#[test]
fn closures_that_run_once() {
    if let Some(printed) = told("closures_that_run_once", |runtime| {
        let onces = Arc::new([Once::new(), Once::new()]);
        let all = Arc::new(Barrier::new(2));
        let calls = |one: usize| {
            let (onces, all) = (onces.clone(), all.clone());
            runtime.spawn(move || {
                onces[one].call_once_force(|_| {
                    all.wait();
                    onces[1 - one].call_once_force(|_| unreachable!("the other one calls it"));
                });
            })
        };
        // The closure that panics leaves its `Once` to be run by the other one.
        let calls = [calls(0), calls(1)];
        let ends = calls
            .into_iter()
            .map(|calls| runtime.spawn(|| calls.join()));
        let panics = ends.filter_map(|end| end.join().unwrap().err()).count();
        assert!(panics > 0);
        vec![runtime.spawn(|| panic!("deadlock: told"))]
    }) {
        assert_has(&printed, &["the closure of Once at 0x"]);
    }
}

#[test]
fn threads_of_two_runtimes() {
    if let Some(printed) = told("threads_of_two_runtimes", |runtime| {
        let other = Builder::new().workers(1).deadlocks(Deadlocks::Panic);
        let other = Box::leak(Box::new(other.build().unwrap()));
        let locks = Arc::new((Mutex::new(0), Mutex::new(0)));
        let all = Arc::new(Barrier::new(2));
        let (its_locks, its_all) = (locks.clone(), all.clone());
        vec![
            runtime.spawn(move || take_two(&locks.0, &locks.1, &all)),
            other.spawn(move || take_two(&its_locks.1, &its_locks.0, &its_all)),
        ]
    }) {
        assert_has(&printed, &["lock of Mutex<i32>"]);
    }
}

#[test]
fn it_is_told_beside_those_who_are_busy() {
    told("it_is_told_beside_those_who_are_busy", |runtime| {
        for _ in 0..2 * runtime.workers() {
            runtime.spawn(|| {
                loop {
                    thread::yield_now();
                }
            });
        }
        ring_of_locks(runtime, &["one", "other"])
    });
}

/// The workers that have parked them do not come to look around any more.
#[test]
fn it_is_told_beside_those_who_keep_their_workers() {
    told(
        "it_is_told_beside_those_who_keep_their_workers",
        |runtime| {
            let locks = Arc::new((Mutex::new(0), Mutex::new(0)));
            let all = Arc::new(Barrier::new(2));
            let about_to_wait = Arc::new(AtomicUsize::new(0));
            // A thread that is pinned to a worker that is kept could not panic.
            let keepers = match runtime.thread_locals() {
                ThreadLocals::Pinned => 0,
                _ => 2 * runtime.workers(),
            };
            for _ in 0..keepers {
                let about_to_wait = about_to_wait.clone();
                let is_there = Arc::downgrade(&locks);
                runtime.spawn(move || {
                    while about_to_wait.load(Ordering::Acquire) < 2 {
                        thread::yield_now();
                    }
                    while is_there.strong_count() > 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            let takes_two = |turned: bool| {
                let (locks, all, about_to_wait) =
                    (locks.clone(), all.clone(), about_to_wait.clone());
                runtime.spawn(move || {
                    let in_order = if turned {
                        (&locks.1, &locks.0)
                    } else {
                        (&locks.0, &locks.1)
                    };
                    let _held = lock(in_order.0);
                    all.wait();
                    about_to_wait.fetch_add(1, Ordering::Release);
                    *lock(in_order.1) += 1;
                })
            };
            vec![takes_two(false), takes_two(true)]
        },
    );
}

/// A child that makes a deadlock in a runtime that is set as its environment says.
fn hangs(test: &str) -> bool {
    let is_child = is_child(test);
    if is_child {
        let runtime = Builder::new().workers(2).build().unwrap();
        let threads = ring_of_locks(&runtime, &["one", "other"]);
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
    is_child
}

#[test]
fn it_is_told_where_nothing_is_set_and_the_program_goes_on() {
    let test = "it_is_told_where_nothing_is_set_and_the_program_goes_on";
    if hangs(test) {
        return;
    }
    for set in [None, Some("report"), Some("nonsense")] {
        let _watchdog = watchdog("");
        let mut child = child(test);
        child.env_remove("ROVING_DEADLOCKS");
        child.envs(set.map(|set| ("ROVING_DEADLOCKS", set)));
        child.stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = child.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        if set == Some("nonsense") {
            let complaint = "roving: ROVING_DEADLOCKS=nonsense: expected one of off, report, panic, abort; it is as if it were not set";
            assert_eq!(lines.next().unwrap().unwrap(), complaint);
        }
        let told = lines.next().unwrap().unwrap();
        assert!(told.starts_with("roving: deadlock: thread "), "{told}");
        assert_eq!(child.try_wait().unwrap(), None, "it goes on");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn it_aborts_if_that_is_set() {
    if hangs("it_aborts_if_that_is_set") {
        return;
    }
    let _watchdog = watchdog("");
    let mut child = child("it_aborts_if_that_is_set");
    let output = child.env("ROVING_DEADLOCKS", "abort").output().unwrap();
    let printed = printed(&output);
    assert_eq!(output.status.code(), None, "{printed}");
    assert_has(&printed, &["roving: deadlock: ", "the process aborts"]);
}

#[test]
fn it_is_left_alone_if_that_is_set() {
    let test = "it_is_left_alone_if_that_is_set";
    if is_child(test) {
        let runtime = Builder::new().workers(2).build().unwrap();
        let threads = ring_of_locks(&runtime, &["one", "other"]);
        // Long enough for a look, if there were one.
        std::thread::sleep(Duration::from_secs(3));
        threads.iter().for_each(JoinHandle::cancel);
        threads.into_iter().for_each(|thread| drop(thread.join()));
        return;
    }
    let _watchdog = watchdog("");
    let mut child = child(test);
    child.env("ROVING_DEADLOCKS", "off");
    let printed = run(child);
    assert!(!printed.contains("deadlock: thread"), "{printed}");
}

#[test]
fn a_dump_begins_with_it() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    for builder in builders() {
        let runtime = builder.deadlocks(Deadlocks::Ignore).build().unwrap();
        let threads = ring_of_locks(&runtime, &["one", "other"]);
        let waits = |thread: &JoinHandle<()>| match thread.thread().state() {
            State::Parked(parked) => parked.why().starts_with("lock"),
            _ => false,
        };
        while !threads.iter().all(waits) {
            std::thread::yield_now();
        }
        let dump = dump().to_string();
        let told: Vec<_> = dump
            .lines()
            .filter(|line| line.starts_with("deadlock: "))
            .collect();
        assert_eq!(told.len(), 1, "{dump}");
        assert_has(told[0], &["\"one\"", "\"other\"", "which waits for thread"]);
        assert_eq!(dump.lines().nth(1), Some(told[0]));
        threads.iter().for_each(JoinHandle::cancel);
        threads.into_iter().for_each(|thread| drop(thread.join()));
        runtime.shutdown();
    }
}

/// Longer than a wait lasts that is looked at.
const LONG: Duration = Duration::from_millis(2500);

/// Has `begin` on a green thread of each runtime, which aborts if that is told to be a deadlock.
fn not_told(begin: fn()) {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let in_runtime = |builder: Builder| {
        std::thread::spawn(move || {
            let runtime = builder.deadlocks(Deadlocks::Abort).build().unwrap();
            runtime.run(begin);
            runtime.shutdown();
        })
    };
    let all: Vec<_> = builders().map(in_runtime).collect();
    all.into_iter().for_each(|ends| ends.join().unwrap());
}

#[test]
fn a_circle_with_a_deadline_is_none() {
    not_told(|| {
        for ambient in [false, true] {
            let locks = (Mutex::new(0), Mutex::new(0));
            let all = Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let _held = lock(&locks.0);
                    all.wait();
                    if ambient {
                        assert!(deadline(LONG, || drop(locks.1.lock())).is_err());
                    } else {
                        assert!(locks.1.try_lock_for(LONG).is_err());
                    }
                });
                scope.spawn(|| take_two(&locks.1, &locks.0, &all));
            });
        }
    });
}

#[test]
fn who_has_given_a_guard_away_holds_nothing() {
    not_told(|| {
        let mutex = Arc::new(Mutex::new(0));
        let (sends, receives) = bounded(0);
        let (its_mutex, its_sends) = (mutex.clone(), sends);
        thread::scope(|scope| {
            scope.spawn(|| {
                let guard = receives.recv().unwrap();
                thread::sleep(LONG);
                drop(guard);
            });
            scope.spawn(move || {
                let mutex: &'static Mutex<i32> = Box::leak(Box::new(Mutex::new(0)));
                let guard = block_on(mutex.lock_async()).unwrap();
                let wants = thread::spawn(move || *lock(mutex) += 1);
                its_sends.send(guard).unwrap();
                wants.join().unwrap();
            });
        });
        drop(its_mutex);
        drop(mutex);
    });
}

#[test]
fn a_guest_and_an_os_thread_hold_what_no_thread_is_named_for() {
    not_told(|| {
        let mutex = Arc::new(Mutex::new(0));
        let (takes, taken) = bounded(0);
        let its_mutex = mutex.clone();
        let holds = std::thread::spawn(move || {
            let _held = lock(&its_mutex);
            takes.send(()).unwrap();
            std::thread::sleep(LONG);
        });
        taken.recv().unwrap();
        *lock(&mutex) += 1;
        holds.join().unwrap();

        // What `greenly` runs stays with the OS thread that has polled it, and such a thread may move on.
        if Handle::current().unwrap().thread_locals() == ThreadLocals::Shared {
            return;
        }
        let wants = Arc::new(std::sync::OnceLock::new());
        let its = (mutex.clone(), wants.clone());
        block_on(greenly(move || {
            let held = lock(&its.0);
            let its_mutex = its.0.clone();
            its.1
                .set(thread::spawn(move || *lock(&its_mutex) += 1))
                .unwrap();
            thread::sleep(LONG);
            drop(held);
        }));
        let wants = Arc::into_inner(wants).unwrap().into_inner().unwrap();
        wants.join().unwrap();
    });
}

#[test]
fn who_was_on_a_stack_before_is_not_taken_for_who_is_there_now() {
    not_told(|| {
        // It ends with a lock for ever locked, for which nobody waits.
        let mutex = Arc::new(Mutex::new(0));
        let its_mutex = mutex.clone();
        let forgets = thread::spawn(move || std::mem::forget(lock(&its_mutex)));
        forgets.join().unwrap();
        let waits = thread::spawn(move || drop(mutex.try_lock_for(LONG)));
        thread::spawn(move || waits.join().unwrap()).join().unwrap();
    });
}

/// Of a coroutine that has given a guard away, the stack may be the next one's.
#[test]
fn who_holds_what_a_coroutine_has_taken_is_not_known() {
    not_told(|| {
        let locks: Arc<Vec<_>> = Arc::new((0..100).map(|_| Mutex::new(0)).collect());
        let takes = |mutex| {
            coroutine::scope(|scope| {
                let takes = scope.coroutine(|yielder, ()| {
                    yielder.yield_(());
                    lock(mutex)
                });
                takes.resume(());
                match takes.resume(()) {
                    coroutine::State::Complete(guard) => guard,
                    coroutine::State::Yielded(()) => unreachable!("it has done so"),
                }
            })
        };
        let on_warm_stack = |mutex| block_on(on_warm_stack(async move { lock(mutex) }));
        let (even, odd) = locks.split_at(locks.len() / 2);
        let guards: Vec<_> = even.iter().map(takes).collect();
        let others: Vec<_> = odd.iter().map(on_warm_stack).collect();
        let wait = |index| {
            let its_locks = locks.clone();
            let wants = thread::spawn(move || *lock(&its_locks[index]) += 1);
            thread::spawn(move || wants.join().unwrap())
        };
        let threads: Vec<_> = (0..locks.len()).map(wait).collect();
        thread::sleep(LONG);
        drop((guards, others));
        threads.into_iter().for_each(|ends| ends.join().unwrap());
    });
}

/// Locks that are taken in order, for longer than what is looked at, by many that give up, are cancelled or wait
/// for one another's end.
#[test]
fn a_storm_is_no_deadlock() {
    not_told(|| {
        let locks: Vec<_> = (0..4).map(|_| Mutex::new(0)).collect();
        let shared = RwLock::new(0);
        let token = CancelToken::new();
        thread::scope(|scope| {
            for thread in 0..60_u64 {
                let (locks, shared, token) = (&locks, &shared, &token);
                scope.spawn(move || {
                    let work = |step: u64| {
                        let first = ((thread + step) % 3) as usize;
                        let one = lock(&locks[first]);
                        let other = match (thread + step) % 4 {
                            0 => locks[first + 1]
                                .try_lock_for(Duration::from_millis(step))
                                .ok(),
                            1 => deadline(Duration::from_millis(step), || {
                                locks[first + 1]
                                    .lock()
                                    .unwrap_or_else(PoisonError::into_inner)
                            })
                            .ok(),
                            _ => Some(lock(&locks[first + 1])),
                        };
                        if thread == 0 && step == 20 {
                            thread::sleep(LONG);
                        }
                        if step.is_multiple_of(16) {
                            let _read = shared.read();
                            thread::sleep(Duration::from_millis(1));
                            drop(shared.try_write());
                        }
                        drop((one, other));
                        let child = thread::spawn(thread::yield_now);
                        child.join().unwrap();
                    };
                    let all = || (0..40).for_each(work);
                    if thread % 5 == 4 {
                        let _ = token.run(all);
                    } else {
                        all();
                    }
                });
            }
            thread::sleep(LONG / 2);
            token.cancel();
        });
    });
}
