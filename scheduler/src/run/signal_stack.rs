//! The alternate stack of an OS thread of ours, on which the handlers of signals run: that of [overflows](super::overflow),
//! and that in which a thread that computes copies its [stack](super::glimpse).
//!
//! std sets one up for every thread that it starts, but only in a program whose `main` is Rust's, and with no more than
//! the system needs where that is much, as on processors with large registers. So an OS thread of ours has one of its own
//! unless there is one that is large enough.

use std::mem;
use std::ptr;

use crate::stack::slab;

/// More than the handler and those that it passes faults on to need, beside the registers that the system saves there.
const ROOM: usize = 32 << 10;

/// See the [module](self). It is taken away and unmapped when this is dropped.
pub(crate) struct SignalStack {
    start: usize,
    bytes: usize,
    /// What was there before, and will be again.
    previous: libc::stack_t,
}

impl SignalStack {
    /// Gives the current OS thread one if it has none that is large enough. Where there is no memory for it, an overflow
    /// may end the process without a message.
    pub(crate) fn of_this_thread() -> Option<Self> {
        let bytes = ROOM + saved_by_the_system();
        // SAFETY: asks which there is; zeroes are a valid value.
        let previous = unsafe {
            let mut current: libc::stack_t = mem::zeroed();
            if libc::sigaltstack(ptr::null(), &raw mut current) != 0 {
                return None;
            }
            current
        };
        if previous.ss_flags & libc::SS_DISABLE == 0 && previous.ss_size >= bytes {
            return None;
        }
        let start = slab::map_bytes(bytes).ok()?;
        let new = libc::stack_t {
            ss_sp: ptr::with_exposed_provenance_mut(start),
            ss_flags: 0,
            ss_size: bytes,
        };
        // SAFETY: it is a mapping of ours, which this unmaps when it has set the previous one.
        unsafe { set(&new) };
        Some(Self {
            start,
            bytes,
            previous,
        })
    }
}

/// Sets the alternate stack of the current OS thread.
///
/// # Safety
///
/// Nobody else uses it, and it stays until another one is set.
unsafe fn set(stack: &libc::stack_t) {
    // SAFETY: the caller's promise.
    unsafe { libc::sigaltstack(stack, ptr::null_mut()) };
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        // SAFETY: it was there before, and whoever has set it takes it away after this, as the thread ends.
        unsafe { set(&self.previous) };
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
