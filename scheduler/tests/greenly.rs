//! Blocking code inside futures: `greenly` and `await_`, in executors of others and in our own.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{self, Future};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use common::{child, is_child, on_each_mode, on_each_worker_count, printed, uses_global_runtime};
use roving_scheduler::channel::{Receiver, bounded, unbounded};
use roving_scheduler::sync::Mutex;
use roving_scheduler::thread::Builder;
use roving_scheduler::{
    DeadlineElapsed, Greenly, ThreadLocals, await_, block_on, deadline, greenly, is_green, select,
    stacks, thread,
};

/// Whether what `greenly` runs has thread-locals of its own, and so moves between OS threads.
fn moves() -> bool {
    common::runtime(1).thread_locals() == ThreadLocals::Own
}

/// Runs what `make` makes in each executor that polls it on one OS thread, and in those that do not where
/// it moves.
fn in_each_executor<F: Future<Output = ()> + Send + 'static>(make: impl Fn() -> F + Sync) {
    uses_global_runtime();
    block_on(make());
    futures::executor::block_on(make());
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(make());
    if moves() {
        let multi = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .enable_time()
            .build()
            .unwrap();
        multi.block_on(async {
            let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(make())).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        on_each_worker_count(|| block_on(make()));
    } else {
        common::on_pinned_threads(|| block_on(make()));
    }
}

/// Is pending once, and woken at once.
struct Yields(bool);

impl Future for Yields {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn what_blocks_in_it_does_not_block_its_executor() {
    in_each_executor(|| async {
        let (sender, receiver) = bounded(0);
        let blocks = greenly(move || {
            assert!(is_green());
            let sum: u32 = receiver.iter().sum();
            thread::sleep(Duration::from_millis(1));
            sum
        });
        let sends = greenly(move || {
            for n in 0..100 {
                sender.send(n).unwrap();
                thread::yield_now();
            }
        });
        let (sum, ()) = futures::join!(blocks, sends);
        assert_eq!(sum, 4950);

        let lock = Arc::new(Mutex::new(0));
        let counts = (0..10).map(|_| {
            let lock = lock.clone();
            greenly(move || {
                for _ in 0..20 {
                    let mut count = lock.lock().unwrap();
                    let seen = *count;
                    thread::yield_now();
                    *count = seen + 1;
                }
            })
        });
        futures::future::join_all(counts).await;
        assert_eq!(*lock.lock().unwrap(), 200);

        let joins = greenly(|| thread::spawn(|| 7).join().unwrap());
        assert_eq!(joins.await, 7);
        let parks = greenly(|| {
            let me = thread::current();
            thread::spawn(move || me.unpark());
            thread::park();
            thread::park_timeout(Duration::from_millis(1));
        });
        parks.await;
    });
}

#[test]
fn futures_are_polled_by_the_task_around_it() {
    in_each_executor(|| async {
        let polled = greenly(|| {
            let mut sum = 0;
            for n in 0..50 {
                sum += await_(async move {
                    Yields(false).await;
                    n
                });
            }
            sum
        });
        assert_eq!(polled.await, 1225);
    });
    // What a future needs of its executor, it finds.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let sleeps = (0..100).map(|n| {
            greenly(move || {
                await_(async { tokio::time::sleep(Duration::from_millis(1)).await });
                let spawned = await_(async move { tokio::spawn(async move { n }).await });
                spawned.unwrap()
            })
        });
        let all = futures::future::join_all(sleeps).await;
        assert_eq!(all.into_iter().sum::<i32>(), 4950);
    });
}

