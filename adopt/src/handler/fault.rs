//! What is done by default with a fault, `SIGSEGV` or `SIGBUS`: the runtime tells of the overflow of a stack of its own, and the system does its default with
//! any other.
//!
//! To the program that is the default: it is told so, and what it has found there it may set again. As long as it handles no faults, the system
//! has [ours](super::handle) for them, which [ends](by_default) here. So whoever handles a fault is asked first. If he does not know it, he sets the
//! default and returns, as the handler of std does, and the fault comes again. Another thread that overflows its stack between the two
//! is told of all the same, since there is no moment at which the system has nobody for it.

use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::Ordering;

use libc::{sigaction as Action, sighandler_t, siginfo_t};
use roving_scheduler::adopt;

use super::{has_context, next_action, of, ours, with_flags, with_handler};
use crate::next::next;
use crate::slot;

/// Whether to have this done with a signal is to have the default done with a fault. A child that has its parent's memory has the system's.
pub(super) fn is_default(signal: c_int, handler: sighandler_t) -> bool {
    handler == libc::SIG_DFL && [libc::SIGSEGV, libc::SIGBUS].contains(&signal) && slot::is_ours()
}

/// What ours calls, as the program has set it.
pub(super) fn as_program(handler: sighandler_t) -> sighandler_t {
    if handler == ours_by_default() {
        libc::SIG_DFL
    } else {
        handler
    }
}

/// Has the default done with a fault. Gives what the program has had done; `None` if that fails.
pub(super) fn set_default(signal: c_int) -> Option<Action> {
    let place = of(signal)?;
    // Before: from the moment on when the system has ours, it calls this one.
    let before = place.swap(ours_by_default(), Ordering::AcqRel);
    // SAFETY: zeroes are an action, and there is room for another one.
    let had = unsafe {
        let mut had: Action = mem::zeroed();
        let mut action: Action = mem::zeroed();
        action.sa_sigaction = ours();
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let set = || next_action(signal, &raw const action, &raw mut had);
        (with_flags(signal, action.sa_flags, set) == 0).then_some(had)
    };
    let Some(had) = had else {
        place.store(before, Ordering::Release);
        return None;
    };
    Some(match had.sa_sigaction {
        handler if handler == ours() => with_handler(had, as_program(before)),
        _ => had,
    })
}

fn ours_by_default() -> sighandler_t {
    by_default as *const () as sighandler_t
}

/// What ours calls where the program handles no faults.
extern "C-unwind" fn by_default(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // If not, it comes again.
    let is_known = has_context(signal);
    // SAFETY: then the system has given both.
    let is_sent = is_known && unsafe { adopt::is_sent(info) };
    if is_known && !is_sent {
        // SAFETY: the same.
        unsafe { adopt::end_if_overflow(info, context) };
    }
    // A fault comes again, and what was sent is sent again: it comes when this returns, and has it held back no more.
    // SAFETY: zeroes are the default action, and a signal may be raised in a handler.
    unsafe {
        let default: Action = mem::zeroed();
        next_action(signal, &raw const default, ptr::null_mut());
        if is_sent {
            next!(raise: unsafe extern "C-unwind" fn(c_int) -> c_int)(signal);
        }
    }
}
