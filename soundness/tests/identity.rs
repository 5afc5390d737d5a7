//! Who a green thread is to std and to the C library: one thread, wherever it runs.

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::sync::Mutex;

use roving_soundness::{
    ROUNDS, THREADS, errno, many, many_moving_threads, migrate, on_moving_threads, set_errno,
};

#[test]
fn the_current_thread_of_std_is_the_green_threads_own() {
    on_moving_threads(|runtime| {
        static SEEN: Mutex<Option<HashSet<std::thread::ThreadId>>> = Mutex::new(None);
        let main = std::thread::current().id();
        *SEEN.lock().unwrap() = Some(HashSet::from([main]));
        many(runtime, |number| {
            let id = std::thread::current().id();
            let is_new = SEEN.lock().unwrap().as_mut().unwrap().insert(id);
            assert!(is_new, "no other thread has this id");
            for round in 0..ROUNDS {
                migrate(number + round);
                assert_eq!(std::thread::current().id(), id);
            }
        });
        assert_eq!(SEEN.lock().unwrap().take().unwrap().len(), THREADS + 1);
    });
}

#[test]
fn errno_is_the_green_threads_own() {
    many_moving_threads(|number| {
        let value = 1000 + number as i32;
        for _ in 0..ROUNDS {
            set_errno(value);
            roving::thread::yield_now();
            assert_eq!(errno(), value);
        }
    });
}

#[test]
fn pthread_self_stays_and_differs() {
    on_moving_threads(|runtime| {
        static SEEN: Mutex<Vec<libc::pthread_t>> = Mutex::new(Vec::new());
        SEEN.lock().unwrap().clear();
        many(runtime, |number| {
            // SAFETY: it has no preconditions.
            let this = || unsafe { libc::pthread_self() };
            let before = this();
            SEEN.lock().unwrap().push(before);
            // Until all are there, so that none has ended and left its place to another.
            while SEEN.lock().unwrap().len() < THREADS {
                migrate(0);
            }
            for round in 0..ROUNDS {
                migrate(number + round);
                assert_eq!(this(), before);
            }
        });
        let seen = SEEN.lock().unwrap();
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), THREADS);
    });
}

#[test]
fn mutexes_of_the_c_library_know_their_owner() {
    for kind in [
        libc::PTHREAD_MUTEX_RECURSIVE,
        libc::PTHREAD_MUTEX_ERRORCHECK,
    ] {
        on_moving_threads(|runtime| {
            many(runtime, move |number| {
                let mut mutex = MaybeUninit::uninit();
                let mut attributes = MaybeUninit::uninit();
                // SAFETY: both are initialised before they are used, and the mutex is not moved.
                unsafe {
                    libc::pthread_mutexattr_init(attributes.as_mut_ptr());
                    libc::pthread_mutexattr_settype(attributes.as_mut_ptr(), kind);
                    libc::pthread_mutex_init(mutex.as_mut_ptr(), attributes.as_ptr());
                    let mutex = mutex.as_mut_ptr();
                    for round in 0..ROUNDS / 10 {
                        assert_eq!(libc::pthread_mutex_lock(mutex), 0);
                        migrate(number + round);
                        let again = libc::pthread_mutex_lock(mutex);
                        if kind == libc::PTHREAD_MUTEX_RECURSIVE {
                            assert_eq!(again, 0);
                            migrate(round);
                            assert_eq!(libc::pthread_mutex_unlock(mutex), 0);
                        } else {
                            assert_eq!(again, libc::EDEADLK);
                        }
                        migrate(round);
                        assert_eq!(libc::pthread_mutex_unlock(mutex), 0);
                    }
                    assert_eq!(libc::pthread_mutex_destroy(mutex), 0);
                }
            });
        });
    }
}

#[test]
fn a_processor_is_asked_for_under_any_thread_pointer() {
    // SAFETY: it has no preconditions.
    let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    many_moving_threads(move |number| {
        for round in 0..ROUNDS {
            // SAFETY: as above.
            let processor = unsafe { libc::sched_getcpu() };
            assert!((0..processors as i32).contains(&processor));
            migrate(number + round);
        }
    });
}
