//! A channel for one message: [`channel()`].
//!
//! # Examples
//!
//! ```
//! use roving::sync::oneshot;
//! use roving::thread;
//!
//! let (sender, receiver) = oneshot::channel();
//! thread::spawn(move || sender.send("answer"));
//! assert_eq!(receiver.recv(), Ok("answer"));
//! ```

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::channel::{self, RecvFuture};

pub use crate::channel::{RecvError, RecvTimeoutError, TryRecvError};

/// Creates a channel for one message.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = channel::bounded(1);
    (Sender(sender), Receiver(receiver))
}

/// Sends the one message.
pub struct Sender<T>(channel::Sender<T>);

/// Receives the one message. A select takes it by [`as_channel`](Self::as_channel).
pub struct Receiver<T>(channel::Receiver<T>);

impl<T> Sender<T> {
    /// Sends the message. Never blocks.
    ///
    /// # Errors
    ///
    /// The receiver is gone; the message comes back.
    pub fn send(self, message: T) -> Result<(), T> {
        self.0.send(message).map_err(|error| error.into_inner())
    }

    /// Returns whether the receiver is gone, so that the message is no longer wanted.
    pub fn is_closed(&self) -> bool {
        self.0.is_disconnected()
    }
}

impl<T> Receiver<T> {
    /// Blocks the current thread until the message comes.
    ///
    /// # Errors
    ///
    /// The sender was dropped.
    pub fn recv(self) -> Result<T, RecvError> {
        self.0.recv()
    }

    /// Waits for the message: [`recv`](Self::recv) in a future, in any executor. `.await` on the receiver
    /// itself takes it along.
    ///
    /// It is cancel-safe: if it is dropped before it completes, the message is left for the next.
    ///
    /// # Errors
    ///
    /// The sender was dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::oneshot;
    /// use roving::time::{Duration, timeout};
    /// use roving::{block_on, thread};
    ///
    /// let (sender, receiver) = oneshot::channel();
    /// thread::spawn(move || sender.send("done"));
    /// assert_eq!(block_on(receiver.recv_async()), Ok("done"));
    ///
    /// let (sender, receiver) = oneshot::channel::<u8>();
    /// drop(sender);
    /// assert!(block_on(async { receiver.await }).is_err());
    /// ```
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        self.0.recv_async()
    }

    /// Returns the message if it has come.
    ///
    /// # Errors
    ///
    /// It has not come yet, or will not.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.try_recv()
    }

    /// Waits for the message for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// It has not come in time, or will not.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.0.recv_timeout(timeout)
    }

    /// Returns the receiver as a select takes it.
    pub fn as_channel(&self) -> &channel::Receiver<T> {
        &self.0
    }
}

/// Waits for the message: the future of a [`Receiver`], in any executor. Dropping it drops the receiver.
#[must_use = "futures do nothing unless they are polled"]
pub struct Recv<T>(Pin<Box<dyn Future<Output = Result<T, RecvError>> + Send>>);

/// # Examples
///
/// ```
/// use roving::sync::oneshot;
/// use roving::{block_on, thread};
///
/// let (sender, receiver) = oneshot::channel();
/// thread::spawn(move || sender.send("answer"));
/// assert_eq!(block_on(receiver), Ok("answer"));
/// ```
impl<T: Send + 'static> IntoFuture for Receiver<T> {
    type Output = Result<T, RecvError>;
    type IntoFuture = Recv<T>;

    fn into_future(self) -> Recv<T> {
        Recv(Box::pin(async move { self.recv_async().await }))
    }
}

impl<T> Future for Recv<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<T> fmt::Debug for Recv<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Recv { .. }")
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}
