//! The values of pthread keys.
//!
//! They lie in arrays that `struct pthread` points to. The first one is part of it; the others are
//! allocated when a key with such a number gets a value.

use std::ffi::c_void;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::pattern::{Own, word};

/// `PTHREAD_DESTRUCTOR_ITERATIONS`.
const ROUNDS: usize = 4;

/// Calls the destructors of keys that have a value, again if they have left values, but not for ever.
/// Called at the end of the thread with this thread pointer, on it.
pub(super) fn destroy_values(own: &Own, thread_pointer: usize) {
    if has_had_values(own, thread_pointer) {
        let _ = (0..ROUNDS).all(|_| destroy_each(own, thread_pointer));
    }
}

/// Takes the values away, and with them the arrays, but for the first. Called when the thread with
/// this thread pointer has ended.
pub(super) fn forget_values(own: &Own, thread_pointer: usize) {
    if !has_had_values(own, thread_pointer) {
        return;
    }
    for (first_key, array) in arrays(own, thread_pointer) {
        let values = array.load(Ordering::Relaxed);
        if values == 0 {
            continue;
        }
        if first_key == 0 {
            for offset in (0..16 * own.layout.keys.values_an_array.cast_signed()).step_by(8) {
                word(values, offset).store(0, Ordering::Relaxed);
            }
        } else {
            array.store(0, Ordering::Relaxed);
            // SAFETY: the C library allocated it with calloc, and frees it so at a thread's end.
            unsafe { libc::free(ptr::with_exposed_provenance_mut(values)) };
        }
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

/// Whether the thread has had values.
fn has_had_values(own: &Own, thread_pointer: usize) -> bool {
    word(thread_pointer, own.keys_used).load(Ordering::Relaxed) != own.image(own.keys_used)
}

/// Calls the destructors of keys that have a value. Gives whether there was one.
fn destroy_each(own: &Own, thread_pointer: usize) -> bool {
    let keys = &own.layout.keys;
    let mut any = false;
    for (first_key, array) in arrays(own, thread_pointer) {
        let values = array.load(Ordering::Relaxed);
        if values == 0 {
            continue;
        }
        for index in 0..keys.values_an_array {
            let at = 16 * index.cast_signed();
            // Only its thread has it: an exchange would cost as much for each key that has none.
            let value = word(values, at + 8).load(Ordering::Relaxed);
            if value == 0 {
                continue;
            }
            word(values, at + 8).store(0, Ordering::Relaxed);
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
