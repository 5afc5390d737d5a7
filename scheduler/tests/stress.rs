//! Everything at once, for as long as it pays: much in release, less under a sanitizer, little in debug.
//!
//! - storms of spawns, of steals, of pairs that wake each other
//! - unparks, tickets and deadlines that race
//! - panics everywhere
//! - runtimes that come and go, in the middle of all that

mod common;

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use common::{each_worker_count, on_each_worker_count, runtime, stacks_returned, watchdog};
use roving_scheduler::thread::{self, Builder};
use roving_scheduler::wait::{self, Cancelled, Outcome};
use roving_scheduler::{Runtime, blocking};

const SCALE: u64 = if cfg!(any(
    feature = "address-sanitizer",
    feature = "thread-sanitizer"
)) {
    10
} else if cfg!(debug_assertions) {
    1
} else {
    100
};

/// Marsaglia's xorshift64: numbers that differ from thread to thread and are the same in each run.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn spawn_storms() {
    each_worker_count(|runtime| {
        // From within and from without at the same time.
        let spawner = |handle: roving_scheduler::Handle| {
            move || -> u64 {
                (0..5 * SCALE)
                    .map(|_| {
                        let batch: Vec<_> = (0..200u64)
                            .map(|n| handle.spawn(move || thread::spawn(move || n).join().unwrap()))
                            .collect();
                        batch.into_iter().map(|h| h.join().unwrap()).sum::<u64>()
                    })
                    .sum()
            }
        };
        let inside: Vec<_> = (0..2)
            .map(|_| runtime.spawn(spawner(runtime.handle())))
            .collect();
        let outside: Vec<_> = (0..2)
            .map(|_| std::thread::spawn(spawner(runtime.handle())))
            .collect();
        let inside = inside.into_iter().map(|h| h.join().unwrap());
        let outside = outside.into_iter().map(|h| h.join().unwrap());
        assert!(inside.chain(outside).all(|sum| sum == 5 * SCALE * 19_900));
    });
}

#[test]
fn steal_storms() {
    each_worker_count(|runtime| {
        // One spawns, all steal: each child is short, and some spawn again.
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        runtime.run(move || {
            for round in 0..10 * SCALE {
                let handles: Vec<_> = (0..500u64)
                    .map(|n| {
                        let count = counted.clone();
                        thread::spawn(move || {
                            count.fetch_add(1, Ordering::Relaxed);
                            if (n + round) % 7 == 0 {
                                let count = count.clone();
                                thread::spawn(move || count.fetch_add(1, Ordering::Relaxed))
                                    .join()
                                    .unwrap();
                            }
                            if n % 5 == 0 {
                                thread::yield_now();
                            }
                        })
                    })
                    .collect();
                handles.into_iter().for_each(|h| h.join().unwrap());
            }
        });
        let expected: u64 = (0..10 * SCALE)
            .map(|round| 500 + (0..500).filter(|n| (n + round) % 7 == 0).count() as u64)
            .sum();
        assert_eq!(count.load(Ordering::Relaxed) as u64, expected);
    });
}

#[test]
fn ping_pong_pairs() {
    on_each_worker_count(|| {
        let pairs: Vec<_> = (0..20)
            .map(|_| {
                thread::spawn(|| {
                    let rounds = 200 * SCALE as usize;
                    let ball = Arc::new(AtomicUsize::new(0));
                    let (theirs, main) = (ball.clone(), thread::current());
                    let play = move |ball: &AtomicUsize, mine: usize, partner: &thread::Thread| {
                        for _ in 0..rounds {
                            while ball.load(Ordering::Acquire) % 2 != mine {
                                thread::park();
                            }
                            ball.fetch_add(1, Ordering::AcqRel);
                            partner.unpark();
                        }
                    };
                    let partner = thread::spawn(move || play(&theirs, 1, &main));
                    play(&ball, 0, partner.thread());
                    partner.join().unwrap();
                    assert_eq!(ball.load(Ordering::Acquire), 2 * rounds);
                })
            })
            .collect();
        pairs.into_iter().for_each(|p| p.join().unwrap());
    });
}

