//! A channel whose messages go to all receivers: [`channel()`].
//!
//! Messages lie in a ring. Each has a number, and each receiver the number of its next one. Sending
//! never waits: when the ring is full the oldest message goes, and a receiver that has not had it
//! is told how many it has missed.
//!
//! # Examples
//!
//! ```
//! use roving::sync::broadcast;
//!
//! let (sender, one) = broadcast::channel(16);
//! let two = sender.subscribe();
//! sender.send("news").unwrap();
//! assert_eq!(one.recv(), Ok("news"));
//! assert_eq!(two.recv(), Ok("news"));
//! ```

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::condvar::Of;
use super::lock_future::sure;
use super::{Condvar, Mutex};
use crate::thread;

/// Creates a channel that keeps the last `capacity` messages for receivers that are slow.
///
/// # Panics
///
/// Panics if `capacity` is 0.
#[track_caller]
pub fn channel<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(
        capacity > 0,
        "the capacity of a broadcast channel must not be 0"
    );
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            messages: VecDeque::new(),
            first: 0,
            capacity,
            senders: 1,
            receivers: 1,
        }),
        changed: Condvar::of(Of::Broadcast),
    });
    let receiver = Receiver {
        shared: shared.clone(),
        next: AtomicU64::new(0),
    };
    (Sender { shared }, receiver)
}

struct State<T> {
    messages: VecDeque<Arc<Mutex<T>>>,
    /// The number of the first of `messages`.
    first: u64,
    capacity: usize,
    senders: usize,
    receivers: usize,
}

/// A message on its way out. Its lock lets one copy it at a time, as `T` need not be `Sync`.
struct Taken<T>(Arc<Mutex<T>>);

impl<T: Clone> Taken<T> {
    fn copy(self) -> T {
        match Arc::try_unwrap(self.0) {
            Ok(last) => sure(last.into_inner()),
            Err(shared) => {
                let message = shared.lock_sure();
                message.clone()
            }
        }
    }
}

impl<T> State<T> {
    fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn subscribe(self: &Arc<Self>) -> Receiver<T> {
        let mut state = self.state.lock_sure();
        state.receivers += 1;
        Receiver {
            shared: self.clone(),
            next: AtomicU64::new(state.end()),
        }
    }
}

/// Sends to all receivers.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// Receives all that is sent after it was made. It is used by one thread at a time.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    next: AtomicU64,
}

/// There is no receiver; the message comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// No message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecvError {
    /// The senders are gone, and all messages have been received.
    Closed,
    /// So many messages were missed. The next receive gives the oldest that is there.
    Lagged(u64),
}

/// No message at once, or in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryRecvError {
    /// None has come.
    Empty,
    /// The senders are gone, and all messages have been received.
    Closed,
    /// So many messages were missed. The next receive gives the oldest that is there.
    Lagged(u64),
}

impl<T: Clone> Sender<T> {
    /// Sends a message to all receivers, and returns how many there are. Never blocks.
    ///
    /// # Errors
    ///
    /// There are none now; there may be some later.
    pub fn send(&self, message: T) -> Result<usize, SendError<T>> {
        let mut state = self.shared.state.lock_sure();
        if state.receivers == 0 {
            return Err(SendError(message));
        }
        let oldest = if state.messages.len() == state.capacity {
            state.first += 1;
            state.messages.pop_front()
        } else {
            None
        };
        state.messages.push_back(Arc::new(Mutex::new(message)));
        let receivers = state.receivers;
        self.shared.changed.notify_all();
        drop(state);
        drop(oldest);
        Ok(receivers)
    }

    /// Creates a receiver for what is sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        self.shared.subscribe()
    }

    /// Returns how many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.shared.state.lock_sure().receivers
    }
}

