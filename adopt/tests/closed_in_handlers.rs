//! Descriptors that the handler of a signal closes while they are waited for, in a program that is adopted.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::{in_adopted_programs, or_error};

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
            let reader = thread::spawn(move || {
                let mut byte = 0_u8;
                // SAFETY: there is room for it.
                or_error(unsafe { libc::recv(fd, (&raw mut byte).cast::<c_void>(), 1, 0) } as i64)
            });
            // It waits by then, or finds out when it begins to.
            thread::sleep(Duration::from_millis(20));
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
