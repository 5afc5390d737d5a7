//! The IO driver: one poller for all the descriptors that the green threads of one runtime wait
//! for.
//!
//! A runtime gets its driver when the first of its green threads meets a socket that is not ready.
//! From then on one of its workers at a time [waits](roving_scheduler::driver::Driver::wait) in it.
//!
//! The system's part is behind [`Poll`], in one file for each way of polling. This file keeps what
//! is registered: a slab, in which a [`Key`] finds a registration. The key travels through the
//! system with every event. An event can come late: it may lie in the batch of the waiter while
//! another thread removes its descriptor, closes it, and registers a new one, which may
//! well get the same slot. Therefore a key is a slot and a generation, and an event of another
//! generation is dropped.
//!
//! Locks: the batch, then the slab, then a registration; each is held for a few
//! instructions, but for the batch, which belongs to the one who waits.

#[cfg(target_os = "linux")]
mod alarm;
#[cfg(target_os = "linux")]
mod epoll;
#[cfg(any(windows, test))]
mod one_shot;
#[cfg(all(unix, any(not(target_os = "linux"), test)))]
mod portable;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roving_scheduler::Process;
use roving_scheduler::lock::Mutex;
use roving_scheduler::wait::Ticket;
use rustix::fd::BorrowedFd;
use slab::Slab;

#[cfg(target_os = "linux")]
use self::epoll::Epoll as System;
#[cfg(windows)]
use self::one_shot::OneShot as System;
#[cfg(all(unix, not(target_os = "linux")))]
use self::portable::Portable as System;
use crate::event::{Event, Key};
#[cfg(feature = "adopt")]
use crate::kept::Kept;
use crate::readiness::{Direction, Registration};

/// How many events are looked up under one lock of the slab, so that those who register need not
/// wait for a whole batch.
const EVENTS_A_LOCK: usize = 64;

/// The system's way of polling many descriptors.
trait Poll: fmt::Debug + Send + Sync + Sized {
    /// Whether events tell of what is ready though nothing has come: see [`Event::irregular`].
    const SEES_IRREGULARITIES: bool;

    /// Whether the system reports edges by itself. If not, it is [asked](Self::ask) for each.
    const REPORTS_EDGES: bool = true;

    /// Whether the system takes out a descriptor that is closed, if no other shares its open file description.
    const FORGETS_CLOSED: bool;

    /// Room for the events of one wait.
    type Batch: Send;

    fn new() -> io::Result<Self>;

    fn batch() -> Self::Batch;

