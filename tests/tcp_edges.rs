//! The ends of connections, and what else comes at a bad time.
//!
//! - data and the end that arrive together, thousands of times
//! - half-closed connections; ends and resets that meet a blocked read, a blocked write, a blocked
//!   accept
//! - slow readers with full buffers
//! - refused connections; a runtime that ends under blocked operations

mod common;

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{
    WORKER_COUNTS, closed_address, connection, each_worker_count, on_each_worker_count, pattern,
    runtime, stacks_returned, the_end_comes_behind_the_data, watchdog,
};
use roving::net::{Shutdown, TcpListener, TcpStream};
use roving::{Cancelled, go, thread};

/// Whether an error is one of those that a connection that has been reset gives, of which the
/// system chooses one.
fn is_reset(error: &std::io::Error) -> bool {
    [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind())
}

#[test]
fn data_and_the_end_arrive_together() {
    on_each_worker_count(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        const ROUNDS: usize = 1500;
        let serves = go!(move || {
            for n in 0..ROUNDS {
                let (mut stream, _) = listener.accept().unwrap();
                if n % 3 == 0 {
                    thread::yield_now();
                }
                // Both are there by the time the reader looks, or either may come while it waits.
                stream.write_all(&pattern(n, n % 90)).unwrap();
            }
        });
        let mut buffer = [0; 200];
        for n in 0..ROUNDS {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut received = Vec::new();
            loop {
                match stream.read(&mut buffer).unwrap() {
                    0 => break,
                    // A short read, after which the next one must see the end.
                    count => received.extend_from_slice(&buffer[..count]),
                }
                if n % 5 == 0 {
                    thread::yield_now();
                }
            }
            assert_eq!(received, pattern(n, n % 90));
        }
        serves.join().unwrap();
    });
}

#[test]
fn data_and_the_end_arrive_together_at_a_reader_that_has_waited() {
    on_each_worker_count(|| {
        let end = |stream: &TcpStream| stream.shutdown(Shutdown::Write);
        the_end_comes_behind_the_data(500, connection, end);
    });
}

#[test]
fn half_a_connection_stays_open() {
    on_each_worker_count(|| {
        for n in 0..100 {
            let (mut client, mut server) = connection();
            let serves = go!(move || {
                let mut question = Vec::new();
                server.read_to_end(&mut question).unwrap();
                thread::yield_now();
                for chunk in question.chunks(997).rev() {
                    server.write_all(chunk).unwrap();
                }
            });
            let question = pattern(n, 1 + n * 331);
            client.write_all(&question).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            serves.join().unwrap();
            let expected: Vec<_> = question.chunks(997).rev().flatten().copied().collect();
            assert_eq!(answer, expected);
        }
    });
}

/// Runs `read` blocked on one end of a connection, lets `end` happen to the other one or to the
/// same one, and gives the read's result.
fn while_reading(end: impl FnOnce(&TcpStream, TcpStream)) -> std::io::Result<usize> {
    let (stream, peer) = connection();
    let stream = Arc::new(stream);
    let reader = stream.clone();
    let reading = Arc::new(AtomicBool::new(false));
    let begins = reading.clone();
    let reads = go!(move || {
        begins.store(true, Ordering::Release);
        (&*reader).read(&mut [0; 10])
    });
    while !reading.load(Ordering::Acquire) {
        thread::yield_now();
    }
    for _ in 0..5 {
        thread::yield_now();
    }
    end(&stream, peer);
    reads.join().unwrap()
}