#[test]
fn it_borrows_from_its_stack_and_keeps_its_thread_locals() {
    thread_local! {
        static LOCAL: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    in_each_executor(|| async {
        let before = COUNT.get();
        let all = (0..20).map(|n| {
            greenly(move || {
                let me = (thread::current().id(), std::thread::current().id());
                if moves() {
                    assert_eq!(COUNT.get(), 0, "a thread of its own");
                    LOCAL.with_borrow_mut(|local| {
                        for round in 0..20 {
                            local.push(round);
                            COUNT.set(COUNT.get() + 1);
                            await_(Yields(false));
                            thread::yield_now();
                            assert_eq!(local.len(), COUNT.get());
                        }
                    });
                }
                let numbers = [n, n + 1];
                let sum = await_(async {
                    Yields(false).await;
                    numbers.iter().sum::<usize>()
                });
                assert_eq!(sum, 2 * n + 1);
                assert_eq!(me, (thread::current().id(), std::thread::current().id()));
            })
        });
        futures::future::join_all(all).await;
        if moves() {
            assert_eq!(COUNT.get(), before);
        }
    });
}

#[test]
fn a_panic_goes_to_whoever_waits_for_it() {
    in_each_executor(|| async {
        let mut panics = Box::pin(greenly(|| {
            thread::yield_now();
            panic!("of the closure");
        }));
        let caught = future::poll_fn(|context| {
            match panic::catch_unwind(AssertUnwindSafe(|| panics.as_mut().poll(context))) {
                Ok(polled) => polled.map(Ok),
                Err(payload) => Poll::Ready(Err(payload)),
            }
        });
        let payload: Result<(), _> = caught.await;
        assert_eq!(common::message(&*payload.unwrap_err()), "of the closure");
        let again = future::poll_fn(|context| {
            let polled = panic::catch_unwind(AssertUnwindSafe(|| panics.as_mut().poll(context)));
            Poll::Ready(polled.is_err())
        });
        assert!(again.await, "polled after it was ready");

        let of_future = greenly(|| {
            let caught = panic::catch_unwind(|| {
                await_(async {
                    Yields(false).await;
                    panic!("of the future");
                })
            });
            assert!(!std::thread::panicking());
            caught.unwrap_err()
        });
        assert_eq!(common::message(&*of_future.await), "of the future");
        assert!(!std::thread::panicking());
    });
}

/// Counts what has been dropped, and blocks for that.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        assert!(std::thread::panicking());
        thread::sleep(Duration::from_millis(1));
        await_(Yields(false));
        self.0.fetch_add(1, Ordering::Release);
    }
}

#[test]
fn one_that_is_dropped_unwinds_and_its_destructors_may_block() {
    in_each_executor(|| async {
        let dropped = Arc::new(AtomicUsize::new(0));
        // One waits, one asks, one has not begun, one has been woken.
        let (sender, receiver) = unbounded::<()>();
        let one = dropped.clone();
        let mut waits = Box::pin(greenly(move || {
            let _dropped = Dropped(one);
            receiver.recv()
        }));
        let two = dropped.clone();
        let mut asks = Box::pin(greenly(move || {
            let _dropped = Dropped(two);
            await_(future::pending::<()>());
        }));
        let three = dropped.clone();
        let fresh = greenly(move || {
            let _three = three;
            unreachable!("nobody has polled it");
        });
        let mut context = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        assert!(asks.as_mut().poll(&mut context).is_pending());
        assert!(asks.as_mut().poll(&mut context).is_pending());
        drop(fresh);
        assert_eq!(Arc::strong_count(&dropped), 3);
        drop(asks);
        assert_eq!(dropped.load(Ordering::Acquire), 1);
        drop(waits);
        assert_eq!(dropped.load(Ordering::Acquire), 2);
        assert!(sender.send(()).is_err());
        assert_eq!(Arc::strong_count(&dropped), 1);
    });
}

