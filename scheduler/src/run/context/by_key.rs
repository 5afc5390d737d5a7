//! The waiter of an OS thread, which that has until the destructors of all its thread-locals have run: these may block, and are
//! of one thread with what came before. So it lies in a thread-local that has no destructor, and a key of the C library lets go
//! of it, whose destructors run last.
//!
//! Another key's destructor that blocks later still may find a new one. And a library that has Roving in it stays loaded from then on:
//! of a key, the dynamic linker does not know that its destructor is still to be called.

use std::cell::Cell;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::os_waiter;
use crate::run::green::Waiter;

thread_local! {
    /// Of an `Arc`, or null.
    static OS_THREAD: Cell<*const Waiter> = const { Cell::new(ptr::null()) };
}

/// The one of this OS thread.
#[inline(never)]
pub(super) fn current() -> Arc<Waiter> {
    let mut waiter = OS_THREAD.get();
    if waiter.is_null() {
        waiter = Arc::into_raw(os_waiter());
        OS_THREAD.set(waiter);
        let_go_of_at_last(waiter);
    }
    // SAFETY: of an `Arc`, which is let go of when it is taken from there.
    unsafe {
        Arc::increment_strong_count(waiter);
        Arc::from_raw(waiter)
    }
}

/// If the C library has no key left, it stays for ever.
fn let_go_of_at_last(waiter: *const Waiter) {
    if let Some(key) = key() {
        // SAFETY: it is a key.
        unsafe { libc::pthread_setspecific(key, waiter.cast()) };
    }
}

/// The key, made by whoever asks first. Nobody waits for another to make it: a child that was forked meanwhile would for ever.
fn key() -> Option<libc::pthread_key_t> {
    /// One more than the key.
    static KEY: AtomicUsize = AtomicUsize::new(0);
    if KEY.load(Ordering::Relaxed) == 0 {
        let made = make_key()?;
        let put = KEY.compare_exchange(0, made as usize + 1, Ordering::Relaxed, Ordering::Relaxed);
        if put.is_err() {
            // SAFETY: it is a key, and nobody else knows it.
            unsafe { libc::pthread_key_delete(made) };
        }
    }
    Some((KEY.load(Ordering::Relaxed) - 1) as libc::pthread_key_t)
}

#[cold]
fn make_key() -> Option<libc::pthread_key_t> {
    keep_loaded();
    let mut key = 0;
    // SAFETY: it writes a key, whose destructor takes what is set above.
    let failed = unsafe { libc::pthread_key_create(&raw mut key, Some(let_go_of)) };
    (failed == 0).then_some(key)
}

/// Keeps the library that this is in from being unloaded. Of a program itself, or where libraries are not unloaded, nothing comes.
fn keep_loaded() {
    let mut about = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: there is room for the answer, which is there if it succeeds; what is loaded already runs no constructors.
    unsafe {
        if libc::dladdr(let_go_of as *const c_void, about.as_mut_ptr()) != 0 {
            let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
            libc::dlopen(about.assume_init().dli_fname, flags);
        }
    }
}

unsafe extern "C" fn let_go_of(waiter: *mut c_void) {
    OS_THREAD.set(ptr::null());
    // SAFETY: it was set for this thread, by who had taken it from its `Arc`.
    drop(unsafe { Arc::from_raw(waiter.cast_const().cast::<Waiter>()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waiter_goes_with_its_os_thread() {
        let of_thread = std::thread::spawn(|| Arc::downgrade(&current()));
        assert!(of_thread.join().unwrap().upgrade().is_none());
    }
}
