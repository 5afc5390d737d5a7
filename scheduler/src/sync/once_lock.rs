//! [`OnceLock`]: a cell that is written once.

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::Once;
use crate::thread;

/// A cell that is written once, as [`std::sync::OnceLock`]. What initialises it may block.
///
/// # Examples
///
/// ```
/// use roving::sync::OnceLock;
///
/// static NAME: OnceLock<String> = OnceLock::new();
/// assert_eq!(NAME.get_or_init(|| "roving".to_owned()), "roving");
/// assert_eq!(NAME.set("other".to_owned()), Err("other".to_owned()));
/// ```
pub struct OnceLock<T> {
    once: Once,
    /// There exactly if `once` is completed.
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is reached from several threads by `&T`, and set or dropped by any of them.
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}
// SAFETY: the value moves with the cell.
unsafe impl<T: Send> Send for OnceLock<T> {}

impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// Makes an empty cell.
    #[cfg(not(roving_loom))]
    pub const fn new() -> Self {
        Self {
            once: Once::new(),
            value: UnsafeCell::new(None),
        }
    }

    /// Makes an empty cell.
    #[cfg(roving_loom)]
    pub fn new() -> Self {
        Self {
            once: Once::new(),
            value: UnsafeCell::new(None),
        }
    }

    /// Returns the value, if it has been set. Never blocks.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.once.is_completed() {
            // SAFETY: completed means that nobody writes any more.
            unsafe { (*self.value.get()).as_ref() }
        } else {
            thread::polled_in_vain();
            None
        }
    }

    /// Returns the value, if it has been set.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }

    /// Returns the value; blocks until it has been set.
    #[track_caller]
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.get().expect("it has been set")
    }

    /// Sets the value.
    ///
    /// # Errors
    ///
    /// It has been set; the error is `value`.
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("taken here only"));
        match value {
            None => Ok(()),
            Some(value) => Err(value),
        }
    }

    /// Returns the value, which `f` gives if it has not been set. Of several who come at the same time one
    /// calls its closure, and the others wait for it.
    ///
    /// # Panics
    ///
    /// If `f` panics, so does this, and the cell stays empty. In debug builds, if `f` calls this for the same cell; otherwise
    /// that waits for ever.
    #[track_caller]
    pub fn get_or_init<F: FnOnce() -> T>(&self, f: F) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        self.once.call_once_force(|_| {
            let value = f();
            // SAFETY: the once runs one closure at a time, and nobody reads before it is completed.
            unsafe { *self.value.get() = Some(value) };
        });
        self.get().expect("it has been set")
    }

    /// Returns the value, which the future of `f` gives if it has not been set: [`get_or_init`](Self::get_or_init)
    /// in a future, in any executor.
    ///
    /// Of several who come at the same time, be they futures or threads, one calls its closure, and the others
    /// wait for it. It is cancel-safe: dropped before it is ready, it drops what it waits for, and if that was
    /// the future of `f`, one of the others calls its own.
    ///
    /// # Panics
    ///
    /// If `f` or its future panics, so does this, and the cell stays empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::sync::OnceLock;
    /// use roving::time::{Duration, sleep_async};
    ///
    /// static SETTINGS: OnceLock<String> = OnceLock::new();
    ///
    /// async fn settings() -> &'static str {
    ///     let fetch = async || {
    ///         sleep_async(Duration::from_millis(1)).await;
    ///         "from afar".to_owned()
    ///     };
    ///     SETTINGS.get_or_init_async(fetch).await
    /// }
    ///
    /// assert_eq!(block_on(settings()), "from afar");
    /// ```
    pub async fn get_or_init_async<F: AsyncFnOnce() -> T>(&self, f: F) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let init = async || {
            let value = f().await;
            // SAFETY: the once runs one at a time, and nobody reads before it is completed.
            unsafe { *self.value.get() = Some(value) };
        };
        self.once.call_once_force_async(init).await;
        self.get().expect("it has been set")
    }

    /// Returns the value, when it has been set: [`wait`](Self::wait) in a future, in any executor. Dropping that leaves
    /// nothing behind.
    pub async fn wait_async(&self) -> &T {
        self.once.wait_force_async().await;
        self.get().expect("it has been set")
    }

    /// Takes the value out.
    pub fn take(&mut self) -> Option<T> {
        self.once = Once::new();
        self.value.get_mut().take()
    }

    /// Returns the value.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }
}

#[cfg(not(roving_loom))]
impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_tuple("OnceLock");
        match self.get() {
            Some(value) => fields.field(value),
            None => fields.field(&format_args!("<uninit>")),
        };
        fields.finish()
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        self.get().cloned().map_or_else(Self::new, Self::from)
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> Self {
        let cell = Self::new();
        let _is_empty = cell.set(value);
        cell
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}
