//! `pthread_getattr_np` for a green thread: the bounds of its stack.
//!
//! Garbage collectors, language runtimes and `stacker` ask the C library for the bounds of the stack
//! that they are on. It has them, in the `struct pthread` of a green thread as in any other. But it
//! also asks the kernel for the affinity of the thread, by its id, and fails if the kernel knows none
//! by that: that of a green thread must be one of nobody else, since mutexes know their owners by
//! it, so it is none of the kernel's.
//!
//! Therefore the program's `pthread_getattr_np` is the one in this file, which the linker and the
//! loader find before the C library's. It asks that one, and answers itself where it could not, for
//! a green thread. The answer has no affinity, for a green thread has none, unless somebody knows more of it.
//!
//! In a library that is loaded by another program the C library's comes first, and nothing is mended.
//! Two copies of this crate do not link: their green threads would have the same ids.

use std::ffi::{c_int, c_void};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::pattern::{Own, half, word};
use super::tid;
use crate::stack::{guard, tls};

/// Tells by which id the C library knows a thread that goes by another one; `None` if by none.
#[cfg(feature = "adopt")]
pub(crate) static REAL_ID: std::sync::OnceLock<fn(libc::pthread_t) -> Option<libc::pthread_t>> =
    std::sync::OnceLock::new();

/// Tells what is known of a thread that goes by another id, in attributes that are initialised. It has this stack.
#[cfg(feature = "adopt")]
pub(crate) static TELL: std::sync::OnceLock<
    unsafe fn(libc::pthread_t, *mut libc::pthread_attr_t, *mut c_void, usize),
> = std::sync::OnceLock::new();

type GetAttributes = unsafe extern "C" fn(libc::pthread_t, *mut libc::pthread_attr_t) -> c_int;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getattr_np(
    thread: libc::pthread_t,
    attributes: *mut libc::pthread_attr_t,
) -> c_int {
    let Some(of_the_c_library) = of_the_c_library() else {
        return libc::ENOSYS;
    };
    #[cfg(feature = "adopt")]
    let thread = match REAL_ID
        .get()
        .map_or(Some(thread), |real_id| real_id(thread))
    {
        None => return libc::ESRCH,
        Some(real) if real != thread => {
            // SAFETY: as asked for below.
            let tell = |start, size| unsafe {
                match TELL.get() {
                    Some(tell) => tell(thread, attributes, start, size),
                    None => tell_stack(attributes, start, size),
                }
            };
            // SAFETY: it is a green one that has begun, and the caller's promise.
            let told =
                tls::own().and_then(|own| unsafe { of_green_thread(own, real, attributes, tell) });
            if let Some(told) = told {
                return told;
            }
            // It was green in the process that this one was forked from, and the kernel knows it now.
            real
        }
        Some(real) => real,
    };
    // SAFETY: the caller's promise.
    let result = unsafe { of_the_c_library(thread, attributes) };
    match tls::own() {
        // SAFETY: the C library has just looked at the thread; the attributes are as asked for below.
        Some(own) if result == libc::ESRCH => unsafe {
            let tell = |start, size| tell_stack(attributes, start, size);
            of_green_thread(own, thread, attributes, tell).unwrap_or(result)
        },
        _ => result,
    }
}

fn of_the_c_library() -> Option<GetAttributes> {
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    if FOUND.load(Ordering::Relaxed) == 0 {
        // SAFETY: dlsym with a valid name.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_getattr_np".as_ptr()) };
        FOUND.store(found.expose_provenance(), Ordering::Relaxed);
    }
    let found: *const c_void = std::ptr::with_exposed_provenance(FOUND.load(Ordering::Relaxed));
    // SAFETY: this is the function's type.
    (!found.is_null()).then(|| unsafe { mem::transmute::<*const c_void, GetAttributes>(found) })
}

/// Initialises `attributes` if this is a green thread, and then has `tell` tell in them of its stack.
///
/// # Safety
///
/// The thread is one of the C library's or a green one, and alive; `attributes` may be written.
unsafe fn of_green_thread(
    own: &Own,
    thread: libc::pthread_t,
    attributes: *mut libc::pthread_attr_t,
    tell: impl FnOnce(*mut c_void, usize),
) -> Option<c_int> {
    let layout = &own.layout;
    let thread_pointer = (thread as usize).wrapping_add_signed(-layout.pthread.start);
    let load = |offset| word(thread_pointer, offset).load(Ordering::Relaxed);
    if half(thread_pointer, layout.tid) < tid::FIRST {
        return None;
    }
    let (start, size) = (load(own.stack_bounds), load(own.stack_bounds + 8));
    // SAFETY: the caller's promise.
    let initialised = unsafe { libc::pthread_attr_init(attributes) };
    if initialised == 0 {
        tell(std::ptr::with_exposed_provenance_mut(start), size);
    }
    Some(initialised)
}

/// # Safety
///
/// The attributes are initialised.
unsafe fn tell_stack(attributes: *mut libc::pthread_attr_t, start: *mut c_void, size: usize) {
    // SAFETY: the caller's promise. They are told of a stack that is there.
    unsafe {
        libc::pthread_attr_setguardsize(attributes, guard::BYTES);
        libc::pthread_attr_setstack(attributes, start, size);
    }
}
