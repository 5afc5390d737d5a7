//! Waiting for children, in a program that is adopted.

mod common;

use std::ffi::{CString, c_int};
use std::io::Write;
use std::mem;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::thread;
use std::time::Duration;

use common::{in_programs, is_the_same, on_a_green_thread, or_error};

/// A child that ends with this status after so long.
#[allow(clippy::zombie_processes, reason = "it is waited for by its number")]
fn child(seconds: &str, status: &str) -> i32 {
    let script = format!("sleep {seconds}; exit {status}");
    let child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    child.id().cast_signed()
}

/// A child that ends with its input.
fn cat() -> Child {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().unwrap()
}

fn pidfd(pid: i32) -> OwnedFd {
    // SAFETY: the system gives a descriptor that nobody else has.
    unsafe {
        let file = libc::syscall(libc::SYS_pidfd_open, pid, 0) as c_int;
        assert!(file >= 0);
        OwnedFd::from_raw_fd(file)
    }
}

/// What `waitid` tells of a child: whose, how it ended and with what.
fn waitid(kind: libc::idtype_t, id: u32, options: c_int) -> Result<(i32, i32, i32), i32> {
    // SAFETY: there is room for the answer, and if it succeeds it is one about a child, or zeroes.
    unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        or_error(libc::waitid(kind, id, &raw mut info, options))
            .map(|_| (info.si_pid(), info.si_code, info.si_status()))
    }
}

#[test]
fn every_way_to_wait_tells_the_same() {
    is_the_same("every_way_to_wait_tells_the_same", || {
        let mut status = 0;
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
        let mut told = Vec::new();
        for seconds in ["0", "0.05"] {
            let pid = child(seconds, "7");
            // SAFETY: there is room for the answer.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
            told.push((or_error(waited).map(|of| of == i64::from(pid)), status));

            let pid = child(seconds, "8");
            // SAFETY: there is room for the answers.
            let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
            told.push((or_error(waited).map(|of| of == i64::from(pid)), status));

            let pid = child(seconds, "9");
            let waited = waitid(
                libc::P_PID,
                pid.cast_unsigned(),
                libc::WEXITED | libc::WNOWAIT,
            );
            told.push((waited.map(|(of, ..)| of == pid), waited.unwrap().2));
            let pidfd = pidfd(pid);
            let file = std::os::fd::AsRawFd::as_raw_fd(&pidfd).cast_unsigned();
            let waited = waitid(libc::P_PIDFD, file, libc::WEXITED);
            told.push((waited.map(|(of, ..)| of == pid), waited.unwrap().2));

            let pid = child(seconds, "10");
            // SAFETY: there is room for the answers.
            let waited = unsafe { libc::wait(&raw mut status) };
            told.push((or_error(waited).map(|of| of == i64::from(pid)), status));

            let mut child = Command::new("sleep").arg(seconds).spawn().unwrap();
            told.push((Ok(child.wait().unwrap().success()), 0));

            let script = CString::new(format!("sleep {seconds}; exit 3")).unwrap();
            // SAFETY: a string.
            told.push((Ok(true), unsafe { libc::system(script.as_ptr()) }));
            // SAFETY: a string.
            let stream = unsafe { libc::popen(script.as_ptr(), c"r".as_ptr()) };
            // SAFETY: a stream that is open.
            told.push((Ok(true), unsafe { libc::pclose(stream) }));
        }
        // No child, and nonsense.
        // SAFETY: as above.
        let failed = unsafe {
            [
                or_error(libc::waitpid(-1, &raw mut status, 0)),
                or_error(libc::waitpid(-1, &raw mut status, libc::WNOHANG)),
                or_error(libc::waitpid(1, ptr::null_mut(), 0)),
                or_error(libc::waitpid(-1, ptr::null_mut(), !0)),
                or_error(libc::wait(ptr::null_mut())),
                waitid(libc::P_PID, 1, libc::WEXITED).map(|_| 0),
                waitid(libc::P_ALL, 0, 0).map(|_| 0),
                waitid(libc::P_PIDFD, 0, libc::WEXITED).map(|_| 0),
            ]
        };
        (told, failed)
    });
}

#[test]
fn a_child_that_stops_and_goes_on_is_told_of() {
    is_the_same("a_child_that_stops_and_goes_on_is_told_of", || {
        let mut sleeps = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = sleeps.id().cast_signed();
        let mut told = Vec::new();
        for (signal, options) in [
            (libc::SIGSTOP, libc::WUNTRACED),
            (libc::SIGCONT, libc::WCONTINUED),
            (libc::SIGKILL, 0),
        ] {
            let sends = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                // SAFETY: it is a child of ours.
                unsafe { libc::kill(pid, signal) }
            });
            let mut status = 0;
            // SAFETY: there is room for the answer.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, options) };
            assert_eq!(waited, pid);
            told.push((status, sends.join().unwrap()));
        }
        assert!(sleeps.wait().is_err());
        told
    });
}

#[test]
fn many_wait_at_once() {
    in_programs("many_wait_at_once", || {
        on_a_green_thread(|| {
            // Each ends when its input does, and none does before all are waited for.
            let mut inputs = Vec::new();
            let waits: Vec<_> = (0..50)
                .map(|_| {
                    let mut child = cat();
                    inputs.push(child.stdin.take());
                    thread::spawn(move || child.wait().unwrap().success())
                })
                .collect();
            thread::sleep(Duration::from_millis(50));
            drop(inputs);
            assert!(waits.into_iter().all(|thread| thread.join().unwrap()));
        });
    });
}

#[test]
fn others_run_while_one_waits() {
    in_programs("others_run_while_one_waits", || {
        on_a_green_thread(|| {
            // It ends when its input does, which another thread ends after this one has begun to wait.
            let mut child = cat();
            let mut input = child.stdin.take().unwrap();
            let writes = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                input.write_all(b"the end").unwrap();
            });
            assert!(child.wait().unwrap().success());
            writes.join().unwrap();
        });
    });
}

#[test]
fn a_script_is_run_and_read_from() {
    is_the_same("a_script_is_run_and_read_from", || {
        // SAFETY: strings, and a stream that is open.
        unsafe {
            let stream = libc::popen(c"echo read; exit 5".as_ptr(), c"r".as_ptr());
            let mut line = [0; 16];
            assert!(!libc::fgets(line.as_mut_ptr(), 16, stream).is_null());
            let status = libc::pclose(stream);
            (
                line,
                status,
                libc::system(ptr::null()),
                libc::system(c"kill -9 $$".as_ptr()),
            )
        }
    });
}
