//! See the [module above](super). What is mapped is promised by the system at once, and pages are filled as they are touched.

use std::ffi::c_void;
use std::io;
use std::mem;
use std::ptr;

use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, MEM_RESET, MEMORY_BASIC_INFORMATION, PAGE_NOACCESS,
    PAGE_READWRITE, VirtualAlloc, VirtualFree, VirtualProtect, VirtualQuery,
};
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

pub(in crate::stack) fn page_size() -> usize {
    // SAFETY: zeroes are a valid value, which is written.
    unsafe {
        let mut system: SYSTEM_INFO = mem::zeroed();
        GetSystemInfo(&mut system);
        system.dwPageSize as usize
    }
}

/// Maps so many bytes without access.
pub(in crate::stack) fn map(bytes: usize) -> io::Result<usize> {
    let how = MEM_RESERVE | MEM_COMMIT;
    // SAFETY: wherever the system likes it.
    let start = unsafe { VirtualAlloc(ptr::null(), bytes, how, PAGE_NOACCESS) };
    if start.is_null() {
        return Err(io::Error::last_os_error());
    }
    Ok(start.expose_provenance())
}

/// # Safety
///
/// That has been mapped here, and nobody uses it.
pub(in crate::stack) unsafe fn unmap(start: usize, _bytes: usize) {
    // SAFETY: the caller's promise. What is released is what was mapped at once.
    unsafe { VirtualFree(pointer(start), 0, MEM_RELEASE) };
}

/// Lets what has just been mapped be read and written.
pub(in crate::stack) fn give_access(start: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: a mapping of ours, which has just been made, and which nobody relies on to fault.
    unsafe { protect(start, bytes, PAGE_READWRITE) }
}

/// Makes each access fault.
///
/// # Safety
///
/// It is a part of what was mapped here, and holds nothing.
pub(in crate::stack) unsafe fn take_access_away(start: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: the caller's promise.
    unsafe { protect(start, bytes, PAGE_NOACCESS) }
}

/// # Safety
///
/// As `VirtualProtect`.
unsafe fn protect(start: usize, bytes: usize, access: u32) -> io::Result<()> {
    let mut before = 0;
    // SAFETY: the caller's promise.
    match unsafe { VirtualProtect(pointer(start), bytes, access, &mut before) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Gives whole pages back to the system: whatever may be in them from then on.
///
/// # Safety
///
/// It is a part of what was mapped here, and holds nothing.
pub(in crate::stack) unsafe fn give_back(start: usize, bytes: usize) {
    // SAFETY: the caller's promise. If it is refused, the pages stay as they are.
    unsafe { VirtualAlloc(pointer(start), bytes, MEM_RESET, PAGE_READWRITE) };
}

/// Which of the pages from `start` on have been written to: those whose byte is odd. The system does not tell.
pub(in crate::stack) fn residency(_start: usize, _bytes: usize, pages: &mut [u8]) {
    pages.fill(1);
}

/// Whether the system refuses to write at an address.
///
/// # Safety
///
/// Nobody uses what is there.
pub(in crate::stack) unsafe fn refuses_writes(address: usize) -> bool {
    // SAFETY: zeroes are a valid value, of which so many bytes are written.
    unsafe {
        let mut found: MEMORY_BASIC_INFORMATION = mem::zeroed();
        let bytes = size_of::<MEMORY_BASIC_INFORMATION>();
        VirtualQuery(pointer(address), &mut found, bytes) != 0
            && found.State == MEM_COMMIT
            && found.Protect == PAGE_NOACCESS
    }
}

fn pointer(address: usize) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address)
}
