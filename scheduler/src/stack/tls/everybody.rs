//! The C library's signal to every thread.
//!
//! Linux has credentials a thread, POSIX has them a process: `setuid` and its like signal every OS
//! thread, each of which makes the system call and then notes in its `struct pthread` that it has
//! done so, which is waited for. On a worker the signal may arrive while a green thread's thread
//! pointer is loaded; the note would be made in the wrong place, and the caller wait for ever. So
//! the handler is wrapped in one that loads the worker's own pointer.

use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::OwnPointer;
use super::libc_layout::Refusal;
use super::pointer;

/// `SIGSETXID`, which programs cannot name.
const SIGNAL: c_int = 33;
/// The size of the kernel's set of signals.
const SIGNAL_SET: usize = 8;

/// The kernel's `struct sigaction`, which begins with the handler.
type Action = [usize; 4];
type Handler = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// The C library's handler.
static WRAPPED: AtomicUsize = AtomicUsize::new(0);
static OWN_POINTER: OnceLock<OwnPointer> = OnceLock::new();

/// Wraps the handler, which the C library has installed with its first thread.
pub(super) fn wrap_handler(own_pointer: OwnPointer) -> Result<(), Refusal> {
    OWN_POINTER.get_or_init(|| own_pointer);
    if WRAPPED.load(Ordering::SeqCst) != 0 {
        // In a forked child, whose parent has done it.
        return Ok(());
    }
    let mut action = Action::default();
    let ours: Handler = handle;
    // SAFETY: reads the action, and changes nothing of it but the handler, to one with the same
    // signature.
    let done = unsafe {
        rt_sigaction(ptr::null(), &raw mut action) && action[0] > libc::SIG_IGN && {
            WRAPPED.store(action[0], Ordering::SeqCst);
            action[0] = ours as usize;
            rt_sigaction(&raw const action, ptr::null_mut())
        }
    };
    if done {
        Ok(())
    } else {
        WRAPPED.store(0, Ordering::SeqCst);
        Err("the C library's handler of its signal to all threads is not to be found".into())
    }
}

unsafe fn rt_sigaction(new: *const Action, old: *mut Action) -> bool {
    // SAFETY: the caller passes valid actions or null. The C library's own function refuses this
    // signal.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, SIGNAL, new, old, SIGNAL_SET) == 0 }
}

unsafe extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: a handler with this signature was there.
    let wrapped = unsafe { mem::transmute::<usize, Handler>(WRAPPED.load(Ordering::SeqCst)) };
    match OWN_POINTER.get().and_then(|own_pointer| own_pointer()) {
        // SAFETY: this OS thread's own pointer, as long as the C library's handler runs.
        Some(own) => unsafe { pointer::call_as(own, || wrapped(signal, info, context)) },
        // SAFETY: what the kernel has passed.
        None => unsafe { wrapped(signal, info, context) },
    }
}
