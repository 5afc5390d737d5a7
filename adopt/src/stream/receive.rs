//! Receiving from a socket.
//!
//! The C library promises that the system's call is made with what it is given, and waits until there is something, or all of it with
//! `MSG_WAITALL`. Of a green thread's call, each try is kept from blocking by `MSG_DONTWAIT`, and between tries it waits.

use std::ffi::{c_int, c_uint, c_void};
use std::ptr;

use libc::{
    MSG_OOB, MSG_PEEK, MSG_WAITALL, MSG_WAITFORONE, SO_RCVTIMEO, mmsghdr, msghdr, size_t, sockaddr,
    socklen_t, ssize_t, timespec,
};
use roving_io::adopt::Direction::Read;

use super::buffers::{buffers, message_of, total, with_rest};
use super::{Recv, RecvMsg, is_stream, note_passed, with};
use crate::errno;
use crate::hand_over::hand_over_at_point;
use crate::memory;
use crate::next::next;
use crate::slot::{self, Nature};
use crate::thread::Point;
use crate::waiting::Waiting;

/// Whether to receive may wait, and its caller be parked. For urgent data nobody waits, be it announced or not.
fn waits(flags: c_int) -> bool {
    flags & MSG_OOB == 0 && super::waits(flags)
}

/// Receives once into room for so many bytes. `receive` is given the flags. How much room there is, is asked for when something was received.
#[inline(never)]
pub(super) fn receive(
    fd: c_int,
    flags: c_int,
    room: impl Fn() -> usize,
    mut receive: impl FnMut(c_int) -> isize,
) -> isize {
    errno::kept_by_success(|| {
        let Some(mut waiting) = Waiting::begin(fd, Read, Some(SO_RCVTIMEO)) else {
            return hand_over_at_point(|| receive(flags));
        };
        if slot::has_low_water_mark(fd) {
            return hand_over_at_point(|| receive(flags));
        }
        if flags & MSG_WAITALL != 0 && flags & MSG_PEEK != 0 && is_stream(fd) {
            return peek_all(&mut waiting, flags & !MSG_WAITALL, room, receive);
        }
        let result = waiting.insist(|may_block| receive(with(flags, may_block)));
        let is_part = || 0 < result && flags & MSG_PEEK == 0 && (result as usize) < room();
        if waiting.seen().is_some() && waiting.slot.nature(fd) == Some(Nature::Tcp) && is_part() {
            waiting.mark_drained();
        }
        result
    })
}

