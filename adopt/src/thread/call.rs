//! How a thread begins, and the two ways in which it ends: it returns, or it exits.
//!
//! Who exits is unwound by the C library, by way of the handlers that `pthread_cleanup_push` has installed, the destructors of C++,
//! and whoever catches everything and throws it on, out of what the thread has begun with. There the C library finds a place that
//! it has been told of, and jumps to it: that of [`begin`]. It is what the macros of C that install a handler do. No
//! exception goes further: `begin` is where the stack ends for those who unwind it, as the thread's beginning is in the C
//! library. An exception that nobody catches ends the program, in the way of its language.
//!
//! The handler of a signal may exit, and one that was held back until the thread has its mask runs as it gets that. So a thread has such a place before
//! [anything](super::begin) else of it is there. And so it has one while its [destructors](destroy_by) run.
//!
//! The system call by which a thread ends at once leaves all that it has as it is: the thread jumps to that place, and [nothing](exit_at_once) of it runs
//! any more.
//!
//! What was [sent](super::news) to the thread until then it heeds before it leaves there: a handler may still exit.

use std::arch::global_asm;
use std::cell::Cell;
use std::ffi::{c_int, c_long, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use libc::{pthread_attr_t, pthread_t};
use roving_scheduler::adopt::{self, Destroy, Inside};

use super::records::Shared;
use super::{Left, cancel, current, is_any_alive, kernel, news, one_less, survivor, wait_for_all};
use crate::next::next;
use crate::{hand_over, handler, is_adopted, slot};

/// What a thread begins with.
#[derive(Clone, Copy)]
pub(super) enum Start {
    Posix(extern "C-unwind" fn(*mut c_void) -> *mut c_void),
    C11(extern "C-unwind" fn(*mut c_void) -> c_int),
}

impl Start {
    pub(super) fn address(self) -> *const c_void {
        match self {
            Self::Posix(start) => start as *const c_void,
            Self::C11(start) => start as *const c_void,
        }
    }
}

/// Where the C library notes where to jump: `__pthread_unwind_buf_t`, of 104 bytes on x86-64 and 216 on aarch64. It is on the stack
/// for as long as the thread lives.
#[repr(C, align(16))]
struct Place(
    [MaybeUninit<u8>; if cfg!(target_arch = "x86_64") {
        112
    } else {
        224
    }],
);

unsafe extern "C" {
    /// Has the thread of a record begin, if there is one, and calls `start` with `argument`. 0 if it has returned, with its result; 1 if it has exited.
    #[link_name = "roving_adopt_begin"]
    fn begin(
        argument: *mut c_void,
        start: *const c_void,
        place: *mut Place,
        result: *mut *mut c_void,
        record: *const c_void,
    ) -> c_int;
}

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .text.roving_adopt_begin, \"ax\", @progbits",
    ".globl roving_adopt_begin",
    ".hidden roving_adopt_begin",
    ".type roving_adopt_begin, @function",
    "roving_adopt_begin:",
    ".cfi_startproc",
    ".cfi_undefined rip",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    ".cfi_def_cfa_offset 48",
    "mov rbx, rdi",
    "mov r12, rsi",
    "mov r13, rdx",
    "mov r14, rcx",
    "mov r15, r8",
    "mov rdi, r13",
    "xor esi, esi",
    "call __sigsetjmp@PLT",
    "test eax, eax",
    "jnz 2f",
    "mov rdi, r13",
    "call __pthread_register_cancel@PLT",
    "mov rdi, r15",
    "call {begins}",
    "mov rdi, rbx",
    "call r12",
    "mov [r14], rax",
    "call {comes_to_end}",
    "xor ebx, ebx",
    "jmp 3f",
    "2:",
    "mov ebx, 1",
    "3:",
    "mov rdi, r13",
    "call __pthread_unregister_cancel@PLT",
    "mov eax, ebx",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "ret",
    ".cfi_endproc",
    ".size roving_adopt_begin, . - roving_adopt_begin",
    ".popsection",
    begins = sym begins,
    comes_to_end = sym news::comes_to_end,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .text.roving_adopt_begin, \"ax\", @progbits",
    ".globl roving_adopt_begin",
    ".hidden roving_adopt_begin",
    ".type roving_adopt_begin, @function",
    "roving_adopt_begin:",
    ".cfi_startproc",
    ".cfi_undefined x30",
    "stp x29, x30, [sp, #-64]!",
    "stp x19, x20, [sp, #16]",
    "stp x21, x22, [sp, #32]",
    "str x23, [sp, #48]",
    "mov x29, sp",
    ".cfi_def_cfa_offset 64",
    "mov x19, x0",
    "mov x20, x1",
    "mov x21, x2",
    "mov x22, x3",
    "mov x23, x4",
    "mov x0, x21",
    "mov w1, #0",
    "bl __sigsetjmp",
    "cbnz w0, 2f",
    "mov x0, x21",
    "bl __pthread_register_cancel",
    "mov x0, x23",
    "bl {begins}",
    "mov x0, x19",
    "blr x20",
    "str x0, [x22]",
    "bl {comes_to_end}",
    "mov w19, #0",
    "b 3f",
    "2:",
    "mov w19, #1",
    "3:",
    "mov x0, x21",
    "bl __pthread_unregister_cancel",
    "mov w0, w19",
    "ldr x23, [sp, #48]",
    "ldp x21, x22, [sp, #32]",
    "ldp x19, x20, [sp, #16]",
    "ldp x29, x30, [sp], #64",
    "ret",
    ".cfi_endproc",
    ".size roving_adopt_begin, . - roving_adopt_begin",
    ".popsection",
    begins = sym begins,
    comes_to_end = sym news::comes_to_end,
);