/// Everybody wakes everybody, at random, until each has been woken often enough; OS threads join
/// in.
#[test]
fn unpark_races() {
    each_worker_count(|runtime| {
        const THREADS: usize = 16;
        let permits: Arc<Vec<AtomicUsize>> =
            Arc::new((0..THREADS).map(|_| AtomicUsize::new(0)).collect());
        let wanted = 300 * SCALE as usize;
        let parkers: Vec<_> = (0..THREADS)
            .map(|n| {
                let permits = permits.clone();
                runtime.spawn(move || {
                    let mut taken = 0;
                    while taken < wanted {
                        let there = permits[n].swap(0, Ordering::AcqRel);
                        if there == 0 && taken % 3 == 0 {
                            thread::park_timeout(Duration::from_micros(200));
                        } else if there == 0 {
                            thread::park();
                        }
                        taken += there;
                    }
                })
            })
            .collect();
        let threads: Vec<_> = parkers.iter().map(|p| p.thread().clone()).collect();
        let give = |seed: u64| {
            let (permits, threads) = (permits.clone(), threads.clone());
            move || {
                let mut random = Random::new(seed);
                let mut left = [wanted / 4; THREADS];
                while left.iter().any(|left| *left > 0) {
                    let n = random.below(THREADS as u64) as usize;
                    if left[n] > 0 {
                        left[n] -= 1;
                        permits[n].fetch_add(1, Ordering::AcqRel);
                        threads[n].unpark();
                    }
                    if random.below(8) == 0 {
                        thread::yield_now();
                    }
                }
            }
        };
        let inside: Vec<_> = (0..2).map(|n| runtime.spawn(give(n))).collect();
        let outside: Vec<_> = (2..4).map(|n| std::thread::spawn(give(n))).collect();
        inside.into_iter().for_each(|g| g.join().unwrap());
        outside.into_iter().for_each(|g| g.join().unwrap());
        parkers.into_iter().for_each(|p| p.join().unwrap());
    });
}

/// Waits that are ended by whoever is first: the deadline, a green thread, an OS thread.
#[test]
fn timeouts_race_wakes() {
    each_worker_count(|runtime| {
        let (give, tickets) = mpsc::channel::<wait::Ticket>();
        let outside = std::thread::spawn(move || {
            tickets
                .into_iter()
                .map(|ticket| u64::from(ticket.fire()))
                .sum::<u64>()
        });
        let handles: Vec<_> = (0..20)
            .map(|seed| {
                let give = give.clone();
                runtime.spawn(move || {
                    let mut random = Random::new(seed);
                    let mut fired_outside = 0;
                    for _ in 0..100 * SCALE {
                        let wait = wait::begin();
                        let length = Duration::from_micros(random.below(80));
                        let deadline = Instant::now() + length;
                        let (inside, outside) = (wait.ticket(), wait.ticket());
                        let firer = thread::spawn(move || inside.fire());
                        give.send(outside).unwrap();
                        let outcome = wait.block(Some(deadline));
                        let won = firer.join().unwrap();
                        match outcome {
                            Outcome::Fired => fired_outside += u64::from(!won),
                            Outcome::TimedOut => assert!(!won && Instant::now() >= deadline),
                        }
                    }
                    fired_outside
                })
            })
            .collect();
        drop(give);
        let fired: u64 = handles.into_iter().map(|h| h.join().unwrap()).sum();
        assert_eq!(outside.join().unwrap(), fired);
    });
}

#[test]
fn timers_of_all_lengths() {
    on_each_worker_count(|| {
        let handles: Vec<_> = (0..200)
            .map(|seed| {
                thread::spawn(move || {
                    let mut random = Random::new(seed);
                    for _ in 0..10 * SCALE {
                        let length = Duration::from_micros(random.below(300));
                        let start = Instant::now();
                        match random.below(3) {
                            0 => thread::sleep(length),
                            1 => thread::sleep_until(start + length),
                            _ => thread::park_timeout(length),
                        }
                        assert!(start.elapsed() >= length);
                    }
                })
            })
            .collect();
        handles.into_iter().for_each(|h| h.join().unwrap());
    });
}

/// Queues so long that it is noted where those are that wait: they are stolen, come to their end, and others get
/// their memory.
#[test]
fn long_queues() {
    on_each_worker_count(|| {
        let turns = Arc::new(AtomicUsize::new(0));
        let run = |seed| {
            let turns = turns.clone();
            move || {
                let mut random = Random::new(seed);
                let mine = random.below(20);
                for _ in 0..mine {
                    turns.fetch_add(1, Ordering::Relaxed);
                    match random.below(8) {
                        0 => thread::park_timeout(Duration::from_micros(random.below(50))),
                        1 => thread::spawn(thread::yield_now).join().unwrap(),
                        _ => thread::yield_now(),
                    }
                }
                mine as usize
            }
        };
        for round in 0..SCALE.div_ceil(10) {
            let handles: Vec<_> = (0..3000)
                .map(|n| thread::spawn(run(3000 * round + n)))
                .collect();
            let joined: usize = handles.into_iter().map(|h| h.join().unwrap()).sum();
            assert_eq!(turns.swap(0, Ordering::Relaxed), joined);
        }
    });
}

