//! Locks in futures: [`Mutex::lock_async`], [`RwLock::read_async`], [`RwLock::write_async`], and
//! [`TaskGuard`], by which a task holds one.
//!
//! A future waits where threads park, in one line with them, and is woken and handed the lock as they
//! are. When it is dropped, what it was given and has not taken goes on to the next.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::{LockResult, PoisonError};
use std::task::{Context, Poll, ready};

use super::parking::ParkedTask;
use super::raw_rwlock::{READS, WRITES};
use super::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A lock that belongs to a task and not to a thread: the guard of a [`Mutex`] or [`RwLock`] that was
/// locked in a future.
///
/// It may be held over an `await`, and goes with its task to another thread, if the data may: a plain
/// guard is `!Send`, as std's is, this one is `Send` if a reference of its kind to the data is.
///
/// The lock is poisoned if the guard is dropped by a thread that panics, as when the future that holds it
/// panics; not if that future is dropped otherwise, before it has ended.
///
/// # Examples
///
/// ```
/// use roving::sync::{Arc, Mutex};
///
/// # #[tokio::main]
/// # async fn main() {
/// let count = Arc::new(Mutex::new(0));
/// let adds = (0..10).map(|_| {
///     let count = count.clone();
///     tokio::spawn(async move {
///         let mut count = count.lock_async().await.unwrap();
///         tokio::task::yield_now().await;
///         *count += 1;
///     })
/// });
/// for add in adds.collect::<Vec<_>>() {
///     add.await.unwrap();
/// }
/// assert_eq!(*count.lock().unwrap(), 10);
/// # }
/// ```
#[must_use = "if unused the lock will immediately unlock"]
pub struct TaskGuard<G>(G);

// The locks are words and waiting lists, which any thread may change on behalf of whoever has the guard.
// No thread is noted as the holder of a lock that a future has taken. Poisoning knows the thread that was
// panicking when it took the lock from others that panic.

// SAFETY: as above, and with the guard goes `&mut T`.
unsafe impl<T: ?Sized + Send> Send for TaskGuard<MutexGuard<'_, T>> {}
// SAFETY: as above, and with the guard goes `&T`.
unsafe impl<T: ?Sized + Sync> Send for TaskGuard<RwLockReadGuard<'_, T>> {}
// SAFETY: as above, and with the guard goes `&mut T`, and `&T` with what it is downgraded to.
unsafe impl<T: ?Sized + Send + Sync> Send for TaskGuard<RwLockWriteGuard<'_, T>> {}

impl<'a, T: ?Sized> TaskGuard<MutexGuard<'a, T>> {
    /// Gives the mutex, which stays locked.
    pub(super) fn into_mutex(self) -> &'a Mutex<T> {
        self.0.into_mutex()
    }
}

impl<'a, T: ?Sized> TaskGuard<RwLockWriteGuard<'a, T>> {
    /// Makes it a lock for reading, as [`RwLockWriteGuard::downgrade`] does.
    pub fn downgrade(s: Self) -> TaskGuard<RwLockReadGuard<'a, T>> {
        TaskGuard(RwLockWriteGuard::downgrade(s.0))
    }
}

impl<G: Deref> Deref for TaskGuard<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.0
    }
}

impl<G: DerefMut> DerefMut for TaskGuard<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.0
    }
}

impl<G: fmt::Debug> fmt::Debug for TaskGuard<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<G: fmt::Display> fmt::Display for TaskGuard<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn of_task<G>(result: LockResult<G>) -> LockResult<TaskGuard<G>> {
    match result {
        Ok(guard) => Ok(TaskGuard(guard)),
        Err(error) => Err(PoisonError::new(TaskGuard(error.into_inner()))),
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks the mutex: [`lock`](Self::lock) as a future, in any executor.
    ///
    /// It is cancel-safe: if it is dropped, it has not locked, and loses its place. The guard may be held
    /// over an `await`. Threads that block and tasks wait in one line.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned; the error has the guard.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::sync::Mutex;
    /// use roving::{block_on, thread};
    ///
    /// let mutex = Mutex::new(1);
    /// let held = mutex.lock().unwrap();
    /// thread::scope(|scope| {
    ///     let adds = scope.spawn(|| block_on(async { *mutex.lock_async().await.unwrap() += 1 }));
    ///     drop(held);
    ///     adds.join().unwrap();
    /// });
    /// assert_eq!(*mutex.lock().unwrap(), 2);
    /// ```
    pub fn lock_async(&self) -> LockFuture<'_, T> {
        LockFuture {
            mutex: self,
            waits: ParkedTask::default(),
        }
    }