/// Looks at so many bytes, and waits until they are there or no more will come.
fn peek_all(
    waiting: &mut Waiting,
    flags: c_int,
    room: impl Fn() -> usize,
    mut receive: impl FnMut(c_int) -> isize,
) -> isize {
    loop {
        let peeked = waiting.insist(|may_block| receive(with(flags, may_block)));
        let is_part = 0 < peeked && (peeked as usize) < room();
        if is_part {
            waiting.note_part();
        }
        if !is_part || !waiting.awaits_more() {
            return peeked;
        }
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn recv(
    fd: c_int,
    buf: *mut c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    let _point = Point::begin();
    // SAFETY: the caller's promise; what is skipped is in the buffer.
    let recv = |done: usize, flags| unsafe {
        next!(recv: Recv)(fd, buf.byte_add(done), len - done, flags)
    };
    if !waits(flags) {
        return recv(0, flags);
    }
    if flags & MSG_WAITALL != 0 && flags & MSG_PEEK == 0 && is_stream(fd) {
        return receive_all(fd, flags & !MSG_WAITALL, || len, recv);
    }
    receive(fd, flags, || len, |flags| recv(0, flags))
}

/// Receives so many bytes of a stream. `receive` is given how many it has received, and the flags.
#[inline(never)]
fn receive_all(
    fd: c_int,
    flags: c_int,
    all: impl Fn() -> usize,
    receive: impl Fn(usize, c_int) -> isize,
) -> isize {
    errno::kept_by_success(|| match Waiting::begin(fd, Read, Some(SO_RCVTIMEO)) {
        Some(mut waiting) => {
            waiting.move_all(all, |done, may_block| receive(done, with(flags, may_block)))
        }
        None => hand_over_at_point(|| receive(0, flags | MSG_WAITALL)),
    })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn recvfrom(
    fd: c_int,
    buf: *mut c_void,
    len: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_len: *mut socklen_t,
) -> ssize_t {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(
        c_int,
        *mut c_void,
        size_t,
        c_int,
        *mut sockaddr,
        *mut socklen_t,
    ) -> ssize_t;
    // SAFETY: the caller's promise; what is skipped is in the buffer.
    let recvfrom = |done: usize, flags| unsafe {
        next!(recvfrom: Next)(
            fd,
            buf.byte_add(done),
            len - done,
            flags,
            address,
            address_len,
        )
    };
    if !waits(flags) {
        return recvfrom(0, flags);
    }
    if flags & MSG_WAITALL != 0 && flags & MSG_PEEK == 0 && is_stream(fd) {
        return receive_all(fd, flags & !MSG_WAITALL, || len, recvfrom);
    }
    receive(fd, flags, || len, |flags| recvfrom(0, flags))
}

/// Whether there is room in a message for what goes with the bytes, descriptors for example.
///
/// # Safety
///
/// It is a message, if it is there.
unsafe fn takes_more_than_bytes(message: *const msghdr) -> bool {
    // SAFETY: the caller's promise.
    memory::is_there(message.cast(), size_of::<msghdr>())
        && unsafe { (*message).msg_controllen > 0 }
}

/// Receives by a call that may block, once there is something.
fn receive_whole(fd: c_int, receive: impl Fn() -> isize) -> isize {
    errno::kept_by_success(|| match Waiting::begin(fd, Read, Some(SO_RCVTIMEO)) {
        Some(mut waiting) => waiting.poll_and_call(libc::POLLIN, receive),
        None => hand_over_at_point(receive),
    })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let recvmsg = |message, flags| unsafe {
        let result = next!(recvmsg: RecvMsg)(fd, message, flags);
        note_passed(message, result);
        result
    };
    if message.is_null() || !waits(flags) {
        return recvmsg(message, flags);
    }
    // SAFETY: the caller's promise. They are looked at when the system has taken some of them.
    let buffers = || unsafe { buffers((*message).msg_iov, (*message).msg_iovlen) };
    let room = || total(buffers());
    // SAFETY: the caller's promise, and it is there.
    if flags & MSG_WAITALL != 0 && unsafe { takes_more_than_bytes(message) } && is_stream(fd) {
        // The system knows with which of them that ends.
        return receive_whole(fd, || recvmsg(message, flags));
    }
    if flags & MSG_WAITALL != 0 && flags & MSG_PEEK == 0 && is_stream(fd) {
        return receive_all(fd, flags & !MSG_WAITALL, room, |done, flags| {
            if done == 0 {
                return recvmsg(message, flags);
            }
            with_rest(buffers(), done, |rest| {
                recvmsg(&mut message_of(rest), flags)
            })
        });
    }
    receive(fd, flags, room, |flags| recvmsg(message, flags))
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn recvmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    timeout: *mut timespec,
) -> c_int {
    let _point = Point::begin();
    type Next =
        unsafe extern "C-unwind" fn(c_int, *mut mmsghdr, c_uint, c_int, *mut timespec) -> c_int;
    // SAFETY: the caller's promise; what is skipped is among the messages.
    let recvmmsg = |done: usize, flags, timeout| unsafe {
        let left = count - done as c_uint;
        next!(recvmmsg: Next)(fd, messages.add(done), left, flags, timeout)
    };
    if !waits(flags) {
        return recvmmsg(0, flags, timeout);
    }
    if flags & MSG_WAITALL != 0 && is_stream(fd) {
        // Each of them is to be filled.
        return receive_whole(fd, || recvmmsg(0, flags, timeout) as isize) as c_int;
    }
    let whole = || hand_over_at_point(|| recvmmsg(0, flags, timeout) as isize) as c_int;
    // Between messages, the system looks whether the time is up: nobody else knows how much is left.
    if !timeout.is_null() {
        return whole();
    }
    let Some(mut waiting) = Waiting::begin(fd, Read, Some(SO_RCVTIMEO)) else {
        return whole();
    };
    let one = flags & MSG_WAITFORONE != 0;
    let all = || if one { 1 } else { count as usize };
    waiting.move_all(all, |done, may_block| {
        recvmmsg(done, with(flags, may_block), ptr::null_mut()) as isize
    }) as c_int
}
