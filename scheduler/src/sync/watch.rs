//! A value that others watch: [`channel()`].
//!
//! The value lies in an [`Arc`], which readers clone: nobody holds a lock while it looks at a
//! value, so a look, however long, keeps no sender waiting and no worker from its other green
//! threads.
//!
//! # Examples
//!
//! ```
//! use roving::sync::watch;
//! use roving::thread;
//!
//! let (sender, mut receiver) = watch::channel("starting");
//! thread::spawn(move || sender.send("ready"));
//! receiver.changed().unwrap();
//! assert_eq!(*receiver.borrow(), "ready");
//! ```

use std::error::Error;
use std::fmt;
use std::mem;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::condvar::Of;
use super::lock_future::sure;
use super::{Condvar, Mutex};
use crate::thread;

/// Creates a value that can be watched.
pub fn channel<T>(init: T) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            value: Arc::new(init),
            version: 0,
            senders: 1,
            receivers: 1,
        }),
        changed: Condvar::of(Of::Watch),
    });
    let receiver = Receiver {
        shared: shared.clone(),
        seen: 0,
    };
    (Sender { shared }, receiver)
}

struct State<T> {
    value: Arc<T>,
    version: u64,
    senders: usize,
    receivers: usize,
}

impl<T> State<T> {
    /// What there is for who has `seen` the version that was the last then; `None` if that is to be waited for.
    fn news(&self, seen: &mut u64) -> Option<Result<(), RecvError>> {
        if self.version != *seen {
            *seen = self.version;
            Some(Ok(()))
        } else if self.senders == 0 {
            Some(Err(RecvError))
        } else {
            None
        }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

/// Changes the value.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// Sees the last value, and waits for the next.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// A value as it was when it was looked at.
pub struct Ref<T>(Arc<T>);

impl<T> Deref for Ref<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// There is no receiver; the value comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// The senders are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecvError;

/// The value has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// Not in time.
    Timeout,
    /// The senders are gone.
    Closed,
}

impl<T> Sender<T> {
    /// Changes the value.
    ///
    /// # Errors
    ///
    /// There is no receiver.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.is_closed() {
            return Err(SendError(value));
        }
        drop(self.put(Arc::new(value)));
        Ok(())
    }

    /// Changes the value, whether there is a receiver or not, and returns the last one, unless
    /// somebody still looks at it.
    pub fn send_replace(&self, value: T) -> Option<T> {
        Arc::into_inner(self.put(Arc::new(value)))
    }

    fn put(&self, value: Arc<T>) -> Arc<T> {
        let mut state = self.shared.state.lock_sure();
        let last = mem::replace(&mut state.value, value);
        state.version += 1;
        self.shared.changed.notify_all();
        last
    }

    /// Changes the value in place. `modify`, and the value's `Clone` and `Drop` in it, run under the lock
    /// of the channel: they must not block, nor use the channel.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Changes the value in place; receivers are told if `modify` says so. Gives what it said.
    /// For `modify` holds what [`send_modify`](Self::send_modify) says.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool
    where
        T: Clone,
    {
        let mut state = self.shared.state.lock_sure();
        let modified = modify(Arc::make_mut(&mut state.value));
        if modified {
            state.version += 1;
            self.shared.changed.notify_all();
        }
        modified
    }

    /// Returns the value.
    pub fn borrow(&self) -> Ref<T> {
        Ref(self.shared.state.lock_sure().value.clone())
    }

    /// Creates a receiver that has seen the value that is there.
    pub fn subscribe(&self) -> Receiver<T> {
        let mut state = self.shared.state.lock_sure();
        state.receivers += 1;
        let seen = state.version;
        drop(state);
        Receiver {
            shared: self.shared.clone(),
            seen,
        }
    }

    /// Returns how many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.shared.state.lock_sure().receivers
    }

    /// Returns whether there is no receiver.
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }
}

impl<T> Receiver<T> {
    /// Returns the value. It does not count as seen.
    pub fn borrow(&self) -> Ref<T> {
        Ref(self.shared.state.lock_sure().value.clone())
    }

    /// Returns the value, which counts as seen.
    pub fn borrow_and_update(&mut self) -> Ref<T> {
        let state = self.shared.state.lock_sure();
        self.seen = state.version;
        Ref(state.value.clone())
    }