/// Panics at every point of a life, in neighbours of others that unwind at the same time.
#[test]
fn panics_everywhere() {
    struct Blocks(u64);
    impl Drop for Blocks {
        fn drop(&mut self) {
            match self.0 % 4 {
                0 => thread::yield_now(),
                1 => thread::sleep(Duration::from_micros(self.0 % 50)),
                2 => thread::spawn(|| ()).join().unwrap(),
                _ => thread::park_timeout(Duration::from_micros(self.0 % 50)),
            }
        }
    }
    fn step(random: &mut Random) {
        let _blocks = Blocks(random.below(100));
        match random.below(5) {
            0 => panic::resume_unwind(Box::new(random.below(10))),
            1 => thread::yield_now(),
            2 => thread::sleep(Duration::from_micros(random.below(50))),
            3 => {
                let payload = random.below(10);
                let caught = panic::catch_unwind(|| {
                    let _blocks = Blocks(payload);
                    panic::resume_unwind(Box::new(payload));
                });
                assert_eq!(caught.unwrap_err().downcast_ref(), Some(&payload));
            }
            _ => {
                let seed = random.below(1000);
                let child = thread::spawn(move || step(&mut Random::new(seed)));
                if let Err(payload) = child.join() {
                    assert!(payload.is::<u64>());
                }
            }
        }
    }
    on_each_worker_count(|| {
        let handles: Vec<_> = (0..200 * SCALE)
            .map(|seed| {
                thread::spawn(move || {
                    let mut random = Random::new(seed);
                    for _ in 0..5 {
                        step(&mut random);
                    }
                    seed
                })
            })
            .collect();
        for (seed, handle) in (0..).zip(handles) {
            match handle.join() {
                Ok(value) => assert_eq!(value, seed),
                Err(payload) => assert!(payload.downcast_ref().is_some_and(|n: &u64| *n < 10)),
            }
        }
    });
}

/// Starts a bit of everything on `runtime`; none of it needs to end.
fn start_everything(runtime: &Runtime, seed: u64) {
    let handle = runtime.handle();
    runtime.spawn(move || {
        let mut random = Random::new(seed);
        loop {
            let n = random.below(100);
            let spawned = Builder::new().spawn(move || match n % 6 {
                0 => thread::park(),
                1 => thread::sleep(Duration::from_micros(n)),
                2 => thread::sleep(Duration::MAX),
                3 => assert_eq!(blocking::run(|| n), n),
                4 => loop {
                    thread::yield_now();
                },
                _ => panic::resume_unwind(Box::new(n)),
            });
            match spawned {
                Ok(child) if n % 6 == 5 => {
                    let ended = child.join().unwrap_err();
                    assert!(ended.is::<u64>() || ended.is::<Cancelled>());
                }
                Ok(child) => child.thread().unpark(),
                Err(_) => return handle.id(),
            }
            if n.is_multiple_of(3) {
                thread::yield_now();
            }
        }
    });
}

#[test]
fn runtimes_come_and_go() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    for round in 0..20 + SCALE {
        let runtime = runtime(1 + (round % 4) as usize);
        for seed in 0..3 {
            start_everything(&runtime, round * 3 + seed);
        }
        for _ in 0..round % 20 {
            std::thread::yield_now();
        }
        runtime.shutdown();
    }
}

#[test]
fn runtimes_end_while_others_spawn_wake_and_join() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let steady = runtime(2);
    for round in 0..20 * SCALE {
        let ending = runtime(2);
        let parked: Arc<Mutex<Vec<thread::JoinHandle<()>>>> = Arc::default();
        for _ in 0..20 {
            let handle = ending.spawn(thread::park);
            parked.lock().unwrap().push(handle);
        }
        let pop = |handles: &Mutex<Vec<thread::JoinHandle<()>>>| handles.lock().unwrap().pop();
        let for_waker = parked.clone();
        let waker = steady.spawn(move || {
            let mut joined = 0;
            while let Some(handle) = pop(&for_waker) {
                if (round + joined) % 2 == 0 {
                    handle.thread().unpark();
                }
                if let Err(payload) = handle.join() {
                    assert!(payload.is::<Cancelled>());
                }
                joined += 1;
            }
            joined
        });
        ending.shutdown();
        assert_eq!(waker.join().unwrap(), 20);
    }
}

#[test]
fn the_same_in_threads_that_roam() {
    let _stacks = stacks_returned();
    for workers in common::WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        // SAFETY: nothing here holds anything of a thread-local, nor anything that is not `Send`,
        // across a suspension.
        let builder = unsafe { roving_scheduler::Builder::new().shared_thread_locals() };
        let runtime = builder.workers(workers).build().unwrap();
        let sum: u64 = runtime.run(|| {
            let handles: Vec<_> = (0..100u64)
                .map(|seed| {
                    thread::spawn(move || {
                        let mut random = Random::new(seed);
                        let mut sum = 0;
                        for _ in 0..20 * SCALE {
                            match random.below(4) {
                                0 => thread::yield_now(),
                                1 => thread::sleep(Duration::from_micros(random.below(30))),
                                2 => sum += thread::spawn(|| 1).join().unwrap(),
                                _ => {
                                    let main = thread::current();
                                    thread::spawn(move || main.unpark());
                                    thread::park();
                                }
                            }
                            sum += 1;
                        }
                        sum
                    })
                })
                .collect();
            handles.into_iter().map(|h| h.join().unwrap()).sum()
        });
        let expected: u64 = (0..100)
            .map(|seed| {
                let mut random = Random::new(seed);
                (0..20 * SCALE)
                    .map(|_| match random.below(4) {
                        1 => {
                            random.below(30);
                            1
                        }
                        2 => 2,
                        _ => 1,
                    })
                    .sum::<u64>()
            })
            .sum();
        assert_eq!(sum, expected);
    }
}
