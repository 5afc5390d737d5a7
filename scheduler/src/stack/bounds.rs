//! Where a stack is.
//!
//! **No address is trusted because of where it should lie.** A green thread may run on a stack that is not
//! its own: that of a coroutine of its own, one that was made for a deep recursion. Whoever reasons
//! about its stack asks here whether the stack pointer is on it, and otherwise leaves the stack alone.

use std::ops::Range;

use super::class::Class;
use super::guard;
use super::memory;
use super::page::page;
use crate::protocol::outline::{Field, fields};

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The lowest address that a thread may use, where the guard ends.
    pub(super) lowest: usize,
    /// The address below which a thread uses it.
    pub(super) base: usize,
}

impl Bounds {
    pub(crate) const FIELDS: [Field; 2] = fields!(Bounds: lowest, base);

    /// Whether `address` is in the part that may be used.
    pub(crate) fn holds(&self, address: usize) -> bool {
        (self.lowest..self.base).contains(&address)
    }

    /// The address below which a thread uses it.
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// The lowest address, where the guard begins.
    pub(super) fn bottom(&self) -> usize {
        self.lowest - Class::guard_bytes()
    }

    /// The size that was promised, which is a power of two: at most a page and what tops are staggered by is beside it, and so
    /// less than as much again. (Where a page is larger than that, so is what one has.)
    pub(crate) fn size(&self) -> usize {
        1 << (self.base - self.lowest).ilog2()
    }

    /// The part that may be used.
    pub(crate) fn range(&self) -> Range<usize> {
        self.lowest..self.base
    }

    /// Whether a fault at `address` is an overflow of this stack, `stack_pointer` being that of whoever
    /// faulted: an address in the guard, touched by somebody on this stack. Safe in a signal handler.
    pub(crate) fn is_overflow(&self, address: usize, stack_pointer: usize) -> bool {
        let is_here = |address| (self.bottom()..self.base).contains(&address);
        is_here(address) && !self.holds(address) && is_here(stack_pointer)
    }

    /// Gives the whole pages from the end of the guard to `end` back to the [system](memory::give_back). It has no say in where that begins: some kinds of guards would be gone.
    ///
    /// # Safety
    ///
    /// `end` is in the slot of this stack, of which nothing is in use below it.
    pub(super) unsafe fn give_back_below(&self, end: usize) {
        let (start, end) = (self.lowest, end & !(page() - 1));
        assert!(start.is_multiple_of(page()));
        if start < end {
            // SAFETY: part of a slab, which is mapped for ever; by the caller's promise nothing in it is
            // in use.
            unsafe { memory::give_back(start, end - start) };
        }
    }

    /// Guards it in a forked child, where it may be the only one that has lost its guard, and is the only
    /// one in use.
    pub(crate) fn guard_in_child(&self) {
        guard::hold_in_child(self.bottom(), Class::guard_bytes());
    }
}
