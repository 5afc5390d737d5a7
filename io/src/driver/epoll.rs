//! Polling on Linux: one system call a wait, and one a wake.
//!
//! The epoll instance is polling's, and what it does not offer is done on its descriptor:
//! registering for `EPOLLRDHUP` and `EPOLLPRI`, without which data and the end of the stream, if
//! they arrive together, could not be told from data alone; and waiting without the system calls
//! around it that serve its timer and its notifier.
//!
//! To wake, an eventfd is written to. It is registered edge-triggered and never read: every write
//! is a new edge, and an edge that comes while nobody waits stays in the epoll instance for the
//! next one who does. Its counter would take 2^64 wakes to fill.

use std::fmt;
use std::io;
#[cfg(feature = "adopt")]
use std::os::fd::RawFd;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polling::Poller;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use super::alarm::Alarm;
use super::{Event, Key, Poll};

/// The events of one wait, at most. What does not fit comes with the next one.
const BATCH: usize = 1024;

/// The longest timeout that the kernel can be told.
const LONGEST: Timespec = Timespec {
    tv_sec: i64::MAX,
    tv_nsec: 0,
};

/// What the events of the wake-up and of the alarm carry. No slot has this key, so they find no
/// registration.
const NOBODY: EventData = EventData::new_u64(u64::MAX);

/// What is asked for of each descriptor. Hang-up and error need not be.
const EDGES: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::PRI)
    .union(EventFlags::ET);

/// See the [module](self).
pub(super) struct Epoll {
    poller: Poller,
    wake: OwnedFd,
    alarm: Alarm,
    /// The kernel has no `epoll_pwait2`, or a sandbox refuses it.
    coarse: AtomicBool,
}

impl Poll for Epoll {
    const SEES_IRREGULARITIES: bool = true;

    const FORGETS_CLOSED: bool = true;

    type Batch = Vec<libc::epoll_event>;

    fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&poller, &wake, NOBODY, EventFlags::IN | EventFlags::ET)?;
        let alarm = Alarm::new(&poller, NOBODY)?;
        Ok(Self {
            poller,
            wake,
            alarm,
            coarse: AtomicBool::new(false),
        })
    }

    fn batch() -> Self::Batch {
        Vec::with_capacity(BATCH)
    }

    fn add(&self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        let key = EventData::new_u64(key.0);
        match epoll::add(&self.poller, fd, key, EDGES) {
            // One of this number was closed without being taken out, and there was another of its description
            // after all, from which this one has been made. It tells of an edge as a new one does.
            Err(Errno::EXIST) => Ok(epoll::modify(&self.poller, fd, key, EDGES)?),
            result => Ok(result?),
        }
    }

    #[cfg(feature = "adopt")]
    fn add_if_new(&self, fd: BorrowedFd<'_>, key: Key) -> io::Result<bool> {
        match epoll::add(&self.poller, fd, EventData::new_u64(key.0), EDGES) {
            Err(Errno::EXIST) => Ok(false),
            result => Ok(result.map(|()| true)?),
        }
    }

    #[cfg(feature = "adopt")]
    fn descriptors(&self) -> Vec<RawFd> {
        // Polling has some that it does not show. The system knows what is in an instance: all of these, as long as there are no others.
        let _inside = roving_scheduler::adopt::Inside::enter();
        let instance = self.poller.as_raw_fd();
        let told = std::fs::read_to_string(format!("/proc/thread-self/fdinfo/{instance}"));
        let told = told.unwrap_or_default();
        let inside = told.lines().filter_map(|line| {
            let number = line.strip_prefix("tfd:")?.split_whitespace().next()?;
            number.parse().ok()
        });
        let mut all: Vec<_> = inside
            .chain([instance, self.wake.as_raw_fd(), self.alarm.as_raw_fd()])
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn remove(&self, fd: BorrowedFd<'_>, _: Key) -> io::Result<()> {
        self.poller.delete(fd)
    }

    fn wait(&self, batch: &mut Self::Batch, timeout: Option<Duration>) -> io::Result<()> {
        batch.clear();
        let result = match timeout {
            Some(timeout) if timeout >= Alarm::NEAREST => {
                self.alarm.set(timeout)?;
                self.wait_coarsely(batch, None)
            }
            Some(timeout) if !timeout.is_zero() && !self.coarse.load(Ordering::Relaxed) => {
                match self.wait_precisely(batch, timeout) {
                    Err(Errno::NOSYS | Errno::PERM) => {
                        self.coarse.store(true, Ordering::Relaxed);
                        self.wait_coarsely(batch, Some(timeout))
                    }
                    other => other,
                }
            }
            timeout => self.wait_coarsely(batch, timeout),
        };
        match result {
            Ok(()) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn wake(&self) {
        // Fails only if the counter is full, and then the eventfd is readable as it is.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn events(batch: &Self::Batch) -> impl Iterator<Item = Event> {
        batch.iter().map(|event| decode(*event))
    }
}

impl Epoll {
    /// Waits with a timeout in nanoseconds.
    fn wait_precisely(
        &self,
        batch: &mut Vec<libc::epoll_event>,
        timeout: Duration,
    ) -> Result<(), Errno> {
        let timeout = Timespec::try_from(timeout).unwrap_or(LONGEST);
        let (room, most) = room_of(batch);
        // SAFETY: the kernel reads one `timespec` and writes at most `most` events to `room`, which
        // is writable so far. There is no signal mask, so its size is not looked at.
        let events = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.poller.as_raw_fd(),
                room,
                most,
                &raw const timeout,
                ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        // SAFETY: this is what the kernel has just returned for this batch: an `int`, whatever the
        // wrapper makes of it.
        unsafe { take_in(batch, events as libc::c_int) }
    }

    /// Waits with a timeout in milliseconds, rounded up.
    fn wait_coarsely(
        &self,
        batch: &mut Vec<libc::epoll_event>,
        timeout: Option<Duration>,
    ) -> Result<(), Errno> {
        let timeout = timeout.map_or(-1, |timeout| {
            let millis = timeout.as_nanos().div_ceil(1_000_000);
            libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX)
        });
        let (room, most) = room_of(batch);
        // SAFETY: the kernel writes at most `most` events to `room`, which is writable so far.
        let events = unsafe { libc::epoll_wait(self.poller.as_raw_fd(), room, most, timeout) };
        // SAFETY: this is what the kernel has just returned for this batch.
        unsafe { take_in(batch, events) }
    }
}

/// Where the kernel may write events, and how many.
fn room_of(batch: &mut Vec<libc::epoll_event>) -> (*mut libc::epoll_event, libc::c_int) {
    let room = batch.spare_capacity_mut();
    let most = libc::c_int::try_from(room.len()).unwrap_or(libc::c_int::MAX);
    (room.as_mut_ptr().cast(), most)
}

/// Adds the events that the kernel has written to the room of `batch` to it, or tells `errno` if
/// `events` is -1.
///
/// # Safety
///
/// If `events` is not negative, that many have been written to the [room](room_of) of `batch`.
unsafe fn take_in(batch: &mut Vec<libc::epoll_event>, events: libc::c_int) -> Result<(), Errno> {
    let Ok(events) = usize::try_from(events) else {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
    };
    let len = batch.len() + events;
    // SAFETY: the caller has seen to it that they are there.
    unsafe { batch.set_len(len) };
    Ok(())
}

fn decode(event: libc::epoll_event) -> Event {
    let flags = EventFlags::from_bits_retain(event.events);
    let hung_up = flags.intersects(EventFlags::HUP | EventFlags::ERR);
    let irregular = hung_up || flags.intersects(EventFlags::RDHUP | EventFlags::PRI);
    Event {
        key: Key(event.u64),
        readable: irregular || flags.contains(EventFlags::IN),
        writable: hung_up || flags.contains(EventFlags::OUT),
        irregular,
        hung_up,
    }
}

impl fmt::Debug for Epoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoll")
            .field("fd", &self.poller.as_fd())
            .field("wake", &self.wake)
            .field("alarm", &self.alarm)
            .finish_non_exhaustive()
    }
}
