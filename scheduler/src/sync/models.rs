//! The locks under the model checker: the real code, from the door to the waiting lists, on loom's
//! threads, which take the place of OS threads. A clock is not modelled: a timeout is one more
//! thread, which ends the wait as a timer would.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use super::address::{self, Awaited};
use super::{Condvar, Mutex, Notify, Once, RwLock};
use crate::future::block_on;
use crate::protocol::word::By;
use crate::run::context;
use crate::run::green::Waiter;
use crate::wait::Ticket;

/// Data that loom watches for races.
struct Watched(UnsafeCell<u32>);

// SAFETY: what the models check: it is only touched under a lock.
unsafe impl Sync for Watched {}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(0)))
    }

    fn add_one(&self) -> u32 {
        // SAFETY: the caller has a lock for writing.
        self.0.with_mut(|value| unsafe {
            *value += 1;
            *value
        })
    }

    fn read(&self) -> u32 {
        // SAFETY: the caller has a lock.
        self.0.with(|value| unsafe { *value })
    }
}

fn current() -> std::sync::Arc<Waiter> {
    context::current()
}

/// What a timer does, at some time.
fn time_out(waiter: &std::sync::Arc<Waiter>) {
    if let Some(epoch) = waiter.word.open() {
        drop(Ticket::new(waiter.clone(), epoch).end(By::Timer));
    }
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(1000)
}

#[test]
fn a_mutex_excludes_and_is_handed_off() {
    loom::model(|| {
        let mutex = Arc::new(Mutex::new(()));
        let data = Watched::new();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (mutex, data) = (mutex.clone(), data.clone());
                thread::spawn(move || {
                    let _held = mutex.lock().unwrap();
                    data.add_one();
                })
            })
            .collect();
        {
            let _held = mutex.lock().unwrap();
            data.add_one();
        }
        for other in others {
            other.join().unwrap();
        }
        let _held = mutex.lock().unwrap();
        assert_eq!(data.read(), 3);
    });
}

#[test]
fn a_lock_that_times_out_leaves_no_one_behind() {
    loom::model(|| {
        let mutex = Arc::new(Mutex::new(()));
        let held = mutex.lock().unwrap();
        let waiter = Arc::new(Mutex::new(None));
        let patient = {
            let mutex = mutex.clone();
            thread::spawn(move || drop(mutex.lock().unwrap()))
        };
        let impatient = {
            let (mutex, waiter) = (mutex.clone(), waiter.clone());
            thread::spawn(move || {
                *waiter.lock().unwrap() = Some(current());
                drop(mutex.try_lock_until(far()));
            })
        };
        let known = waiter.lock().unwrap().clone();
        if let Some(known) = known {
            time_out(&known);
        }
        drop(held);
        patient.join().unwrap();
        impatient.join().unwrap();
        assert!(mutex.try_lock().is_ok());
    });
}

#[test]
fn a_condvar_with_a_timeout_is_notified_or_timed_out() {
    loom::model(|| {
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let me = current();
        let notifier = {
            let pair = pair.clone();
            thread::spawn(move || {
                *pair.0.lock().unwrap() = true;
                pair.1.notify_one();
            })
        };
        let timer = thread::spawn(move || time_out(&me));
        let (ready, changed) = &*pair;
        let mut seen = ready.lock().unwrap();
        while !*seen {
            let (guard, _) = changed
                .wait_timeout(seen, Duration::from_secs(1000))
                .unwrap();
            seen = guard;
        }
        drop(seen);
        notifier.join().unwrap();
        timer.join().unwrap();
    });
}

#[test]
fn a_notification_passes_one_who_has_timed_out() {
    loom::model(|| {
        let pair = Arc::new((Mutex::new(0), Condvar::new()));
        let wait = |timed: bool| {
            let pair = pair.clone();
            thread::spawn(move || {
                let mut left = pair.0.lock().unwrap();
                *left += 1;
                if timed {
                    let (_left, result) = pair
                        .1
                        .wait_timeout(left, Duration::from_secs(1000))
                        .unwrap();
                    result.timed_out()
                } else {
                    drop(pair.1.wait(left).unwrap());
                    false
                }
            })
        };
        let waits = wait(true);
        while *pair.0.lock().unwrap() < 1 {
            thread::yield_now();
        }
        pair.1.notify_one();
        assert!(!waits.join().unwrap());
    });
}

