//! The other side: with shared thread-locals the same observations come out otherwise. This shows
//! that the tests of this crate can fail.
//!
//! Only what is defined is done here: each access to a thread-local is in a function of its own that
//! is not inlined, and nothing is held over a migration. What the compiler keeps by itself (the
//! address of a thread-local), an `Rc`, a borrow, a guard of a lock that knows its thread: all of
//! them would be undefined behaviour here, so they are not run.

use std::cell::{Cell, RefCell};
use std::thread::ThreadId;

use roving::Runtime;
use roving_soundness::{migrate, on_moving_threads, on_sharing_threads};

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(0) };
    static OWNER: RefCell<Option<u32>> = const { RefCell::new(None) };
}

#[inline(never)]
fn count() -> u32 {
    COUNT.get()
}

#[inline(never)]
fn set_count(value: u32) {
    COUNT.set(value);
}

#[inline(never)]
fn owner() -> Option<u32> {
    OWNER.with_borrow(|owner| *owner)
}

#[inline(never)]
fn set_owner(number: u32) {
    OWNER.replace(Some(number));
}

#[inline(never)]
fn id() -> ThreadId {
    std::thread::current().id()
}

#[inline(never)]
fn errno() -> i32 {
    // SAFETY: the address of this thread's errno.
    unsafe { *libc::__errno_location() }
}

#[inline(never)]
fn set_errno(value: i32) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = value };
}

/// What a green thread observes.
#[derive(Debug, PartialEq)]
struct Observed {
    count_is_kept: bool,
    id_is_kept: bool,
    errno_is_kept: bool,
    neighbour_is_seen: bool,
}

fn observe(runtime: &Runtime) -> Observed {
    // The neighbour leaves its mark on both OS threads.
    let neighbour = runtime.spawn(|| {
        for _ in 0..4 {
            set_owner(1);
            set_count(1000);
            migrate(0);
        }
    });
    neighbour.join().unwrap();
    let observes = runtime.spawn(|| {
        let neighbour_is_seen = owner().is_some();
        let before = id();
        set_count(7);
        set_errno(123);
        migrate(0);
        Observed {
            count_is_kept: count() == 7,
            errno_is_kept: errno() == 123,
            id_is_kept: id() == before,
            neighbour_is_seen,
        }
    });
    observes.join().unwrap()
}

#[inline(never)]
fn panicking() -> bool {
    std::thread::panicking()
}

/// Migrates when it is dropped, which is while it unwinds.
struct Migrates;

impl Drop for Migrates {
    fn drop(&mut self) {
        for _ in 0..10 {
            assert!(panicking());
            migrate(0);
        }
        assert!(panicking());
    }
}

#[test]
fn a_panic_goes_along_whosever_the_thread_locals_are() {
    fn observe(runtime: &Runtime) {
        let neighbours = runtime.spawn(|| {
            (0..20).any(|_| {
                migrate(0);
                panicking()
            })
        });
        let unwinds = runtime.spawn(|| {
            let _migrates = Migrates;
            std::panic::resume_unwind(Box::new(1));
        });
        assert_eq!(unwinds.join().unwrap_err().downcast_ref(), Some(&1));
        assert!(!neighbours.join().unwrap());
        assert!(!runtime.spawn(panicking).join().unwrap());
    }
    // SAFETY: see the head of this file.
    unsafe { on_sharing_threads(observe) };
    on_moving_threads(observe);
}

#[test]
fn shared_thread_locals_change_under_a_green_thread_and_own_ones_do_not() {
    // SAFETY: see the head of this file.
    unsafe {
        on_sharing_threads(|runtime| {
            let observed = observe(runtime);
            assert!(!observed.count_is_kept);
            assert!(!observed.id_is_kept);
            assert!(!observed.errno_is_kept);
            assert!(observed.neighbour_is_seen);
        });
    }
    on_moving_threads(|runtime| {
        let expected = Observed {
            count_is_kept: true,
            id_is_kept: true,
            errno_is_kept: true,
            neighbour_is_seen: false,
        };
        assert_eq!(observe(runtime), expected);
    });
}
