//! The alternate stack of an OS thread of ours, on which the handler of [overflows](super::overflow) runs.
//!
//! std sets one up for every thread that it starts, but only in a program whose `main` is Rust's. Where Roving is
//! part of a library that another program has loaded, an OS thread of ours has one of its own.

use std::mem;
use std::ptr;

use crate::stack::slab;

/// More than the handler and those that it passes faults on to need, beside the registers that the system saves there.
const ROOM: usize = 32 << 10;

/// See the [module](self). It is taken away and unmapped when this is dropped.
pub(crate) struct SignalStack {
    start: usize,
    bytes: usize,
}

impl SignalStack {
    /// Gives the current OS thread one if it has none. Where there is no memory for it, an overflow ends the process
    /// without a message.
    pub(crate) fn of_this_thread() -> Option<Self> {
        // SAFETY: asks which there is; zeroes are a valid value.
        let there_is_one = unsafe {
            let mut current: libc::stack_t = mem::zeroed();
            libc::sigaltstack(ptr::null(), &raw mut current) == 0
                && current.ss_flags & libc::SS_DISABLE == 0
        };
        if there_is_one {
            return None;
        }
        let bytes = ROOM + saved_by_the_system();
        let start = slab::map_bytes(bytes).ok()?;
        let this = Self { start, bytes };
        this.set(0);
        Some(this)
    }

    /// Sets it with these flags, for the current OS thread.
    fn set(&self, flags: libc::c_int) {
        let stack = libc::stack_t {
            ss_sp: ptr::with_exposed_provenance_mut(self.start),
            ss_flags: flags,
            ss_size: self.bytes,
        };
        // SAFETY: the memory is a mapping of ours that nobody else uses, and stays until it is disabled.
        unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        self.set(libc::SS_DISABLE);
        // SAFETY: no handler runs on it, for this does, and none will.
        unsafe { slab::unmap(self.start, self.bytes) };
    }
}

/// How many bytes the system needs for a signal, which depends on the processor.
fn saved_by_the_system() -> usize {
    #[cfg(target_os = "linux")]
    // SAFETY: getauxval has no preconditions.
    let least = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    #[cfg(not(target_os = "linux"))]
    let least = 0;
    least.max(libc::MINSIGSTKSZ).next_multiple_of(4 << 10)
}
