//! Descriptors that the handler of a signal closes while they are waited for, in a program that is adopted.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};
use std::fs;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::{in_adopted_programs, in_programs, on_a_green_thread, or_error, until};

/// The OS thread on which a handler runs.
static HANDLING: AtomicI32 = AtomicI32::new(0);
/// How often memory was taken by a handler.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

fn os_thread() -> i32 {
    // SAFETY: it has no preconditions.
    unsafe { libc::gettid() }
}

/// Counts what handlers take, which they must not: they may have interrupted the allocator.
struct Counting;

// SAFETY: it is the system's, which is given what this is given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let handling = HANDLING.load(Ordering::SeqCst);
        if handling != 0 && handling == os_thread() {
            TAKEN.fetch_add(1, Ordering::SeqCst);
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Takes the number of a descriptor from it.
type Way = fn(c_int);

const WAYS: [(&str, Way); 3] = [
    ("close", |fd| {
        // SAFETY: the test's own.
        unsafe { libc::close(fd) };
    }),
    ("dup2", |fd| {
        // SAFETY: the test's own.
        unsafe { libc::dup2(2, fd) };
    }),
    ("close_range", |fd| {
        // SAFETY: the test's own.
        unsafe { libc::close_range(fd as u32, fd as u32, 0) };
    }),
];

/// Waits for a byte.
fn receive(fd: c_int) -> Result<i64, i32> {
    let mut byte = 0_u8;
    // SAFETY: there is room for it.
    or_error(unsafe { libc::recv(fd, (&raw mut byte).cast::<c_void>(), 1, 0) } as i64)
}

#[test]
fn a_handler_wakes_nobody_itself() {
    in_adopted_programs("a_handler_wakes_nobody_itself", || {
        static FD: AtomicI32 = AtomicI32::new(-1);
        static WAY: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn takes(_: c_int) {
            HANDLING.store(os_thread(), Ordering::SeqCst);
            WAYS[WAY.load(Ordering::SeqCst)].1(FD.load(Ordering::SeqCst));
            HANDLING.store(0, Ordering::SeqCst);
        }
        // SAFETY: the handler does what may be done in one.
        unsafe { libc::signal(libc::SIGUSR1, takes as *const () as usize) };
        for (n, (way, _)) in WAYS.iter().enumerate() {
            let (one, other) = UnixStream::pair().unwrap();
            let fd = one.into_raw_fd();
            let reader = thread::spawn(move || receive(fd));
            // Who begins to wait only now is told of what has the number by then.
            until(|| roving_scheduler::dump().to_string().contains("read on "));
            FD.store(fd, Ordering::SeqCst);
            WAY.store(n, Ordering::SeqCst);
            // SAFETY: there is a handler.
            assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
            assert_eq!(reader.join().unwrap(), Err(libc::EBADF), "{way}");
            assert_eq!(TAKEN.load(Ordering::SeqCst), 0, "{way}");
            drop(other);
            if *way == "dup2" {
                // SAFETY: the test's own.
                unsafe { libc::close(fd) };
            }
        }
    });
}

/// Sends a signal to each OS thread of this process.
fn interrupt_all() {
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let id: c_int = task.unwrap().file_name().to_str().unwrap().parse().unwrap();
        // SAFETY: there is a handler.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), id, libc::SIGUSR1) };
    }
}

#[test]
fn a_handler_may_interrupt_whoever_waits_and_wakes() {
    in_programs("a_handler_may_interrupt_whoever_waits_and_wakes", || {
        static IDLE: AtomicI32 = AtomicI32::new(-1);
        static TAKEN: AtomicI32 = AtomicI32::new(-1);
        static READING: AtomicUsize = AtomicUsize::new(8);
        extern "C" fn takes(_: c_int) {
            // SAFETY: the test's own, both of which stay open.
            unsafe { libc::dup2(IDLE.load(Ordering::SeqCst), TAKEN.load(Ordering::SeqCst)) };
        }
        let pairs = [UnixStream::pair().unwrap(), UnixStream::pair().unwrap()];
        IDLE.store(pairs[0].0.as_raw_fd(), Ordering::SeqCst);
        TAKEN.store(pairs[1].0.as_raw_fd(), Ordering::SeqCst);
        on_a_green_thread(|| ());
        // SAFETY: the handler does what may be done in one.
        unsafe { libc::signal(libc::SIGUSR1, takes as *const () as usize) };
        for _ in 0..READING.load(Ordering::SeqCst) {
            thread::spawn(|| {
                for _ in 0..50 {
                    let fd = TAKEN.load(Ordering::SeqCst);
                    assert_eq!(receive(fd), Err(libc::EBADF));
                }
                READING.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while READING.load(Ordering::SeqCst) > 0 {
            interrupt_all();
            // So that they get on.
            thread::sleep(Duration::from_micros(500));
        }
    });
}

#[test]
fn so_it_is_in_a_forked_child() {
    in_programs("so_it_is_in_a_forked_child", || {
        static FD: AtomicI32 = AtomicI32::new(-1);
        static FAILED: AtomicBool = AtomicBool::new(false);
        extern "C" fn closes(_: c_int) {
            // SAFETY: the test's own.
            unsafe { libc::close(FD.load(Ordering::SeqCst)) };
        }
        on_a_green_thread(|| ());
        // SAFETY: the handler does what may be done in one.
        unsafe { libc::signal(libc::SIGUSR1, closes as *const () as usize) };
        let (one, _other) = UnixStream::pair().unwrap();
        FD.store(one.into_raw_fd(), Ordering::SeqCst);
        // SAFETY: what others hold locked in this process is not used by the child.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // It has nobody else who would end it.
            // SAFETY: it has no preconditions.
            unsafe { libc::alarm(60) };
            thread::spawn(|| {
                let received = receive(FD.load(Ordering::SeqCst));
                FAILED.store(received == Err(libc::EBADF), Ordering::SeqCst);
            });
            thread::sleep(Duration::from_millis(20));
            // Nobody waits for anything but descriptors here.
            // SAFETY: there is a handler; and it ends the child here.
            unsafe {
                libc::raise(libc::SIGUSR1);
                until(|| FAILED.load(Ordering::SeqCst));
                libc::_exit(42)
            }
        }
        let mut status = 0;
        // SAFETY: there is room for the answer.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 42 << 8);
    });
}
