//! A call on one descriptor that waits until it succeeds: try, wait for an edge, try again.
//!
//! A try is the C library's own call, kept from blocking by a flag. It changes no mode that other processes share. Where the
//! caller would have to wait, and only there, its descriptor is asked whether it is in blocking mode and has a timeout, and armed,
//! unless that is known.
//!
//! What nobody is told of who polls would be waited for in vain: room in the queue of a Unix socket that is not connected to
//! its sender, and the end of a Unix stream whose peer reads no more. The one is found out as a poll says that there is room
//! though there was none, and then the call is made for real, with the worker's place handed over. For the other, whoever writes
//! tries again now and then.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use libc::{c_short, timeval};
use roving_io::adopt::{Direction, Seen};

use crate::errno;
use crate::hand_over::hand_over_at_point;
use crate::next::next;
use crate::slot::{Generation, Nature, Slot};
use crate::thread::{Heeded, heed, is_ending};

/// How long who writes relies on the system to tell of all that ends its wait.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether a call may block, since the worker's place is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MayBlock {
    Yes,
    No,
}

/// What a call is to do after a try that would have blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Try,
    /// Nothing can be waited for: the call is to be made as it is, which may block.
    Call,
    Fail(c_int),
}

/// A call of a green thread on one descriptor.
pub(crate) struct Waiting {
    fd: c_int,
    pub(crate) slot: &'static Slot,
    generation: Generation,
    direction: Direction,
    /// The option of a socket that holds its timeout for this.
    timeout: Option<c_int>,
    /// Until when it may wait, once that is known.
    deadline: Option<Instant>,
    /// What was known before the last try.
    seen: Option<Seen>,
    time_is_up: bool,
    /// Whether a part of what the call is to move has been moved.
    has_part: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    None,
    Until(Instant),
    Forever,
}

impl Waiting {
    /// `None` if the number has no slot.
    pub(crate) fn begin(fd: c_int, direction: Direction, timeout: Option<c_int>) -> Option<Self> {
        let slot = Slot::of(fd)?;
        if let Some(watch) = slot.watch() {
            watch.take_turn();
        }
        Some(Self {
            fd,
            slot,
            generation: slot.generation(),
            direction,
            timeout,
            deadline: None,
            seen: None,
            time_is_up: false,
            has_part: false,
        })
    }

    /// Notes that a part of what the call is to move has been moved: it ends with that, and does not go on, when the handler of a signal
    /// has run.
    pub(crate) fn note_part(&mut self) {
        self.has_part = true;
    }

    /// To be called before a try. `Err` if it would be in vain.
    fn glance(&self) -> Result<Option<Seen>, Option<Seen>> {
        let seen = self.slot.watch().map(|watch| watch.glance(self.direction));
        let in_vain =
            !self.time_is_up && seen.is_some_and(|seen| seen.is_drained) && self.slot.is_plain();
        if in_vain { Err(seen) } else { Ok(seen) }
    }

    /// Notes that the last try has left nothing.
    pub(crate) fn mark_drained(&self) {
        if let Some((watch, seen)) = self.slot.watch().zip(self.seen) {
            watch.mark_drained(self.direction, seen);
        }
    }

    /// Whether anything was known before the last try.
    pub(crate) fn seen(&self) -> Option<Seen> {
        self.seen
    }

    /// Does what `attempt` does until it does not fail with `EAGAIN`, or may not wait any longer. It is told whether it
    /// [`may_block`](MayBlock). The result is that of a call of the C library, with its error.
    #[inline]
    pub(crate) fn insist(&mut self, mut attempt: impl FnMut(MayBlock) -> isize) -> isize {
        loop {
            match self.glance() {
                Ok(seen) => {
                    self.seen = seen;
                    let result = attempt(MayBlock::No);
                    if result >= 0 || errno::get() != libc::EAGAIN {
                        return result;
                    }
                }
                Err(seen) => self.seen = seen,
            }
            match self.wait() {
                Next::Try => {}
                Next::Call => return hand_over_at_point(|| attempt(MayBlock::Yes)),
                Next::Fail(error) => return errno::fail::<i8>(error).into(),
            }
        }
    }

