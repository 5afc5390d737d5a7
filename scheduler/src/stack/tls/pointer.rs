//! The thread pointer of the processor, and where a block lies around it.
//!
//! ```text
//!     x86-64 (TLS variant II)          aarch64 (TLS variant I)
//!
//!     struct pthread                   thread-locals of libraries loaded later
//!     ---- thread pointer              thread-locals of the libraries
//!     thread-locals of the program     thread-locals of the program
//!     thread-locals of the libraries   two words for the C library
//!     thread-locals of libraries       ---- thread pointer
//!       loaded later                   struct pthread
//! ```

pub(super) use arch::{DTV, HEAD, STRUCT_IS_ABOVE, refusal};
pub(crate) use arch::{current, load};

/// Calls the C library under another thread pointer.
///
/// # Safety
///
/// That of [`load`], with `call`.
#[inline(never)]
pub(super) unsafe fn call_as(pointer: usize, call: impl FnOnce()) {
    let loaded = current();
    // SAFETY: the caller's promise, and the pointer that was loaded.
    unsafe {
        load(pointer);
        call();
        load(loaded);
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use std::arch::asm;

    /// Whether `struct pthread` begins at the thread pointer; else it ends there.
    pub(crate) const STRUCT_IS_ABOVE: bool = true;
    /// Where the pointer to the vector of dynamic thread-locals is, from the thread pointer.
    pub(crate) const DTV: isize = 8;
    /// So many bytes at the thread pointer are for compilers: the pointer itself, the vector, what
    /// guards stacks and pointers.
    pub(crate) const HEAD: isize = 64;

    /// `HWCAP2_FSGSBASE`: the kernel lets programs write the FS base.
    const FSGSBASE: u64 = 1 << 1;

    pub(crate) fn refusal() -> Option<&'static str> {
        // SAFETY: getauxval has no preconditions.
        let capabilities = unsafe { libc::getauxval(libc::AT_HWCAP2) };
        (capabilities & FSGSBASE == 0).then_some(
            "the processor or the kernel has no FSGSBASE, so that a switch would need a system call (Linux 5.9 or later has it, unless it is started with nofsgsbase)",
        )
    }

    /// The thread pointer that is loaded.
    #[inline]
    pub(crate) fn current() -> usize {
        let pointer;
        // SAFETY: by the ABI, the word at the thread pointer holds the thread pointer.
        unsafe {
            asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly))
        };
        pointer
    }

    /// Loads a thread pointer.
    ///
    /// # Safety
    ///
    /// The processor and the kernel allow it ([`refusal`] gave `None`); `pointer` is that of this
    /// OS thread or of a block that nobody else has loaded; and the calling function uses no
    /// thread-local, inlined ones included.
    #[inline]
    pub(crate) unsafe fn load(pointer: usize) {
        // SAFETY: the caller's promise. No `nomem`: what lies at fixed distances from the pointer
        // changes.
        unsafe { asm!("wrfsbase {}", in(reg) pointer, options(nostack, preserves_flags)) };
    }
}

// Has run under emulation, and not on a machine.
#[cfg(target_arch = "aarch64")]
mod arch {
    use std::arch::asm;

    /// Whether `struct pthread` begins at the thread pointer; else it ends there.
    pub(crate) const STRUCT_IS_ABOVE: bool = false;
    /// Where the pointer to the vector of dynamic thread-locals is, from the thread pointer.
    pub(crate) const DTV: isize = 0;
    /// So many bytes at the thread pointer are for compilers, among them the vector.
    pub(crate) const HEAD: isize = 16;

    pub(crate) fn refusal() -> Option<&'static str> {
        None
    }

    /// The thread pointer that is loaded.
    #[inline]
    pub(crate) fn current() -> usize {
        let pointer;
        // SAFETY: reads a register.
        unsafe {
            asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, readonly))
        };
        pointer
    }

    /// Loads a thread pointer.
    ///
    /// # Safety
    ///
    /// `pointer` is that of this OS thread or of a block that nobody else has loaded; and the
    /// calling function uses no thread-local, inlined ones included.
    #[inline]
    pub(crate) unsafe fn load(pointer: usize) {
        // SAFETY: the caller's promise. No `nomem`: what lies at fixed distances from the pointer
        // changes.
        unsafe { asm!("msr tpidr_el0, {}", in(reg) pointer, options(nostack, preserves_flags)) };
    }
}
