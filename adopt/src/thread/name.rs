//! Names of threads.
//!
//! A green thread has the name that it is given, and else that of the thread that has made it, as far as that was given to it, and
//! else that of the process. The worker that runs it keeps its own.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use libc::pthread_t;
use roving_scheduler::adopt::{self, Inside};

use super::{Whose, current, whose};
use crate::next::next;
use crate::{errno, memory};

/// A name, and zeroes to the end.
pub(super) type Name = [u8; LENGTH];

/// The longest name, with the zero at its end.
const LENGTH: usize = 16;

/// What a thread has been named, if anything. No lock is taken for it: the handler of a signal may name its thread. Who reads it while it
/// is changed may find a part of each, as it is in the system.
#[derive(Default)]
pub(super) struct Given {
    is_there: AtomicBool,
    halves: [AtomicU64; 2],
}

impl Given {
    pub(super) fn new(name: Option<Name>) -> Self {
        let given = Self::default();
        if let Some(name) = name {
            given.set(name);
        }
        given
    }

    pub(super) fn get(&self) -> Option<Name> {
        // Acquire: with it come the halves.
        if !self.is_there.load(Ordering::Acquire) {
            return None;
        }
        let mut name = [0; LENGTH];
        for (part, half) in name.chunks_mut(8).zip(&self.halves) {
            part.copy_from_slice(&half.load(Ordering::Relaxed).to_ne_bytes());
        }
        Some(name)
    }

    fn set(&self, name: Name) {
        for (part, half) in name.chunks(8).zip(&self.halves) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(part);
            half.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
        self.is_there.store(true, Ordering::Release);
    }
}

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
    // Without memory, since the handler of a signal may ask.
    // SAFETY: a string, and room for so many bytes.
    errno::kept(|| unsafe {
        let file = libc::open(
            c"/proc/self/comm".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        );
        let read = libc::read(file, name.as_mut_ptr().cast(), LENGTH);
        let end = usize::try_from(read).unwrap_or(0).clamp(1, LENGTH) - 1;
        // There is a new line at its end.
        name[end..].fill(0);
        libc::close(file);
    });
    name
}

/// Names the current thread also where the runtime shows it, unless that is interrupted.
fn show(name: &Name) {
    if Inside::is_current() {
        return;
    }
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
    record.name.set(name);
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
    let name = record.name.get().unwrap_or_else(of_process);
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
pub(crate) unsafe extern "C" fn prctl(
    option: c_int,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
) -> c_int {
    type Next = unsafe extern "C" fn(c_int, usize, usize, usize, usize) -> c_int;
    let given = ptr::with_exposed_provenance_mut::<c_char>(a);
    if current::id().is_some() {
        if option == libc::PR_SET_NAME
            // SAFETY: the caller's promise.
            && let Some(length) = unsafe { memory::length_of_string(given, LENGTH - 1) }
        {
            let mut name = [0; LENGTH];
            // SAFETY: so many bytes are there.
            unsafe { given.cast::<u8>().copy_to(name.as_mut_ptr(), length) };
            current::with_known(|known| known.name.set(name));
            show(&name);
            return 0;
        }
        if option == libc::PR_GET_NAME {
            let name = current::name().unwrap_or_else(of_process);
            // SAFETY: the caller's promise: there is room for so many bytes.
            return errno::or_fail(unsafe { memory::tell(given.cast(), name) });
        }
    }
    // SAFETY: the caller's promise; all arguments are in registers, so those that the caller has not given are there too.
    unsafe { next!(prctl: Next)(option, a, b, c, d) }
}