#[test]
fn nothing_interrupts_whoever_drops_one() {
    on_each_mode(|| {
        let begun = |dropped: &Arc<AtomicUsize>| {
            let dropped = dropped.clone();
            let mut waits = Box::pin(greenly(move || {
                let _dropped = Dropped(dropped);
                thread::park();
            }));
            let mut context = Context::from_waker(Waker::noop());
            assert!(waits.as_mut().poll(&mut context).is_pending());
            waits
        };
        let dropped = Arc::new(AtomicUsize::new(0));
        // The time is over before it begins.
        let waits = begun(&dropped);
        let ended = deadline(Duration::ZERO, || {
            drop(waits);
            assert_eq!(dropped.load(Ordering::Acquire), 1);
            thread::sleep(Duration::MAX);
        });
        assert!(ended.is_err());
        // One in another, which is dropped as well.
        let inner = begun(&dropped);
        let count = dropped.clone();
        let mut outer = Box::pin(greenly(move || {
            await_(Yields(false));
            drop(inner);
            count.fetch_add(10, Ordering::Release);
            thread::sleep(Duration::MAX);
        }));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(outer.as_mut().poll(&mut context).is_pending());
        }
        drop(outer);
        assert_eq!(dropped.load(Ordering::Acquire), 12);
    });
}

#[test]
fn a_deadline_within_it_ends_what_it_waits_for() {
    in_each_executor(|| async {
        let ends = greenly(|| {
            let asks = deadline(Duration::from_millis(1), || await_(future::pending::<()>()));
            assert!(matches!(asks, Err(DeadlineElapsed { .. })));
            let blocks = deadline(Duration::from_millis(1), thread::park);
            assert!(blocks.is_err());
            let start = Instant::now();
            thread::sleep(Duration::from_millis(2));
            assert!(start.elapsed() >= Duration::from_millis(2));
        });
        ends.await;
    });
}

fn nested(depth: usize) -> usize {
    if depth == 0 {
        thread::yield_now();
        thread::sleep(Duration::from_micros(10));
        return 0;
    }
    let inner = greenly(move || nested(depth - 1));
    let sum = if depth.is_multiple_of(2) {
        await_(inner)
    } else {
        block_on(inner)
    };
    sum + depth
}

#[test]
fn one_runs_in_another_ten_deep() {
    in_each_executor(|| async {
        assert_eq!(greenly(|| nested(10)).await, 55);
    });
}

/// Notes its level when it is dropped, and blocks for that in the ways of both sides.
struct Level(usize, Arc<std::sync::Mutex<Vec<usize>>>);

impl Drop for Level {
    fn drop(&mut self) {
        thread::yield_now();
        await_(Yields(false));
        block_on(Yields(false));
        self.1.lock().unwrap().push(self.0);
    }
}

/// `bottom` on so many stacks, each inside of the one before; a value goes down and another comes up.
fn levels<T: Send + 'static>(
    level: usize,
    ended: Arc<std::sync::Mutex<Vec<usize>>>,
    bottom: impl FnOnce(usize) -> T + Send + 'static,
) -> (usize, T) {
    let _level = Level(level, ended.clone());
    if level == DEEP {
        return (0, bottom(level));
    }
    let inner = greenly(move || levels(level + 1, ended, bottom));
    let (sum, value) = match level % 3 {
        0 => await_(inner),
        1 => block_on(inner),
        _ => block_on(async {
            Yields(false).await;
            let value = inner.await;
            Yields(false).await;
            value
        }),
    };
    thread::yield_now();
    (sum + level, value)
}

const DEEP: usize = 10;

fn innermost_first() -> Vec<usize> {
    (1..=DEEP).rev().collect()
}

#[test]
fn values_and_panics_go_through_ten_levels() {
    in_each_executor(|| async {
        let ended = Arc::default();
        let (sum, value) = greenly({
            let ended = Arc::clone(&ended);
            move || {
                levels(1, ended, |level| {
                    thread::sleep(Duration::from_micros(10));
                    vec![level; 3]
                })
            }
        })
        .await;
        assert_eq!((sum, value), (45, vec![DEEP; 3]));
        assert_eq!(*ended.lock().unwrap(), innermost_first());

        let ended = Arc::default();
        let caught = greenly({
            let ended = Arc::clone(&ended);
            move || {
                let bottom = |level: usize| {
                    thread::sleep(Duration::from_micros(10));
                    panic::panic_any(level)
                };
                let levels = AssertUnwindSafe(|| levels::<()>(1, ended, bottom));
                panic::catch_unwind(levels).unwrap_err()
            }
        });
        assert_eq!(caught.await.downcast_ref(), Some(&DEEP));
        assert_eq!(*ended.lock().unwrap(), innermost_first());
        assert!(!std::thread::panicking());
    });
}

