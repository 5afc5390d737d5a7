//! Sockets on the real scheduler, each time with one worker, two, and eight.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use roving_scheduler::{Builder, Runtime, thread};

use super::{Incoming, TcpListener, TcpStream};

const SHORT: Duration = Duration::from_millis(5);

fn runtime(workers: usize) -> Runtime {
    Builder::new().workers(workers).build().unwrap()
}

/// Runs `test` on a green thread of runtimes of several sizes.
fn on_green_threads(test: fn()) {
    for workers in [1, 2, 8] {
        let runtime = runtime(workers);
        runtime.run(test);
        runtime.shutdown();
    }
}

/// Runs `test` on a plain OS thread as well.
fn everywhere(test: fn()) {
    on_green_threads(test);
    test();
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn connection() -> (TcpStream, TcpStream) {
    let (listener, address) = listener();
    let near = TcpStream::connect(address).unwrap();
    let (far, peer) = listener.accept().unwrap();
    assert_eq!(near.local_addr().unwrap(), peer);
    assert_eq!(far.peer_addr().unwrap(), peer);
    (near, far)
}

fn std_connection() -> (std::net::TcpStream, std::net::TcpStream) {
    let (near, far) = connection();
    (near.into(), far.into())
}

/// Blocks the OS thread until there is something to read.
fn wait_for_data(stream: &TcpStream) {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(stream, PollFlags::IN)];
    assert_eq!(poll(&mut fds, None).unwrap(), 1);
}

/// `len` bytes that do not repeat soon.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}

#[test]
fn auto_traits_are_those_of_std() {
    fn check<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
    check::<std::net::TcpListener>();
    check::<TcpListener>();
    check::<std::net::TcpStream>();
    check::<TcpStream>();
    check::<std::net::Incoming<'_>>();
    check::<Incoming<'_>>();
}

#[test]
fn what_is_sent_is_echoed() {
    on_green_threads(|| {
        let (listener, address) = listener();
        let server = thread::spawn(move || {
            for stream in listener.incoming().take(50) {
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut buffer = [0; 512];
                    loop {
                        match stream.read(&mut buffer).unwrap() {
                            0 => return,
                            n => stream.write_all(&buffer[..n]).unwrap(),
                        }
                    }
                });
            }
        });
        let clients: Vec<_> = (0..50)
            .map(|n: usize| {
                thread::spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    for round in 0..20 {
                        // Some fill the server's buffer exactly, so that its reads are not short.
                        let message = vec![(n + round) as u8; 1 + (n * round) % 512];
                        stream.write_all(&message).unwrap();
                        let mut answer = vec![0; message.len()];
                        stream.read_exact(&mut answer).unwrap();
                        assert_eq!(answer, message);
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        server.join().unwrap();
    });
}

#[test]
fn each_connection_goes_to_one_of_the_accepters() {
    on_green_threads(|| {
        const ACCEPTERS: usize = 8;
        const CONNECTIONS: usize = 200;

        let (listener, address) = listener();
        let listener = Arc::new(listener);
        let accepted = Arc::new(AtomicUsize::new(0));
        let accepters: Vec<_> = (0..ACCEPTERS)
            .map(|n| {
                let accepted = accepted.clone();
                // Half of them on a descriptor of their own.
                let clone = (n % 2 == 0).then(|| listener.try_clone().unwrap());
                let listener = listener.clone();
                thread::spawn(move || {
                    let listener = clone.as_ref().unwrap_or(&listener);
                    loop {
                        let (mut stream, _) = listener.accept().unwrap();
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        if byte == *b"q" {
                            return;
                        }
                        accepted.fetch_add(1, Ordering::Relaxed);
                        stream.write_all(&byte).unwrap();
                    }
                })
            })
            .collect();
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                thread::spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.write_all(b"x").unwrap();
                    stream.read_exact(&mut [0]).unwrap();
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        let quitters: Vec<_> = (0..ACCEPTERS)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"q").unwrap();
                stream
            })
            .collect();
        for accepter in accepters {
            accepter.join().unwrap();
        }
        drop(quitters);
        assert_eq!(accepted.load(Ordering::Relaxed), CONNECTIONS);
    });
}

