//! Where a stack is.

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
    /// Whether `address` lies in the guard. Safe in a signal handler.
    pub(crate) fn is_guard(&self, address: usize) -> bool {
        (self.bottom..self.lowest).contains(&address)
    }

    /// Gives the pages below `end` back to the system.
    ///
    /// # Safety
    ///
    /// `end` is in the stack, and nothing below it is in use.
    pub(crate) unsafe fn give_back_below(&self, end: usize) {
        // SAFETY: the caller's promise; stacks are mapped for ever.
        unsafe { page::give_back(self.lowest, end) };
    }
}
