//! Guards below stacks: ranges of addresses that fault, so that an overflow never reaches the neighbour.
//!
//! Systems have several means for that, and none is everywhere. They are tried in this order for each
//! [batch of slots](Slots), the ladder:
//!
//! | file            | what makes a guard                                          | mappings a stack | Linux                  |
//! |-----------------|-------------------------------------------------------------|------------------|------------------------|
//! | `advice`        | `MADV_GUARD_INSTALL`                                        | none             | 6.13                   |
//! | `poison`        | poisoned pages, by a userfaultfd that is closed again       | none             | 6.6                    |
//! | `write_protect` | zero pages, protected by a userfaultfd that stays open      | one for 64       | 5.11                   |
//! | `memfd`         | the pages beyond the end of a file that the next stack maps | 1                | all                    |
//! | `protect`       | `mprotect`                                                  | 2                | all, and other systems |
//!
//! `kind` has their public names, `why` what kept one from being used, `ladder` the choice, `userfault`
//! the descriptor that two of them use, and `mappings` the budget for the other two: the allocator and
//! the loader need mappings as well and fail badly without, so guards leave a reserve.
//!
//! # Invariants
//!
//! - Of every guard, each byte faults at a write and each but that of a `write_protect` one at a read. What
//!   a system says it has done is [seen to be so](ladder) before the first stack of a kind is used.
//! - Pages of a guard are never given back to the system, which would undo two of the kinds.
//!   [`Bounds`](super::Bounds) alone gives pages back, and begins where the guard ends.
//! - A forked child keeps the guards, but for those of `write_protect`. Of its parent's stacks it uses
//!   one at most, that of the thread that forked, whose guard is [made anew](hold_in_child).
//!
//! # The size
//!
//! A guard has [`BYTES`] and not just a page, since not all code touches each page that it steps over. Rust's
//! does, whatever the size of its frames; C compilers do if they are told to, and on aarch64 only for
//! frames larger than 64 KiB, which they take a guard to have. Others may step over a guard with a frame
//! that is larger than it, and reach the neighbour.

#[cfg(target_os = "linux")]
mod advice;
mod kind;
mod ladder;
mod mappings;
#[cfg(target_os = "linux")]
mod memfd;
#[cfg(target_os = "linux")]
mod poison;
mod protect;
#[cfg(target_os = "linux")]
mod userfault;
mod why;
#[cfg(target_os = "linux")]
mod write_protect;

use std::io;

pub use self::kind::Guards;
pub(crate) use self::ladder::{begin_with, look_after};
pub(super) use self::ladder::{in_use, install, limit, refused};
pub use self::why::NoGuards;

/// The size of a guard.
pub(super) const BYTES: usize = 64 << 10;

/// Slots of one slab, one beside the other, that are used by nobody yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slots {
    /// The lowest address of the first one, where its guard begins.
    pub(super) bottom: usize,
    /// From the bottom of a slot to that of the next one.
    pub(super) slot_bytes: usize,
    /// The bytes of each guard.
    pub(super) guard_bytes: usize,
    pub(super) count: usize,
}

/// Why slots have no guards.
pub(super) struct Unguarded {
    pub(super) error: io::Error,
    /// Nor is their memory as it was: nobody may use them.
    pub(super) are_lost: bool,
}

impl Slots {
    #[cfg(target_os = "linux")]
    fn bytes(self) -> usize {
        self.count * self.slot_bytes
    }

    /// Where their guards begin.
    fn guards(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |index| self.bottom + index * self.slot_bytes)
    }

    /// The first `count` of them.
    fn first(self, count: usize) -> Self {
        Self { count, ..self }
    }
}

/// Makes the guard of the only stack that a forked child goes on with. It may be called within `fork`.
pub(super) fn hold_in_child(guard: usize, bytes: usize) {
    // Whatever kind it was, it may be of this kind now; where that is refused, most kinds hold by themselves.
    let _ = protect::protect(guard, bytes);
}

#[cfg(all(test, target_os = "linux", not(roving_loom)))]
mod tests {
    use super::super::page::page;
    use super::super::slab;
    use super::why::Why;
    use super::*;

    /// What the system answers if it reads a byte at an address, and if it writes one.
    fn access(address: usize) -> (bool, bool) {
        let mut byte = 0_u8;
        let here = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        let there = libc::iovec {
            iov_base: std::ptr::with_exposed_provenance_mut(address),
            iov_len: 1,
        };
        // SAFETY: one valid local buffer; a bad remote address is answered with an error, and what is written
        // is the byte that has just been read, or zero, to memory of this test's.
        unsafe {
            let this = libc::getpid();
            let reads =
                libc::process_vm_readv(this, &raw const here, 1, &raw const there, 1, 0) == 1;
            let writes =
                libc::process_vm_writev(this, &raw const here, 1, &raw const there, 1, 0) == 1;
            (reads, writes)
        }
    }

    #[test]
    fn guards_of_each_kind_fault_from_their_first_byte_to_their_last() {
        for &kind in Guards::LADDER {
            let slots = Slots {
                bottom: 0,
                slot_bytes: BYTES + 4 * page(),
                guard_bytes: BYTES,
                count: 20,
            };
            let bottom = slab::map_bytes(slots.bytes()).unwrap();
            let slots = Slots { bottom, ..slots };
            match kind.install(slots) {
                Ok(count) => assert_eq!(count, slots.count),
                Err(why) => {
                    assert!(
                        why.is_final() && why != Why::DOES_NOT_FAULT,
                        "{kind}: {why:?}"
                    );
                    println!("{}", NoGuards::new(kind, why));
                    continue;
                }
            }
            for guard in slots.guards() {
                let (lowest, end) = (guard + BYTES, guard + slots.slot_bytes);
                for address in (guard..lowest).step_by(page()).chain([lowest - 1]) {
                    let reads = kind == Guards::WriteProtect;
                    assert_eq!(access(address), (reads, false), "{kind}");
                }
                for address in [lowest, end - 1] {
                    assert_eq!(access(address), (true, true), "{kind}");
                }
            }
        }
    }
}
