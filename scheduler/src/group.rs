//! Structured concurrency: [`Group`].
//!
//! A group is a [`scope`](crate::thread::scope()) within a [`CancelToken`]. The first member that
//! fails leaves its error, and then cancels the token; so the errors with which the others end come
//! later and count for nothing.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use crate::protocol::lock::Mutex;

use crate::protocol::process::Process;
use crate::protocol::spare;
use crate::run::panicking;
use crate::thread::{self, Scope};
use crate::wait;
use crate::wait::cancel::CancelToken;
use crate::wait::polled::Polled;
use crate::wait::selectable::Watchers;

/// Green threads that succeed or fail together.
///
/// Each member returns a [`Result`]. When all have ended, [`run`](Self::run) returns their values in
/// the order in which they were spawned. The first error or panic cancels all others, is waited for
/// until they have ended, and propagates to the caller: nothing is left running. Members may borrow,
/// and are subject to the deadlines and cancellations of the caller.
///
/// # Examples
///
/// ```
/// use roving::Group;
///
/// let words = ["one", "two", "three"];
/// let lengths = Group::new().limit(2).run(|group| {
///     for word in &words {
///         group.spawn(|| Ok::<_, String>(word.len()));
///     }
///     Ok(())
/// });
/// assert_eq!(lengths, Ok(vec![3, 3, 5]));
///
/// let failed = Group::new().map(1.., |n| if n < 5 { Ok(n) } else { Err("too large") });
/// assert_eq!(failed, Err("too large"));
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Group {
    limit: Option<NonZeroUsize>,
}

impl Group {
    /// A group without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets no more than `limit` members run at once: [`Members::spawn`] waits for one to end.
    ///
    /// # Panics
    ///
    /// Panics if `limit` is 0.
    #[track_caller]
    pub fn limit(self, limit: usize) -> Self {
        let limit = NonZeroUsize::new(limit).expect("the limit of a group must not be 0");
        Self { limit: Some(limit) }
    }

    /// Calls `f`, which spawns members, and waits until all have ended.
    ///
    /// # Errors
    ///
    /// The first error of a member or of `f`.
    ///
    /// # Panics
    ///
    /// The first panic of a member propagates to the caller, as does one of `f`.
    #[track_caller]
    pub fn run<'env, T, E, F>(self, f: F) -> Result<Vec<T>, E>
    where
        T: Send + 'env,
        E: Send + 'env,
        F: for<'scope> FnOnce(&Members<'scope, 'env, T, E>) -> Result<(), E>,
    {
        let shared = Arc::new(Shared {
            process: Process::current(),
            state: Mutex::new(State::new()),
            ended: Watchers::new(),
            limit: self.limit.map_or(usize::MAX, NonZeroUsize::get),
            token: CancelToken::new(),
        });
        // The error with which this was cancelled is in the state.
        let _ = shared.token.run(|| {
            thread::scope(|scope| {
                let members = Members {
                    scope,
                    shared: shared.clone(),
                    env: PhantomData,
                };
                match panic::catch_unwind(AssertUnwindSafe(|| f(&members))) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => shared.fail(Failure::Error(error)),
                    // The scope cancels its threads then.
                    Err(payload) if wait::interrupts_current(&*payload) => {
                        panic::resume_unwind(payload)
                    }
                    Err(payload) => shared.fail(Failure::Panic(payload)),
                }
            });
        });
        let (failure, values, interrupted) = {
            let mut state = shared.state.lock();
            let values = std::mem::take(&mut state.values);
            (state.failure.take(), values, state.interrupted)
        };
        match failure {
            // Nobody here has cancelled them: their runtime has ended, and not that of the caller, who must
            // not take a part for the whole.
            None if interrupted && !shared.token.is_cancelled() => wait::unwind_cancelled(),
            None => Ok(values.into_values().collect()),
            Some(Failure::Error(error)) => Err(error),
            Some(Failure::Panic(payload)) => panic::resume_unwind(payload),
        }
    }

    /// Calls `f` for each item on a member of its own, and returns the values in the order of the
    /// items.
    ///
    /// # Errors
    ///
    /// The first error of `f`.
    ///
    /// # Panics
    ///
    /// The first panic of `f` propagates to the caller.
    #[track_caller]
    pub fn map<I, T, E, F>(self, items: I, f: F) -> Result<Vec<T>, E>
    where
        I: IntoIterator,
        I::Item: Send,
        T: Send,
        E: Send,
        F: Fn(I::Item) -> Result<T, E> + Sync,
    {
        let f = &f;
        self.run(|members| {
            for item in items {
                members.spawn(move || f(item));
                if members.shared.token.is_cancelled() {
                    break;
                }
            }
            Ok(())
        })
    }
}

