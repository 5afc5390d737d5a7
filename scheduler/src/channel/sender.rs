//! [`Sender`].

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::{Chan, NotSent, Patience};
use super::error::{SendError, SendTimeoutError, TrySendError};

/// The sending side of a channel. Clones send to the same channel.
pub struct Sender<T> {
    pub(super) chan: Arc<Chan<T>>,
}

// SAFETY: messages go to another thread, and the sender shares none of them.
unsafe impl<T: Send> Send for Sender<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Sender<T> {}

impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}

impl<T> Sender<T> {
    /// Sends a message, blocking the current thread until there is room for it; without capacity,
    /// until it is received.
    ///
    /// # Errors
    ///
    /// The receivers are gone.
    #[track_caller]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.chan
            .send(message, Patience::Forever)
            .map_err(|(message, _)| SendError(message))
    }

    /// Sends a message if that can be done at once.
    ///
    /// # Errors
    ///
    /// There is no room, or the receivers are gone.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.chan
            .send(message, Patience::None)
            .map_err(|(message, why)| match why {
                NotSent::Disconnected => TrySendError::Disconnected(message),
                NotSent::Full | NotSent::TimedOut => TrySendError::Full(message),
            })
    }

    /// Sends a message, waiting for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The time was over, or the receivers are gone.
    #[track_caller]
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_within(message, Instant::now().checked_add(timeout))
    }

    /// Sends a message, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// The time was over, or the receivers are gone.
    #[track_caller]
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_within(message, Some(deadline))
    }

    fn send_within(
        &self,
        message: T,
        deadline: Option<Instant>,
    ) -> Result<(), SendTimeoutError<T>> {
        self.chan
            .send(message, Patience::Until(deadline))
            .map_err(|(message, why)| match why {
                NotSent::Disconnected => SendTimeoutError::Disconnected(message),
                NotSent::Full | NotSent::TimedOut => SendTimeoutError::Timeout(message),
            })
    }

    /// Returns whether no message is in the channel. One without capacity is always empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether there is no room in the channel. One without capacity is always full.
    pub fn is_full(&self) -> bool {
        self.chan.is_full()
    }

    /// Returns how many messages are in the channel.
    pub fn len(&self) -> usize {
        self.chan.len()
    }

    /// Returns the capacity; `None` if it is unbounded.
    pub fn capacity(&self) -> Option<usize> {
        self.chan.capacity()
    }

    /// Whether the receivers are gone.
    pub(crate) fn is_disconnected(&self) -> bool {
        self.chan.receivers_are_gone()
    }

    /// Returns whether both send to one channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chan, &other.chan)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.chan.add_sender();
        Self {
            chan: self.chan.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.chan.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}
