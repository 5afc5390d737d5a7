//! [`Select`]: waiting for several operations at once, of which one is done.
//!
//! 1. Try the operations, from a random one on: what is possible is claimed.
//! 2. Let others run once, and try again.
//! 3. Begin a wait, and register one ticket of it with all of them.
//! 4. Block. Whoever completes an operation gives a promise and fires the ticket; only one can.
//! 5. Take back all registrations. The one that has a promise is the operation that was selected;
//!    if none has, one of them may have become possible otherwise: go to 1.
//!
//! The registrations are taken back also when the wait unwinds, so losers leave nothing behind.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::ptr;
use std::time::{Duration, Instant};

use super::core::{Claim, Role, Side};
use super::error::{
    ReadyTimeoutError, RecvError, SelectTimeoutError, SendError, TryReadyError, TrySelectError,
};
use super::receiver::Source;
use super::{Receiver, Sender};
use crate::thread;
use crate::wait::{self, Ticket};

/// Something that gets ready, and that a [`Select`] can wait for: a join handle, a socket.
pub trait Selectable {
    /// Whether it is ready.
    ///
    /// # Errors
    ///
    /// It cannot be found out; a select takes that for ready, so that the operation tells.
    fn is_ready(&self) -> io::Result<bool>;

    /// Keeps a ticket, to be fired when it gets ready. `false` if it may be ready already.
    ///
    /// # Errors
    ///
    /// It cannot be waited for; a select takes that for ready.
    fn watch(&self, ticket: Ticket) -> io::Result<bool>;

    /// Lets the ticket go that it kept, whose wait has ended.
    fn unwatch(&self);
}

/// One operation of a select.
trait Operation {
    fn claim(&self) -> Option<Claimed>;
    fn is_possible(&self) -> bool;
    /// Gives back what `claim` or a registration has given.
    fn give_back(&self, claimed: Claimed);
    /// When to look again, if nothing else happens.
    fn due(&self) -> Option<Instant>;
    /// `None` if it may be possible now.
    fn register(&self, ticket: Ticket, role: Role) -> Option<Box<dyn Registration + '_>>;
}

/// A ticket that an operation keeps, until this is dropped.
trait Registration {
    /// Takes it back; gives what was promised.
    fn end(self: Box<Self>) -> Option<Claimed>;
}

/// What a selected operation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claimed {
    Channel(Claim),
    /// The message of a clock.
    Time(Instant),
    /// It is ready.
    Ready,
}

impl<T> Registration for super::core::Registered<'_, T> {
    fn end(self: Box<Self>) -> Option<Claimed> {
        let promised = (*self).end();
        promised.then_some(Claimed::Channel(Claim::Promise))
    }
}

/// The registration of what will be looked at again.
struct Watched<'a>(&'a dyn Selectable);

impl Registration for Watched<'_> {
    fn end(self: Box<Self>) -> Option<Claimed> {
        None
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.unwatch();
    }
}

/// The registration of what tells by its time alone.
struct Timed;

impl Registration for Timed {
    fn end(self: Box<Self>) -> Option<Claimed> {
        None
    }
}

impl<T> Operation for Sender<T> {
    fn claim(&self) -> Option<Claimed> {
        self.chan.claim(Side::Send).map(Claimed::Channel)
    }

    fn is_possible(&self) -> bool {
        self.chan.is_possible(Side::Send)
    }

    fn give_back(&self, claimed: Claimed) {
        if claimed == Claimed::Channel(Claim::Promise) {
            self.chan.give_back(Side::Send);
        }
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn register(&self, ticket: Ticket, role: Role) -> Option<Box<dyn Registration + '_>> {
        let registered = self.chan.register(Side::Send, ticket, role)?;
        Some(Box::new(registered))
    }
}

impl<T> Operation for Receiver<T> {
    fn claim(&self) -> Option<Claimed> {
        match &self.source {
            Source::Chan(chan) => chan.claim(Side::Receive).map(Claimed::Channel),
            Source::Clock(clock) => clock.take().map(Claimed::Time),
            Source::Never => None,
        }
    }

    fn is_possible(&self) -> bool {
        match &self.source {
            Source::Chan(chan) => chan.is_possible(Side::Receive),
            Source::Clock(_) | Source::Never => !self.is_empty(),
        }
    }

    fn give_back(&self, claimed: Claimed) {
        if let (Source::Chan(chan), Claimed::Channel(Claim::Promise)) = (&self.source, claimed) {
            chan.give_back(Side::Receive);
        }
    }

