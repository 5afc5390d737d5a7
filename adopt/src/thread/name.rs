//! Names of threads.
//!
//! A green thread has the name that it is given, and else that of the thread that has made it, as far as that was given to it, and
//! else that of the process. The worker that runs it keeps its own.

use std::ffi::{CStr, c_char, c_int};

use libc::pthread_t;
use roving_scheduler::adopt::{self, Inside};

use super::{Whose, current, whose};
use crate::next::next;

/// A name, and zeroes to the end.
pub(super) type Name = [u8; LENGTH];

/// The longest name, with the zero at its end.
const LENGTH: usize = 16;

/// # Safety
///
/// A string.
unsafe fn read(name: *const c_char) -> Option<Name> {
    // SAFETY: the caller's promise.
    let given = unsafe { CStr::from_ptr(name) }.to_bytes();
    let mut name = [0; LENGTH];
    name[..LENGTH - 1]
        .get_mut(..given.len())?
        .copy_from_slice(given);
    Some(name)
}

/// The name of the process, which its main thread has.
fn of_process() -> Name {
    // To read a file is a point of cancellation, and to ask for a name is none.
    let _inside = Inside::enter();
    let mut name = [0; LENGTH];
    if let Ok(read) = std::fs::read("/proc/self/comm") {
        let read = read.trim_ascii_end();
        let length = read.len().min(LENGTH - 1);
        name[..length].copy_from_slice(&read[..length]);
    }
    name
}

/// Names the current thread also where the runtime shows it.
fn show(name: &Name) {
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(LENGTH);
    adopt::name_current(&String::from_utf8_lossy(&name[..end]));
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setname_np(id: pthread_t, name: *const c_char) -> c_int {
    type Next = unsafe extern "C" fn(pthread_t, *const c_char) -> c_int;
    let record = match whose(id) {
        Whose::Green(record) => record,
        Whose::Nobody => return libc::ESRCH,
        // SAFETY: the caller's promise.
        Whose::Real => return unsafe { next!(pthread_setname_np: Next)(id, name) },
    };
    // SAFETY: the caller's promise.
    let Some(name) = (unsafe { read(name) }) else {
        return libc::ERANGE;
    };
    record.lock().name = Some(name);
    if current::id() == Some(id) {
        show(&name);
    }
    0
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getname_np(
    id: pthread_t,
    buffer: *mut c_char,
    length: usize,
) -> c_int {
    type Next = unsafe extern "C" fn(pthread_t, *mut c_char, usize) -> c_int;
    let record = match whose(id) {
        Whose::Green(record) => record,
        Whose::Nobody => return libc::ESRCH,
        // SAFETY: the caller's promise.
        Whose::Real => return unsafe { next!(pthread_getname_np: Next)(id, buffer, length) },
    };
    if length < LENGTH {
        return libc::ERANGE;
    }
    let given = record.lock().name;
    let name = given.unwrap_or_else(of_process);
    // SAFETY: the caller's promise, and it is long enough.
    unsafe { name.as_ptr().cast::<c_char>().copy_to(buffer, LENGTH) };
    0
}

/// What `prctl` does to name the calling thread, and to ask for its name.
///
/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int {
    type Next = unsafe extern "C" fn(c_int, usize, usize, usize, usize) -> c_int;
    if let (libc::PR_SET_NAME | libc::PR_GET_NAME, Some(id)) = (option, current::id())
        && let Whose::Green(record) = whose(id)
    {
        let given = a as *mut c_char;
        if option == libc::PR_SET_NAME {
            // SAFETY: the caller's promise: a string, of which the kernel looks at so many bytes.
            let name = unsafe {
                let mut name = [0; LENGTH];
                let length = libc::strnlen(given, LENGTH - 1);
                given.cast::<u8>().copy_to(name.as_mut_ptr(), length);
                name
            };
            record.lock().name = Some(name);
            show(&name);
        } else {
            let name = record.lock().name;
            let name = name.unwrap_or_else(of_process);
            // SAFETY: the caller's promise: there is room for so many bytes.
            unsafe { name.as_ptr().copy_to(given.cast(), LENGTH) };
        }
        return 0;
    }
    // SAFETY: the caller's promise; all arguments are in registers, so those that the caller has not given are there too.
    unsafe { next!(prctl: Next)(option, a, b, c, d) }
}
