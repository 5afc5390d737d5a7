//! What is done once.
//!
//! The C library promises that of all threads that ask for it one does it, while the others wait; and if that one unwinds, another.
//! The state is a word. While it is [under way](UNDER_WAY) there, green threads wait in the
//! table, and others in the system. A green thread that does it leaves the same states as the C library would.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::pthread_once_t;
use roving_scheduler::adopt;

use super::{ALL, ANY};
use crate::next::next;
use crate::{is_adopted, parks};

const NEW: u32 = 0;
const DONE: u32 = 2;

type Body = extern "C-unwind" fn();
type Once = unsafe extern "C-unwind" fn(*mut pthread_once_t, Body) -> c_int;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn pthread_once(
    once: *mut pthread_once_t,
    body: Body,
) -> c_int {
    if is_adopted() {
        // SAFETY: the caller's promise.
        unsafe { call(once, body) };
        0
    } else {
        // SAFETY: the caller's promise.
        unsafe { next!(pthread_once: Once)(once, body) }
    }
}

/// # Safety
///
/// That of `pthread_once`, in a program that is adopted.
unsafe fn call(once: *mut pthread_once_t, body: Body) {
    // SAFETY: the caller's promise: it is a word, which everybody changes as one.
    let state = unsafe { &*once.cast::<AtomicU32>() };
    // Acquire: what was done is seen.
    if state.load(Ordering::Acquire) == DONE {
        return;
    }
    if parks() {
        call_parked(state, body);
    } else {
        let _tells = Tells(state);
        // SAFETY: the caller's promise.
        unsafe { next!(pthread_once: Once)(once, body) };
    }
}

/// When it is dropped, those who are parked look again.
struct Tells<'a>(&'a AtomicU32);

impl Drop for Tells<'_> {
    fn drop(&mut self) {
        adopt::wake(self.0.as_ptr().addr(), ANY, ALL);
    }
}

#[inline(never)]
fn call_parked(state: &AtomicU32, body: Body) {
    let under_way = under_way();
    loop {
        let seen = state.load(Ordering::Acquire);
        if seen == DONE {
            return;
        }
        if seen == under_way {
            let is_under_way = || state.load(Ordering::Acquire) == under_way;
            let address = state.as_ptr().addr();
            super::wait(address, None, "what is done once", is_under_way, None);
            continue;
        }
        // Acquire: what one has done who unwound is seen.
        let begins = state.compare_exchange(seen, under_way, Ordering::Acquire, Ordering::Relaxed);
        if begins.is_ok() {
            let mut under_way = UnderWay {
                state,
                becomes: NEW,
            };
            body();
            under_way.becomes = DONE;
            return;
        }
    }
}

/// The thread that does it. When it is dropped, all who wait go on.
struct UnderWay<'a> {
    state: &'a AtomicU32,
    becomes: u32,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.state.store(self.becomes, Ordering::Release);
        let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: it wakes whoever waits at this word, in the table and in the system.
        unsafe { libc::syscall(libc::SYS_futex, self.state.as_ptr(), operation, c_int::MAX) };
    }
}

/// What a state is while it is under way in this process. The C library has another value in a forked child, where nothing of
/// what its parent had begun is under way.
static UNDER_WAY: AtomicU32 = AtomicU32::new(NEW);

fn under_way() -> u32 {
    UNDER_WAY.load(Ordering::Relaxed)
}

/// Asks what a state is while it is under way. `false` if the other states are not as they are known here.
///
/// To be called when the program is adopted, and in a forked child by its only thread.
pub(super) fn ask() -> bool {
    static STATE: AtomicU32 = AtomicU32::new(NEW);
    extern "C-unwind" fn look() {
        UNDER_WAY.store(STATE.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    STATE.store(NEW, Ordering::Relaxed);
    // SAFETY: it is a new one.
    unsafe { next!(pthread_once: Once)(STATE.as_ptr().cast(), look) };
    STATE.load(Ordering::Relaxed) == DONE && ![NEW, DONE].contains(&under_way())
}
