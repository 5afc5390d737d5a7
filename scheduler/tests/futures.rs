//! What blocks, as futures: in this crate's `block_on`, in tokio's runtimes, and in the executor of
//! `futures`.

mod common;
#[path = "common/executors.rs"]
mod executors;

use std::future::{Future, IntoFuture};
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use common::{each_worker_count, on_each_mode, on_each_worker_count, runtime, uses_global_runtime};
use executors::{in_each_executor, woken};
use futures::future::{join_all, select};
use roving_scheduler::channel::{self, RecvError, SendError, bounded, ready_async, unbounded};
use roving_scheduler::sync::{Notify, Semaphore};
use roving_scheduler::time::{sleep_async, sleep_until_async};
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{CancelToken, block_on, select, thread};

#[test]
fn a_handle_is_awaited() {
    in_each_executor(|| async {
        let handles: Vec<_> = (0..20).map(|n| thread::spawn(move || n * n)).collect();
        let squares = join_all(handles.into_iter().map(IntoFuture::into_future)).await;
        let sum: i32 = squares.into_iter().map(Result::unwrap).sum();
        assert_eq!(sum, 2470);

        let panics = thread::spawn(|| panic!("of the thread"));
        assert_eq!(
            common::message(&*panics.await.unwrap_err()),
            "of the thread"
        );

        let parks = thread::spawn(thread::park);
        parks.cancel();
        assert!(parks.await.unwrap_err().is::<Cancelled>());
    });
}

#[test]
fn a_scoped_handle_is_awaited() {
    on_each_worker_count(|| {
        let numbers: Vec<_> = (0..20).collect();
        let sum: i32 = thread::scope(|scope| {
            let squares = numbers.iter().map(|n| scope.spawn(move || n * n));
            let squares: Vec<_> = squares.map(IntoFuture::into_future).collect();
            let squares = block_on(join_all(squares));
            squares.into_iter().map(Result::unwrap).sum()
        });
        assert_eq!(sum, 2470);

        // Whoever awaits it has the panic, and not the scope.
        let message = thread::scope(|scope| {
            let panics = scope.spawn(|| panic!("of the thread"));
            block_on(async { common::message(&*panics.await.unwrap_err()) })
        });
        assert_eq!(message, "of the thread");
    });
}

#[test]
fn a_scope_waits_for_a_thread_whose_join_is_gone() {
    on_each_worker_count(|| {
        let done = [AtomicUsize::new(0), AtomicUsize::new(0)];
        thread::scope(|scope| {
            for (place, done) in done.iter().enumerate() {
                let handle = scope.spawn(|| {
                    thread::park();
                    done.store(1, Ordering::Relaxed);
                });
                let thread = handle.thread().clone();
                let mut join = Box::pin(handle.into_future());
                assert!(
                    join.as_mut()
                        .poll(&mut Context::from_waker(Waker::noop()))
                        .is_pending()
                );
                match place {
                    0 => drop(join),
                    _ => std::mem::forget(join),
                }
                thread.unpark();
            }
        });
        assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
    });
}

#[test]
fn a_join_that_is_dropped_detaches_the_thread() {
    on_each_worker_count(|| {
        let (sender, receiver) = unbounded();
        let handle = thread::spawn(move || {
            thread::park();
            sender.send(()).unwrap();
        });
        let thread = handle.thread().clone();
        let (woken, waker) = woken();
        {
            let mut join = pin!(handle.into_future());
            let mut context = Context::from_waker(&waker);
            assert!(join.as_mut().poll(&mut context).is_pending());
            assert!(join.as_mut().poll(&mut context).is_pending());
        }
        thread.unpark();
        receiver.recv().unwrap();
        assert_eq!(receiver.recv(), Err(RecvError));
        assert_eq!(woken.times(), 0);
    });
}

#[test]
fn a_thread_that_awaits_itself_is_told() {
    on_each_worker_count(|| {
        let (sender, receiver) = bounded(1);
        let (told, tells) = bounded(1);
        let itself = thread::spawn(move || {
            let handle: thread::JoinHandle<()> = receiver.recv().unwrap();
            let panicked = panic::catch_unwind(AssertUnwindSafe(|| block_on(handle)));
            told.send(panicked.is_err()).unwrap();
        });
        sender.send(itself).unwrap();
        assert_eq!(tells.recv(), Ok(true));
    });
}

#[test]
fn the_task_that_has_polled_last_is_woken() {
    on_each_worker_count(|| {
        let handle = thread::spawn(thread::park);
        let thread = handle.thread().clone();
        let mut join = pin!(handle.into_future());
        let (first, first_waker) = woken();
        let (second, second_waker) = woken();
        for waker in [&first_waker, &second_waker] {
            assert!(
                join.as_mut()
                    .poll(&mut Context::from_waker(waker))
                    .is_pending()
            );
        }
        thread.unpark();
        second.wait_for(1);
        assert_eq!(first.times(), 0);
        let mut context = Context::from_waker(&second_waker);
        assert!(join.as_mut().poll(&mut context).is_ready());
    });
}

