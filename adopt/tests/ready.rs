//! Signals that are sent to a thread whose calls never wait, in a program that is adopted.

mod common;

use std::ffi::c_int;
use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use common::in_programs;

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// Has signals counted from now on.
fn count_signals() {
    // SAFETY: the handler does what may be done in one; zeroes are an action.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        let set = libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut());
        assert_eq!(set, 0);
    }
}

/// Calls `call` on a green thread until the thread has been sent a signal, and then once more: by then it is handled.
fn heeds(name: &str, mut call: impl FnMut() + Send + 'static) {
    let has_begun = Arc::new(AtomicBool::new(false));
    let is_sent = Arc::new(AtomicBool::new(false));
    let before = HANDLED.load(Ordering::SeqCst);
    let calls = thread::spawn({
        let (has_begun, is_sent) = (has_begun.clone(), is_sent.clone());
        move || {
            while !is_sent.load(Ordering::SeqCst) {
                call();
                has_begun.store(true, Ordering::SeqCst);
            }
            call();
            HANDLED.load(Ordering::SeqCst)
        }
    });
    // This one is an OS thread, which needs no worker.
    while !has_begun.load(Ordering::SeqCst) {
        std::hint::spin_loop();
    }
    // SAFETY: it has not ended.
    let failed = unsafe { libc::pthread_kill(calls.as_pthread_t(), libc::SIGUSR1) };
    assert_eq!(failed, 0);
    is_sent.store(true, Ordering::SeqCst);
    assert_eq!(calls.join().unwrap(), before + 1, "{name}");
}

fn open(path: &str) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

#[test]
fn who_never_waits_heeds_signals() {
    in_programs("who_never_waits_heeds_signals", || {
        roving_adopt::adopt().unwrap();
        count_signals();
        let mut zeroes = open("/dev/zero");
        heeds("read", move || zeroes.read_exact(&mut [0; 64]).unwrap());
        let mut zeroes = open("/dev/zero");
        heeds("readv", move || {
            let mut bytes = [0; 64];
            let (one, other) = bytes.split_at_mut(7);
            let mut both = [one, other].map(IoSliceMut::new);
            assert_eq!(zeroes.read_vectored(&mut both).unwrap(), 64);
        });
        let mut nothing = open("/dev/null");
        heeds("write", move || nothing.write_all(b"nothing").unwrap());
        let (mut one, mut other) = pair();
        heeds("send and recv", move || {
            one.write_all(b"x").unwrap();
            other.read_exact(&mut [0]).unwrap();
        });
        let (one, _other) = pair();
        heeds("recv that does not wait", move || {
            let mut byte = 0_u8;
            // SAFETY: there is room for a byte.
            let read = unsafe {
                let flags = libc::MSG_DONTWAIT;
                libc::recv(one.as_raw_fd(), (&raw mut byte).cast(), 1, flags)
            };
            assert_eq!(read, -1);
            assert_eq!(io::Error::last_os_error().kind(), io::ErrorKind::WouldBlock);
        });
        heeds("poll", || {
            // SAFETY: there are none.
            assert_eq!(unsafe { libc::poll(ptr::null_mut(), 0, 0) }, 0);
        });
        let (one, _other) = pair();
        heeds("ioctl", move || {
            let mut bytes: c_int = 0;
            // SAFETY: there is room for the number.
            let told = unsafe { libc::ioctl(one.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
            assert_eq!((told, bytes), (0, 0));
        });
        let (one, _other) = pair();
        heeds("setsockopt", move || {
            one.set_read_timeout(None).unwrap();
        });
        let (one, _other) = pair();
        heeds("fcntl", move || {
            // SAFETY: it changes nothing.
            assert!(unsafe { libc::fcntl(one.as_raw_fd(), libc::F_GETFL) } > 0);
        });
        heeds("a system call by its number", || {
            // SAFETY: it has no preconditions.
            assert!(unsafe { libc::syscall(libc::SYS_getppid) } > 0);
        });
        heeds("a mask that is asked for", || {
            // SAFETY: zeroes are a set, and there is room for the answer.
            unsafe {
                let mut set: libc::sigset_t = mem::zeroed();
                let told = libc::pthread_sigmask(0, ptr::null(), &raw mut set);
                assert_eq!(told, 0);
            }
        });
        heeds("pthread_kill that sends nothing", || {
            // SAFETY: it is the current thread.
            assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), 0) }, 0);
        });
        heeds("raise that sends nothing", || {
            // SAFETY: the same.
            assert_eq!(unsafe { libc::raise(0) }, 0);
        });
        heeds("a point of cancellation that does nothing else", || {
            unsafe extern "C" {
                fn pthread_testcancel();
            }
            // SAFETY: nobody cancels the thread.
            unsafe { pthread_testcancel() };
        });
        heeds("a mutex of the C library", || {
            let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
            let mutex = &raw mut mutex;
            // SAFETY: it is one.
            unsafe {
                assert_eq!(libc::pthread_mutex_lock(mutex), 0);
                assert_eq!(libc::pthread_mutex_unlock(mutex), 0);
            }
        });
    });
}

#[test]
fn what_is_blocked_stays_pending_while_calls_never_wait() {
    in_programs(
        "what_is_blocked_stays_pending_while_calls_never_wait",
        || {
            roving_adopt::adopt().unwrap();
            count_signals();
            let is_sent = Arc::new(AtomicBool::new(false));
            let has_blocked = Arc::new(AtomicBool::new(false));
            let calls = thread::spawn({
                let (is_sent, has_blocked) = (is_sent.clone(), has_blocked.clone());
                move || {
                    let mut zeroes = open("/dev/zero");
                    // SAFETY: zeroes are a set, of which these are signals.
                    let change = |how| unsafe {
                        let mut set: libc::sigset_t = mem::zeroed();
                        libc::sigaddset(&raw mut set, libc::SIGUSR1);
                        libc::pthread_sigmask(how, &raw const set, ptr::null_mut())
                    };
                    assert_eq!(change(libc::SIG_BLOCK), 0);
                    has_blocked.store(true, Ordering::SeqCst);
                    while !is_sent.load(Ordering::SeqCst) {
                        zeroes.read_exact(&mut [0; 8]).unwrap();
                    }
                    for _ in 0..100 {
                        zeroes.read_exact(&mut [0; 8]).unwrap();
                    }
                    let blocked = HANDLED.load(Ordering::SeqCst);
                    assert_eq!(change(libc::SIG_UNBLOCK), 0);
                    (blocked, HANDLED.load(Ordering::SeqCst))
                }
            });
            while !has_blocked.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            // SAFETY: it has not ended.
            let failed = unsafe { libc::pthread_kill(calls.as_pthread_t(), libc::SIGUSR1) };
            assert_eq!(failed, 0);
            is_sent.store(true, Ordering::SeqCst);
            assert_eq!(calls.join().unwrap(), (0, 1));
        },
    );
}
