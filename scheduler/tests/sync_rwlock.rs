//! `sync::RwLock`: sharing, exclusion, no starvation, and what ends a wait for it.

mod common;

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use common::{each_worker_count, on_each_worker_count};
use roving_scheduler::sync::{RwLock, RwLockWriteGuard, TryLockError};
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{deadline, thread};

#[test]
fn smoke() {
    on_each_worker_count(|| {
        let lock = RwLock::new(1);
        {
            let (one, two) = (lock.read().unwrap(), lock.read().unwrap());
            assert_eq!(*one + *two, 2);
            assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
            assert!(lock.try_read().is_ok());
        }
        {
            let mut writing = lock.write().unwrap();
            *writing = 2;
            assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
            assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
            let reading = RwLockWriteGuard::downgrade(writing);
            assert_eq!(*reading, *lock.read().unwrap());
            assert!(lock.try_write().is_err());
        }
        assert_eq!(lock.into_inner().unwrap(), 2);
    });
}

fn readers_and_writers(lock: &RwLock<()>, inside: &AtomicI32, writes: bool) {
    if writes {
        let _writing = lock.write().unwrap();
        assert_eq!(inside.swap(-1, Ordering::Relaxed), 0);
        thread::yield_now();
        assert_eq!(inside.swap(0, Ordering::Relaxed), -1);
    } else {
        let _reading = lock.read().unwrap();
        assert!(inside.fetch_add(1, Ordering::Relaxed) >= 0);
        thread::yield_now();
        assert!(inside.fetch_sub(1, Ordering::Relaxed) > 0);
    }
}

#[test]
fn stress() {
    each_worker_count(|runtime| {
        let lock = Arc::new(RwLock::new(()));
        let inside = Arc::new(AtomicI32::new(0));
        let threads: Vec<_> = (0..12)
            .map(|n| {
                let (lock, inside) = (lock.clone(), inside.clone());
                runtime.spawn(move || {
                    for round in 0..150 {
                        readers_and_writers(&lock, &inside, (n + round) % 4 == 0);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert!(lock.try_write().is_ok());
    });
}

#[test]
fn mixed_os_and_green() {
    each_worker_count(|runtime| {
        let lock = Arc::new(RwLock::new(()));
        let inside = Arc::new(AtomicI32::new(0));
        let body = |n: usize| {
            let (lock, inside) = (lock.clone(), inside.clone());
            move || {
                (0..100)
                    .for_each(|r| readers_and_writers(&lock, &inside, (n + r).is_multiple_of(3)))
            }
        };
        let green: Vec<_> = (0..3).map(|n| runtime.spawn(body(n))).collect();
        let os: Vec<_> = (0..3).map(|n| std::thread::spawn(body(n))).collect();
        green.into_iter().for_each(|t| t.join().unwrap());
        os.into_iter().for_each(|t| t.join().unwrap());
    });
}

/// Readers that come one after the other, so that there is always one, do not keep a writer out.
#[test]
fn writers_do_not_starve() {
    each_worker_count(|runtime| {
        let lock = Arc::new(RwLock::new(()));
        let stop = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (lock, stop) = (lock.clone(), stop.clone());
                runtime.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let _reading = lock.read().unwrap();
                        thread::yield_now();
                    }
                })
            })
            .collect();
        runtime.run(|| (0..50).for_each(|_| drop(lock.write().unwrap())));
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|t| t.join().unwrap());
    });
}

#[test]
fn readers_do_not_starve() {
    each_worker_count(|runtime| {
        let lock = Arc::new(RwLock::new(()));
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let (lock, stop) = (lock.clone(), stop.clone());
                runtime.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let _writing = lock.write().unwrap();
                        thread::yield_now();
                    }
                })
            })
            .collect();
        runtime.run(|| (0..50).for_each(|_| drop(lock.read().unwrap())));
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|t| t.join().unwrap());
    });
}

#[test]
fn timeout() {
    on_each_worker_count(|| {
        let lock = RwLock::new(());
        let reading = lock.read().unwrap();
        assert!(lock.try_write_for(Duration::from_millis(2)).is_err());
        assert!(
            lock.try_read_for(Duration::ZERO).is_ok(),
            "a writer that gave up keeps nobody out"
        );
        drop(reading);
        let writing = lock.write().unwrap();
        assert!(lock.try_read_for(Duration::from_millis(2)).is_err());
        drop(writing);
        assert!(lock.try_write_for(Duration::ZERO).is_ok());
    });
}

/// A writer that gives up lets the readers in that wait behind it.
#[test]
fn a_writer_that_times_out_lets_readers_in() {
    on_each_worker_count(|| {
        let lock = Arc::new(RwLock::new(()));
        let reading = lock.read().unwrap();
        let writer = {
            let lock = lock.clone();
            thread::spawn(move || lock.try_write_for(Duration::from_millis(20)).is_err())
        };
        thread::sleep(Duration::from_millis(5));
        let reader = {
            let lock = lock.clone();
            thread::spawn(move || drop(lock.read().unwrap()))
        };
        assert!(writer.join().unwrap());
        reader.join().unwrap();
        drop(reading);
    });
}

#[test]
fn cancel() {
    on_each_worker_count(|| {
        for writer_is_cancelled in [true, false] {
            let lock = Arc::new(RwLock::new(()));
            let held = lock.read().unwrap();
            let writer = {
                let lock = lock.clone();
                thread::spawn(move || drop(lock.write().unwrap()))
            };
            thread::yield_now();
            let reader = {
                let lock = lock.clone();
                thread::spawn(move || drop(lock.read().unwrap()))
            };
            thread::yield_now();
            if writer_is_cancelled {
                writer.cancel();
                // Not before the writer has gone can the reader come in while the lock is held.
                reader.join().unwrap();
                drop(held);
            } else {
                reader.cancel();
                drop(held);
                let _ = reader.join();
            }
            match writer.join() {
                Ok(()) => {}
                Err(payload) => assert!(writer_is_cancelled && payload.is::<Cancelled>()),
            }
            assert!(lock.try_write().is_ok());
        }
    });
}

#[test]
fn a_deadline_ends_the_wait() {
    on_each_worker_count(|| {
        let lock = RwLock::new(());
        let writing = lock.write().unwrap();
        thread::scope(|scope| {
            let reads = || deadline(Duration::from_millis(1), || drop(lock.read()));
            assert!(scope.spawn(reads).join().unwrap().is_err());
        });
        drop(writing);
        let reading = lock.read().unwrap();
        assert!(deadline(Duration::from_millis(1), || drop(lock.write())).is_err());
        drop(reading);
        assert!(lock.try_write().is_ok());
    });
}

#[test]
fn poison() {
    on_each_worker_count(|| {
        let lock = RwLock::new(1);
        let reads = panic::catch_unwind(|| {
            let _reading = lock.read().unwrap();
            panic::resume_unwind(Box::new(()));
        });
        assert!(reads.is_err() && !lock.is_poisoned());
        let writes = panic::catch_unwind(|| {
            let _writing = lock.write().unwrap();
            panic::resume_unwind(Box::new(()));
        });
        assert!(writes.is_err() && lock.is_poisoned());
        assert!(lock.read().is_err() && lock.write().is_err());
        assert!(matches!(lock.try_read(), Err(TryLockError::Poisoned(_))));
        lock.clear_poison();
        assert!(lock.read().is_ok());
    });
}
