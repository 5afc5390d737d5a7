//! Polling by polling's own means, for every system that can report edges.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use polling::{Events, PollMode, Poller};

use super::{Event, Key, Poll};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Portable(Poller);

impl Poll for Portable {
    /// Not on every system does polling ask for, or pass on, the end of the stream.
    const SEES_IRREGULARITIES: bool = false;

    /// polling asks for it.
    const FORGETS_CLOSED: bool = false;

    type Batch = Events;

    fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        if !poller.supports_edge() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this system does not report edges",
            ));
        }
        Ok(Self(poller))
    }

    fn batch() -> Self::Batch {
        Events::new()
    }

    fn add(&self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        let key = usize::try_from(key.0).map_err(io::Error::other)?;
        // SAFETY: `Driver::register` asks its callers to remove the descriptor before it is closed.
        unsafe {
            self.0
                .add_with_mode(fd.as_raw_fd(), polling::Event::all(key), PollMode::Edge)
        }
    }

    /// Only programs of Linux are adopted, and for those there is epoll.
    #[cfg(feature = "adopt")]
    fn add_if_new(&self, fd: BorrowedFd<'_>, key: Key) -> io::Result<bool> {
        self.add(fd, key).map(|()| true)
    }

    #[cfg(feature = "adopt")]
    fn descriptors(&self) -> Vec<std::os::fd::RawFd> {
        vec![self.0.as_raw_fd()]
    }

    fn remove(&self, fd: BorrowedFd<'_>, _: Key) -> io::Result<()> {
        self.0.delete(fd)
    }

    fn wait(&self, batch: &mut Self::Batch, timeout: Option<Duration>) -> io::Result<()> {
        batch.clear();
        self.0.wait(batch, timeout)?;
        Ok(())
    }

    fn wake(&self) {
        // Fails only if the notifier is full, and then it is notified as it is.
        let _ = self.0.notify();
    }

    fn events(batch: &Self::Batch) -> impl Iterator<Item = Event> {
        batch.iter().map(|event| Event::from(&event))
    }
}
