//! What is registered with the system is not left there, whoever shares it; what is left all the same disturbs
//! nobody; and a socket keeps nothing of the runtimes that it was registered with.
//!
//! A connection that nobody else can have is closed without being taken out of the driver, since the system does that.
//! Each of these tests counts what the system says is registered, so each is in a process of its own.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use common::{WORKER_COUNTS, child, connection, is_child, run, runtime, watchdog};
use roving::net::{TcpListener, TcpStream};
use roving::os::unix::net::UnixStream;
use roving::{Runtime, deadline, thread};

/// In a process of its own, calls `test` with a runtime of each size, which has its driver.
fn with_each_runtime(name: &str, test: impl Fn(&Runtime)) {
    let _watchdog = watchdog("");
    if !is_child(name) {
        run(child(name));
        return;
    }
    for workers in WORKER_COUNTS {
        let runtime = runtime(workers);
        drop(runtime.run(waiting_once));
        test(&runtime);
        runtime.shutdown();
    }
}

/// How many descriptors are registered with all drivers.
fn registered() -> usize {
    let mut count = 0;
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let kind = fs::read_link(entry.path()).unwrap_or_default();
        if kind.to_string_lossy() == "anon_inode:[eventpoll]" {
            let info = format!("/proc/self/fdinfo/{}", entry.file_name().to_str().unwrap());
            count += fs::read_to_string(info).unwrap().matches("tfd:").count();
        }
    }
    count
}

/// Waits until so many are. Whoever looks for events may have one of them for a moment after it was closed.
fn until_registered(count: usize) {
    while registered() != count {
        std::thread::yield_now();
    }
}

/// How many descriptors this process has.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The two ends of a connection, which both have had to wait for data, and so are registered.
fn waiting_once() -> (TcpStream, TcpStream) {
    let (one, other) = connection();
    for stream in [&one, &other] {
        stream
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        assert!({ stream }.read(&mut [0]).is_err());
        stream.set_read_timeout(None).unwrap();
    }
    (one, other)
}

#[test]
fn what_is_closed_is_not_registered() {
    with_each_runtime("what_is_closed_is_not_registered", |runtime| {
        let before = registered();
        let streams: Vec<_> = (0..20).map(|_| runtime.run(waiting_once)).collect();
        assert_eq!(registered(), before + 40);
        runtime.run(move || drop(streams));
        until_registered(before);
    });
}

