//! Handlers of signals, and those that were there before them.
//!
//! The alternate stack of an OS thread has room for few handlers, one above the other: for each the system saves
//! registers there, and that of std has hardly more. Signals that come together would overflow it. So while a handler runs,
//! all other signals wait, but for faults, which cannot; and where the handler calls one that was there before, which then finds
//! blocked what it has asked for.

use std::ffi::{c_int, c_void};
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::siginfo_t;

/// What the system calls. It does only what may be done in a handler, and does not unwind, unless one that was there before does.
pub(crate) type Handler = extern "C-unwind" fn(c_int, *mut siginfo_t, *mut c_void);

/// What is left to do for who has called the previous handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    /// There was none, and the system does its default.
    Default,
    /// There was none, and the signal was ignored.
    Ignored,
}

/// Signals have smaller numbers.
pub(crate) const SIGNALS: usize = 128;

/// By signal, the handler that was installed where there was none.
static SOLE: [AtomicUsize; SIGNALS] = [const { AtomicUsize::new(0) }; SIGNALS];

/// What a thread causes itself, and ends it if it is blocked.
pub(crate) const FAULTS: [c_int; 6] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGSYS,
];

/// Has `handler` called for `signal`, on the alternate stack of whoever gets it; `flags` go beside that. Gives what was
/// done before.
pub(crate) fn install(signal: c_int, handler: Handler, flags: c_int) -> Action {
    // SAFETY: zeroes are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | flags;
    let current = Action::of(signal);
    if current.is_none() {
        hold_back(signal, &mut action.sa_mask);
    } else {
        // It may fork, or not return.
        action.sa_mask = current.0.sa_mask;
        action.sa_flags |= current.0.sa_flags & libc::SA_NODEFER;
    }
    // It has the signature that SA_SIGINFO asks for.
    let previous = Action(action).set(signal);
    if previous.is_none()
        && let Some(sole) = sole(signal)
    {
        sole.store(action.sa_sigaction, Ordering::Relaxed);
    }
    previous
}

/// Sets which signals wait while the handler of `signal` runs. That of a fault holds none back: it may pass it on to one that
/// does not return.
fn hold_back(signal: c_int, mask: &mut libc::sigset_t) {
    // SAFETY: it is there, and these are signals.
    unsafe {
        if FAULTS.contains(&signal) {
            libc::sigemptyset(mask);
        } else {
            libc::sigfillset(mask);
            for fault in FAULTS {
                libc::sigdelset(mask, fault);
            }
        }
    }
}

fn sole(signal: c_int) -> Option<&'static AtomicUsize> {
    SOLE.get(usize::try_from(signal).ok()?)
}

/// Whether the handler of `signal` is one of the runtime, and calls no other.
#[cfg(target_os = "linux")]
pub(crate) fn is_sole(signal: c_int) -> bool {
    let handler = sole(signal).map_or(0, |sole| sole.load(Ordering::Relaxed));
    handler != 0 && Action::of(signal).0.sa_sigaction == handler
}

/// What is done with a signal.
pub(crate) struct Action(libc::sigaction);

impl Action {
    /// What is done with a signal now.
    pub(crate) fn of(signal: c_int) -> Self {
        let mut current = MaybeUninit::zeroed();
        // SAFETY: it asks for what there is; zeroes are a valid `sigaction`.
        unsafe {
            libc::sigaction(signal, ptr::null(), current.as_mut_ptr());
            Self(current.assume_init())
        }
    }

    /// As the C library has it.
    #[cfg(all(feature = "adopt", target_os = "linux", target_env = "gnu"))]
    pub(crate) fn in_library(&self) -> &libc::sigaction {
        &self.0
    }

    /// Has it done from now on, and gives what was done before.
    pub(crate) fn set(&self, signal: c_int) -> Self {
        let mut previous = MaybeUninit::zeroed();
        // SAFETY: it is an action that the system has given, or a handler that `install` was given; zeroes are a valid
        // `sigaction`.
        unsafe {
            libc::sigaction(signal, &self.0, previous.as_mut_ptr());
            Self(previous.assume_init())
        }
    }

    pub(crate) fn is(&self, handler: Handler) -> bool {
        self.0.sa_sigaction == handler as *const () as usize
    }

    /// Whether the system does its default.
    pub(crate) fn is_default(&self) -> bool {
        self.0.sa_sigaction == libc::SIG_DFL
    }

    /// Whether nobody handles it.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self.0.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)
    }

    /// Whether the same is done.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let blocks = |action: &Self, signal| {
            // SAFETY: it is there.
            unsafe { libc::sigismember(&action.0.sa_mask, signal) == 1 }
        };
        self.0.sa_sigaction == other.0.sa_sigaction
            && self.0.sa_flags == other.0.sa_flags
            && (1..=64).all(|signal| blocks(self, signal) == blocks(other, signal))
    }

    /// Calls the handler, if it is one, in a handler of the same signal that was installed later.
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
                let handler: extern "C-unwind" fn(c_int) = unsafe { mem::transmute(address) };
                handler(signal);
            }
        }
        Left::Nothing
    }
}

/// Whether there is such a signal, that programs may handle.
pub(crate) fn exists(signal: c_int) -> bool {
    let mut current = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: it asks for what there is.
    unsafe { libc::sigaction(signal, ptr::null(), current.as_mut_ptr()) == 0 }
}

/// Calls `run` in a handler, and leaves `errno` as it was to what is interrupted.
pub(crate) fn keep_errno(run: impl FnOnce()) {
    // SAFETY: it is the current thread's.
    unsafe {
        let before = *errno();
        run();
        *errno() = before;
    }
}

/// Where the current thread has its `errno`.
fn errno() -> *mut libc::c_int {
    // SAFETY: they ask for nothing.
    unsafe {
        #[cfg(target_os = "linux")]
        return libc::__errno_location();
        #[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
        return libc::__error();
        #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
        return libc::__errno();
    }
}
