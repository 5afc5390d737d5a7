//! The work, written once for all whose threads block: the API of Roving, of std and of
//! crossbeam-channel is the same, so a macro makes the same code of it for each.
//!
//! A function does `count` operations and gives the nanoseconds of one.

use std::time::{Duration, Instant};

pub(crate) const CAPACITY: usize = 1024;
pub(crate) const SENDERS: usize = 4;
pub(crate) const CONTENDERS: usize = 8;
pub(crate) const SCOPE: usize = 100;
pub(crate) const SLEEPERS: u64 = 200;

/// The nanoseconds of one of `count` operations.
pub(crate) fn each(start: Instant, count: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / count as f64
}

/// How long a sleeper sleeps.
pub(crate) fn nap(sleeper: u64) -> Duration {
    Duration::from_micros(1000 + sleeper * 95)
}

/// The value below which a share of the samples lies.
pub(crate) fn quantile(mut samples: Vec<f64>, share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[((samples.len() - 1) as f64 * share) as usize]
}

macro_rules! channels {
    ($thread:path, $bounded:path, $unbounded:path) => {
        use crate::sync::work::{CAPACITY, SENDERS, each};
        use std::time::{Duration, Instant};
        use $bounded as bounded;
        use $thread as thread;
        use $unbounded as unbounded;

        pub(crate) fn ping_pong(count: usize) -> f64 {
            let ((to, from_other), (to_other, from)) = (bounded(1), bounded(1));
            let start = Instant::now();
            thread::scope(|scope| {
                scope.spawn(move || from.iter().for_each(|n: usize| to.send(n).unwrap()));
                for n in 0..count {
                    to_other.send(n).unwrap();
                    assert_eq!(from_other.recv(), Ok(n));
                }
                drop(to_other);
            });
            each(start, count)
        }

        pub(crate) fn ping_pong_with_timeouts(count: usize) -> f64 {
            const LONG: Duration = Duration::from_secs(100);
            let ((to, from_other), (to_other, from)) = (bounded(1), bounded(1));
            let start = Instant::now();
            thread::scope(|scope| {
                scope.spawn(move || {
                    while let Ok(n) = from.recv_timeout(LONG) {
                        to.send(n).unwrap();
                    }
                });
                for n in 0..count {
                    to_other.send(n).unwrap();
                    assert_eq!(from_other.recv_timeout(LONG), Ok(n));
                }
                drop(to_other);
            });
            each(start, count)
        }

        pub(crate) fn rendezvous(count: usize) -> f64 {
            let (sender, receiver) = bounded(0);
            let start = Instant::now();
            thread::scope(|scope| {
                scope.spawn(move || (0..count).for_each(|n| sender.send(n).unwrap()));
                assert_eq!(receiver.iter().count(), count);
            });
            each(start, count)
        }

        pub(crate) fn mpsc_bounded(count: usize) -> f64 {
            let (sender, receiver) = bounded(CAPACITY);
            let start = Instant::now();
            thread::scope(|scope| {
                for _ in 0..SENDERS {
                    let sender = sender.clone();
                    scope.spawn(move || {
                        (0..count / SENDERS).for_each(|n| sender.send(n).unwrap());
                    });
                }
                drop(sender);
                assert_eq!(receiver.iter().count(), count / SENDERS * SENDERS);
            });
            each(start, count)
        }

        pub(crate) fn mpsc_unbounded(count: usize) -> f64 {
            let (sender, receiver) = unbounded();
            let start = Instant::now();
            thread::scope(|scope| {
                for _ in 0..SENDERS {
                    let sender = sender.clone();
                    scope.spawn(move || {
                        (0..count / SENDERS).for_each(|n| sender.send(n).unwrap());
                    });
                }
                drop(sender);
                assert_eq!(receiver.iter().count(), count / SENDERS * SENDERS);
            });
            each(start, count)
        }
    };
}

