//! Locks of the C library in a program that is adopted: they exclude and wake threads of both kinds, without OS threads, and give the
//! same results and errors as ever.

#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "all of these are calls of the C library with objects that it has made, which live as long as they are used"
)]

mod common;

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_uint, c_void};
use std::fs;
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{in_programs, is_the_same};
use libc::*;
use roving_scheduler::adopt::Inside;

/// More than there are workers, spares and threads of the test harness.
const MANY: usize = 300;

unsafe extern "C" {
    fn pthread_mutex_clocklock(
        mutex: *mut pthread_mutex_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    fn pthread_mutexattr_setprotocol(attr: *mut pthread_mutexattr_t, protocol: c_int) -> c_int;
    fn pthread_mutexattr_setrobust(attr: *mut pthread_mutexattr_t, robust: c_int) -> c_int;
    fn pthread_cond_clockwait(
        condition: *mut pthread_cond_t,
        mutex: *mut pthread_mutex_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    fn pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, time: *const timespec) -> c_int;
    fn pthread_rwlock_timedwrlock(lock: *mut pthread_rwlock_t, time: *const timespec) -> c_int;
    fn pthread_rwlock_clockrdlock(
        lock: *mut pthread_rwlock_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    fn pthread_rwlock_clockwrlock(
        lock: *mut pthread_rwlock_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    fn __pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int;
    fn __pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int;
    fn __pthread_rwlock_rdlock(lock: *mut pthread_rwlock_t) -> c_int;
    fn __pthread_rwlock_wrlock(lock: *mut pthread_rwlock_t) -> c_int;
    fn __pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int;
    fn sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, time: *const timespec) -> c_int;
    fn mtx_init(mutex: *mut pthread_mutex_t, kind: c_int) -> c_int;
    fn mtx_lock(mutex: *mut pthread_mutex_t) -> c_int;
    fn mtx_trylock(mutex: *mut pthread_mutex_t) -> c_int;
    fn mtx_timedlock(mutex: *mut pthread_mutex_t, time: *const timespec) -> c_int;
    fn mtx_unlock(mutex: *mut pthread_mutex_t) -> c_int;
    fn cnd_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int;
    fn cnd_timedwait(
        condition: *mut pthread_cond_t,
        mutex: *mut pthread_mutex_t,
        time: *const timespec,
    ) -> c_int;
    fn cnd_signal(condition: *mut pthread_cond_t) -> c_int;
    fn cnd_broadcast(condition: *mut pthread_cond_t) -> c_int;
}

unsafe extern "C-unwind" {
    fn pthread_once(once: *mut pthread_once_t, body: extern "C-unwind" fn()) -> c_int;
    fn call_once(once: *mut pthread_once_t, body: extern "C-unwind" fn());
}

/// How many threads the kernel knows in this process.
fn os_threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

fn adopt() {
    roving_adopt::adopt().unwrap();
}

/// Calls `body` on an OS thread: one with a scheduling class of its own is one. Gives how to join it.
fn on_os_thread<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> impl FnOnce() -> T {
    unsafe extern "C" {
        fn pthread_attr_setinheritsched(attr: *mut pthread_attr_t, how: c_int) -> c_int;
    }
    struct Task<T> {
        body: Option<Box<dyn FnOnce() -> T + Send>>,
        result: Option<T>,
    }
    extern "C" fn run<T>(task: *mut c_void) -> *mut c_void {
        let mut task = unsafe { Box::from_raw(task.cast::<Task<T>>()) };
        task.result = task.body.take().map(|body| body());
        Box::into_raw(task).cast()
    }
    let task = Task {
        body: Some(Box::new(body)),
        result: None,
    };
    let id = unsafe {
        let mut attributes = MaybeUninit::uninit();
        pthread_attr_init(attributes.as_mut_ptr());
        pthread_attr_setinheritsched(attributes.as_mut_ptr(), PTHREAD_EXPLICIT_SCHED);
        let mut id = MaybeUninit::uninit();
        let task = Box::into_raw(Box::new(task)).cast();
        let created = pthread_create(id.as_mut_ptr(), attributes.as_ptr(), run::<T>, task);
        assert_eq!(created, 0);
        id.assume_init()
    };
    move || unsafe {
        let mut task = ptr::null_mut();
        assert_eq!(pthread_join(id, &raw mut task), 0);
        Box::from_raw(task.cast::<Task<T>>()).result.unwrap()
    }
}

/// An object of the C library, for many threads.
struct Object<T>(Arc<UnsafeCell<T>>);

unsafe impl<T> Send for Object<T> {}
unsafe impl<T> Sync for Object<T> {}

impl<T> Clone for Object<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Object<T> {
    fn new(make: impl FnOnce(*mut T) -> c_int) -> Self {
        let object = Arc::new(UnsafeCell::new(unsafe { mem::zeroed() }));
        assert_eq!(make(object.get()), 0);
        Self(object)
    }

    /// As its static initialiser makes it: all zeros.
    fn zeroed() -> Self {
        Self::new(|_| 0)
    }

    fn get(&self) -> *mut T {
        self.0.get()
    }
}

fn mutex(set: impl FnOnce(*mut pthread_mutexattr_t) -> c_int) -> Object<pthread_mutex_t> {
    Object::new(|mutex| unsafe {
        let mut attributes = MaybeUninit::uninit();
        pthread_mutexattr_init(attributes.as_mut_ptr());
        assert_eq!(set(attributes.as_mut_ptr()), 0);
        pthread_mutex_init(mutex, attributes.as_ptr())
    })
}

fn mutex_of_type(kind: c_int) -> Object<pthread_mutex_t> {
    mutex(|attributes| unsafe { pthread_mutexattr_settype(attributes, kind) })
}

fn monotonic_condition() -> Object<pthread_cond_t> {
    Object::new(|condition| unsafe {
        let mut attributes = MaybeUninit::uninit();
        pthread_condattr_init(attributes.as_mut_ptr());
        pthread_condattr_setclock(attributes.as_mut_ptr(), CLOCK_MONOTONIC);
        pthread_cond_init(condition, attributes.as_ptr())
    })
}

fn semaphore(value: c_uint) -> Object<sem_t> {
    Object::new(|semaphore| unsafe { sem_init(semaphore, 0, value) })
}

fn inheriting(kind: c_int) -> Object<pthread_mutex_t> {
    mutex(|attributes| unsafe {
        assert_eq!(pthread_mutexattr_settype(attributes, kind), 0);
        pthread_mutexattr_setprotocol(attributes, PTHREAD_PRIO_INHERIT)
    })
}

/// A time on a clock that is so far from now.
fn at(clock: clockid_t, milliseconds: i64) -> timespec {
    let mut now = MaybeUninit::uninit();
    let now = unsafe {
        clock_gettime(clock, now.as_mut_ptr());
        now.assume_init()
    };
    let nanoseconds = now.tv_sec * 1_000_000_000 + now.tv_nsec + milliseconds * 1_000_000;
    timespec {
        tv_sec: nanoseconds.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000),
    }
}

fn soon() -> timespec {
    at(CLOCK_REALTIME, 5)
}

const PAST: timespec = timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
const BEFORE_ALL: timespec = timespec {
    tv_sec: -1,
    tv_nsec: 0,
};
const NO_TIME: timespec = timespec {
    tv_sec: 1,
    tv_nsec: 1_000_000_000,
};

/// What a function gives, or the error that it has set.
fn told(result: c_int) -> c_int {
    if result == -1 {
        std::io::Error::last_os_error().raw_os_error().unwrap()
    } else {
        result
    }
}

/// Calls `f` while another thread has done `takes`, which it undoes afterwards.
fn while_another<T: Send + 'static, R>(
    object: &Object<T>,
    takes: impl FnOnce(*mut T) + Send + 'static,
    releases: impl FnOnce(*mut T) + Send + 'static,
    f: impl FnOnce() -> R,
) -> R {
    let stage = Arc::new((AtomicBool::new(false), AtomicBool::new(false)));
    let other = {
        let (object, stage) = (object.clone(), stage.clone());
        thread::spawn(move || {
            takes(object.get());
            stage.0.store(true, Ordering::SeqCst);
            while !stage.1.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_micros(100));
            }
            releases(object.get());
        })
    };
    while !stage.0.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_micros(100));
    }
    let result = f();
    stage.1.store(true, Ordering::SeqCst);
    other.join().unwrap();
    result
}

