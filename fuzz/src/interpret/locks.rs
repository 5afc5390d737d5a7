//! Everything in `sync` but channels.

use std::mem;
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use roving::sync::{RwLockWriteGuard, TaskGuard, TryLockError, TryLockResult};

use super::{Thread, limit};
use crate::oracle::Oracle;
use crate::program::{Action, Body, Fate, Op, Patience};
use crate::value::Item;
use crate::world::{Guarded, Inside, PERMITS};

impl Thread<'_> {
    #[inline(never)]
    pub(super) fn lock(&mut self, op: &Op) {
        match op {
            Op::Lock {
                mutex,
                patience,
                fate,
                body,
            } => self.mutex(*mutex, *patience, *fate, body),
            Op::Read {
                lock,
                patience,
                fate,
                body,
            } => self.read(*lock, *patience, *fate, body),
            Op::Write {
                lock,
                patience,
                downgrade,
                fate,
                body,
            } => self.write(*lock, *patience, *downgrade, *fate, body),
            Op::CondvarWait { condvar, patience } => self.condvar(*condvar, *patience),
            Op::CondvarNotify { condvar, all: true } => {
                self.world.condvars[*condvar].1.notify_all();
            }
            Op::CondvarNotify { condvar, .. } => self.world.condvars[*condvar].1.notify_one(),
            Op::Acquire {
                semaphore,
                permits,
                patience,
                fate,
                body,
            } => self.acquire(*semaphore, *permits, *patience, *fate, body),
            Op::BarrierWait(barrier) if self.as_futures => {
                let barrier = &self.world.barriers[*barrier];
                Self::wait_for(Patience::Forever, barrier.wait_async());
            }
            Op::BarrierWait(barrier) => {
                self.world.barriers[*barrier].wait();
            }
            Op::NotifyWait { notify, patience } if self.as_futures => {
                Self::wait_for(*patience, self.world.notifies[*notify].wait_async());
            }
            Op::NotifyWait { notify, patience } => {
                let notify = &self.world.notifies[*notify];
                match limit(*patience) {
                    Some(limit) => drop(notify.wait_timeout(limit)),
                    None => notify.wait(),
                }
            }
            Op::Notify { notify, all: true } => self.world.notifies[*notify].notify_all(),
            Op::Notify { notify, .. } => self.world.notifies[*notify].notify_one(),
            Op::Once { once, body } => self.once(*once, body),
            Op::OneshotSend(oneshot) => {
                let sender = take(&self.world.oneshots[*oneshot].sender);
                if let Some(sender) = sender {
                    drop(sender.send(self.item("oneshot")));
                }
            }
            Op::OneshotReceive { oneshot, patience } => self.oneshot(*oneshot, *patience),
            Op::Broadcast => drop(self.world.broadcast.send(Arc::new(self.item("broadcast")))),
            Op::BroadcastReceive(patience) => {
                let receiver = self
                    .broadcast
                    .get_or_insert_with(|| self.world.broadcast.subscribe());
                match patience {
                    _ if self.as_futures => {
                        drop(Self::wait_for(*patience, receiver.recv_async()));
                    }
                    Patience::Never => drop(receiver.try_recv()),
                    Patience::For(micros) => {
                        drop(receiver.recv_timeout(Duration::from_micros(*micros)));
                    }
                    Patience::Forever => drop(receiver.recv()),
                }
            }
            Op::WatchSend => drop(self.world.watch.send_replace(self.item("watched"))),
            Op::WatchWait(patience) => {
                let receiver = self
                    .watch
                    .get_or_insert_with(|| self.world.watch.subscribe());
                let _ = match limit(*patience) {
                    _ if self.as_futures => {
                        Self::wait_for(*patience, receiver.changed_async()).is_some()
                    }
                    Some(limit) => receiver.changed_timeout(limit).is_ok(),
                    None => receiver.changed().is_ok(),
                };
                drop(receiver.borrow_and_update());
            }
            _ => unreachable!("another file does the rest"),
        }
    }

    /// A value whose destructor blocks, wherever it is that the last one drops it.
    fn item(&self, what: &'static str) -> Item {
        Item::with_action(&self.world.oracle, what, self.status.number, Action::Yield)
    }

    /// How long to wait for the lock at an address. One that this thread holds, or that nobody will
    /// ever release, is only tried.
    fn patience_for(&self, address: usize, is_forgotten: bool, patience: Patience) -> Patience {
        if is_forgotten || self.held.contains(&address) {
            Patience::Never
        } else {
            patience
        }
    }

    fn while_held(&mut self, address: usize, body: &Body) {
        self.held.push(address);
        self.run(body);
        self.held.pop();
    }

    fn mutex(&mut self, number: usize, patience: Patience, fate: Fate, body: &Body) {
        let world = self.world;
        let mutex = &world.mutexes[number];
        let address = ptr::from_ref(mutex).addr();
        let is_forgotten = mutex.is_forgotten.load(Ordering::SeqCst);
        let patience = self.patience_for(address, is_forgotten, patience);
        if self.as_futures {
            if let Some(locked) = Self::wait_for(patience, mutex.lock_async()) {
                let guard = locked.unwrap_or_else(PoisonError::into_inner);
                self.while_locked(
                    guard,
                    Guarded::write,
                    address,
                    &mutex.is_forgotten,
                    fate,
                    body,
                );
            }
            return;
        }
        let locked = match patience {
            Patience::Never => mutex.try_lock(),
            Patience::For(micros) => mutex.try_lock_for(Duration::from_micros(micros)),
            Patience::Forever => mutex.lock().map_err(TryLockError::from),
        };
        if let Some(guard) = had(locked) {
            self.while_locked(
                guard,
                Guarded::write,
                address,
                &mutex.is_forgotten,
                fate,
                body,
            );
        }
    }

    /// Does what is done under a lock, for which its data is `enter`ed.
    fn while_locked(
        &mut self,
        guard: impl Deref<Target = Guarded>,
        enter: for<'a> fn(&'a Guarded, &Oracle) -> Inside<'a>,
        address: usize,
        is_forgotten: &AtomicBool,
        fate: Fate,
        body: &Body,
    ) {
        let inside = enter(&guard, &self.world.oracle);
        self.while_held(address, body);
        if fate == Fate::Forget {
            is_forgotten.store(true, Ordering::SeqCst);
            mem::forget(inside);
            mem::forget(guard);
        }
    }

    fn read(&mut self, number: usize, patience: Patience, fate: Fate, body: &Body) {
        let world = self.world;
        let lock = &world.locks[number];
        let address = ptr::from_ref(lock).addr();
        let is_forgotten = lock.is_forgotten.load(Ordering::SeqCst);
        let patience = self.patience_for(address, is_forgotten, patience);
        if self.as_futures {
            if let Some(locked) = Self::wait_for(patience, lock.read_async()) {
                let guard = locked.unwrap_or_else(PoisonError::into_inner);
                self.while_locked(
                    guard,
                    Guarded::read,
                    address,
                    &lock.is_forgotten,
                    fate,
                    body,
                );
            }
            return;
        }
        let locked = match patience {
            Patience::Never => lock.try_read(),
            Patience::For(micros) => lock.try_read_for(Duration::from_micros(micros)),
            Patience::Forever => lock.read().map_err(TryLockError::from),
        };
        if let Some(guard) = had(locked) {
            self.while_locked(
                guard,
                Guarded::read,
                address,
                &lock.is_forgotten,
                fate,
                body,
            );
        }
    }

    fn write(
        &mut self,
        number: usize,
        patience: Patience,
        downgrade: bool,
        fate: Fate,
        body: &Body,
    ) {
        let world = self.world;
        let lock = &world.locks[number];
        let address = ptr::from_ref(lock).addr();
        let is_forgotten = lock.is_forgotten.load(Ordering::SeqCst);
        let patience = self.patience_for(address, is_forgotten, patience);
        if self.as_futures {
            let Some(locked) = Self::wait_for(patience, lock.write_async()) else {
                return;
            };
            let guard = locked.unwrap_or_else(PoisonError::into_inner);
            if downgrade {
                let inside = guard.write(&world.oracle);
                self.while_held(address, body);
                drop(inside);
                let guard = TaskGuard::downgrade(guard);
                let _inside = guard.read(&world.oracle);
                roving::thread::yield_now();
            } else {
                self.while_locked(
                    guard,
                    Guarded::write,
                    address,
                    &lock.is_forgotten,
                    fate,
                    body,
                );
            }
            return;
        }
        let locked = match patience {
            Patience::Never => lock.try_write(),
            Patience::For(micros) => lock.try_write_for(Duration::from_micros(micros)),
            Patience::Forever => lock.write().map_err(TryLockError::from),
        };
        let Some(guard) = had(locked) else { return };
        if downgrade {
            let inside = guard.write(&world.oracle);
            self.while_held(address, body);
            drop(inside);
            let guard = RwLockWriteGuard::downgrade(guard);
            let _inside = guard.read(&world.oracle);
            roving::thread::yield_now();
        } else {
            self.while_locked(
                guard,
                Guarded::write,
                address,
                &lock.is_forgotten,
                fate,
                body,
            );
        }
    }

    fn condvar(&mut self, number: usize, patience: Patience) {
        let world = self.world;
        let (mutex, condvar) = &world.condvars[number];
        if self.as_futures {
            let waits = async {
                let guard = mutex
                    .lock_async()
                    .await
                    .unwrap_or_else(PoisonError::into_inner);
                let waited = condvar.wait_async(guard).await;
                let guard = waited.unwrap_or_else(PoisonError::into_inner);
                drop(guard.write(&world.oracle));
            };
            Self::wait_for(patience, waits);
            return;
        }
        let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        let guard = match limit(patience) {
            Some(limit) => {
                let waited = condvar.wait_timeout(guard, limit);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
        };
        let _inside = guard.write(&world.oracle);
    }

    fn acquire(
        &mut self,
        number: usize,
        permits: usize,
        patience: Patience,
        fate: Fate,
        body: &Body,
    ) {
        let world = self.world;
        let semaphore = &world.semaphores[number];
        let permit = match (patience, permits) {
            (Patience::For(_), _) if self.as_futures => {
                Self::wait_for(patience, semaphore.semaphore.acquire_async())
            }
            _ if self.as_futures => {
                Self::wait_for(patience, semaphore.semaphore.acquire_many_async(permits))
            }
            (Patience::Forever, 1) => Some(semaphore.semaphore.acquire()),
            (Patience::Forever, _) => Some(semaphore.semaphore.acquire_many(permits)),
            (Patience::For(micros), _) => {
                let limit = Duration::from_micros(micros);
                semaphore.semaphore.try_acquire_for(limit)
            }
            (Patience::Never, 1) => semaphore.semaphore.try_acquire(),
            (Patience::Never, _) => semaphore.semaphore.try_acquire_many(permits),
        };
        let Some(permit) = permit else {
            return;
        };
        let permits = match patience {
            Patience::For(_) => 1,
            _ => permits,
        };
        let (inside, before) = Inside::enter(&semaphore.taken, permits);
        world.oracle.check(
            before + permits <= PERMITS,
            format_args!("{} permits are taken of {PERMITS}", before + permits),
        );
        self.run(body);
        if fate == Fate::Forget {
            semaphore.forgotten.fetch_add(permits, Ordering::SeqCst);
            mem::forget(inside);
            mem::forget(permit);
        }
    }

    fn once(&mut self, number: usize, body: &Body) {
        let world = self.world;
        let once = &world.onces[number];
        once.call_once_force(|_| {
            let _inside = world.once_runs[number].write(&world.oracle);
            self.run(body);
        });
        world.oracle.check(
            once.is_completed(),
            format_args!("once {number} was called, and is not completed"),
        );
    }

    fn oneshot(&mut self, number: usize, patience: Patience) {
        let slot = &self.world.oneshots[number].receiver;
        let Some(receiver) = take(slot) else {
            return;
        };
        match patience {
            _ if self.as_futures => drop(Self::wait_for(patience, receiver)),
            Patience::Forever => drop(receiver.recv()),
            Patience::For(micros) => {
                drop(receiver.recv_timeout(Duration::from_micros(micros)));
            }
            Patience::Never => {
                if receiver.try_recv().is_err() {
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
                }
            }
        }
    }
}

fn take<T>(slot: &StdMutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The guard of a lock that was had, poisoned or not.
fn had<G>(locked: TryLockResult<G>) -> Option<G> {
    match locked {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
