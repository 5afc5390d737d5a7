//! Children that run in the memory of their parent until they execute another program: those of `vfork`.
//!
//! Such a child is a process of its own on the stack of the thread that has made it, and with its thread-locals: to all that it calls
//! here it is that thread. But it must not be parked, since the workers are its parent's, and so are what is
//! known of descriptors and which handlers there are. So it is inside of the runtime, where functions do what those of the C library do,
//! and what a [slot] or a [handler] has of its process it leaves as it is. When the
//! parent goes on, it is where it was before, whatever the child has left.
//!
//! The function returns twice into the same frame, so it has none of its own at that time. The parent's return address is in a register
//! meanwhile, which the system keeps for it, and so is [where it was](before).

use std::ffi::c_int;
use std::mem;

use roving_scheduler::adopt::{self, Inside};

use crate::next::next;
use crate::{errno, handler, is_adopted, slot};

/// No thread is as deep inside.
const NOT_GREEN: u64 = u64::MAX;

/// Where a green thread is, which is inside from now on. [`NOT_GREEN`] if it is none, and then nothing has changed.
extern "C" fn before() -> u64 {
    if !is_adopted() || adopt::thread_number().is_none() {
        return NOT_GREEN;
    }
    slot::note_shared();
    let before = u64::from(Inside::depth()) << 32 | u64::from(handler::running());
    mem::forget(Inside::enter());
    before
}

/// The parent is where it was `before`. Gives what the C library gives for `result`.
extern "C" fn after(result: isize, before: u64) -> c_int {
    Inside::return_to((before >> 32) as u32);
    handler::return_to(before as u32);
    if result < 0 {
        errno::fail(-result as c_int)
    } else {
        result as c_int
    }
}

/// The C library's own.
extern "C" fn next() -> *const () {
    // SAFETY: it is passed on.
    unsafe { next!(vfork: *const ()) }
}

/// # Safety
///
/// That of the C library's.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn vfork() -> c_int {
    std::arch::naked_asm!(
        "sub rsp, 8",
        "call {before}",
        "add rsp, 8",
        "cmp rax, -1",
        "je 3f",
        "mov r8, rax",
        // What the child has on the stack comes to lie over it.
        "pop rdx",
        "mov eax, {number}",
        "syscall",
        "push rdx",
        "test rax, rax",
        "jz 2f",
        "mov rdi, rax",
        "mov rsi, r8",
        "jmp {after}",
        "2:",
        "ret",
        "3:",
        "sub rsp, 8",
        "call {next}",
        "add rsp, 8",
        "jmp rax",
        before = sym before,
        number = const libc::SYS_vfork,
        after = sym after,
        next = sym next,
    )
}

/// # Safety
///
/// That of the C library's.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn vfork() -> c_int {
    std::arch::naked_asm!(
        "stp x29, x30, [sp, #-16]!",
        "bl {before}",
        "ldp x29, x30, [sp], #16",
        "cmn x0, #1",
        "b.eq 3f",
        "mov x9, x0",
        "mov x0, #{flags}",
        "mov x1, #0",
        "mov x2, #0",
        "mov x3, #0",
        "mov x4, #0",
        "mov x8, #{number}",
        "svc #0",
        "cbz x0, 2f",
        "mov x1, x9",
        "b {after}",
        "2:",
        "ret",
        "3:",
        "stp x29, x30, [sp, #-16]!",
        "bl {next}",
        "ldp x29, x30, [sp], #16",
        "mov x16, x0",
        "br x16",
        before = sym before,
        flags = const libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
        number = const libc::SYS_clone,
        after = sym after,
        next = sym next,
    )
}

/// # Safety
///
/// That of the C library's.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn __vfork() -> c_int {
    #[cfg(target_arch = "x86_64")]
    std::arch::naked_asm!("jmp {}", sym vfork);
    #[cfg(target_arch = "aarch64")]
    std::arch::naked_asm!("b {}", sym vfork);
}
