//! What a thread does with its thread-locals at its end.
//!
//! The same as the C library does at the end of an OS thread, in the same order: the destructors of
//! thread-locals, then those of pthread keys. Then it puts back what it may have changed of the C
//! library's own thread-locals and a later thread with the same block would see.

use std::ffi::c_void;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::pattern::{Own, word};
use super::pointer;
use crate::stack::tls;

/// `PTHREAD_DESTRUCTOR_ITERATIONS`.
const KEY_ROUNDS: usize = 4;

/// The locale of a thread that has not asked for another.
const LC_GLOBAL_LOCALE: libc::locale_t = ptr::without_provenance_mut(usize::MAX);

/// Ends the current thread as far as its thread-locals are concerned. Destructors run, which may
/// block.
pub(crate) fn end_thread() {
    let own = tls::own().expect("the current thread has its own thread-locals");
    // SAFETY: at the end of a thread, once, under its own thread pointer.
    unsafe { (own.layout.call_tls_dtors)() };
    let thread_pointer = pointer::current();
    if may_have_key_values(own, thread_pointer) {
        for _ in 0..KEY_ROUNDS {
            if !destroy_key_values(own, thread_pointer) {
                break;
            }
        }
        free_key_values(own, thread_pointer);
    }
    // SAFETY: these have no preconditions.
    unsafe {
        if libc::uselocale(ptr::null_mut()) != LC_GLOBAL_LOCALE {
            libc::uselocale(LC_GLOBAL_LOCALE);
        }
        *libc::__errno_location() = 0;
    }
}

/// The arrays of values, with the number of the first key in each.
fn arrays(own: &Own, thread_pointer: usize) -> impl Iterator<Item = (usize, &AtomicUsize)> {
    let keys = &own.layout.keys;
    (0..keys.arrays).map(move |index| {
        let array = word(thread_pointer, keys.specific + 8 * index.cast_signed());
        (index * keys.values_an_array, array)
    })
}

/// Whether the thread has had values, as far as is known.
fn may_have_key_values(own: &Own, thread_pointer: usize) -> bool {
    own.keys_used.is_none_or(|offset| {
        word(thread_pointer, offset).load(Ordering::Relaxed) != own.image(offset)
    })
}

/// Calls the destructors of keys that have a value. Gives whether there was one.
fn destroy_key_values(own: &Own, thread_pointer: usize) -> bool {
    let keys = &own.layout.keys;
    let mut any = false;
    for (first_key, array) in arrays(own, thread_pointer) {
        let values = array.load(Ordering::Relaxed);
        if values == 0 {
            continue;
        }
        for index in 0..keys.values_an_array {
            let at = 16 * index.cast_signed();
            let value = word(values, at + 8).swap(0, Ordering::Relaxed);
            if value == 0 {
                continue;
            }
            // SAFETY: an element of the C library's array of keys.
            let [sequence, destructor] = unsafe {
                let key = keys.keys.add(first_key + index).cast_mut().cast::<usize>();
                [key, key.add(1)].map(|field| AtomicUsize::from_ptr(field).load(Ordering::Acquire))
            };
            // A value of a key that was deleted since has another sequence number.
            if destructor != 0 && word(values, at).load(Ordering::Relaxed) == sequence {
                any = true;
                // SAFETY: what was given to pthread_key_create, called with the value of its key.
                unsafe {
                    let destructor =
                        mem::transmute::<*const c_void, unsafe extern "C" fn(*mut c_void)>(
                            ptr::with_exposed_provenance(destructor),
                        );
                    destructor(ptr::with_exposed_provenance_mut(value));
                }
            }
        }
    }
    any
}

/// Frees the arrays of values, but for the first, which is in the block.
fn free_key_values(own: &Own, thread_pointer: usize) {
    for (first_key, array) in arrays(own, thread_pointer) {
        let values = array.load(Ordering::Relaxed);
        if values == 0 {
            continue;
        }
        for index in 0..own.layout.keys.values_an_array {
            let at = 16 * index.cast_signed();
            word(values, at).store(0, Ordering::Relaxed);
            word(values, at + 8).store(0, Ordering::Relaxed);
        }
        if first_key != 0 {
            array.store(0, Ordering::Relaxed);
            // SAFETY: the C library allocated it with calloc, and frees it so at a thread's end.
            unsafe { libc::free(ptr::with_exposed_provenance_mut(values)) };
        }
    }
}
