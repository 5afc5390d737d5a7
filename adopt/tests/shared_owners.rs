//! Locks in memory that several adopted processes share, whose owners are green threads.

mod common;

use std::ffi::c_int;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use common::{in_adopted_programs, in_programs, on_a_green_thread};
use libc::{pthread_mutex_t, pthread_mutexattr_t, pthread_rwlock_t, timespec};

unsafe extern "C" {
    fn pthread_mutexattr_setpshared(attributes: *mut pthread_mutexattr_t, shared: c_int) -> c_int;
    fn pthread_mutexattr_setrobust(attributes: *mut pthread_mutexattr_t, robust: c_int) -> c_int;
    fn pthread_rwlockattr_setpshared(
        attributes: *mut libc::pthread_rwlockattr_t,
        shared: c_int,
    ) -> c_int;
    fn pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, time: *const timespec) -> c_int;
    fn pthread_rwlock_timedwrlock(lock: *mut pthread_rwlock_t, time: *const timespec) -> c_int;
    fn pthread_mutex_consistent(mutex: *mut pthread_mutex_t) -> c_int;
}

const SHARED: c_int = libc::PTHREAD_PROCESS_SHARED;

/// # Safety
///
/// There is room for it.
unsafe fn make_mutex(mutex: *mut pthread_mutex_t, kind: c_int, robust: c_int) {
    // SAFETY: the caller's promise; the attributes are initialised first.
    unsafe {
        let mut attributes = mem::zeroed();
        libc::pthread_mutexattr_init(&raw mut attributes);
        libc::pthread_mutexattr_settype(&raw mut attributes, kind);
        pthread_mutexattr_setpshared(&raw mut attributes, SHARED);
        pthread_mutexattr_setrobust(&raw mut attributes, robust);
        assert_eq!(libc::pthread_mutex_init(mutex, &raw const attributes), 0);
    }
}

/// What two processes have.
struct Common {
    recursive: pthread_mutex_t,
    checking: pthread_mutex_t,
    robust: pthread_mutex_t,
    rwlock: pthread_rwlock_t,
    stage: AtomicU32,
    numbers: [AtomicI32; 2],
}

impl Common {
    fn new() -> &'static Self {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: memory of its own, in which all is made before it is lent; zeroes are valid for the rest.
        unsafe {
            let memory = libc::mmap(ptr::null_mut(), size_of::<Self>(), access, kind, -1, 0);
            assert_ne!(memory, libc::MAP_FAILED);
            let this = memory.cast::<Self>();
            let recursive = libc::PTHREAD_MUTEX_RECURSIVE;
            let stalled = libc::PTHREAD_MUTEX_STALLED;
            make_mutex(&raw mut (*this).recursive, recursive, stalled);
            make_mutex(
                &raw mut (*this).checking,
                libc::PTHREAD_MUTEX_ERRORCHECK,
                stalled,
            );
            make_mutex(
                &raw mut (*this).robust,
                recursive,
                libc::PTHREAD_MUTEX_ROBUST,
            );
            let mut attributes = mem::zeroed();
            libc::pthread_rwlockattr_init(&raw mut attributes);
            pthread_rwlockattr_setpshared(&raw mut attributes, SHARED);
            libc::pthread_rwlock_init(&raw mut (*this).rwlock, &raw const attributes);
            &*this
        }
    }

    fn mutexes(&'static self) -> [*mut pthread_mutex_t; 3] {
        [&self.recursive, &self.checking, &self.robust].map(|mutex| ptr::from_ref(mutex).cast_mut())
    }

    fn rwlock(&'static self) -> *mut pthread_rwlock_t {
        ptr::from_ref(&self.rwlock).cast_mut()
    }

    fn wait_for(&self, stage: u32) {
        while self.stage.load(Ordering::SeqCst) < stage {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_at(&self, stage: u32) {
        self.stage.store(stage, Ordering::SeqCst);
    }

    fn begins(&self, process: usize) {
        // SAFETY: it has no preconditions.
        let number = unsafe { libc::gettid() };
        self.numbers[process].store(number, Ordering::SeqCst);
    }
}

/// Runs `body` in a child, on a green thread. Gives the child's number.
fn in_child(body: impl FnOnce() + Send + 'static) -> libc::pid_t {
    // SAFETY: what the child does ends with its exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // The other one may wait for it in vain.
        // SAFETY: it has no preconditions.
        unsafe { libc::alarm(60) };
        let done =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| on_a_green_thread(body)));
        // SAFETY: the test harness has nothing to do here.
        unsafe { libc::_exit(c_int::from(done.is_err())) };
    }
    child
}

