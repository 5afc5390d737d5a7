//! What each call gives on each kind of descriptor, in a program that is adopted, is what it gives in one that is not: a table
//! of kinds, one of states, and one of calls, each with each.

mod common;

use std::ffi::{c_int, c_void};
use std::fs::{self, File};
use std::mem;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::ptr;

use common::{is_the_same, or_error};

/// A descriptor.
struct Made {
    fd: c_int,
    /// The other end, if there is one.
    peer: Option<OwnedFd>,
}

impl Made {
    fn new(fd: impl Into<OwnedFd>) -> Self {
        Self {
            fd: fd.into().into_raw_fd(),
            peer: None,
        }
    }

    fn with_peer(fd: impl Into<OwnedFd>, peer: impl Into<OwnedFd>) -> Self {
        Self {
            fd: fd.into().into_raw_fd(),
            peer: Some(peer.into()),
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // SAFETY: it is this one's. A call may have closed it, and then nobody else has opened one: each process makes them on one
        // thread.
        unsafe { libc::close(self.fd) };
    }
}

/// What the system gives for a new descriptor.
fn owned(fd: c_int) -> OwnedFd {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: it is new.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn tcp() -> Made {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    Made::with_peer(near, far)
}

fn pair(kind: c_int) -> Made {
    let mut ends = [-1; 2];
    // SAFETY: there is room for both.
    let failed = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    assert_eq!(failed, 0);
    Made::with_peer(owned(ends[0]), owned(ends[1]))
}

fn udp() -> Made {
    let [near, far] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    near.connect(far.local_addr().unwrap()).unwrap();
    far.connect(near.local_addr().unwrap()).unwrap();
    Made::with_peer(near, far)
}

fn pipe(reads: bool) -> Made {
    let (reader, writer) = std::io::pipe().unwrap();
    if reads {
        Made::with_peer(reader, writer)
    } else {
        Made::with_peer(writer, reader)
    }
}

fn terminal(is_master: bool) -> Made {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: there is room for both; neither a name nor attributes are asked for.
    let opened = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    assert_eq!(opened, 0);
    if is_master {
        Made::with_peer(owned(master), owned(slave))
    } else {
        Made::with_peer(owned(slave), owned(master))
    }
}

/// One that gives nothing where there is nothing.
fn terminal_without_waits() -> Made {
    let made = terminal(false);
    // SAFETY: zeroes are attributes, and there is room for them.
    unsafe {
        let mut attributes: libc::termios = mem::zeroed();
        libc::tcgetattr(made.fd, &raw mut attributes);
        libc::cfmakeraw(&raw mut attributes);
        attributes.c_cc[libc::VMIN] = 0;
        attributes.c_cc[libc::VTIME] = 0;
        libc::tcsetattr(made.fd, libc::TCSANOW, &raw const attributes);
    }
    made
}

fn fifo() -> Made {
    let path = std::env::temp_dir().join(format!("roving-same-fifo-{}", std::process::id()));
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: it is a string; the descriptor is new.
    let made = unsafe {
        assert_eq!(libc::mkfifo(name.as_ptr(), 0o600), 0);
        let flags = libc::O_RDONLY | libc::O_NONBLOCK;
        let made = Made::new(owned(libc::open(name.as_ptr(), flags)));
        libc::fcntl(made.fd, libc::F_SETFL, 0);
        made
    };
    fs::remove_file(path).unwrap();
    made
}

fn file(flags: c_int) -> Made {
    // SAFETY: strings; it opens descriptors.
    unsafe {
        let file = owned(libc::memfd_create(c"file".as_ptr(), 0));
        libc::write(file.as_raw_fd(), c"abcdef".as_ptr().cast(), 6);
        let path = format!("/proc/self/fd/{}\0", file.as_raw_fd());
        Made::new(owned(libc::open(path.as_ptr().cast(), flags)))
    }
}

fn device(path: &str) -> Made {
    let file = File::options().read(true).write(true).open(path).unwrap();
    Made::new(file)
}

fn timer(expires: bool) -> Made {
    // SAFETY: there is a time, and what was before is not asked for.
    unsafe {
        let timer = owned(libc::timerfd_create(libc::CLOCK_MONOTONIC, 0));
        let mut time: libc::itimerspec = mem::zeroed();
        time.it_value.tv_nsec = c_int::from(expires).into();
        libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const time, ptr::null_mut());
        Made::new(timer)
    }
}

type Kind = (&'static str, fn() -> Made, &'static [State]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In non-blocking mode.
    NonBlocking,
    /// In blocking mode, with something to read if there is a peer.
    Ready,
    /// In blocking mode, and its peer is gone.
    Over,
    /// In blocking mode, with short timeouts, and with nothing to read.
    Timed,
}

use State::{NonBlocking, Over, Ready, Timed};

const SOCKET: &[State] = &[NonBlocking, Ready, Over, Timed];
const STREAM: &[State] = &[NonBlocking, Ready, Over];
/// What does not wait.
const PLAIN: &[State] = &[NonBlocking, Ready];
/// What would wait for ever.
const EMPTY: &[State] = &[NonBlocking];

#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "all of them open descriptors, and nothing else"
)]
const KINDS: &[Kind] = &[
    ("tcp", tcp, SOCKET),
    (
        "tcp that listens",
        || Made::new(TcpListener::bind("127.0.0.1:0").unwrap()),
        EMPTY,
    ),
    (
        "tcp that is new",
        // SAFETY: it opens a descriptor.
        || {
            Made::new(owned(unsafe {
                libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)
            }))
        },
        PLAIN,
    ),
    ("udp", udp, &[NonBlocking, Ready, Timed]),
    (
        "udp without a peer",
        || Made::new(UdpSocket::bind("127.0.0.1:0").unwrap()),
        &[NonBlocking, Timed],
    ),
    ("unix stream", || pair(libc::SOCK_STREAM), SOCKET),
    (
        "unix datagrams",
        || pair(libc::SOCK_DGRAM),
        &[NonBlocking, Ready, Timed],
    ),
    ("unix packets", || pair(libc::SOCK_SEQPACKET), SOCKET),
    (
        "unix that listens",
        || {
            let path = std::env::temp_dir().join(format!("roving-same-{}", std::process::id()));
            let listener = UnixListener::bind(&path).unwrap();
            fs::remove_file(path).unwrap();
            Made::new(listener)
        },
        EMPTY,
    ),
    (
        "unix datagrams without a peer",
        || Made::new(UnixDatagram::unbound().unwrap()),
        &[NonBlocking, Timed],
    ),
    ("pipe to read", || pipe(true), STREAM),
    ("pipe to write", || pipe(false), STREAM),
    ("terminal's master", || terminal(true), &[NonBlocking]),
    ("terminal", || terminal(false), &[NonBlocking, Ready]),
    ("terminal without waits", terminal_without_waits, PLAIN),
    ("fifo that nobody writes to", fifo, PLAIN),
    ("file", || file(libc::O_RDWR), PLAIN),
    ("file to read", || file(libc::O_RDONLY), PLAIN),
    ("file to write", || file(libc::O_WRONLY), PLAIN),
    (
        "file to append to",
        || file(libc::O_RDWR | libc::O_APPEND),
        PLAIN,
    ),
    ("file by its path", || file(libc::O_PATH), &[Ready]),
    ("folder", || Made::new(File::open("/").unwrap()), PLAIN),
    // SAFETY: these open descriptors.
    (
        "event counter",
        || Made::new(owned(unsafe { libc::eventfd(0, 0) })),
        EMPTY,
    ),
    (
        "event counter of 3",
        || Made::new(owned(unsafe { libc::eventfd(3, 0) })),
        PLAIN,
    ),
    (
        "event semaphore of 3",
        // SAFETY: it opens a descriptor.
        || Made::new(owned(unsafe { libc::eventfd(3, libc::EFD_SEMAPHORE) })),
        PLAIN,
    ),
    (
        "event counter that is full",
        || {
            let made = Made::new(owned(unsafe { libc::eventfd(0, 0) }));
            let most = u64::MAX - 1;
            unsafe { libc::write(made.fd, (&raw const most).cast(), 8) };
            made
        },
        EMPTY,
    ),
    ("timer", || timer(false), EMPTY),
    ("timer that has expired", || timer(true), PLAIN),
    (
        "signals",
        || {
            // SAFETY: zeroes are a set of signals, that of none.
            unsafe {
                let none: libc::sigset_t = mem::zeroed();
                Made::new(owned(libc::signalfd(-1, &raw const none, 0)))
            }
        },
        EMPTY,
    ),
    // SAFETY: these open descriptors.
    (
        "inotify",
        || Made::new(owned(unsafe { libc::inotify_init1(0) })),
        EMPTY,
    ),
    (
        "epoll",
        || Made::new(owned(unsafe { libc::epoll_create1(0) })),
        EMPTY,
    ),
    ("null", || device("/dev/null"), PLAIN),
    ("zero", || device("/dev/zero"), PLAIN),
    (
        "a number of nothing",
        || {
            let mut made = pipe(true);
            // SAFETY: it is closed once.
            unsafe { libc::close(mem::replace(&mut made.fd, -1)) };
            made
        },
        &[Ready],
    ),
    (
        "a large number",
        || {
            let mut made = pipe(true);
            // SAFETY: it is closed once.
            unsafe { libc::close(mem::replace(&mut made.fd, 1 << 28)) };
            made
        },
        &[Ready],
    ),
];

