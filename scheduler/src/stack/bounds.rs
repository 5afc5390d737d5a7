//! Where a stack is.
//!
//! **No address is trusted because of where it should lie.** A green thread may run on a stack that is not
//! its own: that of a coroutine of its own, one that was made for a deep recursion. Whoever reasons
//! about its stack asks here whether the stack pointer is on it, and otherwise leaves the stack alone.

use super::page;

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The lowest address, where the guard begins.
    pub(super) bottom: usize,
    /// The lowest address that a thread may use, where the guard ends.
    pub(super) lowest: usize,
    /// The address below which a thread uses it.
    pub(super) base: usize,
    /// The size that was promised.
    pub(crate) size: usize,
}

impl Bounds {
    /// Whether `address` is in the part that may be used.
    pub(super) fn holds(&self, address: usize) -> bool {
        (self.lowest..self.base).contains(&address)
    }

    /// Whether a fault at `address` is an overflow of this stack, `stack_pointer` being that of whoever
    /// faulted: an address in the guard, touched by somebody on this stack. Safe in a signal handler.
    pub(crate) fn is_overflow(&self, address: usize, stack_pointer: usize) -> bool {
        let is_here = |address| (self.bottom..self.base).contains(&address);
        is_here(address) && !self.holds(address) && is_here(stack_pointer)
    }

    /// Gives the pages below `end` back to the system.
    ///
    /// # Safety
    ///
    /// Nothing of this stack is in use below `end`.
    pub(super) unsafe fn give_back_below(&self, end: usize) {
        // SAFETY: the caller's promise; stacks are mapped for ever.
        unsafe { page::give_back(self.lowest, end.min(self.base)) };
    }
}
