//! What comes of a call that moves a part of what it was given, in a program that is adopted: the part is told of, and what has kept it
//! from more is for the next call, as in one that is not.

mod common;

use std::ffi::{c_int, c_void};
use std::io::{Read, Write};
use std::mem::{self, MaybeUninit};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::{is_the_same, or_error};

/// More than there is room for in a connection.
const MUCH: usize = 64 << 20;

fn tcp() -> (OwnedFd, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near.into(), listener.accept().unwrap().0.into())
}

fn unix() -> (OwnedFd, OwnedFd) {
    let (near, far) = UnixStream::pair().unwrap();
    (near.into(), far.into())
}

type Made = fn() -> (OwnedFd, OwnedFd);
const KINDS: [Made; 2] = [tcp, unix];

fn send(socket: &OwnedFd, bytes: &[u8]) -> Result<i64, i32> {
    // SAFETY: they are there.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            bytes.as_ptr().cast::<c_void>(),
            bytes.len(),
            0,
        )
    };
    or_error(sent as i64)
}

fn receive_all(socket: &OwnedFd, bytes: &mut [u8]) -> Result<i64, i32> {
    // SAFETY: there is room.
    let received = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            bytes.as_mut_ptr().cast::<c_void>(),
            bytes.len(),
            libc::MSG_WAITALL,
        )
    };
    or_error(received as i64)
}

#[test]
fn who_has_sent_a_part_is_told_next_time_why() {
    is_the_same("who_has_sent_a_part_is_told_next_time_why", || {
        static SIGNALS: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn counts(_: c_int) {
            SIGNALS.fetch_add(1, Ordering::SeqCst);
        }
        // SAFETY: the handler does what may be done in one.
        unsafe { libc::signal(libc::SIGPIPE, counts as *const () as usize) };
        KINDS.map(|made| {
            SIGNALS.store(0, Ordering::SeqCst);
            let (near, far) = made();
            let reads = thread::spawn(move || {
                let mut byte = [0];
                UnixStream::from(far.try_clone().unwrap())
                    .read_exact(&mut byte)
                    .unwrap();
                // So that the rest is waited for.
                thread::sleep(Duration::from_millis(30));
                drop(far);
            });
            let sent = send(&near, &vec![1; MUCH]).map(|sent| 0 < sent && sent < MUCH as i64);
            reads.join().unwrap();
            let signals = SIGNALS.load(Ordering::SeqCst);
            let next = send(&near, &[1]);
            let after = send(&near, &[1]);
            (sent, signals, next, after, SIGNALS.load(Ordering::SeqCst))
        })
    });
}

#[test]
fn who_has_received_a_part_is_told_next_time_why() {
    is_the_same("who_has_received_a_part_is_told_next_time_why", || {
        KINDS.map(|made| {
            let (near, far) = made();
            // What the other end has not read when it closes is an error of this one.
            send(&near, &[1]).unwrap();
            let sends = thread::spawn(move || {
                send(&far, &[1; 10]).unwrap();
                thread::sleep(Duration::from_millis(20));
                drop(far);
            });
            let mut room = [0; 100];
            let received = receive_all(&near, &mut room);
            sends.join().unwrap();
            let next = receive_all(&near, &mut room);
            (received, next, receive_all(&near, &mut room))
        })
    });
}

/// Room for one descriptor beside some bytes.
struct Message {
    bytes: libc::iovec,
    control: [u64; 4],
    header: libc::msghdr,
}

impl Message {
    /// Lends a message of so many bytes at `bytes`.
    fn with<T>(bytes: &mut [u8], f: impl FnOnce(&mut libc::msghdr) -> T) -> T {
        let mut message = Self {
            bytes: libc::iovec {
                iov_base: bytes.as_mut_ptr().cast(),
                iov_len: bytes.len(),
            },
            control: [0; 4],
            // SAFETY: all zero is a message.
            header: unsafe { mem::zeroed() },
        };
        message.header.msg_iov = &raw mut message.bytes;
        message.header.msg_iovlen = 1;
        message.header.msg_control = message.control.as_mut_ptr().cast();
        // SAFETY: it computes.
        message.header.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<c_int>() as u32) } as _;
        f(&mut message.header)
    }
}

fn send_descriptor(socket: &UnixStream, fd: c_int) {
    Message::with(&mut [3], |message| {
        // SAFETY: there is room for one descriptor.
        let sent = unsafe {
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<c_int>() as u32) as _;
            libc::CMSG_DATA(header).cast::<c_int>().write_unaligned(fd);
            libc::sendmsg(socket.as_raw_fd(), message, 0)
        };
        assert_eq!(or_error(sent as i64), Ok(1));
    });
}

/// Receives as many bytes of a stream as there is room for, and tells how many they were and whether a descriptor came with them.
fn receive_message(socket: &UnixStream, room: &mut [u8]) -> (Result<i64, i32>, bool) {
    Message::with(room, |message| {
        // SAFETY: there is room for one descriptor; the one that has come is closed.
        unsafe {
            let received = libc::recvmsg(socket.as_raw_fd(), message, libc::MSG_WAITALL);
            let header = libc::CMSG_FIRSTHDR(message);
            if !header.is_null() {
                let fd = libc::CMSG_DATA(header).cast::<c_int>().read_unaligned();
                drop(OwnedFd::from_raw_fd(fd));
            }
            (or_error(received as i64), !header.is_null())
        }
    })
}

#[test]
fn descriptors_come_with_whatever_part_has_them() {
    is_the_same("descriptors_come_with_whatever_part_has_them", || {
        let (near, mut far) = UnixStream::pair().unwrap();
        let sends = thread::spawn(move || {
            let pause = || thread::sleep(Duration::from_millis(10));
            far.write_all(&[1, 2]).unwrap();
            pause();
            send_descriptor(&far, 0);
            pause();
            far.write_all(&[4, 5]).unwrap();
            pause();
            far.write_all(&[6]).unwrap();
        });
        let mut room = [0; 6];
        // A message ends with its descriptors.
        let first = receive_message(&near, &mut room);
        let second = receive_message(&near, &mut room[3..]);
        let end = receive_message(&near, &mut [0]);
        sends.join().unwrap();
        (first, second, end, room)
    });
}

#[test]
fn each_of_many_messages_of_a_stream_is_filled() {
    is_the_same("each_of_many_messages_of_a_stream_is_filled", || {
        let (near, mut far) = UnixStream::pair().unwrap();
        let sends = thread::spawn(move || {
            for part in [&[1, 2, 3][..], &[4, 5], &[6, 7, 8]] {
                far.write_all(part).unwrap();
                thread::sleep(Duration::from_millis(10));
            }
        });
        let mut rooms = [[0_u8; 4]; 2];
        let mut buffers = rooms.each_mut().map(|room| libc::iovec {
            iov_base: room.as_mut_ptr().cast(),
            iov_len: room.len(),
        });
        let mut messages = buffers.each_mut().map(|buffer| {
            // SAFETY: all zero is a message.
            let mut message: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
            message.msg_hdr.msg_iov = buffer;
            message.msg_hdr.msg_iovlen = 1;
            message
        });
        let (all, none) = (libc::MSG_WAITALL, ptr::null_mut());
        // SAFETY: there is room.
        let received =
            unsafe { libc::recvmmsg(near.as_raw_fd(), messages.as_mut_ptr(), 2, all as _, none) };
        sends.join().unwrap();
        (
            or_error(received),
            messages.map(|message| message.msg_len),
            rooms,
        )
    });
}
