//! [`Receiver`] and its iterators.

use std::fmt;
use std::iter::FusedIterator;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::{Chan, NotReceived, Patience};
use super::error::{RecvError, RecvTimeoutError, TryRecvError};
use super::timer::Clock;
use crate::thread;
use crate::wait;

/// The receiving side of a channel. Clones share it: each message goes to one of them.
pub struct Receiver<T> {
    pub(super) source: Source<T>,
}

/// Where messages come from.
pub(super) enum Source<T> {
    Chan(Arc<Chan<T>>),
    Clock(Arc<dyn Clock<T>>),
    Never,
}

// SAFETY: messages come from another thread, and the receiver shares none of them.
unsafe impl<T: Send> Send for Receiver<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Receiver<T> {}

impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    pub(super) fn of_chan(chan: Arc<Chan<T>>) -> Self {
        Self {
            source: Source::Chan(chan),
        }
    }

    pub(super) fn of_clock(clock: Arc<dyn Clock<T>>) -> Self {
        Self {
            source: Source::Clock(clock),
        }
    }

    pub(super) fn of_nothing() -> Self {
        Self {
            source: Source::Never,
        }
    }

    /// Receives a message, blocking the current thread until there is one.
    ///
    /// # Errors
    ///
    /// There is none, and the senders are gone.
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receive(Patience::Forever).map_err(|_| RecvError)
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    ///
    /// There is none; the error says whether there may be one later.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.receive(Patience::None).map_err(|why| match why {
            NotReceived::Disconnected => TryRecvError::Disconnected,
            NotReceived::Empty | NotReceived::TimedOut => TryRecvError::Empty,
        })
    }

    /// Receives a message, waiting for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The time was over, or there is no message and the senders are gone.
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.receive_within(Instant::now().checked_add(timeout))
    }

    /// Receives a message, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// The time was over, or there is no message and the senders are gone.
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.receive_within(Some(deadline))
    }

    fn receive_within(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        self.receive(Patience::Until(deadline))
            .map_err(|why| match why {
                NotReceived::Disconnected => RecvTimeoutError::Disconnected,
                NotReceived::Empty | NotReceived::TimedOut => RecvTimeoutError::Timeout,
            })
    }

    #[track_caller]
    fn receive(&self, patience: Patience) -> Result<T, NotReceived> {
        match &self.source {
            Source::Chan(chan) => chan.receive(patience),
            Source::Clock(clock) => receive_time(&**clock, patience),
            Source::Never => receive_nothing(patience),
        }
    }

    /// Returns whether no message is in the channel. One without capacity is always empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether there is no room in the channel. One without capacity is always full.
    pub fn is_full(&self) -> bool {
        match &self.source {
            Source::Chan(chan) => chan.is_full(),
            Source::Clock(_) => self.len() == 1,
            Source::Never => true,
        }
    }

    /// Returns how many messages are in the channel.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Chan(chan) => chan.len(),
            Source::Clock(clock) => {
                usize::from(clock.next().is_some_and(|next| next <= Instant::now()))
            }
            Source::Never => 0,
        }
    }

    /// Returns the capacity; `None` if it is unbounded.
    pub fn capacity(&self) -> Option<usize> {
        match &self.source {
            Source::Chan(chan) => chan.capacity(),
            Source::Clock(_) => Some(1),
            Source::Never => Some(0),
        }
    }

    /// Returns whether both receive from one channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        match (&self.source, &other.source) {
            (Source::Chan(one), Source::Chan(two)) => Arc::ptr_eq(one, two),
            (Source::Clock(one), Source::Clock(two)) => Arc::ptr_eq(one, two),
            (Source::Never, Source::Never) => true,
            _ => false,
        }
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

/// Why one waits for what comes of itself, or does not.
const NEVER: wait::Lasting = wait::Lasting("recv on a channel that never has a message");
const TIME: &str = "recv on a channel of times";

#[track_caller]
fn receive_nothing<T>(patience: Patience) -> Result<T, NotReceived> {
    match patience {
        Patience::None => return Err(NotReceived::Empty),
        Patience::Until(deadline) => wait::begin().why(&NEVER).block_timed(deadline),
        Patience::Forever => wait::begin().why(&NEVER).block(None),
    };
    Err(NotReceived::TimedOut)
}

#[track_caller]
fn receive_time<T>(clock: &dyn Clock<T>, patience: Patience) -> Result<T, NotReceived> {
    loop {
        if let Some(time) = clock.take() {
            return Ok(clock.message(time));
        }
        let next = clock.next();
        match patience {
            Patience::None => {
                thread::polled_in_vain();
                return Err(NotReceived::Empty);
            }
            Patience::Until(Some(deadline)) if next.is_none_or(|next| deadline < next) => {
                wait::begin().why(&TIME).block_timed(Some(deadline));
                // The last message may have come with the deadline.
                return match clock.take() {
                    Some(time) => Ok(clock.message(time)),
                    None => Err(NotReceived::TimedOut),
                };
            }
            _ => match next {
                Some(next) => thread::sleep_until(next),
                None => drop(wait::begin().why(&NEVER).block(None)),
            },
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let source = match &self.source {
            Source::Chan(chan) => {
                chan.add_receiver();
                Source::Chan(chan.clone())
            }
            Source::Clock(clock) => Source::Clock(clock.clone()),
            Source::Never => Source::Never,
        };
        Self { source }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Source::Chan(chan) = &self.source {
            chan.remove_receiver();
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}

/// Iterates over messages, blocking for each: see [`Receiver::iter`].
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

/// Iterates over what can be received at once: see [`Receiver::try_iter`].
pub struct TryIter<'a, T> {
    receiver: &'a Receiver<T>,
}

/// Iterates over messages, blocking for each, and owns the receiver.
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> FusedIterator for Iter<'_, T> {}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> FusedIterator for IntoIter<T> {}

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

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Iter { .. }")
    }
}

impl<T> fmt::Debug for TryIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("TryIter { .. }")
    }
}

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("IntoIter { .. }")
    }
}