macro_rules! selects {
    ($thread:path, $channel:path) => {
        pub(crate) fn select_over_eight(count: usize) -> f64 {
            use $channel as channel;
            use $thread as thread;
            let channels: Vec<_> = (0..8).map(|_| channel::bounded(1)).collect();
            let start = std::time::Instant::now();
            thread::scope(|scope| {
                let mut receivers = Vec::new();
                for (sender, receiver) in channels {
                    receivers.push(receiver);
                    scope.spawn(move || (0..count / 8).for_each(|n| sender.send(n).unwrap()));
                }
                for _ in 0..count / 8 * 8 {
                    let mut select = channel::Select::new();
                    let mut open: Vec<usize> = Vec::with_capacity(8);
                    for (index, receiver) in receivers.iter().enumerate() {
                        open.push(index);
                        select.recv(receiver);
                    }
                    loop {
                        let operation = select.select();
                        let index = operation.index();
                        if operation.recv(&receivers[open[index]]).is_ok() {
                            break;
                        }
                        select.remove(index);
                    }
                }
            });
            crate::sync::work::each(start, count)
        }
    };
}

macro_rules! locks {
    ($thread:path, $sync:path) => {
        use crate::sync::work::{CONTENDERS, SCOPE, SLEEPERS, each, nap, quantile};
        use std::time::Instant;
        use $sync as sync;
        use $thread as thread;

        pub(crate) fn mutex_uncontended(count: usize) -> f64 {
            let mutex = sync::Mutex::new(0);
            let start = Instant::now();
            for _ in 0..count {
                *std::hint::black_box(&mutex).lock().unwrap() += 1;
            }
            let elapsed = each(start, count);
            assert_eq!(*mutex.lock().unwrap(), count);
            elapsed
        }

        pub(crate) fn mutex_contended(count: usize) -> f64 {
            let mutex = sync::Mutex::new(0);
            let start = Instant::now();
            thread::scope(|scope| {
                for _ in 0..CONTENDERS {
                    scope.spawn(|| {
                        for _ in 0..count / CONTENDERS {
                            *mutex.lock().unwrap() += 1;
                        }
                    });
                }
            });
            let elapsed = each(start, count);
            assert_eq!(*mutex.lock().unwrap(), count / CONTENDERS * CONTENDERS);
            elapsed
        }

        pub(crate) fn rwlock(count: usize) -> f64 {
            let lock = sync::RwLock::new(0);
            let start = Instant::now();
            thread::scope(|scope| {
                for _ in 0..CONTENDERS {
                    scope.spawn(|| {
                        for n in 0..count / CONTENDERS {
                            if n % 10 == 0 {
                                *lock.write().unwrap() += 1;
                            } else {
                                std::hint::black_box(*lock.read().unwrap());
                            }
                        }
                    });
                }
            });
            each(start, count)
        }

        pub(crate) fn barrier(count: usize) -> f64 {
            let barrier = sync::Barrier::new(CONTENDERS);
            let start = Instant::now();
            thread::scope(|scope| {
                for _ in 0..CONTENDERS {
                    scope.spawn(|| (0..count).for_each(|_| _ = barrier.wait()));
                }
            });
            each(start, count)
        }

        pub(crate) fn condvar(count: usize) -> f64 {
            let (turn, changed) = (sync::Mutex::new(0), sync::Condvar::new());
            let play = |me: usize| {
                for _ in 0..count {
                    let turn = turn.lock().unwrap();
                    let mut turn = changed.wait_while(turn, |turn| *turn != me).unwrap();
                    *turn = 1 - me;
                    changed.notify_one();
                }
            };
            let start = Instant::now();
            thread::scope(|scope| {
                scope.spawn(|| play(1));
                play(0);
            });
            each(start, count)
        }

        pub(crate) fn spawn_join(count: usize) -> f64 {
            let start = Instant::now();
            for n in 0..count {
                assert_eq!(thread::spawn(move || n).join().unwrap(), n);
            }
            each(start, count)
        }

        pub(crate) fn scope(count: usize) -> f64 {
            let start = Instant::now();
            for _ in 0..count {
                thread::scope(|scope| {
                    for n in 0..SCOPE {
                        scope.spawn(move || std::hint::black_box(n));
                    }
                });
            }
            each(start, count)
        }

        pub(crate) fn lateness(share: f64) -> f64 {
            let sleepers: Vec<_> = (0..SLEEPERS)
                .map(|sleeper| {
                    thread::spawn(move || {
                        let due = Instant::now() + nap(sleeper);
                        thread::sleep(nap(sleeper));
                        due.elapsed().as_nanos() as f64
                    })
                })
                .collect();
            let late = sleepers.into_iter().map(|sleeper| sleeper.join().unwrap());
            quantile(late.collect(), share)
        }
    };
}

pub(crate) use {channels, locks, selects};
