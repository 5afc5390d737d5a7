//! Green threads that keep their OS thread hold nobody up. Each test ends only if all others go on.
//!
//! - all that workers could run compute without end: timers, channels, parked and fresh threads, those
//!   injected from outside go on
//! - all wait for what only a thread that waits in a queue can do: by std's channel, lock, barrier
//! - so do threads that print under std's lock, and a thousand calls that block at a time
//! - one that sleeps for moments gets on beside hundreds that block
//! - what waits at those that are kept is taken also by those that always have something to do themselves, and by
//!   those for whom there is always something in the queue for all
//! - where green threads are pinned, so it is with whatever has not begun on a worker that is kept
//! - at the bound what waits goes on later

mod common;

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use common::{WORKER_COUNTS, child, compute_until, is_child, run, stacks_returned, watchdog};
use roving_scheduler::channel::unbounded;
use roving_scheduler::thread::{self, JoinHandle};
use roving_scheduler::{Builder, Handle, Runtime, ThreadLocals, blocking};

/// Runs `test` on runtimes of each size, with own thread-locals where there are any, and pinned.
fn on_each_runtime(test: impl Fn(&Runtime)) {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        for pinned in [false, true] {
            let _watchdog = watchdog(format_args!("with {workers} workers, pinned: {pinned}"));
            let builder = Builder::new().workers(workers);
            let runtime = match pinned {
                true => builder.pinned_thread_locals(),
                false => builder,
            };
            let runtime = runtime.build().unwrap();
            test(&runtime);
            let ended = runtime.shutdown_timeout(Duration::from_secs(400));
            ended.expect("no green thread is alive");
        }
    }
}

/// A little of all that must go on, on threads that have not begun before.
fn everything_goes_on(runtime: &Runtime) {
    let (send, receive) = unbounded();
    let sleeps = runtime.spawn(move || {
        for n in 0..10 {
            thread::sleep(Duration::from_micros(n * 200));
            send.send(n).unwrap();
        }
    });
    let receives = runtime.spawn(move || receive.iter().sum::<u64>());
    let from_within = runtime.spawn(|| {
        let children: Vec<_> = (0..10)
            .map(|n| {
                thread::spawn(move || {
                    thread::park();
                    blocking::run(|| n)
                })
            })
            .collect();
        children.iter().for_each(|child| child.thread().unpark());
        children
            .into_iter()
            .map(|child| child.join().unwrap())
            .sum::<u64>()
    });
    for n in 0..10 {
        assert_eq!(runtime.run(|| n), n);
    }
    sleeps.join().unwrap();
    assert_eq!(receives.join().unwrap(), 45);
    assert_eq!(from_within.join().unwrap(), 45);
}

/// As many as would keep all workers of `runtime`, each doing `keep` until `stop`. All have begun.
fn all_workers_kept(
    runtime: &Runtime,
    stop: &Arc<AtomicBool>,
    keep: fn(&AtomicBool),
) -> Vec<JoinHandle<()>> {
    let begun = Arc::new(AtomicUsize::new(0));
    let keepers = 2 * runtime.workers();
    let handles = (0..keepers)
        .map(|_| {
            let (stop, begun) = (stop.clone(), begun.clone());
            runtime.spawn(move || {
                begun.fetch_add(1, Ordering::AcqRel);
                keep(&stop);
            })
        })
        .collect();
    while begun.load(Ordering::Acquire) < keepers {
        std::thread::yield_now();
    }
    handles
}

fn beside_those_that(keep: fn(&AtomicBool)) {
    on_each_runtime(|runtime| {
        let stop = Arc::new(AtomicBool::new(false));
        let keepers = all_workers_kept(runtime, &stop, keep);
        everything_goes_on(runtime);
        stop.store(true, Ordering::Release);
        keepers
            .into_iter()
            .for_each(|keeper| keeper.join().unwrap());
        everything_goes_on(runtime);
    });
}

#[test]
fn all_compute_without_end() {
    beside_those_that(compute_until);
}

