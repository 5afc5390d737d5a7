//! Masks of signals.
//!
//! The C library promises a thread a mask of its own, which it inherits from its maker, and that what it has blocked is pending until it
//! lets it come. The functions that change a mask are the C library's still, and change that of the OS thread: while a green thread runs,
//! that is its own. It is [marked](adopt::keep_signals) here, and takes its mask along when it is parked.
//!
//! Others are to know what a green thread has blocked who send it a signal: so that is [noted](crate::thread::note_mask) after each change.
//! Before a change the thread gives the system [what was sent](crate::thread::take_in_all) to it. From then on the system holds that back or
//! delivers it, as it does for any thread.
//!
//! A mask that the handler of a signal sets ends with the handler. If this is jumped out of, what the jump restores stays, or else the
//! handler's.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{sigset_t, ucontext_t};
use roving_scheduler::adopt::{self, Inside, Signals};

use crate::next::next;
use crate::{errno, handler, is_adopted, slot, thread};

/// Whether any OS thread has changed its mask, so that not all have that of the workers.
static HAS_CHANGED: AtomicBool = AtomicBool::new(false);

/// Makes a change of the current thread's mask.
fn changing<T>(change: impl FnOnce() -> T) -> T {
    let is_green = is_adopted() && adopt::blocked_by_worker().is_some();
    if !is_green {
        HAS_CHANGED.store(true, Ordering::Relaxed);
    }
    // A child that has its parent's memory has a mask of its own.
    if !is_green || !slot::is_ours() {
        return change();
    }
    adopt::keep_signals();
    if handler::is_running() {
        return change();
    }
    if !Inside::is_current() {
        errno::kept(thread::take_in_all);
    }
    let result = change();
    errno::kept(thread::note_mask);
    result
}

/// The mask that a thread which the current one makes is to begin with; `None` if that is the one of its worker.
pub(crate) fn inherited() -> Option<Signals> {
    let may_differ = if adopt::blocked_by_worker().is_some() {
        adopt::keeps_signals()
    } else {
        HAS_CHANGED.load(Ordering::Relaxed)
    };
    may_differ.then(adopt::blocked)
}

/// As the kernel has the set.
///
/// # Safety
///
/// It is a set.
pub(crate) unsafe fn to_kernel(set: *const sigset_t) -> Signals {
    // SAFETY: the caller's promise: a set of the C library begins with that of the kernel, in words of that size.
    unsafe { set.cast::<Signals>().read() }
}

/// Whether a signal is in a set.
pub(crate) fn is_in(set: Signals, signal: c_int) -> bool {
    (1..=64).contains(&signal) && set & (1 << (signal - 1)) != 0
}

/// As the C library has the set.
fn to_library(mask: Signals) -> sigset_t {
    // SAFETY: zeroes are a set, which begins with that of the kernel.
    unsafe {
        let mut set: sigset_t = std::mem::zeroed();
        (&raw mut set).cast::<Signals>().write(mask);
        set
    }
}

/// Sets the current thread's mask.
fn set(mask: Signals) {
    let set = to_library(mask);
    // SAFETY: it is a set.
    unsafe { pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
}

/// The current thread begins, with this mask, and with all held back until now. What was sent to it before is left for later: it was never
/// without the mask. The handler of what comes by that may end the thread.
pub(crate) fn begin(mask: Signals) {
    type Next = unsafe extern "C-unwind" fn(c_int, *const sigset_t, *mut sigset_t) -> c_int;
    adopt::begin_signals();
    let set = to_library(mask);
    // SAFETY: it is a set.
    unsafe {
        next!(pthread_sigmask: Next)(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut())
    };
}

/// Defines functions that change a mask. The handler of what they let come may end the thread.
macro_rules! changes_mask {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(if $changes:expr)?;)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name($($argument: $type),*) -> c_int {
            type Next = unsafe extern "C-unwind" fn($($type),*) -> c_int;
            // SAFETY: the caller's promise.
            let next = || unsafe { next!($name: Next)($($argument),*) };
            if true $(&& $changes)? {
                changing(next)
            } else {
                thread::look_up();
                next()
            }
        }
    )*};
}

changes_mask! {
    fn pthread_sigmask(how: c_int, set: *const sigset_t, before: *mut sigset_t) if !set.is_null();
    fn sigprocmask(how: c_int, set: *const sigset_t, before: *mut sigset_t) if !set.is_null();
    fn sigblock(mask: c_int);
    fn sigsetmask(mask: c_int);
    fn sighold(signal: c_int);
    fn sigrelse(signal: c_int);
}