#[test]
fn one_stream_is_read_and_written_at_once() {
    everywhere(|| {
        const BYTES: usize = 3 << 20;

        let (near, far) = connection();
        let echo = thread::spawn(move || io::copy(&mut &far, &mut &far).unwrap());
        let near = Arc::new(near);
        let writer = {
            let near = near.clone();
            thread::spawn(move || {
                (&*near).write_all(&pattern(BYTES)).unwrap();
                near.shutdown(Shutdown::Write).unwrap();
            })
        };
        let mut echoed = Vec::new();
        (&*near).read_to_end(&mut echoed).unwrap();
        assert!(echoed == pattern(BYTES));
        writer.join().unwrap();
        assert_eq!(echo.join().unwrap(), BYTES as u64);
    });
}

#[test]
fn a_write_ends_when_all_is_written() {
    everywhere(|| {
        const BYTES: usize = 8 << 20;

        let (mut near, mut far) = connection();
        let reader = thread::spawn(move || {
            let mut read = Vec::new();
            far.read_to_end(&mut read).unwrap();
            read
        });
        let message = pattern(BYTES);
        assert_eq!(near.write(&message).unwrap(), BYTES);
        let pieces: Vec<_> = message
            .chunks(BYTES / 100)
            .flat_map(|piece| [IoSlice::new(piece), IoSlice::new(&[])])
            .collect();
        assert_eq!(near.write_vectored(&pieces).unwrap(), BYTES);
        drop(near);
        let read = reader.join().unwrap();
        assert!(read == [&*message, &*message].concat());
    });
}

#[test]
fn buffers_are_filled_in_turn() {
    everywhere(|| {
        let (mut near, mut far) = connection();
        let pieces = [&b"one"[..], b"", b"three"].map(IoSlice::new);
        assert_eq!(near.write_vectored(&pieces).unwrap(), 8);
        let (mut a, mut b, mut c) = ([0; 2], [0; 0], [0; 100]);
        while far.peek(&mut c).unwrap() < 8 {}
        let mut buffers = [&mut a[..], &mut b, &mut c].map(IoSliceMut::new);
        assert_eq!(far.read_vectored(&mut buffers).unwrap(), 8);
        assert_eq!(&a, b"on");
        assert_eq!(&c[..6], b"ethree");

        // More than the system takes at once is no error.
        let many = vec![IoSlice::new(b"x"); 3000];
        assert_eq!(near.write_vectored(&many).unwrap(), 1024);
        assert_eq!(near.write_vectored(&[]).unwrap(), 0);
        assert_eq!(near.write(&[]).unwrap(), 0);
        let mut rest = vec![0; 1024];
        far.read_exact(&mut rest).unwrap();
        assert_eq!(rest, [b'x'; 1024]);
    });
}

#[test]
fn a_peek_takes_nothing() {
    everywhere(|| {
        let (mut near, mut far) = connection();
        let mut buffer = [0; 16];
        for _ in 0..3 {
            // The last read was short, so that this waits for an edge.
            let writer = thread::spawn(move || {
                near.write_all(b"hello").unwrap();
                near
            });
            while far.peek(&mut buffer).unwrap() < 5 {}
            assert_eq!(far.peek(&mut buffer).unwrap(), 5);
            assert_eq!(far.read(&mut buffer).unwrap(), 5);
            assert_eq!(&buffer[..5], b"hello");
            near = writer.join().unwrap();
        }
    });
}

#[test]
fn a_socket_that_is_always_ready_does_not_keep_its_worker() {
    on_green_threads(|| {
        let (mut near, far) = connection();
        near.write_all(b"x").unwrap();
        let others = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            let others = others.clone();
            thread::spawn(move || others.fetch_add(1, Ordering::Relaxed));
        }
        while others.load(Ordering::Relaxed) < 10 {
            assert_eq!(far.peek(&mut [0]).unwrap(), 1);
        }
    });
}

