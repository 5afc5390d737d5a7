//! Whose thread-locals a green thread uses, and so where it may go on.

/// Whose thread-locals green threads use, and so whether one that has started may move to another
/// worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ThreadLocals {
    /// Those of the worker on which a green thread started, and on which it stays. Only fresh ones
    /// are stolen.
    ///
    /// Safe: what a green thread keeps of a thread-local, be it a borrow or an address that the
    /// compiler kept, stays on its OS thread. Green threads of one worker share the worker's
    /// thread-locals: one that blocks while it has a `RefCell` in a thread-local borrowed makes
    /// a neighbour that borrows it too panic.
    #[default]
    Pinned,
    /// Those of the worker that happens to run it: green threads move at will.
    ///
    /// To be had only with [`Builder::shared_thread_locals`](crate::Builder::shared_thread_locals),
    /// which is `unsafe`.
    Shared,
}

impl ThreadLocals {
    pub(crate) fn keeps_started_threads_home(self) -> bool {
        self == ThreadLocals::Pinned
    }
}
