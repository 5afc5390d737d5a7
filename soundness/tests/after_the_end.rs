//! What is set when the last destructor of a green thread has run, or by it, no later one finds.
//!
//! Every thread here sets all that it can, and has a pthread key whose destructor does so again in
//! each of its rounds, and puts its value back.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use roving_soundness::{THREADS, many, migrate, on_moving_threads};

/// `PTHREAD_DESTRUCTOR_ITERATIONS`.
const ROUNDS_OF_DESTRUCTORS: usize = 4;
/// More than are stored in the block itself.
const KEYS: usize = 80;
/// The words of `struct __res_state`.
const RESOLVER_WORDS: usize = 71;

unsafe extern "C" {
    fn __res_state() -> *mut usize;
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int;
}

/// Counts when it is dropped.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED_LATE.fetch_add(1, Ordering::SeqCst);
    }
}

static DROPPED_LATE: AtomicUsize = AtomicUsize::new(0);
static DESTROYED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static PLAIN: Cell<u64> = const { Cell::new(0xfeed) };
    /// Used for the first time by the destructor of a key, so its own is registered too late.
    static LATE: Counted = const { Counted };
}

/// The first one's destructor is [`destroy`], the others have none.
fn keys() -> &'static [libc::pthread_key_t; KEYS] {
    static CREATED: OnceLock<[libc::pthread_key_t; KEYS]> = OnceLock::new();
    CREATED.get_or_init(|| {
        std::array::from_fn(|number| {
            let mut key = 0;
            let destructor = (number == 0).then_some(destroy as unsafe extern "C" fn(_));
            // SAFETY: creates a key with a destructor that takes its values.
            assert_eq!(unsafe { libc::pthread_key_create(&mut key, destructor) }, 0);
            key
        })
    })
}

unsafe extern "C" fn destroy(_: *mut c_void) {
    DESTROYED.fetch_add(1, Ordering::SeqCst);
    migrate(0);
    LATE.with(|_| ());
    set_everything();
}

/// Mutexes that ended threads held, with what was in them when they were locked.
static HELD: Mutex<Vec<(usize, Vec<u8>)>> = Mutex::new(Vec::new());

/// Locks a new robust mutex, for ever.
fn hold_a_robust_mutex() {
    let mutex = Box::leak(Box::new(MaybeUninit::<libc::pthread_mutex_t>::zeroed())).as_mut_ptr();
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: both are initialised before they are used, and the mutex stays where it is.
    let locked = unsafe {
        libc::pthread_mutexattr_init(attributes.as_mut_ptr());
        libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST);
        libc::pthread_mutex_init(mutex, attributes.as_ptr());
        libc::pthread_mutex_lock(mutex)
    };
    assert_eq!(locked, 0);
    HELD.lock().unwrap().push((mutex.addr(), Vec::new()));
}

/// What is in a mutex.
fn bytes(mutex: usize) -> Vec<u8> {
    let bytes: *const u8 = ptr::with_exposed_provenance(mutex);
    // SAFETY: mutexes are leaked, and nobody uses this one.
    unsafe { std::slice::from_raw_parts(bytes, size_of::<libc::pthread_mutex_t>()).to_vec() }
}

fn set_everything() {
    PLAIN.set(1);
    // SAFETY: what is set is the thread's own.
    unsafe {
        for &key in keys() {
            libc::pthread_setspecific(key, ptr::without_provenance(1));
        }
        let c = libc::newlocale(libc::LC_ALL_MASK, c"C".as_ptr(), ptr::null_mut());
        libc::uselocale(c);
        assert_eq!(pthread_setcancelstate(1, ptr::null_mut()), 0);
        assert_eq!(pthread_setcanceltype(1, ptr::null_mut()), 0);
        assert!(libc::dlsym(libc::RTLD_DEFAULT, c"there is no such name".as_ptr()).is_null());
        *__res_state().add(1) = 0x1234;
        *libc::__errno_location() = 99;
    }
}

fn expect_a_new_thread() {
    assert_eq!(PLAIN.get(), 0xfeed);
    // SAFETY: this looks at, and sets, what is the thread's own.
    unsafe {
        assert_eq!(*libc::__errno_location(), 0);
        assert!(libc::dlerror().is_null(), "an error of an earlier thread");
        for &key in keys() {
            assert!(libc::pthread_getspecific(key).is_null());
        }
        let locale = libc::uselocale(ptr::null_mut());
        assert_eq!(locale.addr(), usize::MAX, "the global locale");
        let (mut state, mut kind) = (-1, -1);
        pthread_setcancelstate(0, &mut state);
        pthread_setcanceltype(0, &mut kind);
        assert_eq!((state, kind), (0, 0));
        let resolver = std::slice::from_raw_parts(__res_state(), RESOLVER_WORDS);
        assert!(resolver.iter().all(|&word| word == 0), "{resolver:x?}");
        assert_eq!(libc::pthread_detach(libc::pthread_self()), 0);
        assert_eq!(libc::pthread_detach(libc::pthread_self()), libc::EINVAL);
    }
}

#[test]
fn a_new_thread_finds_nothing_that_was_set_by_the_last_destructor() {
    on_moving_threads(|runtime| {
        for _ in 0..20 {
            let before = DESTROYED.load(Ordering::SeqCst);
            many(runtime, |number| {
                expect_a_new_thread();
                hold_a_robust_mutex();
                migrate(number);
                set_everything();
            });
            let destroyed = DESTROYED.load(Ordering::SeqCst) - before;
            assert_eq!(destroyed, THREADS * ROUNDS_OF_DESTRUCTORS);
            // Who locks a mutex writes to those that it holds already.
            let mut held = HELD.lock().unwrap();
            for (mutex, content) in held.iter_mut() {
                if content.is_empty() {
                    *content = bytes(*mutex);
                }
                assert_eq!(bytes(*mutex), *content);
            }
        }
        assert_eq!(DROPPED_LATE.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn an_error_that_was_not_asked_for_is_freed_and_forgotten() {
    on_moving_threads(|runtime| {
        for _ in 0..20 {
            many(runtime, |number| {
                // SAFETY: these have no preconditions.
                unsafe {
                    assert!(libc::dlerror().is_null());
                    assert!(libc::dlopen(c"no/such/library".as_ptr(), libc::RTLD_NOW).is_null());
                    migrate(number);
                }
            });
        }
    });
}