    /// Moves as much as there is, as a call in blocking mode does: `attempt` is given how much it has moved already, and moves some
    /// of the rest. Whatever keeps it from moving all, the result is how much it has moved, if anything; what has become of a connection
    /// is for the next call to find. How much there is in `all` is asked for when something has been moved.
    #[inline]
    pub(crate) fn move_all(
        &mut self,
        all: impl Fn() -> usize,
        mut attempt: impl FnMut(usize, MayBlock) -> isize,
    ) -> isize {
        let mut done = 0;
        let (fd, slot) = (self.fd, self.slot);
        loop {
            // The system leaves it so of TCP alone.
            let result = self.insist(|may_block| {
                if done > 0 && slot.nature(fd) == Some(Nature::Tcp) && has_failed(fd) {
                    return errno::fail::<i8>(libc::EPIPE).into();
                }
                attempt(done, may_block)
            });
            match usize::try_from(result) {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(_) if done > 0 => break,
                Err(_) => return result,
            }
            if done >= all() {
                break;
            }
            self.note_part();
        }
        done as isize
    }

    /// Waits until one of `events` has come, by asking for them. It may not be so if the system cannot tell.
    ///
    /// # Errors
    ///
    /// `EAGAIN` in non-blocking mode, or if the time is up.
    pub(crate) fn until_ready(&mut self, events: c_short) -> Result<(), c_int> {
        loop {
            self.seen = self.slot.watch().map(|watch| watch.glance(self.direction));
            if is_ready(self.fd, events) {
                return Ok(());
            }
            match self.wait() {
                Next::Try => {}
                Next::Call => return Ok(()),
                Next::Fail(error) => return Err(error),
            }
        }
    }

    /// Makes a call that no flag keeps from blocking once one of `events` has come.
    pub(crate) fn poll_and_call(&mut self, events: c_short, call: impl FnOnce() -> isize) -> isize {
        match self.until_ready(events) {
            // If it is not to block, it does not.
            Ok(()) => hand_over_at_point(call),
            Err(libc::EAGAIN) if !self.time_is_up => hand_over_at_point(call),
            Err(error) => errno::fail::<i8>(error).into(),
        }
    }

    /// Waits for more than the last try has found. `false` if there will be none, or not in time.
    pub(crate) fn awaits_more(&mut self) -> bool {
        !self.seen.is_some_and(|seen| seen.is_irregular) && self.wait() == Next::Try
    }

    /// Waits until another try may succeed.
    #[inline(never)]
    fn wait(&mut self) -> Next {
        if self.time_is_up {
            // What has come in time may be the end, of which a socket of datagrams tells nobody who does not wait.
            let has_ended = self.direction == Direction::Read && reads_no_more(self.fd);
            return if has_ended && !self.is_gone() {
                Next::Call
            } else {
                Next::Fail(libc::EAGAIN)
            };
        }
        // Without descriptors for it there is no driver to wait with.
        let Ok(watch) = self.slot.watch_or_make() else {
            return Next::Call;
        };
        // If nobody looked before the try: now, and something may have come in between.
        let seen = self.seen.unwrap_or_else(|| watch.glance(self.direction));
        let armed = if self.seen.is_some() && self.slot.relies(self.fd, self.generation) {
            Ok(false)
        } else {
            self.slot.arm(self.fd, watch)
        };
        // What is done next is done on a descriptor that is another by then.
        if self.is_gone() {
            return Next::Fail(libc::EBADF);
        }
        match armed {
            Ok(true) => {}
            Ok(false) if self.seen.is_none() => return Next::Try,
            Ok(false) => {}
            Err(libc::EBADF) => return Next::Fail(libc::EBADF),
            // It cannot be waited for, or there is no room for another one to wait for.
            Err(_) => return Next::Call,
        }
        let deadline = match self.patience() {
            Patience::None => return Next::Fail(libc::EAGAIN),
            Patience::Until(deadline) => Some(deadline),
            Patience::Forever => None,
        };
        let mut until = deadline;
        if self.direction == Direction::Write {
            if is_ready(self.fd, libc::POLLOUT) {
                return Next::Call;
            }
            let pause = Instant::now() + PAUSE;
            until = Some(deadline.map_or(pause, |deadline| deadline.min(pause)));
        }
        if self.direction == Direction::Read && seen.is_irregular && is_ready(self.fd, libc::POLLIN)
        {
            // At its end, of which not every socket tells who does not wait.
            return Next::Call;
        }
        if is_ending() {
            return Next::Fail(libc::EINTR);
        }
        let woken = watch.wait(self.fd, self.direction, seen, until);
        if self.is_gone() {
            return Next::Fail(libc::EBADF);
        }
        match woken {
            Ok(true) => Next::Try,
            Ok(false) => match heed(true) {
                Heeded::Ends => Next::Fail(libc::EINTR),
                // Nor does the system let one go on that has a timeout, or a part.
                Heeded::GoesOn if deadline.is_some() || self.has_part => Next::Fail(libc::EINTR),
                _ => {
                    // What has come in time may not have been told of yet, so there is one more try.
                    self.time_is_up = deadline.is_some_and(|deadline| deadline <= Instant::now());
                    Next::Try
                }
            },
            Err(_) => Next::Fail(libc::ECANCELED),
        }
    }

