//! What a thread does with its thread-locals at its end.
//!
//! The same as the C library does at the end of an OS thread, in the same order: the destructors of
//! thread-locals, then those of pthread keys. What they leave behind, and what is set after them,
//! no later thread finds: see [`Block::renew`](super::Block::renew). A thread that the system ends at once leaves all as it is (`leave_values`).
//! A thread may exit in a destructor, if there is somebody who knows how: then it goes on with those that are left.

#[cfg(feature = "adopt")]
use std::ffi::c_void;
#[cfg(feature = "adopt")]
use std::ptr;

use super::pattern::Own;
use super::{keys, pointer};
use crate::stack::tls;

/// What else a thread does when no destructor is left to run.
#[cfg(feature = "adopt")]
pub(crate) static AT_END: std::sync::OnceLock<fn()> = std::sync::OnceLock::new();

#[cfg(feature = "adopt")]
thread_local! {
    static LEAVES_VALUES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// See [`Destroy`](crate::adopt::Destroy).
#[cfg(feature = "adopt")]
type Destroy = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// What has the destructors of a thread run, again where the thread has exited in one of them.
#[cfg(feature = "adopt")]
pub(crate) static DESTROYS: std::sync::OnceLock<fn(Destroy)> = std::sync::OnceLock::new();

/// # Safety
///
/// That of `destroy`.
#[cfg(feature = "adopt")]
unsafe extern "C-unwind" fn destroy_left(_: *mut c_void) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { destroy() };
    ptr::null_mut()
}

/// What the current thread has its own thread-locals by: in a forked child it may be the one that has forked, and what the parent has found.
fn of_current() -> Option<&'static Own> {
    tls::OWN.get_or_inherited()?.as_ref().ok()
}

/// Runs the destructors of the current thread that are left.
///
/// # Safety
///
/// It has its own thread-locals, which are not used any more, but by what this calls.
unsafe fn destroy() {
    if leaves_values() {
        return;
    }
    let own = of_current().expect("the current thread has its own thread-locals");
    // SAFETY: the caller's promise.
    unsafe { (own.layout.call_tls_dtors)() };
    keys::destroy_values(own, pointer::current());
}

/// From now on the current thread destroys nothing at its end.
// Not inlined, as the next: a compiler may keep the address of a thread-local for as long as a function runs.
#[cfg(feature = "adopt")]
#[inline(never)]
pub(crate) fn leave_values() {
    LEAVES_VALUES.set(true);
}

#[cfg_attr(feature = "adopt", inline(never))]
fn leaves_values() -> bool {
    #[cfg(feature = "adopt")]
    return LEAVES_VALUES.get();
    #[cfg(not(feature = "adopt"))]
    false
}

/// Ends the current thread as far as its thread-locals are concerned. Destructors run, which may
/// block.
///
/// # Safety
///
/// The current thread has its own thread-locals, this is the last that it does, and it does it once.
pub(crate) unsafe fn end_thread() {
    #[cfg(feature = "adopt")]
    match DESTROYS.get() {
        Some(destroys) => destroys(destroy_left),
        // SAFETY: the caller's promise.
        None => unsafe { destroy() },
    }
    // SAFETY: the caller's promise.
    #[cfg(not(feature = "adopt"))]
    unsafe {
        destroy();
    }
    #[cfg(feature = "adopt")]
    if let Some(at_end) = AT_END.get() {
        at_end();
    }
    // An error that nobody has asked for is kept in memory of its own. The second call frees it.
    // SAFETY: these have no preconditions.
    unsafe {
        libc::dlerror();
        libc::dlerror();
    }
}