fn while_locked<R>(mutex: &Object<pthread_mutex_t>, f: impl FnOnce() -> R) -> R {
    let lock = |mutex| assert_eq!(unsafe { pthread_mutex_lock(mutex) }, 0);
    let unlock = |mutex| assert_eq!(unsafe { pthread_mutex_unlock(mutex) }, 0);
    while_another(mutex, lock, unlock, f)
}

/// What is done, the results of the calls, and what they have to be.
type Case = (&'static str, fn() -> Vec<c_int>, &'static [c_int]);

const CASES: &[Case] = &[
    (
        "an owner of a plain mutex",
        || unsafe {
            let mutex = Object::<pthread_mutex_t>::zeroed();
            let m = mutex.get();
            vec![
                pthread_mutex_lock(m),
                pthread_mutex_trylock(m),
                pthread_mutex_timedlock(m, &soon()),
                pthread_mutex_unlock(m),
                pthread_mutex_destroy(m),
            ]
        },
        &[0, EBUSY, ETIMEDOUT, 0, 0],
    ),
    (
        "an owner of a mutex that checks errors",
        || unsafe {
            let mutex = mutex_of_type(PTHREAD_MUTEX_ERRORCHECK);
            let m = mutex.get();
            vec![
                pthread_mutex_unlock(m),
                pthread_mutex_lock(m),
                pthread_mutex_lock(m),
                pthread_mutex_trylock(m),
                pthread_mutex_timedlock(m, &soon()),
                pthread_mutex_timedlock(m, &NO_TIME),
                pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &PAST),
                pthread_mutex_unlock(m),
                pthread_mutex_unlock(m),
                pthread_mutex_destroy(m),
            ]
        },
        &[
            EPERM, 0, EDEADLK, EBUSY, EDEADLK, EDEADLK, EDEADLK, 0, EPERM, 0,
        ],
    ),
    (
        "not the owner of a mutex that checks errors",
        || unsafe {
            let mutex = mutex_of_type(PTHREAD_MUTEX_ERRORCHECK);
            let m = mutex.get();
            while_locked(&mutex, || {
                vec![
                    pthread_mutex_unlock(m),
                    pthread_mutex_trylock(m),
                    pthread_mutex_timedlock(m, &soon()),
                    pthread_mutex_timedlock(m, &NO_TIME),
                ]
            })
        },
        &[EPERM, EBUSY, ETIMEDOUT, EINVAL],
    ),
    (
        "an owner of a mutex that checks errors and inherits priority",
        || unsafe {
            let mutex = inheriting(PTHREAD_MUTEX_ERRORCHECK);
            let m = mutex.get();
            vec![
                pthread_mutex_unlock(m),
                pthread_mutex_lock(m),
                pthread_mutex_lock(m),
                pthread_mutex_trylock(m),
                pthread_mutex_timedlock(m, &soon()),
                pthread_mutex_unlock(m),
                pthread_mutex_unlock(m),
                pthread_mutex_destroy(m),
            ]
        },
        &[EPERM, 0, EDEADLK, EDEADLK, EDEADLK, 0, EPERM, 0],
    ),
    (
        "not the owner of a mutex that checks errors and inherits priority",
        || unsafe {
            let mutex = inheriting(PTHREAD_MUTEX_ERRORCHECK);
            let m = mutex.get();
            while_locked(&mutex, || {
                vec![
                    pthread_mutex_unlock(m),
                    pthread_mutex_trylock(m),
                    pthread_mutex_timedlock(m, &soon()),
                    pthread_mutex_timedlock(m, &NO_TIME),
                ]
            })
        },
        &[EPERM, EBUSY, ETIMEDOUT, EINVAL],
    ),
    (
        "an owner of a recursive mutex that inherits priority",
        || unsafe {
            let mutex = inheriting(PTHREAD_MUTEX_RECURSIVE);
            let m = mutex.get();
            let mut results = vec![
                pthread_mutex_lock(m),
                pthread_mutex_lock(m),
                pthread_mutex_trylock(m),
            ];
            let object = mutex.clone();
            let other = move || pthread_mutex_timedlock(object.get(), &soon());
            results.push(thread::spawn(other).join().unwrap());
            results.extend((0..4).map(|_| pthread_mutex_unlock(m)));
            results
        },
        &[0, 0, 0, ETIMEDOUT, 0, 0, 0, EPERM],
    ),
    (
        "an owner of a recursive mutex",
        || unsafe {
            let mutex = mutex_of_type(PTHREAD_MUTEX_RECURSIVE);
            let m = mutex.get();
            let mut results = vec![
                pthread_mutex_lock(m),
                pthread_mutex_lock(m),
                pthread_mutex_trylock(m),
                pthread_mutex_timedlock(m, &NO_TIME),
            ];
            let object = mutex.clone();
            let others = thread::spawn(move || {
                [
                    pthread_mutex_trylock(object.get()),
                    pthread_mutex_timedlock(object.get(), &soon()),
                    pthread_mutex_unlock(object.get()),
                ]
            });
            results.extend(others.join().unwrap());
            results.extend((0..5).map(|_| pthread_mutex_unlock(m)));
            results
        },
        &[0, 0, 0, 0, EBUSY, ETIMEDOUT, EPERM, 0, 0, 0, 0, EPERM],
    ),
    (
        "limits in time for a mutex",
        || unsafe {
            let mutex = Object::<pthread_mutex_t>::zeroed();
            let m = mutex.get();
            let mut results = while_locked(&mutex, || {
                vec![
                    pthread_mutex_timedlock(m, &soon()),
                    pthread_mutex_timedlock(m, &PAST),
                    pthread_mutex_timedlock(m, &BEFORE_ALL),
                    pthread_mutex_timedlock(m, &NO_TIME),
                    pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &at(CLOCK_MONOTONIC, 5)),
                    pthread_mutex_clocklock(m, CLOCK_REALTIME, &soon()),
                    pthread_mutex_clocklock(m, CLOCK_PROCESS_CPUTIME_ID, &PAST),
                ]
            });
            results.extend([
                pthread_mutex_clocklock(m, CLOCK_PROCESS_CPUTIME_ID, &PAST),
                pthread_mutex_timedlock(m, &NO_TIME),
            ]);
            results
        },
        &[
            ETIMEDOUT, ETIMEDOUT, ETIMEDOUT, EINVAL, ETIMEDOUT, ETIMEDOUT, EINVAL, EINVAL, 0,
        ],
    ),
    (
        "a reader",
        || unsafe {
            let lock = Object::<pthread_rwlock_t>::zeroed();
            let l = lock.get();
            vec![
                pthread_rwlock_rdlock(l),
                pthread_rwlock_rdlock(l),
                pthread_rwlock_tryrdlock(l),
                pthread_rwlock_trywrlock(l),
                pthread_rwlock_timedrdlock(l, &PAST),
                pthread_rwlock_timedrdlock(l, &NO_TIME),
                pthread_rwlock_timedwrlock(l, &soon()),
                pthread_rwlock_timedwrlock(l, &NO_TIME),
                pthread_rwlock_clockrdlock(l, CLOCK_PROCESS_CPUTIME_ID, &PAST),
                pthread_rwlock_clockwrlock(l, CLOCK_PROCESS_CPUTIME_ID, &PAST),
                pthread_rwlock_clockwrlock(l, CLOCK_MONOTONIC, &at(CLOCK_MONOTONIC, 5)),
            ]
        },
        &[
            0, 0, 0, EBUSY, 0, EINVAL, ETIMEDOUT, EINVAL, EINVAL, EINVAL, ETIMEDOUT,
        ],
    ),
    (
        "a writer",
        || unsafe {
            let lock = Object::<pthread_rwlock_t>::zeroed();
            let l = lock.get();
            vec![
                pthread_rwlock_wrlock(l),
                pthread_rwlock_wrlock(l),
                pthread_rwlock_rdlock(l),
                pthread_rwlock_tryrdlock(l),
                pthread_rwlock_trywrlock(l),
                pthread_rwlock_timedrdlock(l, &soon()),
                pthread_rwlock_timedwrlock(l, &NO_TIME),
                pthread_rwlock_unlock(l),
                pthread_rwlock_wrlock(l),
                pthread_rwlock_unlock(l),
                pthread_rwlock_destroy(l),
            ]
        },
        &[
            0, EDEADLK, EDEADLK, EBUSY, EBUSY, EDEADLK, EINVAL, 0, 0, 0, 0,
        ],
    ),
    (
        "while another one writes",
        || unsafe {
            let lock = Object::<pthread_rwlock_t>::zeroed();
            let l = lock.get();
            let locks = |lock| assert_eq!(pthread_rwlock_wrlock(lock), 0);
            let unlocks = |lock| assert_eq!(pthread_rwlock_unlock(lock), 0);
            while_another(&lock, locks, unlocks, || {
                vec![
                    pthread_rwlock_tryrdlock(l),
                    pthread_rwlock_trywrlock(l),
                    pthread_rwlock_timedrdlock(l, &soon()),
                    pthread_rwlock_timedrdlock(l, &BEFORE_ALL),
                    pthread_rwlock_timedwrlock(l, &soon()),
                    pthread_rwlock_clockrdlock(l, CLOCK_MONOTONIC, &at(CLOCK_MONOTONIC, 5)),
                ]
            })
        },
        &[EBUSY, EBUSY, ETIMEDOUT, ETIMEDOUT, ETIMEDOUT, ETIMEDOUT],
    ),
    (
        "limits in time for a condition variable",
        || unsafe {
            let (condition, mutex) = (
                Object::<pthread_cond_t>::zeroed(),
                mutex_of_type(PTHREAD_MUTEX_ERRORCHECK),
            );
            let (c, m) = (condition.get(), mutex.get());
            vec![
                pthread_mutex_lock(m),
                pthread_cond_timedwait(c, m, &soon()),
                pthread_cond_timedwait(c, m, &PAST),
                pthread_cond_timedwait(c, m, &BEFORE_ALL),
                pthread_cond_timedwait(c, m, &NO_TIME),
                pthread_cond_clockwait(c, m, CLOCK_MONOTONIC, &at(CLOCK_MONOTONIC, 5)),
                pthread_cond_clockwait(c, m, CLOCK_PROCESS_CPUTIME_ID, &PAST),
                pthread_mutex_unlock(m),
                pthread_cond_signal(c),
                pthread_cond_broadcast(c),
                pthread_cond_destroy(c),
            ]
        },
        &[
            0, ETIMEDOUT, ETIMEDOUT, ETIMEDOUT, EINVAL, ETIMEDOUT, EINVAL, 0, 0, 0, 0,
        ],
    ),
    (
        "a wait without the mutex",
        || unsafe {
            let (condition, mutex) = (
                Object::<pthread_cond_t>::zeroed(),
                mutex_of_type(PTHREAD_MUTEX_ERRORCHECK),
            );
            let (c, m) = (condition.get(), mutex.get());
            vec![
                pthread_cond_wait(c, m),
                pthread_cond_timedwait(c, m, &soon()),
                pthread_mutex_lock(m),
                pthread_mutex_unlock(m),
            ]
        },
        &[EPERM, EPERM, 0, 0],
    ),
    (
        "the clock of a condition variable",
        || unsafe {
            let (condition, mutex) = (monotonic_condition(), Object::zeroed());
            let (c, m) = (condition.get(), mutex.get());
            pthread_mutex_lock(m);
            let begin = Instant::now();
            let result = pthread_cond_timedwait(c, m, &at(CLOCK_MONOTONIC, 20));
            let lasted = begin.elapsed() >= Duration::from_millis(20);
            // On the other clock this is far in the future.
            let at_once = pthread_cond_timedwait(c, m, &at(CLOCK_MONOTONIC, -1));
            vec![result, c_int::from(lasted), at_once]
        },
        &[ETIMEDOUT, 1, ETIMEDOUT],
    ),
    (
        "a semaphore",
        || unsafe {
            let semaphore = semaphore(1);
            let s = semaphore.get();
            vec![
                told(sem_wait(s)),
                told(sem_trywait(s)),
                told(sem_timedwait(s, &soon())),
                told(sem_timedwait(s, &BEFORE_ALL)),
                told(sem_timedwait(s, &NO_TIME)),
                told(sem_clockwait(s, CLOCK_MONOTONIC, &at(CLOCK_MONOTONIC, 5))),
                told(sem_clockwait(s, CLOCK_PROCESS_CPUTIME_ID, &PAST)),
                told(sem_post(s)),
                told(sem_timedwait(s, &NO_TIME)),
                told(sem_timedwait(s, &PAST)),
                told(sem_destroy(s)),
            ]
        },
        &[
            0, EAGAIN, ETIMEDOUT, ETIMEDOUT, EINVAL, ETIMEDOUT, EINVAL, 0, EINVAL, 0, 0,
        ],
    ),
    (
        "a semaphore that is full",
        || unsafe {
            let semaphore = semaphore(c_int::MAX as c_uint);
            vec![
                told(sem_post(semaphore.get())),
                told(sem_wait(semaphore.get())),
                told(sem_post(semaphore.get())),
            ]
        },
        &[EOVERFLOW, 0, 0],
    ),
    (
        "a barrier of one",
        || unsafe {
            let barrier = Object::new(|barrier| pthread_barrier_init(barrier, ptr::null(), 1));
            vec![
                pthread_barrier_wait(barrier.get()),
                pthread_barrier_wait(barrier.get()),
                pthread_barrier_destroy(barrier.get()),
            ]
        },
        &[
            PTHREAD_BARRIER_SERIAL_THREAD,
            PTHREAD_BARRIER_SERIAL_THREAD,
            0,
        ],
    ),
    (
        "a lock for which one spins",
        || unsafe {
            let lock = Object::new(|lock| pthread_spin_init(lock, 0));
            let l = lock.get();
            vec![
                pthread_spin_lock(l),
                pthread_spin_trylock(l),
                pthread_spin_unlock(l),
                pthread_spin_trylock(l),
                pthread_spin_unlock(l),
                pthread_spin_destroy(l),
            ]
        },
        &[0, EBUSY, 0, 0, 0, 0],
    ),
    (
        "under the old names",
        || unsafe {
            let (mutex, lock) = (Object::zeroed(), Object::zeroed());
            let (m, l) = (mutex.get(), lock.get());
            vec![
                __pthread_mutex_lock(m),
                pthread_mutex_trylock(m),
                __pthread_mutex_unlock(m),
                pthread_mutex_trylock(m),
                __pthread_rwlock_rdlock(l),
                pthread_rwlock_trywrlock(l),
                __pthread_rwlock_unlock(l),
                __pthread_rwlock_wrlock(l),
                pthread_rwlock_tryrdlock(l),
            ]
        },
        &[0, EBUSY, 0, 0, 0, EBUSY, 0, 0, EBUSY],
    ),
    (
        "under the names of C11",
        || unsafe {
            // `mtx_timed`.
            let mutex = Object::new(|mutex| mtx_init(mutex, 2));
            let (m, condition) = (mutex.get(), Object::zeroed());
            let c = condition.get();
            vec![
                mtx_lock(m),
                mtx_trylock(m),
                mtx_timedlock(m, &soon()),
                mtx_timedlock(m, &NO_TIME),
                cnd_timedwait(c, m, &soon()),
                cnd_timedwait(c, m, &NO_TIME),
                cnd_signal(c),
                cnd_broadcast(c),
                mtx_unlock(m),
            ]
        },
        // Success, busy, error and timed out.
        &[0, 1, 4, 2, 4, 2, 0, 0, 0],
    ),
];