#[test]
fn messages_go_between_threads_and_tasks_both_ways() {
    for capacity in [None, Some(0), Some(1), Some(7)] {
        in_each_executor(|| async move {
            let make = || match capacity {
                None => unbounded(),
                Some(capacity) => bounded(capacity),
            };
            let (to_thread, from_task) = make();
            let (to_task, from_thread) = make();
            let echo = thread::spawn(move || from_task.iter().try_for_each(|n| to_task.send(n)));
            let sends = async move {
                for n in 0..100_u32 {
                    to_thread.send_async(n).await.unwrap();
                }
            };
            let receives = async {
                for n in 0..100 {
                    assert_eq!(from_thread.recv_async().await, Ok(n));
                }
                assert_eq!(from_thread.recv_async().await, Err(RecvError));
            };
            futures::join!(sends, receives);
            echo.await.unwrap().unwrap();
            let (sender, receiver) = make();
            drop(receiver);
            assert_eq!(sender.send_async(1).await, Err(SendError(1)));
        });
    }
}

#[test]
fn selects_and_tasks_meet_without_capacity() {
    on_each_worker_count(|| {
        let (sender, receiver) = bounded(0);
        let selects = thread::spawn(move || {
            for n in 0..200 {
                select! { send(sender, n) -> sent => sent.unwrap() }
            }
        });
        block_on(async {
            for n in 0..200 {
                assert_eq!(receiver.recv_async().await, Ok(n));
            }
        });
        selects.join().unwrap();

        let (sender, receiver) = bounded(0);
        let selects = thread::spawn(move || {
            for n in 0..200 {
                select! { recv(receiver) -> got => assert_eq!(got, Ok(n)) }
            }
        });
        block_on(async {
            for n in 0..200 {
                sender.send_async(n).await.unwrap();
            }
        });
        selects.join().unwrap();
    });
}

#[test]
fn a_select_that_never_sends_what_was_selected_is_not_waited_for() {
    on_each_worker_count(|| {
        let (sender, receiver) = bounded(0);
        let forgets = {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut select = channel::Select::new();
                select.send(&sender);
                let selected = select.select();
                std::mem::forget(selected);
            })
        };
        let receives = thread::spawn(move || block_on(receiver.recv_async()));
        forgets.join().unwrap();
        sender.send("from another").unwrap();
        assert_eq!(receives.join().unwrap(), Ok("from another"));
    });
}

#[test]
fn what_a_dropped_task_had_been_given_goes_to_another() {
    on_each_worker_count(|| {
        for capacity in [0, 1, 3] {
            let (sender, receiver) = bounded(capacity);
            let (woken, waker) = woken();
            {
                let mut receives = pin!(receiver.recv_async());
                let mut context = Context::from_waker(&waker);
                assert!(receives.as_mut().poll(&mut context).is_pending());
                sender.try_send("first").unwrap();
                woken.wait_for(1);
            }
            let others = receiver.clone();
            let second = thread::spawn(move || sender.send("second"));
            assert_eq!(others.recv(), Ok("first"), "of capacity {capacity}");
            assert_eq!(others.recv(), Ok("second"));
            second.join().unwrap().unwrap();
        }

        // A place that was promised to a sender which is dropped is another's.
        let (sender, receiver) = bounded(1);
        sender.send(1).unwrap();
        let (woken, waker) = woken();
        {
            let mut sends = pin!(sender.send_async(2));
            let mut context = Context::from_waker(&waker);
            assert!(sends.as_mut().poll(&mut context).is_pending());
            assert_eq!(receiver.recv(), Ok(1));
            woken.wait_for(1);
        }
        sender.try_send(3).unwrap();
        assert_eq!(receiver.recv(), Ok(3));
    });
}

#[test]
fn the_clock_is_a_future_too() {
    in_each_executor(|| async {
        let start = Instant::now();
        sleep_async(Duration::from_millis(1)).await;
        sleep_until_async(start + Duration::from_millis(2)).await;
        assert!(start.elapsed() >= Duration::from_millis(2));
        let due = channel::after(Duration::from_millis(1)).recv_async().await;
        assert!(due.unwrap() <= Instant::now());
        let ticks = channel::tick(Duration::from_millis(1));
        for _ in 0..3 {
            ticks.recv_async().await.unwrap();
        }
        // Of many, each comes in its time, and those that are dropped never.
        let times = [5, 1, 3].map(|n| async move {
            let duration = Duration::from_millis(n);
            sleep_async(duration).await;
            assert!(start.elapsed() >= duration);
        });
        join_all(times).await;
        let never = Box::pin(sleep_async(Duration::MAX));
        let soon = Box::pin(sleep_async(Duration::from_millis(1)));
        drop(select(never, soon).await);
    });
}

