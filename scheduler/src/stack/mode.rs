//! Whose thread-locals a green thread uses, and so where it may go on.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// Which thread-locals green threads use, and therefore whether one that has started may move to another
/// worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThreadLocals {
    /// Each green thread has its own, as an OS thread does. It moves between workers, and
    /// its thread-locals with it. The default where the platform supports it.
    Own,
    /// Those of the worker on which a green thread started, and on which it stays. Only green threads that have not
    /// started are stolen. The default where green threads cannot have their own.
    ///
    /// Safe: whatever a green thread keeps of a thread-local, a borrow or an address that the
    /// compiler kept, stays on its OS thread. Green threads of one worker share the worker's
    /// thread-locals: if one blocks while it has a `RefCell` in a thread-local borrowed,
    /// a neighbour that borrows it too panics. The one exception are scopes of libraries such as `scoped_tls`, which must
    /// not be held across a blocking call: see the chapter `soundness`.
    Pinned,
    /// Those of the worker that happens to run it: green threads move freely.
    ///
    /// Available only with [`Builder::shared_thread_locals`](crate::Builder::shared_thread_locals),
    /// which is `unsafe`.
    Shared,
}

/// Why green threads cannot have their own thread-locals here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoOwnThreadLocals(Cow<'static, str>);

impl NoOwnThreadLocals {
    pub(crate) fn because(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for NoOwnThreadLocals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "green threads cannot have their own thread-locals: {}",
            self.0
        )
    }
}

impl Error for NoOwnThreadLocals {}

/// What a runtime does about thread-locals, migration and the measuring of stacks.
#[derive(Debug, Clone)]
pub(crate) struct Mode {
    pub(crate) thread_locals: ThreadLocals,
    /// Why green threads that should have their own thread-locals do not.
    pub(crate) refused: Option<NoOwnThreadLocals>,
    /// Whether every suspension resumes on another worker.
    pub(crate) migrate_always: bool,
    /// Whether the use of stacks is recorded, for a table at the exit of the process.
    pub(crate) report_stacks: bool,
}
