//! Sending to a socket.
//!
//! The C library promises that the system's call is made with what it is given, and waits until all is sent. Of a green thread's call,
//! each try is kept from blocking by `MSG_DONTWAIT`, and between tries it waits.

use std::ffi::{c_int, c_uint, c_void};

use libc::{
    MSG_FASTOPEN, MSG_NOSIGNAL, MSG_ZEROCOPY, SO_SNDTIMEO, mmsghdr, msghdr, size_t, sockaddr,
    socklen_t, ssize_t,
};
use roving_io::adopt::Direction::Write;

use super::buffers::{buffers, message_of, total, with_rest};
use super::{Send, SendMsg, is_stream, note_passed, waits, with};
use crate::errno;
use crate::hand_over::hand_over_at_point;
use crate::memory;
use crate::next::next;
use crate::thread::Point;
use crate::waiting::Waiting;

/// Sends all that there is. `send` is given how many bytes it has sent already, and the flags.
#[inline(never)]
pub(super) fn send_all(
    fd: c_int,
    flags: c_int,
    all: impl Fn() -> usize,
    send: impl Fn(usize, c_int) -> isize,
) -> isize {
    errno::kept_by_success(|| {
        match Waiting::begin(fd, Write, Some(SO_SNDTIMEO)) {
            // A connection that is made by it is waited for where it is made, and calls without copies are counted by the system.
            Some(mut waiting) if flags & (MSG_FASTOPEN | MSG_ZEROCOPY) == 0 => {
                waiting.move_all(all, |done, may_block| {
                    // Who is told how much was sent gets no signal.
                    let quietly = if done > 0 { MSG_NOSIGNAL } else { 0 };
                    send(done, with(flags | quietly, may_block))
                })
            }
            _ => hand_over_at_point(|| send(0, flags)),
        }
    })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn send(
    fd: c_int,
    buf: *const c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    let _point = Point::begin();
    // SAFETY: the caller's promise; what is skipped is in the buffer.
    let send = |done: usize, flags| unsafe {
        next!(send: Send)(fd, buf.byte_add(done), len - done, flags)
    };
    if waits(flags) {
        send_all(fd, flags, || len, send)
    } else {
        send(0, flags)
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sendto(
    fd: c_int,
    buf: *const c_void,
    len: size_t,
    flags: c_int,
    address: *const sockaddr,
    address_len: socklen_t,
) -> ssize_t {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(
        c_int,
        *const c_void,
        size_t,
        c_int,
        *const sockaddr,
        socklen_t,
    ) -> ssize_t;
    // SAFETY: the caller's promise; what is skipped is in the buffer.
    let sendto = |done: usize, flags| unsafe {
        next!(sendto: Next)(
            fd,
            buf.byte_add(done),
            len - done,
            flags,
            address,
            address_len,
        )
    };
    if waits(flags) {
        send_all(fd, flags, || len, sendto)
    } else {
        sendto(0, flags)
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let sendmsg = |message, flags| unsafe {
        let result = next!(sendmsg: SendMsg)(fd, message, flags);
        note_passed(message, result);
        result
    };
    if message.is_null() || !waits(flags) {
        return sendmsg(message, flags);
    }
    // SAFETY: the caller's promise. They are looked at when the system has taken some of them.
    let buffers = || unsafe { buffers((*message).msg_iov, (*message).msg_iovlen) };
    let all = || total(buffers());
    send_all(fd, flags, all, |done, flags| {
        if done == 0 {
            return sendmsg(message, flags);
        }
        // What goes with the bytes has gone with the first.
        with_rest(buffers(), done, |rest| sendmsg(&message_of(rest), flags))
    })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sendmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(c_int, *mut mmsghdr, c_uint, c_int) -> c_int;
    // SAFETY: the caller's promise; what is skipped is among the messages.
    let sendmmsg = |done: usize, flags| unsafe {
        next!(sendmmsg: Next)(fd, messages.add(done), count - done as c_uint, flags)
    };
    if !waits(flags) {
        return sendmmsg(0, flags);
    }
    if count > 0 && !memory::is_there(messages.cast(), size_of::<mmsghdr>()) {
        return sendmmsg(0, flags);
    }
    if is_stream(fd) {
        // A message of which a part is sent is followed by its rest, and not by the next one.
        return errno::kept_by_success(|| {
            let mut sent = 0;
            while sent < count as usize {
                // SAFETY: the caller's promise.
                let result = unsafe {
                    let message = messages.add(sent);
                    let result = self::sendmsg(fd, &raw const (*message).msg_hdr, flags);
                    (*message).msg_len = result.max(0) as c_uint;
                    result
                };
                match result {
                    ..0 if sent == 0 => return result as c_int,
                    ..0 => break,
                    _ => sent += 1,
                }
            }
            sent as c_int
        });
    }
    send_all(
        fd,
        flags,
        || count as usize,
        |done, flags| sendmmsg(done, flags) as isize,
    ) as c_int
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __send(
    fd: c_int,
    buf: *const c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the caller's promise.
    unsafe { send(fd, buf, len, flags) }
}