/// The current thread begins.
///
/// # Safety
///
/// It is given a reference to its record, or null if it has begun.
unsafe extern "C-unwind" fn begins(record: *const c_void) {
    if !record.is_null() {
        // SAFETY: the caller's promise.
        super::begin(unsafe { Shared::from_raw(record.cast()) });
    }
}

thread_local! {
    /// What the current thread leaves that exits. Who is unwound without having said so has been cancelled.
    static EXIT: Cell<*mut c_void> = const { Cell::new(CANCELED) };
    /// Where the current thread comes to that exits, if `pthread_create` has made it.
    static PLACE: Cell<*mut Place> = const { Cell::new(ptr::null_mut()) };
}

/// What a thread leaves that has been cancelled.
pub(super) const CANCELED: *mut c_void = ptr::without_provenance_mut(usize::MAX);

/// Has a thread begin, calls what it begins with, and gives what it leaves.
#[inline(always)]
pub(super) fn call(record: Shared, start: Start, argument: Left) -> Left {
    let mut place = MaybeUninit::<Place>::uninit();
    let mut result = ptr::null_mut();
    set_place(place.as_mut_ptr());
    // SAFETY: the C library's caller has promised that this may be called with that. The place stays while it runs, and is
    // forgotten at its end. What is jumped over has been unwound.
    let exited = unsafe {
        begin(
            argument.into_inner(),
            start.address(),
            place.as_mut_ptr(),
            &raw mut result,
            record.into_raw().cast(),
        ) != 0
    };
    set_place(ptr::null_mut());
    cancel::ends();
    let left = match start {
        _ if exited => Left(exit_value()),
        Start::Posix(_) => Left(result),
        // Of a register, this is the part that an `int` is in.
        Start::C11(_) => of_int(result as usize as c_int),
    };
    if !adopt::is_on_worker() {
        end_in_child(left);
    }
    left
}

/// Has the current thread, which has left what it leaves, run its destructors by `all`. One that `pthread_create` has made may exit in them, too, or in a handler that
/// comes there: then it goes on with those that are left.
pub(crate) fn destroy_by(all: Destroy) {
    if current::id().is_none() {
        // SAFETY: this is what the scheduler calls to have them run, on this thread.
        unsafe { all(ptr::null_mut()) };
        return;
    }
    let mut exits = true;
    while exits {
        let mut place = MaybeUninit::<Place>::uninit();
        let mut nothing = ptr::null_mut();
        set_place(place.as_mut_ptr());
        // SAFETY: it is a function that is called so, here. The place stays while it runs, and is forgotten at its end. What is jumped over has been unwound, or
        // stays as it is, as the thread has asked for.
        exits = unsafe {
            begin(
                ptr::null_mut(),
                all as *const c_void,
                place.as_mut_ptr(),
                &raw mut nothing,
                ptr::null(),
            ) != 0
        };
        set_place(ptr::null_mut());
    }
}

/// The current thread, which is the [`survivor`] of a fork, comes to its end. Who returns from here is the last, and with it the process ends.
#[cold]
#[inline(never)]
fn end_in_child(left: Left) {
    // SAFETY: it has thread-locals of its own, which are not used any more, and is here once.
    unsafe { adopt::end_thread_locals() };
    survivor::ends(left);
    if is_any_alive() && has_another_do(exit_after_all, ptr::null_mut()) {
        type Exit = unsafe extern "C" fn(c_long, c_int) -> c_long;
        // SAFETY: it ends the OS thread, whose stack stays.
        unsafe { next!(syscall: Exit)(libc::SYS_exit, 0) };
    }
    wait_for_all();
}

/// What a thread leaves that ends with a number.
pub(super) fn of_int(number: c_int) -> Left {
    Left(ptr::without_provenance_mut(number as isize as usize))
}

#[inline(never)]
fn exit_value() -> *mut c_void {
    EXIT.get()
}

#[inline(never)]
fn set_exit_value(value: *mut c_void) {
    EXIT.set(value);
}

#[inline(never)]
fn place() -> *mut Place {
    PLACE.get()
}