impl<T: Clone> Receiver<T> {
    /// Blocks the current thread until there is a message.
    ///
    /// # Errors
    ///
    /// The senders are gone, or messages were missed.
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        let mut state = self.shared.state.lock_sure();
        loop {
            if let Some(taken) = self.take_next(&state) {
                drop(state);
                return taken.map(Taken::copy);
            }
            state = sure(self.shared.changed.wait(state));
        }
    }

    /// Waits until there is a message: [`recv`](Self::recv) in a future, in any executor.
    ///
    /// It is cancel-safe: if it is dropped before it completes, no message is lost.
    ///
    /// # Errors
    ///
    /// As `recv`.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::broadcast;
    /// use roving::{block_on, thread};
    ///
    /// let (sender, receiver) = broadcast::channel(16);
    /// thread::spawn(move || sender.send("news"));
    /// assert_eq!(block_on(receiver.recv_async()), Ok("news"));
    /// ```
    pub async fn recv_async(&self) -> Result<T, RecvError> {
        let mut state = self.shared.state.lock_sure_async().await;
        loop {
            if let Some(taken) = self.take_next(&state) {
                drop(state);
                return taken.map(Taken::copy);
            }
            state = sure(self.shared.changed.wait_async(state).await);
        }
    }

    /// Returns a message if there is one.
    ///
    /// # Errors
    ///
    /// There is none, or messages were missed.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let taken = self.take(&self.shared.state.lock_sure());
        if matches!(taken, Err(TryRecvError::Empty)) {
            thread::polled_in_vain();
        }
        taken.map(Taken::copy)
    }

    /// Waits for a message for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, TryRecvError> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.shared.state.lock_sure();
        loop {
            match self.take(&state) {
                Err(TryRecvError::Empty) => {}
                taken => {
                    drop(state);
                    return taken.map(Taken::copy);
                }
            }
            let left = deadline.map_or(Duration::MAX, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            let (again, result) = sure(self.shared.changed.wait_timeout(state, left));
            if result.timed_out() {
                let taken = self.take(&again);
                drop(again);
                return taken.map(Taken::copy);
            }
            state = again;
        }
    }

    /// Takes the next message; `None` if it is to be waited for.
    fn take_next(&self, state: &State<T>) -> Option<Result<Taken<T>, RecvError>> {
        match self.take(state) {
            Ok(taken) => Some(Ok(taken)),
            Err(TryRecvError::Closed) => Some(Err(RecvError::Closed)),
            Err(TryRecvError::Lagged(missed)) => Some(Err(RecvError::Lagged(missed))),
            Err(TryRecvError::Empty) => None,
        }
    }

    /// Takes the next message. It is copied when the channel is not locked any more: a copy may take
    /// its time, or use the channel.
    fn take(&self, state: &State<T>) -> Result<Taken<T>, TryRecvError> {
        let next = self.next.load(Ordering::Relaxed);
        if next < state.first {
            self.next.store(state.first, Ordering::Relaxed);
            return Err(TryRecvError::Lagged(state.first - next));
        }
        match state.messages.get((next - state.first) as usize) {
            Some(message) => {
                self.next.store(next + 1, Ordering::Relaxed);
                Ok(Taken(message.clone()))
            }
            None if state.senders == 0 => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Returns how many messages are there for this receiver, those that it has missed among them.
    pub fn len(&self) -> usize {
        // Under the lock nobody else receives.
        let state = self.shared.state.lock_sure();
        (state.end() - self.next.load(Ordering::Relaxed)) as usize
    }

    /// Returns whether no message is there for this receiver.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes another receiver, for what is sent from now on.
    pub fn resubscribe(&self) -> Self {
        self.shared.subscribe()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.state.lock_sure().senders += 1;
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock_sure();
        state.senders -= 1;
        if state.senders == 0 {
            self.shared.changed.notify_all();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.state.lock_sure().receivers -= 1;
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

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no receiver")
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the senders are gone"),
            Self::Lagged(missed) => write!(f, "{missed} messages were missed"),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no message"),
            Self::Closed => f.write_str("the senders are gone"),
            Self::Lagged(missed) => write!(f, "{missed} messages were missed"),
        }
    }
}

impl<T: fmt::Debug> Error for SendError<T> {}
impl Error for RecvError {}
impl Error for TryRecvError {}
