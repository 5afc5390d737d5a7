//! Making other processes.
//!
//! While it forks, the C library has locks of its own, and calls functions that the program has asked it to call: these do not park.

use std::ffi::{c_char, c_int, c_void};

use roving_scheduler::adopt::Inside;

use crate::hand_over::handed_over;
use crate::next::next;

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
