//! [`RwLock`], std's face on [`raw_rwlock`](super::raw_rwlock).

use std::any;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use super::poison::{Entry, Flag};
use super::raw_rwlock::RawRwLock;
use crate::thread;

/// A reader-writer lock, as [`std::sync::RwLock`], that a green thread may hold while it blocks.
///
/// # Fairness
///
/// While readers and writers wait, a phase of all readers who wait and one writer alternate, so
/// neither starves. As in std, a thread that reads must not read again while a writer may wait: it
/// would wait for the writer, which waits for it.
///
/// # Examples
///
/// ```
/// use roving::sync::RwLock;
///
/// let lock = RwLock::new(5);
/// {
///     let (one, two) = (lock.read().unwrap(), lock.read().unwrap());
///     assert_eq!(*one + *two, 10);
/// }
/// *lock.write().unwrap() += 1;
/// assert_eq!(*lock.read().unwrap(), 6);
/// ```
pub struct RwLock<T: ?Sized> {
    pub(super) raw: RawRwLock,
    poison: Flag,
    data: UnsafeCell<T>,
}

// SAFETY: the data moves with the lock.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: readers share the data and a writer may move it out, each on its own thread.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

impl<T> RwLock<T> {
    /// Makes an unlocked lock.
    #[cfg(not(roving_loom))]
    pub const fn new(value: T) -> Self {
        Self {
            raw: RawRwLock::new(),
            poison: Flag::new(),
            data: UnsafeCell::new(value),
        }
    }

    /// Makes an unlocked lock.
    #[cfg(roving_loom)]
    pub fn new(value: T) -> Self {
        Self {
            raw: RawRwLock::new(),
            poison: Flag::new(),
            data: UnsafeCell::new(value),
        }
    }

    /// Returns the data.
    ///
    /// # Errors
    ///
    /// The lock is poisoned; the error has the data.
    pub fn into_inner(self) -> LockResult<T> {
        let data = self.data.into_inner();
        self.poison.result(data)
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks for reading, blocking the current thread until it can.
    ///
    /// # Errors
    ///
    /// A writer panicked; the error has the guard.
    ///
    /// # Panics
    ///
    /// Panics if there are a thousand million readers; in debug builds, if the current thread holds the
    /// lock for writing. Otherwise that waits for ever.
    #[inline]
    #[track_caller]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.raw.read(any::type_name::<T>());
        self.reading()
    }

    /// Locks for reading if that can be done at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock) if a writer has it, or waits;
    /// [`Poisoned`](TryLockError::Poisoned) as with [`read`](Self::read).
    #[track_caller]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.raw.try_read() {
            Ok(self.reading()?)
        } else {
            thread::polled_in_vain();
            Err(TryLockError::WouldBlock)
        }
    }

    /// Locks for reading, waiting for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As [`try_read`](Self::try_read).
    #[track_caller]
    pub fn try_read_for(&self, timeout: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self
            .raw
            .read_until(any::type_name::<T>(), Instant::now().checked_add(timeout))
        {
            Ok(self.reading()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Locks for writing, blocking the current thread until it can.
    ///
    /// # Errors
    ///
    /// A writer panicked; the error has the guard.
    ///
    /// # Panics
    ///
    /// In debug builds, if the current thread holds the lock for writing already. Otherwise that waits
    /// for ever.
    #[inline]
    #[track_caller]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.raw.write(any::type_name::<T>());
        self.writing()
    }

    /// Locks for writing if that can be done at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock) if it is locked;
    /// [`Poisoned`](TryLockError::Poisoned) as with [`write`](Self::write).
    #[track_caller]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self.raw.try_write() {
            Ok(self.writing()?)
        } else {
            thread::polled_in_vain();
            Err(TryLockError::WouldBlock)
        }
    }

    /// Locks for writing, waiting for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As [`try_write`](Self::try_write).
    #[track_caller]
    pub fn try_write_for(&self, timeout: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self
            .raw
            .write_until(any::type_name::<T>(), Instant::now().checked_add(timeout))
        {
            Ok(self.writing()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    fn data(&self) -> NonNull<T> {
        NonNull::new(self.data.get()).expect("a reference is not null")
    }

    #[inline]
    pub(super) fn reading(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.poison.result(RwLockReadGuard {
            data: self.data(),
            raw: &self.raw,
        })
    }

    #[inline]
    pub(super) fn writing(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.poison.result(RwLockWriteGuard {
            lock: self,
            entry: self.poison.enter(),
            this_thread: PhantomData,
        })
    }

    /// Returns whether the lock is poisoned.
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// Makes the lock not poisoned.
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// Returns the data, without a lock: the exclusive reference proves that there is none.
    ///
    /// # Errors
    ///
    /// The lock is poisoned; the error has the data.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        if self.poison.is_set() {
            Err(PoisonError::new(self.data.get_mut()))
        } else {
            Ok(self.data.get_mut())
        }
    }
}

#[cfg(not(roving_loom))]
impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => fields.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => fields.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => fields.field("data", &format_args!("<locked>")),
        };
        fields.field("poisoned", &self.is_poisoned());
        fields.finish_non_exhaustive()
    }
}

/// A lock for reading, released when this is dropped.
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockReadGuard<'a, T: ?Sized + 'a> {
    /// A pointer, so that the guard is covariant, as std's. It also keeps it on its thread: a lock
    /// is released by the one that took it.
    data: NonNull<T>,
    raw: &'a RawRwLock,
}

// SAFETY: a shared guard gives nothing but `&T`.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard is a lock for reading, and borrows what it points to.
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard is a lock for reading.
        unsafe { self.raw.unlock_read() };
    }
}

/// A lock for writing, released when this is dropped.
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockWriteGuard<'a, T: ?Sized + 'a> {
    lock: &'a RwLock<T>,
    entry: Entry,
    /// As std's: a lock is released by the thread that took it.
    this_thread: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives nothing but `&T`.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Makes it a lock for reading, with no time in between in which another could write.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut writing = lock.write().unwrap();
    /// *writing = 2;
    /// let reading = RwLockWriteGuard::downgrade(writing);
    /// assert_eq!(*reading + *lock.read().unwrap(), 4);
    /// ```
    pub fn downgrade(s: Self) -> RwLockReadGuard<'a, T> {
        let lock = s.lock;
        lock.poison.leave(s.entry);
        mem::forget(s);
        // SAFETY: the guard, which is gone, was the lock for writing.
        unsafe { lock.raw.downgrade() };
        RwLockReadGuard {
            data: lock.data(),
            raw: &lock.raw,
        }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard is the lock for writing.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the lock for writing, and there is one.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.leave(self.entry);
        // SAFETY: the guard is the lock for writing.
        unsafe { self.lock.raw.unlock_write() };
    }
}

macro_rules! shown_as_the_data {
    ($($guard:ident)*) => {
        $(
            impl<T: ?Sized + fmt::Debug> fmt::Debug for $guard<'_, T> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    (**self).fmt(f)
                }
            }

            impl<T: ?Sized + fmt::Display> fmt::Display for $guard<'_, T> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    (**self).fmt(f)
                }
            }
        )*
    };
}

shown_as_the_data!(RwLockReadGuard RwLockWriteGuard);
