//! How much of a stack has been used.
//!
//! A page that was never written to is not there, and one that was given back is zero. So the mark
//! of the deepest use is the lowest word that is not zero in a page that is there. A stack that had
//! another user before may carry that one's mark, unless it was wiped in between.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::bounds::Bounds;
use super::memory;
use super::page::page;

/// How much of its stack a green thread or a coroutine has used. What a green thread does on another stack,
/// such as that of a coroutine of its own, is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackUsage {
    /// The size of the stack, in bytes.
    pub size: usize,
    /// The most that has been in use at a time, in bytes from the top. It is exact if the
    /// environment has `ROVING_STACK_REPORT=1`; else it may be that of an earlier green thread on
    /// the same stack.
    pub high_water: usize,
}

impl StackUsage {
    /// That of a stack which somebody may be running on.
    pub(crate) fn of(stack: Bounds) -> Self {
        Self {
            size: stack.size(),
            high_water: high_water(stack),
        }
    }
}

/// The bytes from the lowest word that has been written to the base of a stack.
fn high_water(stack: Bounds) -> usize {
    let start = stack.lowest;
    let pages = (stack.base - start).div_ceil(page());
    let mut residency = vec![0_u8; pages];
    memory::residency(start, stack.base - start, &mut residency);
    for (index, flags) in residency.into_iter().enumerate() {
        if flags & 1 == 0 {
            continue;
        }
        let from = start + index * page();
        let to = (from + page()).min(stack.base);
        for address in (from..to).step_by(size_of::<usize>()) {
            let word = ptr::with_exposed_provenance_mut::<usize>(address);
            // SAFETY: an aligned word of a stack, which is mapped for ever. Its thread may be writing to
            // it: then whatever is found is a mark that has been or will be there.
            if unsafe { AtomicUsize::from_ptr(word) }.load(Ordering::Relaxed) != 0 {
                return stack.base - address;
            }
        }
    }
    0
}