#[test]
fn a_timer_outlives_the_runtime_that_kept_it() {
    uses_global_runtime();
    let runtime = runtime(2);
    let (woken, waker) = woken();
    let start = Instant::now();
    let mut sleep = runtime.run(|| {
        let mut sleep = Box::pin(sleep_async(Duration::from_millis(50)));
        let mut context = Context::from_waker(&waker);
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        sleep
    });
    runtime.shutdown();
    woken.wait_for(1);
    block_on(sleep.as_mut());
    assert!(start.elapsed() >= Duration::from_millis(50));
}

#[test]
fn permits_are_handed_out_in_order_to_threads_and_tasks() {
    in_each_executor(|| async {
        let semaphore = Arc::new(Semaphore::new(2));
        let inside = Arc::new(AtomicUsize::new(0));
        let enter = {
            let (semaphore, inside) = (semaphore.clone(), inside.clone());
            move || {
                let (semaphore, inside) = (semaphore.clone(), inside.clone());
                async move {
                    for _ in 0..50 {
                        let _permit = semaphore.acquire_async().await;
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < 2);
                        sleep_async(Duration::ZERO).await;
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            }
        };
        let blocking: Vec<_> = (0..4)
            .map(|_| {
                let enter = enter.clone();
                thread::spawn(move || block_on(enter()))
            })
            .collect();
        join_all((0..4).map(|_| enter())).await;
        join_all(blocking.into_iter().map(IntoFuture::into_future))
            .await
            .into_iter()
            .for_each(Result::unwrap);
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn one_who_gives_up_a_place_lets_those_behind_it_go_on() {
    let semaphore = Semaphore::new(1);
    let (_, waker) = woken();
    let mut context = Context::from_waker(&waker);
    let held = semaphore.acquire();
    {
        let mut many = pin!(semaphore.acquire_many_async(3));
        let mut one = pin!(semaphore.acquire_async());
        assert!(many.as_mut().poll(&mut context).is_pending());
        assert!(one.as_mut().poll(&mut context).is_pending());
        drop(held);
        assert!(
            one.as_mut().poll(&mut context).is_pending(),
            "it is not its turn"
        );
        many.set(semaphore.acquire_many_async(3));
        assert!(one.as_mut().poll(&mut context).is_ready());
    }
    // One that has been given a permit and is dropped gives it back.
    let held = semaphore.acquire();
    {
        let mut one = pin!(semaphore.acquire_async());
        assert!(one.as_mut().poll(&mut context).is_pending());
        drop(held);
        assert_eq!(semaphore.available_permits(), 0);
    }
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
fn a_token_and_whatever_is_selectable_is_awaited() {
    in_each_executor(|| async {
        let token = CancelToken::new();
        let (one, two) = (token.child(), token.clone());
        let cancels = thread::spawn(move || two.cancel());
        futures::join!(one.wait_async(), async {
            ready_async(&token).await.unwrap();
        });
        ready_async(&cancels).await.unwrap();
        cancels.await.unwrap();
    });
}

#[test]
fn a_waker_that_panics_harms_nobody() {
    struct Panics(Notify);

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            self.0.notify_one();
            panic!("of the waker");
        }
    }

    each_worker_count(|runtime| {
        runtime.run(|| {
            let panics = Arc::new(Panics(Notify::new()));
            let waker = Waker::from(panics.clone());
            let mut context = Context::from_waker(&waker);
            let sleep = loop {
                let mut sleep = Box::pin(sleep_async(Duration::from_millis(1)));
                if sleep.as_mut().poll(&mut context).is_pending() {
                    break sleep;
                }
            };
            panics.0.wait();
            block_on(sleep);
        });
    });
}

#[test]
fn a_select_waits_for_futures_among_others() {
    on_each_mode(|| {
        let (sender, receiver) = bounded::<u32>(1);
        let got = select! {
            future(sleep_async(Duration::from_millis(1))) -> () => "slept",
            recv(receiver) -> _ => "received",
        };
        assert_eq!(got, "slept");

        // One that is lent is polled on in the next select.
        let parks = thread::spawn(thread::park);
        let parked = parks.thread().clone();
        let mut handle = parks.into_future();
        let mut sent = 0;
        let joined = loop {
            select! {
                future(&mut handle) -> joined => break joined,
                send(sender, 1) -> _ => {
                    sent += 1;
                    parked.unpark();
                }
                recv(receiver) -> got => assert_eq!(got, Ok(1)),
            }
            thread::yield_now();
        };
        joined.unwrap();
        assert!(sent > 0);
        while receiver.try_recv().is_ok() {}

        let waits = thread::spawn({
            let receiver = receiver.clone();
            move || {
                select! {
                    future(std::future::pending::<()>()) -> () => unreachable!("it never comes"),
                    future(receiver.recv_async()) -> got => got,
                    default(Duration::from_secs(300)) => Err(RecvError),
                }
            }
        });
        sender.send(7).unwrap();
        assert_eq!(waits.join().unwrap(), Ok(7));
        let nothing = select! {
            future(receiver.recv_async()) -> _ => false,
            default => true,
        };
        assert!(nothing);
    });
}
