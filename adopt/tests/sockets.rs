//! What std makes of sockets, in a program that is adopted.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{MANY, in_adopted_programs, is_the_same, or_error, os_threads, until};

fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// A connection, both ends of it.
fn connection() -> (TcpStream, TcpStream) {
    let listener = listen();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Sends back what it gets.
fn echo(mut stream: TcpStream) {
    let mut buf = [0; 100];
    loop {
        match stream.read(&mut buf).unwrap() {
            0 => return,
            len => stream.write_all(&buf[..len]).unwrap(),
        }
    }
}

#[test]
fn a_thousand_connections_take_no_os_threads() {
    const CONNECTIONS: usize = 1000;
    in_adopted_programs("a_thousand_connections_take_no_os_threads", || {
        let listener = listen();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let threads: Vec<_> = (0..CONNECTIONS)
                .map(|_| {
                    let stream = listener.accept().unwrap().0;
                    thread::spawn(move || echo(stream))
                })
                .collect();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        });
        let mut clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                // Who accepts keeps up.
                thread::yield_now();
                TcpStream::connect(address).unwrap()
            })
            .collect();
        for turn in 0..5_u8 {
            for client in &mut clients {
                client.write_all(&[turn; 10]).unwrap();
            }
            for client in &mut clients {
                let mut buf = [0; 10];
                client.read_exact(&mut buf).unwrap();
                assert_eq!(buf, [turn; 10]);
            }
            assert!(os_threads() < MANY, "{} OS threads", os_threads());
        }
        drop(clients);
        server.join().unwrap();
    });
}

