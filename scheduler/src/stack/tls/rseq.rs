//! The area that a thread shares with the kernel for restartable sequences.
//!
//! The C library registers one a thread, and the kernel writes to it which processor the thread is on. A worker's is
//! registered, and reached by the worker's thread pointer alone. That of a block is nobody's: what is in it must say so, for
//! `sched_getcpu` to ask the kernel and for an allocator that keeps something a processor to do without. So it is written
//! once, and is neither compared with another thread's nor copied from one.
//!
//! A child that a green thread forks inherits the registration of its worker, but the worker's memory is given to
//! other threads there, or back to the system, in which case the kernel ends the process as soon as it writes. So the
//! child takes the registration back.

use std::ops::Range;
use std::ptr;
use std::sync::atomic::Ordering;

use super::libc_layout::{Refusal, contains, usize_of};
use super::pattern::word;

/// The least that the kernel takes.
const LEAST: usize = 32;
/// The word with `cpu_id_start`, which is 0, and `cpu_id`, which is -2: registration has failed.
const UNREGISTERED: usize = (-2_i32 as u32 as usize) << 32;

/// What the C library has registered it with.
#[cfg(target_arch = "x86_64")]
const SIGNATURE: u32 = 0x5305_3053;
#[cfg(target_arch = "aarch64")]
const SIGNATURE: u32 = 0xd428_bc00;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Rseq {
    pub(super) area: Range<isize>,
    /// Whether it is known how long it is. Where not, this is the part that anybody may read.
    pub(super) is_exact: bool,
}

impl Rseq {
    /// The area at `start`. Up to glibc 2.40 it is part of `struct pthread`. From 2.41 on it is a piece of the static
    /// thread-locals, next to those of what was loaded with the program, of the size that the kernel asks for.
    pub(super) fn at(
        start: isize,
        pthread: &Range<isize>,
        locals: &Range<isize>,
    ) -> Result<Self, Refusal> {
        let (bytes, is_exact) = if locals.contains(&start) {
            size_among_locals()?
        } else {
            (LEAST, true)
        };
        let area = start..start + bytes.cast_signed();
        if start % 8 == 0 && (contains(pthread, &area) || contains(locals, &area)) {
            return Ok(Self { area, is_exact });
        }
        Err(format!(
            "the C library has {bytes} bytes for restartable sequences at {start} from the thread pointer, which is not within a thread's block"
        )
        .into())
    }

    /// In a forked child: takes back that the current OS thread has registered the area of this thread pointer. If it
    /// has not, nothing happens.
    pub(super) fn unregister(&self, thread_pointer: usize) {
        const UNREGISTER: libc::c_int = 1;
        let area =
            ptr::without_provenance::<()>(thread_pointer.wrapping_add_signed(self.area.start));
        // SAFETY: the kernel takes the three that it was given to register, and writes to the area, which is there
        // still, what it was before.
        unsafe {
            libc::syscall(libc::SYS_rseq, area, self.area.len(), UNREGISTER, SIGNATURE);
        }
    }

    /// Tells whoever asks under this thread pointer that the area is not registered.
    pub(super) fn write_unregistered(&self, thread_pointer: usize) {
        for offset in self.area.clone().step_by(8) {
            let content = if offset == self.area.start {
                UNREGISTERED
            } else {
                0
            };
            word(thread_pointer, offset).store(content, Ordering::Relaxed);
        }
    }
}

/// The size of an area among the thread-locals, and whether it is that for sure: where the C library has not registered its
/// threads, it has made the area as large as the kernel asks for if the kernel has refused, and the least if a tunable asks
/// for that.
fn size_among_locals() -> Result<(usize, bool), Refusal> {
    const AT_RSEQ_FEATURE_SIZE: libc::c_ulong = 27;
    const AT_RSEQ_ALIGN: libc::c_ulong = 28;
    // SAFETY: getauxval has no preconditions.
    let [features, align] = [AT_RSEQ_FEATURE_SIZE, AT_RSEQ_ALIGN]
        .map(|kind| unsafe { libc::getauxval(kind) } as usize)
        .map(|bytes| bytes.max(LEAST));
    let asked_for = features.next_multiple_of(align);
    let is_registered = usize_of(c"__rseq_size")? != 0;
    let size = if is_registered { asked_for } else { LEAST };
    Ok((size, size == asked_for))
}