    fn due(&self) -> Option<Instant> {
        match &self.source {
            Source::Clock(clock) => clock.next(),
            Source::Chan(_) | Source::Never => None,
        }
    }

    fn register(&self, ticket: Ticket, role: Role) -> Option<Box<dyn Registration + '_>> {
        match &self.source {
            Source::Chan(chan) => {
                let registered = chan.register(Side::Receive, ticket, role)?;
                Some(Box::new(registered))
            }
            Source::Clock(_) | Source::Never => Some(Box::new(Timed)),
        }
    }
}

/// A [`Selectable`] as an operation.
#[derive(Clone, Copy)]
struct Readiness<'a>(&'a dyn Selectable);

/// What a select refers to.
#[derive(Clone, Copy)]
enum Handle<'a> {
    Channel(&'a (dyn Operation + 'a)),
    Readiness(Readiness<'a>),
}

impl<'a> Handle<'a> {
    fn operation(&self) -> &(dyn Operation + 'a) {
        match self {
            Self::Channel(operation) => *operation,
            Self::Readiness(readiness) => readiness,
        }
    }
}

impl Operation for Readiness<'_> {
    fn claim(&self) -> Option<Claimed> {
        self.is_possible().then_some(Claimed::Ready)
    }

    fn is_possible(&self) -> bool {
        self.0.is_ready().unwrap_or(true)
    }

    fn give_back(&self, _: Claimed) {}

    fn due(&self) -> Option<Instant> {
        None
    }

    fn register(&self, ticket: Ticket, _: Role) -> Option<Box<dyn Registration + '_>> {
        let watched = self.0.watch(ticket).unwrap_or(false);
        watched.then(|| Box::new(Watched(self.0)) as Box<dyn Registration + '_>)
    }
}

#[derive(Clone, Copy)]
struct Arm<'a> {
    index: usize,
    handle: Handle<'a>,
    /// Which channel end it is of.
    address: *const (),
}

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

/// How long a select waits.
#[derive(Clone, Copy)]
enum Limit {
    Now,
    Until(Option<Instant>),
    Never,
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

    /// Adds an operation that sends, and gives its index.
    pub fn send<T>(&mut self, sender: &'a Sender<T>) -> usize {
        self.add(Handle::Channel(sender), ptr::from_ref(sender).cast())
    }

    /// Adds an operation that receives, and gives its index.
    pub fn recv<T>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.add(Handle::Channel(receiver), ptr::from_ref(receiver).cast())
    }

    /// Adds something that gets ready, and gives its index.
    pub fn ready_of<S: Selectable + Sync>(&mut self, selectable: &'a S) -> usize {
        let readiness = Readiness(selectable);
        self.add(
            Handle::Readiness(readiness),
            ptr::from_ref(selectable).cast(),
        )
    }

    fn add(&mut self, handle: Handle<'a>, address: *const ()) -> usize {
        let index = self.next_index;
        self.next_index += 1;
        self.arms.push(Arm {
            index,
            handle,
            address,
        });
        index
    }

    /// Removes the operation with an index.
    ///
    /// # Panics
    ///
    /// Panics if there is none, or no more.
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
    /// There is none.
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        self.run(Limit::Now).ok_or(TrySelectError)
    }

    /// Blocks until an operation is possible, and selects it.
    ///
    /// # Panics
    ///
    /// Panics if there are no operations: it would block for ever.
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

    /// The index of an operation that is possible at once, which is not done.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        self.observe(Limit::Now).ok_or(TryReadyError)
    }

    /// Blocks until an operation is possible, which is not done, and gives its index. Others may
    /// have done it before the caller does.
    ///
    /// # Panics
    ///
    /// Panics if there are no operations: it would block for ever.
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
            operation.is_possible().then_some(Claimed::Ready)
        });
        found.map(|(arm, _)| arm.index)
    }

    fn wait(
        &mut self,
        limit: Limit,
        role: Role,
        attempt: impl Fn(&dyn Operation) -> Option<Claimed>,
    ) -> Option<(Arm<'a>, Claimed)> {
        let mut timed_out = matches!(limit, Limit::Now);
        let mut has_yielded = false;
        loop {
            if !self.biased {
                shuffle(&mut self.arms);
            }
            for arm in &self.arms {
                if let Some(claimed) = attempt(arm.handle.operation()) {
                    return Some((*arm, claimed));
                }
            }
            if timed_out {
                thread::polled_in_vain();
                return None;
            }
            // To register with all is dear, and those who run meanwhile often bring something.
            if !mem::replace(&mut has_yielded, true) {
                thread::let_others_run();
                continue;
            }
            let wait = wait::begin();
            let mut registered = Vec::with_capacity(self.arms.len());
            let mut is_possible = false;
            for arm in &self.arms {
                match arm.handle.operation().register(wait.ticket(), role) {
                    Some(registration) => registered.push((arm, registration)),
                    None => {
                        is_possible = true;
                        break;
                    }
                }
            }
            if is_possible {
                drop(wait);
            } else {
                let due = self
                    .arms
                    .iter()
                    .filter_map(|arm| arm.handle.operation().due());
                let due = due.min();
                match limit {
                    Limit::Until(Some(deadline)) if due.is_none_or(|due| deadline <= due) => {
                        timed_out = wait.block_timed(Some(deadline)) == wait::Outcome::TimedOut;
                    }
                    Limit::Until(None) if due.is_none() => {
                        timed_out = wait.block_timed(None) == wait::Outcome::TimedOut;
                    }
                    _ => {
                        wait.block(due);
                    }
                }
            }
            let mut selected = None;
            for (arm, registration) in registered {
                if let Some(claimed) = registration.end() {
                    selected = Some((*arm, claimed));
                }
            }
            if selected.is_some() {
                return selected;
            }
        }
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Select { .. }")
    }
}

