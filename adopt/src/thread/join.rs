//! Joining: waiting for the end of a thread, once.
//!
//! Whoever joins a green thread takes its handle, so that everybody else is told that somebody does, and gives it back if he
//! does not wait for the end. Of the [survivor] of a fork there is none, and who joins it is noted alone.

use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering;
use std::time::Instant;

use libc::{clockid_t, pthread_t, timespec};
use roving_scheduler::adopt;
use roving_scheduler::thread::JoinHandle;

use super::news::{heed, is_ending};
use super::records::Shared;
use super::{Left, Point, Whose, call, current, survivor, whose};
use crate::clock;
use crate::next::next;

/// How long to wait.
enum Patience {
    Endless,
    Until(clockid_t, timespec),
}

/// Joins a green thread, as `pthread_join` does.
///
/// # Safety
///
/// Null, or what the thread leaves may be written there.
unsafe fn join(
    id: pthread_t,
    thread: &Shared,
    result: *mut *mut c_void,
    patience: &Patience,
) -> c_int {
    let me = super::pthread_self();
    if me == id || is_joined_by(me, id) {
        return libc::EDEADLK;
    }
    let mut record = thread.lock();
    if thread.is_detached() {
        return libc::EINVAL;
    }
    if thread.joiner().is_some() {
        return libc::EINVAL;
    }
    let mut joined = match record.handle.take() {
        Some(handle) => Joined::Green(handle),
        None if survivor::is(id) => Joined::Survivor,
        None => return libc::EINVAL,
    };
    thread.joiner.store(me, Ordering::Relaxed);
    drop(record);
    let until = match *patience {
        Patience::Until(clock, time) if !joined.has_ended() => deadline(clock, time),
        _ => Ok(None),
    };
    if let Err(error) = until.and_then(|until| await_end(&mut joined, until)) {
        let mut record = thread.lock();
        record.handle = joined.into_handle();
        thread.joiner.store(0, Ordering::Relaxed);
        return error;
    }
    let left = joined.take_left();
    thread.unlist();
    if !result.is_null() {
        // SAFETY: the caller's promise.
        unsafe { result.write(left) };
    }
    0
}

/// A thread that the current one joins.
enum Joined {
    Green(JoinHandle<Left>),
    Survivor,
}

impl Joined {
    fn has_ended(&self) -> bool {
        match self {
            Self::Green(handle) => handle.is_finished(),
            Self::Survivor => survivor::has_ended(),
        }
    }

    /// Waits until it has ended, the time has come, or the current thread is nudged. Whether it has ended.
    fn ends_by(&mut self, until: Option<Instant>) -> bool {
        match self {
            Self::Green(handle) => adopt::ends_by(handle, until),
            Self::Survivor => survivor::ends_by(until),
        }
    }

    fn into_handle(self) -> Option<JoinHandle<Left>> {
        match self {
            Self::Green(handle) => Some(handle),
            Self::Survivor => None,
        }
    }

    /// What it has left, when it has ended.
    fn take_left(self) -> *mut c_void {
        match self {
            // What has not ended by itself counts as cancelled.
            Self::Green(handle) => adopt::join(handle).map_or(call::CANCELED, |left| left.0),
            Self::Survivor => survivor::left().0,
        }
    }
}

/// Waits until a thread has ended.
///
/// # Errors
///
/// `ETIMEDOUT`; `EINTR` if the caller is to end instead.
fn await_end(joined: &mut Joined, until: Option<Instant>) -> Result<(), c_int> {
    while !joined.ends_by(until) {
        heed(false);
        if is_ending() {
            return Err(libc::EINTR);
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            return Err(libc::ETIMEDOUT);
        }
    }
    Ok(())
}

/// Until when to wait; `None` if that is too far away.
fn deadline(clock: clockid_t, time: timespec) -> Result<Option<Instant>, c_int> {
    // That the system does not wait until then, it says so.
    if time.tv_sec < 0 {
        return Err(libc::ETIMEDOUT);
    }
    clock::left(clock, time).map(clock::after)
}

