//! Slabs: one `mmap` of many equal slots, from which stacks are carved.
//!
//! - Address space is not memory: a slab is reserved without backing (`MAP_NORESERVE`), and only
//!   the pages that a green thread has [touched](page::give_access) cost anything.
//! - **Every slot that leaves this file has a guard at its low end** ([`guard`]), so that an overflow
//!   faults and never reaches the neighbour. Where no guard can be had, there is no slot but an error.
//! - A slab is never unmapped, so an address in a slot stays one of ours for ever.

use std::io;

use super::class::Class;
use super::guard::{self, Slots};
use super::{memory, page, room};

/// Address space of a slab, if the stacks are not larger than that.
const SLAB_BYTES: usize = 64 << 20;

/// The fewest and the most slots that get their guards at a time.
const FEW: usize = 8;
const MANY: usize = 64;

/// What is not carved yet of the newest slab of a class.
pub(super) struct Slab {
    next: usize,
    /// Slots below it have guards.
    guarded: usize,
    end: usize,
}

impl Slab {
    pub(super) const fn empty() -> Self {
        Self {
            next: 0,
            guarded: 0,
            end: 0,
        }
    }

    /// Carves a slot, from a new slab if need be, and returns its lowest address, where its guard begins.
    /// `carved` is how many there are of this class.
    pub(super) fn carve(&mut self, class: Class, carved: usize) -> io::Result<usize> {
        if self.next == self.end {
            let (start, bytes) = map(class)?;
            *self = Self {
                next: start,
                guarded: start,
                end: start + bytes,
            };
        }
        if self.next == self.guarded {
            self.guard_more(class, carved)?;
        }
        let bottom = self.next;
        self.next += class.slot_bytes();
        Ok(bottom)
    }

    /// Guards as many slots again as there are, in these bounds: some kinds of guards are cheaper by the
    /// dozen, but a program of ten green threads should not pay for a slab of them.
    fn guard_more(&mut self, class: Class, carved: usize) -> io::Result<()> {
        let left = (self.end - self.next) / class.slot_bytes();
        let count = carved.clamp(FEW, MANY);
        let slots = Slots {
            bottom: self.next,
            slot_bytes: class.slot_bytes(),
            guard_bytes: Class::guard_bytes(),
            // No fewer are left over than make sense by themselves.
            count: if left < count + FEW { left } else { count },
        };
        match guard::install(slots) {
            Ok(count) => {
                self.guarded += count * class.slot_bytes();
                Ok(())
            }
            Err(unguarded) => {
                if unguarded.are_lost {
                    // With the rest of the slab, which stays mapped.
                    *self = Self::empty();
                }
                Err(unguarded.error)
            }
        }
    }
}

/// Maps a slab and gives its start and size. Takes a smaller one where a full one is refused.
fn map(class: Class) -> io::Result<(usize, usize)> {
    let mut slots = (SLAB_BYTES / class.slot_bytes()).max(1);
    loop {
        let bytes = slots * class.slot_bytes();
        let error = match map_with_room(bytes) {
            Ok(start) => return Ok((start, bytes)),
            Err(error) => error,
        };
        if slots == 1 {
            return Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                format!(
                    "no room for another green thread: mapping a stack of {} KiB, and some MiB for the rest of the process, \
                     failed: {error} {}, or take smaller stacks",
                    class.slot_bytes() >> 10,
                    room::advice()
                ),
            ));
        }
        slots /= 2;
    }
}

/// Maps so many bytes, if there is [room](room::is_left) for others then.
fn map_with_room(bytes: usize) -> io::Result<usize> {
    room::limits_leave(bytes)?;
    let start = map_bytes(bytes)?;
    room::is_left().inspect_err(|_| {
        // SAFETY: it has just been mapped, and nobody knows of it.
        unsafe { unmap(start, bytes) };
    })?;
    Ok(start)
}

pub(crate) fn map_bytes(bytes: usize) -> io::Result<usize> {
    let start = memory::map(bytes)?;
    page::give_access(start, bytes).inspect_err(|_| {
        // SAFETY: it has just been mapped, and nobody knows of it.
        unsafe { unmap(start, bytes) };
    })?;
    Ok(start)
}

/// # Safety
///
/// That has been mapped here, and nobody uses it.
pub(crate) unsafe fn unmap(start: usize, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { memory::unmap(start, bytes) };
}

/// Maps a part of a slab as it was at first.
#[cfg(target_os = "linux")]
pub(super) fn map_again(start: usize, bytes: usize) -> io::Result<()> {
    let start = memory::map_again(start, bytes)?;
    page::give_access(start, bytes)
}
