//! [`Mutex`], std's face on [`raw_mutex`](super::raw_mutex).

use std::any;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use super::poison::{Entry, Flag};
use super::raw_mutex::RawMutex;
use crate::thread;

/// A mutual exclusion lock, as [`std::sync::Mutex`], that a green thread may hold while it blocks.
///
/// A green thread that waits for it costs no OS thread, so holding it over a read or a `recv` is
/// fine. It may be shared between green threads and OS threads. The lock is one word: an
/// uncontended [`lock`](Self::lock) is one compare-and-swap.
///
/// # Fairness
///
/// A running thread may overtake one that has just been woken, but only once: a thread that waits
/// is woken twice at most, and the second time the lock is already its own.
///
/// # Poisoning
///
/// As in std: a mutex is poisoned when a thread panics, or is cancelled, while it holds it.
///
/// # Examples
///
/// ```
/// use roving::sync::Mutex;
/// use roving::thread;
///
/// static COUNT: Mutex<u32> = Mutex::new(0);
/// let threads: Vec<_> = (0..10)
///     .map(|_| {
///         thread::spawn(|| {
///             let mut count = COUNT.lock().unwrap();
///             thread::yield_now();
///             *count += 1;
///         })
///     })
///     .collect();
/// for thread in threads {
///     thread.join().unwrap();
/// }
/// assert_eq!(*COUNT.lock().unwrap(), 10);
/// ```
pub struct Mutex<T: ?Sized> {
    pub(super) raw: RawMutex,
    pub(super) poison: Flag,
    data: UnsafeCell<T>,
}

// SAFETY: the data moves with the mutex.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: only the holder of the lock reaches the data, so sharing the mutex moves `T` between
// threads.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    /// Makes an unlocked mutex.
    #[cfg(not(roving_loom))]
    pub const fn new(value: T) -> Self {
        Self {
            raw: RawMutex::new(),
            poison: Flag::new(),
            data: UnsafeCell::new(value),
        }
    }

    /// Makes an unlocked mutex.
    #[cfg(roving_loom)]
    pub fn new(value: T) -> Self {
        Self {
            raw: RawMutex::new(),
            poison: Flag::new(),
            data: UnsafeCell::new(value),
        }
    }

    /// Returns the data.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned; the error has the data.
    pub fn into_inner(self) -> LockResult<T> {
        let data = self.data.into_inner();
        self.poison.result(data)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks the mutex, blocking the current thread until it can.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned; the error has the guard.
    ///
    /// # Panics
    ///
    /// In debug builds, if the current thread holds the lock already. Otherwise that waits for
    /// ever.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.raw.lock(any::type_name::<T>());
        self.locked()
    }

    /// Locks the mutex if that can be done at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock) if it is locked;
    /// [`Poisoned`](TryLockError::Poisoned) as with [`lock`](Self::lock).
    #[track_caller]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.try_lock() {
            Ok(self.locked()?)
        } else {
            thread::polled_in_vain();
            Err(TryLockError::WouldBlock)
        }
    }

    /// Locks the mutex, waiting for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As [`try_lock`](Self::try_lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::Mutex;
    /// use std::time::Duration;
    ///
    /// let mutex = Mutex::new(1);
    /// let held = mutex.lock().unwrap();
    /// assert!(mutex.try_lock_for(Duration::from_millis(1)).is_err());
    /// drop(held);
    /// assert!(mutex.try_lock_for(Duration::from_millis(1)).is_ok());
    /// ```
    #[track_caller]
    pub fn try_lock_for(&self, timeout: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        self.lock_within(Instant::now().checked_add(timeout))
    }

    /// Locks the mutex, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`try_lock`](Self::try_lock).
    #[track_caller]
    pub fn try_lock_until(&self, deadline: Instant) -> TryLockResult<MutexGuard<'_, T>> {
        self.lock_within(Some(deadline))
    }

    #[track_caller]
    fn lock_within(&self, deadline: Option<Instant>) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.lock_until(any::type_name::<T>(), deadline) {
            Ok(self.locked()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Locks a mutex of ours, which is held for a moment at a time: nothing interrupts it, and it
    /// is never left in a bad state.
    #[track_caller]
    pub(super) fn lock_sure(&self) -> MutexGuard<'_, T> {
        self.lock_uninterruptible()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the mutex, whatever would interrupt that.
    #[track_caller]
    pub(super) fn lock_uninterruptible(&self) -> LockResult<MutexGuard<'_, T>> {
        self.raw.lock_uninterruptible(any::type_name::<T>());
        self.locked()
    }

    /// The guard of the lock that has just been taken.
    #[inline]
    pub(super) fn locked(&self) -> LockResult<MutexGuard<'_, T>> {
        self.poison.result(MutexGuard {
            mutex: self,
            entry: self.poison.enter(),
            this_thread: PhantomData,
        })
    }

    /// Returns whether the mutex is poisoned.
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// Makes the mutex not poisoned.
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// Returns the data, without a lock: the exclusive reference proves that there is none.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned; the error has the data.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        if self.poison.is_set() {
            Err(PoisonError::new(self.data.get_mut()))
        } else {
            Ok(self.data.get_mut())
        }
    }
}

#[cfg(not(roving_loom))]
impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => fields.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => fields.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => fields.field("data", &format_args!("<locked>")),
        };
        fields.field("poisoned", &self.is_poisoned());
        fields.finish_non_exhaustive()
    }
}

/// The lock of a [`Mutex`], released when this is dropped.
#[must_use = "if unused the Mutex will immediately unlock"]
pub struct MutexGuard<'a, T: ?Sized + 'a> {
    mutex: &'a Mutex<T>,
    entry: Entry,
    /// As std's: a lock is released by the thread that took it.
    this_thread: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives nothing but `&T`.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Gives the mutex, which stays locked.
    pub(super) fn into_mutex(self) -> &'a Mutex<T> {
        let mutex = self.mutex;
        mem::forget(self);
        mutex
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard is the lock.
        unsafe { &*self.mutex.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the lock, and there is one.
        unsafe { &mut *self.mutex.data.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.poison.leave(self.entry);
        // SAFETY: the guard is the lock.
        unsafe { self.mutex.raw.unlock() };
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
