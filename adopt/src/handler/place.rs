//! Where handlers are on the stack, which tells whom a jump leaves.
//!
//! A jump goes up the stack. So it stays in the innermost handler if it goes no further than the frame of whoever has called that; and in the next
//! one if it goes to what the innermost has interrupted, or above, and no further than that frame. On which stacks they are, that of a thread or
//! the alternate one, does not matter: each of the two ranges lies in one stack.
//!
//! The places of two handlers are known. Who jumps out of both, or is not known to stay in one, leaves all.

use std::cell::Cell;
use std::ffi::c_void;

use libc::ucontext_t;

/// Where a handler is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// In the frame that has called it.
    pub(super) handler: usize,
    /// The stack pointer of what it has interrupted; 0 if that is not known.
    pub(super) interrupted: usize,
}

const NONE: Place = Place {
    handler: 0,
    interrupted: 0,
};

/// That of the innermost handler, and the next one.
pub(super) type Places = [Place; 2];

thread_local! {
    static PLACES: Cell<Places> = const { Cell::new([NONE; 2]) };
}

// Not inlined: a compiler may keep the address of a thread-local for as long as a function runs.
#[inline(never)]
fn places() -> Places {
    PLACES.get()
}

/// A handler runs at a place, in those that run already. Gives their places.
pub(super) fn enter(place: Place) -> Places {
    let before = places();
    return_to([place, before[0]]);
    before
}

#[inline(never)]
pub(super) fn return_to(before: Places) {
    PLACES.set(before);
}

/// Those that run are at places that nobody knows.
pub(super) fn forget() {
    return_to([NONE; 2]);
}

/// The places when the innermost handler has been left.
pub(super) fn outer() -> Places {
    [places()[1], NONE]
}

/// The stack pointer of what has been interrupted.
///
/// # Safety
///
/// It is a `ucontext_t`.
pub(super) unsafe fn of_context(context: *const c_void) -> usize {
    // SAFETY: the caller's promise.
    let machine = unsafe { &(*context.cast::<ucontext_t>()).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    return machine.gregs[libc::REG_RSP as usize] as usize;
    #[cfg(target_arch = "aarch64")]
    return machine.sp as usize;
}

/// How much of what is below the stack pointer is still in use, and may be above that of a frame that is there.
const RED_ZONE: usize = 128;

/// How many of the handlers that run, `running`, are left by a jump.
///
/// # Safety
///
/// It is to where `sigsetjmp` has written.
pub(super) unsafe fn handlers_below(jump: *const c_void, running: u32) -> u32 {
    let here = 0_u8;
    let here = (&raw const here).addr();
    // SAFETY: the caller's promise.
    let target = unsafe { target(jump) };
    let [innermost, next] = places();
    let interrupted = innermost.interrupted.saturating_sub(RED_ZONE);
    if (here..innermost.handler).contains(&target) {
        0
    } else if running > 1 && interrupted != 0 && (interrupted..next.handler).contains(&target) {
        1
    } else {
        running
    }
}

/// Registers as `sigsetjmp` writes them. That of the stack pointer it has encrypted, with a key that each process has.
#[repr(C)]
struct Registers([usize; if cfg!(target_arch = "x86_64") { 8 } else { 22 }]);

const STACK_POINTER: usize = if cfg!(target_arch = "x86_64") { 6 } else { 13 };

/// The stack pointer after a jump.
///
/// # Safety
///
/// It is to where `sigsetjmp` has written.
unsafe fn target(jump: *const c_void) -> usize {
    unsafe extern "C" {
        /// Writes registers, and gives the stack pointer that is among them.
        #[link_name = "roving_adopt_set_jump"]
        fn set_jump(room: *mut Room) -> usize;
    }
    /// Where `sigsetjmp` may write all that it does.
    #[repr(C, align(16))]
    struct Room(Registers, [u8; 256]);

    let mut room = Room(Registers([0; _]), [0; _]);
    // SAFETY: there is room, and nobody jumps there.
    let known = unsafe { set_jump(&raw mut room) };
    let key = decrypted(&room.0, 0) ^ known;
    // SAFETY: the caller's promise.
    decrypted(unsafe { &*jump.cast() }, key)
}

fn decrypted(registers: &Registers, key: usize) -> usize {
    let rotated_by = if cfg!(target_arch = "x86_64") { 17 } else { 0 };
    registers.0[STACK_POINTER].rotate_right(rotated_by) ^ key
}

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".pushsection .text.roving_adopt_set_jump, \"ax\", @progbits",
    ".globl roving_adopt_set_jump",
    ".hidden roving_adopt_set_jump",
    ".type roving_adopt_set_jump, @function",
    "roving_adopt_set_jump:",
    ".cfi_startproc",
    "sub rsp, 8",
    ".cfi_def_cfa_offset 16",
    "xor esi, esi",
    "call __sigsetjmp@PLT",
    "mov rax, rsp",
    "add rsp, 8",
    ".cfi_def_cfa_offset 8",
    "ret",
    ".cfi_endproc",
    ".size roving_adopt_set_jump, . - roving_adopt_set_jump",
    ".popsection",
);

#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".pushsection .text.roving_adopt_set_jump, \"ax\", @progbits",
    ".globl roving_adopt_set_jump",
    ".hidden roving_adopt_set_jump",
    ".type roving_adopt_set_jump, @function",
    "roving_adopt_set_jump:",
    ".cfi_startproc",
    "stp x29, x30, [sp, #-16]!",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset x29, -16",
    ".cfi_offset x30, -8",
    "mov w1, #0",
    "bl __sigsetjmp",
    "mov x0, sp",
    "ldp x29, x30, [sp], #16",
    ".cfi_def_cfa_offset 0",
    "ret",
    ".cfi_endproc",
    ".size roving_adopt_set_jump, . - roving_adopt_set_jump",
    ".popsection",
);

#[cfg(test)]
mod tests {
    use std::ffi::c_int;

    use super::*;

    unsafe extern "C" {
        fn __sigsetjmp(registers: *mut c_void, keeps_mask: c_int) -> c_int;
    }

    /// Nobody jumps there, so it does not return twice.
    #[inline(never)]
    fn target_here() -> (usize, usize) {
        let mut room = [0_u64; 64];
        // SAFETY: there is room.
        unsafe {
            __sigsetjmp((&raw mut room).cast(), 0);
            ((&raw const room).addr(), target((&raw const room).cast()))
        }
    }

    #[test]
    fn the_stack_pointer_of_a_jump_is_in_the_frame_it_goes_to() {
        let (there, target) = target_here();
        assert!(
            (target..target + 4096).contains(&there),
            "{there:x} {target:x}"
        );
    }

    #[test]
    fn a_jump_leaves_what_is_below_it() {
        let mut room = [0_u64; 64];
        // SAFETY: there is room.
        let target = unsafe {
            __sigsetjmp((&raw mut room).cast(), 0);
            target((&raw const room).cast())
        };
        // SAFETY: it was written.
        let left = |running| unsafe { handlers_below((&raw const room).cast(), running) };
        let place = |handler, interrupted| Place {
            handler,
            interrupted,
        };
        let before = enter(place(target + 4096, 1 << 62));
        assert_eq!(left(1), 0);
        let outermost = enter(place(64, target));
        assert_eq!((left(1), left(2), left(3)), (1, 1, 1));
        return_to([place(64, target + 4096), place(target + 8192, 0)]);
        assert_eq!(left(2), 2);
        return_to(outermost);
        assert_eq!(left(1), 0);
        return_to(before);
        assert_eq!((left(1), left(2)), (1, 2));
    }
}
