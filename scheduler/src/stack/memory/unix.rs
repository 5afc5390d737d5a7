//! See the [module above](super).

use std::io;
use std::ptr;

pub(in crate::stack) fn page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(page).expect("the page size is positive")
}

/// Maps so many bytes without access.
pub(in crate::stack) fn map(bytes: usize) -> io::Result<usize> {
    map_at(ptr::null_mut(), bytes, 0)
}

/// Maps a part of what was mapped here as it was at first.
#[cfg(target_os = "linux")]
pub(in crate::stack) fn map_again(start: usize, bytes: usize) -> io::Result<usize> {
    map_at(ptr::without_provenance_mut(start), bytes, libc::MAP_FIXED)
}

fn map_at(address: *mut libc::c_void, bytes: usize, flags: libc::c_int) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    let flags = flags | libc::MAP_NORESERVE | libc::MAP_STACK;
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a private mapping, wherever the system likes it, or in place of a part of a slab that
    // nobody uses.
    let start = unsafe { libc::mmap(address, bytes, libc::PROT_NONE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(start.expose_provenance())
}

/// # Safety
///
/// That has been mapped here, and nobody uses it.
pub(in crate::stack) unsafe fn unmap(start: usize, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { libc::munmap(ptr::with_exposed_provenance_mut(start), bytes) };
}

/// Lets what has just been mapped be read and written.
pub(in crate::stack) fn give_access(start: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: a mapping of ours, which has just been made, and which nobody relies on to fault.
    unsafe { protect(start, bytes, libc::PROT_READ | libc::PROT_WRITE) }
}

/// Makes each access fault.
///
/// # Safety
///
/// It is a part of what was mapped here, and holds nothing.
pub(in crate::stack) unsafe fn take_access_away(start: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: the caller's promise.
    unsafe { protect(start, bytes, libc::PROT_NONE) }
}

/// # Safety
///
/// As `mprotect`.
unsafe fn protect(start: usize, bytes: usize, access: libc::c_int) -> io::Result<()> {
    // SAFETY: the caller's promise.
    match unsafe { libc::mprotect(ptr::without_provenance_mut(start), bytes, access) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives whole pages back to the system: they read as zeroes from then on, unless they are locked.
///
/// # Safety
///
/// It is a part of what was mapped here, and holds nothing.
pub(in crate::stack) unsafe fn give_back(start: usize, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        libc::madvise(
            ptr::without_provenance_mut(start),
            bytes,
            libc::MADV_DONTNEED,
        );
    }
}

/// Which of the pages from `start` on have been written to: those whose byte is odd. Where that cannot be told, all have.
pub(in crate::stack) fn residency(start: usize, bytes: usize, pages: &mut [u8]) {
    assert!(pages.len() >= bytes.div_ceil(super::super::page::page()));
    // SAFETY: it writes one byte for each page that there is, and else fails.
    let known = unsafe {
        libc::mincore(
            ptr::with_exposed_provenance_mut(start),
            bytes,
            pages.as_mut_ptr().cast(),
        )
    };
    if known != 0 {
        pages.fill(1);
    }
}

/// Whether the system refuses to write at an address.
///
/// # Safety
///
/// Nobody uses what is there.
pub(in crate::stack) unsafe fn refuses_writes(address: usize) -> bool {
    // SAFETY: the system writes to it, or answers with an error.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, ptr::with_exposed_provenance_mut(address)) != 0 }
}