#[test]
fn the_end_of_the_stream_is_the_end() {
    everywhere(|| {
        for _ in 0..50 {
            let (mut near, mut far) = connection();
            let reader = thread::spawn(move || {
                let mut read = String::new();
                far.read_to_string(&mut read).unwrap();
                assert_eq!(far.read(&mut [0]).unwrap(), 0);
                // Half of the connection is still there.
                far.write_all(b"goodbye").unwrap();
                read
            });
            near.write_all(b"hello").unwrap();
            near.shutdown(Shutdown::Write).unwrap();
            assert_eq!(reader.join().unwrap(), "hello");
            let mut read = String::new();
            near.read_to_string(&mut read).unwrap();
            assert_eq!(read, "goodbye");
        }
    });
}

#[test]
fn shutting_down_ends_a_read() {
    everywhere(|| {
        let (near, far) = connection();
        let near = Arc::new(near);
        let reader = {
            let near = near.clone();
            thread::spawn(move || (&*near).read(&mut [0]).unwrap())
        };
        thread::yield_now();
        near.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reader.join().unwrap(), 0);
        drop(far);
    });
}

#[test]
fn urgent_data_does_not_hide_what_follows() {
    use rustix::net::{SendFlags, send};

    everywhere(|| {
        let (near, mut far) = connection();
        let reader = thread::spawn(move || {
            let mut read = Vec::new();
            far.read_to_end(&mut read).unwrap();
            read
        });
        for _ in 0..100 {
            // As one segment or several: a read stops at the mark, short of what lies behind it.
            send(&near, b"abc", SendFlags::MORE).unwrap();
            send(&near, b"!", SendFlags::OOB | SendFlags::MORE).unwrap();
            send(&near, b"def", SendFlags::empty()).unwrap();
            thread::yield_now();
        }
        drop(near);
        let mut read = reader.join().unwrap();
        read.retain(|byte| *byte != b'!');
        assert_eq!(read, b"abcdef".repeat(100));
    });
}

