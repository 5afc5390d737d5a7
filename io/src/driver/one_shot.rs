//! Polling for systems that report no edges, by polling's own means: an event for each time that somebody begins to wait.
//!
//! What is registered is not looked at until it is [asked for](Poll::ask). If it is ready by then, it is reported at once, and that is as
//! good as an edge since.
//!
//! A report ends what was asked for, of both directions. What it does not tell of is asked for again by whoever has waited for it. So what is
//! noted as asked for is either looked at by the system or in a report that has not been delivered, and need not be asked for twice.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use polling::{Events, PollMode, Poller};
use roving_scheduler::lock::Mutex;
use rustix::fd::{AsRawFd, BorrowedFd, RawFd};

use super::{Event, Key, Poll};
use crate::readiness::Direction;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct OneShot {
    poller: Poller,
    /// By key. What is in here is open: it leaves before it is closed.
    registered: Mutex<HashMap<u64, Asked>>,
}

/// What is asked for of a descriptor.
#[derive(Debug)]
struct Asked {
    fd: RawFd,
    readable: bool,
    writable: bool,
}

impl Asked {
    fn side(&mut self, direction: Direction) -> &mut bool {
        match direction {
            Direction::Read | Direction::Priority => &mut self.readable,
            Direction::Write => &mut self.writable,
        }
    }

    /// Tells the system.
    fn tell(&self, poller: &Poller, key: Key) -> io::Result<()> {
        // SAFETY: it is registered, and so is open for as long as the lock under which it was found is held.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        poller.modify(
            fd,
            polling::Event::new(number(key)?, self.readable, self.writable),
        )
    }
}

/// As polling has it.
fn number(key: Key) -> io::Result<usize> {
    usize::try_from(key.0).map_err(io::Error::other)
}

/// What polling reports, and what it comes to.
#[derive(Debug)]
pub(super) struct Batch {
    reported: Events,
    events: Vec<Event>,
}

impl Poll for OneShot {
    const SEES_IRREGULARITIES: bool = false;

    const REPORTS_EDGES: bool = false;

    /// polling asks for it.
    const FORGETS_CLOSED: bool = false;

    type Batch = Batch;

    fn new() -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
            registered: Mutex::new(HashMap::new()),
        })
    }

    fn batch() -> Batch {
        Batch {
            reported: Events::new(),
            events: Vec::new(),
        }
    }

    fn add(&self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        let nothing = polling::Event::none(number(key)?);
        let mut registered = self.registered.lock();
        // SAFETY: `Driver::register` asks its callers to remove the descriptor before it is closed.
        unsafe {
            self.poller.add_with_mode(fd, nothing, PollMode::Oneshot)?;
        }
        let asked = Asked {
            fd,
            readable: false,
            writable: false,
        };
        registered.insert(key.0, asked);
        Ok(())
    }

    /// Only programs of Linux are adopted, and for those there is epoll.
    #[cfg(feature = "adopt")]
    fn add_if_new(&self, fd: BorrowedFd<'_>, key: Key) -> io::Result<bool> {
        self.add(fd, key).map(|()| true)
    }

    #[cfg(feature = "adopt")]
    fn descriptors(&self) -> Vec<RawFd> {
        vec![self.poller.as_raw_fd()]
    }

    fn ask(&self, key: Key, direction: Direction) -> io::Result<()> {
        let mut registered = self.registered.lock();
        let Some(asked) = registered.get_mut(&key.0) else {
            return Ok(());
        };
        if *asked.side(direction) {
            return Ok(());
        }
        *asked.side(direction) = true;
        // On Windows, polling leaves what it is told while nobody waits to the next one who does, and who begins to wait just then may miss it.
        // The second time, that one is seen to wait.
        let told = asked
            .tell(&self.poller, key)
            .and_then(|()| asked.tell(&self.poller, key));
        if told.is_err() {
            *asked.side(direction) = false;
        }
        told
    }

    fn remove(&self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        let mut registered = self.registered.lock();
        registered.remove(&key.0);
        self.poller.delete(fd)
    }

    fn wait(&self, batch: &mut Batch, timeout: Option<Duration>) -> io::Result<()> {
        batch.events.clear();
        batch.reported.clear();
        self.poller.wait(&mut batch.reported, timeout)?;
        let mut registered = self.registered.lock();
        for event in batch.reported.iter() {
            let mut event = Event::from(&event);
            // It may have been removed.
            let Some(asked) = registered.get_mut(&event.key.0) else {
                continue;
            };
            asked.readable &= !event.readable;
            asked.writable &= !event.writable;
            let is_left = asked.readable || asked.writable;
            if is_left && asked.tell(&self.poller, event.key).is_err() {
                // Who waits is to find out by its own call.
                (event.readable, event.writable) = (true, true);
                (asked.readable, asked.writable) = (false, false);
            }
            batch.events.push(event);
        }
        Ok(())
    }

    fn wake(&self) {
        // Fails only if the notifier is full, and then it is notified as it is.
        let _ = self.poller.notify();
    }

    fn events(batch: &Batch) -> impl Iterator<Item = Event> {
        batch.events.iter().copied()
    }
}
