//! The work, written once for green threads by their own API and for std's: the one mirrors the other, so a macro makes the same
//! code for both.
//!
//! A function does `count` operations and gives what one takes: nanoseconds, or bytes.

use std::fs;
use std::time::Duration;

pub(crate) const CONTENDERS: usize = 8;
pub(crate) const CONNECTIONS: usize = 100;

/// The nanoseconds of CPU time that the process has had.
pub(crate) fn cpu_nanos() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: there is room for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// The bytes of memory that the process has and shares with nobody.
pub(crate) fn anonymous_bytes() -> f64 {
    let sums = fs::read_to_string("/proc/self/smaps_rollup").expect("the system tells of memory");
    let line = sums
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse().ok()).unwrap_or(f64::NAN) * 1024.0
}

/// How long who has begun takes to wait for good.
pub(crate) const SETTLES: Duration = Duration::from_millis(100);

/// Threads that are there before memory is measured, so that what all share is there too.
pub(crate) const WARM: usize = 200;

macro_rules! work {
    ($thread:path, $sync:path, $net:path, $unix:path, $pipe:path, $unbounded:path) => {
        use super::work::{CONNECTIONS, CONTENDERS, SETTLES, WARM, anonymous_bytes, cpu_nanos};
        use std::hint::black_box;
        use std::io::{Read, Write};
        use std::mem;
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
        use std::time::{Duration, Instant};
        use $net as net;
        use $pipe as pipe;
        use $sync as sync;
        use $thread as thread;
        use $unbounded as unbounded;
        use $unix as unix;

        /// What does one row.
        fn common(what: &str) -> Option<fn(usize) -> f64> {
            Some(match what {
                "spawn and join" => spawn_join,
                "channel, ping-pong" => channel,
                "condvar, ping-pong" => condvar,
                "park and unpark, ping-pong" => park,
                "mutex, 8 contenders" => mutex,
                "yield, two in turn" => yields,
                "echo" => echo,
                "echo, 100 connections" => echo_of_many,
                "socket, a byte that is there" => socket,
                "pipe, a byte that is there" => bytes_in_pipe,
                "asleep" => |count| parked(count, || thread::sleep(LONG)),
                "parked" => |count| parked(count, || thread::park()),
                "at a channel" => |count| parked(count, at_channel),
                "at a condvar" => at_condvar,
                "at a socket" => |count| parked(count, at_socket),
                _ => return None,
            })
        }

        /// Longer than anything is measured.
        const LONG: Duration = Duration::from_secs(1000);

        fn each(start: Instant, count: usize) -> f64 {
            start.elapsed().as_nanos() as f64 / count as f64
        }

        fn spawn_join(count: usize) -> f64 {
            let start = Instant::now();
            for n in 0..count {
                assert_eq!(thread::spawn(move || n).join().unwrap(), n);
            }
            each(start, count)
        }

        fn channel(count: usize) -> f64 {
            let ((to, from_other), (to_other, from)) = (unbounded(), unbounded());
            let start = Instant::now();
            thread::scope(|scope| {
                scope.spawn(move || from.iter().for_each(|n: usize| to.send(n).unwrap()));
                for n in 0..count {
                    to_other.send(n).unwrap();
                    assert_eq!(from_other.recv(), Ok(n));
                }
                drop(to_other);
            });
            each(start, count)
        }

        fn condvar(count: usize) -> f64 {
            let (turn, changed) = (sync::Mutex::new(0), sync::Condvar::new());
            let play = |me: usize| {
                for _ in 0..count {
                    let turn = turn.lock().unwrap();
                    let mut turn = changed.wait_while(turn, |turn| *turn != me).unwrap();
                    *turn = 1 - me;
                    changed.notify_one();
                }
            };
            let start = Instant::now();
            thread::scope(|scope| {
                scope.spawn(|| play(1));
                play(0);
            });
            each(start, count)
        }

        fn park(count: usize) -> f64 {
            let ping = thread::current();
            let turn = Arc::new(AtomicBool::new(false));
            let its_turn = turn.clone();
            let start = Instant::now();
            let pong = thread::spawn(move || {
                for _ in 0..count {
                    while !its_turn.swap(false, Ordering::AcqRel) {
                        thread::park();
                    }
                    ping.unpark();
                }
            });
            for _ in 0..count {
                turn.store(true, Ordering::Release);
                pong.thread().unpark();
                thread::park();
            }
            pong.join().unwrap();
            each(start, count)
        }

        fn mutex(count: usize) -> f64 {
            let mutex = sync::Mutex::new(0);
            let start = Instant::now();
            thread::scope(|scope| {
                for _ in 0..CONTENDERS {
                    scope.spawn(|| {
                        for _ in 0..count / CONTENDERS {
                            *mutex.lock().unwrap() += 1;
                        }
                    });
                }
            });
            each(start, count)
        }

        fn yields(count: usize) -> f64 {
            let start = Instant::now();
            let partner = thread::spawn(move || (0..count / 2).for_each(|_| thread::yield_now()));
            (0..count / 2).for_each(|_| thread::yield_now());
            partner.join().unwrap();
            each(start, count)
        }

        /// An echo server, and clients that have it answer `count` times in all.
        fn echoes(connections: usize, count: usize, now: impl Fn() -> f64) -> f64 {
            let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let serve = |mut stream: net::TcpStream| {
                    stream.set_nodelay(true).unwrap();
                    let mut bytes = [0; 64];
                    while stream.read_exact(&mut bytes).is_ok() {
                        stream.write_all(&bytes).unwrap();
                    }
                };
                for _ in 0..connections {
                    let (stream, _) = listener.accept().unwrap();
                    thread::spawn(move || serve(stream));
                }
            });
            let mut clients = Vec::new();
            for _ in 0..connections {
                let stream = net::TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                clients.push(stream);
            }
            server.join().unwrap();
            let begun = now();
            thread::scope(|scope| {
                for mut stream in clients {
                    scope.spawn(move || {
                        let mut bytes = [0; 64];
                        for _ in 0..count / connections {
                            stream.write_all(&bytes).unwrap();
                            stream.read_exact(&mut bytes).unwrap();
                        }
                    });
                }
            });
            (now() - begun) / count as f64
        }

        fn echo(count: usize) -> f64 {
            let begun = Instant::now();
            echoes(1, count, || begun.elapsed().as_nanos() as f64)
        }

        fn echo_of_many(count: usize) -> f64 {
            echoes(CONNECTIONS, count, cpu_nanos)
        }

        fn pass(mut from: impl Write, mut to: impl Read, count: usize) -> f64 {
            let mut byte = [0];
            let start = Instant::now();
            for _ in 0..count {
                assert_eq!(from.write(&byte).unwrap(), 1);
                assert_eq!(to.read(&mut byte).unwrap(), 1);
            }
            each(start, count)
        }

        fn socket(count: usize) -> f64 {
            let (from, to) = unix::UnixStream::pair().unwrap();
            pass(from, to, count)
        }

        fn bytes_in_pipe(count: usize) -> f64 {
            let (to, from) = pipe().unwrap();
            pass(from, to, count)
        }

        /// The bytes that a thread takes which has done nothing but to wait.
        fn parked(count: usize, wait: fn()) -> f64 {
            let begun = Arc::new(AtomicUsize::new(0));
            let spawn = |count| {
                for _ in 0..count {
                    let begun = begun.clone();
                    thread::spawn(move || {
                        begun.fetch_add(1, Ordering::Relaxed);
                        wait();
                    });
                }
            };
            let have_begun = |count| {
                while begun.load(Ordering::Relaxed) < count {
                    thread::sleep(Duration::from_millis(1));
                }
                thread::sleep(SETTLES);
            };
            spawn(WARM);
            have_begun(WARM);
            let before = anonymous_bytes();
            spawn(count);
            have_begun(WARM + count);
            (anonymous_bytes() - before) / count as f64
        }

        fn at_channel() {
            let (sender, receiver) = unbounded::<()>();
            black_box(&receiver).recv().unwrap();
            drop(sender);
        }

        fn at_condvar(count: usize) -> f64 {
            static MUTEX: sync::Mutex<()> = sync::Mutex::new(());
            static CONDVAR: sync::Condvar = sync::Condvar::new();
            parked(count, || {
                let guard = MUTEX.lock().unwrap();
                drop(CONDVAR.wait_while(guard, |()| true));
            })
        }

        fn at_socket() {
            let (from, mut to) = unix::UnixStream::pair().unwrap();
            to.read_exact(&mut [0]).unwrap();
            mem::forget(from);
        }
    };
}

pub(crate) use work;
