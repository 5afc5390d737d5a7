//! Unix stream sockets, beside std's.
//!
//! - what std says of addresses, errors and conversions
//! - each connection goes to one accepter, each byte to its reader, in order
//! - a connect waits for room in the backlog, and can be interrupted
//! - ends, shutdowns and timeouts meet reads and writes that wait
//! - messages with descriptors, at which reads stop short

mod common;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net as theirs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{
    Place, child_with_few_descriptors, each_worker_count, is_child, let_others_wait, on_each_mode,
    on_each_worker_count, on_every_kind, pattern, run, runtime, stacks_returned,
    the_end_comes_behind_the_data, watchdog,
};
use futures::future::try_join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use roving::io::{Async, PipeWriter, Watched, pipe, splice};
use roving::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use roving::{CancelToken, DeadlineElapsed, block_on, channel, deadline, go, select, thread};

const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(5);

fn listener() -> (Place, UnixListener) {
    let place = Place::new();
    let listener = UnixListener::bind(&place).unwrap();
    (place, listener)
}

/// Writes until there is no room.
fn fill(stream: &UnixStream) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut written = 0;
    let error = loop {
        match (&*stream).write(&[7; 4096]) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    written
}

#[test]
fn what_is_sent_is_echoed() {
    on_each_mode(|| {
        let (place, listener) = listener();
        let server = go!(move || {
            for stream in listener.incoming().take(30) {
                go!(move || {
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
        thread::scope(|scope| {
            for n in 0..30 {
                let place = &place;
                scope.spawn(move || {
                    let mut stream = UnixStream::connect(place).unwrap();
                    for round in 0..20 {
                        let message = pattern(n, 1 + (n * 37 + round * 53) % 1500);
                        stream.write_all(&message).unwrap();
                        let mut answer = vec![0; message.len()];
                        stream.read_exact(&mut answer).unwrap();
                        assert_eq!(answer, message);
                    }
                });
            }
        });
        server.join().unwrap();
    });
}

#[test]
fn each_connection_goes_to_one_accepter() {
    on_every_kind(|| {
        let (place, listener) = listener();
        let accepted = AtomicUsize::new(0);
        thread::scope(|scope| {
            for n in 0..4 {
                let (listener, accepted) = (&listener, &accepted);
                scope.spawn(move || {
                    let clone = listener.try_clone().unwrap();
                    let listener = if n % 2 == 0 { listener } else { &clone };
                    while accepted.fetch_add(1, Ordering::Relaxed) < 40 {
                        let (mut stream, peer) = listener.accept().unwrap();
                        assert!(peer.is_unnamed());
                        stream.write_all(b"once").unwrap();
                    }
                });
            }
            for _ in 0..40 {
                let stream = UnixStream::connect(&place).unwrap();
                assert_eq!(io::read_to_string(stream).unwrap(), "once");
            }
        });
    });
}

#[test]
fn both_directions_are_full() {
    on_each_mode(|| {
        let (one, other) = UnixStream::pair().unwrap();
        let ends = [one, other].map(Arc::new);
        let writers = ends.clone().map(|end| {
            go!(move || {
                (&*end).write_all(&pattern(9, 3 << 20)).unwrap();
                end.shutdown(Shutdown::Write).unwrap();
            })
        });
        let readers = ends.map(|end| {
            go!(move || {
                let mut all = Vec::new();
                (&*end).read_to_end(&mut all).unwrap();
                all == pattern(9, 3 << 20)
            })
        });
        for reader in readers {
            assert!(reader.join().unwrap());
        }
        writers.into_iter().for_each(|w| w.join().unwrap());
    });
}

#[test]
fn data_and_the_end_arrive_together() {
    on_each_worker_count(|| {
        let end = |stream: &UnixStream| stream.shutdown(Shutdown::Write);
        the_end_comes_behind_the_data(300, || UnixStream::pair().unwrap(), end);
    });
}

#[test]
fn errors_and_addresses_are_those_of_std() {
    on_every_kind(|| {
        let place = Place::new();
        let both = |ours: io::Result<UnixStream>, std: io::Result<theirs::UnixStream>| {
            let (ours, std) = (ours.unwrap_err(), std.unwrap_err());
            assert_eq!(ours.kind(), std.kind());
            assert_eq!(ours.to_string(), std.to_string());
        };
        both(
            UnixStream::connect(&place),
            theirs::UnixStream::connect(&place),
        );
        let long = "x".repeat(108);
        both(
            UnixStream::connect(&long),
            theirs::UnixStream::connect(&long),
        );
        both(
            UnixStream::connect("a\0b"),
            theirs::UnixStream::connect("a\0b"),
        );

        let listener = UnixListener::bind(&place).unwrap();
        let error = UnixListener::bind(&place).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let address = listener.local_addr().unwrap();
        assert_eq!(address.as_pathname(), Some(place.as_ref()));
        let near = UnixStream::connect_addr(&address).unwrap();
        let (far, peer) = listener.accept().unwrap();
        assert!(peer.is_unnamed());
        assert!(near.local_addr().unwrap().is_unnamed());
        assert!(far.peer_addr().unwrap().is_unnamed());
        assert_eq!(
            near.peer_addr().unwrap().as_pathname(),
            Some(place.as_ref())
        );
        assert_eq!(
            far.local_addr().unwrap().as_pathname(),
            Some(place.as_ref())
        );
        assert!(near.take_error().unwrap().is_none());
        assert!(format!("{near:?}").starts_with("UnixStream { fd: "));
        assert!(format!("{listener:?}").contains("(pathname)"));
        drop(listener);
        both(
            UnixStream::connect(&place),
            theirs::UnixStream::connect(&place),
        );
    });
}

#[test]
fn sockets_come_from_std_and_go_back() {
    on_every_kind(|| {
        let place = Place::new();
        let listener = theirs::UnixListener::bind(&place).unwrap();
        let listener = UnixListener::from(listener);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let_others_wait();
                stream.write_all(b"hello").unwrap();
            });
            let stream = theirs::UnixStream::connect(&place).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            let mut stream = UnixStream::from(stream);
            stream.read_exact(&mut [0; 5]).unwrap();
            assert_eq!(stream.read_timeout().unwrap(), Some(LONG));
            stream.set_read_timeout(Some(2 * LONG)).unwrap();
            let fd = stream.into_raw_fd();
            // SAFETY: it has just been given away.
            let stream = unsafe { UnixStream::from_raw_fd(fd) };
            assert_eq!(stream.as_raw_fd(), fd);
            let mut stream = theirs::UnixStream::from(OwnedFd::from(stream));
            assert!(stream.read_timeout().unwrap().is_some());
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        });
        // It waits for connections again, as std's does, in the mode in which it was.
        let listener = theirs::UnixListener::from(listener);
        assert!(!is_nonblocking(&listener));
        listener.set_nonblocking(true).unwrap();
        let listener = UnixListener::from(listener);
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(is_nonblocking(theirs::UnixListener::from(listener)));
        // A stream that has connected, and one that was accepted, are in blocking mode.
        let (place, listener) = self::listener();
        let near = UnixStream::connect(&place).unwrap();
        assert!(!is_nonblocking(&near));
        assert!(!is_nonblocking(listener.accept().unwrap().0));
    });
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    // SAFETY: the call reads the flags of a descriptor that is open.
    let flags = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) };
    flags & libc::O_NONBLOCK != 0
}