/// Whether the current thread, `me`, is waited for by the thread `id`, which can then not end before it.
fn is_joined_by(me: pthread_t, id: pthread_t) -> bool {
    match current::with_known(|known| known.joiner() == Some(id)) {
        Some(is_joined) => is_joined,
        // An OS thread, which the C library knows nobody to join.
        None => match whose(id) {
            Whose::Green(record) => record.lock().joins == Some(me),
            Whose::Nobody | Whose::Real => false,
        },
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn pthread_join(
    id: pthread_t,
    result: *mut *mut c_void,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(pthread_t, *mut *mut c_void) -> c_int;
    match whose(id) {
        // SAFETY: the caller's promise.
        Whose::Green(thread) => unsafe { join(id, &thread, result, &Patience::Endless) },
        Whose::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Whose::Real => unsafe { join_real(id, || next!(pthread_join: Next)(id, result)) },
    }
}

/// Waits for an OS thread, which takes one as long.
fn join_real(id: pthread_t, join: impl FnOnce() -> c_int) -> c_int {
    if !crate::parks() {
        return join();
    }
    if is_joined_by(super::pthread_self(), id) {
        return libc::EDEADLK;
    }
    current::with_known(|known| known.lock().joins = Some(id));
    let error = crate::hand_over::hand_over(join);
    current::with_known(|known| known.lock().joins = None);
    error
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_tryjoin_np(id: pthread_t, result: *mut *mut c_void) -> c_int {
    type Next = unsafe extern "C-unwind" fn(pthread_t, *mut *mut c_void) -> c_int;
    match whose(id) {
        Whose::Green(thread) => {
            let has_ended = {
                let record = thread.lock();
                match &record.handle {
                    Some(handle) => adopt::has_ended(handle),
                    None if survivor::is(id) => survivor::has_ended(),
                    None => record.is_at_end,
                }
            };
            if !has_ended {
                // Who asks again and again lets it end.
                if crate::parks() {
                    adopt::yield_now();
                }
                return libc::EBUSY;
            }
            // SAFETY: the caller's promise.
            unsafe { join(id, &thread, result, &Patience::Endless) }
        }
        Whose::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Whose::Real => unsafe { next!(pthread_tryjoin_np: Next)(id, result) },
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_timedjoin_np(
    id: pthread_t,
    result: *mut *mut c_void,
    until: *const timespec,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(pthread_t, *mut *mut c_void, *const timespec) -> c_int;
    match whose(id) {
        // SAFETY: the caller's promise.
        Whose::Green(thread) => unsafe {
            join(id, &thread, result, &patience(libc::CLOCK_REALTIME, until))
        },
        Whose::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Whose::Real => unsafe {
            join_real(id, || next!(pthread_timedjoin_np: Next)(id, result, until))
        },
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_clockjoin_np(
    id: pthread_t,
    result: *mut *mut c_void,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(
        pthread_t,
        *mut *mut c_void,
        clockid_t,
        *const timespec,
    ) -> c_int;
    match whose(id) {
        Whose::Green(_) if !matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC) => {
            libc::EINVAL
        }
        // SAFETY: the caller's promise.
        Whose::Green(thread) => unsafe { join(id, &thread, result, &patience(clock, until)) },
        Whose::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Whose::Real => unsafe {
            join_real(id, || {
                next!(pthread_clockjoin_np: Next)(id, result, clock, until)
            })
        },
    }
}

/// # Safety
///
/// Null, or a time.
unsafe fn patience(clock: clockid_t, until: *const timespec) -> Patience {
    // SAFETY: the caller's promise.
    match unsafe { until.as_ref() } {
        Some(&until) => Patience::Until(clock, until),
        None => Patience::Endless,
    }
}