    /// Reports the edges of `fd` from now on, as events of `key`. If it is ready now, that is the
    /// first edge. Where none are reported, nothing is until it is asked for.
    fn add(&self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()>;

    /// The same, but what is reported already stays as it is. Whether it was not.
    #[cfg(feature = "adopt")]
    fn add_if_new(&self, fd: BorrowedFd<'_>, key: Key) -> io::Result<bool>;

    /// Its own, for one that has just been made.
    #[cfg(feature = "adopt")]
    fn descriptors(&self) -> Vec<std::os::fd::RawFd>;

    /// Reports an edge of what was added by `key` when the direction is ready, or is so by now.
    fn ask(&self, key: Key, direction: Direction) -> io::Result<()> {
        let _ = (key, direction);
        Ok(())
    }

    /// Reports no more of `fd`, which was added by `key`, once the wait that is under way has returned.
    fn remove(&self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()>;

    /// Waits for events, for `timeout`, or for `wake`. An interruption by a signal is an early
    /// return.
    fn wait(&self, batch: &mut Self::Batch, timeout: Option<Duration>) -> io::Result<()>;

    /// Makes the wait that is under way return, or else the next one.
    fn wake(&self);

    /// The events of the last wait.
    fn events(batch: &Self::Batch) -> impl Iterator<Item = Event>;
}

/// See the [module](self).
pub(crate) struct Driver {
    /// Before the poller, which closes them.
    #[cfg(feature = "adopt")]
    _kept: Kept,
    poller: System,
    batch: Mutex<<System as Poll>::Batch>,
    registered: Mutex<Registered>,
    /// Whether the one who waits has not seen yet what ended that.
    sleeps: AtomicBool,
    /// Whose it is. A forked child shares what is registered with the system, and must not change it.
    process: Process,
}

impl Driver {
    /// Whether edges come by themselves, and need not be [asked](Self::ask) for.
    pub(crate) const REPORTS_EDGES: bool = System::REPORTS_EDGES;

    pub(crate) fn new() -> io::Result<Self> {
        let poller = System::new()?;
        Ok(Self {
            #[cfg(feature = "adopt")]
            _kept: Kept::new(poller.descriptors()),
            poller,
            batch: Mutex::new(System::batch()),
            registered: Mutex::new(Registered::default()),
            sleeps: AtomicBool::new(false),
            process: Process::current(),
        })
    }

    /// Registers `fd`. It must be [deregistered](Self::deregister) or [forgotten](Self::forget) before it is closed.
    pub(crate) fn register(&self, fd: BorrowedFd<'_>) -> io::Result<Arc<Registration>> {
        let registration = self
            .registered
            .lock()
            .insert(|key| Registration::new(key, System::SEES_IRREGULARITIES));
        match self.poller.add(fd, registration.key()) {
            Ok(()) => Ok(registration),
            Err(error) => {
                let removed = self.registered.lock().remove(registration.key());
                drop(removed);
                Err(error)
            }
        }
    }

    /// Asks for an edge in a direction, for who has found it not ready and leaves a ticket next: if it has become ready meanwhile, there is
    /// one.
    pub(crate) fn ask(&self, registration: &Registration, direction: Direction) -> io::Result<()> {
        self.poller.ask(registration.key(), direction)
    }

    /// A registration for descriptors that come and go, one at a time: see [`admit`](Self::admit).
    #[cfg(feature = "adopt")]
    pub(crate) fn reserve(&self) -> Arc<Registration> {
        let make = |key| Registration::new(key, System::SEES_IRREGULARITIES);
        self.registered.lock().insert(make)
    }

    /// Sees to it that the edges of `fd` reach a reserved registration, and tells whether they have not before: then
    /// there is one at once if it is ready.
    #[cfg(feature = "adopt")]
    pub(crate) fn admit(
        &self,
        registration: &Registration,
        fd: BorrowedFd<'_>,
    ) -> io::Result<bool> {
        self.poller.add_if_new(fd, registration.key())
    }

    /// Whether it is not that of a process from which this one was forked.
    #[cfg(feature = "adopt")]
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.process.is_current()
    }

    /// Takes `fd` out, but leaves the registration reserved. In a forked child it does nothing.
    #[cfg(feature = "adopt")]
    pub(crate) fn dismiss(&self, registration: &Registration, fd: BorrowedFd<'_>) {
        if self.process.is_current() {
            // Fails only if the descriptor is not registered, and then there is nothing to do.
            let _ = self.poller.remove(fd, registration.key());
        }
    }

    /// Takes `fd` out again. No event reaches `registration` afterwards. In a forked child it does
    /// nothing: what is registered is the descriptor of the parent.
    pub(crate) fn deregister(&self, registration: &Registration, fd: BorrowedFd<'_>) {
        if !self.process.is_current() {
            return;
        }
        // Fails only if the descriptor is not registered, and then there is nothing to do.
        let _ = self.poller.remove(fd, registration.key());
        self.remove(registration);
    }

    /// The same for `fd` that is closed next, of an open file description that no other descriptor is known to share:
    /// where the system takes it out by itself, it is not asked to.
    ///
    /// If somebody shares it after all, it stays registered with the system until the last descriptor is closed. Its
    /// events find nobody.
    pub(crate) fn forget(&self, registration: &Registration, fd: BorrowedFd<'_>) {
        if !System::FORGETS_CLOSED {
            self.deregister(registration, fd);
        } else if self.process.is_current() {
            self.remove(registration);
        }
    }

    fn remove(&self, registration: &Registration) {
        let removed = self.registered.lock().remove(registration.key());
        drop(removed);
    }

    /// Passes the events of a wait on to the registrations that are still there.
    fn deliver(&self, batch: &<System as Poll>::Batch, ready: &mut Vec<Ticket>) {
        let mut events = System::events(batch).peekable();
        while events.peek().is_some() {
            let registered = self.registered.lock();
            for event in events.by_ref().take(EVENTS_A_LOCK) {
                if let Some(registration) = registered.get(event.key) {
                    registration.on_event(event, ready);
                }
            }
        }
    }
}

impl roving_scheduler::driver::Driver for Driver {
    fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Ticket>) -> io::Result<()> {
        let mut batch = self.batch.lock();
        // Release: who sees that this sleeps sees all that came of earlier waits.
        self.sleeps.store(true, Ordering::Release);
        let waited = self.poller.wait(&mut batch, timeout);
        // Relaxed: who finds a ticket taken finds this, by the lock under which it was taken.
        self.sleeps.store(false, Ordering::Relaxed);
        waited?;
        self.deliver(&batch, ready);
        Ok(())
    }

    fn wake(&self) {
        self.poller.wake();
    }

    fn has_no_tickets(&self) -> bool {
        let registered = self.registered.lock();
        let mut all = registered.slots.iter();
        all.all(|(_, registration)| !registration.is_awaited())
    }

    fn sleeps(&self) -> bool {
        self.sleeps.load(Ordering::Acquire)
    }

    fn end(&self, ready: &mut Vec<Ticket>) {
        for (_, registration) in &self.registered.lock().slots {
            registration.on_end(ready);
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("poller", &self.poller)
            .field("registered", &self.registered.lock().slots.len())
            .finish_non_exhaustive()
    }
}

/// What is registered, by key.
#[derive(Default)]
struct Registered {
    slots: Slab<Arc<Registration>>,
    /// The generation of the next registration, whatever its slot.
    generation: u32,
}

impl Registered {
    fn insert(&mut self, make: impl FnOnce(Key) -> Registration) -> Arc<Registration> {
        let slot = self.slots.vacant_entry();
        let registration = Arc::new(make(Key::new(slot.key(), self.generation)));
        self.generation = self.generation.wrapping_add(1);
        slot.insert(registration.clone());
        registration
    }

    fn get(&self, key: Key) -> Option<&Registration> {
        let registration = self.slots.get(key.slot())?;
        (registration.key() == key).then_some(registration)
    }

    #[must_use]
    fn remove(&mut self, key: Key) -> Option<Arc<Registration>> {
        self.get(key)?;
        Some(self.slots.remove(key.slot()))
    }
}

#[cfg(all(test, unix))]
mod tests;
