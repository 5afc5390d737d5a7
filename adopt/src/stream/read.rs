//! Reading from what may be any kind of descriptor.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

use libc::{iovec, size_t, ssize_t};
use roving_io::adopt::Direction::Read;

use super::buffers::{self, message_of, total, with_rest};
use super::receive::receive;
use super::{
    HERE, PreadV2, ReadV, Recv, RecvMsg, Vmsplice, as_socket, is_refused, nowait, would_move,
};
use crate::errno;
use crate::hand_over::hand_over_at_point;
use crate::next::next;
use crate::parks;
use crate::slot::{Nature, Turn};
use crate::thread::Point;
use crate::waiting::{MayBlock, Waiting, blocks};

/// Reads what is not read as from a socket. `read` is the call, which may block.
///
/// # Safety
///
/// The buffers may be written to.
#[inline(never)]
unsafe fn read_from(fd: c_int, buffers: &[iovec], read: impl Fn() -> isize) -> isize {
    errno::kept_by_success(|| {
        let Some(mut waiting) = Waiting::begin(fd, Read, None) else {
            return hand_over_at_point(read);
        };
        let preadv2 = |flags| {
            let count = buffers.len() as c_int;
            // SAFETY: the caller's promise.
            unsafe { next!(preadv2: PreadV2)(fd, buffers.as_ptr(), count, HERE, flags) }
        };
        let mut nature = waiting.slot.nature(fd);
        if nature == Some(Nature::Flagged) {
            let result = waiting.insist(|may_block| preadv2(nowait(may_block)));
            if result >= 0 || !is_refused(errno::get()) {
                return result;
            }
            // Counters, timers and queues of signals tell so of a buffer that has no room for what they have, whether there is any or not.
            if errno::get() == libc::EINVAL && total(buffers) < size_of::<libc::signalfd_siginfo>()
            {
                return hand_over_at_point(read);
            }
            let mut becomes = Nature::Polled;
            if errno::get() == libc::EOPNOTSUPP {
                becomes = Nature::that_refuses(fd);
                waiting.slot.set_nature(waiting.generation(), becomes);
            }
            nature = Some(becomes);
        }
        if nature == Some(Nature::Fifo) {
            let result = waiting.insist(|may_block| match may_block {
                MayBlock::Yes => read(),
                // SAFETY: the caller's promise. Of what is only read from, it moves bytes to the buffers.
                MayBlock::No => unsafe {
                    next!(vmsplice: Vmsplice)(
                        fd,
                        buffers.as_ptr(),
                        buffers.len(),
                        libc::SPLICE_F_NONBLOCK,
                    )
                },
            });
            if result >= 0 || !is_refused(errno::get()) {
                return result;
            }
        }
        match nature {
            None => read(),
            Some(Nature::File) => {
                let _turn = Turn::take(waiting.slot);
                // SAFETY: the caller's promise.
                unsafe { read_file(fd, buffers, read) }
            }
            Some(_) if !blocks(fd) || !would_move(preadv2) => read(),
            Some(Nature::Terminal) if ends_without_input(fd) => hand_over_at_point(read),
            Some(_) => waiting.poll_and_call(libc::POLLIN, read),
        }
    })
}

/// Whether a read of a terminal ends without input too, at once or after a time of the terminal's own; or does so, or stops the
/// process, since others are in its foreground.
fn ends_without_input(terminal: c_int) -> bool {
    let mut attributes = MaybeUninit::<libc::termios>::uninit();
    let mut number: c_int = 0;
    // SAFETY: there is room for the answers; one of them is there if its question succeeds.
    errno::kept(|| unsafe {
        // What is told of the master of one is what the other end has, and its own reads wait.
        if libc::ioctl(terminal, libc::TIOCGPTN, &raw mut number) == 0 {
            return false;
        }
        let foreground = libc::tcgetpgrp(terminal);
        if foreground > 0 && foreground != libc::getpgrp() {
            return true;
        }
        if libc::tcgetattr(terminal, attributes.as_mut_ptr()) != 0 {
            return false;
        }
        let attributes = attributes.assume_init();
        attributes.c_lflag & libc::ICANON == 0 && attributes.c_cc[libc::VMIN] == 0
    })
}

/// Reads from a file: what is in memory at once, and what has to come from a disk with the worker's place handed over. What
/// knows no difference, such as the files in `/proc`, is on none.
///
/// # Safety
///
/// The buffers may be written to.
unsafe fn read_file(fd: c_int, buffers: &[iovec], read: impl Fn() -> isize) -> isize {
    let read_rest = |done, flags| {
        with_rest(buffers, done, |rest| {
            // SAFETY: the caller's promise.
            unsafe { next!(preadv2: PreadV2)(fd, rest.as_ptr(), rest.len() as c_int, HERE, flags) }
        })
    };
    let mut done = 0;
    while done < total(buffers) {
        match usize::try_from(read_rest(done, libc::RWF_NOWAIT)) {
            Ok(0) => break,
            Ok(more) => done += more,
            Err(_) if errno::get() == libc::EAGAIN => {
                let rest = hand_over_at_point(|| read_rest(done, 0));
                if done == 0 {
                    return rest;
                }
                return done as isize + rest.max(0);
            }
            Err(_) if done > 0 => break,
            Err(_) if is_refused(errno::get()) => return read(),
            Err(_) => return -1,
        }
    }
    done as isize
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(c_int, *mut c_void, size_t) -> ssize_t;
    // SAFETY: the caller's promise.
    let read = || unsafe { next!(read: Next)(fd, buf, len) };
    // To read nothing does not wait.
    if len == 0 || !parks() {
        read()
    } else {
        // SAFETY: the caller's promise.
        let recv = |flags| unsafe { next!(recv: Recv)(fd, buf, len, flags) };
        as_socket(fd, || receive(fd, 0, || len, recv)).unwrap_or_else(|| {
            let buffer = iovec {
                iov_base: buf,
                iov_len: len,
            };
            // SAFETY: the caller's promise.
            unsafe { read_from(fd, &[buffer], read) }
        })
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn readv(
    fd: c_int,
    buffers: *const iovec,
    count: c_int,
) -> ssize_t {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let readv = || unsafe { next!(readv: ReadV)(fd, buffers, count) };
    // SAFETY: the caller's promise, if the system does not find it broken.
    let probe = |flags| unsafe { next!(preadv2: PreadV2)(fd, buffers, count, HERE, flags) };
    if !parks() || !would_move(probe) {
        readv()
    } else {
        // SAFETY: the caller's promise.
        let buffers = unsafe { buffers::buffers(buffers, count as usize) };
        let recvmsg = |flags| {
            // SAFETY: the caller's promise.
            unsafe { next!(recvmsg: RecvMsg)(fd, &mut message_of(buffers), flags) }
        };
        as_socket(fd, || receive(fd, 0, || total(buffers), recvmsg))
            // SAFETY: the caller's promise.
            .unwrap_or_else(|| unsafe { read_from(fd, buffers, readv) })
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t {
    // SAFETY: the caller's promise.
    unsafe { read(fd, buf, len) }
}
