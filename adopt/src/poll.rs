//! Waiting for many descriptors: `poll`, `select`, `epoll_wait` and what they are called else.
//!
//! The C library promises that they return when one of the descriptors is ready, when the time is up, or when a signal is handled.
//! A green thread asks by the function itself, with no time to wait. If nothing is ready, it leaves a ticket with each descriptor
//! and asks once more before it parks, and again whenever one has had an edge. An epoll instance is a descriptor too, which is ready
//! when it has an event.
//!
//! A signal mask for as long as the call takes is one of the OS thread, and only who waits in the system has one. So with a
//! mask, as with a descriptor that cannot be waited for, the call is made with the worker's place handed over.

use std::ffi::{c_int, c_long, c_short};
use std::ptr;
use std::slice;
use std::time::{Duration, Instant};

use libc::{epoll_event, fd_set, nfds_t, pollfd, sigset_t, time_t, timespec, timeval};
use roving_io::adopt::{Direction, Seen, Watch};
use roving_scheduler::wait::{self, Outcome, Ticket};

use crate::hand_over::hand_over;
use crate::next::next;
use crate::slot::{Generation, Slot};
use crate::thread::{Heeded, Point, heed};
use crate::{clock, errno, memory, parks};

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
            return hand_over(call);
        };
        loop {
            if !awaited.iter_mut().all(Awaited::arm) {
                return hand_over(call);
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
        _ => hand_over(ppoll),
    }
}

/// The sets of a `select`: which of the first so many descriptors are asked for, and then, which are ready.
struct Sets {
    places: [*mut fd_set; 3],
    asked: Vec<u8>,
    /// Of one set, in bytes.
    size: usize,
}

impl Sets {
    /// Copies them.
    ///
    /// # Safety
    ///
    /// Each is null, or a set of so many descriptors, at least.
    unsafe fn of(places: [*mut fd_set; 3], count: c_int) -> Self {
        let size = (count.max(0) as usize).div_ceil(c_long::BITS as usize) * size_of::<c_long>();
        let mut asked = vec![0; 3 * size];
        for (place, asked) in places.iter().zip(asked.chunks_mut(size.max(1))) {
            if !place.is_null() {
                // SAFETY: the caller's promise: sets are made of words.
                let set = unsafe { slice::from_raw_parts(place.cast::<u8>().cast_const(), size) };
                asked.copy_from_slice(set);
            }
        }
        Self {
            places,
            asked,
            size,
        }
    }

    /// Puts back what was asked for.
    ///
    /// # Safety
    ///
    /// As it was when they were copied.
    unsafe fn restore(&self) {
        for (place, asked) in self.places.iter().zip(self.asked.chunks(self.size.max(1))) {
            if !place.is_null() {
                // SAFETY: the caller's promise.
                unsafe { ptr::copy_nonoverlapping(asked.as_ptr(), place.cast(), self.size) };
            }
        }
    }

    fn asks_for(&self, set: usize, fd: usize) -> bool {
        // Sets are words, of which the lowest byte is the first on all systems that this is for.
        self.asked[set * self.size + fd / 8] & (1 << (fd % 8)) != 0
    }

    fn awaited(&self, count: c_int) -> Option<Vec<Awaited>> {
        (0..count.max(0) as usize)
            .filter_map(|fd| {
                let [reads, writes, excepts] = [0, 1, 2].map(|set| self.asks_for(set, fd));
                let is_asked = reads || writes || excepts;
                is_asked.then(|| Awaited::new(fd as c_int, reads || excepts, writes))
            })
            .collect()
    }
}

type Select = unsafe extern "C-unwind" fn(
    c_int,
    *mut fd_set,
    *mut fd_set,
    *mut fd_set,
    *mut timeval,
) -> c_int;

