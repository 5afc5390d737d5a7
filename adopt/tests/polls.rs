//! Waiting for many descriptors, in a program that is adopted.

mod common;

use std::ffi::c_int;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{MANY, in_adopted_programs, is_the_same, or_error, os_threads};
use libc::{POLLHUP, POLLIN, POLLNVAL, POLLOUT, c_short, pollfd, timespec, timeval};

const SOON: Duration = Duration::from_millis(30);

fn poll(fds: &mut [pollfd], timeout: c_int) -> Result<i64, i32> {
    // SAFETY: there are as many.
    or_error(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as _, timeout) })
}

fn asked(fd: &impl AsRawFd, events: c_short) -> pollfd {
    pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    }
}

#[test]
fn many_poll_two_each() {
    in_adopted_programs("many_poll_two_each", || {
        let threads: Vec<_> = (0..MANY)
            .map(|n| {
                let (one, mut one_end) = UnixStream::pair().unwrap();
                let (other, mut other_end) = UnixStream::pair().unwrap();
                let polls = thread::spawn(move || {
                    let mut fds = [asked(&one, POLLIN), asked(&other, POLLIN)];
                    assert_eq!(poll(&mut fds, -1), Ok(1));
                    fds.map(|fd| fd.revents)
                });
                let wakes = move || {
                    if n % 2 == 0 {
                        one_end.write_all(b"x").unwrap();
                    } else {
                        other_end.write_all(b"x").unwrap();
                    }
                    (one_end, other_end)
                };
                (polls, wakes)
            })
            .collect();
        thread::sleep(SOON);
        assert!(os_threads() < MANY / 2, "{} OS threads", os_threads());
        for (n, (polls, wakes)) in threads.into_iter().enumerate() {
            let _ends = wakes();
            let expected = if n % 2 == 0 { [POLLIN, 0] } else { [0, POLLIN] };
            assert_eq!(polls.join().unwrap(), expected);
        }
    });
}

#[test]
fn a_poll_tells_the_same() {
    is_the_same("a_poll_tells_the_same", || {
        let (one, other) = UnixStream::pair().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let mut told = Vec::new();
        let mut fds = [
            asked(&one, POLLIN),
            asked(&one, POLLOUT),
            asked(&reader, POLLIN),
            asked(&writer, POLLIN | POLLOUT),
            asked(&file, POLLIN),
            asked(&one, 0),
        ];
        told.push(poll(&mut fds, 1000));
        told.push(poll(&mut fds[..1], 20));
        told.push(poll(&mut fds[5..], 20));
        told.push(poll(&mut [], 20));
        drop(other);
        drop(writer);
        told.push(poll(&mut fds[..3], -1));
        told.push(poll(&mut fds[5..], -1));
        let closed = reader.as_raw_fd();
        drop(reader);
        let mut gone = [pollfd {
            fd: closed,
            events: POLLIN,
            revents: 0,
        }];
        told.push(poll(&mut gone, -1));
        assert_eq!(gone[0].revents, POLLNVAL);
        // SAFETY: there are none to be looked at.
        told.push(or_error(unsafe { libc::poll(ptr::null_mut(), 1, 10) }));
        let past = timespec {
            tv_sec: -1,
            tv_nsec: 0,
        };
        // SAFETY: there are as many, and the time is one.
        told.push(or_error(unsafe {
            libc::ppoll(fds.as_mut_ptr(), 1, &raw const past, ptr::null())
        }));
        assert_ne!(fds[0].revents & POLLHUP, 0);
        (told, fds.map(|fd| fd.revents))
    });
}

#[test]
fn a_select_tells_the_same() {
    is_the_same("a_select_tells_the_same", || {
        let (one, mut other) = UnixStream::pair().unwrap();
        let fd = one.as_raw_fd();
        let select = |reads: bool, writes: bool, micros: i64| {
            // SAFETY: sets of the usual size, and a time.
            unsafe {
                let mut sets: [libc::fd_set; 2] = std::mem::zeroed();
                if reads {
                    libc::FD_SET(fd, &mut sets[0]);
                }
                if writes {
                    libc::FD_SET(fd, &mut sets[1]);
                }
                let mut time = timeval {
                    tv_sec: 0,
                    tv_usec: micros,
                };
                let [reads, writes] = &mut sets;
                let result = or_error(libc::select(
                    fd + 1,
                    reads,
                    writes,
                    ptr::null_mut(),
                    &raw mut time,
                ));
                let is_set = sets.map(|set| libc::FD_ISSET(fd, &raw const set));
                (result, is_set, time.tv_usec == 0)
            }
        };
        let mut told = vec![
            select(true, false, 0),
            select(true, false, 20_000),
            select(true, true, 1000),
            select(false, false, 1000),
            select(true, false, -1),
        ];
        let writes = thread::spawn(move || {
            thread::sleep(SOON);
            other.write_all(b"x").unwrap();
            other
        });
        told.push(select(true, false, 900_000));
        drop(writes.join().unwrap());
        // SAFETY: there are none.
        let none = unsafe {
            or_error(libc::select(
                -1,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            ))
        };
        (told, none)
    });
}