enum Failure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

struct State<T, E> {
    /// How many members were spawned.
    spawned: usize,
    /// What has come and has not been taken, by the order of the spawns.
    values: BTreeMap<usize, T>,
    /// Which values came, in this order, and have not been taken.
    came: VecDeque<usize>,
    running: usize,
    failure: Option<Failure<E>>,
    /// Whether a member was interrupted, or never ran.
    interrupted: bool,
}

impl<T, E> State<T, E> {
    fn new() -> Self {
        Self {
            spawned: 0,
            values: BTreeMap::new(),
            came: VecDeque::new(),
            running: 0,
            failure: None,
            interrupted: false,
        }
    }
}

impl<T, E> State<T, E> {
    /// The next value, or `None` in it if none will come. `None` if one may come later.
    fn next(&mut self) -> Option<Option<T>> {
        match self.came.pop_front() {
            Some(index) => {
                spare::shrink_queue(&mut self.came);
                Some(self.values.remove(&index))
            }
            None => (self.running == 0).then_some(None),
        }
    }
}

struct Shared<T, E> {
    process: Process,
    state: Mutex<State<T, E>>,
    /// Those who wait for a member to end.
    ended: Watchers,
    limit: usize,
    token: CancelToken,
}

impl<T, E> Shared<T, E> {
    /// Notes the first failure, and cancels the others.
    fn fail(&self, failure: Failure<E>) {
        let mut state = self.state.lock();
        let later = if state.failure.is_none() {
            state.failure = Some(failure);
            None
        } else {
            Some(failure)
        };
        drop(state);
        self.token.cancel();
        // What comes too late counts for nothing, whatever its destructor does.
        panicking::contain(|| drop(later));
    }

    /// A member has ended; without a result if it was cancelled, or a deadline that the whole group is
    /// subject to came.
    fn member_ended(&self, index: usize, result: Option<thread::Result<Result<T, E>>>) {
        let _counted_off = CountsOff(self);
        match result {
            None => self.state.lock().interrupted = true,
            Some(Ok(Ok(value))) => {
                let mut state = self.state.lock();
                state.values.insert(index, value);
                state.came.push_back(index);
            }
            Some(Ok(Err(error))) => self.fail(Failure::Error(error)),
            Some(Err(payload)) => self.fail(Failure::Panic(payload)),
        }
    }

    /// Blocks until `look` gives something. It is asked again whenever a member has ended.
    #[track_caller]
    fn wait_until<R>(&self, mut look: impl FnMut(&mut State<T, E>) -> Option<R>) -> R {
        loop {
            if let Some(found) = look(&mut self.state.lock()) {
                return found;
            }
            self.process.insist("a member of this group");
            let wait = wait::begin();
            let _registration = self.ended.watch(wait.ticket());
            if let Some(found) = look(&mut self.state.lock()) {
                return found;
            }
            wait.why(&"the end of a member of a group").block(None);
        }
    }

    /// Waits until `look` gives something, as [`wait_until`](Self::wait_until) does.
    async fn wait_until_async<R>(&self, mut look: impl FnMut(&mut State<T, E>) -> Option<R>) -> R {
        let mut polled = Polled::new();
        loop {
            if let Some(found) = look(&mut self.state.lock()) {
                return found;
            }
            self.process.insist("a member of this group");
            let _registration = self.ended.watch(polled.begin());
            if let Some(found) = look(&mut self.state.lock()) {
                return found;
            }
            polled.ended().await;
        }
    }
}

