//! Handlers of signals, and those that were there before them.

use std::ffi::{c_int, c_void};
use std::mem::{self, MaybeUninit};

use libc::siginfo_t;

/// What the system calls. It does only what may be done in a handler.
pub(crate) type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// What has been done with a signal before.
pub(crate) struct Previous(libc::sigaction);

/// What is left to do for who has called the previous handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    /// There was none, and the system does its default.
    Default,
    /// There was none, and the signal was ignored.
    Ignored,
}

/// Has `handler` called for `signal`, on the alternate stack of whoever gets it; `flags` go beside that.
pub(crate) fn install(signal: c_int, handler: Handler, flags: c_int) -> Previous {
    let mut previous = MaybeUninit::zeroed();
    // SAFETY: zeroes are a valid `sigaction`; the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | flags;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(signal, &action, previous.as_mut_ptr());
        Previous(previous.assume_init())
    }
}

impl Previous {
    /// Calls the previous handler, if there was one, in a handler of the same signal.
    pub(crate) fn call(&self, signal: c_int, info: *mut siginfo_t, context: *mut c_void) -> Left {
        match self.0.sa_sigaction {
            libc::SIG_DFL => return Left::Default,
            libc::SIG_IGN => return Left::Ignored,
            address if self.0.sa_flags & libc::SA_SIGINFO != 0 => {
                // SAFETY: with SA_SIGINFO the address is that of a function of this type.
                let handler: Handler = unsafe { mem::transmute(address) };
                handler(signal, info, context);
            }
            address => {
                // SAFETY: without SA_SIGINFO the address is that of a function of this type.
                let handler: extern "C" fn(c_int) = unsafe { mem::transmute(address) };
                handler(signal);
            }
        }
        Left::Nothing
    }
}
