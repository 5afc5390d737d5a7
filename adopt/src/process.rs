//! Making other processes, and waiting for them.
//!
//! While it forks, the C library has locks of its own, and calls functions that the program has asked it to call: these do not park.
//!
//! Who waits for a child asks first whether it has ended. If not, the wait is handed over. The state of
//! a child is always taken by the function that the caller has called, so that it is what that gives.

use std::ffi::{c_char, c_int, c_void};
use std::mem;

use libc::{FILE, id_t, idtype_t, pid_t, rusage, siginfo_t};

use roving_scheduler::adopt::Inside;

use crate::hand_over::{hand_over, handed_over};
use crate::next::next;
use crate::parks;

/// What `wait4` tells of a child, for all functions of its kind. `next` is that of the C library, with options.
fn wait_for(options: c_int, next: impl Fn(c_int) -> pid_t) -> pid_t {
    if options & libc::WNOHANG != 0 || !parks() {
        return next(options);
    }
    match next(options | libc::WNOHANG) {
        0 => hand_over(|| next(options)),
        pid_or_error => pid_or_error,
    }
}

/// Defines functions that wait for children and take options.
macro_rules! waits {
    ($(fn $name:ident($($before:ident: $before_type:ty),*; options $(, $after:ident: $after_type:ty)?);)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            $($before: $before_type,)*
            options: c_int
            $(, $after: $after_type)?
        ) -> pid_t {
            type Next = unsafe extern "C" fn($($before_type,)* c_int $(, $after_type)?) -> pid_t;
            wait_for(options, |options| {
                // SAFETY: the caller's promise.
                unsafe { next!($name: Next)($($before,)* options $(, $after)?) }
            })
        }
    )*};
}

waits! {
    fn waitpid(pid: pid_t, status: *mut c_int; options);
    fn __waitpid(pid: pid_t, status: *mut c_int; options);
    fn wait3(status: *mut c_int; options, usage: *mut rusage);
    fn wait4(pid: pid_t, status: *mut c_int; options, usage: *mut rusage);
}

/// Defines `wait` by its two names.
macro_rules! waits_for_any {
    ($($name:ident)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(status: *mut c_int) -> pid_t {
            // SAFETY: the caller's promise.
            unsafe { waitpid(-1, status, 0) }
        }
    )*};
}

waits_for_any!(wait __wait);

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn waitid(
    kind: idtype_t,
    id: id_t,
    info: *mut siginfo_t,
    options: c_int,
) -> c_int {
    type Next = unsafe extern "C" fn(idtype_t, id_t, *mut siginfo_t, c_int) -> c_int;
    if options & libc::WNOHANG != 0 || !parks() {
        // SAFETY: the caller's promise.
        return unsafe { next!(waitid: Next)(kind, id, info, options) };
    }
    // SAFETY: zeroes are a valid `siginfo_t`.
    let mut found: siginfo_t = unsafe { mem::zeroed() };
    let at_once = options | libc::WNOHANG;
    // SAFETY: the caller's promise, and there is room for the answer.
    let result = unsafe { next!(waitid: Next)(kind, id, &raw mut found, at_once) };
    // SAFETY: the answer is one about a child, or zeroes.
    if result == 0 && unsafe { found.si_pid() } == 0 {
        // SAFETY: the caller's promise.
        return hand_over(|| unsafe { next!(waitid: Next)(kind, id, info, options) });
    }
    if result == 0 && !info.is_null() {
        // SAFETY: the caller's promise.
        unsafe { info.write(found) };
    }
    result
}

handed_over! {
    fn system(command: *const c_char) -> c_int;
    fn popen(command: *const c_char, mode: *const c_char) -> *mut FILE;
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
