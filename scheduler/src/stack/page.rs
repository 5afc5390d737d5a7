//! The pages of memory that stacks are made of.

use std::io;
#[cfg(target_os = "linux")]
use std::ptr;
use std::sync::OnceLock;

use super::memory;

/// The size of a page of memory.
pub(super) fn page() -> usize {
    static PAGE: OnceLock<usize> = OnceLock::new();
    *PAGE.get_or_init(memory::page_size)
}

/// Lets memory be used that has just been mapped without access, and takes care that only the pages that
/// are touched cost memory:
///
/// - Huge pages are refused, since one would back eight stacks whole. Only a saving is lost where that
///   cannot be done.
/// - Where all that is mapped is locked (`mlockall` with `MCL_FUTURE`), the system would fill it at once,
///   which is all stacks that there may be. Here pages are locked when they are touched.
pub(super) fn give_access(start: usize, bytes: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let address = ptr::without_provenance_mut(start);
        if is_locked(start, bytes) {
            // SAFETY: it changes when pages are filled, and nothing else.
            if unsafe { libc::mlock2(address, bytes, libc::MLOCK_ONFAULT) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: it changes how pages are filled, and nothing else.
        unsafe { libc::madvise(address, bytes, libc::MADV_NOHUGEPAGE) };
    }
    memory::give_access(start, bytes)
}

/// Whether pages of a mapping of ours that nobody has used yet are locked.
#[cfg(target_os = "linux")]
pub(super) fn is_locked(start: usize, bytes: usize) -> bool {
    // The system refuses to drop pages that are locked.
    // SAFETY: there is nothing in them that could be lost.
    unsafe {
        libc::madvise(
            ptr::without_provenance_mut(start),
            bytes,
            libc::MADV_DONTNEED,
        ) != 0
    }
}
