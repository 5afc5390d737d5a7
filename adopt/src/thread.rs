//! Threads: what `pthread_create` makes is a green thread.
//!
//! The C library promises a thread with a stack of so many bytes, that runs beside its maker, has thread-locals and an id of its
//! own, and can be joined once or detached. A green thread has all that. What it has not, since these are the kernel's, are a
//! scheduling class, an affinity, a mask of signals and a stack of the caller's: who asks for one of these gets an
//! OS thread.
//!
//! The id of a green thread is the address of its [record](Record). Those in use are listed, and the functions that take one
//! look there; what is not in the list is the C library's.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::{Arc, LazyLock};

use libc::{pthread_attr_t, pthread_t};
use roving_scheduler::adopt::{self, Inside};
use roving_scheduler::lock::Mutex;
use roving_scheduler::thread::{Builder, JoinHandle};

use crate::next::next;
use crate::{first, is_adopted};

/// What a thread begins with.
type Start = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// What a thread leaves to whoever joins it: a pointer that means nothing here.
struct Left(*mut c_void);

impl Left {
    fn into_inner(self) -> *mut c_void {
        self.0
    }
}

// SAFETY: it is passed on, and not used.
unsafe impl Send for Left {}

/// What is known of a green thread until it is joined, or has been detached and is at its end.
#[derive(Default)]
struct Record {
    /// By which id the C library knows it, once it has begun.
    real_id: Option<pthread_t>,
    /// For whoever joins it.
    handle: Option<JoinHandle<Left>>,
    is_detached: bool,
    is_at_end: bool,
}

static THREADS: LazyLock<Mutex<HashMap<pthread_t, Arc<Mutex<Record>>>>> =
    LazyLock::new(Mutex::default);

thread_local! {
    /// The id of the current thread, if it is a green one that `pthread_create` made.
    static ID: Cell<pthread_t> = const { Cell::new(0) };
}

// Not inlined: a compiler may keep the address of a thread-local for as long as a function runs.
#[inline(never)]
fn current() -> Option<pthread_t> {
    Some(ID.get()).filter(|&id| id != 0)
}

fn record(id: pthread_t) -> Option<Arc<Mutex<Record>>> {
    is_adopted()
        .then(|| THREADS.lock().get(&id).cloned())
        .flatten()
}

/// What a thread is to be, of what it can be.
struct Wanted {
    stack_size: usize,
    is_detached: bool,
}

impl Wanted {
    /// `None` if a green thread cannot be that.
    ///
    /// # Safety
    ///
    /// Null, or attributes that are initialised.
    unsafe fn of(attributes: *const pthread_attr_t) -> Option<Self> {
        unsafe extern "C" {
            fn pthread_getattr_default_np(attributes: *mut pthread_attr_t) -> c_int;
            fn pthread_attr_getdetachstate(attr: *const pthread_attr_t, state: *mut c_int)
            -> c_int;
            fn pthread_attr_getinheritsched(attr: *const pthread_attr_t, how: *mut c_int) -> c_int;
            fn pthread_attr_getstack(
                attr: *const pthread_attr_t,
                start: *mut *mut c_void,
                size: *mut usize,
            ) -> c_int;
        }
        let mut default = MaybeUninit::uninit();
        let attributes = if attributes.is_null() {
            // SAFETY: there is room for them.
            if unsafe { pthread_getattr_default_np(default.as_mut_ptr()) } != 0 {
                return None;
            }
            default.as_ptr()
        } else {
            attributes
        };
        let (mut start, mut stack_size) = (ptr::null_mut(), 0);
        let (mut how, mut detached) = (0, 0);
        // SAFETY: they are initialised, and there is room for the answers.
        let failed = unsafe {
            pthread_attr_getstack(attributes, &raw mut start, &raw mut stack_size)
                | pthread_attr_getinheritsched(attributes, &raw mut how)
                | pthread_attr_getdetachstate(attributes, &raw mut detached)
        };
        // Where no stack is given, it ends at zero.
        let has_stack = start.addr().wrapping_add(stack_size) != 0;
        let is_plain = failed == 0 && !has_stack && how == libc::PTHREAD_INHERIT_SCHED;
        is_plain.then_some(Self {
            stack_size,
            is_detached: detached == libc::PTHREAD_CREATE_DETACHED,
        })
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    type Next =
        unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Start, *mut c_void) -> c_int;
    first::at_thread();
    let wanted = if is_adopted() && !Inside::is_current() {
        // SAFETY: the caller's promise.
        unsafe { Wanted::of(attributes) }
    } else {
        None
    };
    let Some(wanted) = wanted else {
        // SAFETY: the caller's promise.
        return unsafe { next!(pthread_create: Next)(thread, attributes, start, argument) };
    };
    // SAFETY: the caller's promise.
    match unsafe { create(thread, &wanted, start, Left(argument)) } {
        Ok(()) => 0,
        Err(_) => libc::EAGAIN,
    }
}

