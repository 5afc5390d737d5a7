//! Writing to what may be any kind of descriptor.

use std::ffi::{c_int, c_void};

use libc::{iovec, size_t, ssize_t};
use roving_io::adopt::Direction::Write;

use super::buffers::{self, message_of, total, with_rest};
use super::send::send_all;
use super::{HERE, PwriteV2, ReadV, Send, SendMsg, as_socket, is_refused, nowait, would_move};
use crate::errno;
use crate::hand_over::hand_over_at_point;
use crate::next::next;
use crate::parks;
use crate::slot::{self, Nature};
use crate::thread::Point;
use crate::waiting::{Waiting, blocks};

/// What a terminal that is ready takes without waiting, at least.
const TERMINAL_BUF: usize = 1024;

/// Writes what is not written as to a socket, all of it. `write` is the call, which may block.
///
/// # Safety
///
/// The buffers may be read.
#[inline(never)]
unsafe fn write_to(fd: c_int, buffers: &[iovec], write: impl Fn() -> isize) -> isize {
    errno::kept_by_success(|| {
        let Some(mut waiting) = Waiting::begin(fd, Write, None) else {
            return hand_over_at_point(write);
        };
        let all = total(buffers);
        if all == 0 {
            // That does not wait.
            return write();
        }
        let nature = waiting.slot.nature(fd);
        let rest = |done, flags| {
            with_rest(buffers, done, |rest| {
                let count = rest.len() as c_int;
                // SAFETY: the caller's promise.
                unsafe { next!(pwritev2: PwriteV2)(fd, rest.as_ptr(), count, HERE, flags) }
            })
        };
        if nature == Some(Nature::Flagged) {
            let result = waiting.move_all(|| all, |done, may_block| rest(done, nowait(may_block)));
            if result >= 0 || !is_refused(errno::get()) {
                return result;
            }
            // An event counter tells at once of what is too short for it, whether it has room or not.
            if all < size_of::<u64>() && !slot::is_fifo(fd) {
                return hand_over_at_point(write);
            }
        }
        // As much as is written at once without waiting for a reader.
        let most = match nature {
            None | Some(Nature::File) => return write(),
            // An event counter, which knows no flag for writes, is mostly so: it wakes who polls.
            Some(_) if !blocks(fd) => return write(),
            Some(Nature::Terminal) => TERMINAL_BUF,
            Some(Nature::Device) => usize::MAX,
            Some(_) => libc::PIPE_BUF,
        };
        if !would_move(|flags| rest(0, flags)) {
            return write();
        }
        if all <= most {
            // Not to be torn apart.
            return waiting.poll_and_call(libc::POLLOUT, write);
        }
        let mut done = 0;
        while done < all {
            let written = waiting.poll_and_call(libc::POLLOUT, || {
                with_rest(buffers, done, |rest| {
                    let some = iovec {
                        iov_base: rest[0].iov_base,
                        iov_len: rest[0].iov_len.min(most),
                    };
                    // SAFETY: the caller's promise.
                    unsafe { next!(writev: ReadV)(fd, &raw const some, 1) }
                })
            });
            match written {
                ..=0 if done == 0 => return written,
                ..=0 => break,
                more => done += more as usize,
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
pub(super) unsafe extern "C-unwind" fn write(
    fd: c_int,
    buf: *const c_void,
    len: size_t,
) -> ssize_t {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(c_int, *const c_void, size_t) -> ssize_t;
    // SAFETY: the caller's promise.
    let write = || unsafe { next!(write: Next)(fd, buf, len) };
    if !parks() {
        write()
    } else {
        // SAFETY: the caller's promise; what is skipped is in the buffer.
        let send = |done: usize, flags| unsafe {
            next!(send: Send)(fd, buf.byte_add(done), len - done, flags)
        };
        as_socket(fd, || send_all(fd, 0, || len, send)).unwrap_or_else(|| {
            let buffer = iovec {
                iov_base: buf.cast_mut(),
                iov_len: len,
            };
            // SAFETY: the caller's promise.
            unsafe { write_to(fd, &[buffer], write) }
        })
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn writev(
    fd: c_int,
    buffers: *const iovec,
    count: c_int,
) -> ssize_t {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let writev = || unsafe { next!(writev: ReadV)(fd, buffers, count) };
    // SAFETY: the caller's promise, if the system does not find it broken.
    let probe = |flags| unsafe { next!(pwritev2: PwriteV2)(fd, buffers, count, HERE, flags) };
    if !parks() || !would_move(probe) {
        writev()
    } else {
        // SAFETY: the caller's promise.
        let buffers = unsafe { buffers::buffers(buffers, count as usize) };
        let sendmsg = |done, flags| {
            with_rest(buffers, done, |rest| {
                // SAFETY: the caller's promise.
                unsafe { next!(sendmsg: SendMsg)(fd, &message_of(rest), flags) }
            })
        };
        as_socket(fd, || send_all(fd, 0, || total(buffers), sendmsg))
            // SAFETY: the caller's promise.
            .unwrap_or_else(|| unsafe { write_to(fd, buffers, writev) })
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t {
    // SAFETY: the caller's promise.
    unsafe { write(fd, buf, len) }
}
