//! Waiting for many descriptors: `poll`, `select`, `epoll_wait` and what they are called else.
//!
//! The C library promises that they return when one of the descriptors is ready, when the time is up, or when a signal is handled.
//! A green thread asks by the function itself, with no time to wait. If nothing is ready, it leaves a ticket with each descriptor
//! and asks once more before it parks, and again whenever one has had an edge. An epoll instance is a descriptor too, which is ready
//! when it has an event.
//!
//! A signal mask for as long as the call takes is one of the OS thread, and only who waits in the system has one. So with a
//! mask, as with a descriptor that cannot be waited for, the call is made with the worker's place handed over.

mod epoll;
mod select;

use std::ffi::{c_int, c_short};
use std::slice;
use std::time::{Duration, Instant};

use libc::{nfds_t, pollfd, sigset_t, timespec};
use roving_io::adopt::{Direction, Seen, Watch};
use roving_scheduler::wait::{self, Outcome, Ticket};

use crate::hand_over::hand_over_at_point;
use crate::next::next;
use crate::slot::{Generation, Slot};
use crate::thread::{Heeded, Point, heed};
use crate::{clock, errno, parks};

/// How long a call may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    None,
    Until(Instant),
    Forever,
}

impl Time {
    fn of(duration: Duration) -> Self {
        if duration.is_zero() {
            return Self::None;
        }
        clock::after(duration).map_or(Self::Forever, Self::Until)
    }

    fn of_milliseconds(milliseconds: c_int) -> Self {
        match u64::try_from(milliseconds) {
            Ok(milliseconds) => Self::of(Duration::from_millis(milliseconds)),
            Err(_) => Self::Forever,
        }
    }

    /// `None` if it is no time, or is not there.
    ///
    /// # Safety
    ///
    /// Null, or a time, if it is there.
    unsafe fn of_timespec(time: *const timespec) -> Option<Self> {
        if !time.is_null() && !crate::time::is_there(time) {
            return None;
        }
        // SAFETY: the caller's promise.
        match unsafe { time.as_ref() } {
            None => Some(Self::Forever),
            Some(&time) => clock::duration(time).map(Self::of),
        }
    }

    fn left(self) -> Duration {
        match self {
            Self::None | Self::Forever => Duration::ZERO,
            Self::Until(at) => at.saturating_duration_since(Instant::now()),
        }
    }
}

/// A descriptor that is waited for.
struct Awaited {
    fd: c_int,
    slot: &'static Slot,
    watch: &'static Watch,
    generation: Generation,
    reads: bool,
    writes: bool,
    seen: [Option<Seen>; 2],
}

const DIRECTIONS: [Direction; 2] = [Direction::Read, Direction::Write];

impl Awaited {
    /// `None` if it cannot be waited for.
    fn new(fd: c_int, reads: bool, writes: bool) -> Option<Self> {
        let slot = Slot::of(fd)?;
        Some(Self {
            fd,
            slot,
            watch: slot.watch_or_make().ok()?,
            generation: slot.generation(),
            // An error or a hang-up, which is not asked for, is an edge in both.
            reads: reads || !writes,
            writes,
            seen: [None; 2],
        })
    }

    fn directions(&self) -> impl Iterator<Item = (usize, Direction)> + use<> {
        let wanted = [self.reads, self.writes];
        (0..2).zip(DIRECTIONS).filter(move |(n, _)| wanted[*n])
    }

    /// Looks at what has been, and sees to it that whatever comes is told of. `false` if it cannot be waited for.
    fn arm(&mut self) -> bool {
        for (n, direction) in self.directions() {
            self.seen[n] = Some(self.watch.glance(direction));
        }
        match self.slot.arm(self.fd, self.watch) {
            Ok(_) => true,
            // The function itself tells that it is closed.
            Err(error) => error == libc::EBADF,
        }
    }

    /// Leaves a ticket for what comes. `false` if something has.
    fn watch(&self, ticket: &Ticket) -> bool {
        if self.slot.generation() != self.generation {
            return false;
        }
        self.directions().all(|(n, direction)| {
            self.seen[n].is_none_or(|seen| self.watch.watch(direction, seen, ticket.clone()))
        })
    }

    fn unwatch(&self, ticket: &Ticket) {
        for (_, direction) in self.directions() {
            self.watch.unwatch(direction, ticket);
        }
    }
}

