//! `sync::Mutex`: exclusion, fairness, poisoning, and what ends a wait for it.

mod common;

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{each_worker_count, on_each_worker_count};
use roving_scheduler::sync::{Mutex, TryLockError};
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{deadline, thread};

#[test]
fn smoke() {
    on_each_worker_count(|| {
        let mutex = Mutex::new(1);
        *mutex.lock().unwrap() += 1;
        {
            let held = mutex.try_lock().unwrap();
            assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
            assert_eq!(*held, 2);
            assert_eq!(
                format!("{mutex:?}"),
                "Mutex { data: <locked>, poisoned: false, .. }"
            );
        }
        assert_eq!(
            format!("{mutex:?}"),
            "Mutex { data: 2, poisoned: false, .. }"
        );
        assert_eq!(mutex.into_inner().unwrap(), 2);
    });
}

#[test]
fn mpmc() {
    each_worker_count(|runtime| {
        let mutex = Arc::new(Mutex::new(0));
        let threads: Vec<_> = (0..20)
            .map(|n| {
                let mutex = mutex.clone();
                runtime.spawn(move || {
                    for round in 0..100 {
                        let mut count = mutex.lock().unwrap();
                        let before = *count;
                        if (n + round) % 3 == 0 {
                            thread::yield_now();
                        }
                        *count = before + 1;
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), 2000);
    });
}

#[test]
fn mixed_os_and_green() {
    each_worker_count(|runtime| {
        let mutex = Arc::new(Mutex::new(0));
        let count = |mutex: Arc<Mutex<u32>>| {
            move || {
                for _ in 0..300 {
                    let mut count = mutex.lock().unwrap();
                    let before = *count;
                    thread::yield_now();
                    *count = before + 1;
                }
            }
        };
        let green: Vec<_> = (0..3)
            .map(|_| runtime.spawn(count(mutex.clone())))
            .collect();
        let os: Vec<_> = (0..3)
            .map(|_| std::thread::spawn(count(mutex.clone())))
            .collect();
        green.into_iter().for_each(|t| t.join().unwrap());
        os.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), 1800);
    });
}

/// One that takes the lock again and again, and blocks while it has it, does not keep others out.
#[test]
fn who_waits_is_overtaken_once() {
    on_each_worker_count(|| {
        let mutex = Arc::new(Mutex::new(()));
        let stop = Arc::new(AtomicBool::new(false));
        let greedy = {
            let (mutex, stop) = (mutex.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _held = mutex.lock().unwrap();
                    thread::yield_now();
                }
            })
        };
        for _ in 0..100 {
            thread::yield_now();
            drop(mutex.lock().unwrap());
        }
        stop.store(true, Ordering::Relaxed);
        greedy.join().unwrap();
    });
}

#[test]
fn timeout() {
    on_each_worker_count(|| {
        let mutex = Arc::new(Mutex::new(()));
        let held = mutex.lock().unwrap();
        let waits = {
            let mutex = mutex.clone();
            thread::spawn(move || {
                let start = Instant::now();
                let timed_out = mutex.try_lock_for(Duration::from_millis(5)).is_err();
                timed_out && start.elapsed() >= Duration::from_millis(5)
            })
        };
        assert!(waits.join().unwrap());
        let waits = {
            let mutex = mutex.clone();
            thread::spawn(move || mutex.try_lock_for(Duration::MAX).is_ok())
        };
        thread::yield_now();
        drop(held);
        assert!(waits.join().unwrap());
        assert!(mutex.try_lock_until(Instant::now()).is_ok());
    });
}

#[test]
fn a_deadline_ends_the_wait() {
    on_each_worker_count(|| {
        let mutex = Arc::new(Mutex::new(()));
        let held = mutex.lock().unwrap();
        let waits = {
            let mutex = mutex.clone();
            thread::spawn(move || {
                let unwound = deadline(Duration::from_millis(2), || drop(mutex.lock())).is_err();
                let told = deadline(Duration::from_millis(2), || {
                    mutex.try_lock_for(Duration::MAX).is_err()
                });
                (unwound, told)
            })
        };
        assert_eq!(waits.join().unwrap(), (true, Ok(true)));
        drop(held);
        assert!(mutex.try_lock().is_ok(), "nothing is poisoned or locked");
    });
}

