//! Memory is brought into the cache before it is used.

/// The length of a cache line.
pub(crate) const LINE: usize = 64;

/// Asks the processor to bring the cache line at `address` nearer, and does not wait for it. It is no access: of an
/// address at which nothing is, or something else by now, nothing comes.
#[inline]
pub(crate) fn prefetch(address: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction neither faults nor changes what a program sees, whatever the address is.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address)) };
    }
    #[cfg(target_arch = "aarch64")]
    {
        use std::arch::asm;
        // SAFETY: as above.
        unsafe {
            asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
        };
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _: usize = address;
}

/// The same for all lines from `start` to `end`.
#[inline]
pub(crate) fn prefetch_range(start: usize, end: usize) {
    let mut line = start & !(LINE - 1);
    while line < end {
        prefetch(line);
        line += LINE;
    }
}
