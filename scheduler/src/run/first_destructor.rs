//! A destructor that runs before those of all thread-locals: it [ends](unended) what is left of what the thread has begun,
//! while all that this may have borrowed is whole.
//!
//! Destructors of thread-locals run from the last that was registered to the first. They are registered with the C library's
//! `__cxa_thread_atexit_impl`: by std, whenever a thread-local that has a destructor is used for the first time. So the
//! program's `__cxa_thread_atexit_impl` is the one in this file, which the linker finds before the C library's. It passes
//! everything on, and where a thread is [guarded](guard), it registers the destructor of this file anew each time: that is
//! always the last one, and so the first to run. That costs those who register, and nobody who suspends.
//!
//! A destructor may begin something in turn: then its thread is guarded again, and when that destructor has returned, the next
//! to run is again the one in this file. What was registered before is called for nothing.
//!
//! The destructors of pthread keys run after all these. What one of them begins is not ended, but on a green thread nothing is
//! left to be destroyed then.
//!
//! # Exit
//!
//! `exit` calls the destructors of the thread that calls it. If that is a green thread with the thread-locals of its worker, its
//! neighbours have frames that may have lent these, and do not end. So what was registered on such a one is not called then:
//! the process ends, and nothing has been destroyed that somebody uses.
//!
//! # Where std does not find it
//!
//! That is [seen](is_there): it may be so where std is a library of its own, or Roving a part of one that a foreign program loads.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::run::{context, unended};

type Destructor = unsafe extern "C" fn(*mut c_void);
type Register = unsafe extern "C" fn(Destructor, *mut c_void, *mut c_void) -> c_int;

thread_local! {
    /// Whether the destructor that was registered last is the one in this file.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };

    /// How many registrations have come here.
    static REGISTRATIONS: Cell<usize> = const { Cell::new(0) };
}

#[inline(never)]
fn is_guarded() -> bool {
    IS_GUARDED.get()
}

#[inline(never)]
fn set_guarded(is_guarded: bool) {
    IS_GUARDED.set(is_guarded);
}

#[inline(never)]
fn count_registration() {
    REGISTRATIONS.set(REGISTRATIONS.get().wrapping_add(1));
}

/// Finds out whether [`guard`] does anything, so that no child is forked while somebody does.
pub(crate) fn prepare() {
    is_there();
}

/// Whether [`guard`] does anything.
pub(crate) fn is_there() -> bool {
    static IS_THERE: OnceLock<bool> = OnceLock::new();
    *IS_THERE.get_or_init(std_registers_here)
}

/// Whether std registers destructors here. To be asked once.
#[inline(never)]
fn std_registers_here() -> bool {
    /// Has a destructor.
    struct Probe;

    impl Drop for Probe {
        fn drop(&mut self) {}
    }

    thread_local! {
        static PROBE: Probe = const { Probe };
    }

    let before = REGISTRATIONS.get();
    let is_new = PROBE.try_with(|_| ()).is_ok();
    is_new && REGISTRATIONS.get() != before
}

/// Whether the thread-locals are a worker's, and the current thread only shares them.
fn shares_workers_thread_locals() -> bool {
    let shares = context::with_running(|waiter| {
        let own_stack = waiter.own_stack()?;
        // SAFETY: it is the current thread.
        Some(unsafe { own_stack.started() }.thread_pointer.is_none())
    });
    shares.flatten() == Some(true) && context::with_worker(|worker| worker.is_some())
}

/// From now on until the end of the current thread, what it has begun is ended before a destructor of a thread-local runs.
#[inline]
pub(crate) fn guard() {
    if !is_guarded() {
        guard_anew();
    }
}

#[cold]
#[inline(never)]
fn guard_anew() {
    if is_there()
        && let Some(register) = of_the_c_library()
    {
        register_first(register);
        set_guarded(true);
    }
}

fn register_first(register: Register) {
    // What finds the library that must not be unloaded before.
    let library = end_others as *mut c_void;
    // SAFETY: it may be called on this thread, with anything.
    unsafe { register(end_others, ptr::null_mut(), library) };
}

/// The destructor.
unsafe extern "C" fn end_others(_: *mut c_void) {
    set_guarded(false);
    // Else the thread that runs here is in `exit`, and nothing is destroyed.
    if !shares_workers_thread_locals() {
        unended::end_all();
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn __cxa_thread_atexit_impl(
    destructor: Destructor,
    value: *mut c_void,
    library: *mut c_void,
) -> c_int {
    let Some(register) = of_the_c_library() else {
        return -1;
    };
    count_registration();
    let (destructor, value) = if shares_workers_thread_locals() {
        not_in_exit(destructor, value)
    } else {
        (destructor, value)
    };
    // SAFETY: the caller's promise.
    let result = unsafe { register(destructor, value, library) };
    if is_guarded() {
        register_first(register);
    }
    result
}

/// A destructor, and what it destroys.
struct Kept(Destructor, *mut c_void);

/// What destroys `value` by `destructor`, unless that is in the `exit` of a thread that shares a worker's thread-locals.
fn not_in_exit(destructor: Destructor, value: *mut c_void) -> (Destructor, *mut c_void) {
    unsafe extern "C" fn destroy(kept: *mut c_void) {
        if shares_workers_thread_locals() {
            return;
        }
        // SAFETY: it was made below, and this is called once.
        unsafe {
            let Kept(destructor, value) = kept.cast::<Kept>().read();
            libc::free(kept);
            destructor(value);
        }
    }

    // By the allocator of the C library: another may be registering a destructor of its own.
    // SAFETY: it has no preconditions.
    let kept = unsafe { libc::malloc(size_of::<Kept>()) };
    if kept.is_null() {
        return (destructor, value);
    }
    // SAFETY: it is large enough, and aligned for anything.
    unsafe { kept.cast::<Kept>().write(Kept(destructor, value)) };
    (destroy, kept)
}

fn of_the_c_library() -> Option<Register> {
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    if FOUND.load(Ordering::Relaxed) == 0 {
        // SAFETY: dlsym with a valid name.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, c"__cxa_thread_atexit_impl".as_ptr()) };
        FOUND.store(found.expose_provenance(), Ordering::Relaxed);
    }
    let found: *const c_void = ptr::with_exposed_provenance(FOUND.load(Ordering::Relaxed));
    // SAFETY: this is the function's type.
    (!found.is_null()).then(|| unsafe { mem::transmute::<*const c_void, Register>(found) })
}
