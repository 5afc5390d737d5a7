//! The alternate stack of a thread, on which handlers of signals run that want one.
//!
//! The C library promises a thread a stack of its choice for that. The handlers that interrupt a green thread run on that of its
//! OS thread, which has one as all of the runtime's have. So a green thread is told that there is one, and whoever looks first, as
//! std does in each thread, makes none. What it sets itself is accepted, and not used: it would become the worker's, and stay that
//! when the thread and its stack are gone.

use std::ffi::c_int;
use std::sync::OnceLock;

use libc::stack_t;
use roving_scheduler::adopt;

use crate::next::next;
use crate::{errno, handler, is_adopted, memory};

type Next = unsafe extern "C" fn(*const stack_t, *mut stack_t) -> c_int;

/// The address and the size of the one of some worker. They are the same of all, but for the address.
static OF_WORKERS: OnceLock<(usize, usize)> = OnceLock::new();

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sigaltstack(new: *const stack_t, old: *mut stack_t) -> c_int {
    let is_of_green = is_adopted() && adopt::thread_number().is_some();
    // A handler runs on the worker's, and is told so.
    let is_there = |place: *const stack_t| {
        place.is_null() || memory::is_there(place.cast(), size_of::<stack_t>())
    };
    // Of what is not there the system tells.
    if !is_of_green || handler::is_running() || !is_there(new) {
        // SAFETY: the caller's promise.
        return unsafe { next!(sigaltstack: Next)(new, old) };
    }
    // SAFETY: the caller's promise: null, or one to set.
    if let Some(refused) = unsafe { new.as_ref() }.and_then(refusal) {
        return errno::fail(refused);
    }
    let &(start, bytes) = OF_WORKERS.get_or_init(of_this_worker);
    let told = stack_t {
        ss_sp: std::ptr::with_exposed_provenance_mut(start),
        ss_flags: 0,
        ss_size: bytes,
    };
    if old.is_null() {
        return 0;
    }
    // SAFETY: the caller's promise.
    errno::or_fail(unsafe { memory::tell(old, told) })
}

#[cold]
fn of_this_worker() -> (usize, usize) {
    // SAFETY: zeroes are a valid value, and there is room for the answer.
    let stack = unsafe {
        let mut stack = std::mem::zeroed::<stack_t>();
        next!(sigaltstack: Next)(std::ptr::null(), &raw mut stack);
        stack
    };
    (stack.ss_sp.expose_provenance(), stack.ss_size)
}

/// Why the system would not set it.
fn refusal(new: &stack_t) -> Option<c_int> {
    const AUTO_DISARM: c_int = 1 << 31;
    match new.ss_flags & !AUTO_DISARM {
        libc::SS_DISABLE => None,
        0 | libc::SS_ONSTACK if new.ss_size < libc::MINSIGSTKSZ => Some(libc::ENOMEM),
        0 | libc::SS_ONSTACK => None,
        _ => Some(libc::EINVAL),
    }
}