#[test]
fn many_accept_on_one_listener_and_on_its_clones() {
    in_adopted_programs("many_accept_on_one_listener_and_on_its_clones", || {
        let listener = listen();
        let address = listener.local_addr().unwrap();
        let accepting: Vec<_> = (0..MANY)
            .map(|_| {
                let listener = listener.try_clone().unwrap();
                thread::spawn(move || {
                    let mut stream = listener.accept().unwrap().0;
                    stream.write_all(b"x").unwrap();
                })
            })
            .collect();
        let mut served = 0;
        for _ in 0..MANY {
            let mut stream = TcpStream::connect(address).unwrap();
            served += stream.read(&mut [0; 2]).unwrap();
        }
        assert_eq!(served, MANY);
        assert!(os_threads() < MANY / 2, "{} OS threads", os_threads());
        accepting
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_write_waits_until_all_is_written() {
    in_adopted_programs("a_write_waits_until_all_is_written", || {
        let (mut client, mut server) = connection();
        let all: Vec<u8> = (0..10_000_000_u32).map(|n| n as u8).collect();
        let expected = all.clone();
        let writes = thread::spawn(move || {
            // One call.
            assert_eq!(client.write(&all).unwrap(), all.len());
            client.shutdown(Shutdown::Write).unwrap();
        });
        let mut read = Vec::new();
        server.read_to_end(&mut read).unwrap();
        writes.join().unwrap();
        assert!(read == expected);
    });
}

#[test]
fn timeouts_end_waits() {
    in_adopted_programs("timeouts_end_waits", || {
        let soon = Duration::from_millis(30);
        let (mut client, _server) = connection();
        client.set_read_timeout(Some(soon)).unwrap();
        client.set_write_timeout(Some(soon)).unwrap();
        let begin = Instant::now();
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(begin.elapsed() >= soon);
        let big = vec![0; 20_000_000];
        let written = client.write(&big).unwrap();
        assert!(0 < written && written < big.len());
        assert!(begin.elapsed() >= 2 * soon);
        // There may be room for some more.
        let error = loop {
            if let Err(error) = client.write(&big) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);

        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(soon)).unwrap();
        let begin = Instant::now();
        let error = socket.recv_from(&mut [0; 9]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(begin.elapsed() >= soon);
        // A clone has the same, and may take it away.
        let clone = socket.try_clone().unwrap();
        clone.set_read_timeout(None).unwrap();
        let address = socket.local_addr().unwrap();
        let receives = thread::spawn(move || socket.recv_from(&mut [0; 9]).unwrap().0);
        thread::sleep(2 * soon);
        clone.send_to(b"late", address).unwrap();
        assert_eq!(receives.join().unwrap(), 4);
    });
}

#[test]
fn non_blocking_mode_does_not_wait() {
    in_adopted_programs("non_blocking_mode_does_not_wait", || {
        let (mut client, mut server) = connection();
        // It has waited before.
        let waits = thread::spawn(move || {
            client.read_exact(&mut [0]).unwrap();
            client
        });
        thread::sleep(Duration::from_millis(10));
        server.write_all(b"x").unwrap();
        let mut client = waits.join().unwrap();
        let clone = client.try_clone().unwrap();
        clone.set_nonblocking(true).unwrap();
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let listener = listen();
        listener.set_nonblocking(true).unwrap();
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn connections_are_refused_and_time_out() {
    in_adopted_programs("connections_are_refused_and_time_out", || {
        let address = listen().local_addr().unwrap();
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = UnixStream::connect("/nowhere/at/all").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn streams_of_unix_wait() {
    in_adopted_programs("streams_of_unix_wait", || {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let reads = thread::spawn(move || {
            let mut read = Vec::new();
            other.read_to_end(&mut read).unwrap();
            read.len()
        });
        thread::sleep(Duration::from_millis(10));
        one.write_all(&vec![7; 3_000_000]).unwrap();
        drop(one);
        assert_eq!(reads.join().unwrap(), 3_000_000);
    });
}

#[test]
fn who_connects_waits_for_room_in_a_backlog() {
    in_adopted_programs("who_connects_waits_for_room_in_a_backlog", || {
        let path = std::env::temp_dir().join(format!("roving-backlog-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        const CONNECTIONS: usize = 200;
        let connects: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let path = path.clone();
                thread::spawn(move || {
                    let mut stream = UnixStream::connect(path).unwrap();
                    stream.read(&mut [0; 9]).unwrap()
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(20));
        for _ in 0..CONNECTIONS {
            listener.accept().unwrap().0.write_all(b"hello").unwrap();
        }
        for connects in connects {
            assert_eq!(connects.join().unwrap(), 5);
        }
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn who_sends_datagrams_waits_for_room() {
    in_adopted_programs("who_sends_datagrams_waits_for_room", || {
        let path = std::env::temp_dir().join(format!("roving-datagrams-{}", std::process::id()));
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sends = {
            let path = path.clone();
            thread::spawn(move || {
                let sender = UnixDatagram::unbound().unwrap();
                for n in 0..2000_u32 {
                    sender.send_to(&n.to_ne_bytes(), &path).unwrap();
                }
            })
        };
        thread::sleep(Duration::from_millis(20));
        for n in 0..2000_u32 {
            let mut buf = [0; 4];
            assert_eq!(receiver.recv(&mut buf).unwrap(), 4);
            assert_eq!(u32::from_ne_bytes(buf), n);
        }
        sends.join().unwrap();
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn an_end_is_seen() {
    in_adopted_programs("an_end_is_seen", || {
        let (mut client, server) = connection();
        let reads = thread::spawn(move || client.read(&mut [0]).unwrap());
        thread::sleep(Duration::from_millis(10));
        drop(server);
        assert_eq!(reads.join().unwrap(), 0);
        // A thread that shuts its own connection down wakes who reads.
        let (client, _server) = connection();
        let mut clone = client.try_clone().unwrap();
        let reads = thread::spawn(move || clone.read(&mut [0]).unwrap());
        thread::sleep(Duration::from_millis(10));
        client.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reads.join().unwrap(), 0);
    });
}

#[test]
fn who_peeks_at_a_datagram_sees_what_there_is() {
    in_adopted_programs("who_peeks_at_a_datagram_sees_what_there_is", || {
        let [one, other] = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        other.send_to(b"1234", one.local_addr().unwrap()).unwrap();
        let mut room = [0_u8; 100];
        let flags = libc::MSG_PEEK | libc::MSG_WAITALL;
        // SAFETY: there is so much room.
        let peeked = unsafe { libc::recv(one.as_raw_fd(), room.as_mut_ptr().cast(), 100, flags) };
        assert_eq!((peeked, &room[..4]), (4, &b"1234"[..]));
    });
}

#[test]
fn who_sends_a_file_waits_for_room() {
    in_adopted_programs("who_sends_a_file_waits_for_room", || {
        const SIZE: usize = 3 << 20;
        const SENDERS: usize = 100;
        let path = std::env::temp_dir().join(format!("roving-adopt-sent-{}", std::process::id()));
        let content: Vec<u8> = (0..SIZE).map(|n| (n / 1000) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = Arc::new(std::fs::File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let of_tcp = (0..SENDERS / 2).map(|_| {
            let (one, other) = connection();
            (OwnedFd::from(one), OwnedFd::from(other))
        });
        let of_unix = (0..SENDERS / 2).map(|_| {
            let (one, other) = UnixStream::pair().unwrap();
            (OwnedFd::from(one), OwnedFd::from(other))
        });
        let pairs: Vec<_> = of_tcp.chain(of_unix).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = pairs
            .into_iter()
            .map(|(to, from)| {
                let file = file.clone();
                let sends = thread::spawn(move || {
                    let mut at = 0;
                    // SAFETY: there is a place, and the descriptors are open.
                    let sent = unsafe {
                        libc::sendfile(to.as_raw_fd(), file.as_raw_fd(), &raw mut at, SIZE + 1)
                    };
                    assert_eq!((sent, at), (SIZE as isize, SIZE as i64));
                });
                (sends, std::fs::File::from(from))
            })
            .unzip();
        thread::sleep(Duration::from_millis(50));
        let os_threads = os_threads();
        assert!(os_threads < SENDERS / 2, "{os_threads}");
        for mut receiver in receivers {
            let mut received = Vec::new();
            receiver.read_to_end(&mut received).unwrap();
            assert!(received == content);
        }
        for sends in senders {
            sends.join().unwrap();
        }
    });
}

/// The byte is announced, and does not come before what was sent ahead of it is read.
#[test]
fn nobody_waits_for_urgent_data_that_is_announced() {
    in_adopted_programs("nobody_waits_for_urgent_data_that_is_announced", || {
        let listener = listen();
        let set = |socket: &dyn AsRawFd, option, bytes: i32| {
            let (fd, size) = (socket.as_raw_fd(), size_of_val(&bytes) as libc::socklen_t);
            let place = (&raw const bytes).cast();
            // SAFETY: it is a number.
            let failed = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, place, size) };
            assert_eq!(failed, 0);
        };
        set(&listener, libc::SO_RCVBUF, 4096);
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set(&client, libc::SO_SNDBUF, 1 << 20);
        let server = listener.accept().unwrap().0;
        client.write_all(&[0; 40_000]).unwrap();
        let send = |byte: u8, flags| {
            // SAFETY: there is a byte.
            unsafe { libc::send(client.as_raw_fd(), (&raw const byte).cast(), 1, flags) }
        };
        assert_eq!(send(b'!', libc::MSG_OOB), 1);
        let receive = |flags| {
            let mut byte = 0_u8;
            let place = (&raw mut byte).cast();
            // SAFETY: there is room for a byte.
            or_error(unsafe { libc::recv(server.as_raw_fd(), place, 1, flags) } as i64)
        };
        until(|| receive(libc::MSG_OOB | libc::MSG_DONTWAIT) == Err(libc::EAGAIN));
        assert_eq!(receive(libc::MSG_OOB), Err(libc::EAGAIN));
    });
}

/// Of a socket of datagrams it is who may wait that is told, at once, and nobody else.
#[test]
fn datagrams_end_in_time() {
    type Receive = fn(i32, &mut [u8; 9]) -> isize;
    const RECEIVES: [Receive; 5] = [
        // SAFETY: there is room for so many bytes.
        |fd, to| unsafe { libc::recv(fd, to.as_mut_ptr().cast(), to.len(), 0) },
        |fd, to| {
            let (place, none) = (to.as_mut_ptr().cast(), std::ptr::null_mut());
            // SAFETY: the same; no address is asked for.
            unsafe { libc::recvfrom(fd, place, to.len(), 0, none, none.cast()) }
        },
        // SAFETY: the same.
        |fd, to| unsafe { libc::read(fd, to.as_mut_ptr().cast(), to.len()) },
        |fd, to| {
            let (mut part, mut message) = parts(to);
            message.msg_iov = &raw mut part;
            // SAFETY: the message is there.
            unsafe { libc::recvmsg(fd, &raw mut message, 0) }
        },
        |fd, to| {
            let (mut part, mut message) = parts(to);
            message.msg_iov = &raw mut part;
            let mut message = libc::mmsghdr {
                msg_hdr: message,
                msg_len: 7,
            };
            // SAFETY: the message is there.
            let count = unsafe { libc::recvmmsg(fd, &raw mut message, 1, 0, std::ptr::null_mut()) };
            10 * count as isize + message.msg_len as isize
        },
    ];
    fn parts(to: &mut [u8; 9]) -> (libc::iovec, libc::msghdr) {
        let part = libc::iovec {
            iov_base: to.as_mut_ptr().cast(),
            iov_len: to.len(),
        };
        // SAFETY: zeroes are a message of nothing.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iovlen = 1;
        (part, message)
    }
    fn sockets() -> [OwnedFd; 3] {
        let mut ends = [0; 2];
        // SAFETY: there is room for both, which are owned by what is given.
        let [one, other] = unsafe {
            let kind = libc::SOCK_SEQPACKET;
            or_error(libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr())).unwrap();
            ends.map(|end| OwnedFd::from_raw_fd(end))
        };
        std::mem::forget(other);
        let datagrams = UnixDatagram::unbound().unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        [udp.into(), datagrams.into(), one]
    }
    fn shut_down(socket: &OwnedFd) {
        // SAFETY: it ends what comes to a socket. One that is not connected is told so, and it is done.
        unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RD) };
    }
    /// The time is up when those that wait are told of the end.
    fn ends_before_its_time(socket: &OwnedFd) -> Result<i64, i32> {
        const TIME: Duration = Duration::from_millis(100);
        set_timeout(socket, TIME);
        loop {
            let socket = socket.try_clone().unwrap();
            let again = socket.try_clone().unwrap();
            let start = Instant::now();
            let waits = thread::spawn(move || {
                let told = or_error(RECEIVES[0](socket.as_raw_fd(), &mut [0; 9]) as i64);
                // The system tells one that it runs too late that its time is up.
                let may_be_late = told.is_err() && !roving_scheduler::is_green();
                (told, may_be_late)
            });
            thread::sleep(Duration::from_millis(2));
            shut_down(&again);
            let is_in_time = start.elapsed() < TIME;
            while start.elapsed() < 2 * TIME {
                std::hint::spin_loop();
            }
            let (told, may_be_late) = waits.join().unwrap();
            if is_in_time && !may_be_late {
                return told;
            }
        }
    }
    is_the_same("datagrams_end_in_time", || {
        let mut all = Vec::new();
        for kind in 0..2 {
            all.push(ends_before_its_time(&sockets()[kind]));
        }
        for receive in RECEIVES {
            for kind in 0..3 {
                for _ in 0..30 {
                    let socket = &sockets()[kind];
                    set_timeout(socket, Duration::from_micros(1));
                    shut_down(socket);
                    all.push(or_error(receive(socket.as_raw_fd(), &mut [0; 9]) as i64));
                }
                // While it waits.
                let socket = &sockets()[kind];
                set_timeout(socket, Duration::from_secs(60));
                let told = thread::scope(|scope| {
                    let waits =
                        scope.spawn(|| or_error(receive(socket.as_raw_fd(), &mut [0; 9]) as i64));
                    thread::sleep(Duration::from_millis(2));
                    shut_down(socket);
                    waits.join().unwrap()
                });
                all.push(told);
                let socket = &sockets()[kind];
                set_nonblocking(socket);
                shut_down(socket);
                all.push(or_error(receive(socket.as_raw_fd(), &mut [0; 9]) as i64));
            }
        }
        all
    });
}

fn set_timeout(socket: &OwnedFd, time: Duration) {
    let time = libc::timeval {
        tv_sec: time.as_secs() as libc::time_t,
        tv_usec: time.subsec_micros().into(),
    };
    // SAFETY: it is a time.
    let set = unsafe {
        let place = (&raw const time).cast();
        let size = size_of::<libc::timeval>() as libc::socklen_t;
        let fd = socket.as_raw_fd();
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, place, size)
    };
    assert_eq!(set, 0);
}

fn set_nonblocking(socket: &OwnedFd) {
    // SAFETY: it changes the mode, and nothing else.
    let set = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(set, 0);
}