#[test]
fn buffers_are_scattered_and_gathered() {
    on_every_kind(|| {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let parts = [
            IoSlice::new(b"hello"),
            IoSlice::new(b" "),
            IoSlice::new(b"world"),
        ];
        assert_eq!(near.write_vectored(&parts).unwrap(), 11);
        let (mut first, mut second) = ([0; 6], [0; 9]);
        let bufs = &mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(far.read_vectored(bufs).unwrap(), 11);
        assert_eq!((&first, &second[..5]), (b"hello ", &b"world"[..]));
    });
}

/// Lets the backlog be as small as the system allows, and fills it.
fn full_backlog() -> (Place, UnixListener, Vec<UnixStream>) {
    let (place, listener) = listener();
    // SAFETY: the call takes a descriptor that is open, and a number.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 1) }, 0);
    let clients = (0..2).map(|_| UnixStream::connect(&place).unwrap());
    let clients = clients.collect();
    (place, listener, clients)
}

#[test]
fn a_connect_waits_for_room_in_the_backlog() {
    on_every_kind(|| {
        let (place, listener, clients) = full_backlog();
        let connected = AtomicUsize::new(0);
        thread::scope(|scope| {
            for n in 0..20 {
                let (place, connected) = (&place, &connected);
                scope.spawn(move || {
                    let stream = if n % 2 == 0 {
                        UnixStream::connect(place)
                    } else {
                        block_on(UnixStream::connect_async(place))
                    };
                    let stream = stream.unwrap();
                    assert!(!is_nonblocking(&stream));
                    connected.fetch_add(1, Ordering::AcqRel);
                    assert_eq!(io::read_to_string(stream).unwrap(), "hello");
                });
            }
            let_others_wait();
            assert_eq!(connected.load(Ordering::Acquire), 0);
            for _ in 0..20 + clients.len() {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(b"hello").unwrap();
            }
        });
        assert_eq!(connected.into_inner(), 20);
    });
}

