//! [`Once`]: one word, which runs a closure once.
//!
//! ```text
//!     INCOMPLETE, POISONED --call--> RUNNING --returns--> COMPLETE
//!                                    RUNNING --unwinds--> POISONED
//!     RUNNING --another calls--> QUEUED: it parks at the word's address until that ends
//! ```
//!
//! Who calls is a thread, or a future: then what runs is a future too, and dropping it before it is ready is
//! an end by unwinding.
//!
//! While a closure runs, the word has the [address](super::holder) of the thread that runs it beside its state.

use std::cell::Cell;
use std::fmt;
use std::future;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::holder::{FLAGS, Holder, here};
use super::parking::{self, For, ParkedTask, Patience, Place};
use crate::protocol::primitive::{AtomicUsize, Ordering};
use crate::wait::{Needs, Why};

const INCOMPLETE: usize = 0;
const POISONED: usize = 1;
const RUNNING: usize = 2;
/// Running, and others are parked.
const QUEUED: usize = 3;
const COMPLETE: usize = 4;

/// Runs a closure once, as [`std::sync::Once`]. The closure may block.
///
/// # Examples
///
/// ```
/// use roving::sync::Once;
///
/// static START: Once = Once::new();
/// let mut runs = 0;
/// for _ in 0..3 {
///     START.call_once(|| runs += 1);
/// }
/// assert_eq!(runs, 1);
/// assert!(START.is_completed());
/// ```
// Debuggers read it.
#[repr(C)]
pub struct Once {
    state: AtomicUsize,
    /// The thread whose closure runs.
    runner: Holder,
}

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// The argument of the closure of [`Once::call_once_force`].
pub struct OnceState {
    poisoned: bool,
    /// What the word becomes when the closure has returned.
    becomes: Cell<usize>,
}

impl OnceState {
    /// Returns whether an earlier closure panicked.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Makes the `Once` poisoned when the closure returns.
    pub(super) fn poison(&self) {
        self.becomes.set(POISONED);
    }
}

impl fmt::Debug for OnceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceState")
            .field("poisoned", &self.poisoned)
            .finish()
    }
}

