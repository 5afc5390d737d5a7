//! Channels with one receiver, as `std::sync::mpsc` has them: std's names on
//! [channel](mod@crate::channel), of which they are the same channels. The errors are std's own.
//!
//! # Examples
//!
//! ```
//! use roving::sync::mpsc;
//! use roving::thread;
//!
//! let (sender, receiver) = mpsc::channel();
//! thread::spawn(move || sender.send(42).unwrap());
//! assert_eq!(receiver.recv(), Ok(42));
//! ```

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::RefUnwindSafe;
use std::time::Duration;

use crate::channel;

pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// Creates a channel that holds any number of messages: sending never blocks.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = channel::unbounded();
    (Sender(sender), Receiver::new(receiver))
}

/// Creates a channel that holds `bound` messages. With 0 each message is handed from sender to receiver, which
/// wait for each other.
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (sender, receiver) = channel::bounded(bound);
    (SyncSender(sender), Receiver::new(receiver))
}

/// The sending side of a [`channel()`].
pub struct Sender<T>(channel::Sender<T>);

/// The sending side of a [`sync_channel`].
pub struct SyncSender<T>(channel::Sender<T>);

/// The receiving side of a channel. There is one.
pub struct Receiver<T> {
    receiver: channel::Receiver<T>,
    /// As std's, it is used by one thread at a time.
    _not_sync: PhantomData<Cell<()>>,
}

// What is done with it is done in one step, as with std's.
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Sender<T> {
    /// Sends a message. Never blocks.
    ///
    /// # Errors
    ///
    /// The receiver is gone.
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.0
            .send(t)
            .map_err(|channel::SendError(message)| SendError(message))
    }
}

impl<T> SyncSender<T> {
    /// Sends a message, blocking the current thread until there is room for it, or, without
    /// capacity, until it is received.
    ///
    /// # Errors
    ///
    /// The receiver is gone.
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.0
            .send(t)
            .map_err(|channel::SendError(message)| SendError(message))
    }

    /// Sends a message: [`send`](Self::send) in a future, in any executor.
    ///
    /// If it is dropped before it has sent the message, it drops the message.
    ///
    /// # Errors
    ///
    /// The receiver is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::mpsc;
    /// use roving::{block_on, thread};
    ///
    /// let (sender, receiver) = mpsc::sync_channel(1);
    /// let received = thread::spawn(move || receiver.iter().sum::<u32>());
    /// block_on(async move {
    ///     for n in 0..4 {
    ///         sender.send_async(n).await.unwrap();
    ///     }
    /// });
    /// assert_eq!(received.join().unwrap(), 6);
    /// ```
    pub async fn send_async(&self, t: T) -> Result<(), SendError<T>> {
        let sent = self.0.send_async(t).await;
        sent.map_err(|channel::SendError(message)| SendError(message))
    }

    /// Sends a message if that can be done at once.
    ///
    /// # Errors
    ///
    /// There is no room, or the receiver is gone.
    pub fn try_send(&self, t: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(t).map_err(|error| match error {
            channel::TrySendError::Full(message) => TrySendError::Full(message),
            channel::TrySendError::Disconnected(message) => TrySendError::Disconnected(message),
        })
    }
}

impl<T> Receiver<T> {
    fn new(receiver: channel::Receiver<T>) -> Self {
        Self {
            receiver,
            _not_sync: PhantomData,
        }
    }

    /// Receives a message, blocking the current thread until there is one.
    ///
    /// # Errors
    ///
    /// There is none, and the senders are gone.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receiver.recv().map_err(|_| RecvError)
    }

    /// Receives a message: [`recv`](Self::recv) in a future, in any executor.
    ///
    /// It is cancel-safe: if it is dropped before it completes, no message is lost. It borrows the
    /// receiver mutably, since that is for one at a time.
    ///
    /// # Errors
    ///
    /// There is none, and the senders are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::mpsc;
    /// use roving::{block_on, thread};
    ///
    /// let (sender, mut receiver) = mpsc::sync_channel(0);
    /// thread::spawn(move || block_on(sender.send_async(42)).unwrap());
    /// assert_eq!(block_on(receiver.recv_async()), Ok(42));
    /// ```
    pub fn recv_async(&mut self) -> impl Future<Output = Result<T, RecvError>> {
        let receives = self.receiver.recv_async();
        async { receives.await.map_err(|_| RecvError) }
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    ///
    /// There is none; the error says whether there may be one later.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.receiver.try_recv().map_err(|error| match error {
            channel::TryRecvError::Empty => TryRecvError::Empty,
            channel::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }

    /// Receives a message, waiting for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The time was over, or there is no message and the senders are gone.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.receiver
            .recv_timeout(timeout)
            .map_err(|error| match error {
                channel::RecvTimeoutError::Timeout => RecvTimeoutError::Timeout,
                channel::RecvTimeoutError::Disconnected => RecvTimeoutError::Disconnected,
            })
    }

    /// Iterates over messages, blocking for each, until the senders are gone.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// Iterates over the messages that can be received at once.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }
}

/// Iterates over messages, blocking for each: see [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T: 'a> {
    receiver: &'a Receiver<T>,
}

/// Iterates over what can be received at once: see [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T: 'a> {
    receiver: &'a Receiver<T>,
}

/// Iterates over messages, blocking for each, and owns the receiver.
#[derive(Debug)]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