#[test]
fn timeouts_end_an_operation() {
    everywhere(|| {
        let (mut near, far) = connection();
        near.set_read_timeout(Some(SHORT)).unwrap();
        let start = Instant::now();
        let error = near.read(&mut [0]).unwrap_err();
        assert!(start.elapsed() >= SHORT);
        let (mut std_near, _std_far) = std_connection();
        std_near.set_read_timeout(Some(SHORT)).unwrap();
        let std_error = std_near.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std_error.kind());
        assert_eq!(error.raw_os_error(), std_error.raw_os_error());
        assert_eq!(
            near.peek(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );

        near.set_write_timeout(Some(SHORT)).unwrap();
        let error = loop {
            match near.write(&[0; 1 << 20]) {
                Ok(n) => assert_ne!(n, 0),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(far);
    });
}

#[test]
fn timeouts_are_shared_and_kept() {
    let second = Some(Duration::from_secs(1));
    let (near, _far) = connection();
    assert_eq!(near.read_timeout().unwrap(), None);
    let clone = near.try_clone().unwrap();
    clone.set_read_timeout(second).unwrap();
    assert_eq!(near.read_timeout().unwrap(), second);
    assert_eq!(near.write_timeout().unwrap(), None);

    let std_stream = std::net::TcpStream::from(near);
    assert_eq!(std_stream.read_timeout().unwrap(), second);
    std_stream.set_read_timeout(Some(SHORT)).unwrap();
    let mut back = TcpStream::from(std_stream);
    assert_eq!(
        back.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    let zero = back.set_write_timeout(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(zero.kind(), ErrorKind::InvalidInput);
}

#[test]
fn timeouts_that_race_with_data_lose_nothing() {
    on_green_threads(|| {
        const BYTES: usize = 300;

        let (mut near, mut far) = connection();
        let writer = thread::spawn(move || {
            for n in 0..BYTES {
                near.write_all(&[n as u8]).unwrap();
                thread::sleep(Duration::from_micros(n as u64 % 5 * 50));
            }
        });
        far.set_read_timeout(Some(Duration::from_micros(100)))
            .unwrap();
        let mut read = Vec::new();
        let mut buffer = [0; 8];
        loop {
            match far.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => read.extend_from_slice(&buffer[..n]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        writer.join().unwrap();
        assert!(read.iter().copied().eq((0..BYTES).map(|n| n as u8)));
    });
}

#[test]
fn in_nonblocking_mode_nothing_waits() {
    everywhere(|| {
        let (listener, address) = listener();
        let clone = listener.try_clone().unwrap();
        clone.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let near = TcpStream::connect(address).unwrap();
        clone.set_nonblocking(false).unwrap();
        let (mut far, _) = listener.accept().unwrap();

        near.try_clone().unwrap().set_nonblocking(true).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(
            (&near).read(&mut buffer).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        far.write_all(b"x").unwrap();
        near.set_nonblocking(false).unwrap();
        assert_eq!((&near).read(&mut buffer).unwrap(), 1);
        near.set_nonblocking(true).unwrap();
        assert_eq!(
            (&near).read(&mut buffer).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        // What has come is there, whether or not the driver has told of it.
        far.write_all(b"y").unwrap();
        wait_for_data(&near);
        assert_eq!((&near).read(&mut buffer).unwrap(), 1);
        let error = loop {
            match (&near).write(&[0; 1 << 20]) {
                Ok(n) => assert_ne!(n, 0),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

/// A socket with an address, at which nobody else can listen meanwhile, and with room for `backlog`
/// connections that nobody accepts. It does not listen if there is none.
fn mute(backlog: Option<i32>) -> (OwnedFd, SocketAddr) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    if let Some(backlog) = backlog {
        listen(&socket, backlog).unwrap();
    }
    let address = getsockname(&socket).unwrap().try_into().unwrap();
    (socket, address)
}

#[test]
fn errors_of_connect_are_those_of_std() {
    everywhere(|| {
        let (listener, address) = listener();
        let zero = Duration::ZERO;
        let ours = TcpStream::connect_timeout(&address, zero).unwrap_err();
        let theirs = std::net::TcpStream::connect_timeout(&address, zero).unwrap_err();
        assert_eq!(ours.kind(), theirs.kind());
        assert_eq!(ours.to_string(), theirs.to_string());
        let ours = TcpListener::bind(address).unwrap_err();
        assert_eq!(ours.kind(), ErrorKind::AddrInUse);
        drop(listener);

        let (_mute, address) = mute(None);
        let theirs = std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(theirs.kind(), ErrorKind::ConnectionRefused);
        for ours in [
            TcpStream::connect(address).unwrap_err(),
            TcpStream::connect_timeout(&address, Duration::MAX).unwrap_err(),
        ] {
            assert_eq!(ours.kind(), theirs.kind());
            assert_eq!(ours.raw_os_error(), theirs.raw_os_error());
        }
    });
}

#[test]
fn a_peer_that_does_not_answer_is_given_up() {
    everywhere(|| {
        // Even so there is room for one or two.
        let (_mute, address) = mute(Some(0));
        let mut waiting = Vec::new();
        let error = loop {
            match TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
            assert!(waiting.len() < 10);
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "connection timed out");
    });
}

#[test]
fn a_reset_is_an_error_as_in_std() {
    /// Writes until there is an error, and then once more.
    fn errors(mut near: impl Write) -> [ErrorKind; 2] {
        let mut error = || {
            loop {
                if let Err(error) = near.write_all(&[0; 1 << 20]) {
                    return error.kind();
                }
            }
        };
        [error(), error()]
    }

    /// Resets the connection once a writer has met a full buffer, or soon will.
    fn reset(far: TcpStream) {
        while far.peek(&mut vec![0; 1 << 16]).unwrap() < 1 << 16 {}
        // Unread data make this a reset.
        drop(far);
    }

    everywhere(|| {
        let (near, far) = connection();
        let writer = thread::spawn(|| errors(near));
        reset(far);
        assert_eq!(
            writer.join().unwrap(),
            [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe]
        );
    });
    let (near, far) = std_connection();
    let writer = std::thread::spawn(|| errors(near));
    reset(far.into());
    assert_eq!(
        writer.join().unwrap(),
        [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe]
    );
}

#[test]
fn one_socket_serves_several_runtimes_and_plain_threads() {
    const READERS: usize = 4;
    const BYTES: usize = 40_000;

    let runtimes = [runtime(1), runtime(2), runtime(8)];
    let (mut near, far) = connection();
    let far = Arc::new(far);
    let count = |far: &TcpStream| {
        let mut count = 0;
        let mut sum = 0;
        let mut buffer = [0; 7];
        loop {
            match { far }.read(&mut buffer).unwrap() {
                0 => return (count, sum),
                n => {
                    count += n;
                    sum += buffer[..n]
                        .iter()
                        .map(|byte| usize::from(*byte))
                        .sum::<usize>();
                }
            }
        }
    };
    let mut green = Vec::new();
    for runtime in &runtimes {
        for _ in 0..READERS {
            let far = far.clone();
            green.push(runtime.spawn(move || count(&far)));
        }
    }
    let plain: Vec<_> = (0..2)
        .map(|_| {
            let far = far.clone();
            std::thread::spawn(move || count(&far))
        })
        .collect();

    let message = pattern(BYTES);
    for piece in message.chunks(5) {
        near.write_all(piece).unwrap();
    }
    near.shutdown(Shutdown::Write).unwrap();
    let counts = green
        .into_iter()
        .map(|reader| reader.join().unwrap())
        .chain(plain.into_iter().map(|reader| reader.join().unwrap()));
    let (count, sum) = counts.fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    assert_eq!(count, BYTES);
    assert_eq!(
        sum,
        message.iter().map(|byte| usize::from(*byte)).sum::<usize>()
    );
    drop(far);
    for runtime in runtimes {
        runtime.shutdown();
    }
}

#[test]
fn a_socket_outlives_the_runtimes_that_used_it() {
    /// Reads one byte and finds out that there is no more.
    fn read(far: &TcpStream) -> u8 {
        let mut buffer = [0; 8];
        assert_eq!({ far }.read(&mut buffer).unwrap(), 1);
        buffer[0]
    }

    let (mut near, far) = connection();
    let far = Arc::new(far);
    for n in (0..40u8).step_by(2) {
        let runtime = runtime(2);
        let reader = {
            let far = far.clone();
            runtime.spawn(move || read(&far))
        };
        near.write_all(&[n]).unwrap();
        assert_eq!(reader.join().unwrap(), n);
        runtime.shutdown();

        near.write_all(&[n + 1]).unwrap();
        assert_eq!(read(&far), n + 1);
    }
}

#[test]
fn sockets_that_come_and_go_do_not_disturb_each_other() {
    on_green_threads(|| {
        // Descriptors and slots are used again at once, by sockets that are busy in other ways.
        let threads: Vec<_> = (0..8)
            .map(|n| {
                thread::spawn(move || {
                    for round in 0..30 {
                        let (mut near, mut far) = connection();
                        match (n + round) % 4 {
                            0 => {
                                far.set_read_timeout(Some(Duration::from_micros(200)))
                                    .unwrap();
                                assert!(far.read(&mut [0]).is_err());
                            }
                            1 => {
                                near.write_all(b"unread").unwrap();
                            }
                            2 => {
                                let reader = thread::spawn(move || far.read(&mut [0]).unwrap());
                                thread::yield_now();
                                drop(near);
                                assert_eq!(reader.join().unwrap(), 0);
                            }
                            _ => {
                                let reader = thread::spawn(move || {
                                    let mut byte = [0];
                                    far.read_exact(&mut byte).unwrap();
                                    byte
                                });
                                near.write_all(&[round as u8]).unwrap();
                                assert_eq!(reader.join().unwrap(), [round as u8]);
                            }
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_runtime_that_shuts_down_closes_what_waits() {
    for workers in [1, 2, 8] {
        let runtime = runtime(workers);
        let listener = Arc::new(listener().0);
        let (near, far) = connection();
        let waiting = Arc::new(AtomicUsize::new(0));
        let accepter = {
            let waiting = waiting.clone();
            let listener = listener.clone();
            runtime.spawn(move || {
                waiting.fetch_add(1, Ordering::Relaxed);
                listener.accept().map(drop)
            })
        };
        let reader = {
            let waiting = waiting.clone();
            runtime.spawn(move || {
                waiting.fetch_add(1, Ordering::Relaxed);
                (&far).read(&mut [0])
            })
        };
        while waiting.load(Ordering::Relaxed) < 2 {
            std::thread::yield_now();
        }
        runtime.shutdown();
        assert!(accepter.join().is_err());
        assert!(reader.join().is_err());
        assert_eq!((&near).read(&mut [0]).unwrap(), 0);
        assert_eq!(Arc::strong_count(&listener), 1);
    }
}

#[test]
fn sockets_come_from_std_and_go_back() {
    everywhere(|| {
        let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = theirs.local_addr().unwrap();
        let ours = TcpListener::from(theirs);
        let connecting = thread::spawn(move || TcpStream::connect(address).unwrap());
        let (far, _) = ours.accept().unwrap();
        let near = connecting.join().unwrap();

        // Back in blocking mode, or this would fail. There is a connection already, so it does not
        // block for long.
        let theirs = std::net::TcpListener::from(ours);
        let connecting = thread::spawn(move || TcpStream::connect(address).unwrap());
        let second = connecting.join().unwrap();
        assert_eq!(theirs.accept().unwrap().1, second.local_addr().unwrap());

        let mut near = TcpStream::from(OwnedFd::from(near));
        // SAFETY: the descriptor has just been given away.
        let mut far = unsafe { TcpStream::from_raw_fd(far.into_raw_fd()) };
        near.write_all(b"x").unwrap();
        far.read_exact(&mut [0]).unwrap();
        let reader = thread::spawn(move || far.read(&mut [0; 2]).unwrap());
        near.write_all(b"yz").unwrap();
        assert_eq!(reader.join().unwrap(), 2);
    });
}

#[test]
fn a_socket_that_comes_back_can_wait_again() {
    on_green_threads(|| {
        let (mut near, far) = connection();
        let mut duplicates = Vec::new();
        let mut far = OwnedFd::from(far);
        for n in 0..3 {
            let mut stream = TcpStream::from(far);
            // Keeps the open file description, and whatever is registered for it, alive.
            duplicates.push(stream.as_fd().try_clone_to_owned().unwrap());
            let reader = thread::spawn(move || {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                (stream, byte[0])
            });
            // Once it waits, mostly.
            thread::yield_now();
            near.write_all(&[n]).unwrap();
            let (stream, byte) = reader.join().unwrap();
            assert_eq!(byte, n);
            stream.set_read_timeout(Some(SHORT)).unwrap();
            assert!((&stream).read(&mut [0]).is_err());
            stream.set_read_timeout(None).unwrap();
            far = stream.into();
        }
    });
}

#[test]
fn a_mode_that_std_set_holds() {
    everywhere(|| {
        let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        theirs.set_nonblocking(true).unwrap();
        let ours = TcpListener::from(theirs);
        assert_eq!(ours.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let theirs = std::net::TcpListener::from(ours);
        assert_eq!(theirs.accept().unwrap_err().kind(), ErrorKind::WouldBlock);

        let (near, _far) = std_connection();
        near.set_nonblocking(true).unwrap();
        let mut near = TcpStream::from(near);
        assert_eq!(
            near.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

#[test]
fn a_clone_in_std_does_not_make_a_stream_block_its_worker() {
    for workers in [1, 2, 8] {
        let runtime = runtime(workers);
        runtime.run(|| {
            let (near, mut far) = connection();
            let theirs = std::net::TcpStream::from(near.try_clone().unwrap());
            theirs.set_nonblocking(false).unwrap();
            let readers: Vec<_> = (0..workers_and_more())
                .map(|_| {
                    let near = near.try_clone().unwrap();
                    thread::spawn(move || (&near).read(&mut [0]).unwrap())
                })
                .collect();
            thread::yield_now();
            // Runs only if a worker is free.
            far.write_all(b"x").unwrap();
            far.shutdown(Shutdown::Write).unwrap();
            let read: usize = readers
                .into_iter()
                .map(|reader| reader.join().unwrap())
                .sum();
            assert_eq!(read, 1);
        });
    }

    fn workers_and_more() -> usize {
        10
    }
}

#[test]
fn an_accepted_stream_inherits_what_std_lets_it_inherit() {
    let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = theirs.local_addr().unwrap();
    rustix::net::sockopt::set_socket_timeout(
        &theirs,
        rustix::net::sockopt::Timeout::Recv,
        Some(SHORT),
    )
    .unwrap();
    let ours = TcpListener::from(theirs);
    assert_eq!(ours.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let _near = TcpStream::connect(address).unwrap();
    let (mut far, _) = ours.accept().unwrap();
    assert!(far.read_timeout().unwrap().is_some());
    assert_eq!(
        far.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn options_are_those_of_the_system() {
    let (listener, address) = listener();
    listener.set_ttl(77).unwrap();
    assert_eq!(listener.ttl().unwrap(), 77);
    assert!(listener.take_error().unwrap().is_none());
    let stream = TcpStream::connect(address).unwrap();
    assert!(!stream.nodelay().unwrap());
    stream.set_nodelay(true).unwrap();
    assert!(stream.nodelay().unwrap());
    stream.set_ttl(66).unwrap();
    assert_eq!(stream.ttl().unwrap(), 66);
    assert!(stream.take_error().unwrap().is_none());

    let theirs = std::net::TcpStream::from(stream);
    assert!(theirs.nodelay().unwrap());
    assert_eq!(theirs.ttl().unwrap(), 66);
    #[expect(deprecated)]
    if let Ok(listener) = TcpListener::bind("[::1]:0") {
        let theirs = std::net::TcpListener::bind("[::1]:0").unwrap();
        assert_eq!(listener.only_v6().unwrap(), theirs.only_v6().unwrap());
        assert_eq!(
            listener.set_only_v6(true).is_ok(),
            theirs.set_only_v6(true).is_ok()
        );
    }
}

#[test]
fn debug_output_is_that_of_std() {
    let (near, _far) = connection();
    let ours = format!("{near:?}");
    let theirs = std::net::TcpStream::from(near);
    assert_eq!(ours, format!("{theirs:?}"));

    let (listener, _) = listener();
    let ours = format!("{listener:#?}");
    let theirs = std::net::TcpListener::from(listener);
    assert_eq!(ours, format!("{theirs:#?}"));
}

#[test]
fn what_is_no_socket_is_an_error() {
    let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let mut ours = TcpStream::from(file());
    let mut theirs = std::net::TcpStream::from(file());
    assert_eq!(
        ours.read(&mut [0]).unwrap_err().raw_os_error(),
        theirs.read(&mut [0]).unwrap_err().raw_os_error()
    );
    assert_eq!(
        TcpListener::from(file()).accept().unwrap_err().kind(),
        std::net::TcpListener::from(file())
            .accept()
            .unwrap_err()
            .kind()
    );
    assert_eq!(ours.as_raw_fd(), ours.as_fd().as_raw_fd());
}

#[test]
fn a_socket_of_another_family_has_no_address() {
    let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
    let (near, _far) = (OwnedFd::from(near), _far);
    let theirs = std::net::TcpStream::from(near.try_clone().unwrap());
    let ours = TcpStream::from(near);
    for (ours, theirs) in [
        (ours.local_addr(), theirs.local_addr()),
        (ours.peer_addr(), theirs.peer_addr()),
    ] {
        let (ours, theirs) = (ours.unwrap_err(), theirs.unwrap_err());
        assert_eq!(ours.kind(), theirs.kind());
        assert_eq!(ours.to_string(), theirs.to_string());
    }
}
