//! The pages of memory that stacks are made of.

use std::ptr;
use std::sync::OnceLock;

/// The size of a page of memory.
pub(super) fn page() -> usize {
    static PAGE: OnceLock<usize> = OnceLock::new();
    *PAGE.get_or_init(|| {
        // SAFETY: sysconf has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(page).expect("the page size is positive")
    })
}

/// Gives the whole pages of a range of addresses back to the system: they read as zeroes from then on,
/// and guards among them stay.
///
/// # Safety
///
/// The range is part of a mapping of ours, and nothing in it is in use.
pub(super) unsafe fn give_back(start: usize, end: usize) {
    let (start, end) = (start.next_multiple_of(page()), end & !(page() - 1));
    if start < end {
        // SAFETY: the caller's promise.
        unsafe {
            libc::madvise(
                ptr::without_provenance_mut(start),
                end - start,
                libc::MADV_DONTNEED,
            );
        }
    }
}
