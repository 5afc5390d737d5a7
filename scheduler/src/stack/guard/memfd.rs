//! Guards by the end of a file: the stacks of a batch are private mappings of one file in memory which is as
//! long as the usable part of a stack, and each mapping goes on beyond that end, where an access gives SIGBUS.
//! That is the guard of the stack above:
//!
//! ```text
//!     | mprotect | stack | beyond the end | stack | beyond the end | stack |
//!     | guard    |       | guard          |       | guard          |       |
//!                |<---- a mapping ------->|<---- a mapping ------->|<----->|
//! ```
//!
//! - The file holds nothing and is never written to, since the mappings are private. It is sealed, so nobody
//!   can change where it ends, and the descriptor is closed.
//! - A page of a stack that is touched takes one of the file besides, which reads as zeroes: one for all
//!   stacks of the batch, so batches that are too small are refused.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use super::why::Why;
use super::{Slots, mappings, protect};
use crate::stack::{page, slab};

/// The fewest stacks that share a file.
const FEWEST: usize = 8;

const NAME: &std::ffi::CStr = c"roving-stacks";
/// Linux's flag for a file that is never executed (6.3), which libc does not name everywhere yet.
const MFD_NOEXEC_SEAL: libc::c_uint = 8;

/// Guards as many of `slots` as the budget of mappings allows, and returns how many.
pub(super) fn install(slots: Slots) -> Result<usize, Why> {
    if slots.count < FEWEST {
        return Err(Why::FEW_STACKS);
    }
    // One more, for the first guard.
    let taken = mappings::take(slots.count + 1);
    let result = match taken {
        0 | 1 => Err(Why::NO_MAPPINGS),
        _ => map(slots.first(taken - 1)),
    };
    let used = result.map_or(0, |count| count + 1);
    mappings::give_back(taken - used);
    result
}

fn map(slots: Slots) -> Result<usize, Why> {
    let usable = slots.slot_bytes - slots.guard_bytes;
    let file = file_of(usable)?;
    protect::protect(slots.bottom, slots.guard_bytes)?;
    let (mut count, mut mapped_bytes) = (0, 0);
    for guard in slots.guards() {
        let is_last = count + 1 == slots.count;
        let bytes = if is_last { usable } else { slots.slot_bytes };
        // Without access at first, so that the system does not fill what it locks.
        // SAFETY: the usable part of a slot that is not in use yet and, unless it is the last one, the
        // guard of the next; both are in a slab of ours.
        let mapped = unsafe {
            libc::mmap(
                ptr::without_provenance_mut(guard + slots.guard_bytes),
                bytes,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE,
                file.as_raw_fd(),
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            break;
        }
        count += 1;
        mapped_bytes += bytes;
    }
    if count == 0 {
        return Err(Why::last_os_error());
    }
    // Of whole mappings, since to divide one takes another one, and perhaps there is none left.
    match page::give_access(slots.bottom + slots.guard_bytes, mapped_bytes) {
        Ok(()) => Ok(count),
        Err(error) => {
            let bytes = slots.guard_bytes + mapped_bytes;
            // Another kind is tried on the slots as they were.
            slab::map_again(slots.bottom, bytes).map_err(|_| Why::LOST)?;
            Err(error.into())
        }
    }
}

/// A file of `bytes` bytes that are zero, sealed.
fn file_of(bytes: usize) -> Result<OwnedFd, Why> {
    if file_size_limit() < bytes as u64 {
        // Asking for more gives not only an error but also a signal.
        return Err(Why::FILE_SIZE);
    }
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name ends with a zero.
    let create = |flags| unsafe { libc::memfd_create(NAME.as_ptr(), flags) };
    let mut descriptor = create(flags | MFD_NOEXEC_SEAL);
    if descriptor < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        descriptor = create(flags);
    }
    if descriptor < 0 {
        return Err(Why::last_os_error());
    }
    // SAFETY: it is new, and nobody else's.
    let file = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let length = libc::off_t::try_from(bytes).expect("stacks are not that large");
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    // SAFETY: the descriptor is that of a file of ours.
    let refused = unsafe {
        libc::ftruncate(descriptor, length) != 0
            || libc::fcntl(descriptor, libc::F_ADD_SEALS, seals) != 0
    };
    if refused {
        return Err(Why::last_os_error());
    }
    Ok(file)
}

/// How large a file of this process may be.
fn file_size_limit() -> u64 {
    let mut limit = MaybeUninit::<libc::rlimit64>::uninit();
    // SAFETY: the limit is written to a variable, which is read only then.
    unsafe {
        match libc::getrlimit64(libc::RLIMIT_FSIZE, limit.as_mut_ptr()) {
            0 => limit.assume_init().rlim_cur,
            _ => u64::MAX,
        }
    }
}
