//! Moving bytes from one descriptor to another, or between a pipe and the memory itself.

use std::ffi::{c_int, c_uint};

use libc::{SO_SNDTIMEO, iovec, loff_t, off_t, size_t, socklen_t, ssize_t};
use roving_io::adopt::Direction::{self, Read, Write};

use super::{HERE, PreadV2, PwriteV2, Vmsplice, is_stream, would_move};
use crate::errno;
use crate::hand_over::hand_over_at_point;
use crate::next::next;
use crate::parks;
use crate::slot::{self, Nature};
use crate::thread::Point;
use crate::waiting::{MayBlock, Waiting, blocks};

/// Whether a descriptor is one to be read from, or written to. Of one that is not, no poll tells anything, and any call does at once.
fn may_move(fd: c_int, direction: Direction) -> bool {
    let mut byte = 0_u8;
    let buffer = iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let probe = |flags| {
        // SAFETY: the byte is there.
        unsafe {
            if direction == Write {
                next!(pwritev2: PwriteV2)(fd, &raw const buffer, 1, HERE, flags)
            } else {
                next!(preadv2: PreadV2)(fd, &raw const buffer, 1, HERE, flags)
            }
        }
    };
    would_move(probe) && slot::option(fd, libc::SO_ACCEPTCONN) != Some(1)
}

/// Copies to `to` by a call that may block, once there is room there and something in `from`.
fn copy(from: c_int, to: c_int, copy: impl Fn() -> isize) -> isize {
    errno::kept_by_success(|| {
        if !may_move(to, Write) || !may_move(from, Read) {
            return copy();
        }
        if let Some(mut waiting) = Waiting::begin(from, Read, None)
            && let Err(error) = waiting.until_ready(libc::POLLIN)
            && error != libc::EAGAIN
        {
            return errno::fail::<i8>(error).into();
        }
        match Waiting::begin(to, Write, Some(SO_SNDTIMEO)) {
            Some(mut waiting) => waiting.poll_and_call(libc::POLLOUT, copy),
            None => hand_over_at_point(copy),
        }
    })
}

/// How many bytes a socket that carries a stream takes at once, so that a call for no more does not wait; any number on what else there is.
fn room(fd: c_int) -> usize {
    if !is_stream(fd) {
        return usize::MAX;
    }
    const SO_MEMINFO: c_int = 55;
    const SENDING: usize = 2;
    const MOST: usize = 3;
    const QUEUED: usize = 5;
    let mut told = [0_u32; 9];
    let mut len = size_of_val(&told) as socklen_t;
    // SAFETY: there is room for the answer.
    let failed = unsafe {
        let place = told.as_mut_ptr().cast();
        libc::getsockopt(fd, libc::SOL_SOCKET, SO_MEMINFO, place, &raw mut len)
    };
    let used = told[SENDING].max(told[QUEUED]);
    let room = if failed == 0 {
        told[MOST].saturating_sub(used) as usize
    } else {
        0
    };
    // One that is ready takes as much.
    room.max(libc::PIPE_BUF)
}

/// Sends so many bytes of a file to `to`, of which `sendfile` is given how many to send, in parts for which there is room.
fn send_parts(to: c_int, len: usize, sendfile: impl Fn(usize) -> isize) -> isize {
    errno::kept_by_success(|| {
        if !may_move(to, Write) {
            return sendfile(len);
        }
        let Some(mut waiting) = Waiting::begin(to, Write, Some(SO_SNDTIMEO)) else {
            return hand_over_at_point(|| sendfile(len));
        };
        let mut done = 0;
        loop {
            let left = len - done;
            let mut is_part = false;
            let sent = waiting.poll_and_call(libc::POLLOUT, || {
                let part = left.min(room(to));
                is_part = part < left;
                sendfile(part)
            });
            match usize::try_from(sent) {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(_) if done == 0 => return sent,
                Err(_) => break,
            }
            if !is_part {
                break;
            }
            waiting.note_part();
        }
        done as isize
    })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sendfile(
    to: c_int,
    from: c_int,
    at: *mut off_t,
    len: size_t,
) -> ssize_t {
    type Next = unsafe extern "C-unwind" fn(c_int, c_int, *mut off_t, size_t) -> ssize_t;
    // SAFETY: the caller's promise.
    let sendfile = |len| unsafe { next!(sendfile: Next)(to, from, at, len) };
    if len != 0 && parks() {
        send_parts(to, len, sendfile)
    } else {
        sendfile(len)
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sendfile64(
    to: c_int,
    from: c_int,
    at: *mut off_t,
    len: size_t,
) -> ssize_t {
    // SAFETY: the caller's promise; offsets are of one size.
    unsafe { sendfile(to, from, at, len) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn splice(
    from: c_int,
    from_at: *mut loff_t,
    to: c_int,
    to_at: *mut loff_t,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(
        c_int,
        *mut loff_t,
        c_int,
        *mut loff_t,
        size_t,
        c_uint,
    ) -> ssize_t;
    // SAFETY: the caller's promise.
    let splice = |len, flags| unsafe { next!(splice: Next)(from, from_at, to, to_at, len, flags) };
    if len == 0 || flags & libc::SPLICE_F_NONBLOCK != 0 || !parks() {
        return splice(len, flags);
    }
    let wait = || copy(from, to, || splice(len.min(room(to)), flags));
    if !slot::is_fifo(to) {
        return wait();
    }
    // So it does not wait for room, and that nobody writes to a FIFO it tells at once.
    let attempt = || splice(len, flags | libc::SPLICE_F_NONBLOCK);
    errno::or_wait(&[libc::EAGAIN], attempt, wait)
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn tee(from: c_int, to: c_int, len: size_t, flags: c_uint) -> ssize_t {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(c_int, c_int, size_t, c_uint) -> ssize_t;
    // SAFETY: the caller's promise.
    let tee = |flags| unsafe { next!(tee: Next)(from, to, len, flags) };
    if flags & libc::SPLICE_F_NONBLOCK != 0 || !parks() {
        return tee(flags);
    }
    // Most of what these are not for, it tells at once.
    let attempt = || tee(flags | libc::SPLICE_F_NONBLOCK);
    errno::or_wait(&[libc::EAGAIN], attempt, || copy(from, to, || tee(flags)))
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn vmsplice(
    fd: c_int,
    buffers: *const iovec,
    count: size_t,
    flags: c_uint,
) -> ssize_t {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let with = |flags| unsafe { next!(vmsplice: Vmsplice)(fd, buffers, count, flags) };
    let vmsplice = || with(flags);
    if flags & libc::SPLICE_F_NONBLOCK != 0 || count == 0 || !parks() {
        return vmsplice();
    }
    errno::kept_by_success(|| {
        let direction = if may_move(fd, Write) { Write } else { Read };
        match Waiting::begin(fd, direction, None) {
            // On all else it fails.
            Some(mut waiting)
                if matches!(
                    waiting.slot.nature(fd),
                    Some(Nature::Flagged | Nature::Fifo)
                ) =>
            {
                if direction == Write {
                    waiting.poll_and_call(libc::POLLOUT, vmsplice)
                } else if !may_move(fd, Read) {
                    vmsplice()
                } else if blocks(fd) {
                    waiting.insist(|may_block| match may_block {
                        MayBlock::Yes => vmsplice(),
                        MayBlock::No => with(flags | libc::SPLICE_F_NONBLOCK),
                    })
                } else {
                    waiting.poll_and_call(libc::POLLIN, vmsplice)
                }
            }
            _ => hand_over_at_point(vmsplice),
        }
    })
}
