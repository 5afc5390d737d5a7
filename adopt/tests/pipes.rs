//! What std makes of pipes, children and files, in a program that is adopted.

mod common;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::ptr;
use std::thread;
use std::time::Duration;

use common::{MANY, in_adopted_programs, in_programs, is_the_same, or_error, os_threads};

#[test]
fn many_wait_for_pipes() {
    in_adopted_programs("many_wait_for_pipes", || {
        let pipes: Vec<_> = (0..MANY)
            .map(|_| {
                let (mut reader, writer) = io::pipe().unwrap();
                let reads = thread::spawn(move || {
                    let mut read = Vec::new();
                    reader.read_to_end(&mut read).unwrap();
                    read.len()
                });
                (reads, writer)
            })
            .collect();
        thread::sleep(Duration::from_millis(20));
        assert!(os_threads() < MANY / 2, "{} OS threads", os_threads());
        for (n, (reads, mut writer)) in pipes.into_iter().enumerate() {
            writer.write_all(&vec![1; n]).unwrap();
            drop(writer);
            assert_eq!(reads.join().unwrap(), n);
        }
    });
}

#[test]
fn a_write_to_a_pipe_waits_until_all_is_written() {
    in_adopted_programs("a_write_to_a_pipe_waits_until_all_is_written", || {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let writes = thread::spawn(move || writer.write(&vec![3; 1_000_000]).unwrap());
        thread::sleep(Duration::from_millis(10));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(writes.join().unwrap(), 1_000_000);
        assert_eq!(read, vec![3; 1_000_000]);
    });
}

#[test]
fn a_write_to_nobody_fails() {
    in_adopted_programs("a_write_to_nobody_fails", || {
        let (reader, mut writer) = io::pipe().unwrap();
        let writes = thread::spawn(move || {
            loop {
                if let Err(error) = writer.write(&[0; 100_000]) {
                    return error.kind();
                }
            }
        });
        thread::sleep(Duration::from_millis(10));
        drop(reader);
        assert_eq!(writes.join().unwrap(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn children_are_talked_to() {
    in_adopted_programs("children_are_talked_to", || {
        let threads: Vec<_> = (0..20)
            .map(|n| {
                thread::spawn(move || {
                    let mut child = Command::new("cat")
                        .stdin(Stdio::piped())
                        .stdout(Stdio::piped())
                        .spawn()
                        .unwrap();
                    let text = format!("hello {n}").repeat(10_000);
                    let mut stdin = child.stdin.take().unwrap();
                    let all = text.clone();
                    let writes = thread::spawn(move || stdin.write_all(all.as_bytes()).unwrap());
                    let mut read = String::new();
                    let mut stdout = child.stdout.take().unwrap();
                    stdout.read_to_string(&mut read).unwrap();
                    writes.join().unwrap();
                    assert!(child.wait().unwrap().success());
                    assert_eq!(read, text);
                    let output = Command::new("sh")
                        .args(["-c", "echo out; echo err >&2; exit 3"])
                        .output()
                        .unwrap();
                    assert_eq!(output.stdout, b"out\n");
                    assert_eq!(output.stderr, b"err\n");
                    assert_eq!(output.status.code(), Some(3));
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn files_are_read_and_written() {
    in_adopted_programs("files_are_read_and_written", || {
        let path = std::env::temp_dir().join(format!("roving-file-{}", std::process::id()));
        let all: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
        fs::write(&path, &all).unwrap();
        assert!(fs::read(&path).unwrap() == all);
        let mut read = Vec::new();
        File::open(&path).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == all);
        fs::remove_file(path).unwrap();
        let mut zeros = [1; 100];
        File::open("/dev/zero")
            .unwrap()
            .read_exact(&mut zeros)
            .unwrap();
        assert_eq!(zeros, [0; 100]);
        File::create("/dev/null")
            .unwrap()
            .write_all(&zeros)
            .unwrap();
    });
}

/// To an OS thread they are the system's, which tells of addresses where nothing is.
#[test]
fn buffers_that_are_nowhere_are_an_error_to_who_is_not_parked() {
    let refused = || {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        let nowhere = ptr::without_provenance(8);
        // SAFETY: the system looks whether there is anything at the address.
        unsafe {
            [
                or_error(libc::readv(reader.as_raw_fd(), nowhere, 1) as i64),
                or_error(libc::writev(writer.as_raw_fd(), nowhere, 1) as i64),
            ]
        }
    };
    in_programs(
        "buffers_that_are_nowhere_are_an_error_to_who_is_not_parked",
        || {
            assert_eq!(refused(), [Err(libc::EFAULT); 2]);
            roving_adopt::adopt().unwrap();
            assert_eq!(refused(), [Err(libc::EFAULT); 2]);
        },
    );
}

#[test]
fn a_buffer_that_is_too_short_is_an_error() {
    is_the_same("a_buffer_that_is_too_short_is_an_error", || {
        // SAFETY: zeroes are an empty set; descriptors of the test's own, and there is room for so many bytes.
        unsafe {
            let none: libc::sigset_t = std::mem::zeroed();
            let all = [
                libc::eventfd(0, 0),
                libc::timerfd_create(libc::CLOCK_MONOTONIC, 0),
                libc::signalfd(-1, &raw const none, 0),
            ];
            all.map(|fd| {
                let mut room = [0_u8; 4];
                let read = or_error(libc::read(fd, room.as_mut_ptr().cast(), 4) as i64);
                libc::close(fd);
                read
            })
        }
    });
}

#[test]
fn who_reads_a_counter_by_its_own_function_is_parked() {
    in_adopted_programs("who_reads_a_counter_by_its_own_function_is_parked", || {
        // SAFETY: it makes a descriptor.
        let counter = unsafe { libc::eventfd(0, libc::EFD_SEMAPHORE) };
        let count = move || {
            let mut value = 0;
            // SAFETY: there is room for the value.
            let read = unsafe { libc::eventfd_read(counter, &raw mut value) };
            (read, value)
        };
        let threads: Vec<_> = (0..MANY).map(|_| thread::spawn(count)).collect();
        thread::yield_now();
        for _ in &threads {
            // SAFETY: it writes to a descriptor of the test's own.
            assert_eq!(unsafe { libc::eventfd_write(counter, 1) }, 0);
        }
        for thread in threads {
            assert_eq!(thread.join().unwrap(), (0, 1));
        }
        // SAFETY: it is the test's own.
        unsafe {
            assert_eq!(libc::eventfd_write(counter, u64::MAX), -1);
            libc::close(counter);
            assert_eq!(libc::eventfd_write(counter, 1), -1);
        }
    });
}
