//! Numbers that come to stand for other descriptors while they are waited for, in a program that is adopted.

mod common;

use std::ffi::{CString, c_int, c_void};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{in_adopted_programs, in_programs, on_a_green_thread, or_error};

const SOON: Duration = Duration::from_millis(20);

/// What a read of one byte gives.
fn read(fd: RawFd) -> Result<i64, i32> {
    let mut byte = 0_u8;
    // SAFETY: there is room for it.
    or_error(unsafe { libc::read(fd, (&raw mut byte).cast::<c_void>(), 1) } as i64)
}

fn close(fd: RawFd) -> Result<i64, i32> {
    // SAFETY: the test's own.
    or_error(unsafe { libc::close(fd) })
}

fn pair() -> (RawFd, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    (one.into_raw_fd(), other)
}

/// Takes the number of a descriptor of the test's own.
type Way = fn(RawFd);

/// Ways to take a number from a descriptor that is waited for. Each leaves the number closed.
fn ways() -> Vec<(&'static str, Way)> {
    vec![
        ("close", |fd| {
            close(fd).unwrap();
        }),
        ("the system call close", |fd| {
            // SAFETY: the test's own.
            assert_eq!(unsafe { libc::syscall(libc::SYS_close, fd) }, 0);
        }),
        ("close_range", |fd| {
            // SAFETY: the test's own.
            let closed = unsafe { libc::close_range(fd as u32, fd as u32, 0) };
            assert_eq!(closed, 0);
        }),
        ("dup2", |fd| {
            // SAFETY: the test's own.
            unsafe {
                assert_eq!(libc::dup2(2, fd), fd);
            }
            close(fd).unwrap();
        }),
        ("dup3", |fd| {
            // SAFETY: the test's own.
            unsafe {
                assert_eq!(libc::dup3(2, fd, libc::O_CLOEXEC), fd);
            }
            close(fd).unwrap();
        }),
        ("fclose", |fd| {
            let mode = CString::new("r+").unwrap();
            // SAFETY: a stream of the test's own descriptor.
            unsafe {
                let stream = libc::fdopen(fd, mode.as_ptr());
                assert_eq!(libc::fclose(stream), 0);
            }
        }),
        ("freopen", |fd| {
            let (path, mode) = (
                CString::new("/dev/null").unwrap(),
                CString::new("r").unwrap(),
            );
            // SAFETY: a stream of the test's own descriptor.
            unsafe {
                let stream = libc::fdopen(fd, mode.as_ptr());
                let stream = libc::freopen(path.as_ptr(), mode.as_ptr(), stream);
                assert_eq!(libc::fclose(stream), 0);
            }
        }),
    ]
}

#[test]
fn who_waits_finds_its_descriptor_gone() {
    in_adopted_programs("who_waits_finds_its_descriptor_gone", || {
        for (way, takes) in ways() {
            let (fd, _other) = pair();
            let reads = thread::spawn(move || read(fd));
            thread::sleep(SOON);
            takes(fd);
            assert_eq!(reads.join().unwrap(), Err(libc::EBADF), "{way}");
        }
    });
}

#[test]
fn whoever_gets_a_number_next_waits_for_its_own() {
    in_adopted_programs("whoever_gets_a_number_next_waits_for_its_own", || {
        for (way, takes) in ways() {
            let (fd, mut other) = pair();
            // It has been waited for.
            let reads = thread::spawn(move || read(fd));
            thread::sleep(SOON);
            other.write_all(b"x").unwrap();
            assert_eq!(reads.join().unwrap(), Ok(1));
            takes(fd);
            let (next, mut other) = pair();
            assert_eq!(next, fd, "{way}");
            let reads = thread::spawn(move || read(next));
            thread::sleep(SOON);
            other.write_all(b"x").unwrap();
            assert_eq!(reads.join().unwrap(), Ok(1), "{way}");
            close(next).unwrap();
        }
    });
}

