//! By which number a green thread is known as an owner where other processes look.
//!
//! The C library notes in a lock which thread owns it, by the number that the system has given to the thread. Those of green threads are made up, and
//! two processes may make up the same: a thread of one would take itself for the owner of what a thread of the other has locked. So for locks
//! that several processes may have and that have owners, a green thread goes by another number as long as a function of the C library
//! looks at such a lock. These numbers are
//!
//! ```text
//!     bit 29   bits 22 to 28         bits 0 to 21
//!       1      one of 128            of an OS thread of the process
//! ```
//!
//! No process of the system has another's OS threads, as far as they see each other's numbers at all, so no two threads have the same number; and none is an
//! OS thread's, which ends below bit 22, or one that was made up, which ends below bit 29.
//!
//! The first 128 are of the process's own number, which it has as long as it lives. For each 128 more there is an OS thread that does
//! nothing. A thread keeps its number until it ends, and after that if it owns anything then: nobody is ever taken for that
//! owner.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use libc::{pthread_mutex_t, pthread_rwlock_t};
use roving_scheduler::adopt;
use roving_scheduler::lock::Mutex;
use roving_scheduler::{PerProcess, start_os_thread};

use super::layout::layout;
use super::{MOMENT, robust};
use crate::thread::{nap, os_thread};

const MARK: u32 = 1 << 29;
const BITS: u32 = 22;
const OF_EACH: u32 = 128;

/// What there is of such numbers.
#[derive(Default)]
struct Numbers {
    /// That no thread has any more.
    left: Vec<u32>,
    /// Whose is the next one.
    os_thread: u32,
    /// How many of its have been taken.
    taken: u32,
}

static NUMBERS: PerProcess<Mutex<Numbers>> = PerProcess::new();

/// What the current thread has.
#[derive(Clone, Copy)]
struct Own {
    /// 0 before it is asked for; the one that is made up, if there was no other.
    number: u32,
    /// That by which it goes otherwise, while it goes by `number`; else 0.
    made_up: u32,
    /// How many locks it has taken, less those that it has released.
    locks: i32,
}

const NONE: Own = Own {
    number: 0,
    made_up: 0,
    locks: 0,
};

thread_local! {
    static OWN: Cell<Own> = const { Cell::new(NONE) };
}

// Not inlined: a compiler may keep the address of a thread-local for as long as a function runs.
#[inline(never)]
fn own() -> Own {
    OWN.get()
}

#[inline(never)]
fn set_own(own: Own) {
    OWN.set(own);
}

/// Whether other processes may have it, and it is noted who owns it.
///
/// # Safety
///
/// It is one, in a program that is adopted.
#[inline]
pub(super) unsafe fn is_known_to_others(mutex: *mut pthread_mutex_t) -> bool {
    let layout = layout();
    // SAFETY: the caller's promise.
    let is = |mark: super::layout::Mark| unsafe { mark.is_on(mutex) };
    is(layout.shared_mutex)
        && (is(layout.mutex_checks_errors) || is(layout.recursive_mutex) || is(layout.robust_mutex))
}

/// The same.
///
/// # Safety
///
/// As there.
#[inline]
pub(super) unsafe fn is_rwlock_known_to_others(lock: *mut pthread_rwlock_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe { layout().shared_rwlock.is_on(lock) }
}

/// Calls a function of the C library on such a lock, after which the caller has `more` locks if it succeeds.
#[cold]
#[inline(never)]
pub(super) fn among_processes(more: i32, call: impl FnOnce() -> c_int) -> c_int {
    let known = own();
    // It has a number already, where one is within another.
    let Some(made_up) = adopt::thread_number().filter(|_| known.made_up == 0) else {
        return call();
    };
    let number = match known.number {
        // If there is no OS thread for more, the one that is made up: for good, since what is locked by one number is unlocked by it.
        0 => take().unwrap_or(made_up),
        number => number,
    };
    set_own(Own {
        number,
        made_up,
        ..known
    });
    adopt::set_thread_number(number);
    let result = call();
    return_to_made_up();
    if matches!(result, 0 | libc::EOWNERDEAD) {
        let own = own();
        set_own(Own {
            locks: own.locks + more,
            ..own
        });
    }
    result
}

/// The current thread goes by the number that is made up, also where the frame of [`among_processes`] was jumped over.
pub(crate) fn return_to_made_up() {
    let own = own();
    if own.made_up != 0 {
        adopt::set_thread_number(own.made_up);
        set_own(Own { made_up: 0, ..own });
    }
}

fn take() -> Option<u32> {
    let numbers = NUMBERS.get_or_make(Mutex::default);
    loop {
        {
            let mut numbers = numbers.lock();
            if let Some(number) = numbers.left.pop() {
                return Some(number);
            }
            if numbers.os_thread == 0 {
                numbers.os_thread = std::process::id();
            }
            if numbers.taken < OF_EACH {
                numbers.taken += 1;
                return Some(MARK | (numbers.taken - 1) << BITS | numbers.os_thread);
            }
        }
        let os_thread = idle_os_thread()?;
        let mut numbers = numbers.lock();
        // What another one has found meanwhile is used up first; that of this one is lost then.
        if numbers.taken == OF_EACH {
            numbers.os_thread = os_thread;
            numbers.taken = 0;
        }
    }
}

/// The number of a new OS thread, which stays. `None` if the system refuses one.
fn idle_os_thread() -> Option<u32> {
    let number = Arc::new(AtomicU32::new(0));
    let its = number.clone();
    start_os_thread("roving-owners".to_owned(), move || {
        adopt::block_all();
        its.store(os_thread().cast_unsigned(), Ordering::Release);
        loop {
            thread::park();
        }
    })
    .ok()?;
    while number.load(Ordering::Acquire) == 0 {
        nap(MOMENT);
    }
    Some(number.load(Ordering::Acquire))
}

/// The current thread ends.
pub(crate) fn end() {
    return_to_made_up();
    let own = own();
    set_own(NONE);
    let made_up = adopt::thread_number().unwrap_or_default();
    let given_up = robust::give_up(made_up, own.number);
    let locks = i64::from(own.locks) - given_up as i64;
    let is_of_others = own.number & MARK != 0;
    if is_of_others && locks <= 0 {
        NUMBERS
            .get_or_make(Mutex::default)
            .lock()
            .left
            .push(own.number);
    }
}

/// In a forked child, whose only thread owns nothing that its parent's has locked.
pub(super) fn in_child() {
    return_to_made_up();
    set_own(NONE);
}