#[test]
fn cancel() {
    on_each_worker_count(|| {
        let mutex = Arc::new(Mutex::new(()));
        let held = mutex.lock().unwrap();
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let mutex = mutex.clone();
                thread::spawn(move || drop(mutex.lock().unwrap()))
            })
            .collect();
        thread::yield_now();
        waiting[0].cancel();
        waiting[2].cancel();
        drop(held);
        for (index, waits) in waiting.into_iter().enumerate() {
            match waits.join() {
                Ok(()) => {}
                Err(payload) => {
                    assert!(payload.is::<Cancelled>());
                    assert!(index % 2 == 0);
                }
            }
        }
        assert!(!mutex.is_poisoned());
        assert!(mutex.try_lock().is_ok());
    });
}

#[test]
fn cancel_stress() {
    each_worker_count(|runtime| {
        let mutex = Arc::new(Mutex::new(0));
        for _ in 0..200 {
            let threads: Vec<_> = (0..6)
                .map(|_| {
                    let mutex = mutex.clone();
                    runtime.spawn(move || {
                        if let Ok(mut count) = mutex.lock() {
                            *count += 1;
                            thread::yield_now();
                        }
                    })
                })
                .collect();
            threads.iter().step_by(2).for_each(|t| t.cancel());
            for thread in threads {
                if let Err(payload) = thread.join() {
                    assert!(payload.is::<Cancelled>());
                }
            }
            // One that was cancelled while it yielded with the lock has poisoned it.
            mutex.clear_poison();
            assert!(mutex.try_lock().is_ok());
        }
    });
}

#[test]
fn poison() {
    on_each_worker_count(|| {
        let mutex = Arc::new(Mutex::new(1));
        let panics = {
            let mutex = mutex.clone();
            thread::spawn(move || {
                let mut held = mutex.lock().unwrap();
                *held = 2;
                panic::resume_unwind(Box::new("on purpose"));
            })
        };
        assert!(panics.join().is_err());
        assert!(mutex.is_poisoned());
        let error = mutex.lock().unwrap_err();
        assert_eq!(**error.get_ref(), 2);
        drop(error);
        assert!(matches!(mutex.try_lock(), Err(TryLockError::Poisoned(_))));
        mutex.clear_poison();
        assert_eq!(*mutex.lock().unwrap(), 2);
    });
}

/// A lock that is taken and released while its thread unwinds is not poisoned by that.
#[test]
fn a_destructor_poisons_nothing() {
    struct Locks(Arc<Mutex<u32>>);
    impl Drop for Locks {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
            thread::yield_now();
        }
    }
    on_each_worker_count(|| {
        let mutex = Arc::new(Mutex::new(0));
        let locks = Locks(mutex.clone());
        let unwound = panic::catch_unwind(AssertUnwindSafe(move || {
            let _locks = locks;
            panic::resume_unwind(Box::new(()));
        }));
        assert!(unwound.is_err());
        assert_eq!(*mutex.lock().unwrap(), 1);
    });
}

#[cfg(debug_assertions)]
#[test]
fn locking_again_what_one_holds_is_told() {
    on_each_worker_count(|| {
        let mutex = Mutex::new(());
        let held = mutex.lock().unwrap();
        let again = panic::catch_unwind(|| drop(mutex.lock()));
        let message = common::message(&*again.unwrap_err());
        assert!(message.contains("holds the lock already"), "{message}");
        drop(held);
        assert!(mutex.try_lock().is_ok());
    });
}

#[test]
fn drops() {
    struct Counts<'a>(&'a Cell<u32>);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Cell::new(0);
    drop(Mutex::new(Counts(&dropped)));
    drop(Mutex::new(Counts(&dropped)).into_inner());
    assert_eq!(dropped.get(), 2);
}

#[test]
fn stress() {
    each_worker_count(|runtime| {
        let mutex = Arc::new(Mutex::new(0));
        let expected = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..16)
            .map(|n| {
                let (mutex, expected) = (mutex.clone(), expected.clone());
                runtime.spawn(move || {
                    for round in 0..200 {
                        let locked = match (n + round) % 4 {
                            0 => mutex.try_lock().ok(),
                            1 => mutex.try_lock_for(Duration::from_micros(50)).ok(),
                            _ => mutex.lock().ok(),
                        };
                        if let Some(mut count) = locked {
                            let before = *count;
                            if round % 5 == 0 {
                                thread::yield_now();
                            }
                            *count = before + 1;
                            expected.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), expected.load(Ordering::Relaxed));
    });
}