fn make(kind: &Kind, state: State) -> Made {
    let mut made = kind.1();
    // SAFETY: they change modes, and write what there is.
    unsafe {
        match state {
            NonBlocking => {
                let flags = libc::fcntl(made.fd, libc::F_GETFL);
                libc::fcntl(made.fd, libc::F_SETFL, flags | libc::O_NONBLOCK);
            }
            Ready => {
                if let Some(peer) = &made.peer
                    && libc::write(peer.as_raw_fd(), c"abc\n".as_ptr().cast(), 4) == 4
                {
                    await_input(made.fd);
                }
            }
            Over => {
                if made.peer.take().is_some() {
                    await_input(made.fd);
                }
            }
            Timed => {
                let time = libc::timeval {
                    tv_sec: 0,
                    tv_usec: 2_000,
                };
                for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
                    let (time, size) = ((&raw const time).cast(), size_of_val(&time) as u32);
                    libc::setsockopt(made.fd, libc::SOL_SOCKET, name, time, size);
                }
            }
        }
    }
    made
}

fn await_input(fd: c_int) {
    let mut polled = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: there is one.
    unsafe { libc::poll(&raw mut polled, 1, 1000) };
}

/// What a call gives, and what it has written; and if it succeeds, the error that it leaves, where there was none before.
type Told = (Result<i64, i32>, Vec<u8>);

