//! Making and accepting connections.
//!
//! # Connecting
//!
//! No flag keeps one `connect` from blocking, so the socket is in non-blocking mode for as long as the call takes, which does not wait
//! then; whoever uses the same open file description at that time may find it so. Once the attempt has come to an end, the
//! call is made again, in the same way: it tells how the attempt ended, as a call that blocks does. A socket of
//! Unix is not told when there is room in the queue of its listener: that is waited for in the call, with the worker's place
//! handed over.
//!
//! # Accepting
//!
//! Nor does one keep `accept` from blocking. A listener is shared with other processes more often than any other socket, by
//! servers that fork, and these would find it in non-blocking mode for as long as it lives. So a poll tells when there is a
//! connection, and then the call is made in the listener's own mode. Somebody else may be faster. Green threads are not: of those
//! that accept on one listener, by whatever descriptor, one at a time [asks and calls](TURNS). Other processes and OS threads may be,
//! and then the call waits for the next connection, with the worker's place handed over.

use std::ffi::c_int;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::MaybeUninit;
use std::sync::atomic::AtomicU8;

use libc::{SO_RCVTIMEO, SO_SNDTIMEO, sockaddr, socklen_t};
use roving_io::adopt::Direction::{Read, Write};
use roving_scheduler::PerProcess;
use roving_scheduler::adopt::{self, Awaited};
use roving_scheduler::lock::Mutex;

use crate::hand_over::hand_over_at_point;
use crate::next::next;
use crate::thread::Point;
use crate::thread::heed;
use crate::waiting::{Waiting, blocks, is_ready};
use crate::{errno, parks, slot};

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(c_int, *const sockaddr, socklen_t) -> c_int;
    // SAFETY: the caller's promise.
    let connect = || unsafe { next!(connect: Next)(fd, address, len) };
    if parks() && blocks(fd) {
        begin_and_wait(fd, connect)
    } else {
        connect()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __connect(
    fd: c_int,
    address: *const sockaddr,
    len: socklen_t,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { connect(fd, address, len) }
}

#[inline(never)]
fn begin_and_wait(fd: c_int, connect: impl Fn() -> c_int) -> c_int {
    errno::kept_by_success(|| {
        let whole = || hand_over_at_point(&connect);
        let Some(mut waiting) = Waiting::begin(fd, Write, Some(SO_SNDTIMEO)) else {
            return whole();
        };
        let try_it = || {
            if !set_blocking(fd, false) {
                return errno::fail(libc::EAGAIN);
            }
            let result = connect();
            let error = errno::get();
            set_blocking(fd, true);
            errno::set(error);
            result
        };
        let begun = try_it();
        let told = errno::get();
        match told {
            _ if begun == 0 => 0,
            libc::EAGAIN => whole(),
            libc::EINPROGRESS | libc::EALREADY => match waiting.until_ready(libc::POLLOUT) {
                Ok(()) => match try_it() {
                    0 => 0,
                    // It may still wait.
                    _ if [libc::EAGAIN, libc::EINPROGRESS, libc::EALREADY]
                        .contains(&errno::get()) =>
                    {
                        whole()
                    }
                    failed => failed,
                },
                // It goes on, but the time is up.
                Err(libc::EAGAIN) => errno::fail(told),
                Err(error) => errno::fail(error),
            },
            _ => begun,
        }
    })
}

/// Whether that could be done. No epoch begins: it is for one call, and is undone.
fn set_blocking(fd: c_int, blocking: bool) -> bool {
    type Next = unsafe extern "C-unwind" fn(c_int, c_int, c_int) -> c_int;
    // SAFETY: they change the mode, and nothing else.
    unsafe {
        let flags = next!(fcntl: Next)(fd, libc::F_GETFL, 0);
        let flags = if blocking {
            flags & !libc::O_NONBLOCK
        } else {
            flags | libc::O_NONBLOCK
        };
        next!(fcntl: Next)(fd, libc::F_SETFL, flags) == 0
    }
}

/// The listeners on which a green thread asks for a connection, or accepts it.
static TURNS: PerProcess<Mutex<Vec<libc::ino_t>>> = PerProcess::new();

fn turns() -> &'static Mutex<Vec<libc::ino_t>> {
    TURNS.get_or_make(Mutex::default)
}

/// Where those wait who want the turn of another. Who waits for one of another listener wakes in vain.
static PLACES: [AtomicU8; 64] = [const { AtomicU8::new(0) }; 64];

/// A green thread's turn to accept on a listener.
struct Turn(libc::ino_t);

impl Turn {
    /// Waits for it.
    fn take(fd: c_int) -> Self {
        let listener = listener(fd);
        let is_taken = || turns().lock().contains(&listener);
        loop {
            {
                let mut turns = turns().lock();
                if !turns.contains(&listener) {
                    turns.push(listener);
                    return Self(listener);
                }
            }
            let place = place(listener);
            let awaited = adopt::wait(place, !0, None, &"a turn to accept", is_taken, || ());
            if awaited == Awaited::TimedOut {
                heed(false);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        turns().lock().retain(|&taken| taken != self.0);
        adopt::wake(place(self.0), !0, usize::MAX);
    }
}

fn place(listener: libc::ino_t) -> usize {
    let mut hasher = DefaultHasher::new();
    listener.hash(&mut hasher);
    (&raw const PLACES[hasher.finish() as usize % PLACES.len()]).addr()
}

/// Which socket it is, whatever the descriptor. All that are none are one.
fn listener(fd: c_int) -> libc::ino_t {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: there is room for the answer, which is there if it succeeds.
    unsafe {
        if libc::fstat(fd, stat.as_mut_ptr()) == 0 {
            stat.assume_init().st_ino
        } else {
            0
        }
    }
}

#[inline(never)]
fn wait_and_accept(fd: c_int, accept: impl Fn() -> c_int) -> c_int {
    errno::kept_by_success(|| {
        if !blocks(fd) {
            return accept();
        }
        let Some(mut waiting) = Waiting::begin(fd, Read, Some(SO_RCVTIMEO)) else {
            return hand_over_at_point(accept);
        };
        if !is_ready(fd, libc::POLLIN) && slot::option(fd, libc::SO_ACCEPTCONN) != Some(1) {
            // There will be none.
            return accept();
        }
        loop {
            let ready = waiting.until_ready(libc::POLLIN);
            let accepted = match ready {
                Ok(()) => {
                    let _turn = Turn::take(fd);
                    if !is_ready(fd, libc::POLLIN) {
                        // Another one has had it.
                        continue;
                    }
                    hand_over_at_point(accept)
                }
                // In non-blocking mode, if it is so by now, it says so itself.
                Err(libc::EAGAIN) if !waiting.is_time_up() => accept(),
                Err(error) => return errno::fail(error),
            };
            return accepted;
        }
    })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn accept(
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int;
    // SAFETY: the caller's promise.
    let accept = || unsafe { next!(accept: Next)(fd, address, len) };
    if parks() {
        wait_and_accept(fd, accept)
    } else {
        accept()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn accept4(
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
    flags: c_int,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(c_int, *mut sockaddr, *mut socklen_t, c_int) -> c_int;
    // SAFETY: the caller's promise.
    let accept = || unsafe { next!(accept4: Next)(fd, address, len, flags) };
    if parks() {
        wait_and_accept(fd, accept)
    } else {
        accept()
    }
}
