//! What the tests share: runtimes on which every suspension resumes on another OS thread, and ways
//! to suspend that make sure of it.
//!
//! The tests are built with all optimisations (`make soundness`), so that whatever a compiler may
//! keep over a suspension is kept.

mod held;
mod hosts;
#[path = "../../scheduler/tests/common/not_tested.rs"]
mod not_tested;

use std::io::{Error, ErrorKind, Write};
use std::sync::{Arc, Once};
use std::thread::sleep;
use std::time::Duration;

use roving::{Builder, Runtime, greenly, thread};

pub use held::{Held, holding, many_holding, many_sharing, nothing_is_held};

/// Far more than all tests of a program take.
const LIMIT: Duration = Duration::from_secs(600);

/// So many green threads at a time.
pub const THREADS: usize = 16;
/// So many suspensions each.
pub const ROUNDS: usize = 100;
/// So many times a green thread yields until it has moved, at most: for longer than a worker is stuck that waits for its turn.
const YIELDS: usize = 1_000_000;

/// The kernel's number of the current OS thread.
#[inline(never)]
pub fn os_thread() -> libc::pid_t {
    // SAFETY: it has no preconditions.
    unsafe { libc::gettid() }
}

/// Sets the `errno` of the current thread.
#[inline(never)]
pub fn set_errno(value: i32) {
    // SAFETY: the address of this thread's errno.
    unsafe { *libc::__errno_location() = value };
}

/// The `errno` of the current thread.
#[inline(never)]
pub fn errno() -> i32 {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() }
}

/// Suspends the current green thread in one of several ways, and makes sure that it goes on on
/// another OS thread.
#[inline(never)]
pub fn migrate(way: usize) {
    migrate_inlined(way);
}

/// The same, inlined into the caller.
#[inline(always)]
pub fn migrate_inlined(way: usize) {
    let before = os_thread();
    suspend(way);
    // Some ways suspend twice, or not at all if the other thread was faster. And while the worker to which it goes is stuck,
    // the one from which it came may run it.
    for _ in 0..YIELDS {
        if os_thread() != before {
            return;
        }
        thread::yield_now();
    }
    panic!("the green thread does not move");
}

/// Suspends the current green thread in one of several ways. Some suspend twice, or not at all.
#[inline(always)]
pub fn suspend(way: usize) {
    match way % 4 {
        0 => thread::yield_now(),
        1 => thread::sleep(Duration::from_micros(1)),
        2 => {
            let this = thread::current();
            thread::spawn(move || this.unpark());
            thread::park();
        }
        _ => thread::spawn(|| ()).join().expect("it does nothing"),
    }
}

/// What C code calls to suspend.
pub extern "C" fn migrate_from_c() {
    migrate(0);
}

/// Calls `test` with runtimes whose green threads have their own thread-locals and move with every
/// suspension. Where there are none, it says so, and
/// fails if there must be.
pub fn on_moving_threads(test: impl Fn(&Runtime)) {
    for workers in [2, 8] {
        let built = Builder::new()
            .workers(workers)
            .own_thread_locals()
            .migrate_always(true)
            .build();
        match built {
            Ok(runtime) => bounded(|| test(&runtime)),
            Err(error) => without_own_thread_locals(&error),
        }
    }
}

/// Says that nothing is tested since own thread-locals cannot be had, for the reason that `error` gives. Fails if they must be had
/// here.
pub fn without_own_thread_locals(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    not_tested::without_own_thread_locals(error);
}

/// Runs many threads with `body` at a time on such runtimes. They are numbered.
pub fn many_moving_threads(body: impl Fn(usize) + Send + Sync + Copy + 'static) {
    on_moving_threads(|runtime| many(runtime, body));
}

/// Runs many threads with `body` at a time.
pub fn many(runtime: &Runtime, body: impl Fn(usize) + Send + Sync + Clone + 'static) {
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let body = body.clone();
            runtime.spawn(move || body(number))
        })
        .collect();
    for thread in threads {
        if let Err(payload) = thread.join() {
            std::panic::resume_unwind(payload);
        }
    }
}

/// Runs many guests with `body` at a time, each polled on another OS thread than the time before. They
/// are numbered. Where they have no thread-locals of their own, it says so.
pub fn on_moving_hosts(body: impl Fn(usize) + Send + Sync + 'static) {
    let body = Arc::new(body);
    match Builder::new().workers(1).own_thread_locals().build() {
        Ok(_) => {
            for hosts in [2, 8] {
                let guests = (0..THREADS).map(|number| {
                    let body = body.clone();
                    Box::pin(greenly(move || body(number))) as _
                });
                bounded(|| hosts::poll_on(hosts, guests));
            }
        }
        Err(error) => without_own_thread_locals(&error),
    }
}

/// Calls `test` with runtimes whose green threads move with every suspension and use the
/// thread-locals of whichever OS thread they are on.
///
/// # Safety
///
/// No green thread holds anything of a thread-local, nor anything that is not `Send`, across
/// a suspension, and none uses a thread-local on both sides of one in the same function.
pub unsafe fn on_sharing_threads(test: impl Fn(&Runtime)) {
    // SAFETY: the caller's promise.
    let builder = unsafe { Builder::new().shared_thread_locals() };
    let runtime = builder.workers(2).migrate_always(true).build();
    bounded(|| test(&runtime.expect("this mode is to be had everywhere")));
}

/// Calls `test`, and aborts the process if it hangs.
pub fn bounded<R>(test: impl FnOnce() -> R) -> R {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        std::thread::spawn(|| {
            sleep(LIMIT);
            let _ = writeln!(
                std::io::stderr(),
                "HANGS: the tests take more than {LIMIT:?}"
            );
            std::process::abort();
        });
    });
    test()
}
