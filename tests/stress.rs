//! Sockets under stress: much in release, little in debug.
//!
//! - storms of connections that come and go, in order and by resets, at every moment of a
//!   conversation
//! - timeouts that race readiness
//! - sockets shared by many threads, of several runtimes and of none
//! - runtimes that end in the middle of it

mod common;

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{
    connection, each_worker_count, on_each_worker_count, pattern, runtime, stacks_returned,
    watchdog,
};
use roving::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use roving::{go, thread};

const SCALE: usize = if cfg!(any(
    feature = "address-sanitizer",
    feature = "thread-sanitizer"
)) {
    4
} else if cfg!(debug_assertions) {
    1
} else {
    20
};

/// Marsaglia's xorshift64: numbers that differ from thread to thread and are the same in each run.
struct Random(u64);

impl Random {
    fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// What a connection may end with when its peer behaves badly.
fn is_end(error: &std::io::Error) -> bool {
    [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind())
}

/// Echoes until the peer has enough, or leaves at random.
fn echo(mut stream: TcpStream, seed: usize, leaves: bool) {
    let mut random = Random::new(seed);
    let mut buffer = vec![0; 1 + random.below(5000)];
    loop {
        if leaves && random.below(20) == 0 {
            return;
        }
        let room = 1 + random.below(buffer.len());
        let count = match stream.read(&mut buffer[..room]) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) => return assert!(is_end(&error), "{error}"),
        };
        if let Err(error) = stream.write_all(&buffer[..count]) {
            return assert!(is_end(&error), "{error}");
        }
    }
}

/// A server that accepts `clients` connections, and ends with the last of them.
fn serve(listener: TcpListener, clients: usize, leaves: bool) {
    let left = Arc::new(AtomicUsize::new(0));
    for seed in 0..clients {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let left = left.clone();
        left.fetch_add(1, Ordering::AcqRel);
        go!(move || {
            echo(stream, seed, leaves);
            left.fetch_sub(1, Ordering::AcqRel);
        });
    }
    while left.load(Ordering::Acquire) > 0 {
        thread::yield_now();
    }
}

/// Talks, checks every byte, and ends at random: at the end, in the middle, with data unread.
/// `false` if the server left first.
fn converse(address: SocketAddr, seed: usize) -> bool {
    let mut random = Random::new(seed);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    for round in 0..1 + random.below(8) {
        let message = pattern(seed + round, 1 + random.below(2000));
        if let Err(error) = stream.write_all(&message) {
            assert!(is_end(&error), "{error}");
            return false;
        }
        if random.below(10) == 0 {
            return true;
        }
        let mut answer = vec![0; message.len()];
        if let Err(error) = stream.read_exact(&mut answer) {
            let early = error.kind() == ErrorKind::UnexpectedEof;
            assert!(early || is_end(&error), "{error}");
            return false;
        }
        assert_eq!(answer, message);
        if random.below(4) == 0 {
            thread::yield_now();
        }
    }
    true
}

fn storm(leaves: bool) {
    each_worker_count(|runtime| {
        const CLIENTS: usize = 20;
        let times = 10 * SCALE;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = runtime.spawn(move || serve(listener, CLIENTS * times, leaves));
        let client = move |n: usize| {
            move || {
                let conversations = (0..times).map(|time| converse(address, n * times + time));
                conversations.filter(|served| *served).count()
            }
        };
        let green: Vec<_> = (2..CLIENTS).map(|n| runtime.spawn(client(n))).collect();
        let plain: Vec<_> = (0..2).map(|n| std::thread::spawn(client(n))).collect();
        let mut served: usize = green.into_iter().map(|c| c.join().unwrap()).sum();
        served += plain.into_iter().map(|c| c.join().unwrap()).sum::<usize>();
        server.join().unwrap();
        assert!(served == CLIENTS * times || leaves && served > 0);
    });
}

#[test]
fn connections_come_and_go() {
    storm(false);
}

#[test]
fn servers_leave_in_the_middle() {
    storm(true);
}

