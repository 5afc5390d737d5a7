//! Futures that go deep, on stacks that are in the cache: [`on_warm_stack`].

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::run::lent_stack;

/// Creates a future that is polled on a stack which the worker lends.
///
/// [`block_on`](crate::block_on()) polls on the stack of the green thread that wants the value. With thousands of
/// green threads, a future that goes deep in each poll, such as those of hyper, finds a stack there that has left the
/// processor's caches. The stack that a worker lends was in use a moment ago: what that gains is in the chapter
/// `performance`. A future that is shallow, or polled on few threads, gains nothing.
///
/// In the poll all is as it would be otherwise, but for these:
///
/// - A thread that blocks in it, and does not just let it be pending, keeps the stack until the poll has returned,
///   beside its own.
/// - Whoever asks the C library for the bounds of the thread's stack gets those of its own, and
///   [`stack_usage`](crate::thread::stack_usage) tells of that too. Code that compares them with the stack
///   pointer, to grow the stack in time, is not for such a poll.
///
/// Only a green thread is lent one, whose own stack is not larger than the runtime's are by default. Any other
/// thread, and any executor, polls the future as it is; so does everybody with `ROVING_STACK_REPORT=1`, and where the
/// system refuses a stack. So the thread's own has to be large enough for it all the same.
///
/// # Examples
///
/// ```
/// use roving::{block_on, go, on_warm_stack};
///
/// async fn sum(of: &[u32]) -> u32 {
///     of.iter().sum()
/// }
///
/// let sums = go!(|| block_on(on_warm_stack(sum(&[1, 2, 3]))));
/// assert_eq!(sums.join().unwrap(), 6);
/// ```
pub fn on_warm_stack<F: IntoFuture>(future: F) -> OnWarmStack<F::IntoFuture> {
    OnWarmStack {
        future: future.into_future(),
    }
}

/// A future that is polled on another stack: see [`on_warm_stack`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are polled"]
pub struct OnWarmStack<F> {
    future: F,
}

impl<F: Future> Future for OnWarmStack<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future is pinned as this is, which has no destructor, moves it nowhere, and is `Unpin` if
        // the future is.
        let future = unsafe { self.map_unchecked_mut(|this| &mut this.future) };
        lent_stack::on(|| future.poll(context))
    }
}