#[inline(never)]
fn set_place(place: *mut Place) {
    PLACE.set(place);
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C-unwind" fn pthread_exit(result: *mut c_void) -> ! {
    type Next = unsafe extern "C-unwind" fn(*mut c_void) -> !;
    handler::leave();
    if current::id().is_some() {
        cancel::ends();
        news::comes_to_end();
        set_exit_value(result);
    } else if is_adopted() {
        exits_with_the_last_thread();
    }
    // SAFETY: the caller's promise. On a green thread there is the place to jump to.
    unsafe { next!(pthread_exit: Next)(result) }
}

/// The system call by which a thread ends at once, with this status, and which `call` makes. Nothing of the thread is destroyed, no handler of
/// its runs, and who joins it gets null.
pub(crate) fn exit_at_once(status: c_int, call: impl FnOnce() -> c_long) -> c_long {
    // A child that has its parent's memory, or of which nobody was told, is a process of its own.
    let is_threads_own = !Inside::is_current() || handler::is_running();
    if !is_adopted() || !is_threads_own || !slot::is_ours() {
        return call();
    }
    if !adopt::is_on_worker() {
        if kernel::is_main() {
            exits_after_others(status);
        }
        return call();
    }
    let place = place();
    if place.is_null() {
        refuse_to_exit();
    }
    type Jump = unsafe extern "C-unwind" fn(*mut Place, c_int) -> !;
    if handler::leave() {
        hand_over::leave();
    }
    cancel::ends();
    set_exit_value(ptr::null_mut());
    adopt::leave_values();
    // SAFETY: the place is that of this thread, which is in what `begin` has called. What is jumped over stays as it is, as the caller has asked for.
    unsafe { next!(_longjmp: Jump)(place, 1) }
}

/// Ends the process: the OS thread is one of the runtime's own.
#[cold]
fn refuse_to_exit() -> ! {
    const WHY: &str = "roving: the system call exit on a worker: only threads that pthread_create has made end by it, and not in the handler of a signal \
                       to the process\n";
    // SAFETY: these may be called in the handler of a signal.
    unsafe {
        libc::write(libc::STDERR_FILENO, WHY.as_ptr().cast(), WHY.len());
        libc::abort()
    }
}

type Create = unsafe extern "C" fn(
    *mut pthread_t,
    *const pthread_attr_t,
    extern "C-unwind" fn(*mut c_void) -> *mut c_void,
    *mut c_void,
) -> c_int;

/// Has an OS thread run this beside the others. Nobody joins it: it ends with the process.
fn has_another_do(
    what: extern "C-unwind" fn(*mut c_void) -> *mut c_void,
    with: *mut c_void,
) -> bool {
    let mut id = 0;
    // SAFETY: it is called with what it takes, and there is room for the id.
    unsafe { next!(pthread_create: Create)(&raw mut id, ptr::null(), what, with) == 0 }
}

/// Has the process exit when its last green thread has ended.
extern "C-unwind" fn exit_after_all(_: *mut c_void) -> *mut c_void {
    wait_for_all();
    // SAFETY: no thread is left that anything would be done to.
    unsafe { libc::exit(0) }
}

/// The main thread ends at once: the process ends when its last thread has, with the status of the main one, and calls nothing then.
#[cold]
#[inline(never)]
fn exits_after_others(status: c_int) {
    extern "C-unwind" fn wait_and_exit(status: *mut c_void) -> *mut c_void {
        wait_for_all();
        // SAFETY: no thread is left that anything would be done to.
        unsafe { libc::_exit(status.addr() as c_int) }
    }
    if current::id().is_some() {
        // In a forked child it may have been green.
        one_less();
        survivor::ends(Left(ptr::null_mut()));
    }
    let status = ptr::without_provenance_mut(status as u32 as usize);
    if !is_any_alive() || !has_another_do(wait_and_exit, status) {
        wait_and_exit(status);
    }
}

/// The process exits when its last thread has ended. Workers are threads that do not end: so if it is the main thread that
/// exits, another OS thread has the process exit when the last green thread has ended. The main thread itself ends, for
/// somebody may join it.
#[cold]
#[inline(never)]
fn exits_with_the_last_thread() {
    /// Called when the values of the main thread are destroyed, in so many rounds.
    unsafe extern "C" fn destroy(rounds_left: *mut c_void) {
        match rounds_left.addr() - 1 {
            0 => {
                if !is_any_alive() || !has_another_do(exit_after_all, ptr::null_mut()) {
                    exit_after_all(ptr::null_mut());
                }
            }
            left => set(left),
        }
    }
    fn set(rounds_left: usize) {
        static KEY: std::sync::OnceLock<libc::pthread_key_t> = std::sync::OnceLock::new();
        let key = KEY.get_or_init(|| {
            let mut key = 0;
            // SAFETY: there is room for the key, and the destructor stays.
            unsafe { libc::pthread_key_create(&raw mut key, Some(destroy)) };
            key
        });
        // SAFETY: the key is there, if the system has one left.
        unsafe { libc::pthread_setspecific(*key, ptr::without_provenance(rounds_left)) };
    }
    // As often as the C library looks for values.
    const ROUNDS: usize = 4;
    if kernel::is_main() {
        set(ROUNDS);
    }
}