/// The system call.
///
/// # Safety
///
/// That of the system call, which is `call`, with this set.
pub(crate) unsafe fn by_number(
    set: usize,
    call: impl FnOnce() -> std::ffi::c_long,
) -> std::ffi::c_long {
    if set == 0 || Inside::is_current() {
        call()
    } else {
        changing(call)
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn sigpending(set: *mut sigset_t) -> c_int {
    type Next = unsafe extern "C-unwind" fn(*mut sigset_t) -> c_int;
    // SAFETY: the caller's promise.
    telling_pending(|| unsafe { next!(sigpending: Next)(set) })
}

/// Tells what is pending by `tell`, of which what was sent before is a part.
pub(crate) fn telling_pending<T>(tell: impl FnOnce() -> T) -> T {
    if is_adopted() && adopt::blocked_by_worker().is_some() && !Inside::is_current() {
        errno::kept(thread::take_in);
    }
    tell()
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn raise(signal: c_int) -> c_int {
    thread::look_up();
    if is_adopted() {
        // It may have blocked it.
        adopt::keep_signals();
    }
    // SAFETY: the caller's promise.
    unsafe { next!(raise: unsafe extern "C-unwind" fn(c_int) -> c_int)(signal) }
}

/// Sets the handler of a signal, or holds it back, which is a change of the mask.
pub(crate) fn may_change<T>(change: impl FnOnce() -> T) -> T {
    changing(change)
}

/// The current thread has left the handler of a signal for good, with its mask, or a context, and has another one than it had.
pub(crate) fn is_left() {
    if is_adopted() && adopt::keep_signals() {
        errno::kept(thread::note_mask);
    }
}

/// The mask in a `ucontext_t`, with which the code that it is of goes on.
///
/// # Safety
///
/// It is one.
pub(crate) unsafe fn of_context(context: *const c_void) -> Signals {
    let context = context.cast::<ucontext_t>();
    // SAFETY: the caller's promise.
    unsafe { to_kernel(&raw const (*context).uc_sigmask) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn swapcontext(from: *mut ucontext_t, to: *const ucontext_t) -> c_int {
    type Next = unsafe extern "C-unwind" fn(*mut ucontext_t, *const ucontext_t) -> c_int;
    // SAFETY: the caller's promise. What is here is gone on with once, as the caller is.
    unsafe {
        goes_on_with(to.cast());
        let result = next!(swapcontext: Next)(from, to);
        is_left();
        result
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn setcontext(to: *const ucontext_t) -> c_int {
    type Next = unsafe extern "C-unwind" fn(*const ucontext_t) -> c_int;
    // SAFETY: the caller's promise.
    unsafe {
        goes_on_with(to.cast());
        next!(setcontext: Next)(to)
    }
}

/// The current thread is about to go on with a context.
///
/// # Safety
///
/// It is one.
unsafe fn goes_on_with(context: *const c_void) {
    if is_adopted() && adopt::keep_signals() {
        // SAFETY: the caller's promise.
        thread::note_mask_as(unsafe { of_context(context) });
    }
}

/// The handler of a signal has changed the mask with which the thread goes on that it has interrupted.
pub(crate) fn is_changed_by_handler(mask: Signals) {
    if adopt::keep_signals() && !Inside::is_current() {
        thread::note_mask_as(mask);
    }
}

/// A place to jump to: what `sigsetjmp` has written.
#[repr(C)]
struct Place {
    registers: [usize; if cfg!(target_arch = "x86_64") { 8 } else { 22 }],
    has_mask: c_int,
    mask: sigset_t,
}

/// Who jumps there restores the mask that is noted there, if there is one.
///
/// # Safety
///
/// It is such a place.
pub(crate) unsafe fn is_restored_by_jump(place: *const c_void) {
    let place = place.cast::<Place>();
    // SAFETY: the caller's promise.
    let mask = unsafe { ((*place).has_mask != 0).then(|| to_kernel(&raw const (*place).mask)) };
    if let Some(mask) = mask
        && is_adopted()
        && adopt::blocked_by_worker().is_some()
    {
        set(mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who makes a thread asks for no mask where none was changed.
    #[test]
    fn the_runtime_changes_no_mask_of_the_programs() {
        crate::adopt().unwrap();
        std::thread::spawn(std::thread::yield_now).join().unwrap();
        assert!(!HAS_CHANGED.load(Ordering::Relaxed));
    }
}
