//! [`Barrier`]: a count under a lock, and a generation that tells those who waited that theirs is
//! complete.

use std::fmt;

use super::condvar::Of;
use super::lock_future::sure;
use super::{Condvar, Mutex};

/// Lets threads wait until all of a number of them have come, as [`std::sync::Barrier`].
///
/// A thread that is cancelled, or whose deadline comes, while it waits has not come.
///
/// # Examples
///
/// ```
/// use roving::sync::Barrier;
/// use roving::thread;
///
/// let barrier = Barrier::new(3);
/// let leaders = thread::scope(|scope| {
///     let waits: Vec<_> = (0..3).map(|_| scope.spawn(|| barrier.wait().is_leader())).collect();
///     waits.into_iter().map(|wait| wait.join().unwrap()).filter(|leader| *leader).count()
/// });
/// assert_eq!(leaders, 1);
/// ```
pub struct Barrier {
    state: Mutex<State>,
    complete: Condvar,
    threads: usize,
}

struct State {
    come: usize,
    generation: usize,
}

/// Whether a thread is the one of its generation that [`is_leader`](Self::is_leader).
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Returns whether this thread came last. One of each generation is.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    /// Creates a barrier for `n` threads. With 0 or 1 no thread waits.
    #[must_use]
    #[cfg(not(roving_loom))]
    pub const fn new(n: usize) -> Self {
        Self {
            state: Mutex::new(State {
                come: 0,
                generation: 0,
            }),
            complete: Condvar::of(Of::Barrier),
            threads: n,
        }
    }

    /// Creates a barrier for `n` threads. With 0 or 1 no thread waits.
    #[must_use]
    #[cfg(roving_loom)]
    pub fn new(n: usize) -> Self {
        Self {
            state: Mutex::new(State {
                come: 0,
                generation: 0,
            }),
            complete: Condvar::of(Of::Barrier),
            threads: n,
        }
    }

    /// Blocks until all threads have come. The barrier can be used again then.
    #[track_caller]
    pub fn wait(&self) -> BarrierWaitResult {
        let mut state = self.state.lock_sure();
        let Some(mut leaves) = self.come(&mut state) else {
            return BarrierWaitResult(true);
        };
        let generation = leaves.generation;
        let complete = self
            .complete
            .wait_while(state, |state| state.generation == generation);
        leaves.waits = false;
        drop(complete);
        BarrierWaitResult(false)
    }

    /// Waits until all have come, threads that [`wait`](Self::wait) and tasks: in a future, in any
    /// executor.
    ///
    /// Dropped before it is ready, it has not come.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::Barrier;
    /// use roving::{block_on, thread};
    ///
    /// let barrier = Barrier::new(2);
    /// thread::scope(|scope| {
    ///     scope.spawn(|| barrier.wait());
    ///     block_on(barrier.wait_async());
    /// });
    /// ```
    pub async fn wait_async(&self) -> BarrierWaitResult {
        let mut state = self.state.lock_sure_async().await;
        let Some(mut leaves) = self.come(&mut state) else {
            return BarrierWaitResult(true);
        };
        let generation = leaves.generation;
        let complete = self
            .complete
            .wait_while_async(state, |state| state.generation == generation);
        let complete = sure(complete.await);
        leaves.waits = false;
        drop(complete);
        BarrierWaitResult(false)
    }

    /// One more has come. `None` if that completes the generation; else what it waits as.
    fn come(&self, state: &mut State) -> Option<Leaves<'_>> {
        let generation = state.generation;
        state.come += 1;
        if state.come >= self.threads {
            state.come = 0;
            state.generation = generation.wrapping_add(1);
            self.complete.notify_all();
            return None;
        }
        Some(Leaves {
            barrier: self,
            generation,
            waits: true,
        })
    }
}

/// One who stops waiting before its generation is complete has not come.
struct Leaves<'a> {
    barrier: &'a Barrier,
    generation: usize,
    waits: bool,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        if self.waits {
            let mut state = self.barrier.state.lock_sure();
            if state.generation == self.generation {
                state.come -= 1;
            }
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").finish_non_exhaustive()
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult")
            .field("is_leader", &self.is_leader())
            .finish()
    }
}