#[test]
fn all_wait_in_the_system() {
    beside_those_that(|stop| {
        while !stop.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Threads that are kept as soon as they have begun, and most of which wait where another one is.
fn most_wait_where_one_is_kept(runtime: &Runtime) {
    let (send, receive) = mpsc::channel::<()>();
    let receive = Arc::new(Mutex::new(receive));
    let begun = Arc::new(AtomicUsize::new(0));
    let begins = begun.clone();
    let kept = runtime.run(move || {
        let kept: Vec<_> = (0..20)
            .map(|_| {
                let (begun, receive) = (begins.clone(), receive.clone());
                thread::spawn(move || {
                    blocking::run(|| ());
                    begun.fetch_add(1, Ordering::AcqRel);
                    blocking::run(|| receive.lock().unwrap().recv().unwrap_err());
                })
            })
            .collect();
        while begins.load(Ordering::Acquire) < kept.len() {
            thread::yield_now();
        }
        kept
    });
    assert_eq!(begun.load(Ordering::Acquire), kept.len());
    drop(send);
    kept.into_iter().for_each(|kept| kept.join().unwrap());
}

/// Where threads are pinned, one that is kept and always has work keeps those that have begun there.
#[test]
fn those_that_always_have_work_take_what_waits_elsewhere() {
    on_each_runtime_that_moves(most_wait_where_one_is_kept);
}

#[test]
fn so_do_those_for_whom_more_is_spawned_from_outside_than_they_get_done() {
    const MANY: usize = 5000;
    on_each_runtime_that_moves(|runtime| {
        let (stop, waiting) = (AtomicBool::new(false), Arc::new(AtomicUsize::new(0)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    if waiting.load(Ordering::Acquire) >= MANY {
                        std::thread::yield_now();
                        continue;
                    }
                    waiting.fetch_add(1, Ordering::AcqRel);
                    let waiting = waiting.clone();
                    runtime.spawn(move || {
                        thread::yield_now();
                        waiting.fetch_sub(1, Ordering::AcqRel)
                    });
                }
            });
            most_wait_where_one_is_kept(runtime);
            stop.store(true, Ordering::Release);
        });
    });
}

/// What they wake as they compute, and go on to compute until that has run.
#[test]
fn those_that_compute_wake_others() {
    on_each_runtime(|runtime| {
        let computing: Vec<_> = (0..2 * runtime.workers())
            .map(|_| {
                let (send, receive) = unbounded();
                let heard = Arc::new(AtomicUsize::new(0));
                let hears = heard.clone();
                runtime.spawn(move || {
                    let listens = thread::spawn(move || {
                        for n in receive.iter() {
                            hears.store(n, Ordering::Release);
                        }
                    });
                    // Where it is pinned and has begun here, it would have to wait.
                    let rounds = if moves() { 10 } else { 1 };
                    for n in 1..=rounds {
                        send.send(n).unwrap();
                        while heard.load(Ordering::Acquire) < n {
                            std::hint::spin_loop();
                        }
                    }
                    (send, listens)
                })
            })
            .collect();
        for computes in computing {
            let (send, listens) = computes.join().unwrap();
            drop(send);
            listens.join().unwrap();
        }
    });
}

/// Whether green threads of this runtime may go on elsewhere when they have begun.
fn moves() -> bool {
    let runtime = Handle::try_current().expect("on a green thread");
    runtime.thread_locals() == ThreadLocals::Own
}

#[test]
fn all_wait_in_std_for_a_message_that_one_in_a_queue_sends() {
    on_each_runtime(|runtime| {
        let waiters = 3 * runtime.workers();
        let (senders, waiting): (Vec<_>, Vec<_>) = (0..waiters)
            .map(|_| {
                let (send, receive) = mpsc::channel();
                (send, runtime.spawn(move || receive.recv().unwrap()))
            })
            .unzip();
        let feeds = runtime.spawn(move || {
            for (n, sender) in senders.into_iter().enumerate() {
                sender.send(n).unwrap();
            }
        });
        feeds.join().unwrap();
        for (n, waits) in waiting.into_iter().enumerate() {
            assert_eq!(waits.join().unwrap(), n);
        }
    });
}

/// Where a thread is pinned, one that keeps its worker meanwhile keeps it from coming back.
fn on_each_runtime_that_moves(test: impl Fn(&Runtime)) {
    on_each_runtime(|runtime| {
        if runtime.thread_locals() == ThreadLocals::Own {
            test(runtime);
        }
    });
}

