//! One script, played with std's sockets and with Roving's, on green threads and on OS threads: it
//! must go the same way, step by step, down to the numbers and texts of the errors.

mod common;

use std::time::Duration;

use common::script::{Script, TIMEOUTS, assert_same, without_numbers};
use common::{WORKER_COUNTS, runtime, stacks_returned, watchdog};

macro_rules! script {
    ($name:ident, $($net:ident)::+) => {
        mod $name {
            use super::*;
            use std::io::{IoSlice, IoSliceMut, Read, Write};
            use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
            use $($net)::+::{Shutdown, SocketAddr, TcpListener, TcpStream};

            pub(crate) fn play() -> Vec<String> {
                let mut script = Script::default();
                listeners(&mut script);
                settings(&mut script);
                transfers(&mut script);
                ends(&mut script);
                resets(&mut script);
                connecting(&mut script);
                conversions(&mut script);
                script.lines
            }

            fn connection() -> (TcpStream, TcpStream) {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (other, address) = listener.accept().unwrap();
                assert_eq!(address, one.local_addr().unwrap());
                (one, other)
            }

            #[allow(deprecated)]
            fn listeners(s: &mut Script) {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                s.note("ip", address.ip());
                s.step("in use", TcpListener::bind(address).map(drop));
                s.step("not ours", TcpListener::bind("192.0.2.1:0").map(drop));
                s.step("no address", TcpListener::bind(&[][..] as &[SocketAddr]).map(drop));
                s.step("no port", TcpListener::bind("127.0.0.1").map(drop));
                let two = [SocketAddr::from(([192, 0, 2, 1], 0)), SocketAddr::from(([127, 0, 0, 1], 0))];
                let second = s.step("the second of two", TcpListener::bind(&two[..]).map(|l| l.local_addr().unwrap().ip()));
                s.note("it is", second);
                s.step("ttl", listener.ttl());
                s.step("set ttl", listener.set_ttl(33));
                s.step("ttl again", listener.ttl());
                s.step("a ttl that cannot be", listener.set_ttl(1000));
                s.step("only v6", listener.only_v6());
                s.step("set only v6", listener.set_only_v6(true));
                s.step("error", listener.take_error().map(|error| error.map(|e| e.kind())));
                s.step("set nonblocking", listener.set_nonblocking(true));
                s.step("nothing to accept", listener.accept().map(drop));
                s.step("nothing to accept", listener.incoming().next().unwrap().map(drop));
                let clone = listener.try_clone().unwrap();
                s.note("clone", clone.local_addr().unwrap() == address);
                s.step("the clone's mode", clone.accept().map(drop));
                s.step("the clone sets its mode", clone.set_nonblocking(false));
                let client = TcpStream::connect(address).unwrap();
                let (accepted, from) = listener.accept().unwrap();
                s.note("from", from == client.local_addr().unwrap());
                s.step("its ttl", accepted.ttl());
                drop(listener);
                let another = TcpStream::connect(address).unwrap();
                let next = clone.incoming().next().unwrap();
                s.note("next", next.unwrap().peer_addr().unwrap() == another.local_addr().unwrap());
                s.note("debug", without_numbers(&format!("{clone:?}")));
                drop(clone);
                s.step("nobody listens", TcpStream::connect(address).map(drop));
                let six = TcpListener::bind("[::1]:0");
                s.step("v6", six.and_then(|l| Ok((l.local_addr()?.ip(), l.only_v6()?))));
            }

            fn settings(s: &mut Script) {
                let (stream, peer) = connection();
                s.note("peer", stream.peer_addr().unwrap() == peer.local_addr().unwrap());
                s.note("debug", without_numbers(&format!("{stream:?}")));
                s.step("nodelay", stream.nodelay());
                s.step("set nodelay", stream.set_nodelay(true));
                s.step("nodelay again", stream.nodelay());
                s.step("ttl", stream.ttl());
                s.step("set ttl", stream.set_ttl(42));
                s.step("ttl again", stream.ttl());
                s.step("a ttl that cannot be", stream.set_ttl(256));
                s.step("error", stream.take_error().map(|error| error.map(|e| e.kind())));
                for timeout in TIMEOUTS {
                    s.step("set read timeout", stream.set_read_timeout(timeout));
                    s.step("set write timeout", stream.set_write_timeout(timeout));
                    s.step("read timeout", stream.read_timeout());
                    s.step("write timeout", stream.write_timeout());
                }
                let clone = stream.try_clone().unwrap();
                clone.set_read_timeout(Some(Duration::from_secs(7))).unwrap();
                s.step("shared", stream.read_timeout());
                s.step("set nonblocking", clone.set_nonblocking(true));
                s.step("nothing to read", (&stream).read(&mut [0]));
                s.step("nothing to peek", stream.peek(&mut [0]));
                let mut buffer = [0; 4];
                s.step("nothing to scatter", (&stream).read_vectored(&mut [IoSliceMut::new(&mut buffer)]));
                let full = loop {
                    if let Err(error) = (&stream).write(&[0; 65536]) {
                        break error;
                    }
                };
                s.step("no room", Err::<(), _>(full));
                s.step("set blocking", stream.set_nonblocking(false));
            }

            fn transfers(s: &mut Script) {
                let (mut one, mut other) = connection();
                s.step("write", one.write(b"hello, world"));
                s.step("flush", one.flush());
                let mut buffer = [0; 5];
                s.step("peek", other.peek(&mut buffer));
                s.note("peeked", buffer);
                s.step("read into nothing", other.read(&mut []));
                s.step("peek into nothing", other.peek(&mut []));
                s.step("read", other.read(&mut buffer));
                s.note("bytes", buffer);
                let (mut first, mut second) = ([0; 3], [0; 10]);
                let mut bufs = [
                    IoSliceMut::new(&mut []),
                    IoSliceMut::new(&mut first),
                    IoSliceMut::new(&mut second),
                ];
                s.step("read vectored", other.read_vectored(&mut bufs));
                s.note("bytes", (first, second));
                s.step("write nothing", one.write(&[]));
                s.step("write vectored nothing", one.write_vectored(&[]));
                let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
                s.step("write vectored", one.write_vectored(&parts));
                s.step("read", other.read_exact(&mut buffer));
                s.note("bytes", buffer);
                let many: Vec<_> = (0..3000).map(|_| IoSlice::new(b"x")).collect();
                s.step("very many buffers", one.write_vectored(&many));
                let mut byte = [[0; 1]; 1500];
                let mut bufs: Vec<_> = byte.iter_mut().map(|b| IoSliceMut::new(b)).collect();
                s.step("very many buffers", other.read_vectored(&mut bufs));
                let (mut by_reference, reference) = (&one, &other);
                s.step("by reference", by_reference.write_all(b"12345"));
                s.step("by reference", (&*reference).read_exact(&mut buffer));
                s.note("bytes", buffer);
                let large = vec![7; 100_000];
                s.step("a large write", one.write(&large));
                let mut received = vec![0; 100_000];
                s.step("a large read", other.read_exact(&mut received));
            }

            fn ends(s: &mut Script) {
                let (mut one, mut other) = connection();
                one.write_all(b"last words").unwrap();
                s.step("shutdown write", one.shutdown(Shutdown::Write));
                s.step("again", one.shutdown(Shutdown::Write));
                s.step("write after it", one.write(b"x"));
                s.step("write nothing after it", one.write(b""));
                s.step("write vectored after it", one.write_vectored(&[IoSlice::new(b"x")]));
                let mut all = Vec::new();
                s.step("read to the end", other.read_to_end(&mut all));
                s.note("bytes", String::from_utf8(all).unwrap());
                s.step("read past the end", other.read(&mut [0; 4]));
                s.step("read nothing past the end", other.read(&mut []));
                s.step("peek past the end", other.peek(&mut [0; 4]));
                s.step("the other way", other.write(b"still open"));
                let mut buffer = [0; 20];
                s.step("still open", one.read(&mut buffer));
                s.step("shutdown read", one.shutdown(Shutdown::Read));
                s.step("read after it", one.read(&mut buffer));
                s.step("shutdown both", other.shutdown(Shutdown::Both));
                s.step("read after it", other.read(&mut buffer));
                s.step("write after it", other.write(b"x"));
                // Until the other's end has arrived.
                while one.peer_addr().is_ok() {}
                s.step("shutdown of what is over", one.shutdown(Shutdown::Both));
                s.step("its peer", one.peer_addr().map(|_| ()));

                let (mut one, other) = connection();
                drop(other);
                s.step("read of what the peer closed", one.read(&mut buffer));
                s.step("write to what the peer closed", one.write(b"x").map(drop));
            }

            /// A socket that is closed with data in it that nobody has read resets its connection.
            fn resets(s: &mut Script) {
                let reset = || {
                    let (one, mut other) = connection();
                    other.write_all(b"from the other").unwrap();
                    (&one).write_all(b"unread").unwrap();
                    assert_eq!(other.peek(&mut [0; 6]).unwrap(), 6);
                    drop(other);
                    // Until the reset has arrived.
                    while one.peer_addr().is_ok() {}
                    one
                };
                let mut one = reset();
                s.step("the error of a reset", one.take_error().map(|error| error.map(|e| (e.kind(), e.raw_os_error()))));
                s.step("taken", one.take_error().map(|error| error.map(|e| e.kind())));
                s.step("read", one.read(&mut [0; 30]));
                let mut one = reset();
                s.step("read", one.read(&mut [0; 30]));
                s.step("read again", one.read(&mut [0; 30]));
                let mut one = reset();
                s.step("write", one.write(b"x"));
                s.step("write again", one.write(b"x"));
                s.step("shutdown", one.shutdown(Shutdown::Both));
                s.step("peer", one.peer_addr().map(drop));
                s.note("debug", without_numbers(&format!("{one:?}")));
            }

            fn connecting(s: &mut Script) {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let open = listener.local_addr().unwrap();
                // The library under test must not matter here.
                let (closed, _kept) = common::closed_address();
                let patience = Duration::from_secs(3600);
                s.step("refused", TcpStream::connect(closed).map(drop));
                s.step("refused", TcpStream::connect_timeout(&closed, patience).map(drop));
                s.step("no time", TcpStream::connect_timeout(&open, Duration::ZERO).map(drop));
                s.step("no time to be refused", TcpStream::connect_timeout(&closed, Duration::ZERO).map(drop));
                s.step("in time", TcpStream::connect_timeout(&open, patience).map(drop));
                s.step("all the time", TcpStream::connect_timeout(&open, Duration::MAX).map(drop));
                s.step("the second", TcpStream::connect(&[closed, open][..]).map(drop));
                s.step("neither", TcpStream::connect(&[closed, closed][..]).map(drop));
                s.step("no address", TcpStream::connect(&[][..] as &[SocketAddr]).map(drop));
                s.step("no port", TcpStream::connect("127.0.0.1").map(drop));
                s.step("port zero", TcpStream::connect("127.0.0.1:0").map(drop));
                s.step("a name", TcpStream::connect(("localhost", open.port())).map(drop));
                let broadcast = SocketAddr::from(([255, 255, 255, 255], 9));
                s.step("everybody", TcpStream::connect(broadcast).map(drop));
                s.step("everybody", TcpStream::connect_timeout(&broadcast, patience).map(drop));
                let stream = TcpStream::connect(open).unwrap();
                s.step("nodelay", stream.nodelay());
                s.step("timeouts", stream.read_timeout());
            }

            fn conversions(s: &mut Script) {
                let (one, mut other) = connection();
                s.note("raw", one.as_raw_fd() == one.as_fd().as_raw_fd());
                let mut one = TcpStream::from(OwnedFd::from(one));
                s.step("write", one.write(b"through an owned descriptor"));
                let raw = one.into_raw_fd();
                // SAFETY: the descriptor has just been given away by its only owner.
                let one = unsafe { TcpStream::from_raw_fd(raw) };
                drop(one);
                let mut all = String::new();
                s.step("read", other.read_to_string(&mut all));
                s.note("text", all);

                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                listener.set_nonblocking(true).unwrap();
                let listener = TcpListener::from(OwnedFd::from(listener));
                s.step("it keeps its mode", listener.accept().map(drop));
                listener.set_nonblocking(false).unwrap();
                let client = TcpStream::connect(address).unwrap();
                let raw = listener.into_raw_fd();
                // SAFETY: as above.
                let listener = unsafe { TcpListener::from_raw_fd(raw) };
                let (accepted, from) = listener.accept().unwrap();
                s.note("from", from == client.local_addr().unwrap());
                accepted.set_nonblocking(true).unwrap();
                let mut accepted = TcpStream::from(OwnedFd::from(accepted));
                s.step("it keeps its mode", accepted.read(&mut [0]));
                let error = TcpStream::from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
                s.step("no socket", (&error).read(&mut [0]));
                s.step("no socket", error.local_addr().map(drop));
                s.step("no socket", error.nodelay());
                s.step("no socket", error.shutdown(Shutdown::Both));
            }
        }
    };
}

script!(theirs, std::net);
script!(ours, roving::net);

#[test]
fn on_an_os_thread() {
    let _watchdog = watchdog("");
    assert_same(&ours::play(), &theirs::play());
}

#[test]
fn on_green_threads() {
    let _stacks = stacks_returned();
    let theirs = theirs::play();
    assert!(theirs.len() > 100);
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let ours = roving::Builder::new()
            .workers(workers)
            .stack_size(1 << 20)
            .build()
            .unwrap()
            .run(ours::play);
        assert_same(&ours, &theirs);
    }
}

/// The sockets of a script that is played many times at once do not get into each other's way.
#[test]
fn on_many_green_threads_at_once() {
    let _stacks = stacks_returned();
    let theirs = theirs::play();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let handles: Vec<_> = (0..10)
            .map(|_| {
                runtime.run(|| {
                    roving::thread::Builder::new()
                        .stack_size(1 << 20)
                        .spawn(ours::play)
                        .unwrap()
                })
            })
            .collect();
        for handle in handles {
            assert_same(&handle.join().unwrap(), &theirs);
        }
    }
}