/// Polls a future that will be dropped, so that nobody wants to know when it is woken.
fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_mutex_excludes_a_task() {
    loom::model(|| {
        let mutex = Arc::new(Mutex::new(()));
        let data = Watched::new();
        let other = {
            let (mutex, data) = (mutex.clone(), data.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    let _held = mutex.lock().unwrap();
                    data.add_one();
                }
            })
        };
        for _ in 0..2 {
            let _held = block_on(mutex.lock_async()).unwrap();
            data.add_one();
        }
        other.join().unwrap();
        let _held = mutex.try_lock().unwrap();
        assert_eq!(data.read(), 4);
    });
}

#[test]
fn a_lock_that_is_given_to_a_task_which_is_dropped_goes_on() {
    loom::model(|| {
        let mutex = Arc::new(Mutex::new(()));
        let held = mutex.lock().unwrap();
        let drops = {
            let mutex = mutex.clone();
            thread::spawn(move || {
                let mut locks = Box::pin(mutex.lock_async());
                // It may be woken to try again, and be overtaken.
                if poll(&mut locks).is_pending() {
                    drop(poll(&mut locks));
                }
            })
        };
        let patient = {
            let mutex = mutex.clone();
            thread::spawn(move || drop(mutex.lock().unwrap()))
        };
        drop(held);
        drops.join().unwrap();
        patient.join().unwrap();
        assert!(mutex.try_lock().is_ok());
    });
}

#[test]
fn a_lock_that_is_handed_to_a_task_which_is_dropped_goes_on() {
    loom::model(|| {
        let mutex = Arc::new(Mutex::new(()));
        let held = mutex.lock().unwrap();
        let mut locks = {
            let mutex = mutex.clone();
            Box::pin(async move { drop(mutex.lock_async().await) })
        };
        assert!(poll(&mut locks).is_pending());
        drop(held);
        // It is overtaken, and handed the lock the next time.
        let held = mutex.lock().unwrap();
        assert!(poll(&mut locks).is_pending());
        let patient = {
            let mutex = mutex.clone();
            thread::spawn(move || drop(mutex.lock().unwrap()))
        };
        let drops = thread::spawn(move || drop(locks));
        drop(held);
        drops.join().unwrap();
        patient.join().unwrap();
        assert!(mutex.try_lock().is_ok());
    });
}

#[test]
fn readers_behind_a_task_that_writes_and_is_dropped_go_on() {
    loom::model(|| {
        let lock = Arc::new(RwLock::new(()));
        let held = lock.read().unwrap();
        let drops = {
            let lock = lock.clone();
            thread::spawn(move || drop(poll(&mut Box::pin(lock.write_async()))))
        };
        let reader = {
            let lock = lock.clone();
            thread::spawn(move || drop(lock.read().unwrap()))
        };
        drops.join().unwrap();
        // Others read still.
        reader.join().unwrap();
        drop(held);
        assert!(lock.try_write().is_ok());
    });
}

#[test]
fn a_notification_that_is_given_to_a_task_which_is_dropped_goes_on() {
    loom::model(|| {
        let notify = Arc::new(Notify::new());
        let drops = {
            let notify = notify.clone();
            thread::spawn(move || {
                let mut waits = Box::pin(notify.wait_async());
                if poll(&mut waits).is_ready() {
                    notify.notify_one();
                }
            })
        };
        let waits = {
            let notify = notify.clone();
            thread::spawn(move || notify.wait())
        };
        notify.notify_one();
        drops.join().unwrap();
        waits.join().unwrap();
    });
}

#[test]
fn a_notification_of_a_condvar_goes_past_a_task_that_is_dropped() {
    loom::model(|| {
        let pair = Arc::new((Mutex::new(0), Condvar::new()));
        let drops = {
            let pair = pair.clone();
            thread::spawn(move || {
                let mut waits = Box::pin(async {
                    let mut here = pair.0.lock_async().await.unwrap();
                    *here += 1;
                    drop(pair.1.wait_async(here).await);
                });
                if poll(&mut waits).is_ready() || poll(&mut waits).is_ready() {
                    // It was told instead of the other.
                    pair.1.notify_one();
                }
            })
        };
        let waits = {
            let pair = pair.clone();
            thread::spawn(move || {
                let mut here = pair.0.lock().unwrap();
                *here += 10;
                drop(pair.1.wait(here).unwrap());
            })
        };
        while *pair.0.lock().unwrap() < 10 {
            thread::yield_now();
        }
        pair.1.notify_one();
        drops.join().unwrap();
        waits.join().unwrap();
    });
}

