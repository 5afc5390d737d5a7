//! What a poller tells of a descriptor: an [`Event`], which finds whom it concerns by its [`Key`].

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

/// One edge of a registered descriptor, or several that came together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) key: Key,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The end of the stream, an error, or urgent data: it may be ready from now on though nothing
    /// comes.
    pub(crate) irregular: bool,
    /// The connection has come to its end in both directions, or has failed.
    pub(crate) hung_up: bool,
}

/// What polling tells. On some systems it does not ask for the end of a stream, so that is not known as such.
impl From<&polling::Event> for Event {
    fn from(event: &polling::Event) -> Self {
        let hung_up = event.is_interrupt() || event.is_err() == Some(true);
        Self {
            key: Key(event.key as u64),
            readable: event.readable || hung_up,
            writable: event.writable || hung_up,
            irregular: hung_up,
            hung_up,
        }
    }
}

/// A slot of the driver's slab in the lower half and its generation in the upper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    pub(crate) fn new(slot: usize, generation: u32) -> Self {
        let slot = u32::try_from(slot).expect("there are fewer descriptors than slots");
        // The largest keys are reserved by the pollers, and no slot comes near.
        debug_assert!(slot < u32::MAX);
        Self(u64::from(generation) << 32 | u64::from(slot))
    }

    pub(crate) fn slot(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

/// Whether one of `events`, or the end, has come.
pub(crate) fn is_ready(fd: BorrowedFd<'_>, events: PollFlags) -> Result<bool, Errno> {
    let mut fds = [PollFd::from_borrowed_fd(fd, events)];
    Ok(poll(&mut fds, Some(&Timespec::default()))? > 0)
}
