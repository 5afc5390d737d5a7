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
use std::time::Duration;

use crate::channel;

pub use crate::channel::{RecvError, RecvTimeoutError, TryRecvError};

/// Makes a channel for one message.
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

    /// Whether the receiver is gone, so that nobody wants the message any more.
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

    /// Gives the message if it has come.
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

    /// The receiver as a select takes it.
    pub fn as_channel(&self) -> &channel::Receiver<T> {
        &self.0
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
