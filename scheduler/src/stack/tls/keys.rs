//! The values of pthread keys.
//!
//! They lie in arrays that `struct pthread` points to. The first one is part of it; the others are
//! allocated when a key with such a number gets a value.
//!
//! A program has few keys, and the C library gives the lowest number that is free (it [has been
//! seen](super::pattern) to). So nobody has a value behind the first number that was never given.

use std::ffi::c_void;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::libc_layout::KeyLayout;
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
            for [sequence, value] in
                given_keys(own, first_key).map(|(index, _)| fields(values, index))
            {
                sequence.store(0, Ordering::Relaxed);
                value.store(0, Ordering::Relaxed);
            }
        } else {
            array.store(0, Ordering::Relaxed);
            // SAFETY: the C library allocated it with calloc, and frees it so at a thread's end.
            unsafe { libc::free(ptr::with_exposed_provenance_mut(values)) };
        }
    }
}

/// The arrays that may have values, with the number of the first key in each.
fn arrays(own: &Own, thread_pointer: usize) -> impl Iterator<Item = (usize, &AtomicUsize)> {
    let keys = &own.layout.keys;
    let arrays = (0..keys.arrays).map(move |index| {
        let array = word(thread_pointer, keys.specific + 8 * index.cast_signed());
        (index * keys.values_an_array, array)
    });
    arrays.take_while(|&(first_key, _)| given_keys(own, first_key).next().is_some())
}

/// What the C library has of the keys whose values are in the array of the key `first`: the sequence number and the destructor,
/// with their places in the array. It ends where no key ever was.
fn given_keys(own: &Own, first: usize) -> impl Iterator<Item = (usize, [&AtomicUsize; 2])> {
    let keys = &own.layout.keys;
    let all = (0..keys.values_an_array).map(move |index| (index, known(keys, first + index)));
    // It grows when a key is made, and when it is deleted.
    all.take_while(|(_, [sequence, _])| sequence.load(Ordering::Acquire) != 0)
}

/// Whether the lowest number that was free has been given to `key`, which has just been made: none was ever given behind those
/// that are in use.
pub(super) fn is_lowest(keys: &KeyLayout, key: usize) -> bool {
    // One that another thread deletes meanwhile has been given.
    (0..=key).all(|given| known(keys, given)[0].load(Ordering::Acquire) != 0)
}

/// What the C library has of a key: the sequence number and the destructor.
fn known(keys: &KeyLayout, key: usize) -> [&'static AtomicUsize; 2] {
    // SAFETY: an element of the C library's array of keys, which stays.
    unsafe {
        let key = keys.keys.add(key).cast_mut().cast::<usize>();
        [
            AtomicUsize::from_ptr(key),
            AtomicUsize::from_ptr(key.add(1)),
        ]
    }
}

/// The sequence number and the value of a key.
fn fields(values: usize, index: usize) -> [&'static AtomicUsize; 2] {
    let at = 16 * index.cast_signed();
    [word(values, at), word(values, at + 8)]
}

/// Whether the thread has had values.
fn has_had_values(own: &Own, thread_pointer: usize) -> bool {
    word(thread_pointer, own.keys_used).load(Ordering::Relaxed) != own.image(own.keys_used)
}

/// Calls the destructors of keys that have a value. Gives whether there was one.
fn destroy_each(own: &Own, thread_pointer: usize) -> bool {
    let mut any = false;
    for (first_key, array) in arrays(own, thread_pointer) {
        let values = array.load(Ordering::Relaxed);
        if values == 0 {
            continue;
        }
        for (index, key) in given_keys(own, first_key) {
            let [of_value, value] = fields(values, index);
            // Only its thread has it: an exchange would cost as much for each key that has none.
            let taken = value.load(Ordering::Relaxed);
            if taken == 0 {
                continue;
            }
            value.store(0, Ordering::Relaxed);
            let [sequence, destructor] = key.map(|field| field.load(Ordering::Acquire));
            // A value of a key that was deleted since has another sequence number.
            if destructor != 0 && of_value.load(Ordering::Relaxed) == sequence {
                any = true;
                // SAFETY: what was given to pthread_key_create, called with the value of its key. A thread may exit in it.
                unsafe {
                    let destructor =
                        mem::transmute::<*const c_void, unsafe extern "C-unwind" fn(*mut c_void)>(
                            ptr::with_exposed_provenance(destructor),
                        );
                    destructor(ptr::with_exposed_provenance_mut(taken));
                }
            }
        }
    }
    any
}
