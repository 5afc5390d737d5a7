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

use std::ffi::{c_int, c_uint, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

use libc::{
    MSG_DONTWAIT, MSG_ERRQUEUE, MSG_FASTOPEN, MSG_NOSIGNAL, MSG_OOB, MSG_PEEK, MSG_WAITALL,
    MSG_WAITFORONE, MSG_ZEROCOPY, SO_RCVTIMEO, SO_SNDTIMEO, iovec, loff_t, mmsghdr, msghdr, off_t,
    size_t, sockaddr, socklen_t, ssize_t, timespec,
};
use roving_io::adopt::Direction::{self, Read, Write};

use crate::errno;
use crate::hand_over::hand_over;
use crate::memory;
use crate::next::next;
use crate::parks;
use crate::slot::{self, Nature, Slot};
use crate::thread::Point;
use crate::waiting::{MayBlock, Waiting, blocks};

/// What a terminal that is ready takes without waiting, at least.
const TERMINAL_BUF: usize = 1024;

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

/// Receives once into room for so many bytes. `receive` is given the flags. How much room there is, is asked for when something was received.
#[inline(never)]
fn receive(
    fd: c_int,
    flags: c_int,
    room: impl Fn() -> usize,
    mut receive: impl FnMut(c_int) -> isize,
) -> isize {
    errno::kept_by_success(|| {
        let Some(mut waiting) = Waiting::begin(fd, Read, Some(SO_RCVTIMEO)) else {
            return hand_over(|| receive(flags));
        };
        if slot::has_low_water_mark(fd) {
            return hand_over(|| receive(flags));
        }
        if flags & MSG_WAITALL != 0 && flags & MSG_PEEK != 0 && is_stream(fd) {
            return peek_all(&mut waiting, flags & !MSG_WAITALL, room, receive);
        }
        let result = waiting.insist(|may_block| receive(with(flags, may_block)));
        let is_part =
            || 0 < result && flags & (MSG_PEEK | MSG_OOB) == 0 && (result as usize) < room();
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

/// Whether a socket carries a stream, of which a call may wait for all bytes that are asked for.
fn is_stream(fd: c_int) -> bool {
    slot::option(fd, libc::SO_TYPE) == Some(libc::SOCK_STREAM)
}

type Recv = unsafe extern "C-unwind" fn(c_int, *mut c_void, size_t, c_int) -> ssize_t;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn recv(
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
        None => hand_over(|| receive(0, flags | MSG_WAITALL)),
    })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn recvfrom(
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

/// The buffers of a call.
///
/// # Safety
///
/// There are as many as that, and they stay for as long as they are used.
unsafe fn buffers<'a>(buffers: *const iovec, count: usize) -> &'a [iovec] {
    if buffers.is_null() || count > libc::UIO_MAXIOV as usize {
        // What the system says to them, it says to the call.
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(buffers, count) }
}

fn total(buffers: &[iovec]) -> usize {
    let lengths = buffers.iter().map(|buffer| buffer.iov_len);
    lengths.fold(0, usize::saturating_add)
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

/// Does what `f` does with the first of what is left of some buffers after so many bytes: the rest of the one where that ends, or all
/// that come after it.
fn with_rest<R>(buffers: &[iovec], mut done: usize, f: impl FnOnce(&[iovec]) -> R) -> R {
    let mut buffers = buffers;
    while let [first, rest @ ..] = buffers
        && done >= first.iov_len
        && done > 0
    {
        done -= first.iov_len;
        buffers = rest;
    }
    match buffers {
        [first, ..] if done > 0 => f(&[iovec {
            iov_base: first.iov_base.wrapping_byte_add(done),
            iov_len: first.iov_len - done,
        }]),
        whole => f(whole),
    }
}

/// A message with other buffers, and nothing else.
fn message_of(buffers: &[iovec]) -> msghdr {
    // SAFETY: all zero is a message of nothing.
    let mut message: msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = buffers.as_ptr().cast_mut();
    message.msg_iovlen = buffers.len() as _;
    message
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

/// Receives by a call that may block, once there is something.
fn receive_whole(fd: c_int, receive: impl Fn() -> isize) -> isize {
    errno::kept_by_success(|| match Waiting::begin(fd, Read, Some(SO_RCVTIMEO)) {
        Some(mut waiting) => waiting.poll_and_call(libc::POLLIN, receive),
        None => hand_over(receive),
    })
}

type RecvMsg = unsafe extern "C-unwind" fn(c_int, *mut msghdr, c_int) -> ssize_t;
type SendMsg = unsafe extern "C-unwind" fn(c_int, *const msghdr, c_int) -> ssize_t;

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
    let whole = || hand_over(|| recvmmsg(0, flags, timeout) as isize) as c_int;
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

type Send = unsafe extern "C-unwind" fn(c_int, *const c_void, size_t, c_int) -> ssize_t;

/// Sends all that there is. `send` is given how many bytes it has sent already, and the flags.
#[inline(never)]
fn send_all(
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
            _ => hand_over(|| send(0, flags)),
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

/// Reads what is not read as from a socket. `read` is the call, which may block.
///
/// # Safety
///
/// The buffers may be written to.
#[inline(never)]
unsafe fn read_from(fd: c_int, buffers: &[iovec], read: impl Fn() -> isize) -> isize {
    errno::kept_by_success(|| {
        let Some(mut waiting) = Waiting::begin(fd, Read, None) else {
            return hand_over(read);
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
                return hand_over(read);
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
            // SAFETY: the caller's promise.
            Some(Nature::File) => unsafe { read_file(fd, buffers, read) },
            Some(_) if !blocks(fd) || !would_move(preadv2) => read(),
            Some(Nature::Terminal) if ends_without_input(fd) => hand_over(read),
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
                let rest = hand_over(|| read_rest(done, 0));
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

/// Writes what is not written as to a socket, all of it. `write` is the call, which may block; `write_some` writes a buffer.
///
/// # Safety
///
/// The buffers may be read.
#[inline(never)]
unsafe fn write_to(fd: c_int, buffers: &[iovec], write: impl Fn() -> isize) -> isize {
    errno::kept_by_success(|| {
        let Some(mut waiting) = Waiting::begin(fd, Write, None) else {
            return hand_over(write);
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
                return hand_over(write);
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

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t {
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
unsafe extern "C-unwind" fn readv(fd: c_int, buffers: *const iovec, count: c_int) -> ssize_t {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let readv = || unsafe { next!(readv: ReadV)(fd, buffers, count) };
    // SAFETY: the caller's promise, if the system does not find it broken.
    let probe = |flags| unsafe { next!(preadv2: PreadV2)(fd, buffers, count, HERE, flags) };
    if !parks() || !would_move(probe) {
        readv()
    } else {
        // SAFETY: the caller's promise.
        let buffers = unsafe { self::buffers(buffers, count as usize) };
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
unsafe extern "C-unwind" fn write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t {
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
unsafe extern "C-unwind" fn writev(fd: c_int, buffers: *const iovec, count: c_int) -> ssize_t {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let writev = || unsafe { next!(writev: ReadV)(fd, buffers, count) };
    // SAFETY: the caller's promise, if the system does not find it broken.
    let probe = |flags| unsafe { next!(pwritev2: PwriteV2)(fd, buffers, count, HERE, flags) };
    if !parks() || !would_move(probe) {
        writev()
    } else {
        // SAFETY: the caller's promise.
        let buffers = unsafe { self::buffers(buffers, count as usize) };
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
            None => hand_over(copy),
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
            return hand_over(|| sendfile(len));
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
            _ => hand_over(vmsplice),
        }
    })
}

/// Defines functions that do what others do, unless there is a place in the file, or a flag.
macro_rules! with_flags {
    ($($name:ident: $does:ident)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(
            fd: c_int,
            buffers: *const iovec,
            count: c_int,
            at: off_t,
            flags: c_int,
        ) -> ssize_t {
            let _point = Point::begin();
            // SAFETY: the caller's promise.
            unsafe {
                if at == HERE && flags == 0 && parks() {
                    $does(fd, buffers, count)
                } else {
                    next!($name: PreadV2)(fd, buffers, count, at, flags)
                }
            }
        }
    )*};
}

with_flags! {
    preadv2: readv
    preadv64v2: readv
    pwritev2: writev
    pwritev64v2: writev
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t {
    // SAFETY: the caller's promise.
    unsafe { read(fd, buf, len) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t {
    // SAFETY: the caller's promise.
    unsafe { write(fd, buf, len) }
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

/// What a program calls that was compiled to have its buffers checked: the function itself, unless the buffer is too small, of
/// which the C library tells.
mod checked {
    use super::*;

    /// # Safety
    ///
    /// That of the C library's.
    #[unsafe(no_mangle)]
    unsafe extern "C-unwind" fn __read_chk(
        fd: c_int,
        buf: *mut c_void,
        len: size_t,
        size: size_t,
    ) -> ssize_t {
        type Next = unsafe extern "C-unwind" fn(c_int, *mut c_void, size_t, size_t) -> ssize_t;
        // SAFETY: the caller's promise.
        unsafe {
            if len > size {
                next!(__read_chk: Next)(fd, buf, len, size)
            } else {
                read(fd, buf, len)
            }
        }
    }

    /// # Safety
    ///
    /// That of the C library's.
    #[unsafe(no_mangle)]
    unsafe extern "C-unwind" fn __recv_chk(
        fd: c_int,
        buf: *mut c_void,
        len: size_t,
        size: size_t,
        flags: c_int,
    ) -> ssize_t {
        type Next =
            unsafe extern "C-unwind" fn(c_int, *mut c_void, size_t, size_t, c_int) -> ssize_t;
        // SAFETY: the caller's promise.
        unsafe {
            if len > size {
                next!(__recv_chk: Next)(fd, buf, len, size, flags)
            } else {
                recv(fd, buf, len, flags)
            }
        }
    }

    /// # Safety
    ///
    /// That of the C library's.
    #[unsafe(no_mangle)]
    unsafe extern "C-unwind" fn __recvfrom_chk(
        fd: c_int,
        buf: *mut c_void,
        len: size_t,
        size: size_t,
        flags: c_int,
        address: *mut sockaddr,
        address_len: *mut socklen_t,
    ) -> ssize_t {
        type Next = unsafe extern "C-unwind" fn(
            c_int,
            *mut c_void,
            size_t,
            size_t,
            c_int,
            *mut sockaddr,
            *mut socklen_t,
        ) -> ssize_t;
        // SAFETY: the caller's promise.
        unsafe {
            if len > size {
                next!(__recvfrom_chk: Next)(fd, buf, len, size, flags, address, address_len)
            } else {
                recvfrom(fd, buf, len, flags, address, address_len)
            }
        }
    }
}
