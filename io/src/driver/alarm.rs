//! A timer that lasts over many waits.
//!
//! A busy server waits a short time for its next request, thousands of times a second, and with it for a
//! deadline that is seconds away: the time limit of a connection, say. Given to each wait, that
//! deadline has the kernel set a timer and take it back each time. The alarm is a `timerfd` among the descriptors that are waited for. It is set once, and stays
//! set while the deadlines of the waits move away from it; when it goes off, the wait ends early, and the
//! next one sets it anew.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use roving_scheduler::lock::Mutex;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::AsFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Alarm {
    timer: OwnedFd,
    /// When it goes off, or has gone off.
    at: Mutex<Option<Instant>>,
}

impl Alarm {
    /// Deadlines that are nearer are better given to the wait.
    pub(super) const NEAREST: Duration = Duration::from_millis(100);

    /// Makes one that ends the waits in `epoll`, with an event that carries `data`.
    pub(super) fn new(epoll: impl AsFd, data: EventData) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // As it is edge-triggered, it need not be read: each time that it goes off is a new edge.
        epoll::add(epoll, &timer, data, EventFlags::IN | EventFlags::ET)?;
        Ok(Self {
            timer,
            at: Mutex::new(None),
        })
    }

    #[cfg(feature = "adopt")]
    pub(super) fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.timer)
    }

    /// Sees to it that waits from now on end in `timeout` at the latest.
    pub(super) fn set(&self, timeout: Duration) -> io::Result<()> {
        let now = Instant::now();
        let Some(deadline) = now.checked_add(timeout) else {
            return Ok(());
        };
        let mut at = self.at.lock();
        if at.is_some_and(|at| now < at && at <= deadline) {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(timeout).map_err(io::Error::other)?,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        *at = Some(deadline);
        Ok(())
    }
}
