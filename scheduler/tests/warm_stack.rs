//! `on_warm_stack`: futures that are polled on stacks which workers lend.

mod common;
#[path = "common/executors.rs"]
mod executors;

use std::future::{self, Future};
use std::hint::black_box;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use common::{lone_worker, on_each_mode, on_each_worker_count, stacks_returned};
use executors::in_each_executor;
use roving_scheduler::thread::{self, Builder as Thread};
use roving_scheduler::time::sleep_async;
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{
    Builder, await_, block_on, coroutine, deadline, greenly, on_warm_stack, stacks,
};

/// An address in the frame of whoever calls this.
#[inline(always)]
fn here() -> usize {
    let here = 0_u8;
    black_box(&raw const here).addr()
}

/// Whether two addresses of one thread are on different stacks.
fn are_apart(one: usize, other: usize) -> bool {
    one.abs_diff(other) > thread::stack_usage().unwrap().size / 2
}

/// Where it is polled, so many times.
struct Polls<'a>(Vec<usize>, usize, &'a dyn Fn());

impl Future for Polls<'_> {
    type Output = Vec<usize>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Vec<usize>> {
        self.0.push(here());
        (self.2)();
        if self.0.len() == self.1 {
            return Poll::Ready(std::mem::take(&mut self.0));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

fn polls(times: usize, each: &dyn Fn()) -> Polls<'_> {
    Polls(Vec::new(), times, each)
}

#[test]
fn all_poll_on_one_stack_that_is_not_theirs() {
    let _stacks = stacks_returned();
    lone_worker().run(|| {
        let threads: Vec<_> = (0..20)
            .map(|_| {
                thread::spawn(|| {
                    let polled = block_on(on_warm_stack(polls(10, &|| ())));
                    assert!(polled.iter().all(|&at| are_apart(at, here())));
                    polled
                })
            })
            .collect();
        let polled: Vec<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(polled.len(), 200);
        assert!(polled.iter().all(|&at| !are_apart(at, polled[0])));
    });
}

/// What blocks in a poll keeps what it has there, and goes from worker to worker with it.
#[test]
fn a_poll_that_blocks_keeps_its_stack() {
    let test = || {
        let threads: Vec<_> = (0..30_u8)
            .map(|n| {
                thread::spawn(move || {
                    let blocks = || {
                        let kept = black_box([n; 4096]);
                        let at = here();
                        match n % 3 {
                            0 => thread::sleep(Duration::from_micros(100)),
                            1 => thread::spawn(thread::yield_now).join().unwrap(),
                            _ => thread::yield_now(),
                        }
                        assert!(!are_apart(at, here()));
                        assert!(black_box(&kept).iter().all(|&kept| kept == n));
                    };
                    block_on(on_warm_stack(polls(5, &blocks))).len()
                })
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 5);
        }
    };
    on_each_mode(test);
    let _stacks = stacks_returned();
    for workers in common::WORKER_COUNTS {
        let builder = Builder::new().workers(workers).migrate_always(true);
        builder.build().unwrap().run(test);
    }
}

#[test]
fn what_unwinds_out_of_a_poll_goes_on_in_the_thread() {
    on_each_mode(|| {
        let panics = || block_on(on_warm_stack(async { panic!("of the future") }));
        let payload = panic::catch_unwind(panics).unwrap_err();
        assert_eq!(common::message(&*payload), "of the future");

        let (begun, dropped) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let blocks = || {
            struct Blocks<'a>(&'a AtomicUsize);
            impl Drop for Blocks<'_> {
                fn drop(&mut self) {
                    thread::sleep(Duration::from_micros(10));
                    thread::yield_now();
                    self.0.fetch_add(1, Ordering::Relaxed);
                }
            }
            let _blocks = Blocks(&dropped);
            begun.fetch_add(1, Ordering::Relaxed);
            thread::park();
        };
        let soon = Duration::from_millis(1);
        // The time may be up before it begins.
        assert!(deadline(soon, || block_on(on_warm_stack(polls(1, &blocks)))).is_err());
        let cancelled = thread::scope(|scope| {
            let before = begun.load(Ordering::Relaxed);
            let parks = scope.spawn(|| block_on(on_warm_stack(polls(1, &blocks))));
            while begun.load(Ordering::Relaxed) == before {
                thread::yield_now();
            }
            parks.cancel();
            parks.join().unwrap_err()
        });
        assert!(cancelled.is::<Cancelled>());
        assert_eq!(
            dropped.load(Ordering::Relaxed),
            begun.load(Ordering::Relaxed)
        );
        // And all is as it was.
        assert_eq!(block_on(on_warm_stack(async { 1 })), 1);
    });
}

#[test]
fn one_poll_in_another_is_on_the_same_stack() {
    on_each_mode(|| {
        let outer = async {
            let outer = here();
            let inner = async || {
                let block = || block_on(on_warm_stack(async { thread::yield_now() }));
                let catch = panic::catch_unwind(block);
                catch.unwrap();
                here()
            };
            assert!(!are_apart(outer, block_on(on_warm_stack(inner()))));
            let values = coroutine::Generator::new(|yielder| {
                yielder.yield_(block_on(on_warm_stack(async { here() })));
                thread::yield_now();
            });
            assert_eq!(values.count(), 1);
            outer
        };
        assert!(are_apart(here(), block_on(on_warm_stack(outer))));
    });
}

#[test]
fn who_is_lent_none_polls_as_it_is() {
    let nearby = || {
        let at = block_on(on_warm_stack(async { here() }));
        assert!(at.abs_diff(here()) < 16 << 10);
    };
    nearby();
    on_each_worker_count(|| {
        // As large as it is, it may be needed.
        let larger = Thread::new().stack_size(8 << 20);
        larger.spawn(nearby).unwrap().join().unwrap();
        assert_eq!(block_on(greenly(|| await_(on_warm_stack(async { 1 })))), 1);
    });
    in_each_executor(|| on_warm_stack(sleep_async(Duration::from_micros(10))));
}

/// A stack comes back, whether its thread has blocked on it or not.
#[test]
fn no_more_are_lent_than_are_in_use() {
    let _stacks = stacks_returned();
    lone_worker().run(|| {
        let blocks = || thread::sleep(Duration::from_micros(1));
        let rounds = |count| {
            for _ in 0..count {
                let threads: Vec<_> = (0..10)
                    .map(|_| thread::spawn(move || block_on(on_warm_stack(polls(3, &blocks)))))
                    .collect();
                for thread in threads {
                    thread.join().unwrap();
                }
                let panics = || block_on(on_warm_stack(future::poll_fn(|_| panic_quietly())));
                panic::catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
            }
        };
        rounds(200);
        assert!(stacks().in_use < 200, "{}", stacks());
    });
}

fn panic_quietly() -> Poll<()> {
    panic::resume_unwind(Box::new("quiet"))
}