#[test]
fn results_are_those_of_the_c_library() {
    in_programs("results_are_those_of_the_c_library", || {
        for &(name, case, expected) in CASES {
            assert_eq!(case(), expected, "{name}, not adopted");
        }
        adopt();
        for &(name, case, expected) in CASES {
            assert_eq!(case(), expected, "{name}, on an OS thread");
            let green = thread::spawn(case).join().unwrap();
            assert_eq!(green, expected, "{name}, on a green thread");
        }
    });
}

/// What takes and releases a lock.
type Locking<T> = (fn(*mut T) -> c_int, fn(*mut T) -> c_int);

/// Has many threads of both kinds take turns, of which each lets others run while it has the lock.
fn excludes<T: Send + 'static>(name: &str, object: &Object<T>, (locks, unlocks): Locking<T>) {
    const EACH: usize = 50;
    const GREEN: usize = 30;
    let count = Arc::new(AtomicUsize::new(0));
    let counts = {
        let (object, count) = (object.clone(), count.clone());
        move || {
            for n in 0..EACH {
                assert_eq!(locks(object.get()), 0);
                let seen = count.load(Ordering::Relaxed);
                if n % 10 == 0 {
                    thread::sleep(Duration::from_micros(50));
                } else {
                    thread::yield_now();
                }
                count.store(seen + 1, Ordering::Relaxed);
                assert_eq!(unlocks(object.get()), 0);
            }
        }
    };
    let on_os = {
        let counts = counts.clone();
        on_os_thread(counts)
    };
    let threads: Vec<_> = (0..GREEN).map(|_| thread::spawn(counts.clone())).collect();
    counts();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    on_os();
    assert_eq!(count.load(Ordering::Relaxed), (GREEN + 2) * EACH, "{name}");
}