#[test]
fn dropping_the_outermost_of_ten_unwinds_them_all() {
    in_each_executor(|| async {
        for way in 0..3 {
            let (ended, begun) = (Arc::default(), Arc::new(AtomicBool::new(false)));
            let mut outermost = Box::pin(greenly({
                let (ended, begun) = (Arc::clone(&ended), begun.clone());
                move || {
                    levels(1, ended, move |_| {
                        begun.store(true, Ordering::Release);
                        match way {
                            0 => thread::sleep(Duration::MAX),
                            1 => await_(future::pending()),
                            _ => block_on(future::pending()),
                        }
                    })
                }
            }));
            while !begun.load(Ordering::Acquire) {
                future::poll_fn(|context| {
                    assert!(outermost.as_mut().poll(context).is_pending());
                    Poll::Ready(())
                })
                .await;
                Yields(false).await;
            }
            assert!(ended.lock().unwrap().is_empty());
            drop(outermost);
            assert_eq!(*ended.lock().unwrap(), innermost_first());
        }
    });
}

#[test]
fn it_moves_between_os_threads_whenever_it_is_polled() {
    if !moves() {
        return;
    }
    thread_local!(static OWN: Cell<u32> = const { Cell::new(0) });
    let mut greenly = Box::pin(greenly(|| {
        let kept = vec![1_u8; 1000];
        for round in 1..=50 {
            OWN.set(OWN.get() + 1);
            assert_eq!(OWN.get(), round);
            let name = format!("round {round}");
            await_(Yields(false));
            assert!(name.ends_with(&round.to_string()) && kept.iter().all(|&kept| kept == 1));
        }
    }));
    let mut polls = 0;
    loop {
        // Each poll on a new OS thread.
        let polled = std::thread::scope(|scope| {
            let poll = || {
                greenly
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
            };
            scope.spawn(poll).join().unwrap()
        });
        polls += 1;
        if polled.is_ready() {
            break;
        }
    }
    assert_eq!(polls, 51);
}

#[test]
fn many_share_a_few_os_threads() {
    uses_global_runtime();
    if !moves() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let done = runtime.block_on(async {
        let (sender, receiver) = bounded(8);
        let tasks: Vec<_> = (0..2_000_usize)
            .map(|n| {
                let sender = sender.clone();
                tokio::spawn(greenly(move || {
                    let text = n.to_string();
                    await_(async { tokio::time::sleep(Duration::from_millis(1)).await });
                    sender.send(text).unwrap();
                }))
            })
            .collect();
        drop(sender);
        let received = greenly(move || receiver.iter().map(|n| n.parse::<usize>().unwrap()).sum());
        let sum: usize = received.await;
        for task in tasks {
            task.await.unwrap();
        }
        sum
    });
    assert_eq!(done, 1_999_000);
}

#[test]
fn an_overflow_of_its_stack_is_told() {
    #[inline(never)]
    fn recurse(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 8]);
        if depth == 0 {
            return frame[0];
        }
        std::hint::black_box(recurse(depth - 1)) + frame[7]
    }

    let name = "an_overflow_of_its_stack_is_told";
    if is_child(name) {
        let named = Builder::new().name("bottomless".to_owned());
        block_on(
            named
                .greenly(|| recurse(std::hint::black_box(u64::MAX)))
                .unwrap(),
        );
        return;
    }
    let printed = printed(&child(name).output().unwrap());
    let told = "green thread 'bottomless' has overflowed its stack";
    assert!(
        printed.contains(told) && printed.contains("greenly.rs"),
        "{printed}"
    );
}

