//! What objects of the C library say of themselves, and where.
//!
//! It has functions that make an object as attributes ask for, and none that tell of one as what it was made. So the
//! objects are looked at: one is made plain and one with an attribute, and the bits that only the second one has are those by which objects of this C
//! library say it. That the values of `pthread_once_t` are known is asked in the same way.

use std::ffi::{c_int, c_uint};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{
    clockid_t, pthread_barrier_t, pthread_barrierattr_t, pthread_cond_t, pthread_condattr_t,
    pthread_mutex_t, pthread_mutexattr_t, pthread_rwlock_t, pthread_rwlockattr_t, sem_t,
};

use super::once;

/// Bits of a word of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    offset: usize,
    bits: u32,
}

impl Mark {
    /// In what they differ: bits that the plain object has not.
    fn all_between<T>(plain: &Object<T>, marked: &Object<T>) -> Vec<Self> {
        let words = plain.words().iter().zip(marked.words()).enumerate();
        let marks = words.map(|(n, (plain, marked))| Self {
            offset: n * size_of::<u32>(),
            bits: !plain & marked,
        });
        marks.filter(|mark| mark.bits != 0).collect()
    }

    /// The only one.
    fn between<T>(plain: &Object<T>, marked: &Object<T>) -> Option<Self> {
        only(Self::all_between(plain, marked))
    }

    /// Whether an object has it.
    ///
    /// # Safety
    ///
    /// It is one of those for which this is the mark.
    pub(super) unsafe fn is_on<T>(self, object: *const T) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.word(object) & self.bits != 0 }
    }

    /// # Safety
    ///
    /// As for `is_on`.
    pub(super) unsafe fn word<T>(self, object: *const T) -> u32 {
        let word = object.wrapping_byte_add(self.offset).cast::<AtomicU32>();
        // SAFETY: the caller's promise; the words of these objects are aligned. Relaxed: it does not change.
        unsafe { &*word }.load(Ordering::Relaxed)
    }

    /// Adds one to the word, or takes one away.
    ///
    /// # Safety
    ///
    /// As for `is_on`, and the word is a count, which nobody else changes meanwhile.
    pub(super) unsafe fn count<T>(self, object: *const T, is_one_more: bool) {
        let word = object.wrapping_byte_add(self.offset).cast::<AtomicU32>();
        // SAFETY: the caller's promise; the words of these objects are aligned.
        let word = unsafe { &*word };
        if is_one_more {
            word.fetch_add(1, Ordering::Relaxed);
        } else {
            word.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn only(marks: Vec<Mark>) -> Option<Mark> {
    <[Mark; 1]>::try_from(marks).ok().map(|[mark]| mark)
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) shared_mutex: Mark,
    pub(super) robust_mutex: Mark,
    pub(super) mutex_inherits_priority: Mark,
    pub(super) mutex_has_ceiling: Mark,
    pub(super) mutex_checks_errors: Mark,
    pub(super) recursive_mutex: Mark,
    /// The word in which it counts who uses it, if it is known.
    pub(super) mutex_users: Option<Mark>,
    pub(super) shared_condition: Mark,
    pub(super) monotonic_condition: Mark,
    pub(super) shared_rwlock: Mark,
    pub(super) shared_semaphore: Mark,
    pub(super) shared_barrier: Mark,
    /// The word in which it says how many wait.
    pub(super) barrier_count: Mark,
}

static LAYOUT: OnceLock<Layout> = OnceLock::new();

/// Asks the C library.
///
/// # Errors
///
/// It makes its objects in a way that is not understood.
pub(super) fn ask() -> io::Result<()> {
    if LAYOUT.get().is_none() {
        let layout = Layout::ask().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "the C library's locks are not what they are in any known version",
            )
        })?;
        LAYOUT.get_or_init(|| layout);
    }
    Ok(())
}

/// As it was asked. The program is adopted.
pub(super) fn layout() -> &'static Layout {
    LAYOUT
        .get()
        .expect("it is asked before the program is adopted")
}

