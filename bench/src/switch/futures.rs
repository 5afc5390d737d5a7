//! Futures and blocking code in each other.

use anyhow::Result;
use roving::{ThreadLocals, await_, block_on, greenly};
use std::future::{self, Future};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::bare::each;
use super::green;

const CALLS: u32 = 100_000;

/// A future that is ready, as far as a compiler can tell by chance.
async fn ready() -> u32 {
    black_box(1)
}

/// A future that is made and polled to its end.
pub(super) fn polled() -> f64 {
    each(CALLS, || {
        for _ in 0..CALLS {
            let future = pin!(ready());
            let future: Pin<&mut dyn Future<Output = u32>> = black_box(future);
            let _: Poll<u32> = black_box(future.poll(&mut Context::from_waker(Waker::noop())));
        }
    })
}

/// The same by a thread that blocks for it, green or not.
pub(super) fn blocked_on() -> f64 {
    each(CALLS, || {
        for _ in 0..CALLS {
            black_box(block_on(ready()));
        }
    })
}

pub(super) fn blocked_on_by_a_green_thread() -> Result<f64> {
    // What is measured never suspends, so it is the same in all modes.
    let runtime = green::runtime(ThreadLocals::Pinned, 1)?;
    Ok(runtime.run(blocked_on))
}

/// Code on a stack of its own that ends when it is first polled.
pub(super) fn begun_and_ended() -> f64 {
    let mut context = Context::from_waker(Waker::noop());
    each(CALLS, || {
        for _ in 0..CALLS {
            let mut begins = greenly(|| black_box(1));
            assert!(Pin::new(&mut begins).poll(&mut context).is_ready());
        }
    })
}

/// A poll of code that awaits what is pending: it goes on, asks, and is set aside.
pub(super) fn suspended() -> f64 {
    let mut asks = greenly(|| {
        for _ in 0..=CALLS {
            let mut is_pending = false;
            await_(future::poll_fn(move |_| {
                is_pending = !is_pending;
                if is_pending {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            }));
        }
    });
    let mut context = Context::from_waker(Waker::noop());
    let mut poll = || Pin::new(&mut asks).poll(&mut context);
    assert!(poll().is_pending());
    let nanoseconds = each(CALLS, || {
        for _ in 0..CALLS {
            assert!(poll().is_pending());
        }
    });
    assert!(poll().is_ready());
    nanoseconds
}
