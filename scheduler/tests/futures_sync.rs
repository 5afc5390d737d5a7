//! `sync` in futures: locks, events, barriers, channels of one, of all and of the last value, in
//! executors of others and in our own, and what becomes of what a dropped future was given.

mod common;
#[path = "common/executors.rs"]
mod executors;

use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use common::{on_each_mode, on_each_worker_count, wait_until_parked};
use executors::{in_each_executor, woken};
use futures::future::{Either, join_all, select};
use roving_scheduler::sync::{
    Barrier, Condvar, Mutex, Notify, RwLock, TaskGuard, WaitGroup, broadcast, mpsc, oneshot, watch,
};
use roving_scheduler::time::{interval, sleep_async};
use roving_scheduler::{Group, block_on, thread};

/// Polls a future whose wake-ups nobody wants to know of.
fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets others run, wherever it is polled.
async fn yields() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn a_mutex_is_held_over_an_await_among_threads_and_tasks() {
    const ROUNDS: usize = 50;
    in_each_executor(|| async {
        let count = Arc::new(Mutex::new(0));
        let adds = |count: Arc<Mutex<usize>>| async move {
            for _ in 0..ROUNDS {
                let mut count = count.lock_async().await.unwrap();
                let before = *count;
                yields().await;
                *count = before + 1;
            }
        };
        let green: Vec<_> = (0..4)
            .map(|number| {
                let count = count.clone();
                thread::spawn(move || {
                    if number % 2 == 0 {
                        return block_on(adds(count));
                    }
                    for _ in 0..ROUNDS {
                        let mut count = count.lock().unwrap();
                        let before = *count;
                        thread::yield_now();
                        *count = before + 1;
                    }
                })
            })
            .collect();
        join_all((0..4).map(|_| adds(count.clone()))).await;
        for green in green {
            green.await.unwrap();
        }
        assert_eq!(*count.lock_async().await.unwrap(), 8 * ROUNDS);
    });
}

#[test]
fn readers_share_and_a_writer_excludes_among_threads_and_tasks() {
    in_each_executor(|| async {
        let pair = Arc::new(RwLock::new((0, 0)));
        let writes = |pair: Arc<RwLock<(usize, usize)>>| async move {
            for _ in 0..30 {
                let mut both = pair.write_async().await.unwrap();
                both.0 += 1;
                yields().await;
                both.1 += 1;
                let both = TaskGuard::downgrade(both);
                yields().await;
                assert_eq!(both.0, both.1);
            }
        };
        let reads = |pair: Arc<RwLock<(usize, usize)>>| async move {
            for _ in 0..30 {
                let both = pair.read_async().await.unwrap();
                let before = *both;
                yields().await;
                assert_eq!((*both, both.0), (before, both.1));
            }
        };
        let green: Vec<_> = (0..4)
            .map(|number| {
                let pair = pair.clone();
                thread::spawn(move || match number {
                    0 => block_on(writes(pair)),
                    1 => block_on(reads(pair)),
                    _ => {
                        for _ in 0..30 {
                            pair.write().unwrap().0 += 0;
                            let both = pair.read().unwrap();
                            assert_eq!(both.0, both.1);
                        }
                    }
                })
            })
            .collect();
        futures::join!(
            writes(pair.clone()),
            reads(pair.clone()),
            reads(pair.clone())
        );
        for green in green {
            green.await.unwrap();
        }
        assert_eq!(*pair.try_write().unwrap(), (60, 60));
    });
}