/// # Safety
///
/// The id may be written to `thread`.
unsafe fn create(
    thread: *mut pthread_t,
    wanted: &Wanted,
    start: Start,
    argument: Left,
) -> io::Result<()> {
    let record = Arc::new(Mutex::new(Record {
        is_detached: wanted.is_detached,
        ..Record::default()
    }));
    let id = Arc::as_ptr(&record).expose_provenance() as pthread_t;
    THREADS.lock().insert(id, record.clone());
    // The thread, too, may look there.
    // SAFETY: the caller's promise.
    unsafe { thread.write(id) };
    // Whoever joins it finds the handle there.
    let mut record = record.lock();
    match Builder::new()
        .stack_size(wanted.stack_size)
        .spawn(move || live(id, start, argument))
    {
        Ok(handle) => record.handle = Some(handle).filter(|_| !wanted.is_detached),
        Err(error) => {
            THREADS.lock().remove(&id);
            return Err(error);
        }
    }
    Ok(())
}

/// What a thread unwinds with that calls `pthread_exit`.
struct Exit(Left);

/// What a thread does.
fn live(id: pthread_t, start: Start, argument: Left) -> Left {
    let record = record(id).expect("it is listed until it is joined, or is at its end");
    record.lock().real_id = Some(pthread_self());
    set_current(id);
    let ended = panic::catch_unwind(AssertUnwindSafe(|| Left(start(argument.into_inner()))));
    let left = match ended.map_err(|payload| payload.downcast::<Exit>()) {
        Ok(left) => left,
        Err(Ok(exit)) => exit.0,
        Err(Err(payload)) => panic::resume_unwind(payload),
    };
    let mut record = record.lock();
    record.is_at_end = true;
    if record.is_detached {
        forget(id);
    }
    left
}

#[inline(never)]
fn set_current(id: pthread_t) {
    ID.set(id);
}

/// From now on the id means nothing.
fn forget(id: pthread_t) {
    THREADS.lock().remove(&id);
    if current() == Some(id) {
        set_current(0);
    }
}

/// By which id the C library knows a thread. That of a green one that has not begun means nothing to it.
pub(crate) fn real_id(id: pthread_t) -> pthread_t {
    record(id).map_or(id, |record| record.lock().real_id.unwrap_or(id))
}

#[unsafe(no_mangle)]
extern "C" fn pthread_self() -> pthread_t {
    // SAFETY: it has no preconditions.
    current()
        .unwrap_or_else(|| unsafe { next!(pthread_self: unsafe extern "C" fn() -> pthread_t)() })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_join(id: pthread_t, result: *mut *mut c_void) -> c_int {
    let Some(record) = record(id) else {
        type Next = unsafe extern "C" fn(pthread_t, *mut *mut c_void) -> c_int;
        // SAFETY: the caller's promise.
        return unsafe { next!(pthread_join: Next)(id, result) };
    };
    if current() == Some(id) {
        return libc::EDEADLK;
    }
    let Some(handle) = record.lock().handle.take() else {
        return libc::EINVAL;
    };
    let left = adopt::join(handle);
    forget(id);
    if !result.is_null() {
        // What neither returned nor called `pthread_exit` counts as cancelled.
        let left = left.map_or(ptr::without_provenance_mut(usize::MAX), |left| left.0);
        // SAFETY: the caller's promise.
        unsafe { result.write(left) };
    }
    0
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_detach(id: pthread_t) -> c_int {
    let Some(record) = record(id) else {
        // SAFETY: the caller's promise.
        return unsafe { next!(pthread_detach: unsafe extern "C" fn(pthread_t) -> c_int)(id) };
    };
    let mut record = record.lock();
    if record.is_detached {
        return libc::EINVAL;
    }
    record.is_detached = true;
    record.handle = None;
    if record.is_at_end {
        forget(id);
    }
    0
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_exit(result: *mut c_void) -> ! {
    if current().is_some() {
        panic::resume_unwind(Box::new(Exit(Left(result))));
    }
    // SAFETY: the caller's promise.
    unsafe { next!(pthread_exit: unsafe extern "C-unwind" fn(*mut c_void) -> !)(result) }
}