type Call = (&'static str, fn(c_int) -> Told);

/// Nobody has anything there.
const NOWHERE: *mut c_void = ptr::without_provenance_mut(8);

fn told<T: Into<i64>>(result: T) -> Told {
    (or_error(result), Vec::new())
}

fn told_size(result: isize) -> Told {
    told(result as i64)
}

/// One that gives a new descriptor, which is closed.
fn told_fd(fd: c_int) -> Told {
    let told = told(fd);
    if fd >= 0 {
        drop(owned(fd));
        return (Ok(0), Vec::new());
    }
    told
}

/// With room for so many bytes, as parts of which the first has one.
fn with_room(size: usize, call: impl FnOnce(&mut [libc::iovec; 2]) -> isize) -> Told {
    let mut room = vec![0_u8; size];
    let (first, second) = room.split_at_mut(size.min(1));
    let mut parts = [first, second].map(|part| libc::iovec {
        iov_base: part.as_mut_ptr().cast(),
        iov_len: part.len(),
    });
    let result = or_error(call(&mut parts) as i64);
    (result, room)
}

fn message(parts: *mut libc::iovec, count: usize) -> libc::msghdr {
    // SAFETY: zeroes are a message of nothing.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = parts;
    message.msg_iovlen = count as _;
    message
}

fn receive(fd: c_int, flags: c_int) -> Told {
    let mut room = [0_u8; 3];
    // SAFETY: there is room.
    let result = unsafe { libc::recv(fd, room.as_mut_ptr().cast(), 3, flags) };
    (or_error(result as i64), room.to_vec())
}

fn send(fd: c_int, flags: c_int) -> Told {
    // SAFETY: there are so many bytes.
    told_size(unsafe { libc::send(fd, c"xyz".as_ptr().cast(), 3, flags) })
}

fn poll(fd: c_int, events: libc::c_short, timeout: c_int) -> Told {
    let mut polled = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: there is one.
    let result = unsafe { libc::poll(&raw mut polled, 1, timeout) };
    (or_error(result), polled.revents.to_le_bytes().to_vec())
}

/// A file of some bytes, at its beginning.
fn source() -> OwnedFd {
    let made = file(libc::O_RDONLY);
    let source = owned(made.fd);
    mem::forget(made);
    source
}

#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "what each is given is there for as long as it takes, or is nobody's memory, of which the system tells"
)]
const CALLS: &[Call] = {
    use libc::{
        MSG_DONTWAIT, MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_WAITALL,
    };
    &[
        ("read", |fd| {
            with_room(3, |parts| unsafe { libc::read(fd, parts[0].iov_base, 3) })
        }),
        ("read of nothing", |fd| {
            told_size(unsafe { libc::read(fd, ptr::null_mut(), 0) })
        }),
        ("read of 8", |fd| {
            with_room(8, |parts| unsafe { libc::read(fd, parts[0].iov_base, 8) })
        }),
        ("read to nowhere", |fd| {
            told_size(unsafe { libc::read(fd, NOWHERE, 8) })
        }),
        ("readv", |fd| {
            with_room(3, |parts| unsafe { libc::readv(fd, parts.as_ptr(), 2) })
        }),
        ("readv of 8", |fd| {
            with_room(8, |parts| unsafe { libc::readv(fd, parts.as_ptr(), 2) })
        }),
        ("readv of nothing", |fd| {
            with_room(0, |parts| unsafe { libc::readv(fd, parts.as_ptr(), 2) })
        }),
        ("readv of no parts", |fd| {
            with_room(3, |parts| unsafe { libc::readv(fd, parts.as_ptr(), 0) })
        }),
        ("readv of too few", |fd| {
            with_room(3, |parts| unsafe { libc::readv(fd, parts.as_ptr(), -1) })
        }),
        ("readv of too many", |fd| {
            with_room(3, |parts| unsafe { libc::readv(fd, parts.as_ptr(), 5000) })
        }),
        ("readv by nothing", |fd| {
            told_size(unsafe { libc::readv(fd, NOWHERE.cast(), 2) })
        }),
        ("write", |fd| {
            told_size(unsafe { libc::write(fd, c"xyz".as_ptr().cast(), 3) })
        }),
        ("write of 8", |fd| {
            told_size(unsafe { libc::write(fd, (&raw const ONE).cast(), 8) })
        }),
        ("write of nothing", |fd| {
            told_size(unsafe { libc::write(fd, ptr::null(), 0) })
        }),
        ("write from nowhere", |fd| {
            told_size(unsafe { libc::write(fd, NOWHERE, 8) })
        }),
        ("writev", |fd| {
            with_room(3, |parts| unsafe { libc::writev(fd, parts.as_ptr(), 2) })
        }),
        ("writev of nothing", |fd| {
            with_room(0, |parts| unsafe { libc::writev(fd, parts.as_ptr(), 2) })
        }),
        ("writev of no parts", |fd| {
            with_room(3, |parts| unsafe { libc::writev(fd, parts.as_ptr(), 0) })
        }),
        ("writev of too few", |fd| {
            with_room(3, |parts| unsafe { libc::writev(fd, parts.as_ptr(), -1) })
        }),
        ("writev of too many", |fd| {
            with_room(3, |parts| unsafe { libc::writev(fd, parts.as_ptr(), 5000) })
        }),
        ("writev by nothing", |fd| {
            told_size(unsafe { libc::writev(fd, NOWHERE.cast(), 2) })
        }),
        ("recv", |fd| receive(fd, 0)),
        ("recv at once", |fd| receive(fd, MSG_DONTWAIT)),
        ("recv of all", |fd| receive(fd, MSG_WAITALL)),
        ("recv that peeks", |fd| receive(fd, MSG_PEEK)),
        ("recv that peeks at all", |fd| {
            receive(fd, MSG_PEEK | MSG_WAITALL)
        }),
        ("recv of the whole length", |fd| receive(fd, MSG_TRUNC)),
        ("recv out of band", |fd| receive(fd, MSG_OOB)),
        ("recv of errors", |fd| receive(fd, MSG_ERRQUEUE)),
        ("recv to nowhere", |fd| {
            told_size(unsafe { libc::recv(fd, NOWHERE, 3, 0) })
        }),
        ("recv of nothing", |fd| {
            told_size(unsafe { libc::recv(fd, ptr::null_mut(), 0, MSG_DONTWAIT) })
        }),
        ("recvfrom", |fd| {
            with_room(3, |parts| unsafe {
                libc::recvfrom(
                    fd,
                    parts[0].iov_base,
                    3,
                    0,
                    ptr::null_mut(),
                    ptr::null_mut(),
                )
            })
        }),
        ("recvfrom without a length", |fd| {
            with_room(3, |parts| unsafe {
                let mut address: libc::sockaddr_storage = mem::zeroed();
                let address = (&raw mut address).cast();
                libc::recvfrom(fd, parts[0].iov_base, 3, 0, address, NOWHERE.cast())
            })
        }),
        ("recvmsg", |fd| {
            with_room(3, |parts| unsafe {
                libc::recvmsg(fd, &mut message(parts.as_mut_ptr(), 2), 0)
            })
        }),
        ("recvmsg of all", |fd| {
            with_room(3, |parts| unsafe {
                libc::recvmsg(fd, &mut message(parts.as_mut_ptr(), 2), MSG_WAITALL)
            })
        }),
        ("recvmsg by nothing", |fd| {
            told_size(unsafe { libc::recvmsg(fd, &mut message(NOWHERE.cast(), 2), 0) })
        }),
        ("recvmsg of too many", |fd| {
            told_size(unsafe { libc::recvmsg(fd, &mut message(NOWHERE.cast(), 5000), 0) })
        }),
        ("recvmsg of nowhere", |fd| {
            told_size(unsafe { libc::recvmsg(fd, NOWHERE.cast(), 0) })
        }),
        ("recvmmsg", |fd| {
            with_room(3, |parts| unsafe {
                let mut all = [0; 2].map(|_| libc::mmsghdr {
                    msg_hdr: message(parts.as_mut_ptr(), 2),
                    msg_len: 0,
                });
                let result =
                    libc::recvmmsg(fd, all.as_mut_ptr(), 2, MSG_DONTWAIT as _, ptr::null_mut());
                result as isize
            })
        }),
        ("recvmmsg of nowhere", |fd| {
            told(unsafe { libc::recvmmsg(fd, NOWHERE.cast(), 2, 0, ptr::null_mut()) })
        }),
        ("send", |fd| send(fd, MSG_NOSIGNAL)),
        ("send at once", |fd| send(fd, MSG_DONTWAIT | MSG_NOSIGNAL)),
        ("send out of band", |fd| send(fd, MSG_OOB | MSG_NOSIGNAL)),
        ("send with wrong flags", |fd| {
            send(fd, MSG_ERRQUEUE | MSG_NOSIGNAL)
        }),
        ("send of nothing", |fd| {
            told_size(unsafe { libc::send(fd, ptr::null(), 0, MSG_NOSIGNAL) })
        }),
        ("send from nowhere", |fd| {
            told_size(unsafe { libc::send(fd, NOWHERE, 3, MSG_NOSIGNAL) })
        }),
        ("sendto nobody", |fd| {
            told_size(unsafe {
                libc::sendto(
                    fd,
                    c"xyz".as_ptr().cast(),
                    3,
                    MSG_NOSIGNAL,
                    NOWHERE.cast(),
                    16,
                )
            })
        }),
        ("sendmsg", |fd| {
            with_room(3, |parts| unsafe {
                libc::sendmsg(fd, &message(parts.as_mut_ptr(), 2), MSG_NOSIGNAL)
            })
        }),
        ("sendmsg of nothing", |fd| {
            told_size(unsafe { libc::sendmsg(fd, &message(ptr::null_mut(), 0), MSG_NOSIGNAL) })
        }),
        ("sendmsg by nothing", |fd| {
            told_size(unsafe { libc::sendmsg(fd, &message(NOWHERE.cast(), 2), MSG_NOSIGNAL) })
        }),
        ("sendmsg of too many", |fd| {
            told_size(unsafe { libc::sendmsg(fd, &message(NOWHERE.cast(), 5000), MSG_NOSIGNAL) })
        }),
        ("sendmsg of nowhere", |fd| {
            told_size(unsafe { libc::sendmsg(fd, NOWHERE.cast(), 0) })
        }),
        ("sendmmsg", |fd| {
            with_room(3, |parts| unsafe {
                let mut all = [0; 2].map(|_| libc::mmsghdr {
                    msg_hdr: message(parts.as_mut_ptr(), 2),
                    msg_len: 0,
                });
                libc::sendmmsg(fd, all.as_mut_ptr(), 2, MSG_NOSIGNAL as _) as isize
            })
        }),
        ("sendmmsg of nowhere", |fd| {
            told(unsafe { libc::sendmmsg(fd, NOWHERE.cast(), 2, 0) })
        }),
        ("poll", |fd| poll(fd, libc::POLLIN | libc::POLLOUT, 0)),
        ("poll for a while", |fd| {
            poll(fd, libc::POLLIN | libc::POLLPRI, 2)
        }),
        ("poll for errors", |fd| poll(fd, 0, 2)),
        ("poll of nowhere", |fd| {
            let _ = fd;
            told(unsafe { libc::poll(NOWHERE.cast(), 1, 2) })
        }),
        ("select", |fd| unsafe {
            let mut set: libc::fd_set = mem::zeroed();
            let mut time = libc::timeval {
                tv_sec: 0,
                tv_usec: 2000,
            };
            if !(0..1024).contains(&fd) {
                return told(0);
            }
            libc::FD_SET(fd, &raw mut set);
            let (mut reads, mut writes) = (set, set);
            let (reads, writes) = (&raw mut reads, &raw mut writes);
            let result = libc::select(fd + 1, reads, writes, ptr::null_mut(), &raw mut time);
            let is_set = [reads, writes].map(|set| u8::from(libc::FD_ISSET(fd, set)));
            (or_error(result), is_set.to_vec())
        }),
        ("select of too few", |fd| {
            let _ = fd;
            told(unsafe {
                libc::select(
                    -1,
                    ptr::null_mut(),
                    ptr::null_mut(),
                    ptr::null_mut(),
                    ptr::null_mut(),
                )
            })
        }),
        ("epoll_wait", |fd| unsafe {
            let mut events: [libc::epoll_event; 2] = mem::zeroed();
            told(libc::epoll_wait(fd, events.as_mut_ptr(), 2, 2))
        }),
        ("epoll_wait for nothing", |fd| unsafe {
            let mut events: [libc::epoll_event; 2] = mem::zeroed();
            told(libc::epoll_wait(fd, events.as_mut_ptr(), 0, 2))
        }),
        ("accept", |fd| {
            told_fd(unsafe { libc::accept(fd, ptr::null_mut(), ptr::null_mut()) })
        }),
        ("accept4 with wrong flags", |fd| {
            told_fd(unsafe { libc::accept4(fd, ptr::null_mut(), ptr::null_mut(), 1) })
        }),
        ("connect to nowhere", |fd| {
            told(unsafe { libc::connect(fd, NOWHERE.cast(), 16) })
        }),
        ("connect to too little", |fd| {
            told(unsafe { libc::connect(fd, (&raw const ONE).cast(), 1) })
        }),
        ("connect to nobody", |fd| unsafe {
            let mut address: libc::sockaddr_un = mem::zeroed();
            address.sun_family = libc::AF_UNIX as _;
            address.sun_path[0] = b'/' as _;
            told(libc::connect(
                fd,
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            ))
        }),
        ("sendfile", |fd| {
            told_size(unsafe { libc::sendfile(fd, source().as_raw_fd(), ptr::null_mut(), 3) })
        }),
        ("sendfile from it", |fd| {
            let goal = UnixStream::pair().unwrap();
            told_size(unsafe { libc::sendfile(goal.0.as_raw_fd(), fd, ptr::null_mut(), 3) })
        }),
        ("splice from it", |fd| {
            let goal = std::io::pipe().unwrap();
            let none = ptr::null_mut();
            told_size(unsafe { libc::splice(fd, none, goal.1.as_raw_fd(), ptr::null_mut(), 3, 0) })
        }),
        ("splice to itself", |fd| {
            told_size(unsafe {
                libc::splice(
                    fd,
                    ptr::null_mut(),
                    fd,
                    ptr::null_mut(),
                    3,
                    libc::SPLICE_F_NONBLOCK,
                )
            })
        }),
        ("dup2 to nothing", |fd| told(unsafe { libc::dup2(fd, -1) })),
        ("dup2 to itself", |fd| {
            told(i32::from(unsafe { libc::dup2(fd, fd) } == fd))
        }),
        ("dup3 to itself", |fd| {
            told_fd(unsafe { libc::dup3(fd, fd, 0) })
        }),
        ("dup", |fd| told_fd(unsafe { libc::dup(fd) })),
        ("close", |fd| unsafe {
            let closed = or_error(libc::close(fd));
            let again = if closed.is_ok() {
                or_error(libc::close(fd))
            } else {
                Ok(0)
            };
            (closed, again.err().unwrap_or(0).to_le_bytes().to_vec())
        }),
        ("fcntl of nothing", |fd| {
            told(unsafe { libc::fcntl(fd, 9999) })
        }),
        ("preadv2", |fd| {
            with_room(3, |parts| unsafe {
                libc::preadv2(fd, parts.as_ptr(), 2, -1, 0)
            })
        }),
        ("pwritev2", |fd| {
            with_room(3, |parts| unsafe {
                libc::pwritev2(fd, parts.as_ptr(), 2, -1, 0)
            })
        }),
        ("tee to itself", |fd| {
            told_size(unsafe { libc::tee(fd, fd, 3, 0) })
        }),
        ("tee from it", |fd| {
            let goal = std::io::pipe().unwrap();
            told_size(unsafe { libc::tee(fd, goal.1.as_raw_fd(), 3, 0) })
        }),
        ("vmsplice", |fd| {
            with_room(3, |parts| unsafe {
                libc::vmsplice(fd, parts.as_ptr(), 2, 0)
            })
        }),
        ("vmsplice by nothing", |fd| {
            told_size(unsafe { libc::vmsplice(fd, NOWHERE.cast(), 2, 0) })
        }),
        ("F_GETFL", |fd| {
            told(unsafe { libc::fcntl(fd, libc::F_GETFL) } & !libc::O_LARGEFILE)
        }),
        ("F_DUPFD too far", |fd| {
            told(unsafe { libc::fcntl(fd, libc::F_DUPFD, -1) })
        }),
        ("FIONREAD", |fd| unsafe {
            let mut count: c_int = -1;
            let result = libc::ioctl(fd, libc::FIONREAD, &raw mut count);
            (or_error(result), count.to_le_bytes().to_vec())
        }),
        ("FIONBIO from nowhere", |fd| {
            told(unsafe { libc::ioctl(fd, libc::FIONBIO, NOWHERE) })
        }),
        ("a timeout of nothing", |fd| {
            told(unsafe {
                libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, ptr::null(), 0)
            })
        }),
        ("shutdown", |fd| {
            told(unsafe { libc::shutdown(fd, libc::SHUT_WR) })
        }),
        ("send after the end", |fd| unsafe {
            libc::shutdown(fd, libc::SHUT_WR);
            send(fd, MSG_NOSIGNAL)
        }),
        ("recv after the end", |fd| unsafe {
            libc::shutdown(fd, libc::SHUT_RD);
            receive(fd, 0)
        }),
        ("fsync", |fd| told(unsafe { libc::fsync(fd) })),
    ]
};

