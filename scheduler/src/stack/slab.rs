//! Slabs: one `mmap` of many equal slots, from which stacks are carved.
//!
//! - Address space is not memory: a slab is reserved without backing (`MAP_NORESERVE`), and only
//!   the pages that a green thread has touched cost anything. Huge pages are refused, since one
//!   would back eight stacks whole.
//! - **Every slot that leaves this file has a guard at its low end** ([`guard`]), so that an overflow
//!   faults and never reaches the neighbour. Where no guard can be had, there is no slot but an error.
//! - A slab is never unmapped, so an address in a slot stays one of ours for ever.

use std::io;
use std::ptr;

use super::class::Class;
use super::guard;

/// Address space of a slab, if the stacks are not larger than that.
const SLAB_BYTES: usize = 64 << 20;

/// What is not carved yet of the newest slab of a class.
pub(super) struct Slab {
    next: usize,
    end: usize,
}

impl Slab {
    pub(super) const fn empty() -> Self {
        Self { next: 0, end: 0 }
    }

    /// Carves a slot, from a new slab if need be, and gives its lowest address, where its guard begins.
    pub(super) fn carve(&mut self, class: Class) -> io::Result<usize> {
        if self.next == self.end {
            let (start, bytes) = map(class)?;
            self.next = start;
            self.end = start + bytes;
        }
        let bottom = self.next;
        guard::install(bottom, class.guard_bytes())?;
        self.next += class.slot_bytes();
        Ok(bottom)
    }
}

/// Maps a slab and gives its start and size. Takes a smaller one where a full one is refused.
fn map(class: Class) -> io::Result<(usize, usize)> {
    let mut slots = (SLAB_BYTES / class.slot_bytes()).max(1);
    loop {
        let bytes = slots * class.slot_bytes();
        // SAFETY: a new private mapping, wherever the system likes it.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if start != libc::MAP_FAILED {
            // Only a saving is lost where this is refused.
            // SAFETY: the range has just been mapped.
            #[cfg(target_os = "linux")]
            unsafe {
                libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE);
            }
            return Ok((start.expose_provenance(), bytes));
        }
        let error = io::Error::last_os_error();
        if slots == 1 {
            return Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                format!(
                    "no room for another green thread: mapping a stack of {} KiB failed: {error}; look at the limit of the \
                     address space (ulimit -v), vm.overcommit_memory and vm.max_map_count, or take smaller stacks",
                    class.slot_bytes() >> 10
                ),
            ));
        }
        slots /= 2;
    }
}