#[test]
fn resets_in_the_middle_of_writes() {
    on_each_worker_count(|| {
        let pairs: Vec<_> = (0..10 * SCALE)
            .map(|seed| {
                go!(move || {
                    let mut random = Random::new(seed);
                    let (mut writer, mut reader) = connection();
                    let writes = go!(move || {
                        let mut sent = 0;
                        loop {
                            match writer.write(&vec![1; 100_000]) {
                                Ok(count) => sent += count,
                                Err(error) => {
                                    assert!(is_end(&error), "{error}");
                                    return sent;
                                }
                            }
                        }
                    });
                    let mut buffer = vec![0; 1 + random.below(100_000)];
                    let mut received = 0;
                    for _ in 0..random.below(30) {
                        received += reader.read(&mut buffer).unwrap();
                    }
                    drop(reader);
                    assert!(writes.join().unwrap() >= received);
                })
            })
            .collect();
        pairs.into_iter().for_each(|p| p.join().unwrap());
    });
}

#[test]
fn timeouts_race_readiness() {
    on_each_worker_count(|| {
        let pairs: Vec<_> = (0..10)
            .map(|seed| {
                go!(move || {
                    let (mut reader, mut writer) = connection();
                    let total = 50 * SCALE;
                    let writes = go!(move || {
                        let mut random = Random::new(seed);
                        for byte in pattern(seed, total) {
                            thread::sleep(Duration::from_micros(random.below(100) as u64));
                            writer.write_all(&[byte]).unwrap();
                        }
                    });
                    let mut random = Random::new(seed + 100);
                    let mut received = Vec::new();
                    loop {
                        let timeout = Duration::from_micros(1 + random.below(100) as u64);
                        reader.set_read_timeout(Some(timeout)).unwrap();
                        let mut buffer = [0; 3];
                        match reader.read(&mut buffer) {
                            Ok(0) => break,
                            Ok(count) => received.extend_from_slice(&buffer[..count]),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                    }
                    assert_eq!(received, pattern(seed, total));
                    writes.join().unwrap();
                })
            })
            .collect();
        pairs.into_iter().for_each(|p| p.join().unwrap());
    });
}

/// Readers and writers of three runtimes and of none share connections, each counting what it
/// moved.
#[test]
fn many_share_a_socket() {
    each_worker_count(|first| {
        let second = runtime(2);
        for _ in 0..SCALE {
            let (one, other) = connection();
            let (writer, reader) = (Arc::new(one), Arc::new(other));
            let write = |seed: usize| {
                let writer = writer.clone();
                move || {
                    let mut random = Random::new(seed);
                    let mut total = 0;
                    for _ in 0..50 {
                        let piece = vec![1; 1 + random.below(20_000)];
                        (&*writer).write_all(&piece).unwrap();
                        total += piece.len();
                    }
                    total
                }
            };
            let read = |seed: usize| {
                let reader = reader.clone();
                move || {
                    let mut random = Random::new(seed);
                    let mut total = 0;
                    loop {
                        let mut buffer = vec![0; 1 + random.below(20_000)];
                        match (&*reader).read(&mut buffer).unwrap() {
                            0 => return total,
                            count => total += count,
                        }
                    }
                }
            };
            let readers = [
                first.spawn(read(1)),
                first.spawn(read(2)),
                second.spawn(read(3)),
            ];
            let plain_reader = std::thread::spawn(read(4));
            let writers = [first.spawn(write(5)), second.spawn(write(6))];
            let plain_writer = std::thread::spawn(write(7));
            let mut written = plain_writer.join().unwrap();
            written += writers
                .into_iter()
                .map(|w| w.join().unwrap())
                .sum::<usize>();
            writer.shutdown(Shutdown::Write).unwrap();
            let mut received = plain_reader.join().unwrap();
            received += readers
                .into_iter()
                .map(|r| r.join().unwrap())
                .sum::<usize>();
            assert_eq!(received, written);
        }
    });
}

#[test]
fn runtimes_end_in_the_middle() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    for round in 0..20 * SCALE {
        let ending = runtime(1 + round % 3);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = ending.spawn(move || serve(listener, usize::MAX, round % 2 == 0));
        let clients: Vec<_> = (0..5)
            .map(|n| {
                ending.spawn(move || {
                    for time in 0.. {
                        converse(address, n * 1000 + time);
                    }
                })
            })
            .collect();
        // Lets them get somewhere, each time somewhere else.
        ending.run(|| {
            for _ in 0..round {
                thread::yield_now();
            }
            thread::sleep(Duration::from_micros(round as u64 * 31 % 2000));
        });
        ending.shutdown();
        // Whoever finds the others gone, or the runtime closed, before it is itself unwound panics.
        assert!(server.join().is_err());
        assert!(clients.into_iter().all(|client| client.join().is_err()));
    }
}