#[test]
fn all_wait_for_a_lock_of_std_whose_holder_waits_in_a_queue() {
    on_each_runtime_that_moves(|runtime| {
        let lock = Arc::new(Mutex::new(0));
        let adders: Vec<_> = (0..4 * runtime.workers())
            .map(|_| {
                let lock = lock.clone();
                runtime.spawn(move || {
                    for _ in 0..3 {
                        let mut sum = lock.lock().unwrap();
                        thread::yield_now();
                        thread::sleep(Duration::from_micros(100));
                        *sum += 1;
                    }
                })
            })
            .collect();
        adders.into_iter().for_each(|adds| adds.join().unwrap());
        assert_eq!(*lock.lock().unwrap(), 12 * runtime.workers());
    });
}

#[test]
fn all_print_and_one_sleeps_over_the_lock_of_the_output() {
    const NAME: &str = "all_print_and_one_sleeps_over_the_lock_of_the_output";
    if !is_child(NAME) {
        let _watchdog = watchdog("");
        let printed = run(child(NAME));
        let count = |begin| {
            printed
                .lines()
                .filter(|line| line.starts_with(begin))
                .count()
        };
        assert_eq!(count("printer "), 20 * count("all have printed"));
        return;
    }
    on_each_runtime_that_moves(|runtime| {
        let printers: Vec<_> = (0..20)
            .map(|n| {
                runtime.spawn(move || {
                    let mut out = std::io::stdout().lock();
                    thread::sleep(Duration::from_micros(500));
                    writeln!(out, "\nprinter {n}").unwrap();
                })
            })
            .collect();
        printers
            .into_iter()
            .for_each(|prints| prints.join().unwrap());
        println!("\nall have printed");
    });
}

#[test]
fn hundreds_meet_in_a_barrier_of_std() {
    on_each_runtime(|runtime| {
        let all = Arc::new(Barrier::new(500));
        let meeting: Vec<_> = (0..500)
            .map(|_| {
                let all = all.clone();
                runtime.spawn(move || all.wait().is_leader())
            })
            .collect();
        let leaders = meeting.into_iter().map(|meets| meets.join().unwrap());
        assert_eq!(leaders.filter(|leads| *leads).count(), 1);
    });
}

/// More than there may be spares: the rest waits for its turn.
#[test]
fn a_thousand_calls_block_at_a_time() {
    on_each_runtime(|runtime| {
        let calls: Vec<_> = (0..1000)
            .map(|n| {
                runtime.spawn(move || {
                    blocking::run(|| {
                        std::thread::sleep(Duration::from_millis(20));
                        n
                    })
                })
            })
            .collect();
        everything_goes_on(runtime);
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.join().unwrap(), n);
        }
    });
}

/// One that sleeps for a moment again and again gets on while hundreds block, each for longer.
#[test]
fn a_heart_beats_while_hundreds_block() {
    on_each_runtime_that_moves(|runtime| {
        let stop = Arc::new(AtomicBool::new(false));
        let blocking: Vec<_> = (0..200)
            .map(|_| {
                let stop = stop.clone();
                runtime.spawn(move || {
                    while !stop.load(Ordering::Acquire) {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                })
            })
            .collect();
        let beats = runtime.spawn(|| {
            (0..20).for_each(|_| thread::sleep(Duration::from_millis(5)));
        });
        beats.join().unwrap();
        stop.store(true, Ordering::Release);
        blocking
            .into_iter()
            .for_each(|blocks| blocks.join().unwrap());
    });
}

/// Only the bound keeps what waits from going on, and what is over lets it.
#[test]
fn at_the_bound_what_waits_goes_on_later() {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = Builder::new()
            .workers(workers)
            .max_spares(3)
            .build()
            .unwrap();
        let all: Vec<_> = (0..100)
            .map(|_| runtime.spawn(|| std::thread::sleep(Duration::from_millis(12))))
            .collect();
        everything_goes_on(&runtime);
        all.into_iter().for_each(|sleeps| sleeps.join().unwrap());
    }
}
