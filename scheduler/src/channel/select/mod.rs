//! [`Select`]: a set of operations, of which one is done.

mod algorithm;
mod operation;
mod selected;

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use self::algorithm::Limit;
use self::operation::{Arm, Claimed, Handle, Readiness};
use super::core::Role;
use super::error::{ReadyTimeoutError, SelectTimeoutError, TryReadyError, TrySelectError};
use super::{Receiver, Sender};
use crate::wait::selectable::Selectable;

pub use self::selected::SelectedOperation;

/// A set of operations of which one is to be done.
///
/// [`select!`](crate::select!) is the same as a macro, for operations that are known when the
/// program is written.
///
/// # Examples
///
/// ```
/// use roving::channel::{Select, unbounded};
///
/// let channels: Vec<_> = (0..10).map(|_| unbounded()).collect();
/// channels[3].0.send("three").unwrap();
///
/// let mut select = Select::new();
/// for (_, receiver) in &channels {
///     select.recv(receiver);
/// }
/// let operation = select.select();
/// let index = operation.index();
/// assert_eq!(index, 3);
/// assert_eq!(operation.recv(&channels[index].1), Ok("three"));
/// ```
#[derive(Clone)]
pub struct Select<'a> {
    arms: Vec<Arm<'a>>,
    next_index: usize,
    biased: bool,
}

// SAFETY: a select refers to channels, whose state is under their locks, and moves no message out
// of them: that is done with a `&Sender` or `&Receiver`. A `Selectable` is only added through
// `Select::ready_of`, which asks for `Sync`.
unsafe impl Send for Select<'_> {}
// SAFETY: as above.
unsafe impl Sync for Select<'_> {}

impl Default for Select<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Select<'a> {
    /// Makes an empty set, which chooses at random among several that are possible.
    pub fn new() -> Self {
        Self {
            arms: Vec::with_capacity(4),
            next_index: 0,
            biased: false,
        }
    }

    /// Makes an empty set, which chooses the first of several that are possible.
    pub fn new_biased() -> Self {
        Self {
            biased: true,
            ..Self::new()
        }
    }

    /// Adds an operation that sends, and returns its index.
    pub fn send<T>(&mut self, sender: &'a Sender<T>) -> usize {
        self.add(Handle::Channel(sender))
    }

    /// Adds an operation that receives, and returns its index.
    pub fn recv<T>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.add(Handle::Channel(receiver))
    }

    /// Adds something that becomes ready, and returns its index.
    pub fn ready_of<S: Selectable + Sync>(&mut self, selectable: &'a S) -> usize {
        let readiness = Readiness(selectable);
        self.add(Handle::Readiness(readiness))
    }

    fn add(&mut self, handle: Handle<'a>) -> usize {
        let index = self.next_index;
        self.next_index += 1;
        self.arms.push(Arm { index, handle });
        index
    }

    /// Removes the operation with an index.
    ///
    /// # Panics
    ///
    /// Panics if there is none, or no more.
    #[track_caller]
    pub fn remove(&mut self, index: usize) {
        assert!(
            index < self.next_index,
            "index out of bounds; {index} >= {}",
            self.next_index
        );
        let position = self.arms.iter().position(|arm| arm.index == index);
        let position = position.expect("no operation with this index");
        self.arms.remove(position);
    }

    /// Selects an operation that is possible at once.
    ///
    /// # Errors
    ///
    /// There was a moment at which there was none.
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        self.run(Limit::Now).ok_or(TrySelectError)
    }

    /// Blocks until an operation is possible, and selects it.
    ///
    /// # Panics
    ///
    /// Panics if there are no operations: it would block for ever.
    #[track_caller]
    pub fn select(&mut self) -> SelectedOperation<'a> {
        assert!(
            !self.arms.is_empty(),
            "no operations have been added to `Select`"
        );
        self.run(Limit::Never).expect("it waits for ever")
    }

    /// Selects an operation, waiting for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// None was possible in time.
    pub fn select_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        let deadline = Instant::now().checked_add(timeout);
        self.run(Limit::Until(deadline)).ok_or(SelectTimeoutError)
    }

    /// Selects an operation, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// None was possible in time.
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.run(Limit::Until(Some(deadline)))
            .ok_or(SelectTimeoutError)
    }

    /// Returns the index of an operation that is possible at once, which is not done.
    ///
    /// # Errors
    ///
    /// There was a moment at which there was none.
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        self.observe(Limit::Now).ok_or(TryReadyError)
    }

    /// Blocks until an operation is possible, which is not done, and returns its index. Others may
    /// have done it before the caller does.
    ///
    /// # Panics
    ///
    /// Panics if there are no operations: it would block for ever.
    #[track_caller]
    pub fn ready(&mut self) -> usize {
        assert!(
            !self.arms.is_empty(),
            "no operations have been added to `Select`"
        );
        self.observe(Limit::Never).expect("it waits for ever")
    }

    /// Like [`ready`](Self::ready), waiting for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// None was possible in time.
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        let deadline = Instant::now().checked_add(timeout);
        self.observe(Limit::Until(deadline))
            .ok_or(ReadyTimeoutError)
    }

    /// Like [`ready`](Self::ready), waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// None was possible in time.
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        self.observe(Limit::Until(Some(deadline)))
            .ok_or(ReadyTimeoutError)
    }

    fn run(&mut self, limit: Limit) -> Option<SelectedOperation<'a>> {
        let found = self.wait(limit, Role::Select, |operation| operation.claim());
        found.map(|(arm, claimed)| SelectedOperation {
            arm,
            claimed,
            _operation: PhantomData,
        })
    }

    fn observe(&mut self, limit: Limit) -> Option<usize> {
        let found = self.wait(limit, Role::Observer, |operation| {
            operation.look().map(|()| Claimed::Ready)
        });
        found.map(|(arm, _)| arm.index)
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Select { .. }")
    }
}
