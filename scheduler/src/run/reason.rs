//! Why a thread waits.
//!
//! Who blocks describes it by a value on its own stack, a [`Why`], and nothing is made of that unless
//! somebody asks: the wait costs a store. Whoever asks [holds](crate::run::hold) the parked thread, so that
//! it cannot go on and the value is there.
//!
//! # Invariant
//!
//! **While a green thread is parked, its [`Given`] leads to the reason of the very wait that it is parked
//! in**, which lies in a frame of the thread below which it has suspended. It is set when a wait
//! is about to suspend, and nothing but that wait's end leaves the frame; and no wait ends while its thread
//! is parked or held.

use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Instant;

use crate::protocol::outline::{Field, fields};
use crate::run::enclosure::Enclosure;
use crate::run::green::Waiter;

/// What a thread waits for, for people.
///
/// It is asked on another thread than the one that waits, which cannot go on meanwhile: it must not
/// block, and takes no lock that somebody holds who may have to wait for a thread.
pub trait Why: Sync {
    /// Writes it, as `recv on a channel with 3 senders`.
    ///
    /// # Errors
    ///
    /// Those of the formatter.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// The same in a few words that do not depend on what is waited for, as `recv`: for
    /// [records](crate::record()). It is asked on the thread itself, when it is about to wait, and begins
    /// no wait.
    fn in_short(&self) -> &'static str {
        "a wait"
    }

    /// How many references to the thread lie in its own frames, beside that of the wait, where nobody else gets at
    /// them. `None` if the wait may end though there are no others, or is meant to last.
    #[doc(hidden)]
    fn own_references(&self) -> Option<usize> {
        Some(0)
    }

    /// Who must do something for the wait to end, if nobody else can end it and that is known.
    #[doc(hidden)]
    fn needs(&self) -> Option<Needs<'_>> {
        None
    }
}

/// What needs no more than a word.
impl Why for &'static str {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }

    fn in_short(&self) -> &'static str {
        self
    }
}

/// What is for ever, if it has no deadline, since it is meant to be. Debuggers read it.
#[repr(C)]
pub(crate) struct Lasting(pub(crate) &'static str);

impl Why for Lasting {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn in_short(&self) -> &'static str {
        self.0
    }

    fn own_references(&self) -> Option<usize> {
        None
    }
}

/// Without whom a wait does not end.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Needs<'a>(pub(crate) Whom<'a>);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Whom<'a> {
    /// Whoever has a lock must release it.
    Holder(Holder),
    /// The thread must end.
    Thread(&'a Waiter),
    /// All threads must end that this encloses.
    Scope(&'a Enclosure),
}

/// Who has a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// An address on the stack that it has taken it on. That is its own, if it is a green thread and was not
    /// on another at that time; if it has ended since, another thread may have the stack.
    pub(crate) stack: usize,
    /// Where it has taken the lock.
    pub(crate) place: &'static Location<'static>,
}

/// Why a thread waits, from where, and until when.
#[derive(Clone, Copy)]
pub(crate) struct Reason<'a> {
    pub(crate) why: &'a (dyn Why + 'a),
    pub(crate) place: &'static Location<'static>,
    pub(crate) deadline: Option<Instant>,
}

impl Reason<'_> {
    pub(crate) const FIELDS: [Field; 2] = fields!(Reason: why, place);
}

/// The reason that a thread has given last, with a [mark](NEEDS_THREADS). See the [module](self).
#[derive(Debug)]
pub(crate) struct Given(AtomicPtr<Reason<'static>>);

/// The bit beside the address that says that only other threads end the wait.
const NEEDS_THREADS: usize = 1;

impl Given {
    pub(crate) fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Called by the thread in a wait that is about to suspend. The caller's frame keeps the reason until
    /// the wait has ended.
    #[inline]
    pub(crate) fn set(&self, reason: &Reason<'_>, needs_threads: bool) {
        let reason: *const Reason<'_> = reason;
        let reason = reason.cast::<Reason<'static>>().cast_mut();
        // Relaxed: the commit of the wait publishes it.
        self.0.store(
            reason.map_addr(|address| address | usize::from(needs_threads)),
            Ordering::Relaxed,
        );
    }

    /// Whether only other threads end the wait that was begun last.
    pub(crate) fn needs_threads(&self) -> bool {
        self.0.load(Ordering::Relaxed).addr() & NEEDS_THREADS != 0
    }

    /// # Safety
    ///
    /// The thread is green and held, for as long as what this gives is used.
    pub(crate) unsafe fn get(&self) -> Reason<'_> {
        let given = self.0.load(Ordering::Relaxed);
        // SAFETY: the module's invariant; a reason is aligned to more than the mark.
        unsafe { *given.map_addr(|address| address & !NEEDS_THREADS) }
    }
}