    /// Locks a mutex of ours: [`lock_sure`](Self::lock_sure) in a future.
    pub(super) async fn lock_sure_async(&self) -> TaskGuard<MutexGuard<'_, T>> {
        sure(self.lock_async().await)
    }
}

/// The guard of a lock of ours, which is never left in a bad state.
pub(super) fn sure<G>(result: LockResult<G>) -> G {
    result.unwrap_or_else(PoisonError::into_inner)
}

impl<T: ?Sized> RwLock<T> {
    /// Locks for reading: [`read`](Self::read) as a future. As [`Mutex::lock_async`] otherwise.
    ///
    /// # Errors
    ///
    /// A writer panicked; the error has the guard.
    ///
    /// # Panics
    ///
    /// The future panics if there are a thousand million readers.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// block_on(async {
    ///     *lock.write_async().await.unwrap() += 1;
    ///     assert_eq!(*lock.read_async().await.unwrap(), 2);
    /// });
    /// ```
    pub fn read_async(&self) -> ReadFuture<'_, T> {
        ReadFuture {
            lock: self,
            waits: ParkedTask::default(),
        }
    }

    /// Locks for writing: [`write`](Self::write) as a future. As [`Mutex::lock_async`] otherwise.
    ///
    /// # Errors
    ///
    /// A writer panicked; the error has the guard.
    pub fn write_async(&self) -> WriteFuture<'_, T> {
        WriteFuture {
            lock: self,
            waits: ParkedTask::default(),
        }
    }
}

/// Locks a [`Mutex`]: see [`Mutex::lock_async`].
#[must_use = "futures do nothing unless they are polled"]
pub struct LockFuture<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    waits: ParkedTask,
}

impl<'a, T: ?Sized> Future for LockFuture<'a, T> {
    type Output = LockResult<TaskGuard<MutexGuard<'a, T>>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        ready!(this.mutex.raw.poll_lock(&mut this.waits, context));
        Poll::Ready(of_task(this.mutex.locked()))
    }
}

impl<T: ?Sized> Drop for LockFuture<'_, T> {
    fn drop(&mut self) {
        self.mutex.raw.leave(&mut self.waits);
    }
}

/// Locks a [`RwLock`] for reading: see [`RwLock::read_async`].
#[must_use = "futures do nothing unless they are polled"]
pub struct ReadFuture<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    waits: ParkedTask,
}

impl<'a, T: ?Sized> Future for ReadFuture<'a, T> {
    type Output = LockResult<TaskGuard<RwLockReadGuard<'a, T>>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        ready!(this.lock.raw.poll_lock(READS, &mut this.waits, context));
        Poll::Ready(of_task(this.lock.reading()))
    }
}

impl<T: ?Sized> Drop for ReadFuture<'_, T> {
    fn drop(&mut self) {
        self.lock.raw.leave(READS, &mut self.waits);
    }
}

/// Locks a [`RwLock`] for writing: see [`RwLock::write_async`].
#[must_use = "futures do nothing unless they are polled"]
pub struct WriteFuture<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    waits: ParkedTask,
}

impl<'a, T: ?Sized> Future for WriteFuture<'a, T> {
    type Output = LockResult<TaskGuard<RwLockWriteGuard<'a, T>>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        ready!(this.lock.raw.poll_lock(WRITES, &mut this.waits, context));
        Poll::Ready(of_task(this.lock.writing()))
    }
}

impl<T: ?Sized> Drop for WriteFuture<'_, T> {
    fn drop(&mut self) {
        self.lock.raw.leave(WRITES, &mut self.waits);
    }
}

macro_rules! shown_by_name {
    ($($future:ident)*) => {
        $(
            impl<T: ?Sized> fmt::Debug for $future<'_, T> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.pad(concat!(stringify!($future), " { .. }"))
                }
            }
        )*
    };
}

shown_by_name!(LockFuture ReadFuture WriteFuture);
