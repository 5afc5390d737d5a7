//! Joining in a future: what a [`JoinHandle`] and a [`ScopedJoinHandle`] are awaited as.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{JoinHandle, Result, ScopedJoinHandle};
use crate::protocol::watchers::Key;
use crate::wait::polled::Polled;

/// Waits for a green thread to end, and returns its result: the future of a [`JoinHandle`], in any
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

/// Waits for a thread of a [`scope`](super::scope()) to end, and returns its result: the future of a
/// [`ScopedJoinHandle`], in any executor.
///
/// It stays in the scope, as the handle does. Dropping it leaves the thread to the end of the scope, and so
/// does leaking it.
#[must_use = "futures do nothing unless they are polled"]
pub struct ScopedJoinFuture<'scope, T> {
    join: JoinFuture<T>,
    scope: PhantomData<&'scope mut &'scope ()>,
}

/// # Examples
///
/// ```
/// use roving::{block_on, thread};
///
/// let words = ["green", "threads"];
/// let length = thread::scope(|scope| {
///     let [one, two] = words.each_ref().map(|word| scope.spawn(|| word.len()));
///     block_on(async { one.await.unwrap() + two.await.unwrap() })
/// });
/// assert_eq!(length, 12);
/// ```
impl<'scope, T> IntoFuture for ScopedJoinHandle<'scope, T> {
    type Output = Result<T>;
    type IntoFuture = ScopedJoinFuture<'scope, T>;

    fn into_future(self) -> ScopedJoinFuture<'scope, T> {
        ScopedJoinFuture {
            join: self.into_handle().into_future(),
            scope: PhantomData,
        }
    }
}

impl<T> Future for ScopedJoinFuture<'_, T> {
    type Output = Result<T>;

    /// # Panics
    ///
    /// Panics where [`ScopedJoinHandle::join`] does, and if it has given the result before.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        Pin::new(&mut self.join).poll(context)
    }
}

impl<T> fmt::Debug for ScopedJoinFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinFuture").finish_non_exhaustive()
    }
}