#[test]
fn a_duplicate_keeps_no_registration() {
    with_each_runtime("a_duplicate_keeps_no_registration", |runtime| {
        let before = registered();
        let (one, other) = runtime.run(waiting_once);
        let duplicate = one.as_fd().try_clone_to_owned().unwrap();
        let clone = other.try_clone().unwrap();
        drop((one, other));
        until_registered(before);
        let (mut one, mut other) = (TcpStream::from(duplicate), clone);
        one.write_all(b"x").unwrap();
        other.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn a_forked_child_keeps_no_registration() {
    with_each_runtime("a_forked_child_keeps_no_registration", |runtime| {
        let before = registered();
        let streams = runtime.run(waiting_once);
        // SAFETY: the child only waits to be ended.
        let forked = unsafe { libc::fork() };
        if forked == 0 {
            loop {
                // SAFETY: it has no preconditions.
                unsafe { libc::pause() };
            }
        }
        drop(streams);
        until_registered(before);
        // SAFETY: it is the child's, which has not been waited for.
        unsafe {
            libc::kill(forked, libc::SIGKILL);
            libc::waitpid(forked, std::ptr::null_mut(), 0);
        }
    });
}

/// Somebody has duplicated a descriptor whose number he guessed: nothing here can know. What is then left behind is
/// stale, and a descriptor that gets the same number takes it over.
#[test]
fn what_is_left_behind_disturbs_nobody() {
    with_each_runtime("what_is_left_behind_disturbs_nobody", |runtime| {
        let (one, mut other) = runtime.run(waiting_once);
        let before = registered();
        let shown = format!("{one:?}");
        let number: RawFd = shown
            .trim_end_matches([' ', '}'])
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        // SAFETY: it takes numbers.
        let kept = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 200) };
        assert!(kept >= 200);
        drop(one);
        until_registered(before);

        // Others come and go meanwhile, and get its slot.
        runtime.run(|| {
            let (mut near, mut far) = waiting_once();
            other.write_all(b"for what is left").unwrap();
            let reads = thread::spawn(move || {
                let mut byte = [0];
                near.read_exact(&mut byte).unwrap();
                byte
            });
            thread::sleep(Duration::from_millis(2));
            far.write_all(b"y").unwrap();
            assert_eq!(reads.join().unwrap(), *b"y");
        });

        // SAFETY: the number is free, since the stream that had it is closed.
        let again = unsafe { libc::dup2(kept, number) };
        assert_eq!(again, number);
        // SAFETY: nobody else has it.
        let mut again = unsafe { TcpStream::from_raw_fd(again) };
        runtime.run(|| {
            let mut read = [0; 16];
            again.read_exact(&mut read).unwrap();
            assert_eq!(&read, b"for what is left");
            let writes = thread::spawn(move || {
                thread::sleep(Duration::from_millis(2));
                other.write_all(b"z").unwrap();
                other
            });
            // It waits, for which it must be registered.
            again.read_exact(&mut read[..1]).unwrap();
            assert_eq!(read[0], b'z');
            drop(writes.join().unwrap());
        });
        assert_eq!(again.as_raw_fd(), number);
        drop(again);
        // SAFETY: it was made above, and nobody else has it.
        drop(unsafe { OwnedFd::from_raw_fd(kept) });
    });
}

/// The duplicate that waits to be received keeps the connection, and with it what would be left of the registration.
#[test]
fn a_descriptor_that_was_sent_along_is_taken_out() {
    with_each_runtime("a_descriptor_that_was_sent_along_is_taken_out", |runtime| {
        let before = registered();
        for sends in [false, true] {
            let (carries, holds) = UnixStream::pair().unwrap();
            let (waits, mut peer) = UnixStream::pair().unwrap();
            waits
                .set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            assert!(runtime.run(|| (&waits).read(&mut [0])).is_err());
            assert_eq!(registered(), before + 1);
            if sends {
                carries.send_with_fds(b"x", &[waits.as_fd()]).unwrap();
            }
            drop(waits);
            until_registered(before);
            if sends {
                peer.write_all(b"!").unwrap();
                let mut fds = Vec::new();
                holds.recv_with_fds(&mut [0], &mut fds).unwrap();
                let mut received = UnixStream::from(fds.pop().unwrap());
                received.read_exact(&mut [0]).unwrap();
            }
        }
    });
}

/// A socket that goes from one runtime to the next, and has waited in each of them.
#[test]
fn a_runtime_that_has_ended_keeps_no_descriptor() {
    with_each_runtime("a_runtime_that_has_ended_keeps_no_descriptor", |first| {
        let (waits, _other) = first.run(waiting_once);
        let (listener, stream) = (TcpListener::bind("127.0.0.1:0").unwrap(), &waits);
        let wait = || {
            stream
                .set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            assert!({ stream }.read(&mut [0]).is_err());
            let accepted = deadline(Duration::from_millis(1), || listener.accept());
            assert!(!matches!(accepted, Ok(Ok(_))));
        };
        let before = descriptors();
        for workers in WORKER_COUNTS.repeat(3) {
            let next = runtime(workers);
            next.run(wait);
            next.shutdown();
            // A spare that watches opens a file now and then.
            while descriptors() != before {
                std::thread::yield_now();
            }
        }
        // Both are waited for here again, in a runtime that they know, and in one that they do not.
        first.run(wait);
        runtime(1).run(wait);
    });
}