/// # Safety
///
/// That of `select`.
#[inline(never)]
unsafe fn select_green(
    count: c_int,
    places: [*mut fd_set; 3],
    time: Time,
    call: impl FnOnce() -> c_int,
) -> c_int {
    // The system looks at no more than there can be descriptors, so whoever asks for all may have smaller sets than he says.
    if count > libc::FD_SETSIZE as c_int {
        return hand_over(call);
    }
    let are_there = |set: &*mut fd_set| set.is_null() || memory::is_there(set.cast(), 1);
    if count > 0 && !places.iter().all(are_there) {
        return call();
    }
    // SAFETY: the caller's promise.
    let sets = unsafe { Sets::of(places, count) };
    let [reads, writes, excepts] = places;
    let ask = || {
        let mut none = timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        // SAFETY: the caller's promise.
        unsafe {
            // The last answer has cleared them.
            sets.restore();
            next!(select: Select)(count, reads, writes, excepts, &raw mut none)
        }
    };
    let restore_and_call = || {
        // SAFETY: the caller's promise.
        unsafe { sets.restore() };
        call()
    };
    let result = ask_and_wait(|| sets.awaited(count), time, ask, restore_and_call);
    if result < 0 {
        // They are as they were where it fails.
        // SAFETY: the caller's promise.
        unsafe { sets.restore() };
    }
    result
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn select(
    count: c_int,
    reads: *mut fd_set,
    writes: *mut fd_set,
    excepts: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let select = || unsafe { next!(select: Select)(count, reads, writes, excepts, timeout) };
    if !parks() {
        return select();
    }
    // SAFETY: the caller's promise.
    let time = match unsafe { timeout.as_ref() } {
        None => Some(Time::Forever),
        Some(time) => u64::try_from(time.tv_sec)
            .ok()
            .zip(u64::try_from(time.tv_usec).ok())
            .map(|(s, us)| {
                Time::of(Duration::from_secs(s).saturating_add(Duration::from_micros(us)))
            }),
    };
    let Some(time) = time.filter(|_| count >= 0) else {
        return select();
    };
    // SAFETY: the caller's promise.
    unsafe {
        let result = select_green(count, [reads, writes, excepts], time, select);
        if let Some(timeout) = timeout.as_mut().filter(|_| time != Time::Forever) {
            // It tells what is left, of what is too far away as much.
            let left = time.left();
            timeout.tv_sec = left.as_secs() as time_t;
            timeout.tv_usec = left.subsec_micros().into();
        }
        result
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pselect(
    count: c_int,
    reads: *mut fd_set,
    writes: *mut fd_set,
    excepts: *mut fd_set,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(
        c_int,
        *mut fd_set,
        *mut fd_set,
        *mut fd_set,
        *const timespec,
        *const sigset_t,
    ) -> c_int;
    // SAFETY: the caller's promise.
    let pselect = || unsafe { next!(pselect: Next)(count, reads, writes, excepts, timeout, mask) };
    if !parks() {
        return pselect();
    }
    // SAFETY: the caller's promise.
    match unsafe { Time::of_timespec(timeout) } {
        Some(time) if mask.is_null() && count >= 0 => {
            // SAFETY: the caller's promise.
            unsafe { select_green(count, [reads, writes, excepts], time, pselect) }
        }
        _ => hand_over(pselect),
    }
}

type EpollWait = unsafe extern "C-unwind" fn(c_int, *mut epoll_event, c_int, c_int) -> c_int;

/// # Safety
///
/// That of `epoll_wait`.
#[inline(never)]
unsafe fn epoll_green(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    time: Time,
    call: impl FnOnce() -> c_int,
) -> c_int {
    let awaited = || Some(vec![Awaited::new(epoll, true, false)?]);
    // SAFETY: the caller's promise.
    let ask = || unsafe { next!(epoll_wait: EpollWait)(epoll, events, most, 0) };
    ask_and_wait(awaited, time, ask, call)
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn epoll_wait(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: c_int,
) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let epoll_wait = || unsafe { next!(epoll_wait: EpollWait)(epoll, events, most, timeout) };
    if timeout == 0 || !parks() {
        return epoll_wait();
    }
    let time = Time::of_milliseconds(timeout);
    // SAFETY: the caller's promise.
    unsafe { epoll_green(epoll, events, most, time, epoll_wait) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn epoll_pwait(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: c_int,
    mask: *const sigset_t,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(
        c_int,
        *mut epoll_event,
        c_int,
        c_int,
        *const sigset_t,
    ) -> c_int;
    // SAFETY: the caller's promise.
    let epoll_pwait = || unsafe { next!(epoll_pwait: Next)(epoll, events, most, timeout, mask) };
    if timeout == 0 || !parks() {
        return epoll_pwait();
    }
    if !mask.is_null() {
        return hand_over(epoll_pwait);
    }
    let time = Time::of_milliseconds(timeout);
    // SAFETY: the caller's promise.
    unsafe { epoll_green(epoll, events, most, time, epoll_pwait) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn epoll_pwait2(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(
        c_int,
        *mut epoll_event,
        c_int,
        *const timespec,
        *const sigset_t,
    ) -> c_int;
    // SAFETY: the caller's promise.
    let epoll_pwait2 = || unsafe { next!(epoll_pwait2: Next)(epoll, events, most, timeout, mask) };
    if !parks() {
        return epoll_pwait2();
    }
    // SAFETY: the caller's promise.
    match unsafe { Time::of_timespec(timeout) } {
        Some(time) if mask.is_null() => {
            // SAFETY: the caller's promise.
            unsafe { epoll_green(epoll, events, most, time, epoll_pwait2) }
        }
        _ => hand_over(epoll_pwait2),
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