#[test]
fn a_lock_that_a_dropped_task_was_given_goes_to_another() {
    on_each_mode(|| {
        // Woken to try again, and dropped: another is woken in its place.
        let mutex = Mutex::new(());
        let held = mutex.lock().unwrap();
        let mut dropped = Box::pin(mutex.lock_async());
        let (next, waker) = woken();
        let mut waits = pin!(mutex.lock_async());
        assert!(poll(dropped.as_mut()).is_pending());
        assert!(
            waits
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop(held);
        assert_eq!(next.times(), 0);
        drop(dropped);
        assert_eq!(next.times(), 1);
        assert!(poll(waits.as_mut()).is_ready());

        // Overtaken once and handed the lock: it is unlocked.
        let held = mutex.lock().unwrap();
        let mut dropped = Box::pin(mutex.lock_async());
        assert!(poll(dropped.as_mut()).is_pending());
        drop(held);
        let overtakes = mutex.lock().unwrap();
        assert!(poll(dropped.as_mut()).is_pending());
        drop(overtakes);
        assert!(mutex.try_lock().is_err(), "it was handed over");
        drop(dropped);
        assert!(mutex.try_lock().is_ok());

        // One that still waits, or was never polled, leaves.
        let held = mutex.lock().unwrap();
        let mut dropped = Box::pin(mutex.lock_async());
        assert!(poll(dropped.as_mut()).is_pending());
        drop(mutex.lock_async());
        drop(dropped);
        drop(held);
        assert!(mutex.try_lock().is_ok());
    });
}

#[test]
fn readers_behind_a_writer_that_is_dropped_go_on() {
    on_each_mode(|| {
        let lock = RwLock::new(());
        let held = lock.read().unwrap();
        let mut writes = Box::pin(lock.write_async());
        let mut reads = Box::pin(lock.read_async());
        assert!(poll(writes.as_mut()).is_pending());
        assert!(poll(reads.as_mut()).is_pending(), "a writer waits");
        drop(writes);
        let reading = poll(reads.as_mut());
        assert!(reading.is_ready());
        drop((reading, held));

        // One that has been let in and is dropped goes out again.
        for writes_first in [false, true] {
            let held = lock.write().unwrap();
            let mut reads = Box::pin(lock.read_async());
            let mut writes = Box::pin(lock.write_async());
            if writes_first {
                assert!(poll(writes.as_mut()).is_pending());
            } else {
                assert!(poll(reads.as_mut()).is_pending());
            }
            drop(held);
            assert!(lock.try_write().is_err(), "it was handed over");
            drop((reads, writes));
            assert!(lock.try_write().is_ok());
        }
    });
}

#[test]
fn a_notification_that_a_dropped_task_was_given_goes_to_another() {
    on_each_mode(|| {
        let notify = Notify::new();
        let mut dropped = Box::pin(notify.wait_async());
        let mut waits = Box::pin(notify.wait_async());
        assert!(poll(dropped.as_mut()).is_pending());
        assert!(poll(waits.as_mut()).is_pending());
        notify.notify_one();
        assert!(poll(waits.as_mut()).is_pending());
        drop(dropped);
        assert!(poll(waits.as_mut()).is_ready());

        // If nobody else waits, it is the permit of the next.
        let mut dropped = Box::pin(notify.wait_async());
        assert!(poll(dropped.as_mut()).is_pending());
        notify.notify_one();
        drop(dropped);
        assert!(poll(pin!(notify.wait_async())).is_ready());
        assert!(poll(pin!(notify.wait_async())).is_pending());

        // Those that were woken with all others leave none.
        let mut both = [notify.wait_async(), notify.wait_async()].map(Box::pin);
        assert!(both.iter_mut().all(|one| poll(one.as_mut()).is_pending()));
        notify.notify_all();
        drop(both);
        assert!(poll(pin!(notify.wait_async())).is_pending());
    });
}

#[test]
fn a_notification_of_a_condvar_goes_past_a_task_that_is_dropped() {
    on_each_mode(|| {
        let (mutex, changed) = (Mutex::new(0), Condvar::new());
        let wait = || {
            Box::pin(async {
                let guard = mutex.lock_async().await.unwrap();
                *changed.wait_async(guard).await.unwrap()
            })
        };
        // Dropped while it waits, after it was notified, and while it waits for its mutex.
        for how in 0..3 {
            let (mut dropped, mut waits) = (wait(), wait());
            assert!(poll(dropped.as_mut()).is_pending());
            assert!(poll(waits.as_mut()).is_pending());
            let mut held = mutex.lock().unwrap();
            *held = 7 + how;
            if how > 0 {
                changed.notify_one();
            }
            if how > 1 {
                assert!(poll(dropped.as_mut()).is_pending(), "the mutex is held");
            }
            drop(dropped);
            if how == 0 {
                changed.notify_one();
            }
            drop(held);
            assert_eq!(poll(waits.as_mut()), Poll::Ready(7 + how));
        }
        assert!(mutex.try_lock().is_ok());
    });
}

#[test]
fn what_changes_under_a_lock_is_waited_for_by_threads_and_tasks() {
    in_each_executor(|| async {
        let turn = Arc::new((Mutex::new(0), Condvar::new()));
        let takes = |turn: Arc<(Mutex<usize>, Condvar)>, mine: usize| async move {
            for round in 0..20 {
                let count = turn.0.lock_async().await.unwrap();
                let is_not = |count: &mut usize| *count != 2 * round + mine;
                let mut count = turn.1.wait_while_async(count, is_not).await.unwrap();
                *count += 1;
                turn.1.notify_all();
            }
        };
        let blocks = {
            let turn = turn.clone();
            thread::spawn(move || block_on(takes(turn, 1)))
        };
        takes(turn.clone(), 0).await;
        blocks.await.unwrap();

        let notify = Arc::new((Notify::new(), Notify::new()));
        let answers = {
            let notify = notify.clone();
            thread::spawn(move || {
                for _ in 0..20 {
                    notify.0.wait();
                    notify.1.notify_one();
                }
            })
        };
        for _ in 0..20 {
            notify.0.notify_one();
            notify.1.wait_async().await;
        }
        answers.await.unwrap();
    });
}

#[test]
fn barriers_and_groups_are_for_threads_and_tasks() {
    in_each_executor(|| async {
        let barrier = Arc::new(Barrier::new(4));
        let leaders = Arc::new(AtomicUsize::new(0));
        let comes = |barrier: Arc<Barrier>, leaders: Arc<AtomicUsize>| async move {
            for _ in 0..10 {
                let leads = barrier.wait_async().await.is_leader();
                leaders.fetch_add(usize::from(leads), Ordering::Relaxed);
            }
        };
        // One who comes and goes has not come.
        let mut goes = Box::pin(barrier.wait_async());
        assert!(poll(goes.as_mut()).is_pending());
        drop(goes);
        let blocks: Vec<_> = (0..2)
            .map(|_| {
                let (barrier, leaders) = (barrier.clone(), leaders.clone());
                thread::spawn(move || {
                    for _ in 0..10 {
                        let leads = barrier.wait().is_leader();
                        leaders.fetch_add(usize::from(leads), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let come = || comes(barrier.clone(), leaders.clone());
        futures::join!(come(), come());
        for block in blocks {
            block.await.unwrap();
        }
        assert_eq!(leaders.load(Ordering::Relaxed), 10);

        let group = WaitGroup::new();
        let ended = Arc::new(AtomicUsize::new(0));
        for _ in 0..5 {
            let (group, ended) = (group.clone(), ended.clone());
            drop(thread::spawn(move || {
                thread::yield_now();
                ended.fetch_add(1, Ordering::Relaxed);
                drop(group);
            }));
        }
        group.wait_async().await;
        assert_eq!(ended.load(Ordering::Relaxed), 5);
    });
}

#[test]
fn channels_of_one_of_all_and_of_the_last_value_are_awaited() {
    in_each_executor(|| async {
        let (sender, receiver) = oneshot::channel();
        let sends = thread::spawn(move || sender.send(7).unwrap());
        assert_eq!(receiver.await, Ok(7));
        sends.await.unwrap();
        let (sender, receiver) = oneshot::channel::<u8>();
        assert!(poll(pin!(receiver.recv_async())).is_pending());
        drop(sender);
        assert!(receiver.await.is_err());

        let (sender, mut receiver) = mpsc::sync_channel(1);
        let sends = async move {
            for n in 0..20 {
                sender.send_async(n).await.unwrap();
            }
        };
        let receives = async {
            for n in 0..20 {
                assert_eq!(receiver.recv_async().await, Ok(n));
            }
            receiver.recv_async().await.unwrap_err();
        };
        futures::join!(sends, receives);

        let (sender, one) = broadcast::channel(100);
        let two = sender.subscribe();
        assert!(poll(pin!(one.recv_async())).is_pending());
        let sends = thread::spawn(move || {
            for n in 0..20 {
                sender.send(n).unwrap();
                thread::yield_now();
            }
        });
        for receiver in [one, two] {
            for n in 0..20 {
                assert_eq!(receiver.recv_async().await, Ok(n));
            }
            assert_eq!(
                receiver.recv_async().await,
                Err(broadcast::RecvError::Closed)
            );
        }
        sends.await.unwrap();

        let (sender, mut receiver) = watch::channel(0);
        assert!(poll(pin!(receiver.changed_async())).is_pending());
        let sends = thread::spawn(move || {
            for n in 1..=20 {
                sender.send(n).unwrap();
                thread::yield_now();
            }
        });
        receiver.changed_async().await.unwrap();
        assert_eq!(*receiver.wait_for_async(|n| *n == 20).await.unwrap(), 20);
        assert_eq!(receiver.changed_async().await, Err(watch::RecvError));
        sends.await.unwrap();
    });
}

#[test]
fn members_of_a_group_are_awaited_as_they_end() {
    on_each_mode(|| {
        let rest = Group::new().run(|group| {
            for n in [3_u64, 1, 2] {
                group.spawn(move || {
                    thread::sleep(Duration::from_millis(n));
                    Ok::<_, ()>(n)
                });
            }
            block_on(async {
                let mut sum = 0;
                loop {
                    // Dropped before it is ready, it takes none.
                    let soon = Box::pin(sleep_async(Duration::from_micros(100)));
                    match select(Box::pin(group.next_async()), soon).await {
                        Either::Left((Some(n), _)) => sum += n,
                        Either::Left((None, _)) => break,
                        Either::Right(_) => {}
                    }
                }
                assert_eq!(sum, 6);
            });
            Ok(())
        });
        assert_eq!(rest, Ok(vec![]));

        let failed = Group::new().run(|group| {
            group.spawn(|| Err::<(), _>("failed"));
            // The failure ends this, as it does what blocks.
            block_on(std::future::pending::<()>());
            Ok(())
        });
        assert_eq!(failed, Err("failed"));
    });
}

#[test]
fn ticks_are_awaited() {
    in_each_executor(|| async {
        let start = Instant::now();
        let mut ticks = interval(Duration::from_millis(1));
        let first = ticks.tick_async().await;
        assert!(poll(pin!(ticks.tick_async())).is_pending() || start.elapsed().as_millis() > 0);
        let second = ticks.tick_async().await;
        assert!(second >= first + Duration::from_millis(1));
    });
}

#[test]
fn a_lock_is_poisoned_by_the_panic_of_whoever_has_its_guard() {
    on_each_worker_count(|| {
        let mutex = Arc::new(Mutex::new(0));
        let lock = RwLock::new(0);
        let panics = panic::catch_unwind(AssertUnwindSafe(|| {
            block_on(async {
                let _held = mutex.lock_async().await.unwrap();
                let _writing = lock.write_async().await.unwrap();
                yields().await;
                panic!("with two guards");
            });
        }));
        panics.unwrap_err();
        assert!(mutex.is_poisoned() && lock.is_poisoned());
        assert!(block_on(mutex.lock_async()).is_err());
        assert!(block_on(lock.read_async()).is_err());
        mutex.clear_poison();

        // A future that is dropped has not panicked.
        let mut holds = Box::pin(async {
            let _held = mutex.lock_async().await.unwrap();
            std::future::pending::<()>().await;
        });
        assert!(poll(holds.as_mut()).is_pending());
        drop(holds);
        assert!(!mutex.is_poisoned());

        // What a destructor locks while its thread unwinds poisons nothing, unless another panics with it.
        struct LocksInDrop(Arc<Mutex<u32>>, bool);

        impl Drop for LocksInDrop {
            fn drop(&mut self) {
                let mut holds = Box::pin({
                    let mutex = self.0.clone();
                    async move {
                        let _held = mutex.lock_async().await.unwrap();
                        yields().await;
                        panic!("with what another has locked");
                    }
                });
                assert!(poll(holds.as_mut()).is_pending());
                if self.1 {
                    let panics = thread::spawn(move || block_on(holds));
                    panics.join().unwrap_err();
                }
            }
        }

        for panics_elsewhere in [false, true] {
            let locks = LocksInDrop(mutex.clone(), panics_elsewhere);
            let panics = panic::catch_unwind(AssertUnwindSafe(move || {
                let _locks = locks;
                panic!("of the first");
            }));
            panics.unwrap_err();
            assert_eq!(mutex.is_poisoned(), panics_elsewhere);
        }
    });
}

#[test]
fn the_guard_of_a_task_may_be_dropped_by_another_thread() {
    on_each_worker_count(|| {
        let mutex = Arc::new(Mutex::new(1));
        thread::scope(|scope| {
            let guard = block_on(mutex.lock_async()).unwrap();
            scope.spawn(move || drop(guard));
            // No thread is taken for the holder, so this waits and is not told that it waits for itself.
            assert_eq!(*mutex.lock().unwrap(), 1);
        });
    });
}

/// Leaves a future that waits for what is in `place` behind for ever, and puts another one there, at the same address.
macro_rules! forget_and_renew {
    ($place:ident, $new:expr, |$value:ident| $waits:expr) => {
        let $value = &*$place.insert($new);
        let mut forgotten = Box::pin($waits);
        assert!(poll(forgotten.as_mut()).is_pending());
        std::mem::forget(forgotten);
        let $value = &*$place.insert($new);
    };
}

#[test]
fn who_is_forgotten_is_not_woken_in_place_of_those_who_wait_for_what_lies_there_next() {
    on_each_mode(|| {
        let mut place = None;
        forget_and_renew!(place, Mutex::new(false), |mutex| {
            std::mem::forget(mutex.lock());
            mutex.lock_async()
        });
        let mut place = None;
        forget_and_renew!(place, Condvar::new(), |condvar| async {
            let alone = Mutex::new(());
            drop(condvar.wait_async(alone.lock_async().await.unwrap()).await);
        });
        thread::scope(|scope| {
            let guard = mutex.lock().unwrap();
            let waits = scope.spawn(|| {
                let is_told = mutex.lock().unwrap();
                drop(condvar.wait_while(is_told, |is_told| !*is_told));
            });
            wait_until_parked(waits.thread());
            drop(guard);
            loop {
                *mutex.lock().unwrap() = true;
                condvar.notify_one();
                if waits.is_finished() {
                    break;
                }
                thread::yield_now();
            }
        });
    });
}
