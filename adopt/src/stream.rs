//! Reading and writing.
//!
//! The C library promises that a read waits until there is something, and that a write waits until all is written. A green thread
//! waits where the other end can be waited for: see [`waiting`](crate::waiting). How a call is kept from blocking meanwhile
//! depends on what it is made on:
//!
//! - a socket: by a flag of `recv` and `send`; one that has a low-water mark is read from with the worker's place handed over;
//! - a pipe, an event counter, a timer: by a flag of `preadv2` and `pwritev2`, and a read of a FIFO by one of `vmsplice`;
//! - a terminal, or what refuses that flag: by a poll before it. If another reader is faster it blocks nevertheless, so
//!   the worker's place is handed over, but not in non-blocking mode;
//! - a file: by that flag, while there is something of it in memory; else the worker's place is handed over. A write goes to
//!   memory.

mod buffers;
mod checked;
mod copy;
mod counter;
mod read;
mod receive;
mod send;
mod with_flags;
mod write;

use std::ffi::{c_int, c_uint, c_void};

use libc::{MSG_DONTWAIT, MSG_ERRQUEUE, iovec, msghdr, off_t, size_t, ssize_t};

use crate::errno;
use crate::parks;
use crate::slot::{self, Slot};
use crate::waiting::MayBlock;

/// Where the descriptor is.
const HERE: off_t = -1;

/// Whether a call on a socket may wait, and its caller be parked.
fn waits(flags: c_int) -> bool {
    flags & (MSG_DONTWAIT | MSG_ERRQUEUE) == 0 && parks()
}

/// The flags of a try.
fn with(flags: c_int, may_block: MayBlock) -> c_int {
    match may_block {
        MayBlock::Yes => flags,
        MayBlock::No => flags | MSG_DONTWAIT,
    }
}

/// Whether a socket carries a stream, of which a call may wait for all bytes that are asked for.
fn is_stream(fd: c_int) -> bool {
    slot::option(fd, libc::SO_TYPE) == Some(libc::SOCK_STREAM)
}

type Recv = unsafe extern "C-unwind" fn(c_int, *mut c_void, size_t, c_int) -> ssize_t;

type RecvMsg = unsafe extern "C-unwind" fn(c_int, *mut msghdr, c_int) -> ssize_t;
type SendMsg = unsafe extern "C-unwind" fn(c_int, *const msghdr, c_int) -> ssize_t;
type Send = unsafe extern "C-unwind" fn(c_int, *const c_void, size_t, c_int) -> ssize_t;

type PreadV2 = unsafe extern "C-unwind" fn(c_int, *const iovec, c_int, off_t, c_int) -> ssize_t;
type PwriteV2 = PreadV2;
type ReadV = unsafe extern "C-unwind" fn(c_int, *const iovec, c_int) -> ssize_t;
type Vmsplice = unsafe extern "C-unwind" fn(c_int, *const iovec, size_t, c_uint) -> ssize_t;

/// The flags of a try.
fn nowait(may_block: MayBlock) -> c_int {
    match may_block {
        MayBlock::Yes => 0,
        MayBlock::No => libc::RWF_NOWAIT,
    }
}

/// Whether the error may be due to the flag that keeps a call from blocking.
fn is_refused(error: c_int) -> bool {
    [libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL, libc::EPERM].contains(&error)
}

/// Whether a call that moves bytes between buffers and a descriptor may move some: then there are buffers, not all of them empty,
/// and the descriptor is one for that. Else the call itself tells at once. `probe` is the call with flags, of which the system is
/// given one that it does not know: it looks at that last.
fn would_move(probe: impl FnOnce(c_int) -> isize) -> bool {
    const NO_FLAG: c_int = 1 << 30;
    let error = errno::get();
    let is_refused = probe(NO_FLAG) < 0 && errno::get() == libc::EOPNOTSUPP;
    errno::set(error);
    is_refused
}

/// Notes that another process may have a descriptor that this one has, if one may have been passed with a message. `result` is what it
/// has given to send or receive that.
///
/// # Safety
///
/// If it has succeeded, there is a message.
unsafe fn note_passed(message: *const msghdr, result: isize) {
    // SAFETY: the caller's promise.
    if result >= 0 && unsafe { (*message).msg_controllen } > 0 {
        slot::note_shared();
    }
}

/// Reads or writes by `call` if the descriptor is a socket. `None` if it is not.
fn as_socket(fd: c_int, call: impl FnOnce() -> isize) -> Option<isize> {
    let slot = Slot::of(fd)?;
    if !slot.nature(fd)?.is_socket() {
        return None;
    }
    let result = call();
    if result < 0 && errno::get() == libc::ENOTSOCK {
        // It was one.
        slot.forget();
        return None;
    }
    Some(result)
}
