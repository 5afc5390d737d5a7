//! Cancelling: [`CancelToken`], and [`shield`] against it.
//!
//! A token knows the threads that are subject to it: those that are in its
//! [`run`](CancelToken::run), and the children that inherited it. Cancelling marks a frame of each
//! (see [`ambient`]), so a wait costs nothing for being cancellable.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Weak};

use crate::protocol::lock::Mutex;

use crate::run::ambient::{Canceller, FrameId, Kind};
use crate::run::green::Waiter;
use crate::wait::ambient;
use crate::wait::interrupt::Cancelled;
use crate::wait::polled::Polled;
use crate::wait::selectable::{Registration, Selectable, Watchers};
use crate::wait::{self, Ticket};

/// Room for so many is kept.
const FEW: usize = 64;

/// What the clones of a [`CancelToken`] share.
#[derive(Default)]
pub(crate) struct Token {
    state: Mutex<State>,
    /// Those who wait for it to be cancelled.
    watchers: Watchers,
}

#[derive(Default)]
struct State {
    cancelled: bool,
    /// Who is subject to it, by thread and frame.
    members: HashMap<(usize, FrameId), Arc<Waiter>>,
    children: Vec<Weak<Token>>,
}

impl Canceller for Token {
    fn enter(&self, waiter: &Arc<Waiter>, id: FrameId) {
        let mut state = self.state.lock();
        state.members.insert((address(waiter), id), waiter.clone());
        let fired = state.cancelled.then(|| waiter.cancel_frame(id));
        drop(state);
        drop(fired);
    }

    fn leave(&self, waiter: &Arc<Waiter>, id: FrameId) {
        let mut state = self.state.lock();
        let member = state.members.remove(&(address(waiter), id));
        let left = state.members.len();
        if state.members.capacity() / 8 > left.max(8) {
            state.members.shrink_to(2 * left);
        }
        drop(state);
        drop(member);
    }
}

impl Token {
    /// Cancels this token and all below it, one after the other: a chain of them may be long.
    pub(crate) fn cancel(&self) {
        let mut below = self.cancel_alone();
        while let Some(child) = below.pop() {
            if let Some(child) = child.upgrade() {
                below.append(&mut child.cancel_alone());
            }
        }
    }

    /// Cancels this token, and gives those below it.
    fn cancel_alone(&self) -> Vec<Weak<Token>> {
        let mut state = self.state.lock();
        if state.cancelled {
            return Vec::new();
        }
        state.cancelled = true;
        // A thread that runs again at once may ask this token.
        let members = state.members.iter();
        let fired: Vec<_> = members
            .map(|((_, id), waiter)| waiter.cancel_frame(*id))
            .filter(|fired| fired.is_first())
            .collect();
        let children = std::mem::take(&mut state.children);
        drop(state);
        drop(fired);
        self.watchers.fire();
        children
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.state.lock().cancelled
    }

    /// Leaves a ticket for the cancellation. `None` if it has been cancelled.
    fn watch(&self, ticket: Ticket) -> Option<Registration<'_>> {
        let registration = self.watchers.watch(ticket);
        (!self.is_cancelled()).then_some(registration)
    }

    fn adopt(&self, child: &Arc<Token>) {
        let mut state = self.state.lock();
        if state.cancelled {
            drop(state);
            child.cancel();
            return;
        }
        if state.children.len() == state.children.capacity() {
            state.children.retain(|child| child.strong_count() > 0);
            // So that it is looked through again when there are twice as many.
            state.children.shrink_to(FEW);
        }
        state.children.push(Arc::downgrade(child));
    }
}

fn address(waiter: &Arc<Waiter>) -> usize {
    Arc::as_ptr(waiter).addr()
}