/// An object of a type of the C library, as its functions make it of all zeros.
struct Object<T>(MaybeUninit<T>);

impl<T> Object<T> {
    fn made(make: impl FnOnce(*mut T) -> c_int) -> Option<Self> {
        let mut object = Self(MaybeUninit::zeroed());
        (make(object.0.as_mut_ptr()) == 0).then_some(object)
    }

    fn words(&self) -> &[u32] {
        // SAFETY: all of its bytes are initialised, with zeros if nothing else; these types are aligned to words.
        unsafe {
            std::slice::from_raw_parts(
                self.0.as_ptr().cast::<u32>(),
                size_of::<T>() / size_of::<u32>(),
            )
        }
    }
}

/// The marks that objects have which are made with an attribute.
///
/// # Safety
///
/// The functions are those of the C library for these types.
unsafe fn marks<T, A>(
    begin: unsafe extern "C" fn(*mut A) -> c_int,
    set: impl FnOnce(*mut A) -> c_int,
    make: impl Fn(*mut T, *const A) -> c_int,
) -> Option<Vec<Mark>> {
    let mut attributes = MaybeUninit::<A>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: there is room for them.
    if unsafe { begin(attributes) } != 0 {
        return None;
    }
    let plain = Object::made(|object| make(object, attributes))?;
    if set(attributes) != 0 {
        return None;
    }
    let marked = Object::made(|object| make(object, attributes))?;
    Some(Mark::all_between(&plain, &marked))
}

type SetOfMutex = unsafe extern "C" fn(*mut pthread_mutexattr_t, c_int) -> c_int;

fn mutex(set: SetOfMutex, value: c_int) -> Option<Vec<Mark>> {
    // SAFETY: they are the functions for mutexes, and are given what has room and is initialised.
    unsafe {
        marks::<pthread_mutex_t, _>(
            libc::pthread_mutexattr_init,
            |attributes| set(attributes, value),
            |mutex, attributes| libc::pthread_mutex_init(mutex, attributes),
        )
    }
}

/// Of the words that change when a mutex is locked, that for which it is not destroyed.
fn mutex_users() -> Option<Mark> {
    // SAFETY: there is room for it, and no attributes are plain ones.
    let make = |mutex| unsafe { libc::pthread_mutex_init(mutex, ptr::null()) };
    let plain = Object::made(make)?;
    // SAFETY: it has just been made.
    let locked = Object::made(|mutex| unsafe { make(mutex) | libc::pthread_mutex_trylock(mutex) })?;
    let is_count = |mark: &Mark| {
        let mut mutex = Object::made(make)?;
        let mutex = mutex.0.as_mut_ptr();
        // SAFETY: it is a mutex that nobody uses, of which one word is as in one that is locked.
        let destroyed = unsafe {
            mark.count(mutex, true);
            libc::pthread_mutex_destroy(mutex)
        };
        Some(destroyed == libc::EBUSY)
    };
    let words = Mark::all_between(&plain, &locked);
    let ones = words.into_iter().filter(|mark| mark.bits == 1);
    only(ones.filter(|mark| is_count(mark) == Some(true)).collect())
}

fn condition<V>(
    set: unsafe extern "C" fn(*mut pthread_condattr_t, V) -> c_int,
    value: V,
) -> Option<Mark> {
    // SAFETY: they are the functions for condition variables, and are given what has room and is initialised.
    let marks = unsafe {
        marks::<pthread_cond_t, _>(
            libc::pthread_condattr_init,
            |attributes| set(attributes, value),
            |condition, attributes| libc::pthread_cond_init(condition, attributes),
        )
    };
    only(marks?)
}