/// Asks until something is ready or the time is up. `ask` does not wait, and tells that nothing is ready by 0; `call` waits, and is called
/// where nothing else can.
#[inline(never)]
fn ask_and_wait(
    awaited: impl FnOnce() -> Option<Vec<Awaited>>,
    time: Time,
    mut ask: impl FnMut() -> c_int,
    call: impl FnOnce() -> c_int,
) -> c_int {
    errno::kept_by_success(|| {
        let found = ask();
        if found != 0 {
            return found;
        }
        let deadline = match time {
            Time::None => return 0,
            Time::Until(deadline) => Some(deadline),
            Time::Forever => None,
        };
        let Some(mut awaited) = awaited() else {
            return hand_over_at_point(call);
        };
        loop {
            if !awaited.iter_mut().all(Awaited::arm) {
                return hand_over_at_point(call);
            }
            let found = ask();
            if found != 0 {
                return found;
            }
            let wait = wait::begin_interruptible().nudgeable();
            let ticket = wait.ticket();
            let outcome = if awaited.iter().all(|awaited| awaited.watch(&ticket)) {
                wait.why(&"a poll of descriptors").try_block(deadline)
            } else {
                drop(wait);
                Ok(Outcome::Fired)
            };
            awaited.iter().for_each(|awaited| awaited.unwatch(&ticket));
            match outcome {
                Ok(Outcome::Fired) => {}
                // What has come in time may not have been told of yet.
                Ok(Outcome::TimedOut) => match heed(true) {
                    Heeded::Nothing
                        if deadline.is_none_or(|deadline| deadline > Instant::now()) => {}
                    Heeded::Nothing => return ask(),
                    Heeded::GoesOn | Heeded::Ends => return errno::fail(libc::EINTR),
                },
                Err(_) => return errno::fail(libc::ECANCELED),
            }
            // One that was closed meanwhile is asked for as what has its number now.
            for awaited in &mut awaited {
                awaited.generation = awaited.slot.generation();
            }
        }
    })
}

type Poll = unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, c_int) -> c_int;

/// # Safety
///
/// There are as many.
#[inline(never)]
unsafe fn poll_green(
    fds: *mut pollfd,
    count: nfds_t,
    time: Time,
    call: impl FnOnce() -> c_int,
) -> c_int {
    const READS: c_short =
        libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND | libc::POLLPRI | libc::POLLRDHUP;
    const WRITES: c_short = libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND;
    let awaited = || {
        if count == 0 {
            return Some(Vec::new());
        }
        // SAFETY: the caller's promise.
        let fds = unsafe { slice::from_raw_parts(fds, count as usize) };
        let fds = fds.iter().filter(|fd| fd.fd >= 0);
        fds.map(|fd| Awaited::new(fd.fd, fd.events & READS != 0, fd.events & WRITES != 0))
            .collect()
    };
    // SAFETY: the caller's promise.
    let ask = || unsafe { next!(poll: Poll)(fds, count, 0) };
    ask_and_wait(awaited, time, ask, call)
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let poll = || unsafe { next!(poll: Poll)(fds, count, timeout) };
    if timeout == 0 || !parks() {
        return poll();
    }
    // SAFETY: the caller's promise.
    unsafe { poll_green(fds, count, Time::of_milliseconds(timeout), poll) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { poll(fds, count, timeout) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn ppoll(
    fds: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    let _point = Point::begin();
    type Next =
        unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, *const timespec, *const sigset_t) -> c_int;
    // SAFETY: the caller's promise.
    let ppoll = || unsafe { next!(ppoll: Next)(fds, count, timeout, mask) };
    if !parks() {
        return ppoll();
    }
    // SAFETY: the caller's promise.
    match unsafe { Time::of_timespec(timeout) } {
        // SAFETY: the caller's promise.
        Some(time) if mask.is_null() => unsafe { poll_green(fds, count, time, ppoll) },
        _ => hand_over_at_point(ppoll),
    }
}

/// What a program calls that was compiled to have its buffers checked: the function itself, unless the buffer is too small, of which the C
/// library's tells.
mod checked {
    use super::*;

    /// # Safety
    ///
    /// That of the C library's.
    #[unsafe(no_mangle)]
    unsafe extern "C-unwind" fn __poll_chk(
        fds: *mut pollfd,
        count: nfds_t,
        timeout: c_int,
        size: usize,
    ) -> c_int {
        type Next = unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, c_int, usize) -> c_int;
        // SAFETY: the caller's promise.
        unsafe {
            if size / size_of::<pollfd>() < count as usize {
                return next!(__poll_chk: Next)(fds, count, timeout, size);
            }
            poll(fds, count, timeout)
        }
    }

    /// # Safety
    ///
    /// That of the C library's.
    #[unsafe(no_mangle)]
    unsafe extern "C-unwind" fn __ppoll_chk(
        fds: *mut pollfd,
        count: nfds_t,
        timeout: *const timespec,
        mask: *const sigset_t,
        size: usize,
    ) -> c_int {
        type Next = unsafe extern "C-unwind" fn(
            *mut pollfd,
            nfds_t,
            *const timespec,
            *const sigset_t,
            usize,
        ) -> c_int;
        // SAFETY: the caller's promise.
        unsafe {
            if size / size_of::<pollfd>() < count as usize {
                return next!(__ppoll_chk: Next)(fds, count, timeout, mask, size);
            }
            ppoll(fds, count, timeout, mask)
        }
    }
}
