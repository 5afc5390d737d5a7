//! Joining in a future: what a [`JoinHandle`] is awaited as.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{JoinHandle, Result};
use crate::protocol::watchers::Key;
use crate::wait::polled::Polled;

/// Waits for a green thread to end, and gives its result: the future of a [`JoinHandle`], in any
/// executor.
///
/// Dropping it detaches the thread, as dropping the handle does.
#[must_use = "futures do nothing unless they are polled"]
pub struct JoinFuture<T> {
    /// `None` once the result has been given.
    handle: Option<JoinHandle<T>>,
    /// Under which the thread has the ticket of the wait that has begun.
    watching: Option<Key>,
    polled: Polled,
}

/// # Examples
///
/// ```
/// use roving::{block_on, go};
///
/// let sum = block_on(async {
///     let (one, two) = (go!(|| 1), go!(|| 2));
///     one.await.unwrap() + two.await.unwrap()
/// });
/// assert_eq!(sum, 3);
/// ```
impl<T> IntoFuture for JoinHandle<T> {
    type Output = Result<T>;
    type IntoFuture = JoinFuture<T>;

    fn into_future(self) -> JoinFuture<T> {
        JoinFuture {
            handle: Some(self),
            watching: None,
            polled: Polled::default(),
        }
    }
}

impl<T> Future for JoinFuture<T> {
    type Output = Result<T>;

    /// # Panics
    ///
    /// Panics where [`JoinHandle::join`] does, and if it has given the result before.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.get_mut();
        let handle = this.handle.as_ref().expect("polled after it was ready");
        while !handle.completion().is_done() {
            handle.check_joinable();
            if this.watching.is_none() {
                this.watching = handle.completion().watch(this.polled.begin());
            } else {
                ready!(this.polled.poll(context));
                this.watching = None;
            }
        }
        this.watching = None;
        let handle = this.handle.take().expect("it is there");
        Poll::Ready(handle.take())
    }
}

impl<T> Drop for JoinFuture<T> {
    fn drop(&mut self) {
        if let (Some(handle), Some(key)) = (&self.handle, &self.watching) {
            handle.completion().unwatch(key);
        }
    }
}

impl<T> fmt::Debug for JoinFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinFuture")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
