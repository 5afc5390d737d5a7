//! What the kernel keeps for OS threads is not the green thread's: what is said of it in the documentation
//! is so.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use roving::{Runtime, thread};
use roving_soundness::{many, many_moving_threads, migrate, on_moving_threads, os_thread};

unsafe extern "C" {
    fn pthread_getcpuclockid(thread: libc::pthread_t, clock: *mut libc::clockid_t) -> c_int;
    fn pthread_mutexattr_setprioceiling(
        attributes: *mut libc::pthread_mutexattr_t,
        ceiling: c_int,
    ) -> c_int;
    fn pthread_sigqueue(thread: libc::pthread_t, signal: c_int, value: libc::sigval) -> c_int;
}

fn this() -> libc::pthread_t {
    // SAFETY: it has no preconditions.
    unsafe { libc::pthread_self() }
}

/// What [`libc::pthread_self`] gives on a green thread that is parked until the end.
fn with_a_parked_thread(runtime: &Runtime, test: impl FnOnce(libc::pthread_t)) {
    let (tell, told) = std::sync::mpsc::channel();
    let parked = runtime.spawn(move || {
        tell.send(this()).unwrap();
        thread::park();
    });
    test(told.recv().unwrap());
    parked.thread().unpark();
    parked.join().unwrap();
}

#[test]
fn what_asks_the_kernel_about_a_green_thread_is_told_that_there_is_none() {
    let ask = |thread| {
        // SAFETY: the thread is alive, and all else this calls with is valid.
        unsafe {
            let mut processors = MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init();
            let size = size_of_val(&processors);
            let (mut policy, mut parameters) = (0, MaybeUninit::zeroed().assume_init());
            let mut clock = 0;
            let value = libc::sigval {
                sival_ptr: ptr::null_mut(),
            };
            let answers = [
                libc::pthread_getaffinity_np(thread, size, &mut processors),
                libc::pthread_setaffinity_np(thread, size, &processors),
                libc::pthread_setschedparam(thread, libc::SCHED_OTHER, &parameters),
                pthread_sigqueue(thread, libc::SIGURG, value),
            ];
            assert_eq!(answers, [libc::ESRCH; 4]);
            assert_ne!(
                libc::pthread_getschedparam(thread, &mut policy, &mut parameters),
                0
            );
            // This one does not ask, and gives the number of a clock that there is not.
            assert_eq!(pthread_getcpuclockid(thread, &mut clock), 0);
            let mut time = MaybeUninit::uninit();
            assert_eq!(libc::clock_gettime(clock, time.as_mut_ptr()), -1);
        }
    };
    many_moving_threads(move |number| {
        ask(this());
        migrate(number);
        ask(this());
    });
    on_moving_threads(|runtime| {
        with_a_parked_thread(runtime, |parked| {
            ask(parked);
            // SAFETY: the thread is alive.
            assert_eq!(unsafe { libc::pthread_kill(parked, 0) }, libc::ESRCH);
        });
    });
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handle(_: c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_signal_to_oneself_arrives_at_once() {
    let handler: extern "C" fn(c_int) = handle;
    // SAFETY: installs a handler that adds to a number.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    on_moving_threads(|runtime| {
        let send = |number| {
            for round in 0..10 {
                migrate(number + round);
                let before = HANDLED.load(Ordering::SeqCst);
                // SAFETY: a handler is installed.
                unsafe {
                    assert_eq!(libc::raise(libc::SIGUSR1), 0);
                    assert_eq!(libc::pthread_kill(this(), libc::SIGUSR1), 0);
                }
                assert!(HANDLED.load(Ordering::SeqCst) >= before + 2);
            }
        };
        many(runtime, send);
    });
}

/// A mutex that stays for ever, so that it may be left locked.
fn mutex(set: impl FnOnce(*mut libc::pthread_mutexattr_t)) -> *mut libc::pthread_mutex_t {
    let mutex = Box::leak(Box::new(MaybeUninit::uninit())).as_mut_ptr();
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: both are initialised before they are used.
    unsafe {
        libc::pthread_mutexattr_init(attributes.as_mut_ptr());
        set(attributes.as_mut_ptr());
        assert_eq!(libc::pthread_mutex_init(mutex, attributes.as_ptr()), 0);
    }
    mutex
}

#[test]
fn mutexes_of_which_the_kernel_knows_the_owner() {
    on_moving_threads(|runtime| {
        // SAFETY: the attributes are initialised, and mutexes stay for ever.
        many(runtime, |number| unsafe {
            let robust = mutex(|a| {
                libc::pthread_mutexattr_setrobust(a, libc::PTHREAD_MUTEX_ROBUST);
            });
            let inherits = mutex(|a| {
                libc::pthread_mutexattr_setprotocol(a, libc::PTHREAD_PRIO_INHERIT);
            });
            // Nobody else wants them.
            for mutex in [robust, inherits] {
                assert_eq!(libc::pthread_mutex_lock(mutex), 0);
                migrate(number);
                assert_eq!(libc::pthread_mutex_unlock(mutex), 0);
            }
            // The kernel is asked for the priority.
            let protects = mutex(|a| {
                libc::pthread_mutexattr_setprotocol(a, libc::PTHREAD_PRIO_PROTECT);
                pthread_mutexattr_setprioceiling(a, 1);
            });
            assert_ne!(libc::pthread_mutex_lock(protects), 0);
            // Its owner ends, and nobody is told.
            let address = robust.expose_provenance();
            let dies = thread::spawn(move || {
                let robust = ptr::with_exposed_provenance_mut(address);
                assert_eq!(libc::pthread_mutex_lock(robust), 0);
            });
            dies.join().unwrap();
            assert_eq!(libc::pthread_mutex_trylock(robust), libc::EBUSY);
        });
    });
}

/// The signal mask of the OS thread.
fn blocks_sigurg(how: Option<c_int>) -> bool {
    // SAFETY: the sets are initialised.
    unsafe {
        let mut set = MaybeUninit::zeroed();
        let mut was = MaybeUninit::zeroed();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGURG);
        let set = if how.is_some() {
            set.as_ptr()
        } else {
            ptr::null()
        };
        libc::pthread_sigmask(how.unwrap_or(0), set, was.as_mut_ptr());
        libc::sigismember(was.as_ptr(), libc::SIGURG) == 1
    }
}

fn os_thread_name() -> String {
    std::fs::read_to_string("/proc/thread-self/comm").unwrap()
}

#[test]
fn what_is_set_for_the_os_thread_stays_with_it() {
    on_moving_threads(|runtime| {
        runtime.run(|| {
            let (worker, name) = (os_thread(), os_thread_name());
            assert!(!blocks_sigurg(Some(libc::SIG_BLOCK)));
            // SAFETY: the name is a string.
            unsafe { libc::pthread_setname_np(this(), c"named".as_ptr()) };
            assert_eq!(os_thread_name(), "named\n");
            migrate(0);
            assert!(!blocks_sigurg(None));
            assert_ne!(os_thread_name(), "named\n");
            while os_thread() != worker {
                thread::yield_now();
            }
            assert!(blocks_sigurg(Some(libc::SIG_UNBLOCK)));
            let name = std::ffi::CString::new(name.trim_end()).unwrap();
            // SAFETY: as above.
            unsafe { libc::pthread_setname_np(this(), name.as_ptr()) };
        });
    });
}