/// Closed by the system call alone, of which nobody is told.
fn close_unseen(fd: RawFd) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it closes a descriptor of the test's own.
    unsafe {
        std::arch::asm!(
            "syscall",
            inout("rax") libc::SYS_close => _,
            in("rdi") i64::from(fd),
            out("rcx") _,
            out("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: it closes a descriptor of the test's own.
    unsafe {
        std::arch::asm!("svc 0", in("x8") libc::SYS_close, inout("x0") i64::from(fd) => _);
    }
}

#[test]
fn a_descriptor_that_was_replaced_unseen_is_found_out() {
    in_adopted_programs("a_descriptor_that_was_replaced_unseen_is_found_out", || {
        let waits_and_is_woken = |fd: RawFd, mut other: &UnixStream| {
            let reads = thread::spawn(move || read(fd));
            thread::sleep(SOON);
            other.write_all(b"x").unwrap();
            assert_eq!(reads.join().unwrap(), Ok(1));
        };
        let (fd, other) = pair();
        waits_and_is_woken(fd, &other);
        close_unseen(fd);
        // Another one, which is not known to be in non-blocking mode.
        let (one, mut other) = UnixStream::pair().unwrap();
        assert_eq!(one.as_raw_fd(), fd);
        one.set_nonblocking(true).unwrap();
        assert_eq!(read(fd), Err(libc::EAGAIN));
        one.set_nonblocking(false).unwrap();
        waits_and_is_woken(fd, &other);
        let fd = one.into_raw_fd();
        close_unseen(fd);
        // And one that is no socket.
        let mut pipe = [0; 2];
        // SAFETY: there is room for two.
        assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
        assert_eq!(pipe[0], fd);
        let reads = thread::spawn(move || read(fd));
        thread::sleep(SOON);
        // SAFETY: there is a byte.
        assert_eq!(unsafe { libc::write(pipe[1], b"x".as_ptr().cast(), 1) }, 1);
        assert_eq!(reads.join().unwrap(), Ok(1));
        other.write_all(b"x").unwrap_err();
        pipe.into_iter().for_each(|fd| assert_eq!(close(fd), Ok(0)));
    });
}

#[test]
fn who_relies_on_a_descriptor_that_was_replaced_unseen_is_woken() {
    in_adopted_programs(
        "who_relies_on_a_descriptor_that_was_replaced_unseen_is_woken",
        || {
            let (fd, mut other) = pair();
            // From the second time on it is relied on.
            for _ in 0..3 {
                let reads = thread::spawn(move || read(fd));
                thread::sleep(SOON);
                other.write_all(b"x").unwrap();
                assert_eq!(reads.join().unwrap(), Ok(1));
            }
            let all: Vec<_> = (0..2).map(|_| pair()).collect();
            close_unseen(fd);
            let (next, mut other) = pair();
            assert_eq!(next, fd);
            let reads = thread::spawn(move || read(fd));
            thread::sleep(SOON);
            other.write_all(b"x").unwrap();
            assert_eq!(reads.join().unwrap(), Ok(1));
            // And whoever waits for others, which have not been replaced.
            for (fd, mut other) in all {
                for _ in 0..3 {
                    let reads = thread::spawn(move || read(fd));
                    thread::sleep(SOON);
                    other.write_all(b"x").unwrap();
                    assert_eq!(reads.join().unwrap(), Ok(1));
                }
                close(fd).unwrap();
            }
        },
    );
}

/// The edges of a descriptor go to one place. Who finds them taken blocks, each time that it waits.
#[test]
fn a_descriptor_of_the_runtimes_own_is_read_too() {
    in_adopted_programs("a_descriptor_of_the_runtimes_own_is_read_too", || {
        let (mut reader, mut writer) = roving_io::io::pipe().unwrap();
        let fd = reader.as_raw_fd();
        let waits = thread::spawn(move || {
            reader.read_exact(&mut [0]).unwrap();
            reader
        });
        thread::sleep(SOON);
        writer.write_all(b"x").unwrap();
        let _reader = waits.join().unwrap();
        for _ in 0..3 {
            let reads = thread::spawn(move || read(fd));
            thread::sleep(SOON);
            writer.write_all(b"x").unwrap();
            assert_eq!(reads.join().unwrap(), Ok(1));
        }
    });
}

#[test]
fn descriptors_that_are_passed_are_waited_for() {
    in_adopted_programs("descriptors_that_are_passed_are_waited_for", || {
        let (one, other) = UnixStream::pair().unwrap();
        for _ in 0..50 {
            let (passed, mut end) = UnixStream::pair().unwrap();
            send_descriptor(&one, passed.as_raw_fd());
            drop(passed);
            let got = receive_descriptor(&other);
            let reads = thread::spawn(move || {
                let read = read(got);
                close(got).unwrap();
                read
            });
            thread::sleep(Duration::from_millis(1));
            end.write_all(b"x").unwrap();
            assert_eq!(reads.join().unwrap(), Ok(1));
        }
    });
}

fn message(bytes: &mut libc::iovec, control: &mut [u64; 4]) -> libc::msghdr {
    // SAFETY: all zero is a message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: it computes.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<c_int>() as u32) } as _;
    message
}

fn send_descriptor(socket: &UnixStream, fd: RawFd) {
    let (mut byte, mut control) = (1_u8, [0; 4]);
    let mut bytes = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let message = message(&mut bytes, &mut control);
    // SAFETY: there is room for one descriptor.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<c_int>() as u32) as _;
        libc::CMSG_DATA(header).cast::<c_int>().write_unaligned(fd);
        assert_eq!(libc::sendmsg(socket.as_raw_fd(), &raw const message, 0), 1);
    }
}

fn receive_descriptor(socket: &UnixStream) -> RawFd {
    let (mut byte, mut control) = (0_u8, [0; 4]);
    let mut bytes = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let mut message = message(&mut bytes, &mut control);
    // SAFETY: there is room for one descriptor, which comes.
    unsafe {
        assert_eq!(libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0), 1);
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        libc::CMSG_DATA(header).cast::<c_int>().read_unaligned()
    }
}