fn soon() -> timespec {
    let mut time = timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: there is room for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    time.tv_nsec += 20_000_000;
    if time.tv_nsec >= 1_000_000_000 {
        time.tv_nsec -= 1_000_000_000;
        time.tv_sec += 1;
    }
    time
}

#[test]
fn nobody_takes_himself_for_an_owner_in_another_process() {
    in_programs(
        "nobody_takes_himself_for_an_owner_in_another_process",
        || {
            let common = Common::new();
            let owner = in_child(move || {
                common.begins(0);
                // SAFETY: they are there.
                unsafe {
                    for mutex in common.mutexes() {
                        assert_eq!(libc::pthread_mutex_lock(mutex), 0);
                    }
                    assert_eq!(libc::pthread_mutex_lock(common.mutexes()[0]), 0);
                    assert_eq!(libc::pthread_mutex_lock(common.mutexes()[1]), libc::EDEADLK);
                    assert_eq!(libc::pthread_rwlock_wrlock(common.rwlock()), 0);
                    assert_eq!(libc::pthread_rwlock_wrlock(common.rwlock()), libc::EDEADLK);
                    common.is_at(1);
                    common.wait_for(2);
                    // Wherever it goes on, it is the owner still.
                    for mutex in common.mutexes() {
                        assert_eq!(libc::pthread_mutex_unlock(mutex), 0);
                    }
                    assert_eq!(libc::pthread_mutex_unlock(common.mutexes()[0]), 0);
                    assert_eq!(libc::pthread_mutex_unlock(common.mutexes()[0]), libc::EPERM);
                    assert_eq!(libc::pthread_rwlock_unlock(common.rwlock()), 0);
                }
            });
            let other = in_child(move || {
                common.begins(1);
                common.wait_for(1);
                // That is what it is about.
                let [one, other] = [0, 1].map(|n| common.numbers[n].load(Ordering::SeqCst));
                assert_eq!(one, other);
                let time = soon();
                // SAFETY: they are there.
                unsafe {
                    for mutex in common.mutexes() {
                        assert_eq!(libc::pthread_mutex_trylock(mutex), libc::EBUSY);
                        assert_eq!(
                            libc::pthread_mutex_timedlock(mutex, &raw const time),
                            libc::ETIMEDOUT
                        );
                        assert_eq!(libc::pthread_mutex_unlock(mutex), libc::EPERM);
                    }
                    assert_eq!(
                        pthread_rwlock_timedwrlock(common.rwlock(), &raw const time),
                        libc::ETIMEDOUT
                    );
                    assert_eq!(
                        pthread_rwlock_timedrdlock(common.rwlock(), &raw const time),
                        libc::ETIMEDOUT
                    );
                    // It gets them as they are free.
                    let waits: Vec<_> = [0, 1]
                        .map(|n| {
                            thread::spawn(move || {
                                let mutex = common.mutexes()[n];
                                assert_eq!(libc::pthread_mutex_lock(mutex), 0);
                                assert_eq!(libc::pthread_mutex_unlock(mutex), 0);
                            })
                        })
                        .into();
                    thread::sleep(Duration::from_millis(5));
                    common.is_at(2);
                    waits.into_iter().for_each(|thread| thread.join().unwrap());
                    assert_eq!(libc::pthread_rwlock_wrlock(common.rwlock()), 0);
                    assert_eq!(libc::pthread_rwlock_unlock(common.rwlock()), 0);
                }
            });
            for child in [owner, other] {
                let mut status = 0;
                // SAFETY: there is room for the answer.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                assert_eq!(status, 0);
            }
        },
    );
}

