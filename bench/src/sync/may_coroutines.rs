//! may: its coroutines, with those of its primitives that others have too.

use super::work::{CONTENDERS, SCOPE, SENDERS, each};
use may::sync::{Mutex, RwLock, mpsc};
use may::{coroutine, go};
use std::sync::Arc;
use std::time::Instant;

/// Calls `work` on a coroutine.
fn run(work: impl FnOnce() -> f64 + Send + 'static) -> f64 {
    go!(work).join().unwrap()
}

pub(crate) fn ping_pong(count: usize) -> f64 {
    run(move || {
        let (to, from_other) = mpsc::channel();
        let (to_other, from) = mpsc::channel();
        let start = Instant::now();
        let other = go!(move || from.iter().for_each(|n: usize| to.send(n).unwrap()));
        for n in 0..count {
            to_other.send(n).unwrap();
            assert_eq!(from_other.recv().unwrap(), n);
        }
        drop(to_other);
        other.join().unwrap();
        each(start, count)
    })
}

pub(crate) fn mpsc_unbounded(count: usize) -> f64 {
    run(move || {
        let (sender, receiver) = mpsc::channel();
        let start = Instant::now();
        for _ in 0..SENDERS {
            let sender = sender.clone();
            go!(move || (0..count / SENDERS).for_each(|n| sender.send(n).unwrap()));
        }
        drop(sender);
        assert_eq!(receiver.iter().count(), count / SENDERS * SENDERS);
        each(start, count)
    })
}

pub(crate) fn mutex_uncontended(count: usize) -> f64 {
    run(move || {
        let mutex = Mutex::new(0);
        let start = Instant::now();
        for _ in 0..count {
            *std::hint::black_box(&mutex).lock().unwrap() += 1;
        }
        each(start, count)
    })
}

pub(crate) fn mutex_contended(count: usize) -> f64 {
    run(move || {
        let mutex = Arc::new(Mutex::new(0));
        let start = Instant::now();
        let threads: Vec<_> = (0..CONTENDERS)
            .map(|_| {
                let mutex = mutex.clone();
                go!(move || (0..count / CONTENDERS).for_each(|_| *mutex.lock().unwrap() += 1))
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        each(start, count)
    })
}

pub(crate) fn rwlock(count: usize) -> f64 {
    run(move || {
        let lock = Arc::new(RwLock::new(0));
        let start = Instant::now();
        let threads: Vec<_> = (0..CONTENDERS)
            .map(|_| {
                let lock = lock.clone();
                go!(move || for n in 0..count / CONTENDERS {
                    if n % 10 == 0 {
                        *lock.write().unwrap() += 1;
                    } else {
                        std::hint::black_box(*lock.read().unwrap());
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        each(start, count)
    })
}

pub(crate) fn spawn_join(count: usize) -> f64 {
    run(move || {
        let start = Instant::now();
        for n in 0..count {
            assert_eq!(go!(move || n).join().unwrap(), n);
        }
        each(start, count)
    })
}

pub(crate) fn scope(count: usize) -> f64 {
    run(move || {
        let start = Instant::now();
        for _ in 0..count {
            coroutine::scope(|scope| {
                for n in 0..SCOPE {
                    go!(scope, move || _ = std::hint::black_box(n));
                }
            });
        }
        each(start, count)
    })
}
