//! One who begins to listen to a signal hears it, though the last who listened before leaves while a handler runs
//! elsewhere.
//!
//! The handler and who leaves ask the system what is done with the signal: this program stands in for that call, and so
//! decides who comes first.

#![cfg(target_os = "linux")]

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use roving::signal::{SIGWINCH, Signals};

/// What has happened: each is waited for by the next.
const LEAVES: usize = 1;
const HANDLED: usize = 2;
const ANOTHER_LISTENS: usize = 3;

static ARMED: AtomicBool = AtomicBool::new(false);
static STAGE: AtomicUsize = AtomicUsize::new(0);

fn reach(stage: usize) {
    STAGE.store(stage, Ordering::Release);
}

fn wait_for(stage: usize) {
    while STAGE.load(Ordering::Acquire) < stage {
        thread::yield_now();
    }
}

/// # Safety
///
/// That of the system's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigaction(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    type Sigaction =
        unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int;
    if signal == SIGWINCH && new.is_null() && ARMED.load(Ordering::Acquire) {
        match STAGE.load(Ordering::Acquire) {
            0 => {
                reach(LEAVES);
                wait_for(HANDLED);
            }
            LEAVES => {
                reach(HANDLED);
                wait_for(ANOTHER_LISTENS);
            }
            _ => {}
        }
    }
    // SAFETY: the C library has it under this name too, with this signature; and the caller's promise.
    unsafe {
        let address = libc::dlsym(libc::RTLD_NEXT, c"sigaction".as_ptr());
        let next: Sigaction = std::mem::transmute(address);
        next(signal, new, old)
    }
}

fn raise() {
    // SAFETY: it has no preconditions.
    assert_eq!(unsafe { libc::raise(SIGWINCH) }, 0);
}

#[test]
fn who_begins_when_the_last_leaves_hears() {
    let first = Signals::new([SIGWINCH]).unwrap();
    ARMED.store(true, Ordering::Release);
    let handles = thread::spawn(|| {
        wait_for(LEAVES);
        raise();
        // A handler that does not ask leaves nobody waiting.
        STAGE.fetch_max(HANDLED, Ordering::AcqRel);
    });
    drop(first);
    let second = Signals::new([SIGWINCH]).unwrap();
    reach(ANOTHER_LISTENS);
    handles.join().unwrap();
    raise();
    assert_eq!(second.try_recv(), Some(SIGWINCH));
}