#[test]
fn locks_exclude_threads_of_both_kinds() {
    in_programs("locks_exclude_threads_of_both_kinds", || {
        adopt();
        let mutex_locks: Locking<pthread_mutex_t> = (
            |mutex| unsafe { pthread_mutex_lock(mutex) },
            |mutex| unsafe { pthread_mutex_unlock(mutex) },
        );
        let shared = |attributes| unsafe {
            pthread_mutexattr_setpshared(attributes, PTHREAD_PROCESS_SHARED)
        };
        let robust =
            |attributes| unsafe { pthread_mutexattr_setrobust(attributes, PTHREAD_MUTEX_ROBUST) };
        for (name, mutex) in [
            ("plain", Object::zeroed()),
            ("recursive", mutex_of_type(PTHREAD_MUTEX_RECURSIVE)),
            (
                "that checks errors",
                mutex_of_type(PTHREAD_MUTEX_ERRORCHECK),
            ),
            ("adaptive", mutex_of_type(PTHREAD_MUTEX_ADAPTIVE_NP)),
            ("shared", mutex(shared)),
            ("robust", mutex(robust)),
            ("that inherits priority", inheriting(PTHREAD_MUTEX_NORMAL)),
            (
                "that inherits priority, recursive",
                inheriting(PTHREAD_MUTEX_RECURSIVE),
            ),
            (
                "that inherits priority, and checks errors",
                inheriting(PTHREAD_MUTEX_ERRORCHECK),
            ),
        ] {
            excludes(name, &mutex, mutex_locks);
        }
        let until_late: Locking<pthread_mutex_t> = (
            |mutex| unsafe { pthread_mutex_timedlock(mutex, &at(CLOCK_REALTIME, 60_000)) },
            |mutex| unsafe { pthread_mutex_unlock(mutex) },
        );
        excludes("plain, with a limit", &Object::zeroed(), until_late);
        let c11: Locking<pthread_mutex_t> = (
            |mutex| unsafe { mtx_lock(mutex) },
            |mutex| unsafe { mtx_unlock(mutex) },
        );
        excludes(
            "of C11",
            &Object::new(|mutex| unsafe { mtx_init(mutex, 0) }),
            c11,
        );
        let writes: Locking<pthread_rwlock_t> = (
            |lock| unsafe { pthread_rwlock_wrlock(lock) },
            |lock| unsafe { pthread_rwlock_unlock(lock) },
        );
        excludes("that is written", &Object::zeroed(), writes);
        let binary: Locking<sem_t> = (
            |semaphore| unsafe { sem_wait(semaphore) },
            |semaphore| unsafe { sem_post(semaphore) },
        );
        excludes("a semaphore", &semaphore(1), binary);
        let spins: Locking<pthread_spinlock_t> = (
            |lock| unsafe { pthread_spin_lock(lock) },
            |lock| unsafe { pthread_spin_unlock(lock) },
        );
        excludes(
            "that spins",
            &Object::new(|lock| unsafe { pthread_spin_init(lock, 0) }),
            spins,
        );
    });
}

