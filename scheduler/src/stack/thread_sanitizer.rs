//! What ThreadSanitizer is told of switches: with the feature `thread-sanitizer` only.
//!
//! To ThreadSanitizer a thread is a clock and a stack of calls. A coroutine is to have its own, a
//! *fiber*: then what a green thread does is one sequence wherever it runs, and what its worker does
//! is another one. The coroutine library, told to work with AddressSanitizer, calls
//! `__sanitizer_start_switch_fiber` just before each switch, with the bounds of the stack that it
//! switches to, and `__sanitizer_finish_switch_fiber` just after it, which gives the bounds of the
//! stack that it has left. ThreadSanitizer does not have these functions; here they are. Where the
//! library keeps the bounds of a stack that has run, what it keeps is a fiber, with [`FIBER`] for its
//! size. Bounds with another size are those of a coroutine that has not run yet: it gets its fiber
//! now.
//!
//! # What a switch orders
//!
//! A switch is told as one that synchronises: what the worker did before `resume` happens before what
//! the green thread does next, and that before what the worker does after `resume`. That is true,
//! since all of this is one OS thread. Without it each `Cell` of a worker, which it shares with the
//! green thread on it, were a race. What it does *not* order is a worker that has suspended a green
//! thread and another one that resumes it: both touch the coroutine itself, outside of its fiber, so
//! that a wait word or a queue that did not hand it over would be reported as a race.

use std::cell::Cell;
use std::ffi::{c_uint, c_void};
use std::ptr;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("ThreadSanitizer is told of switches on x86-64 only");

/// ThreadSanitizer's name for a fiber.
type Fiber = *mut c_void;

/// In place of the size of a stack: the address beside it is a fiber. No stack is so small.
const FIBER: usize = 1;

/// A switch synchronises, and so does the creation of a fiber.
const SYNCHRONISES: c_uint = 0;

unsafe extern "C" {
    fn __tsan_get_current_fiber() -> Fiber;
    fn __tsan_create_fiber(flags: c_uint) -> Fiber;
    fn __tsan_destroy_fiber(fiber: Fiber);
    fn __tsan_switch_to_fiber(fiber: Fiber, flags: c_uint);
    fn __tsan_func_entry(return_address: *const c_void);
}

thread_local! {
    /// The fiber from which this OS thread has switched last.
    static LEFT: Cell<Fiber> = const { Cell::new(ptr::null_mut()) };
}

/// Destroys the fiber of a coroutine that has returned.
///
/// # Safety
///
/// This OS thread's last switch was that coroutine's return.
pub(super) unsafe fn coroutine_returned() {
    // SAFETY: a coroutine that has returned is never switched to again, so its fiber is used no more.
    unsafe { __tsan_destroy_fiber(LEFT.get()) };
}

/// Switches fibers. The caller switches stacks next.
///
/// A compiler makes functions that tell ThreadSanitizer when they are entered and left; one that
/// switches fibers in between would push a call on the one and pop it from the other. So this one is
/// not made by the compiler.
///
/// # Safety
///
/// As AddressSanitizer's function of this name.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_start_switch_fiber(
    _fake_stack: *mut *mut c_void,
    _bottom: *mut c_void,
    _size: usize,
) {
    std::arch::naked_asm!(
        // The callee wants an aligned stack.
        "push rbp",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "call {leave_for}",
        "pop rbp",
        "mov rdi, rax",
        "mov esi, {synchronises}",
        "jmp {switch}",
        leave_for = sym leave_for,
        synchronises = const SYNCHRONISES,
        switch = sym __tsan_switch_to_fiber,
    )
}

/// Notes that the current fiber is left, for the returned one.
extern "C" fn leave_for(bottom: *mut c_void, size: usize) -> Fiber {
    // SAFETY: every OS thread of the program has a fiber.
    let current = unsafe { __tsan_get_current_fiber() };
    LEFT.set(current);
    if size == FIBER {
        return bottom;
    }
    // SAFETY: a fiber is made, entered and left again, with no call in between that tells of itself.
    // It is left with one call on its stack, from which the last call before the switch returns where
    // a compiler has not inlined it.
    unsafe {
        let fresh = __tsan_create_fiber(SYNCHRONISES);
        __tsan_switch_to_fiber(fresh, SYNCHRONISES);
        __tsan_func_entry((leave_for as *const c_void).wrapping_byte_add(1));
        __tsan_switch_to_fiber(current, SYNCHRONISES);
        fresh
    }
}

/// Tells which fiber has been left, in place of the bounds of its stack.
///
/// # Safety
///
/// As AddressSanitizer's function of this name: `bottom` and `size` can be written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_finish_switch_fiber(
    _fake_stack: *mut c_void,
    bottom: *mut Fiber,
    size: *mut usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        bottom.write(LEFT.get());
        size.write(FIBER);
    }
}

/// ThreadSanitizer poisons nothing.
#[unsafe(no_mangle)]
extern "C" fn __asan_unpoison_memory_region(_address: *const c_void, _size: usize) {}
