//! Futures that need tokio, on green threads, with a runtime of tokio beside.
//!
//! - tokio is entered at each poll and when the future is dropped, whatever the mode
//! - it is entered for as long as a green thread likes, if that has its own thread-locals
//! - where thread-locals are shared, who has entered for longer meets others, and tokio tells

mod common;

use std::future;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_compat::CompatExt;
use common::{each_worker_count, message, on_each_mode, stacks_returned, watchdog};
use roving::{Builder, Group, ThreadLocals, await_, block_on, channel, deadline, greenly, thread};
use tokio::runtime::{self, Runtime};
use tokio_util::context::RuntimeExt;

fn tokio() -> Runtime {
    let mut builder = runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_time().build().unwrap()
}

fn current() -> runtime::Id {
    runtime::Handle::current().id()
}

/// Runs `test` on a hundred green threads at once, of runtimes of each size whose green threads have their own thread-locals.
fn on_many_with_their_own(test: impl Fn(&Runtime) + Sync) {
    let tokios = [tokio(), tokio()];
    each_worker_count(|runtime| {
        if runtime.thread_locals() != ThreadLocals::Own {
            println!("not tested: green threads share thread-locals");
            return;
        }
        let test = |number: usize| {
            test(&tokios[number % 2]);
            Ok::<_, ()>(())
        };
        runtime.run(|| Group::new().map(0..100, test)).unwrap();
    });
}

async fn sleep() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[test]
fn a_thousand_green_threads_await_what_needs_tokio() {
    on_each_mode(|| {
        let tokio = tokio();
        let awaits = |number| {
            for _ in 0..3 {
                block_on(sleep().compat());
                block_on(tokio.wrap(sleep()));
                let spawns = async { tokio::spawn(async { current() }).await.unwrap() };
                let spawned_in = block_on(tokio.wrap(spawns));
                assert_eq!(spawned_in, tokio.handle().id());
            }
            let spawned = block_on(tokio.spawn(async move { number }));
            assert_eq!(spawned.unwrap(), number);
            let never = async { tokio::time::sleep(Duration::MAX).await };
            assert!(deadline(Duration::from_millis(1), || block_on(never.compat())).is_err());
            Ok::<_, ()>(())
        };
        Group::new().map(0..1_000, awaits).unwrap();
    });
}

/// Its destructor needs tokio, as that of a connection that goes back to its pool.
struct SpawnsAtItsEnd(Arc<AtomicUsize>);

impl Drop for SpawnsAtItsEnd {
    fn drop(&mut self) {
        let ended = self.0.clone();
        tokio::spawn(async move { ended.fetch_add(1, Ordering::Release) });
    }
}

#[test]
fn what_is_dropped_for_a_deadline_or_a_cancellation_finds_tokio() {
    on_each_mode(|| {
        let ended = Arc::new(AtomicUsize::new(0));
        let never = || {
            let held = SpawnsAtItsEnd(ended.clone());
            let waits = async move {
                let _held = held;
                future::pending::<()>().await;
            };
            waits.compat()
        };
        assert!(deadline(Duration::from_millis(1), || block_on(never())).is_err());
        let future = never();
        let cancelled = thread::spawn(|| block_on(future));
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        while ended.load(Ordering::Acquire) < 2 {
            thread::yield_now();
        }
    });
}

#[test]
fn with_its_own_thread_locals_each_stays_where_it_has_entered() {
    on_many_with_their_own(|mine| {
        let _entered = mine.enter();
        for _ in 0..10 {
            thread::yield_now();
            block_on(sleep());
            assert_eq!(current(), mine.handle().id());
        }
    });
}

#[test]
fn with_its_own_thread_locals_a_future_that_has_entered_may_block() {
    on_many_with_their_own(|mine| {
        let blocks = async {
            for _ in 0..10 {
                thread::sleep(Duration::from_millis(1));
                assert_eq!(current(), mine.handle().id());
                sleep().await;
            }
        };
        block_on(mine.wrap(blocks));
    });
}

#[test]
fn where_thread_locals_are_shared_tokio_tells_who_stays_entered() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let (one, other) = (tokio(), tokio());
    // A spare would run the other one with thread-locals of its own.
    let builder = Builder::new()
        .workers(1)
        .max_spares(0)
        .pinned_thread_locals();
    let runtime = builder.build().unwrap();
    let refused = runtime.run(|| {
        let (leaves, left) = channel::bounded::<()>(0);
        let entered = one.enter();
        let also_enters = || {
            let _entered = other.enter();
            let _ = left.recv();
        };
        thread::scope(|scope| {
            let neighbour = scope.spawn(also_enters);
            while current() != other.handle().id() {
                thread::yield_now();
            }
            let refused = panic::catch_unwind(AssertUnwindSafe(|| drop(entered)));
            drop(leaves);
            neighbour.join().unwrap();
            refused.unwrap_err()
        })
    });
    let told = message(&*refused);
    assert!(told.contains("dropped out of order"), "{told}");
    runtime.shutdown();
}

/// Time that stands still goes on when nothing else does: waits of ours do not keep it.
#[test]
fn the_clock_of_tokio_may_be_paused_around_blocking_code() {
    use tokio::time::{Instant, sleep};

    const LONG: Duration = Duration::from_secs(100_000);

    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let real = std::time::Instant::now();
    tokio.block_on(async {
        let start = Instant::now();
        // In code that blocks, a sleep of tokio is one of the task around it, and so is the time.
        let now = || await_(async { Instant::now() });
        let (sender, receiver) = roving::channel::bounded(1);
        let sleeps = greenly(move || {
            await_(async { sleep(LONG).await });
            sender.send(now()).unwrap();
            await_(async { sleep(2 * LONG).await });
            now()
        });
        let receives = async {
            let received = receiver.recv_async().await.unwrap();
            (received, Instant::now())
        };
        let ticks = async {
            sleep(LONG / 2).await;
            assert_eq!(start.elapsed(), LONG / 2);
        };
        let (slept, (sent, received), ()) = tokio::join!(sleeps, receives, ticks);
        assert_eq!(
            [sent - start, received - start, slept - start],
            [LONG, LONG, 3 * LONG]
        );

        // A timeout of tokio drops it, in the middle of what blocks.
        let never = greenly(thread::park);
        let ended = tokio::time::timeout(LONG, never).await;
        assert!(ended.is_err());
        assert_eq!(start.elapsed(), 4 * LONG);

        tokio::time::resume();
        tokio::time::pause();
        tokio::time::advance(LONG).await;
        assert!(start.elapsed() >= 5 * LONG);
    });

    // Green threads wait for futures that the executor polls.
    let runtime = Builder::new().workers(2).build().unwrap();
    let handle = tokio.handle();
    let waits = handle.spawn(async { sleep(LONG).await });
    let waits = runtime.spawn(move || block_on(waits).unwrap());
    tokio.block_on(waits.into_future()).unwrap();
    runtime.shutdown();
    assert!(real.elapsed() < Duration::from_secs(300));
}