static ONE: u64 = 1;

/// Whether it would wait for ever, or for a device.
fn waits(kind: &str, state: State, call: &str) -> bool {
    let splices = ["sendfile from it", "splice from it"].contains(&call);
    // Of the mode it knows nothing.
    let empties = call.starts_with("vmsplice") && kind == "pipe to read" && state == NonBlocking;
    empties
        || splices && (state == Timed || kind == "zero" || kind == "terminal without waits")
        || kind.starts_with("terminal") && kind != "terminal's master" && call == "fsync"
}

fn all() -> Vec<(String, Told)> {
    let mut all = Vec::new();
    for kind in KINDS {
        for &state in kind.2 {
            for (name, call) in CALLS {
                if waits(kind.0, state, name) {
                    continue;
                }
                let made = make(kind, state);
                // SAFETY: it is the current thread's own.
                unsafe { *libc::__errno_location() = 0 };
                let (result, mut written) = call(made.fd);
                if result.is_ok() {
                    let error = std::io::Error::last_os_error().raw_os_error();
                    written.extend(error.unwrap_or(-1).to_le_bytes());
                }
                all.push((format!("{name}, {}, {state:?}", kind.0), (result, written)));
            }
        }
    }
    all
}

/// What differs, and how.
#[derive(Debug)]
struct Table(Vec<(String, Told)>);

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        let mut is_same = self.0.len() == other.0.len();
        for (one, other) in self.0.iter().zip(&other.0) {
            if one != other {
                eprintln!("{}: {:?}, and not {:?}", one.0, one.1, other.1);
                is_same = false;
            }
        }
        is_same
    }
}

#[test]
fn each_call_gives_the_same_on_each_kind_of_descriptor() {
    is_the_same(
        "each_call_gives_the_same_on_each_kind_of_descriptor",
        || {
            let table = Table(all());
            assert!(table.0.len() > 3000, "{}", table.0.len());
            table
        },
    );
}