/// Counts a member off when it is dropped, and tells those who wait for that.
struct CountsOff<'a, T, E>(&'a Shared<T, E>);

impl<T, E> Drop for CountsOff<'_, T, E> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.running -= 1;
        drop(state);
        self.0.ended.fire();
    }
}

/// The members of a [`Group`] that runs. Clones are for members that spawn others.
pub struct Members<'scope, 'env: 'scope, T, E> {
    scope: &'scope Scope<'scope, 'env>,
    shared: Arc<Shared<T, E>>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope, 'env, T, E> Members<'scope, 'env, T, E>
where
    T: Send + 'scope,
    E: Send + 'scope,
{
    /// Spawns a member. Blocks while as many run as the limit says.
    ///
    /// # Panics
    ///
    /// Panics if the system refuses a stack. Unwinds to the group's end if that is cancelled while
    /// this blocks.
    #[track_caller]
    pub fn spawn<F>(&self, f: F)
    where
        F: FnOnce() -> Result<T, E> + Send + 'scope,
    {
        let limit = self.shared.limit;
        let index = self.shared.wait_until(|state| {
            (state.running < limit).then(|| {
                state.running += 1;
                state.spawned += 1;
                state.spawned - 1
            })
        });
        let ends = Ends {
            shared: self.shared.clone(),
            index,
            result: None,
        };
        self.scope.spawn(move || {
            let mut ends = ends;
            match panic::catch_unwind(AssertUnwindSafe(f)) {
                // The scope must know: what has ended the member may be due for the caller too.
                Err(payload) if wait::interrupts_current(&*payload) => {
                    panic::resume_unwind(payload)
                }
                result => ends.result = Some(result),
            }
        });
    }

    /// Waits for the next value, in the order in which members end. `None` if no member runs.
    /// Values that are taken here are not in the result of the group.
    ///
    /// # Panics
    ///
    /// Unwinds to the group's end if that is cancelled while this blocks.
    #[allow(clippy::should_implement_trait)]
    #[track_caller]
    pub fn next(&self) -> Option<T> {
        self.shared.wait_until(State::next)
    }

    /// Waits for the next value: [`next`](Self::next) in a future, in any executor.
    ///
    /// It is cancel-safe: if it is dropped before it completes, no value is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::{Group, block_on};
    ///
    /// let squares = Group::new().run(|group| {
    ///     for n in 0..3 {
    ///         group.spawn(move || Ok::<_, ()>(n * n));
    ///     }
    ///     let sum = block_on(async {
    ///         let mut sum = 0;
    ///         while let Some(square) = group.next_async().await {
    ///             sum += square;
    ///         }
    ///         sum
    ///     });
    ///     assert_eq!(sum, 5);
    ///     Ok(())
    /// });
    /// assert_eq!(squares, Ok(vec![]));
    /// ```
    pub async fn next_async(&self) -> Option<T> {
        self.shared.wait_until_async(State::next).await
    }

    /// Returns how many members run.
    pub fn running(&self) -> usize {
        self.shared.state.lock().running
    }

    /// Cancels all members, and ends the closure of [`Group::run`] at its next blocking call. That
    /// is no failure: the values that have come are the result.
    pub fn cancel(&self) {
        self.shared.token.cancel();
    }
}

impl<T, E> Clone for Members<'_, '_, T, E> {
    fn clone(&self) -> Self {
        Self {
            scope: self.scope,
            shared: self.shared.clone(),
            env: PhantomData,
        }
    }
}

impl<T, E> fmt::Debug for Members<'_, '_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members")
            .field("running", &self.shared.state.lock().running)
            .finish_non_exhaustive()
    }
}

/// Counts a member off, also one that is cancelled before it has started.
struct Ends<T, E> {
    shared: Arc<Shared<T, E>>,
    index: usize,
    result: Option<thread::Result<Result<T, E>>>,
}

impl<T, E> Drop for Ends<T, E> {
    fn drop(&mut self) {
        self.shared.member_ended(self.index, self.result.take());
    }
}