#[test]
fn a_blocked_read_meets_the_end() {
    on_each_worker_count(|| {
        for _ in 0..30 {
            let closed = while_reading(|_, peer| drop(peer));
            assert_eq!(closed.unwrap(), 0);
            let half = while_reading(|_, peer| peer.shutdown(Shutdown::Write).unwrap());
            assert_eq!(half.unwrap(), 0);
            let mine = while_reading(|stream, peer| {
                stream.shutdown(Shutdown::Read).unwrap();
                drop(peer);
            });
            assert_eq!(mine.unwrap(), 0);
            let both = while_reading(|stream, peer| {
                stream.shutdown(Shutdown::Both).unwrap();
                drop(peer);
            });
            assert_eq!(both.unwrap(), 0);
            // The peer has data that it has not read, so closing resets.
            let reset = while_reading(|stream, mut peer| {
                let mut writer = stream;
                writer.write_all(b"never read").unwrap();
                assert_eq!(peer.peek(&mut [0; 10]).unwrap(), 10);
                peer.flush().unwrap();
                drop(peer);
            });
            assert_eq!(reset.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    });
}

/// The same thread shuts a socket down that another one is blocked on, with nothing from the peer.
#[test]
fn a_shutdown_of_ones_own_ends_a_blocked_read() {
    on_each_worker_count(|| {
        for how in [Shutdown::Read, Shutdown::Both] {
            let mut kept = None;
            let read = while_reading(|stream, peer| {
                stream.shutdown(how).unwrap();
                kept = Some(peer);
            });
            assert_eq!(read.unwrap(), 0);
        }
    });
}

#[test]
fn a_blocked_write_meets_a_reset() {
    on_each_worker_count(|| {
        for n in 0..20 {
            let (mut writer, mut reader) = connection();
            let writes = go!(move || {
                let data = vec![1; 1 << 20];
                let error = loop {
                    if let Err(error) = writer.write_all(&data) {
                        break error;
                    }
                };
                assert!(is_reset(&error), "{error}");
                let again = writer.write(&data).unwrap_err();
                assert_eq!(again.kind(), ErrorKind::BrokenPipe);
            });
            let mut buffer = vec![0; 1000];
            for _ in 0..n {
                assert!(reader.read(&mut buffer).unwrap() > 0);
                thread::yield_now();
            }
            drop(reader);
            writes.join().unwrap();
        }
    });
}

#[test]
fn a_blocked_write_meets_a_shutdown_of_ones_own() {
    on_each_worker_count(|| {
        let (writer, _reader) = connection();
        let writer = Arc::new(writer);
        let blocked = writer.clone();
        let written = Arc::new(AtomicUsize::new(0));
        let count = written.clone();
        let writes = go!(move || {
            loop {
                match (&*blocked).write(&[1; 100_000]) {
                    Ok(n) => count.fetch_add(n, Ordering::AcqRel),
                    Err(error) => return error,
                };
            }
        });
        // Until it has stopped getting on, which is for ever, since nobody reads.
        let mut seen = usize::MAX;
        let mut quiet = 0;
        while quiet < 50 {
            let now = written.load(Ordering::Acquire);
            quiet = if now == seen { quiet + 1 } else { 0 };
            seen = now;
            thread::yield_now();
        }
        writer.shutdown(Shutdown::Both).unwrap();
        assert_eq!(writes.join().unwrap().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn slow_readers_get_all() {
    on_each_worker_count(|| {
        let readers: Vec<_> = (0..4)
            .map(|n| {
                let (mut writer, mut reader) = connection();
                let data = Arc::new(pattern(n, 6 << 20));
                let sent = data.clone();
                go!(move || {
                    writer.write_all(&sent).unwrap();
                });
                go!(move || {
                    let mut received = 0;
                    let mut buffer = vec![0; 20_000];
                    loop {
                        let count = reader.read(&mut buffer).unwrap();
                        if count == 0 {
                            break;
                        }
                        assert!(buffer[..count] == data[received..received + count]);
                        received += count;
                        for _ in 0..n {
                            thread::yield_now();
                        }
                    }
                    assert_eq!(received, data.len());
                })
            })
            .collect();
        readers.into_iter().for_each(|r| r.join().unwrap());
    });
}

/// Both ends write before they read, more than the system keeps, so that neither gets on until the
/// other reads, from another thread.
#[test]
fn both_directions_are_full() {
    on_each_worker_count(|| {
        let (one, other) = connection();
        let ends = [one, other].map(Arc::new);
        let writers = ends.clone().map(|end| {
            go!(move || {
                (&*end).write_all(&pattern(9, 8 << 20)).unwrap();
                end.shutdown(Shutdown::Write).unwrap();
            })
        });
        for _ in 0..20 {
            thread::yield_now();
        }
        let readers = ends.map(|end| {
            go!(move || {
                let mut all = Vec::new();
                (&*end).read_to_end(&mut all).unwrap();
                all == pattern(9, 8 << 20)
            })
        });
        for reader in readers {
            assert!(reader.join().unwrap());
        }
        for writer in writers {
            writer.join().unwrap();
        }
    });
}

#[test]
fn nobody_listens() {
    on_each_worker_count(|| {
        let (closed, _kept) = closed_address();
        for _ in 0..50 {
            let error = TcpStream::connect(closed).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
        let attempts: Vec<_> = (0..50)
            .map(|_| go!(move || TcpStream::connect(closed).unwrap_err().kind()))
            .collect();
        for attempt in attempts {
            assert_eq!(attempt.join().unwrap(), ErrorKind::ConnectionRefused);
        }
    });
}

/// A peer that comes and goes before it is accepted is accepted all the same, and is at its end.
#[test]
fn a_peer_has_gone_before_it_is_accepted() {
    on_each_worker_count(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for n in 0..50u8 {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(&[n; 3]).unwrap();
            drop(client);
            let (mut accepted, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            accepted.read_to_end(&mut all).unwrap();
            assert_eq!(all, [n; 3]);
        }
    });
}

#[test]
fn a_runtime_ends_under_blocked_operations() {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let blocked = Arc::new(AtomicUsize::new(0));
        let mut peers = Vec::new();
        let mut handles = Vec::new();
        for n in 0..30 {
            let blocked = blocked.clone();
            let (stream, peer) = connection();
            let block = move || match n % 4 {
                0 => (&stream).read(&mut [0; 10]).map(drop),
                1 => stream.peek(&mut [0; 10]).map(drop),
                2 => (&stream).write_all(&vec![1; 64 << 20]),
                _ => TcpListener::bind("127.0.0.1:0")
                    .and_then(|listener| listener.accept())
                    .map(drop),
            };
            peers.push((n, peer));
            handles.push(runtime.spawn(move || {
                blocked.fetch_add(1, Ordering::AcqRel);
                block()
            }));
        }
        while blocked.load(Ordering::Acquire) < 30 {
            std::thread::yield_now();
        }
        runtime.shutdown();
        for handle in handles {
            assert!(handle.join().unwrap_err().is::<Cancelled>());
        }
        // Their sockets have been closed.
        for (n, mut peer) in peers {
            let rest = std::io::copy(&mut peer, &mut std::io::sink()).unwrap();
            assert_eq!(rest > 0, n % 4 == 2);
        }
    }
}

#[test]
fn a_listener_that_is_closed_resets_those_who_wait() {
    each_worker_count(|runtime| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..20)
            .map(|_| {
                runtime.spawn(move || {
                    let mut stream = TcpStream::connect(address)?;
                    // A connection that the listener's end takes by surprise is only told when it
                    // says something.
                    stream.write_all(b"hello")?;
                    stream.read(&mut [0; 10])
                })
            })
            .collect();
        runtime.run(|| {
            let (mut accepted, _) = listener.accept().unwrap();
            drop(listener);
            accepted.read_exact(&mut [0; 5]).unwrap();
        });
        for client in clients {
            match client.join().unwrap() {
                Ok(count) => assert_eq!(count, 0),
                Err(error) => assert!(
                    is_reset(&error) || error.kind() == ErrorKind::ConnectionRefused,
                    "{error}"
                ),
            }
        }
    });
}

/// A socket that keeps messages apart comes as a stream of TCP, as std takes it too. A read that was short tells nothing of the
/// messages behind it.
#[cfg(target_os = "linux")]
#[test]
fn messages_of_another_protocol_all_come() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    let pair = || {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (one, other) = socketpair(family, kind, SocketFlags::CLOEXEC, None).unwrap();
        (TcpStream::from(one), TcpStream::from(other))
    };
    on_each_worker_count(|| {
        let (mut reader, mut writer) = pair();
        // The first one is waited for, and the others are there when it has come.
        let first = go!(move || (reader.read(&mut [0; 100]).unwrap(), reader));
        thread::yield_now();
        for len in 1..=4 {
            writer.write_all(&pattern(1, len)).unwrap();
        }
        let (len, mut reader) = first.join().unwrap();
        assert_eq!(len, 1);
        assert_eq!(reader.read(&mut [0; 100]).unwrap(), 2);
        let read = roving::block_on(reader.read_async(&mut [0; 100]));
        assert_eq!(read.unwrap(), 3);
        let clone = reader.try_clone().unwrap();
        assert_eq!((&clone).read(&mut [0; 100]).unwrap(), 4);
    });
}
