//! [`WaitGroup`].

use std::fmt;
use std::sync::Arc;

use super::condvar::Of;
use super::{Condvar, Mutex};

/// Lets a thread wait until others are done, as `crossbeam_utils::sync::WaitGroup`: each has a
/// clone, and drops it.
///
/// # Examples
///
/// ```
/// use roving::sync::WaitGroup;
/// use roving::thread;
///
/// let group = WaitGroup::new();
/// for _ in 0..4 {
///     let group = group.clone();
///     thread::spawn(move || drop(group));
/// }
/// group.wait();
/// ```
pub struct WaitGroup(Arc<Inner>);

struct Inner {
    clones: Mutex<usize>,
    none_left: Condvar,
}

impl WaitGroup {
    /// Makes a group with one clone: this.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            clones: Mutex::new(1),
            none_left: Condvar::of(Of::WaitGroup),
        }))
    }

    /// Drops this clone and blocks until all others are dropped.
    #[track_caller]
    pub fn wait(self) {
        let inner = self.0.clone();
        drop(self);
        let clones = inner.clones.lock_sure();
        drop(inner.none_left.wait_while(clones, |clones| *clones > 0));
    }

    /// Drops this clone and waits until all others are dropped: [`wait`](Self::wait) in a future, in any
    /// executor.
    ///
    /// Dropping it leaves nothing behind.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::WaitGroup;
    /// use roving::{block_on, thread};
    ///
    /// let group = WaitGroup::new();
    /// let other = group.clone();
    /// thread::spawn(move || drop(other));
    /// block_on(group.wait_async());
    /// ```
    pub async fn wait_async(self) {
        let inner = self.0.clone();
        drop(self);
        let clones = inner.clones.lock_sure_async().await;
        let is_left = |clones: &mut usize| *clones > 0;
        drop(inner.none_left.wait_while_async(clones, is_left).await);
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> Self {
        *self.0.clones.lock_sure() += 1;
        Self(self.0.clone())
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        let mut clones = self.0.clones.lock_sure();
        *clones -= 1;
        if *clones == 0 {
            self.0.none_left.notify_all();
        }
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup")
            .field("count", &*self.0.clones.lock_sure())
            .finish()
    }
}
