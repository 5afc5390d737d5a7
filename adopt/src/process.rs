//! Making other processes.
//!
//! While it forks, the C library has locks of its own, and calls functions that the program has asked it to call: these do not park.
//!
//! Nobody is told of a child that the bare system call makes, or `_Fork`, or `clone`. It may call what may be called in the handler of a
//! signal, and there is no worker for it: so it is inside of the runtime for good, and its calls wait in the system.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::mem;

use libc::pid_t;
use roving_scheduler::adopt::Inside;

use crate::hand_over::handed_over;
use crate::next::next;
use crate::{handler, is_adopted, memory, slot};

handed_over! {
    fn wordexp(words: *const c_char, expanded: *mut c_void, flags: c_int) -> c_int;
}

/// Defines functions that fork.
macro_rules! forks {
    ($(fn $name:ident($($argument:ident: $type:ty),*);)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $type),*) -> c_int {
            type Next = unsafe extern "C" fn($($type),*) -> c_int;
            let _inside = Inside::enter();
            // SAFETY: the caller's promise.
            unsafe { next!($name: Next)($($argument),*) }
        }
    )*};
}

forks! {
    fn fork();
    fn __fork();
    fn forkpty(terminal: *mut c_int, name: *mut c_char, attributes: *const c_void, size: *const c_void);
    fn daemon(keeps_folder: c_int, keeps_streams: c_int);
}

/// Makes a process by `call`, which gives 0 in it.
fn untold<T: PartialEq + From<i8>>(call: impl FnOnce() -> T) -> T {
    if !is_adopted() {
        return call();
    }
    slot::note_shared();
    // The child has it from the beginning: it may be interrupted there.
    let inside = Inside::enter();
    let result = call();
    if result == T::from(0) {
        mem::forget(inside);
    }
    result
}

#[unsafe(no_mangle)]
extern "C" fn _Fork() -> pid_t {
    // SAFETY: it has no preconditions.
    untold(|| unsafe { next!(_Fork: unsafe extern "C" fn() -> pid_t)() })
}

/// Whether a child with these flags has a copy of its parent's memory.
fn copies(flags: u64) -> bool {
    flags & libc::CLONE_VM as u64 == 0
}

/// The system calls that make processes, of which `call` is one.
///
/// # Safety
///
/// That of the system call.
pub(crate) unsafe fn by_number(number: c_long, a: usize, call: impl FnOnce() -> c_long) -> c_long {
    let is_copy = match number {
        libc::SYS_clone => copies(a as u64),
        // Its arguments begin with the flags.
        // SAFETY: the caller's promise, if they are there.
        libc::SYS_clone3 if memory::is_there(a as *const c_void, size_of::<u64>()) => unsafe {
            copies(*(a as *const u64))
        },
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork => true,
        _ => false,
    };
    if is_copy { untold(call) } else { call() }
}

type Body = extern "C-unwind" fn(*mut c_void) -> c_int;

/// Defines `clone` by its two names. All arguments are passed on, those that the caller has not given too: they are in registers, but for the last
/// one on x86-64, which is on the stack.
macro_rules! clones {
    ($($name:ident)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            body: Option<Body>,
            stack: *mut c_void,
            flags: c_int,
            argument: *mut c_void,
            parent: usize,
            locals: usize,
            child: usize,
        ) -> c_int {
            type Next = unsafe extern "C" fn(
                Option<Body>, *mut c_void, c_int, *mut c_void, usize, usize, usize,
            ) -> c_int;
            // SAFETY: the caller's promise.
            let clone = || unsafe {
                next!($name: Next)(body, stack, flags, argument, parent, locals, child)
            };
            // What runs beside its parent and has its thread-locals is nobody that could be told from it.
            if copies(flags as u64) || flags & libc::CLONE_VFORK != 0 {
                apart(clone)
            } else {
                clone()
            }
        }
    )*};
}

clones!(clone __clone);

/// Makes a process by `call`, which returns in its parent alone: that is then where it was before, whatever the child has left.
fn apart(call: impl FnOnce() -> c_int) -> c_int {
    if !is_adopted() {
        return call();
    }
    slot::note_shared();
    let (depth, running) = (Inside::depth(), handler::running());
    mem::forget(Inside::enter());
    let result = call();
    Inside::return_to(depth);
    handler::return_to(running);
    result
}
