//! What the system does with a signal, as it has it itself: the C library tells of it in its own words, and not of the signals that it keeps
//! for itself.

use std::ffi::{c_int, c_long, c_ulong, c_void};

use libc::{sighandler_t, siginfo_t};
use roving_scheduler::adopt::Signals;

use crate::next::next;

/// What the system call takes.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemAction {
    pub(crate) handler: sighandler_t,
    pub(crate) flags: c_ulong,
    restorer: usize,
    mask: Signals,
}

impl SystemAction {
    /// One that calls a handler and interrupts the call that a thread is in.
    pub(crate) fn interrupting(
        handler: extern "C-unwind" fn(c_int, *mut siginfo_t, *mut c_void),
    ) -> Self {
        let restores = restorer();
        Self {
            handler: handler as *const () as sighandler_t,
            flags: (libc::SA_SIGINFO | if restores == 0 { 0 } else { SA_RESTORER }) as c_ulong,
            restorer: restores,
            mask: 0,
        }
    }

    pub(crate) fn of(signal: c_int) -> Self {
        let mut found = Self::default();
        exchange(signal, None, Some(&mut found));
        found
    }

    pub(crate) fn set(&self, signal: c_int) {
        exchange(signal, Some(self), None);
    }
}

fn exchange(signal: c_int, new: Option<&SystemAction>, before: Option<&mut SystemAction>) {
    type Syscall = unsafe extern "C" fn(
        c_long,
        c_int,
        Option<&SystemAction>,
        Option<&mut SystemAction>,
        usize,
    ) -> c_long;
    // SAFETY: null, or an action, and there is room for another one; the set in it has that size.
    unsafe {
        next!(syscall: Syscall)(
            libc::SYS_rt_sigaction,
            signal,
            new,
            before,
            size_of::<Signals>(),
        );
    }
}

const SA_RESTORER: c_int = 0x0400_0000;

/// By what a handler goes back, where the system has nothing of its own for that.
#[cfg(target_arch = "x86_64")]
fn restorer() -> usize {
    unsafe extern "C" {
        #[link_name = "roving_adopt_restore"]
        fn restore();
    }
    restore as *const () as usize
}

#[cfg(target_arch = "aarch64")]
fn restorer() -> usize {
    0
}

// Who unwinds a stack knows it by its bytes, in which it has to be, and has no other description of it: not of the byte before, where it
// looks for one.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".pushsection .text.roving_adopt_restore, \"ax\", @progbits",
    "nop",
    ".globl roving_adopt_restore",
    ".hidden roving_adopt_restore",
    ".type roving_adopt_restore, @function",
    "roving_adopt_restore:",
    // `rt_sigreturn`.
    ".byte 0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00",
    "syscall",
    ".size roving_adopt_restore, . - roving_adopt_restore",
    ".popsection",
);