impl Once {
    /// Makes a `Once` whose closure has not run.
    #[cfg(not(roving_loom))]
    // std's has no default either.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            state: AtomicUsize::new(INCOMPLETE),
            runner: Holder::new(),
        }
    }

    /// Makes a `Once` whose closure has not run.
    #[cfg(roving_loom)]
    pub fn new() -> Self {
        Self {
            state: AtomicUsize::new(INCOMPLETE),
            runner: Holder::new(),
        }
    }

    /// Calls `f` if no closure has run. When this returns one has, and all that it did is seen
    /// here.
    ///
    /// # Panics
    ///
    /// Panics if an earlier closure panicked; in debug builds, if this is called by the closure that
    /// runs. Otherwise that waits for ever.
    #[inline]
    #[track_caller]
    pub fn call_once<F: FnOnce()>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(false, &mut |_| f.take().expect("called once")());
        }
    }

    /// Like [`call_once`](Self::call_once), also after a closure has panicked.
    ///
    /// # Panics
    ///
    /// In debug builds, if this is called by the closure that runs. Otherwise that waits for ever.
    #[inline]
    #[track_caller]
    pub fn call_once_force<F: FnOnce(&OnceState)>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(true, &mut |state| f.take().expect("called once")(state));
        }
    }

    /// Returns whether a closure has run to its end.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.state.load(Ordering::Acquire) == COMPLETE
    }

    /// Blocks until a closure has run.
    ///
    /// # Panics
    ///
    /// Panics if a closure panicked; in debug builds, if this is called by the closure that runs.
    #[track_caller]
    pub fn wait(&self) {
        self.wait_for_end(false);
    }

    /// Blocks until a closure has run, whether others have panicked or not.
    ///
    /// # Panics
    ///
    /// As [`call_once_force`](Self::call_once_force).
    #[track_caller]
    pub fn wait_force(&self) {
        self.wait_for_end(true);
    }

    fn key(&self) -> usize {
        (&raw const *self).addr()
    }

    #[cold]
    #[track_caller]
    fn call(&self, ignore_poison: bool, f: &mut dyn FnMut(&OnceState)) {
        loop {
            let seen = self.state.load(Ordering::Acquire);
            match seen {
                COMPLETE => return,
                POISONED if !ignore_poison => panic_poisoned(),
                INCOMPLETE | POISONED => {
                    let runs = RUNNING | here();
                    let begun = self
                        .state
                        .compare_exchange(seen, runs, Ordering::Acquire, Ordering::Relaxed)
                        .is_ok();
                    if begun {
                        self.run(seen == POISONED, f);
                        return;
                    }
                }
                _ => self.park_while_running(seen),
            }
        }
    }

    #[track_caller]
    fn run(&self, poisoned: bool, f: &mut dyn FnMut(&OnceState)) {
        self.runner.note();
        let mut end = EndOfRun {
            once: self,
            becomes: POISONED,
        };
        let state = OnceState {
            poisoned,
            becomes: Cell::new(COMPLETE),
        };
        f(&state);
        end.becomes = state.becomes.get();
    }

    /// [`call_once_force`](Self::call_once_force) in a future.
    pub(super) async fn call_once_force_async<F: AsyncFnOnce()>(&self, f: F) {
        loop {
            let seen = self.state.load(Ordering::Acquire);
            match seen {
                COMPLETE => return,
                INCOMPLETE | POISONED => {
                    let begun = self
                        .state
                        .compare_exchange(seen, RUNNING, Ordering::Acquire, Ordering::Relaxed)
                        .is_ok();
                    if begun {
                        let mut end = EndOfRun {
                            once: self,
                            becomes: POISONED,
                        };
                        f().await;
                        end.becomes = COMPLETE;
                        return;
                    }
                }
                _ => self.parked_while_running(seen).await,
            }
        }
    }

    /// [`wait_force`](Self::wait_force) in a future.
    pub(super) async fn wait_force_async(&self) {
        loop {
            let seen = self.state.load(Ordering::Acquire);
            match seen & FLAGS {
                COMPLETE => return,
                RUNNING | QUEUED => self.parked_while_running(seen).await,
                _ => self.parked_while(seen).await,
            }
        }
    }

    #[track_caller]
    fn wait_for_end(&self, ignore_poison: bool) {
        loop {
            let seen = self.state.load(Ordering::Acquire);
            match seen & FLAGS {
                COMPLETE => return,
                POISONED if !ignore_poison => panic_poisoned(),
                RUNNING | QUEUED => self.park_while_running(seen),
                _ => self.park_while(seen),
            }
        }
    }

    /// Parks until a run that goes on has ended.
    #[track_caller]
    fn park_while_running(&self, seen: usize) {
        self.runner.panic_if_me("runs the closure");
        if self.queues(seen) {
            self.park_while(queued(seen));
        }
    }

    /// Says that somebody is about to park. `false` if the run has ended.
    fn queues(&self, seen: usize) -> bool {
        let queued = queued(seen);
        seen == queued
            || self
                .state
                .compare_exchange(seen, queued, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn is_at(&self, state: usize) -> bool {
        self.state.load(Ordering::Relaxed) == state
    }

    #[track_caller]
    fn park_while(&self, state: usize) {
        parking::park(
            For::Holder(&RunOf(self)),
            self.key(),
            (0, Place::Back),
            Patience::Forever,
            || self.is_at(state),
            || (),
        );
    }

    /// [`park_while_running`](Self::park_while_running) in a future.
    async fn parked_while_running(&self, seen: usize) {
        if self.queues(seen) {
            self.parked_while(queued(seen)).await;
        }
    }

    /// [`park_while`](Self::park_while) in a future. Whoever wakes one wakes all, so one that is dropped owes
    /// nothing to the others.
    async fn parked_while(&self, state: usize) {
        let mut waits = ParkedTask::default();
        if waits.park(self.key(), (0, Place::Back), || self.is_at(state)) {
            future::poll_fn(|context| waits.poll(context)).await;
        }
    }
}

impl Drop for Once {
    #[inline]
    fn drop(&mut self) {
        parking::abandon(self.key());
    }
}

/// The word of a run that goes on, when somebody is parked.
fn queued(running: usize) -> usize {
    running & !FLAGS | QUEUED
}

/// Why one waits who is parked. Debuggers read it.
#[repr(C)]
struct RunOf<'a>(&'a Once);

impl Why for RunOf<'_> {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the closure of Once at {:#x}", self.0.key())
    }

    fn in_short(&self) -> &'static str {
        "the closure of Once"
    }

    fn needs(&self) -> Option<Needs<'_>> {
        let state = self.0.state.load(Ordering::Relaxed);
        self.0.runner.in_word(state)
    }
}

#[cold]
#[track_caller]
fn panic_poisoned() -> ! {
    panic!("Once instance has previously been poisoned");
}

/// Ends a run, also one that unwinds.
struct EndOfRun<'a> {
    once: &'a Once,
    becomes: usize,
}

impl Drop for EndOfRun<'_> {
    fn drop(&mut self) {
        self.once.runner.forget();
        parking::with_parked(self.once.key(), |parked| {
            self.once.state.swap(self.becomes, Ordering::Release);
            while parked.wake_one(|_| true, 0) {}
        });
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}
