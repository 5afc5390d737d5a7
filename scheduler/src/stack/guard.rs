//! Guards below stacks: pages that fault.
//!
//! On Linux 6.13 and later, `MADV_GUARD_INSTALL` marks the page in the page table and leaves the
//! mapping whole, so a slab of any number of stacks is one memory mapping. Elsewhere `mprotect`
//! takes the page's access away, which splits the mapping: two mappings a stack, and the system has
//! a limit on those. The allocator and the loader need mappings too, and fail badly without, so the
//! guards stop short of that limit and leave a reserve.
//!
//! A guard has [`BYTES`] and not just a page, since not all code touches each page that it steps over. Rust's
//! does, whatever the size of its frames; C compilers do if they are told to, and on aarch64 only for
//! frames larger than 64 KiB, which they take a guard to have. Others may step over a guard with a frame
//! that is larger than it, and reach the neighbour.

use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The size of a guard.
pub(super) const BYTES: usize = 64 << 10;

/// Linux's number of `MADV_GUARD_INSTALL`, which libc does not name yet.
#[cfg(target_os = "linux")]
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Whether `MADV_GUARD_INSTALL` was refused as unknown.
static NEEDS_MPROTECT: AtomicBool = AtomicBool::new(cfg!(not(target_os = "linux")));

/// Of the mappings that a process may have, this part, and at least so many, are left to it.
const RESERVED_SHARE: usize = 32;
const RESERVED: usize = 1024;

/// How many guards there are in this process.
static GUARDS: AtomicUsize = AtomicUsize::new(0);

/// Makes `bytes` bytes from `address` on fault at every access. Both are multiples of the page
/// size, within a mapping of ours.
///
/// # Errors
///
/// The system refuses it. The error says which limit that is, and how many guards there are.
pub(super) fn install(address: usize, bytes: usize) -> io::Result<()> {
    try_install(address, bytes).map_err(explain)?;
    GUARDS.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

fn try_install(address: usize, bytes: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if !NEEDS_MPROTECT.load(Ordering::Relaxed) {
        match advise(address, bytes) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                NEEDS_MPROTECT.store(true, Ordering::Relaxed);
            }
            result => return result,
        }
    }
    protect_within_budget(address, bytes)
}

#[cfg(target_os = "linux")]
fn advise(address: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: a range of a slab that is not in use yet, by this function's contract.
    match unsafe {
        libc::madvise(
            ptr::without_provenance_mut(address),
            bytes,
            MADV_GUARD_INSTALL,
        )
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `mprotect`, within the budget of mappings.
fn protect_within_budget(address: usize, bytes: usize) -> io::Result<()> {
    if GUARDS.load(Ordering::Relaxed) >= most_protected() {
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    protect(address, bytes)
}

/// How many guards may be had by `mprotect`: two mappings each, less the reserve.
fn most_protected() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| match max_map_count() {
        Some(limit) => limit.saturating_sub((limit / RESERVED_SHARE).max(RESERVED)) / 2,
        None => usize::MAX,
    })
}

fn max_map_count() -> Option<usize> {
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    limit.trim().parse().ok()
}

fn protect(address: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: a range of a slab that is not in use yet, by this function's contract.
    match unsafe { libc::mprotect(ptr::without_provenance_mut(address), bytes, libc::PROT_NONE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn explain(error: io::Error) -> io::Error {
    let stacks = GUARDS.load(Ordering::Relaxed);
    let hint = if NEEDS_MPROTECT.load(Ordering::Relaxed) {
        let limit = max_map_count().map_or("unknown".to_owned(), |limit| limit.to_string());
        format!(
            "this system has no MADV_GUARD_INSTALL (Linux 6.13), so each stack takes two memory mappings of the \
             vm.max_map_count ({limit}) allowed, and some are left for the rest of the process: raise it with sysctl \
             vm.max_map_count"
        )
    } else {
        "the system is out of memory for page tables".to_owned()
    };
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "no room for another green thread: guarding its stack failed after {stacks} stacks: {error}; {hint}"
        ),
    )
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_guards_fault_from_their_first_byte_to_their_last() {
        let page = super::super::page::page();
        type Install = fn(usize, usize) -> io::Result<()>;
        for kind in [install as Install, protect] {
            // SAFETY: a new private mapping.
            let start = unsafe {
                let access = libc::PROT_READ | libc::PROT_WRITE;
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                libc::mmap(ptr::null_mut(), BYTES + page, access, flags, -1, 0)
            };
            assert_ne!(start, libc::MAP_FAILED);
            kind(start.addr(), BYTES).unwrap();
            // The kernel reads on our behalf, and answers EFAULT where we would get a signal.
            let readable = |address: usize| {
                let mut byte = 0u8;
                let local = libc::iovec {
                    iov_base: (&raw mut byte).cast(),
                    iov_len: 1,
                };
                let remote = libc::iovec {
                    iov_base: ptr::without_provenance_mut(address),
                    iov_len: 1,
                };
                // SAFETY: one valid local buffer; a bad remote address is answered with an error.
                unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) == 1 }
            };
            let end = start.addr() + BYTES;
            assert!(!(start.addr()..end).step_by(page).any(readable));
            assert!(readable(end));
            // SAFETY: the mapping is this test's.
            unsafe { libc::munmap(start, BYTES + page) };
        }
    }

    #[test]
    fn a_refusal_names_the_limit() {
        let error = explain(io::Error::from_raw_os_error(libc::ENOMEM));
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        assert!(error.to_string().contains("guarding its stack failed"));
    }
}
