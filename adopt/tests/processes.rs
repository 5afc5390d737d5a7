//! Waiting for children, in a program that is adopted.

mod common;

use std::ffi::{CString, c_int};
use std::fs;
use std::io::{self, Write};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::thread;
use std::time::Duration;

use common::{
    in_adopted_programs, in_programs, is_the_same, on_a_green_thread, or_error, os_threads, until,
};

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
            let file = pidfd.as_raw_fd().cast_unsigned();
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

/// How many descriptors of children this process has.
fn pidfds() -> usize {
    let all = fs::read_dir("/proc/self/fd").unwrap();
    let is_one = |path: &str| path.contains("pidfd");
    // One is that of the folder, which is gone.
    all.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|path| path.to_str().is_some_and(is_one))
        .count()
}

/// Checks that a hundred threads that `wait` for children, each in its own way, take no OS threads. The children end when the file
/// does of which they have the reading end.
fn many_wait(wait: fn(usize, &str)) {
    const ALL: usize = 100;
    let (reads, writes) = io::pipe().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), reads.as_raw_fd());
    // Those that are spawned and those that wait for them, and what is there anyway.
    let before = os_threads();
    let waits: Vec<_> = (0..ALL)
        .map(|n| {
            let path = path.clone();
            thread::spawn(move || wait(n, &path))
        })
        .collect();
    until(|| pidfds() == ALL);
    assert!(os_threads() < before + 20, "{} OS threads", os_threads());
    drop(writes);
    waits.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(pidfds(), 0);
}

#[test]
fn many_wait_for_children_at_once() {
    in_adopted_programs("many_wait_for_children_at_once", || {
        many_wait(|n, path| {
            let mut command = Command::new("cat");
            let file = fs::File::open(path).unwrap();
            let mut child = command.stdin(file).spawn().unwrap();
            let pid = child.id().cast_signed();
            let mut status = -1;
            match n % 3 {
                0 => assert!(child.wait().unwrap().success()),
                // SAFETY: there is room for the answer.
                1 => assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid),
                _ => assert_eq!(
                    waitid(libc::P_PID, pid.cast_unsigned(), libc::WEXITED),
                    Ok((pid, libc::CLD_EXITED, 0))
                ),
            }
        });
    });
}

#[test]
fn many_wait_for_commands_at_once() {
    in_adopted_programs("many_wait_for_commands_at_once", || {
        many_wait(|n, path| {
            let command = CString::new(format!("cat < {path}; exit 3")).unwrap();
            // SAFETY: strings, and a stream that is open.
            let status = unsafe {
                if n % 2 == 0 {
                    libc::system(command.as_ptr())
                } else {
                    libc::pclose(libc::popen(command.as_ptr(), c"w".as_ptr()))
                }
            };
            assert_eq!(status, 3 << 8);
        });
    });
}

#[test]
fn one_of_several_is_told_of_a_child() {
    in_adopted_programs("one_of_several_is_told_of_a_child", || {
        let mut child = cat();
        let pid = child.id().cast_signed();
        let waits: Vec<_> = (0..8)
            .map(|_| {
                // SAFETY: it wants no answer.
                thread::spawn(move || or_error(unsafe { libc::waitpid(pid, ptr::null_mut(), 0) }))
            })
            .collect();
        until(|| pidfds() == 8);
        drop(child.stdin.take());
        let told: Vec<_> = waits
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        let is_told = |told: &&Result<i64, i32>| **told == Ok(pid.into());
        assert_eq!(told.iter().filter(is_told).count(), 1);
        assert!(
            told.iter()
                .all(|told| is_told(&told) || *told == Err(libc::ECHILD))
        );
        assert_eq!(child.wait().unwrap_err().raw_os_error(), Some(libc::ECHILD));
    });
}

#[test]
fn children_that_are_not_told_of_are_waited_for() {
    is_the_same("children_that_are_not_told_of_are_waited_for", || {
        // SAFETY: the signal's default and its being ignored.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let mut child = cat();
        let input = child.stdin.take();
        let ends = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            drop(input);
        });
        let told = child.wait().unwrap_err().raw_os_error();
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        ends.join().unwrap();
        (told == Some(libc::ECHILD), told)
    });
}

#[test]
fn a_stop_is_told_to_who_traces() {
    in_adopted_programs("a_stop_is_told_to_who_traces", || {
        let mut ends = [-1; 2];
        // SAFETY: there is room for both; the child does what may be done in one, and nothing else.
        let pid = unsafe {
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            match libc::fork() {
                0 => {
                    libc::close(ends[1]);
                    libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                    let mut byte = 0_u8;
                    libc::syscall(libc::SYS_read, ends[0], &raw mut byte, 1_usize);
                    libc::raise(libc::SIGUSR1);
                    libc::_exit(0)
                }
                pid => pid,
            }
        };
        let waits = thread::spawn(move || {
            let mut status = 0;
            // SAFETY: there is room for the answer.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            status
        });
        until(|| pidfds() == 1);
        // SAFETY: they are closed once.
        unsafe { libc::close(ends[1]) };
        let status = waits.join().unwrap();
        assert!(libc::WIFSTOPPED(status), "{status:#x}");
        assert_eq!(libc::WSTOPSIG(status), libc::SIGUSR1);
        // SAFETY: it is a child of ours, and there is room for the answer.
        unsafe {
            let mut status = 0;
            libc::close(ends[0]);
            libc::kill(pid, libc::SIGKILL);
            assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
            assert!(libc::WIFSIGNALED(status), "{status:#x}");
        }
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
            let writes = libc::popen(c"read word; exit ${#word}".as_ptr(), c"we".as_ptr());
            libc::fputs(c"a line".as_ptr(), writes);
            let refused = ["", "rw", "x"].map(|mode| {
                let mode = CString::new(mode).unwrap();
                let stream = libc::popen(c"true".as_ptr(), mode.as_ptr());
                let error = io::Error::last_os_error().raw_os_error();
                (stream.is_null(), error)
            });
            (
                line,
                status,
                libc::fclose(writes),
                refused,
                libc::pclose(libc::popen(c"no-such-command 2>&1".as_ptr(), c"r".as_ptr())),
                libc::system(ptr::null()),
                libc::system(c"kill -9 $$".as_ptr()),
            )
        }
    });
}