    /// Returns whether there is a value that has not been seen.
    ///
    /// # Errors
    ///
    /// There is none, and the senders are gone.
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        let state = self.shared.state.lock_sure();
        let (has_changed, senders) = (state.version != self.seen, state.senders);
        drop(state);
        match has_changed {
            true => Ok(true),
            false if senders == 0 => Err(RecvError),
            false => {
                thread::polled_in_vain();
                Ok(false)
            }
        }
    }

    /// Blocks until there is a value that has not been seen, which then counts as seen.
    ///
    /// # Errors
    ///
    /// There is none, and the senders are gone.
    #[track_caller]
    pub fn changed(&mut self) -> Result<(), RecvError> {
        self.wait(None).map_err(|_| RecvError)
    }

    /// Like [`changed`](Self::changed), for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The time was over, or the senders are gone.
    #[track_caller]
    pub fn changed_timeout(&mut self, timeout: Duration) -> Result<(), RecvTimeoutError> {
        self.wait(Some(Instant::now().checked_add(timeout)))
    }

    /// Blocks until the value is as `is_it` says, and gives it; it counts as seen.
    ///
    /// # Errors
    ///
    /// The senders are gone.
    #[track_caller]
    pub fn wait_for(&mut self, mut is_it: impl FnMut(&T) -> bool) -> Result<Ref<T>, RecvError> {
        loop {
            let value = self.borrow_and_update();
            if is_it(&value) {
                return Ok(value);
            }
            drop(value);
            self.changed()?;
        }
    }

    /// Waits until there is a value that has not been seen: [`changed`](Self::changed) in a future, in any
    /// executor.
    ///
    /// It is cancel-safe: dropped before it is ready, nothing counts as seen.
    ///
    /// # Errors
    ///
    /// As `changed`.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::watch;
    /// use roving::{block_on, thread};
    ///
    /// let (sender, mut receiver) = watch::channel("starting");
    /// thread::spawn(move || sender.send("ready"));
    /// block_on(receiver.changed_async()).unwrap();
    /// assert_eq!(*receiver.borrow(), "ready");
    /// ```
    pub async fn changed_async(&mut self) -> Result<(), RecvError> {
        let mut state = self.shared.state.lock_sure_async().await;
        loop {
            if let Some(news) = state.news(&mut self.seen) {
                return news;
            }
            state = sure(self.shared.changed.wait_async(state).await);
        }
    }

    /// Waits until the value is as `is_it` says: [`wait_for`](Self::wait_for) in a future. Dropped before
    /// it is ready, it may have seen values that were not so.
    ///
    /// # Errors
    ///
    /// The senders are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::watch;
    /// use roving::{block_on, thread};
    ///
    /// let (sender, mut receiver) = watch::channel(0);
    /// thread::spawn(move || (1..4).try_for_each(|n| sender.send(n)));
    /// let three = block_on(receiver.wait_for_async(|n| *n == 3));
    /// assert_eq!(*three.unwrap(), 3);
    /// ```
    pub async fn wait_for_async(
        &mut self,
        mut is_it: impl FnMut(&T) -> bool,
    ) -> Result<Ref<T>, RecvError> {
        loop {
            let value = self.borrow_and_update();
            if is_it(&value) {
                return Ok(value);
            }
            drop(value);
            self.changed_async().await?;
        }
    }

    /// The outer `None` waits for as long as it takes, the inner too, but it can tell of a timeout.
    #[track_caller]
    fn wait(&mut self, deadline: Option<Option<Instant>>) -> Result<(), RecvTimeoutError> {
        let mut state = self.shared.state.lock_sure();
        loop {
            if let Some(news) = state.news(&mut self.seen) {
                return news.map_err(|RecvError| RecvTimeoutError::Closed);
            }
            let changed = &self.shared.changed;
            state = match deadline {
                None => sure(changed.wait(state)),
                Some(deadline) => {
                    let left = deadline.map_or(Duration::MAX, |deadline| {
                        deadline.saturating_duration_since(Instant::now())
                    });
                    let (state, result) = sure(changed.wait_timeout(state, left));
                    if result.timed_out() && state.version == self.seen {
                        return Err(RecvTimeoutError::Timeout);
                    }
                    state
                }
            };
        }
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

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.state.lock_sure().receivers += 1;
        Self {
            shared: self.shared.clone(),
            seen: self.seen,
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
        f.write_str("the senders are gone")
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "the value has not changed in time",
            Self::Closed => "the senders are gone",
        })
    }
}

impl<T: fmt::Debug> Error for SendError<T> {}
impl Error for RecvError {}
impl Error for RecvTimeoutError {}