#[test]
fn a_connect_that_waits_is_interrupted() {
    on_each_mode(|| {
        let (place, listener, _clients) = full_backlog();
        let ended = deadline(SHORT, || UnixStream::connect(&place));
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.get_ref().unwrap().is::<DeadlineElapsed>());

        let token = CancelToken::new();
        let cancels = token.clone();
        let waits = go!(move || token.run(|| UnixStream::connect(&place).map_err(|e| e.kind())));
        let_others_wait();
        cancels.cancel();
        // Unless it was cancelled before it began to wait, it is told by an error.
        if let Ok(result) = waits.join().unwrap() {
            assert_eq!(result.unwrap_err(), ErrorKind::Other);
        }

        // When the listener is closed, who waits is refused.
        let (place, closes, _clients) = full_backlog();
        let waits = go!(move || UnixStream::connect(&place).map(drop));
        let_others_wait();
        drop((listener, closes));
        let error = waits.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

/// Runs `read` blocked on one end of a connection, and lets `end` happen meanwhile.
fn while_waiting<T: Send + 'static>(
    wait: impl FnOnce(&UnixStream) -> T + Send + 'static,
    stream: &Arc<UnixStream>,
    end: impl FnOnce(),
) -> T {
    let shared = stream.clone();
    let waits = go!(move || wait(&shared));
    let_others_wait();
    end();
    waits.join().unwrap()
}

#[test]
fn a_read_that_waits_meets_the_end() {
    on_every_kind(|| {
        type End = fn(&UnixStream, &mut Option<UnixStream>);
        let ends: [End; 4] = [
            |_, peer| drop(peer.take()),
            |_, peer| peer.as_ref().unwrap().shutdown(Shutdown::Write).unwrap(),
            |own, _| own.shutdown(Shutdown::Read).unwrap(),
            |own, _| own.shutdown(Shutdown::Both).unwrap(),
        ];
        for end in ends {
            let (own, peer) = UnixStream::pair().unwrap();
            let (own, mut peer) = (Arc::new(own), Some(peer));
            let read = |mut own: &UnixStream| own.read(&mut [0; 10]);
            let ended = while_waiting(read, &own, || end(&own, &mut peer));
            assert_eq!(ended.unwrap(), 0);
        }
    });
}

/// That the peer has shut down its reading, and that a clone has shut down the writing, is told to nobody who polls.
#[test]
fn a_write_that_waits_meets_the_end() {
    on_every_kind(|| {
        type End = fn(&UnixStream, &UnixStream, &mut Option<UnixStream>);
        let ends: [End; 5] = [
            |_, _, peer| drop(peer.take()),
            |own, _, _| own.shutdown(Shutdown::Write).unwrap(),
            |own, _, _| own.shutdown(Shutdown::Both).unwrap(),
            |_, clone, _| clone.shutdown(Shutdown::Write).unwrap(),
            |_, _, peer| peer.as_ref().unwrap().shutdown(Shutdown::Read).unwrap(),
        ];
        for end in ends {
            let (own, peer) = UnixStream::pair().unwrap();
            let (clone, own, mut peer) = (own.try_clone().unwrap(), Arc::new(own), Some(peer));
            fill(&own);
            let write = |mut own: &UnixStream| own.write(b"more");
            let ended = while_waiting(write, &own, || end(&own, &clone, &mut peer));
            let kind = ended.unwrap_err().kind();
            assert!([ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&kind));
            let again = (&*own).write(b"more").unwrap_err();
            assert_eq!(again.kind(), ErrorKind::BrokenPipe);
        }
    });
}

/// Whatever it is that writes to the stream.
#[test]
fn a_write_by_other_ways_meets_the_end() {
    type Write = fn(UnixStream) -> io::Result<()>;
    let ways: [Write; 5] = [
        |stream| PipeWriter::from(OwnedFd::from(stream)).write_all(b"more"),
        |stream| {
            let (reader, mut writer) = pipe()?;
            writer.write_all(b"more")?;
            splice(&reader, &stream).map(drop)
        },
        |stream| {
            let (from, mut peer) = UnixStream::pair()?;
            peer.write_all(b"more")?;
            splice(&from, &stream).map(drop)
        },
        |stream| Watched::new(theirs::UnixStream::from(stream))?.write_all(b"more"),
        |stream| {
            let stream = theirs::UnixStream::from(stream);
            stream.set_nonblocking(true)?;
            Watched::new(stream)?.write_all(b"more")
        },
    ];
    on_every_kind(move || {
        for write in ways {
            let (own, peer) = UnixStream::pair().unwrap();
            fill(&own);
            let waits = go!(move || write(own));
            let_others_wait();
            peer.shutdown(Shutdown::Read).unwrap();
            let kind = waits.join().unwrap().unwrap_err().kind();
            assert_eq!(kind, ErrorKind::BrokenPipe);
        }
    });
}

#[test]
fn a_future_that_writes_meets_a_shutdown_of_its_own() {
    on_each_worker_count(|| {
        let (own, _peer) = UnixStream::pair().unwrap();
        fill(&own);
        let own = Arc::new(own);
        let write = |own: &UnixStream| block_on(own.write_async(b"more"));
        let ended = while_waiting(write, &own, || own.shutdown(Shutdown::Write).unwrap());
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn streams_are_polled() {
    on_each_mode(|| {
        let (place, listener) = listener();
        let served = go!(move || {
            block_on(async {
                let (stream, _) = listener.accept_async().await?;
                let stream = Async::new(Arc::new(stream));
                futures::io::copy(&stream, &mut &stream).await?;
                (&stream).close().await
            })
        });
        let sent = pattern(5, 1 << 20);
        let echoed = block_on(async {
            let stream = Async::new(UnixStream::connect_async(&place).await?);
            let writes = async {
                (&stream).write_all(&sent).await?;
                (&stream).close().await
            };
            let mut echoed = Vec::new();
            let mut reader = &stream;
            try_join(writes, reader.read_to_end(&mut echoed)).await?;
            io::Result::Ok(echoed)
        });
        assert!(echoed.unwrap() == sent);
        served.join().unwrap().unwrap();
    });
}

#[test]
fn timeouts_pass() {
    on_every_kind(|| {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        near.set_read_timeout(Some(SHORT)).unwrap();
        let error = near.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let error = near.set_write_timeout(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let filled = fill(&near);
        near.set_write_timeout(Some(SHORT)).unwrap();
        assert_eq!(
            near.write(&[1; 10]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        // What there is room for is written by then.
        let mut buffer = vec![0; filled / 2];
        far.read_exact(&mut buffer).unwrap();
        let written = near.write(&vec![1; filled * 2]).unwrap();
        assert!(0 < written && written < filled * 2);
        // One that lasts longer than who waits looks by himself.
        near.set_write_timeout(Some(Duration::from_millis(600)))
            .unwrap();
        let error = near.write(&[1; 10]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        near.set_nonblocking(true).unwrap();
        assert_eq!(
            near.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

#[test]
fn deadlines_tokens_and_ends_of_runtimes_interrupt() {
    on_each_mode(|| {
        let (mut near, _far) = UnixStream::pair().unwrap();
        let error = deadline(SHORT, || near.read(&mut [0]))
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        fill(&near);
        let error = deadline(SHORT, || near.write(&[0])).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let (_place, listener) = listener();
        let waits = go!(move || listener.accept().map(drop));
        let_others_wait();
        waits.cancel();
        let told = waits.join();
        assert!(told.is_err() || told.unwrap().is_err());
    });
    let _stacks = stacks_returned();
    for workers in common::WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let (place, _listener, _clients) = full_backlog();
        let runtime = runtime(workers);
        let waits = runtime.spawn(move || UnixStream::connect(&place).map(drop));
        runtime.run(let_others_wait);
        runtime.shutdown();
        let _ = waits.join();
    }
}

#[test]
fn a_select_waits_for_sockets() {
    on_every_kind(|| {
        let (place, listener) = listener();
        let (near, far) = UnixStream::pair().unwrap();
        let quiet = channel::after(SHORT);
        select! {
            readable(near) => panic!("nothing was written"),
            readable(listener) => panic!("nobody has connected"),
            recv(quiet) -> _ => {}
        }
        let filled = fill(&near);
        select! {
            writable(near) => panic!("there is no room"),
            default => {}
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                let_others_wait();
                (&far).read_exact(&mut vec![0; filled]).unwrap();
                UnixStream::connect(&place).unwrap();
            });
            select! {
                writable(near) => {}
                recv(channel::after(LONG)) -> _ => panic!("there is room"),
            }
            select! {
                readable(listener) => drop(listener.accept().unwrap()),
                recv(channel::after(LONG)) -> _ => panic!("somebody has connected"),
            }
        });
    });
}

#[test]
fn one_connection_serves_several_runtimes() {
    each_worker_count(|runtime| {
        let other = common::runtime(2);
        let (near, far) = UnixStream::pair().unwrap();
        let (near, far) = (Arc::new(near), Arc::new(far));
        for n in 0..20u8 {
            let reader = [runtime, &other][usize::from(n % 2)];
            let reads = {
                let near = near.clone();
                reader.spawn(move || {
                    let mut byte = [0];
                    (&*near).read_exact(&mut byte).unwrap();
                    byte[0]
                })
            };
            reader.run(let_others_wait);
            // A plain OS thread writes.
            (&*far).write_all(&[n]).unwrap();
            assert_eq!(reads.join().unwrap(), n);
        }
    });
}

/// A read stops at descriptors, though more is there, and no edge comes for that.
#[cfg(target_os = "linux")]
#[test]
fn what_follows_descriptors_is_read() {
    on_every_kind(|| {
        let (near, mut far) = UnixStream::pair().unwrap();
        let near = Arc::new(near);
        let rounds = 20;
        let writes = {
            let near = near.clone();
            go!(move || {
                for _ in 0..rounds {
                    (&*near).write_all(b"one").unwrap();
                    near.send_with_fds(b"two", &[near.as_fd()]).unwrap();
                    (&*near).write_all(b"three").unwrap();
                    let_others_wait();
                }
            })
        };
        let mut all = String::new();
        while all.len() < rounds * 11 {
            let mut buffer = [0; 1000];
            let read = far.read(&mut buffer).unwrap();
            all += std::str::from_utf8(&buffer[..read]).unwrap();
        }
        assert_eq!(all, "onetwothree".repeat(rounds));
        writes.join().unwrap();
    });
}

#[cfg(target_os = "linux")]
#[test]
fn descriptors_go_along() {
    on_every_kind(|| {
        let (near, far) = UnixStream::pair().unwrap();
        let received = thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let mut fds = Vec::new();
                let mut buffer = [0; 100];
                assert_eq!(far.recv_with_fds(&mut buffer, &mut fds).unwrap(), 4);
                assert_eq!(&buffer[..4], b"here");
                fds
            });
            let_others_wait();
            let fds = [near.as_fd(); 253];
            assert_eq!(near.send_with_fds(b"here", &fds).unwrap(), 4);
            waits.join().unwrap()
        });
        assert_eq!(received.len(), 253);
        for fd in &received {
            // SAFETY: the call reads the flags of a descriptor that is open.
            let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        }
        // It is the same connection.
        let mut duplicate = UnixStream::from(received.into_iter().next().unwrap());
        duplicate.write_all(b"!").unwrap();
        (&far).read_exact(&mut [0]).unwrap();

        let many = [near.as_fd(); 254];
        for (refused, why) in [
            (
                near.send_with_fds(b"x", &many),
                "cannot send 254 descriptors with one message: it takes at most 253, so send more messages",
            ),
            (
                near.send_with_fds(b"", &many[..1]),
                "cannot send descriptors with no bytes: in a stream, they go along with a byte",
            ),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), why);
        }
        // More than there is room for goes on after the descriptors have gone.
        let data = pattern(3, 1 << 20);
        thread::scope(|scope| {
            scope.spawn(|| {
                let sent = near.send_with_fds(&data, &[near.as_fd()]).unwrap();
                assert_eq!(sent, data.len());
                near.shutdown(Shutdown::Write).unwrap();
            });
            let (mut all, mut fds, mut buffer) = (Vec::new(), Vec::new(), vec![0; 5000]);
            loop {
                match far.recv_with_fds(&mut buffer, &mut fds).unwrap() {
                    0 => break,
                    read => all.extend_from_slice(&buffer[..read]),
                }
            }
            assert!(all == data);
            assert_eq!(fds.len(), 1);
        });
    });
}

#[cfg(target_os = "linux")]
#[test]
fn names_need_no_file() {
    use roving::os::linux::net::SocketAddrExt;
    on_every_kind(|| {
        let name = format!("roving\0{:?}", Place::new().as_ref());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let near = UnixStream::connect_addr(&address).unwrap();
        let (far, _) = listener.accept().unwrap();
        for found in [near.peer_addr(), far.local_addr(), listener.local_addr()] {
            assert_eq!(
                found.unwrap().as_abstract_name(),
                address.as_abstract_name()
            );
        }
    });
}

#[test]
fn descriptors_run_out() {
    let _watchdog = watchdog("");
    if !is_child("descriptors_run_out") {
        run(child_with_few_descriptors("descriptors_run_out"));
        return;
    }
    on_each_worker_count(|| {
        let (place, listener) = listener();
        let mut pairs = Vec::new();
        let error = loop {
            match UnixStream::pair() {
                Ok(pair) => pairs.push(pair),
                Err(error) => break error,
            }
        };
        let is_limit = |error: &io::Error| error.raw_os_error() == Some(libc::EMFILE);
        assert!(is_limit(&error));
        // One may be left.
        let last = UnixListener::bind(Place::new());
        assert!(is_limit(&UnixStream::connect(&place).unwrap_err()));
        assert!(is_limit(&listener.try_clone().unwrap_err()));
        drop((pairs.pop(), last));
        let _client = UnixStream::connect(&place).unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| listener.try_clone().ok()).collect();
        for _ in 0..10 {
            assert!(is_limit(&listener.accept().map(drop).unwrap_err()));
        }
        drop(taken);
        listener.accept().unwrap();
    });
}