/// Ends the waits of other threads.
///
/// Cancelling the token cancels the closures called by [`run`](Self::run), and the children that they spawn in a
/// [`scope`](crate::thread::scope()) or a [`Group`](crate::Group): the
/// blocking call that a thread is in, or otherwise the next one, ends. If it returns an [`io::Result`], it
/// returns an error of kind [`Other`](std::io::ErrorKind::Other) with [`Cancelled`] in it; otherwise, and
/// after such an error has been returned once, the thread unwinds up to `run`, without calling the panic
/// hook. Destructors run and may block; what they run in a token of their own can be cancelled.
///
/// Clones are one token; a [`child`](Self::child) is cancelled with its parent, and alone.
///
/// # Examples
///
/// ```
/// use roving::{CancelToken, thread};
/// use std::time::Duration;
///
/// let token = CancelToken::new();
/// let sleeps = {
///     let token = token.clone();
///     thread::spawn(move || token.run(|| thread::sleep(Duration::MAX)).is_err())
/// };
/// token.cancel();
/// assert!(sleeps.join().unwrap());
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Token>);

impl CancelToken {
    /// Creates a token that has not been cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a token that is cancelled when this one is.
    pub fn child(&self) -> Self {
        let child = Self::new();
        self.0.adopt(&child.0);
        child
    }

    /// Cancels everything that is subject to this token, now and later. Does not wait for the threads to end.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Returns whether [`cancel`](Self::cancel) has been called, on this token or one above it.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Blocks until the token is cancelled.
    #[track_caller]
    pub fn wait(&self) {
        loop {
            let wait = wait::begin();
            let Some(_registration) = self.0.watch(wait.ticket()) else {
                return;
            };
            wait.why(&"a cancellation").block(None);
        }
    }

    /// Waits until the token is cancelled: [`wait`](Self::wait) as a future, in any executor.
    ///
    /// Dropping it leaves nothing behind.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::{CancelToken, block_on, thread};
    ///
    /// let token = CancelToken::new();
    /// let cancels = token.clone();
    /// thread::spawn(move || cancels.cancel());
    /// block_on(token.wait_async());
    /// assert!(token.is_cancelled());
    /// ```
    pub async fn wait_async(&self) {
        let mut polled = Polled::default();
        while let Some(registration) = self.0.watch(polled.begin()) {
            polled.ended().await;
            drop(registration);
        }
    }

    /// Calls `f`, whose blocking calls end when the token is cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if `f` was unwound because of that. If `f` returned, its result is returned,
    /// cancelled or not.
    ///
    /// # Panics
    ///
    /// A panic of `f` propagates to the caller. With `panic = "abort"` nothing can unwind: calls that
    /// cannot return an error are not cancelled.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> Result<T, Cancelled> {
        run_in(&self.0, f)
    }
}

/// A select that waits for a token gets ready when it is cancelled.
impl Selectable for CancelToken {
    fn is_ready(&self) -> io::Result<bool> {
        Ok(self.is_cancelled())
    }

    fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>> {
        Ok(self.0.watch(ticket))
    }
}

impl UnwindSafe for CancelToken {}
impl RefUnwindSafe for CancelToken {}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

fn run_in<T>(token: &Arc<Token>, f: impl FnOnce() -> T) -> Result<T, Cancelled> {
    let frame = ambient::enter(Kind::token(token.clone()));
    let id = frame.id;
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    drop(frame);
    match result {
        Ok(value) => Ok(value),
        Err(payload) => match payload.downcast::<Cancelled>() {
            Ok(cancelled) if cancelled.frame == id => Err(*cancelled),
            Ok(of_another) => panic::resume_unwind(of_another),
            Err(payload) => panic::resume_unwind(payload),
        },
    }
}

/// Calls `f` and protects its blocking calls from cancellations and deadlines from outside.
///
/// Those that come meanwhile take effect at the first blocking call afterwards. A token's `run` and a
/// [`deadline`](crate::deadline()) within `f` work as usual.
///
/// # Examples
///
/// ```
/// use roving::{CancelToken, shield, thread};
/// use std::time::Duration;
///
/// let token = CancelToken::new();
/// let mut finished = false;
/// let result = token.run(|| {
///     shield(|| {
///         token.cancel();
///         thread::sleep(Duration::from_millis(1));
///         finished = true;
///     });
///     thread::sleep(Duration::MAX);
/// });
/// assert!(finished && result.is_err());
/// ```
pub fn shield<T>(f: impl FnOnce() -> T) -> T {
    let _frame = ambient::enter(Kind::Shield);
    f()
}