/// Servers and clients that close whenever they like, on numbers that are used again at once.
#[test]
fn numbers_are_used_again_and_again() {
    in_adopted_programs("numbers_are_used_again_and_again", || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let serves = {
            let ends = ends.clone();
            thread::spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    let (mut stream, _) = listener.accept().unwrap();
                    thread::spawn(move || {
                        let mut buf = [0; 64];
                        while let Ok(len @ 1..) = stream.read(&mut buf) {
                            if stream.write_all(&buf[..len]).is_err() {
                                return;
                            }
                        }
                    });
                }
            })
        };
        let clients: Vec<_> = (0..20_u8)
            .map(|n| {
                thread::spawn(move || {
                    for round in 0..100_u8 {
                        let mut stream = TcpStream::connect(address).unwrap();
                        for turn in 0..3 {
                            let sent = [n, round, turn];
                            stream.write_all(&sent).unwrap();
                            let mut got = [0; 3];
                            stream.read_exact(&mut got).unwrap();
                            assert_eq!(got, sent);
                        }
                        if round % 7 == 0 {
                            // A clone of it is waited for when it is closed.
                            let mut clone = stream.try_clone().unwrap();
                            let reads = thread::spawn(move || clone.read(&mut [0]));
                            stream.shutdown(Shutdown::Both).unwrap();
                            drop(stream);
                            assert_eq!(reads.join().unwrap().unwrap_or(0), 0);
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        ends.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(address).unwrap());
        serves.join().unwrap();
    });
}

#[test]
fn a_duplicate_outlives_what_is_closed() {
    in_adopted_programs("a_duplicate_outlives_what_is_closed", || {
        let (fd, mut other) = pair();
        // SAFETY: the test's own.
        let clone = unsafe { UnixStream::from_raw_fd(fd) }.try_clone().unwrap();
        let mut reading = clone.try_clone().unwrap();
        let reads = thread::spawn(move || reading.read(&mut [0]).unwrap());
        thread::sleep(SOON);
        drop(clone);
        other.write_all(b"x").unwrap();
        assert_eq!(reads.join().unwrap(), 1);
    });
}

#[test]
fn what_is_closed_when_another_program_is_executed_stays_until_then() {
    in_adopted_programs(
        "what_is_closed_when_another_program_is_executed_stays_until_then",
        || {
            let (fd, mut other) = pair();
            let reads = thread::spawn(move || read(fd));
            thread::sleep(SOON);
            const CLOSE_RANGE_CLOEXEC: c_int = 4;
            let number = libc::SYS_close_range;
            // SAFETY: all stay open.
            let marked = unsafe { libc::syscall(number, 3, c_int::MAX, CLOSE_RANGE_CLOEXEC) };
            assert_eq!(marked, 0);
            thread::sleep(SOON);
            other.write_all(b"1").unwrap();
            assert_eq!(reads.join().unwrap(), Ok(1));
            // Those of the driver stay open even so.
            // SAFETY: none of those that are above all of the test's is used any more.
            assert_eq!(unsafe { libc::syscall(number, 200, c_int::MAX, 0) }, 0);
            thread::spawn(|| thread::sleep(SOON)).join().unwrap();
        },
    );
}

#[test]
fn a_green_thread_has_no_descriptors_of_its_own() {
    in_programs("a_green_thread_has_no_descriptors_of_its_own", || {
        const UNSHARE: c_int = 2;
        let closes = |fd: c_int| {
            // SAFETY: the test's own; or nothing is closed.
            or_error(unsafe { libc::close_range(fd as u32, fd as u32, UNSHARE) })
        };
        // SAFETY: it changes nothing that is open.
        let unshares = || or_error(unsafe { libc::unshare(libc::CLONE_FILES) });
        // SAFETY: it changes nothing.
        let is_open = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
        let (one, mut other) = UnixStream::pair().unwrap();
        let fd = one.as_raw_fd();
        on_a_green_thread(move || {
            assert_eq!(closes(fd), Err(libc::EINVAL));
            assert_eq!(unshares(), Err(libc::EINVAL));
            assert!(is_open(fd));
        });
        let reader = thread::spawn(move || {
            let mut byte = [0];
            (&one).read_exact(&mut byte).map(|()| one).unwrap()
        });
        thread::sleep(Duration::from_millis(10));
        // An OS thread has them from then on, and who waits goes on waiting.
        assert_eq!(closes(fd), Ok(0));
        assert!(!is_open(fd));
        other.write_all(&[1]).unwrap();
        let one = reader.join().unwrap();
        assert!(
            thread::spawn(move || is_open(one.as_raw_fd()))
                .join()
                .unwrap()
        );
        // In a child of one thread they are nobody else's.
        let forks = thread::spawn(move || {
            // SAFETY: the child calls what may be called in one.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let closed = closes(0) == Ok(0) && !is_open(0) && unshares() == Ok(0);
                // SAFETY: it ends the child here.
                unsafe { libc::_exit(if closed { 42 } else { 1 }) };
            }
            let mut status = 0;
            // SAFETY: there is room for the answer.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 42 << 8);
        });
        forks.join().unwrap();
    });
}

#[test]
fn what_was_known_of_a_descriptor_is_not_of_the_next() {
    in_adopted_programs("what_was_known_of_a_descriptor_is_not_of_the_next", || {
        loop {
            let mut ends = [0; 2];
            // SAFETY: there is room for both.
            assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
            let byte = 1_u8;
            // SAFETY: it is there.
            let written = unsafe { libc::write(ends[1], (&raw const byte).cast(), 1) };
            assert_eq!(written, 1);
            assert_eq!(read(ends[0]), Ok(1));
            assert_eq!(close(ends[0]), Ok(0));
            let (one, _other) = UnixStream::pair().unwrap();
            let is_next = one.as_raw_fd() == ends[0];
            one.set_read_timeout(Some(SOON)).unwrap();
            assert_eq!(read(one.as_raw_fd()), Err(libc::EAGAIN));
            assert_eq!(close(ends[1]), Ok(0));
            if is_next {
                return;
            }
        }
    });
}

/// What of the system's own objects there are descriptors of.
fn of_no_file() -> Vec<RawFd> {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = all.filter_map(|entry| {
        let entry = entry.unwrap();
        let is_of_no_file = std::fs::read_link(entry.path())
            .is_ok_and(|link| link.to_str().unwrap().starts_with("anon_inode:[event"))
            || std::fs::read_link(entry.path())
                .is_ok_and(|link| link.to_str().unwrap() == "anon_inode:[timerfd]");
        let number = entry.file_name().to_str().unwrap().parse().unwrap();
        is_of_no_file.then_some(number)
    });
    numbers.collect()
}

#[test]
fn those_of_the_driver_are_not_there() {
    in_programs("those_of_the_driver_are_not_there", || {
        roving_adopt::adopt().unwrap();
        let before = of_no_file();
        // The first that waits does so by functions of the runtime's own.
        let listener = roving_io::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepts = roving_scheduler::thread::spawn(move || listener.accept().is_ok());
        // Until all are there, however long that takes.
        let mut of_driver = Vec::new();
        loop {
            thread::sleep(SOON);
            let mut now = of_no_file();
            now.retain(|fd| !before.contains(fd));
            if now.len() >= 3 && now == of_driver {
                break;
            }
            of_driver = now;
        }
        for &fd in &of_driver {
            assert_eq!(close(fd), Err(libc::EBADF));
            // SAFETY: if it were closed, the test has failed.
            assert_eq!(unsafe { libc::syscall(libc::SYS_close, fd) }, -1);
        }
        drop(TcpStream::connect(address).unwrap());
        assert!(accepts.join().unwrap());
        let mut after = of_no_file();
        after.retain(|fd| !before.contains(fd));
        assert_eq!(after, of_driver);
    });
}