impl Layout {
    fn ask() -> Option<Self> {
        if !once::ask() {
            return None;
        }
        unsafe extern "C" {
            fn pthread_mutexattr_setpshared(attr: *mut pthread_mutexattr_t, shared: c_int)
            -> c_int;
            fn pthread_mutexattr_setrobust(attr: *mut pthread_mutexattr_t, robust: c_int) -> c_int;
            fn pthread_mutexattr_setprotocol(
                attr: *mut pthread_mutexattr_t,
                protocol: c_int,
            ) -> c_int;
            fn pthread_condattr_setpshared(attr: *mut pthread_condattr_t, shared: c_int) -> c_int;
            fn pthread_condattr_setclock(attr: *mut pthread_condattr_t, clock: clockid_t) -> c_int;
            fn pthread_rwlockattr_setpshared(
                attr: *mut pthread_rwlockattr_t,
                shared: c_int,
            ) -> c_int;
            fn pthread_barrierattr_setpshared(
                attr: *mut pthread_barrierattr_t,
                shared: c_int,
            ) -> c_int;
            fn pthread_barrierattr_init(attr: *mut pthread_barrierattr_t) -> c_int;
            fn pthread_barrier_init(
                barrier: *mut pthread_barrier_t,
                attr: *const pthread_barrierattr_t,
                count: c_uint,
            ) -> c_int;
        }
        let shared = libc::PTHREAD_PROCESS_SHARED;
        // SAFETY: they are the functions for read-write locks, and are given what has room and is initialised.
        let shared_rwlock = unsafe {
            marks::<pthread_rwlock_t, _>(
                libc::pthread_rwlockattr_init,
                |attributes| pthread_rwlockattr_setpshared(attributes, shared),
                |lock, attributes| libc::pthread_rwlock_init(lock, attributes),
            )
        };
        // SAFETY: likewise, for barriers.
        let shared_barrier = unsafe {
            marks::<pthread_barrier_t, _>(
                pthread_barrierattr_init,
                |attributes| pthread_barrierattr_setpshared(attributes, shared),
                |barrier, attributes| pthread_barrier_init(barrier, attributes, 1),
            )
        };
        let barrier = |count| {
            // SAFETY: there is room for it, and no attributes are plain ones.
            Object::<pthread_barrier_t>::made(|barrier| unsafe {
                pthread_barrier_init(barrier, ptr::null(), count)
            })
        };
        let semaphore = |shared| {
            // SAFETY: there is room for it.
            Object::<sem_t>::made(|semaphore| unsafe { libc::sem_init(semaphore, shared, 0) })
        };
        let mutex_inherits_priority = only(mutex(
            pthread_mutexattr_setprotocol,
            libc::PTHREAD_PRIO_INHERIT,
        )?)?;
        // It says in the same word which protocol it has, and elsewhere how high the ceiling is.
        let mutex_has_ceiling = mutex(pthread_mutexattr_setprotocol, libc::PTHREAD_PRIO_PROTECT)?
            .into_iter()
            .find(|mark| mark.offset == mutex_inherits_priority.offset)?;
        let one_more = Mark::between(&barrier(2)?, &barrier(3)?);
        Some(Self {
            shared_mutex: only(mutex(pthread_mutexattr_setpshared, shared)?)?,
            robust_mutex: only(mutex(
                pthread_mutexattr_setrobust,
                libc::PTHREAD_MUTEX_ROBUST,
            )?)?,
            mutex_inherits_priority,
            mutex_has_ceiling,
            mutex_checks_errors: only(mutex(
                libc::pthread_mutexattr_settype,
                libc::PTHREAD_MUTEX_ERRORCHECK,
            )?)?,
            recursive_mutex: only(mutex(
                libc::pthread_mutexattr_settype,
                libc::PTHREAD_MUTEX_RECURSIVE,
            )?)?,
            mutex_users: mutex_users(),
            shared_condition: condition(pthread_condattr_setpshared, shared)?,
            monotonic_condition: condition(pthread_condattr_setclock, libc::CLOCK_MONOTONIC)?,
            shared_rwlock: only(shared_rwlock?)?,
            shared_semaphore: Mark::between(&semaphore(0)?, &semaphore(1)?)?,
            shared_barrier: only(shared_barrier?)?,
            barrier_count: one_more.filter(|mark| mark.bits == 1)?,
        })
    }
}