    pub(crate) fn is_time_up(&self) -> bool {
        self.time_is_up
    }

    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether the descriptor has been closed or replaced since the call began.
    pub(crate) fn is_gone(&self) -> bool {
        self.slot.generation() != self.generation
    }

    /// How long the call may wait in all. A timeout is asked for once. The rest is not kept, since what had been relied on may be found
    /// to be another descriptor.
    fn patience(&mut self) -> Patience {
        if let Some(deadline) = self.deadline {
            return Patience::Until(deadline);
        }
        if self.slot.is_plain() {
            return Patience::Forever;
        }
        let patience = self.ask_patience();
        if let Patience::Until(deadline) = patience {
            self.deadline = Some(deadline);
        }
        patience
    }

    #[cold]
    fn ask_patience(&self) -> Patience {
        let fd = self.fd;
        self.slot.learn_plain(|| {
            if !blocks(fd) {
                return (false, Patience::None);
            }
            let read = timeout(fd, libc::SO_RCVTIMEO);
            let write = timeout(fd, libc::SO_SNDTIMEO);
            let mine = match self.timeout {
                Some(libc::SO_RCVTIMEO) => read,
                Some(libc::SO_SNDTIMEO) => write,
                _ => None,
            };
            // One that is further away than any time is none.
            let until = mine.and_then(|timeout| Instant::now().checked_add(timeout));
            let patience = until.map_or(Patience::Forever, Patience::Until);
            (read.is_none() && write.is_none(), patience)
        })
    }
}

/// Whether a descriptor is in blocking mode.
pub(crate) fn blocks(fd: c_int) -> bool {
    mode(fd) & libc::O_NONBLOCK == 0
}

/// Whether a descriptor was opened to be read from, and not to be written to.
pub(crate) fn is_only_read(fd: c_int) -> bool {
    mode(fd) & libc::O_ACCMODE == libc::O_RDONLY
}

/// How a descriptor was opened, and its mode.
fn mode(fd: c_int) -> c_int {
    // SAFETY: it changes nothing.
    unsafe {
        next!(fcntl: unsafe extern "C" fn(c_int, c_int, usize) -> c_int)(fd, libc::F_GETFL, 0)
    }
}

/// A timeout of a socket, if it is one and has one.
fn timeout(fd: c_int, name: c_int) -> Option<Duration> {
    let mut time = MaybeUninit::<timeval>::zeroed();
    let mut len = size_of::<timeval>() as libc::socklen_t;
    // SAFETY: there is room for the answer, which is there if it succeeds.
    let time = unsafe {
        let place = time.as_mut_ptr().cast();
        let failed = libc::getsockopt(fd, libc::SOL_SOCKET, name, place, &raw mut len);
        (failed == 0).then(|| time.assume_init())
    }?;
    let time = Duration::from_secs(time.tv_sec.try_into().ok()?)
        + Duration::from_micros(time.tv_usec.try_into().ok()?);
    (!time.is_zero()).then_some(time)
}

/// Whether one of `events`, or the end, has come. So it is if the descriptor is closed.
pub(crate) fn is_ready(fd: c_int, events: c_short) -> bool {
    self::events(fd, events) != 0
}

/// Which of `events` have come, or what else is told of a descriptor unasked.
fn events(fd: c_int, events: c_short) -> c_short {
    let mut fds = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    type Poll = unsafe extern "C" fn(*mut libc::pollfd, libc::nfds_t, c_int) -> c_int;
    // SAFETY: there is one.
    let result = unsafe { next!(poll: Poll)(&raw mut fds, 1, 0) };
    // Where the call fails nobody knows, and they may have.
    if result < 0 { events } else { fds.revents }
}

/// Whether a connection has failed, of which the next call on it tells, and no other.
fn has_failed(fd: c_int) -> bool {
    // An error alone may be one that is queued beside the connection.
    const FAILED: c_short = libc::POLLERR | libc::POLLHUP;
    events(fd, 0) & FAILED == FAILED
}

/// Whether nothing comes to a socket any more but what is there: then who reads does not wait.
fn reads_no_more(fd: c_int) -> bool {
    events(fd, libc::POLLRDHUP) & libc::POLLRDHUP != 0
}

/// Whether the option is one on which it depends how long calls wait.
pub(crate) fn is_timeout(level: c_int, name: c_int) -> bool {
    // Those that count in seconds of 32 bits have the smaller numbers.
    level == libc::SOL_SOCKET && [20, 21, 66, 67].contains(&name)
}
