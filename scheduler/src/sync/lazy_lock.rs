//! [`LazyLock`]: a value that is made when it is first used.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{self, AssertUnwindSafe, RefUnwindSafe, UnwindSafe};

use super::Once;

/// Whether the closure has run.
enum Stage {
    Function,
    Value,
    /// The closure panicked: there is neither.
    Neither,
}

union Data<T, F> {
    value: ManuallyDrop<T>,
    function: ManuallyDrop<F>,
}

/// A value that is made when it is first used, as [`std::sync::LazyLock`]. What makes it may block.
///
/// It is code that blocks, and so is its use: in a future call it in [`greenly`](crate::greenly()), or take a
/// [`OnceLock`](super::OnceLock), whose value a [future](super::OnceLock::get_or_init_async) may make.
///
/// A cancellation or a deadline that ends what makes it is a panic to the lock as any other, after which
/// there will be no value: make one that blocks for long within [`shield`](crate::shield()), or take
/// a [`OnceLock`](super::OnceLock), where the next one tries again.
///
/// # Examples
///
/// ```
/// use roving::sync::LazyLock;
///
/// static SQUARES: LazyLock<Vec<u32>> = LazyLock::new(|| (0..4).map(|n| n * n).collect());
/// assert_eq!(*SQUARES, [0, 1, 4, 9]);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    /// The function until `once` has run, the value when it is completed.
    data: UnsafeCell<Data<T, F>>,
    /// Written by whoever runs the `once`; read where nobody else can.
    stage: UnsafeCell<Stage>,
}

// SAFETY: the value is reached by `&T` from several threads; the function is moved to the one that
// runs it.
unsafe impl<T: Sync + Send, F: Send> Sync for LazyLock<T, F> {}

impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

#[cold]
#[track_caller]
fn panic_poisoned() -> ! {
    panic!("LazyLock instance has previously been poisoned");
}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// Makes a value that `f` will make.
    #[cfg(not(roving_loom))]
    pub const fn new(f: F) -> Self {
        Self {
            once: Once::new(),
            data: UnsafeCell::new(Data {
                function: ManuallyDrop::new(f),
            }),
            stage: UnsafeCell::new(Stage::Function),
        }
    }

    /// Returns the value, which is made if it has not been.
    ///
    /// # Panics
    ///
    /// A panic of the closure goes on, and any later use panics. In debug builds, if the closure uses the value; otherwise that
    /// waits for ever.
    #[track_caller]
    pub fn force(this: &Self) -> &T {
        if !this.once.is_completed() {
            this.make();
        }
        // SAFETY: completed means that the value is there, and nobody changes it.
        unsafe { &(*this.data.get()).value }
    }

    /// Returns the value, which is made if it has not been.
    ///
    /// # Panics
    ///
    /// As [`force`](Self::force).
    #[track_caller]
    pub fn force_mut(this: &mut Self) -> &mut T {
        Self::force(this);
        // SAFETY: it has been forced.
        unsafe { &mut this.data.get_mut().value }
    }

    #[cold]
    #[track_caller]
    fn make(&self) {
        let mut payload = None;
        self.once.call_once_force(|state| {
            if state.is_poisoned() {
                state.poison();
                return;
            }
            // SAFETY: the closure of a once has its data for itself, and the function is there,
            // since no other closure has run.
            let function = unsafe {
                *self.stage.get() = Stage::Neither;
                ManuallyDrop::take(&mut (*self.data.get()).function)
            };
            match panic::catch_unwind(AssertUnwindSafe(function)) {
                // SAFETY: as above.
                Ok(value) => unsafe {
                    (*self.data.get()).value = ManuallyDrop::new(value);
                    *self.stage.get() = Stage::Value;
                },
                Err(panicked) => {
                    payload = Some(panicked);
                    state.poison();
                }
            }
        });
        if let Some(payload) = payload {
            panic::resume_unwind(payload);
        }
        if !self.once.is_completed() {
            panic_poisoned();
        }
    }
}

impl<T, F> LazyLock<T, F> {
    /// Returns the value, if it has been made. Never blocks.
    pub fn get(this: &Self) -> Option<&T> {
        if this.once.is_completed() {
            // SAFETY: completed means that the value is there.
            Some(unsafe { &(*this.data.get()).value })
        } else {
            None
        }
    }

    /// Returns the value, if it has been made.
    pub fn get_mut(this: &mut Self) -> Option<&mut T> {
        if this.once.is_completed() {
            // SAFETY: completed means that the value is there.
            Some(unsafe { &mut this.data.get_mut().value })
        } else {
            None
        }
    }
}

impl<T, F> Drop for LazyLock<T, F> {
    fn drop(&mut self) {
        let data = self.data.get_mut();
        match self.stage.get_mut() {
            // SAFETY: the stage tells what is there.
            Stage::Function => unsafe { ManuallyDrop::drop(&mut data.function) },
            // SAFETY: as above.
            Stage::Value => unsafe { ManuallyDrop::drop(&mut data.value) },
            Stage::Neither => {}
        }
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        Self::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    #[inline]
    #[track_caller]
    fn deref_mut(&mut self) -> &mut T {
        Self::force_mut(self)
    }
}

#[cfg(not(roving_loom))]
impl<T: Default> Default for LazyLock<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_tuple("LazyLock");
        match Self::get(self) {
            Some(value) => fields.field(value),
            None => fields.field(&format_args!("<uninit>")),
        };
        fields.finish()
    }
}