#[test]
fn readers_share_and_a_writer_excludes() {
    // Three threads take the checker too long with more preemptions.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let lock = Arc::new(RwLock::new(()));
        let data = Watched::new();
        let writer = {
            let (lock, data) = (lock.clone(), data.clone());
            thread::spawn(move || {
                let _writing = lock.write().unwrap();
                data.add_one();
            })
        };
        let reader = {
            let (lock, data) = (lock.clone(), data.clone());
            thread::spawn(move || {
                let _reading = lock.read().unwrap();
                data.read()
            })
        };
        {
            let writing = lock.write().unwrap();
            data.add_one();
            let _reading = super::RwLockWriteGuard::downgrade(writing);
            data.read();
        }
        writer.join().unwrap();
        assert!(reader.join().unwrap() <= 2);
        let _writing = lock.try_write().unwrap();
        assert_eq!(data.read(), 2);
    });
}

#[test]
fn a_once_runs_once_and_is_waited_for() {
    loom::model(|| {
        let once = Arc::new(Once::new());
        let data = Watched::new();
        let other = {
            let (once, data) = (once.clone(), data.clone());
            thread::spawn(move || {
                once.call_once(|| _ = data.add_one());
                data.read()
            })
        };
        once.call_once(|| _ = data.add_one());
        assert_eq!(data.read(), 1);
        assert_eq!(other.join().unwrap(), 1);
    });
}

#[test]
fn a_once_that_a_future_runs_is_waited_for() {
    loom::model(|| {
        let once = Arc::new(Once::new());
        let data = Watched::new();
        let other = {
            let (once, data) = (once.clone(), data.clone());
            thread::spawn(move || {
                block_on(once.call_once_force_async(async || _ = data.add_one()));
                data.read()
            })
        };
        once.call_once(|| _ = data.add_one());
        assert_eq!(data.read(), 1);
        assert_eq!(other.join().unwrap(), 1);
    });
}

#[test]
fn a_run_that_is_dropped_wakes_who_waits_for_it() {
    loom::model(|| {
        let once = Arc::new(Once::new());
        let data = Watched::new();
        let runs = once.clone();
        let mut stuck = Box::pin(async move {
            let never = async || std::future::pending().await;
            runs.call_once_force_async(never).await;
        });
        let polled = stuck.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        let other = {
            let (once, data) = (once.clone(), data.clone());
            thread::spawn(move || {
                block_on(once.call_once_force_async(async || _ = data.add_one()));
            })
        };
        drop(stuck);
        block_on(once.wait_force_async());
        assert_eq!(data.read(), 1);
        other.join().unwrap();
    });
}

/// A lock that knows nothing of those who wait for it at its address.
struct Word(AtomicU32);

impl Word {
    const ADDRESS: usize = 8;

    fn try_lock(&self) -> bool {
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        self.0.compare_exchange(0, 1, acquire, relaxed).is_ok()
    }

    fn lock(&self) {
        while !self.try_lock() {
            let mut locked = false;
            let still_waits = || {
                locked = self.try_lock();
                !locked
            };
            let awaited = address::wait(Self::ADDRESS, 1, None, &"a word", still_waits, || ());
            if awaited == Awaited::Changed {
                return;
            }
        }
    }

    fn unlock(&self) {
        self.0.store(0, Ordering::Release);
        address::wake(Self::ADDRESS, 1, 1);
    }
}

#[test]
fn a_lock_that_is_awaited_by_its_address_wakes() {
    loom::model(|| {
        let word = Arc::new(Word(AtomicU32::new(0)));
        let data = Watched::new();
        let counts = |word: &Word, data: &Watched| {
            word.lock();
            data.add_one();
            word.unlock();
        };
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (word, data) = (word.clone(), data.clone());
                thread::spawn(move || counts(&word, &data))
            })
            .collect();
        counts(&word, &data);
        for other in others {
            other.join().unwrap();
        }
        word.lock();
        assert_eq!(data.read(), 3);
    });
}

#[test]
fn who_has_begun_to_wait_before_the_release_is_signalled() {
    loom::model(|| {
        const CONDITION: usize = 16;
        let (word, is_set) = (Arc::new(Word(AtomicU32::new(0))), Watched::new());
        let signals = {
            let (word, is_set) = (word.clone(), is_set.clone());
            thread::spawn(move || {
                word.lock();
                is_set.add_one();
                word.unlock();
                address::wake(CONDITION, 2, 1);
            })
        };
        word.lock();
        while is_set.read() == 0 {
            // Released where nobody can wake, and who waits for the lock is told afterwards.
            let release = || {
                word.0.store(0, Ordering::Release);
                true
            };
            let tell = || _ = address::wake(Word::ADDRESS, 1, 1);
            address::wait(CONDITION, 2, None, &"a condition", release, tell);
            word.lock();
        }
        word.unlock();
        signals.join().unwrap();
    });
}
