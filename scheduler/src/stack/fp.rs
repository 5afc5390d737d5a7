//! The floating-point environment: how the processor rounds, what it traps, and what it has flagged.
//!
//! It is in registers that calls leave alone, and a switch to another stack is a call. To the C library
//! (`fesetround`, `feenableexcept`, `fetestexcept`), to numeric libraries that flush denormals to zero
//! for a while, and to the kernel it belongs to the thread. So a green thread has its own, whatever
//! its mode. It begins with that of the thread which spawns it, as an OS thread does, and that of the
//! worker is the default one, whoever has started it: an OS thread that a green one starts would have its.
//!
//! | architecture | what it is                                                             |
//! |--------------|------------------------------------------------------------------------|
//! | x86-64       | MXCSR; the control word of the x87 and the flags of its status word      |
//! | aarch64      | FPCR, FPSR                                                             |
//! | others       | nothing is done: the green threads of a worker share it                 |
//!
//! To find out what it is costs some nanoseconds, which is done once a switch: when a thread has run.
//! It is loaded only where it differs, which is hardly ever.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the [module](self): the registers, side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Environment(u64);

impl Environment {
    /// That of the current thread.
    #[inline]
    pub(crate) fn current() -> Self {
        Self(arch::save())
    }

    /// Gives the current OS thread the one that a process begins with.
    pub(crate) fn begin_default() {
        Self(arch::DEFAULT).replace(Self::current());
    }

    /// Replaces `current`, which is the current one.
    #[inline]
    fn replace(self, current: Self) {
        if self != current {
            // SAFETY: an environment comes from `save`, or is the default one.
            unsafe { arch::load(self.0, current.0) };
        }
    }
}

/// The environment of a thread that does not run.
#[derive(Debug)]
pub(crate) struct Saved(AtomicU64);

impl Saved {
    pub(crate) fn new(environment: Environment) -> Self {
        Self(AtomicU64::new(environment.0))
    }

    /// Calls `run` with this environment, and then saves what has become of it. `outer` is the
    /// caller's, before and after.
    ///
    /// A flag that the caller raises itself in between is not in `outer`, and may be seen by `run`.
    #[inline]
    pub(crate) fn run_in<R>(&self, outer: Environment, run: impl FnOnce() -> R) -> R {
        let before = Environment(self.0.load(Ordering::Relaxed));
        before.replace(outer);
        let result = run();
        let after = Environment::current();
        self.0.store(after.0, Ordering::Relaxed);
        outer.replace(after);
        result
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use std::arch::asm;

    /// The flags of the x87's status word.
    const FLAGS: u16 = 0x7f;

    /// What Linux gives to a process: all exceptions are masked, and the x87 computes with its full precision.
    pub(super) const DEFAULT: u64 = 0x1f80 | 0x37f << 32;

    /// Registers as they are kept: MXCSR, the control word, the flags.
    fn split(registers: u64) -> (u32, u16, u16) {
        (
            registers as u32,
            (registers >> 32) as u16,
            (registers >> 48) as u16,
        )
    }

    #[inline]
    pub(super) fn save() -> u64 {
        let (mut mxcsr, mut control) = (0_u32, 0_u16);
        let status: u16;
        // SAFETY: stores registers to the two variables.
        unsafe {
            asm!(
                "stmxcsr [{mxcsr}]",
                "fnstcw [{control}]",
                "fnstsw ax",
                mxcsr = in(reg) &raw mut mxcsr,
                control = in(reg) &raw mut control,
                out("ax") status,
                options(nostack, preserves_flags),
            );
        }
        u64::from(mxcsr) | u64::from(control) << 32 | u64::from(status & FLAGS) << 48
    }

    /// Replaces `old`, which is what the registers hold, by `new`.
    ///
    /// # Safety
    ///
    /// `new` was saved, or is the default one.
    #[cold]
    pub(super) unsafe fn load(new: u64, old: u64) {
        let (mxcsr, control, flags) = split(new);
        let (_, _, old_flags) = split(old);
        // SAFETY: the processor takes back what it has stored, and what it began with.
        unsafe {
            asm!(
                "ldmxcsr [{}]",
                in(reg) &raw const mxcsr,
                options(nostack, preserves_flags, readonly),
            );
            if flags | old_flags == 0 {
                asm!(
                    "fldcw [{}]",
                    in(reg) &raw const control,
                    options(nostack, preserves_flags, readonly),
                );
            } else {
                load_flags(control, flags);
            }
        }
    }

    /// Loads a control word and its flags together: a control word that does not mask an exception
    /// would raise it if somebody else's flag was still there.
    ///
    /// # Safety
    ///
    /// Both are of environments that were saved, or of the default one.
    unsafe fn load_flags(control: u16, flags: u16) {
        // The control word, the status word and the rest, each in a word of 32 bits.
        let mut environment = [0_u32; 7];
        let environment = environment.as_mut_ptr();
        // SAFETY: the first instruction stores 28 bytes and masks all exceptions; the other one loads
        // them again, and only what was saved is changed in between.
        unsafe {
            asm!("fnstenv [{}]", in(reg) environment, options(nostack, preserves_flags));
            let status = environment.add(1);
            environment.write(u32::from(control));
            status.write(status.read() & !u32::from(FLAGS) | u32::from(flags));
            asm!("fldenv [{}]", in(reg) environment, options(nostack, preserves_flags));
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use std::arch::asm;

    pub(super) const DEFAULT: u64 = 0;

    #[inline]
    pub(super) fn save() -> u64 {
        let (control, status): (u64, u64);
        // SAFETY: reads two registers, of which the upper halves are zero.
        unsafe {
            asm!(
                "mrs {}, fpcr",
                "mrs {}, fpsr",
                out(reg) control,
                out(reg) status,
                options(nomem, nostack, preserves_flags),
            );
        }
        control << 32 | status & 0xffff_ffff
    }

    /// # Safety
    ///
    /// `new` was saved, or is the default one.
    #[cold]
    pub(super) unsafe fn load(new: u64, _old: u64) {
        // SAFETY: the processor takes back what was read, and what it began with.
        unsafe {
            asm!(
                "msr fpcr, {}",
                "msr fpsr, {}",
                in(reg) new >> 32,
                in(reg) new & 0xffff_ffff,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    pub(super) const DEFAULT: u64 = 0;

    pub(super) fn save() -> u64 {
        0
    }

    pub(super) unsafe fn load(_new: u64, _old: u64) {}
}
