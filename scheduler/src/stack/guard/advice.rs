//! Guards by `MADV_GUARD_INSTALL`: it marks the pages of the guard in the page table and leaves the mapping
//! whole, so a slab of any number of stacks is one mapping.

use std::ptr;

use super::Slots;
use super::why::Why;
use crate::stack::page;

/// Linux's number of `MADV_GUARD_INSTALL`, which libc does not name yet.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Guards all of `slots`.
pub(super) fn install(slots: Slots) -> Result<usize, Why> {
    for guard in slots.guards() {
        // SAFETY: a guard, in a slab of ours, which holds nothing.
        let refused = unsafe {
            let guard = ptr::without_provenance_mut(guard);
            libc::madvise(guard, slots.guard_bytes, MADV_GUARD_INSTALL)
        };
        if refused != 0 {
            let why = Why::last_os_error();
            // The error for locked memory is that of systems which do not know the advice.
            let is_locked = page::is_locked(slots.bottom, slots.bytes());
            return Err(if is_locked { Why::LOCKED } else { why });
        }
    }
    Ok(slots.count)
}