/// Starts many threads that wait, sees that they take no OS threads, lets them go on, and joins them.
fn many_wait(waits: impl Fn() + Clone + Send + 'static, lets_go: impl FnOnce()) {
    let begun = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..MANY)
        .map(|_| {
            let (waits, begun) = (waits.clone(), begun.clone());
            thread::spawn(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                waits();
            })
        })
        .collect();
    while begun.load(Ordering::SeqCst) < MANY {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(5));
    assert!(os_threads() < MANY / 2, "{} OS threads", os_threads());
    lets_go();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn threads_that_wait_take_no_os_threads() {
    in_programs("threads_that_wait_take_no_os_threads", || {
        adopt();
        unsafe {
            let mutex = Object::<pthread_mutex_t>::zeroed();
            pthread_mutex_lock(mutex.get());
            let object = mutex.clone();
            let locks = move || {
                assert_eq!(pthread_mutex_lock(object.get()), 0);
                assert_eq!(pthread_mutex_unlock(object.get()), 0);
            };
            many_wait(locks, || _ = pthread_mutex_unlock(mutex.get()));

            let lock = Object::<pthread_rwlock_t>::zeroed();
            pthread_rwlock_wrlock(lock.get());
            let object = lock.clone();
            let number = AtomicUsize::new(0);
            let number = Arc::new(number);
            let locks = move || {
                let writes = number.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
                let take = if writes {
                    pthread_rwlock_wrlock
                } else {
                    pthread_rwlock_rdlock
                };
                assert_eq!(take(object.get()), 0);
                assert_eq!(pthread_rwlock_unlock(object.get()), 0);
            };
            many_wait(locks, || _ = pthread_rwlock_unlock(lock.get()));

            let semaphore = semaphore(0);
            let object = semaphore.clone();
            let waits = move || assert_eq!(sem_wait(object.get()), 0);
            many_wait(waits, || {
                (0..MANY).for_each(|_| assert_eq!(sem_post(semaphore.get()), 0));
            });

            let barrier = Object::new(|barrier| {
                pthread_barrier_init(barrier, ptr::null(), MANY as c_uint + 1)
            });
            let object = barrier.clone();
            let leaders = Arc::new(AtomicUsize::new(0));
            let counted = leaders.clone();
            let arrives = move || {
                for _ in 0..3 {
                    match pthread_barrier_wait(object.get()) {
                        PTHREAD_BARRIER_SERIAL_THREAD => {
                            _ = counted.fetch_add(1, Ordering::Relaxed)
                        }
                        result => assert_eq!(result, 0),
                    }
                }
            };
            let arrives_here = arrives.clone();
            many_wait(arrives, arrives_here);
            assert_eq!(leaders.load(Ordering::Relaxed), 3);

            type Pair = (Object<pthread_mutex_t>, Object<pthread_cond_t>);
            let pair: Pair = (Object::zeroed(), Object::zeroed());
            let is_set = Arc::new(AtomicBool::new(false));
            let (objects, set) = ((pair.0.clone(), pair.1.clone()), is_set.clone());
            let waits = move || {
                pthread_mutex_lock(objects.0.get());
                while !set.load(Ordering::Relaxed) {
                    pthread_cond_wait(objects.1.get(), objects.0.get());
                }
                pthread_mutex_unlock(objects.0.get());
            };
            many_wait(waits, || {
                pthread_mutex_lock(pair.0.get());
                is_set.store(true, Ordering::Relaxed);
                pthread_cond_broadcast(pair.1.get());
                pthread_mutex_unlock(pair.0.get());
            });
        }
    });
}