#[test]
fn bad_settings_are_told_and_stacks_come_back() {
    uses_global_runtime();
    let error = Builder::new()
        .stack_size(usize::MAX)
        .greenly(|| ())
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let name = "bad_settings_are_told_and_stacks_come_back";
    if is_child(name) {
        assert_eq!(stacks().in_use, 0);
        for _ in 0..100 {
            block_on(greenly(|| ()));
        }
        let mut parked: Vec<_> = (0..100).map(|_| Box::pin(greenly(thread::park))).collect();
        for greenly in &mut parked {
            let mut context = Context::from_waker(Waker::noop());
            assert!(greenly.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(stacks().in_use, 100);
        drop(parked);
        assert_eq!(stacks().in_use, 0);
        return;
    }
    common::run(child(name));
}

#[test]
fn one_that_cannot_move_says_so() {
    let name = "one_that_cannot_move_says_so";
    if is_child(name) {
        let mut stays = Box::pin(greenly(thread::park));
        let poll = |stays: &mut Pin<Box<Greenly<()>>>| {
            let mut context = Context::from_waker(Waker::noop());
            stays.as_mut().poll(&mut context)
        };
        assert!(poll(&mut stays).is_pending());
        std::thread::scope(|scope| {
            let elsewhere = scope.spawn(|| poll(&mut stays).is_pending());
            assert!(elsewhere.join().is_err());
        });
        assert!(poll(&mut stays).is_pending());
        std::thread::spawn(move || drop(stays)).join().unwrap();
        return;
    }
    let mut child = child(name);
    child.env("ROVING_THREAD_LOCALS", "pinned");
    let printed = printed(&child.output().unwrap());
    assert!(
        printed.contains("must be polled by the OS thread"),
        "{printed}"
    );
    assert!(
        printed.contains("dropped by another OS thread"),
        "{printed}"
    );
    assert!(printed.contains("1 passed"), "{printed}");
}

#[test]
fn elsewhere_it_is_block_on() {
    uses_global_runtime();
    assert_eq!(await_(async { 1 }), 1);
    on_each_mode(|| await_(Yields(false)));
}

/// What it waits for is for another task to do, on the only thread of its executor.
#[test]
fn one_that_asks_in_vain_lets_other_tasks_run() {
    let _watchdog = common::watchdog("in an executor of one thread");
    let asks = |ask: fn(&Receiver<u32>) -> u32| {
        let (sender, receiver) = unbounded();
        let asks = greenly(move || ask(&receiver));
        let sends = async move { sender.send(1).unwrap() };
        let both = futures::executor::block_on(futures::future::join(asks, sends));
        assert_eq!(both.0, 1);
    };
    asks(|receiver| {
        loop {
            if let Ok(n) = receiver.try_recv() {
                return n;
            }
        }
    });
    asks(|receiver| {
        loop {
            select! {
                recv(receiver) -> n => return n.unwrap(),
                default => {}
            }
        }
    });
}

#[test]
fn os_threads_and_guests_meet() {
    uses_global_runtime();
    let barrier = Arc::new(Barrier::new(2));
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = bounded(1);
    let os_thread = {
        let (barrier, stop) = (barrier.clone(), stop.clone());
        std::thread::spawn(move || {
            barrier.wait();
            let mut sum = 0_u64;
            for n in receiver.iter() {
                sum += n;
            }
            stop.store(true, Ordering::Release);
            sum
        })
    };
    barrier.wait();
    futures::executor::block_on(greenly(move || {
        (0..1_000).for_each(|n| sender.send(n).unwrap())
    }));
    assert_eq!(os_thread.join().unwrap(), 499_500);
    assert!(stop.load(Ordering::Acquire));
    let mut pinned = pin!(greenly(|| 5));
    assert_eq!(block_on(pinned.as_mut()), 5);
}