/// More than one OS thread lends numbers to.
#[test]
fn many_threads_are_owners() {
    in_adopted_programs("many_threads_are_owners", || {
        const THREADS: usize = 300;
        /// One that is at its place.
        struct Own(pthread_mutex_t);
        let barrier = Arc::new(Barrier::new(THREADS));
        let mutexes: &'static [Own] = (0..THREADS)
            .map(|_| {
                // SAFETY: zeroes are one, and it is made where it stays.
                Own(unsafe { mem::zeroed() })
            })
            .collect::<Vec<_>>()
            .leak();
        let at = |n: usize| ptr::from_ref(&mutexes[n].0).expose_provenance();
        let places: Vec<usize> = (0..THREADS).map(at).collect();
        for &place in &places {
            let mutex = ptr::with_exposed_provenance_mut(place);
            // SAFETY: there is room for it.
            unsafe { make_mutex(mutex, libc::PTHREAD_MUTEX_RECURSIVE, 0) };
        }
        for _ in 0..2 {
            let threads: Vec<_> = (0..THREADS)
                .map(|n| {
                    let (barrier, places) = (barrier.clone(), places.clone());
                    thread::spawn(move || {
                        let mutex = |n: usize| {
                            ptr::with_exposed_provenance_mut::<pthread_mutex_t>(places[n])
                        };
                        // SAFETY: they are there.
                        unsafe {
                            assert_eq!(libc::pthread_mutex_lock(mutex(n)), 0);
                            barrier.wait();
                            for other in (0..THREADS).filter(|&other| other != n) {
                                assert_eq!(libc::pthread_mutex_trylock(mutex(other)), libc::EBUSY);
                            }
                            barrier.wait();
                            assert_eq!(libc::pthread_mutex_trylock(mutex(n)), 0);
                            assert_eq!(libc::pthread_mutex_unlock(mutex(n)), 0);
                            assert_eq!(libc::pthread_mutex_unlock(mutex(n)), 0);
                            assert_eq!(libc::pthread_mutex_unlock(mutex(n)), libc::EPERM);
                        }
                    })
                })
                .collect();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        }
    });
}

/// A condition in memory that is shared, too, has the mutex unlocked and locked within the C library; and the child of an owner owns nothing.
#[test]
fn owners_wait_and_fork() {
    in_adopted_programs("owners_wait_and_fork", || {
        let common = Common::new();
        let mutex = common.mutexes()[1];
        // SAFETY: it is there.
        unsafe {
            assert_eq!(libc::pthread_mutex_lock(mutex), 0);
            let child = libc::fork();
            if child == 0 {
                let told = [
                    libc::pthread_mutex_unlock(mutex),
                    libc::pthread_mutex_trylock(mutex),
                ];
                libc::_exit(c_int::from(told != [libc::EPERM, libc::EBUSY]));
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert_eq!(status, 0);
            let mut attributes = mem::zeroed();
            libc::pthread_condattr_init(&raw mut attributes);
            libc::pthread_condattr_setpshared(&raw mut attributes, SHARED);
            let condition: &'static mut libc::pthread_cond_t = Box::leak(Box::new(mem::zeroed()));
            libc::pthread_cond_init(condition, &raw const attributes);
            let time = soon();
            assert_eq!(
                libc::pthread_cond_timedwait(condition, mutex, &raw const time),
                libc::ETIMEDOUT
            );
            assert_eq!(libc::pthread_mutex_unlock(mutex), 0);
            assert_eq!(libc::pthread_mutex_unlock(mutex), libc::EPERM);
            assert_eq!(pthread_mutex_consistent(common.mutexes()[2]), libc::EINVAL);
        }
    });
}

#[test]
fn who_tries_to_have_a_lock_has_it_as_who_waits_for_it() {
    in_programs(
        "who_tries_to_have_a_lock_has_it_as_who_waits_for_it",
        || {
            let common = Common::new();
            on_a_green_thread(move || {
                let lock = common.rwlock();
                // SAFETY: it is there.
                unsafe {
                    for _ in 0..3 {
                        assert_eq!(libc::pthread_rwlock_trywrlock(lock), 0);
                        assert_eq!(libc::pthread_rwlock_trywrlock(lock), libc::EBUSY);
                        assert_eq!(libc::pthread_rwlock_wrlock(lock), libc::EDEADLK);
                        assert_eq!(libc::pthread_rwlock_unlock(lock), 0);
                        assert_eq!(libc::pthread_rwlock_tryrdlock(lock), 0);
                        assert_eq!(libc::pthread_rwlock_trywrlock(lock), libc::EBUSY);
                        assert_eq!(libc::pthread_rwlock_unlock(lock), 0);
                    }
                }
            });
        },
    );
}