#[test]
fn a_select_of_all_that_could_be_touches_what_there_is() {
    #[repr(C)]
    struct Sets {
        reads: libc::fd_set,
        counter: [u64; 64],
    }
    in_adopted_programs(
        "a_select_of_all_that_could_be_touches_what_there_is",
        || {
            let (reads, mut writes) = io::pipe().unwrap();
            // SAFETY: zeroes are an empty set.
            let mut sets: Sets = unsafe { mem::zeroed() };
            let counter = &raw mut sets.counter[0];
            // SAFETY: the number is one that a set has room for.
            unsafe { libc::FD_SET(reads.as_raw_fd(), &raw mut sets.reads) };
            let counter = counter.expose_provenance();
            let counts = thread::spawn(move || {
                for _ in 0..50 {
                    thread::sleep(Duration::from_millis(1));
                    let counter = ptr::with_exposed_provenance_mut::<u64>(counter);
                    // SAFETY: it is there until this thread is joined, and nobody else writes to it.
                    unsafe { counter.write_volatile(counter.read_volatile() + 1) };
                }
                writes.write_all(b"1").unwrap();
            });
            // SAFETY: the set has room for all descriptors that there are.
            let found = unsafe {
                libc::select(
                    5000,
                    &raw mut sets.reads,
                    ptr::null_mut(),
                    ptr::null_mut(),
                    ptr::null_mut(),
                )
            };
            counts.join().unwrap();
            assert_eq!((found, sets.counter[0]), (1, 50));
        },
    );
}

#[test]
fn polls_end_in_time() {
    in_adopted_programs("polls_end_in_time", || {
        let (one, _other) = UnixStream::pair().unwrap();
        let begin = Instant::now();
        assert_eq!(poll(&mut [asked(&one, POLLIN)], 30), Ok(0));
        assert!(begin.elapsed() >= SOON);
    });
}

#[test]
fn instances_of_epoll_wait() {
    in_adopted_programs("instances_of_epoll_wait", || {
        let threads: Vec<_> = (0..MANY)
            .map(|_| {
                let (one, other) = UnixStream::pair().unwrap();
                // SAFETY: it is made, or it is not.
                let epoll = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(0)) };
                let mut event = libc::epoll_event {
                    events: libc::EPOLLIN as u32,
                    u64: 7,
                };
                // SAFETY: both are open, and there is an event.
                let added = unsafe {
                    libc::epoll_ctl(
                        epoll.as_raw_fd(),
                        libc::EPOLL_CTL_ADD,
                        one.as_raw_fd(),
                        &raw mut event,
                    )
                };
                assert_eq!(added, 0);
                let waits = thread::spawn(move || {
                    let mut count = 0;
                    for _ in 0..3 {
                        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
                        // SAFETY: there is room for as many.
                        let found = unsafe {
                            libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), 4, -1)
                        };
                        assert_eq!((found, { events[0].u64 }), (1, 7));
                        count += (&one).read(&mut [0]).unwrap();
                    }
                    count
                });
                (waits, other)
            })
            .collect();
        thread::sleep(SOON);
        assert!(os_threads() < MANY / 2, "{} OS threads", os_threads());
        for (waits, mut other) in threads {
            other.write_all(b"xxx").unwrap();
            assert_eq!(waits.join().unwrap(), 3);
        }
    });
}

#[test]
fn connecting_has_a_time_limit() {
    in_adopted_programs("connecting_has_a_time_limit", || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(9)).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        drop(listener);
        let error = TcpStream::connect_timeout(&address, Duration::from_secs(9)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn who_polls_is_woken_by_a_close() {
    in_adopted_programs("who_polls_is_woken_by_a_close", || {
        let (one, _other) = UnixStream::pair().unwrap();
        let one = Arc::new(one);
        let fd = one.as_raw_fd();
        // The runtime has all descriptors of its own, and none of them gets this number.
        let mut fds = [pollfd {
            fd,
            events: POLLIN,
            revents: 0,
        }];
        assert_eq!(poll(&mut fds, 1), Ok(0));
        let polls = thread::spawn(move || {
            let mut fds = [pollfd {
                fd,
                events: POLLIN,
                revents: 0,
            }];
            (poll(&mut fds, -1), fds[0].revents)
        });
        thread::sleep(SOON);
        drop(one);
        assert_eq!(polls.join().unwrap(), (Ok(1), POLLNVAL));
    });
}

/// A runtime of others, whose workers are green threads then.
#[test]
fn tokio_runs_inside() {
    in_adopted_programs("tokio_runs_inside", || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let served: usize = runtime.block_on(async {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};

            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(async move {
                        let mut buf = [0; 5];
                        stream.read_exact(&mut buf).await.unwrap();
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        stream.write_all(&buf).await.unwrap();
                    });
                }
            });
            let mut served = 0;
            let asks: Vec<_> = (0..50)
                .map(|_| {
                    tokio::spawn(async move {
                        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                        stream.write_all(b"hello").await.unwrap();
                        let mut buf = [0; 5];
                        stream.read_exact(&mut buf).await.unwrap();
                        buf.len()
                    })
                })
                .collect();
            for asks in asks {
                served += asks.await.unwrap();
            }
            served
        });
        assert_eq!(served, 250);
        // Its workers end.
        drop(runtime);
    });
}