#[test]
fn what_is_done_once_is_done_once() {
    in_programs("what_is_done_once_is_done_once", || {
        static ONCE: AtomicU32 = AtomicU32::new(0);
        static FLAG: AtomicU32 = AtomicU32::new(0);
        static DONE: AtomicUsize = AtomicUsize::new(0);
        extern "C-unwind" fn body() {
            thread::sleep(Duration::from_millis(20));
            DONE.fetch_add(1, Ordering::SeqCst);
        }
        adopt();
        let once = || unsafe { assert_eq!(pthread_once(ONCE.as_ptr().cast(), body), 0) };
        let flag = || unsafe { call_once(FLAG.as_ptr().cast(), body) };
        let both = move || {
            once();
            assert!(DONE.load(Ordering::SeqCst) >= 1);
            flag();
            assert_eq!(DONE.load(Ordering::SeqCst), 2);
        };
        let threads: Vec<_> = (0..MANY).map(|_| thread::spawn(both)).collect();
        let on_os = on_os_thread(both);
        both();
        on_os();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn what_unwinds_is_done_by_another() {
    in_programs("what_unwinds_is_done_by_another", || {
        static ONCE: AtomicU32 = AtomicU32::new(0);
        static CALLED: AtomicUsize = AtomicUsize::new(0);
        extern "C-unwind" fn body() {
            thread::sleep(Duration::from_millis(1));
            if CALLED.fetch_add(1, Ordering::SeqCst) < 3 {
                std::panic::resume_unwind(Box::new(()));
            }
        }
        adopt();
        let once = || unsafe { pthread_once(ONCE.as_ptr().cast(), body) };
        let threads: Vec<_> = (0..10).map(|_| thread::spawn(once)).collect();
        let results = threads.into_iter().map(thread::JoinHandle::join);
        assert_eq!(results.filter(Result::is_err).count(), 3);
        assert_eq!(CALLED.load(Ordering::SeqCst), 4);
    });
}

#[test]
fn a_condition_variable_wakes_threads_of_both_kinds() {
    in_programs("a_condition_variable_wakes_threads_of_both_kinds", || {
        adopt();
        for c11 in [false, true] {
            let (mutex, condition) = (
                Object::<pthread_mutex_t>::zeroed(),
                Object::<pthread_cond_t>::zeroed(),
            );
            let turn = Arc::new(AtomicUsize::new(0));
            let takes_turns = move |mine: usize| {
                let (m, c) = (mutex.get(), condition.get());
                for _ in 0..300 {
                    unsafe {
                        pthread_mutex_lock(m);
                        while turn.load(Ordering::Relaxed) % 3 != mine {
                            if c11 {
                                assert_eq!(cnd_wait(c, m), 0);
                            } else {
                                assert_eq!(pthread_cond_wait(c, m), 0);
                            }
                        }
                        turn.fetch_add(1, Ordering::Relaxed);
                        pthread_cond_broadcast(c);
                        pthread_mutex_unlock(m);
                    }
                }
            };
            let takes = takes_turns.clone();
            let green = thread::spawn(move || takes(1));
            let takes = takes_turns.clone();
            let on_os = on_os_thread(move || takes(2));
            takes_turns(0);
            green.join().unwrap();
            on_os();
        }
    });
}

#[test]
fn a_signal_wakes_who_has_not_given_up() {
    in_programs("a_signal_wakes_who_has_not_given_up", || {
        adopt();
        let (mutex, condition) = (
            Object::<pthread_mutex_t>::zeroed(),
            Object::<pthread_cond_t>::zeroed(),
        );
        let tokens = Arc::new(AtomicUsize::new(0));
        let taken = Arc::new(AtomicUsize::new(0));
        let takes = {
            let (mutex, condition) = (mutex.clone(), condition.clone());
            let (tokens, taken) = (tokens.clone(), taken.clone());
            move |impatient: bool| unsafe {
                pthread_mutex_lock(mutex.get());
                let mut result = 0;
                while tokens.load(Ordering::Relaxed) == 0 && result == 0 {
                    result = if impatient {
                        let soon = at(CLOCK_REALTIME, 1);
                        pthread_cond_timedwait(condition.get(), mutex.get(), &soon)
                    } else {
                        pthread_cond_wait(condition.get(), mutex.get())
                    };
                }
                if tokens.load(Ordering::Relaxed) > 0 {
                    tokens.fetch_sub(1, Ordering::Relaxed);
                    taken.fetch_add(1, Ordering::Relaxed);
                }
                pthread_mutex_unlock(mutex.get());
            }
        };
        let threads: Vec<_> = (0..100)
            .map(|n| {
                let takes = takes.clone();
                thread::spawn(move || takes(n % 2 == 0))
            })
            .collect();
        // As many as are patient at least.
        for _ in 0..100 {
            unsafe {
                pthread_mutex_lock(mutex.get());
                tokens.fetch_add(1, Ordering::Relaxed);
                pthread_mutex_unlock(mutex.get());
                pthread_cond_signal(condition.get());
            }
            thread::yield_now();
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert!(taken.load(Ordering::Relaxed) >= 50);
    });
}

#[test]
fn readers_go_on_when_a_writer_gives_up() {
    in_programs("readers_go_on_when_a_writer_gives_up", || {
        unsafe extern "C" {
            fn pthread_rwlockattr_setkind_np(
                attributes: *mut pthread_rwlockattr_t,
                kind: c_int,
            ) -> c_int;
        }
        const PREFER_WRITER_NONRECURSIVE: c_int = 2;
        adopt();
        let lock = Object::<pthread_rwlock_t>::new(|lock| unsafe {
            let mut attributes = MaybeUninit::uninit();
            pthread_rwlockattr_init(attributes.as_mut_ptr());
            pthread_rwlockattr_setkind_np(attributes.as_mut_ptr(), PREFER_WRITER_NONRECURSIVE);
            pthread_rwlock_init(lock, attributes.as_ptr())
        });
        assert_eq!(unsafe { pthread_rwlock_rdlock(lock.get()) }, 0);
        let of_writer = lock.clone();
        let writer = on_os_thread(move || unsafe {
            pthread_rwlock_timedwrlock(of_writer.get(), &at(CLOCK_REALTIME, 200))
        });
        // Nobody reads beside this thread while the writer waits.
        while unsafe { pthread_rwlock_tryrdlock(lock.get()) } == 0 {
            assert_eq!(unsafe { pthread_rwlock_unlock(lock.get()) }, 0);
            thread::yield_now();
        }
        let of_reader = lock.clone();
        let reader = thread::spawn(move || unsafe { pthread_rwlock_rdlock(of_reader.get()) });
        assert_eq!((writer(), reader.join().unwrap()), (ETIMEDOUT, 0));
    });
}

#[test]
fn a_lock_may_be_freed_as_soon_as_it_is_free() {
    in_programs("a_lock_may_be_freed_as_soon_as_it_is_free", || {
        adopt();
        for _ in 0..300 {
            let mutex = Object::<pthread_mutex_t>::zeroed();
            let m = mutex.get().expose_provenance();
            // Whoever comes last frees it, while the other may still be in `pthread_mutex_unlock`.
            let owner = Arc::new(AtomicUsize::new(0));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (owner, mutex) = (owner.clone(), mutex.clone());
                    thread::spawn(move || unsafe {
                        let m = ptr::with_exposed_provenance_mut::<pthread_mutex_t>(m);
                        pthread_mutex_lock(m);
                        owner.fetch_add(1, Ordering::Relaxed);
                        pthread_mutex_unlock(m);
                        drop(mutex);
                    })
                })
                .collect();
            drop(mutex);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        }
    });
}

#[test]
fn the_handler_of_a_signal_may_post() {
    in_programs("the_handler_of_a_signal_may_post", || {
        static POSTED: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn posts(_: c_int) {
            let semaphore = POSTED.load(Ordering::SeqCst);
            unsafe { sem_post(ptr::with_exposed_provenance_mut(semaphore)) };
        }
        adopt();
        let semaphore = semaphore(0);
        POSTED.store(semaphore.get().expose_provenance(), Ordering::SeqCst);
        unsafe { signal(SIGUSR1, posts as *const () as usize) };
        let waits: Vec<_> = (0..10)
            .map(|_| {
                let semaphore = semaphore.clone();
                thread::spawn(move || assert_eq!(unsafe { sem_wait(semaphore.get()) }, 0))
            })
            .collect();
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(1));
            unsafe { raise(SIGUSR1) };
        }
        waits.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn who_is_inside_of_the_runtime_wakes_and_waits_too() {
    in_programs("who_is_inside_of_the_runtime_wakes_and_waits_too", || {
        adopt();
        let (mutex, condition, semaphore) = (
            Object::<pthread_mutex_t>::zeroed(),
            Object::<pthread_cond_t>::zeroed(),
            semaphore(0),
        );
        let stage = Arc::new(AtomicUsize::new(0));
        let green = {
            let (mutex, condition) = (mutex.clone(), condition.clone());
            let (semaphore, stage) = (semaphore.clone(), stage.clone());
            move || unsafe {
                assert_eq!(sem_wait(semaphore.get()), 0);
                assert_eq!(pthread_mutex_lock(mutex.get()), 0);
                stage.store(1, Ordering::SeqCst);
                assert_eq!(pthread_cond_signal(condition.get()), 0);
                while stage.load(Ordering::SeqCst) == 1 {
                    assert_eq!(pthread_cond_wait(condition.get(), mutex.get()), 0);
                }
                assert_eq!(pthread_mutex_unlock(mutex.get()), 0);
            }
        };
        unsafe {
            pthread_mutex_lock(mutex.get());
            let green = thread::spawn(green);
            thread::sleep(Duration::from_millis(5));
            let inside = Inside::enter();
            assert_eq!(sem_post(semaphore.get()), 0);
            while stage.load(Ordering::SeqCst) == 0 {
                assert_eq!(pthread_cond_wait(condition.get(), mutex.get()), 0);
            }
            assert_eq!(pthread_mutex_unlock(mutex.get()), 0);
            drop(inside);
            thread::sleep(Duration::from_millis(5));
            pthread_mutex_lock(mutex.get());
            let inside = Inside::enter();
            stage.store(2, Ordering::SeqCst);
            assert_eq!(pthread_cond_signal(condition.get()), 0);
            assert_eq!(pthread_mutex_unlock(mutex.get()), 0);
            drop(inside);
            green.join().unwrap();
        }
    });
}

#[test]
fn who_is_inside_of_the_runtime_waits_for_an_owner_that_the_system_knows_not() {
    in_programs(
        "who_is_inside_of_the_runtime_waits_for_an_owner_that_the_system_knows_not",
        || {
            adopt();
            for kind in [PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ERRORCHECK] {
                let mutex = inheriting(kind);
                let has_it = Arc::new(AtomicBool::new(false));
                let may_release = Arc::new(AtomicBool::new(false));
                let owner = {
                    let (mutex, has_it) = (mutex.clone(), has_it.clone());
                    let may_release = may_release.clone();
                    move || unsafe {
                        assert_eq!(pthread_mutex_lock(mutex.get()), 0);
                        has_it.store(true, Ordering::SeqCst);
                        while !may_release.load(Ordering::SeqCst) {
                            thread::sleep(Duration::from_millis(1));
                        }
                        assert_eq!(pthread_mutex_unlock(mutex.get()), 0);
                    }
                };
                let owner = thread::spawn(owner);
                while !has_it.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
                let inside = Inside::enter();
                unsafe {
                    assert_eq!(
                        pthread_mutex_timedlock(mutex.get(), &at(CLOCK_REALTIME, 1)),
                        ETIMEDOUT
                    );
                    may_release.store(true, Ordering::SeqCst);
                    assert_eq!(pthread_mutex_lock(mutex.get()), 0);
                    assert_eq!(pthread_mutex_unlock(mutex.get()), 0);
                }
                drop(inside);
                owner.join().unwrap();
            }
        },
    );
}

/// What a thread is told of a mutex of which the system is to know the owner.
fn ask_for(mutex: *mut pthread_mutex_t) -> [c_int; 5] {
    let condition = Object::<pthread_cond_t>::zeroed();
    unsafe {
        let tried = pthread_mutex_trylock(mutex);
        let results = [
            tried,
            pthread_mutex_timedlock(mutex, &soon()),
            pthread_mutex_clocklock(mutex, CLOCK_REALTIME, &soon()),
            pthread_cond_timedwait(condition.get(), mutex, &soon()),
            pthread_mutex_lock(mutex),
        ];
        for _ in results.iter().filter(|&&result| result == 0) {
            pthread_mutex_unlock(mutex);
        }
        results
    }
}

#[test]
fn a_green_thread_is_refused_what_the_system_would_not_know_it_has() {
    in_programs(
        "a_green_thread_is_refused_what_the_system_would_not_know_it_has",
        || {
            adopt();
            type Set = fn(*mut pthread_mutexattr_t) -> c_int;
            let shared: Set = |attributes| unsafe {
                pthread_mutexattr_setpshared(attributes, PTHREAD_PROCESS_SHARED)
            };
            let robust: Set = |attributes| unsafe {
                pthread_mutexattr_setrobust(attributes, PTHREAD_MUTEX_ROBUST)
            };
            for (name, set) in [("shared", shared), ("robust", robust)] {
                for kind in [
                    PTHREAD_MUTEX_NORMAL,
                    PTHREAD_MUTEX_RECURSIVE,
                    PTHREAD_MUTEX_ERRORCHECK,
                ] {
                    let mutex = mutex(|attributes| unsafe {
                        assert_eq!(pthread_mutexattr_settype(attributes, kind), 0);
                        assert_eq!(set(attributes), 0);
                        pthread_mutexattr_setprotocol(attributes, PTHREAD_PRIO_INHERIT)
                    });
                    let refused = [ENOTSUP, ENOTSUP, ENOTSUP, EPERM, ENOTSUP];
                    let asks = |mutex: Object<pthread_mutex_t>| move || ask_for(mutex.get());
                    let green = thread::spawn(asks(mutex.clone())).join().unwrap();
                    assert_eq!(green, refused, "{name}, free");
                    // An OS thread has it as ever, and so has one that waits for it.
                    unsafe {
                        assert_eq!(pthread_mutex_lock(mutex.get()), 0);
                        let green = thread::spawn(asks(mutex.clone())).join().unwrap();
                        assert_eq!(green, refused, "{name}, of another");
                        let waits = mutex.clone();
                        let other = on_os_thread(move || {
                            (
                                pthread_mutex_lock(waits.get()),
                                pthread_mutex_unlock(waits.get()),
                            )
                        });
                        thread::sleep(Duration::from_millis(5));
                        assert_eq!(pthread_mutex_unlock(mutex.get()), 0);
                        assert_eq!(other(), (0, 0), "{name}");
                    }
                }
            }
            // Nor has it what it would ask of the system itself.
            let word = AtomicU32::new(0);
            let address = word.as_ptr().expose_provenance();
            let asked = thread::spawn(move || unsafe {
                told(syscall(SYS_futex, address, FUTEX_LOCK_PI, 0, 0) as c_int)
            });
            assert_eq!(asked.join().unwrap(), ENOSYS);
            assert_eq!(word.load(Ordering::SeqCst), 0);
        },
    );
}

/// Who waits for a condition goes on using its mutex.
#[test]
fn a_mutex_that_is_used_is_not_destroyed() {
    is_the_same("a_mutex_that_is_used_is_not_destroyed", || {
        static CONDITION: Shared<pthread_cond_t> =
            Shared(UnsafeCell::new(PTHREAD_COND_INITIALIZER));
        static IS_SET: AtomicBool = AtomicBool::new(false);
        static WAITING: AtomicUsize = AtomicUsize::new(0);
        struct Shared<T>(UnsafeCell<T>);
        unsafe impl<T> Sync for Shared<T> {}
        extern "C" fn waits(mutex: *mut c_void) -> *mut c_void {
            let mutex: *mut pthread_mutex_t = mutex.cast();
            unsafe {
                assert_eq!(pthread_mutex_lock(mutex), 0);
                WAITING.fetch_add(1, Ordering::SeqCst);
                while !IS_SET.load(Ordering::SeqCst) {
                    let mut time = mem::zeroed();
                    clock_gettime(CLOCK_REALTIME, &raw mut time);
                    time.tv_sec += 60;
                    assert_eq!(
                        pthread_cond_timedwait(CONDITION.0.get(), mutex, &raw const time),
                        0
                    );
                }
                assert_eq!(pthread_mutex_unlock(mutex), 0);
            }
            ptr::null_mut()
        }
        let of_kind = |kind, protocol| unsafe {
            IS_SET.store(false, Ordering::SeqCst);
            WAITING.store(0, Ordering::SeqCst);
            let mut attributes = mem::zeroed();
            pthread_mutexattr_init(&raw mut attributes);
            pthread_mutexattr_settype(&raw mut attributes, kind);
            pthread_mutexattr_setprotocol(&raw mut attributes, protocol);
            let mut mutex = mem::zeroed();
            let mutex = &raw mut mutex;
            pthread_mutex_init(mutex, &raw const attributes);
            pthread_mutex_lock(mutex);
            let locked = pthread_mutex_destroy(mutex);
            pthread_mutex_unlock(mutex);
            let mut threads = [0; 3];
            for thread in &mut threads {
                pthread_create(thread, ptr::null(), waits, mutex.cast());
            }
            let all_wait = || {
                pthread_mutex_lock(mutex);
                let all = WAITING.load(Ordering::SeqCst) == threads.len();
                pthread_mutex_unlock(mutex);
                all
            };
            while !all_wait() {
                thread::yield_now();
            }
            let waited_with = pthread_mutex_destroy(mutex);
            pthread_mutex_lock(mutex);
            let both = pthread_mutex_destroy(mutex);
            IS_SET.store(true, Ordering::SeqCst);
            pthread_cond_broadcast(CONDITION.0.get());
            pthread_mutex_unlock(mutex);
            for thread in threads {
                pthread_join(thread, ptr::null_mut());
            }
            (locked, waited_with, both, pthread_mutex_destroy(mutex))
        };
        let all = [PTHREAD_PRIO_NONE, PTHREAD_PRIO_INHERIT].map(|protocol| {
            [
                PTHREAD_MUTEX_NORMAL,
                PTHREAD_MUTEX_ERRORCHECK,
                PTHREAD_MUTEX_RECURSIVE,
            ]
            .map(|kind| of_kind(kind, protocol))
        });
        assert_eq!(all, [[(EBUSY, EBUSY, EBUSY, 0); 3]; 2]);
        all
    });
}
