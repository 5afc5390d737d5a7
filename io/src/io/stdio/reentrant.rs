//! A lock that its holder may take again, so that what is printed while something is printed does not wait for itself.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::PoisonError;

use roving_scheduler::sync::{Mutex, MutexGuard};
use roving_scheduler::thread::{self, ThreadId};

/// See the [module](self). Who waits for it parks, if it is a green thread. A panic of the holder does not poison it.
#[derive(Debug)]
pub(super) struct ReentrantLock<T: 'static> {
    lock: Mutex<()>,
    /// Who has the lock. Held for a few instructions.
    holder: roving_scheduler::lock::Mutex<Option<Holder>>,
    value: T,
}

#[derive(Debug)]
struct Holder {
    thread: ThreadId,
    /// How many guards the thread has.
    times: usize,
    lock: MutexGuard<'static, ()>,
}

// SAFETY: `value` is only reached by a guard, and all guards that there are at a time belong to one thread, which they cannot
// leave; so sharing the lock moves `T` between threads, and shares it with none. The guard in `holder` is put there by the thread
// that has locked, and taken out by the same one, with its last guard; others look at `thread` only.
unsafe impl<T: Send> Sync for ReentrantLock<T> {}

// SAFETY: to lock it takes a borrow for ever, after which it is not moved. One that is moved has no guard in `holder`.
unsafe impl<T: Send> Send for ReentrantLock<T> {}

impl<T> ReentrantLock<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            lock: Mutex::new(()),
            holder: roving_scheduler::lock::Mutex::new(None),
            value,
        }
    }

    #[track_caller]
    pub(super) fn lock(&'static self) -> ReentrantGuard<T> {
        self.lock_again().unwrap_or_else(|| {
            let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.locked(lock)
        })
    }

    /// Takes the lock if no other thread has it.
    pub(super) fn try_lock(&'static self) -> Option<ReentrantGuard<T>> {
        self.lock_again().or_else(|| {
            let lock = match self.lock.try_lock() {
                Ok(lock) => lock,
                Err(std::sync::TryLockError::Poisoned(error)) => error.into_inner(),
                Err(std::sync::TryLockError::WouldBlock) => return None,
            };
            Some(self.locked(lock))
        })
    }

    /// Another guard, if the current thread has one.
    fn lock_again(&'static self) -> Option<ReentrantGuard<T>> {
        let mut holder = self.holder.lock();
        let holder = holder.as_mut()?;
        if holder.thread != thread::current().id() {
            return None;
        }
        holder.times += 1;
        Some(self.guard())
    }

    fn locked(&'static self, lock: MutexGuard<'static, ()>) -> ReentrantGuard<T> {
        let before = self.holder.lock().replace(Holder {
            thread: thread::current().id(),
            times: 1,
            lock,
        });
        debug_assert!(before.is_none());
        self.guard()
    }

    fn guard(&'static self) -> ReentrantGuard<T> {
        ReentrantGuard {
            lock: self,
            _stays_on_its_thread: PhantomData,
        }
    }
}

pub(super) struct ReentrantGuard<T: 'static> {
    lock: &'static ReentrantLock<T>,
    _stays_on_its_thread: PhantomData<*const ()>,
}

impl<T> Deref for ReentrantGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lock.value
    }
}

impl<T> Drop for ReentrantGuard<T> {
    fn drop(&mut self) {
        let mut holder = self.lock.holder.lock();
        let held = holder.as_mut().expect("who has a guard holds the lock");
        held.times -= 1;
        let last = if held.times == 0 { holder.take() } else { None };
        // Whoever is woken by the unlock finds no holder.
        drop(holder);
        drop(last.map(|last| last.lock));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::LazyLock;

    use super::*;

    #[test]
    fn its_holder_takes_it_again_and_others_wait() {
        static LOCK: LazyLock<ReentrantLock<Cell<u32>>> =
            LazyLock::new(|| ReentrantLock::new(Cell::new(0)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(|| {
                    for _ in 0..100 {
                        let one = LOCK.lock();
                        let other = LOCK.lock();
                        let seen = one.get();
                        // In the order in which they were made.
                        drop(one);
                        thread::yield_now();
                        assert!(LOCK.try_lock().is_some());
                        other.set(seen + 1);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        let held = LOCK.lock();
        assert_eq!(held.get(), 400);
        let tries = std::thread::spawn(|| LOCK.try_lock().is_none());
        assert!(tries.join().unwrap());
    }
}