/// Puts arms into a random order (Fisher and Yates).
fn shuffle(arms: &mut [Arm<'_>]) {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0) };
    }
    if arms.len() < 2 {
        return;
    }
    let mut x = STATE.get();
    if x == 0 {
        x = 0x9e37_79b9_7f4a_7c15 ^ arms.as_ptr().addr() as u64;
    }
    for place in (1..arms.len()).rev() {
        // Marsaglia's xorshift64.
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        arms.swap(place, (x % (place as u64 + 1)) as usize);
    }
    STATE.set(x);
}

/// An operation that was selected and must now be done, with the end of the channel that was given
/// for it.
///
/// # Panics
///
/// Dropping it instead panics, and gives back what was promised.
#[must_use = "the operation that was selected must be done"]
pub struct SelectedOperation<'a> {
    arm: Arm<'a>,
    claimed: Claimed,
    _operation: PhantomData<&'a ()>,
}

impl SelectedOperation<'_> {
    /// The index that the operation has.
    pub fn index(&self) -> usize {
        self.arm.index
    }

    /// Sends the message.
    ///
    /// # Errors
    ///
    /// The receivers are gone.
    ///
    /// # Panics
    ///
    /// Panics if another operation was selected.
    pub fn send<T>(self, sender: &Sender<T>, message: T) -> Result<(), SendError<T>> {
        assert!(
            ptr::from_ref(sender).cast() == self.arm.address,
            "passed a sender that wasn't selected"
        );
        let claimed = self.finish();
        match claimed {
            Claimed::Channel(Claim::Promise) => {
                sender.chan.send_promised(message).map_err(SendError)
            }
            _ => Err(SendError(message)),
        }
    }

    /// Receives the message.
    ///
    /// # Errors
    ///
    /// The senders are gone.
    ///
    /// # Panics
    ///
    /// Panics if another operation was selected.
    pub fn recv<T>(self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        assert!(
            ptr::from_ref(receiver).cast() == self.arm.address,
            "passed a receiver that wasn't selected"
        );
        let claimed = self.finish();
        match (&receiver.source, claimed) {
            (Source::Chan(chan), Claimed::Channel(Claim::Promise)) => match chan.await_promised() {
                Some(message) => Ok(message),
                None => receiver.recv(),
            },
            (Source::Clock(clock), Claimed::Time(time)) => Ok(clock.message(time)),
            _ => Err(RecvError),
        }
    }

    /// Goes on with what is ready.
    pub fn done(self) {
        self.finish();
    }

    fn finish(self) -> Claimed {
        let claimed = self.claimed;
        mem::forget(self);
        claimed
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        self.arm.handle.operation().give_back(self.claimed);
        if self.claimed != Claimed::Ready && !std::thread::panicking() {
            panic!("dropped `SelectedOperation` without completing the operation");
        }
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SelectedOperation { .. }")
    }
}
