//! Guests that are polled on another OS thread each time: what a thread holds, they hold.

use std::cell::Cell;
use std::future::{self, Future};
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use roving::channel::bounded;
use roving::sync::Mutex;
use roving::{await_, block_on, greenly, thread};
use roving_soundness::{ROUNDS, holding, nothing_is_held, on_moving_hosts, os_thread, suspend};

/// Is pending once, and woken at once.
fn yields() -> impl Future<Output = ()> + Send {
    let mut has_yielded = false;
    future::poll_fn(move |context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Suspends the current guest in one of several ways.
#[inline(always)]
fn suspend_guest(way: usize) {
    match way % 6 {
        4 => await_(yields()),
        5 => block_on(yields()),
        way => suspend(way),
    }
}

#[test]
fn what_a_thread_holds_it_holds_wherever_it_is_polled() {
    on_moving_hosts(|number| {
        holding(number, |held| {
            let mut moves = 0;
            for round in 0..ROUNDS {
                let before = os_thread();
                suspend_guest(number + round);
                moves += usize::from(os_thread() != before);
                held.is_mine();
            }
            assert!(moves >= ROUNDS / 4, "it has moved {moves} times");
        });
        assert!(nothing_is_held());
    });
}

#[test]
fn guests_share_locks_and_channels_as_threads_do() {
    let lock = Arc::new(Mutex::new(0));
    let (sender, receiver) = bounded::<usize>(1);
    let sums = thread::spawn(move || receiver.iter().sum::<usize>());
    let counts = lock.clone();
    on_moving_hosts(move |number| {
        holding(number, |held| {
            for round in 0..ROUNDS / 5 {
                let mut count = counts.lock().unwrap();
                let seen = *count;
                suspend_guest(round);
                *count = seen + 1;
                drop(count);
                held.is_mine();
                sender.send(1).unwrap();
                held.is_mine();
            }
        });
    });
    assert_eq!(sums.join().unwrap(), *lock.lock().unwrap());
}

#[test]
fn a_guest_unwinds_and_its_hosts_do_not() {
    panic::set_hook(Box::new(|_| ()));
    struct MovesInDrop<'a>(&'a roving_soundness::Held<'a>);

    impl Drop for MovesInDrop<'_> {
        fn drop(&mut self) {
            for way in 0..6 {
                self.0.is_mine_in_a_panic();
                suspend_guest(way);
            }
            self.0.is_mine_in_a_panic();
        }
    }

    on_moving_hosts(|number| {
        holding(number, |held| {
            for round in 0..ROUNDS / 10 {
                let caught = panic::catch_unwind(AssertUnwindSafe(|| {
                    let _moves = MovesInDrop(held);
                    suspend_guest(round);
                    panic::panic_any(round);
                }));
                assert_eq!(caught.unwrap_err().downcast_ref(), Some(&round));
                held.is_mine();
            }
        });
    });
}

#[test]
fn what_it_awaits_sees_the_hosts_thread_locals() {
    thread_local!(static LOCAL: Cell<usize> = const { Cell::new(0) });
    on_moving_hosts(|number| {
        LOCAL.set(number + 1);
        for _ in 0..ROUNDS {
            let of_host = await_(async {
                yields().await;
                LOCAL.get()
            });
            assert_eq!(of_host, 0);
            assert_eq!(LOCAL.get(), number + 1);
        }
    });
}

#[test]
fn a_guest_in_a_guest_on_a_green_thread() {
    fn nested(number: usize, depth: usize) {
        holding(number + depth, |held| {
            suspend_guest(depth);
            held.is_mine();
            if depth > 0 {
                let inner = greenly(move || nested(number, depth - 1));
                if depth.is_multiple_of(2) {
                    block_on(inner);
                } else {
                    await_(inner);
                }
            }
            thread::sleep(Duration::from_micros(1));
            held.is_mine();
        });
    }

    on_moving_hosts(|number| {
        for round in 0..ROUNDS / 20 {
            nested(number, round % 10);
            let green = thread::spawn(move || block_on(greenly(move || nested(number, 4))));
            green.join().unwrap();
        }
    });
}

#[test]
fn ten_guests_in_each_other_end_each_way_wherever_they_are() {
    #[derive(Clone, Copy, PartialEq)]
    enum End {
        Value,
        Panic,
        /// The outermost is dropped.
        Never,
    }

    struct Holds<'a>(&'a roving_soundness::Held<'a>, Arc<AtomicUsize>);

    impl Drop for Holds<'_> {
        fn drop(&mut self) {
            let is_mine = || match std::thread::panicking() {
                true => self.0.is_mine_in_a_panic(),
                false => self.0.is_mine(),
            };
            is_mine();
            suspend_guest(self.1.fetch_add(1, Ordering::SeqCst));
            is_mine();
        }
    }

    fn nested(number: usize, depth: usize, end: End, dropped: Arc<AtomicUsize>) -> usize {
        holding(number + depth, |held| {
            let _holds = Holds(held, dropped.clone());
            suspend_guest(number + depth);
            held.is_mine();
            if depth == 0 {
                match end {
                    End::Value => return 0,
                    End::Panic => panic::panic_any(number),
                    End::Never => await_(future::pending()),
                }
            }
            let inner = greenly(move || nested(number, depth - 1, end, dropped));
            let sum = match depth % 2 {
                0 => await_(inner),
                _ => block_on(inner),
            };
            held.is_mine();
            sum + depth
        })
    }

    panic::set_hook(Box::new(|_| ()));
    on_moving_hosts(|number| {
        for round in 0..ROUNDS / 10 {
            let end = [End::Value, End::Panic, End::Never][round % 3];
            let dropped = Arc::new(AtomicUsize::new(0));
            let counts = dropped.clone();
            let mut outermost = Box::pin(greenly(move || nested(number, 9, end, counts)));
            match end {
                End::Value => assert_eq!(await_(outermost), 45),
                End::Panic => {
                    let caught = panic::catch_unwind(AssertUnwindSafe(|| await_(outermost)));
                    assert_eq!(caught.unwrap_err().downcast_ref(), Some(&number));
                }
                End::Never => {
                    for _ in 0..number + round {
                        await_(future::poll_fn(|context| {
                            assert!(outermost.as_mut().poll(context).is_pending());
                            Poll::Ready(())
                        }));
                        suspend_guest(round);
                    }
                    drop(outermost);
                }
            }
            let count = dropped.load(Ordering::SeqCst);
            assert!(count == 10 || end == End::Never && count <= 10);
        }
    });
}

#[test]
fn one_that_is_dropped_anywhere_unwinds_there() {
    on_moving_hosts(|number| {
        for round in 0..ROUNDS / 10 {
            let (sender, receiver) = bounded::<()>(1);
            let mut inner: Pin<Box<_>> = Box::pin(greenly(move || {
                holding(number, |held| {
                    struct Says<'a>(&'a roving_soundness::Held<'a>);

                    impl Drop for Says<'_> {
                        fn drop(&mut self) {
                            suspend_guest(0);
                            self.0.is_mine_in_a_panic();
                            suspend_guest(4);
                            self.0.is_mine_in_a_panic();
                        }
                    }
                    let _says = Says(held);
                    receiver.recv()
                })
            }));
            await_(future::poll_fn(|context| {
                assert!(inner.as_mut().poll(context).is_pending());
                Poll::Ready(())
            }));
            suspend_guest(round);
            drop(inner);
            assert!(sender.send(()).is_err());
        }
    });
}
