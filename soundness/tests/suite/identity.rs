//! Who a green thread is to std and to the C library: one thread, wherever it runs.

use std::arch::asm;
use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::ptr;
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

/// The processor that the current thread is on, as the C library says and as the kernel does.
fn processors() -> (u32, u32) {
    let of_kernel = || {
        let mut processor = 0_u32;
        // SAFETY: writes to the processor's number, and to nothing else.
        let refused = unsafe {
            libc::syscall(
                libc::SYS_getcpu,
                &mut processor,
                ptr::null_mut::<u32>(),
                ptr::null_mut::<u32>(),
            )
        };
        assert_eq!(refused, 0);
        processor
    };
    loop {
        let before = of_kernel();
        // SAFETY: it has no preconditions.
        let of_the_c_library = unsafe { libc::sched_getcpu() };
        if of_kernel() == before {
            return (of_the_c_library.cast_unsigned(), before);
        }
    }
}

#[test]
fn the_processor_is_the_one_that_runs_the_thread() {
    many_moving_threads(|number| {
        for round in 0..ROUNDS {
            let (of_the_c_library, of_kernel) = processors();
            assert_eq!(of_the_c_library, of_kernel);
            migrate(number + round);
        }
    });
}

/// Where who uses restartable sequences, as some allocators do, finds the area that the thread shares with the kernel.
fn restartable_sequences() -> *const i32 {
    // SAFETY: dlsym with a valid name.
    let offset = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()) };
    assert!(!offset.is_null(), "own thread-locals need it");
    // SAFETY: a constant of type ptrdiff_t.
    let offset = unsafe { *offset.cast::<isize>() };
    thread_pointer().wrapping_byte_offset(offset)
}

fn thread_pointer() -> *const i32 {
    let pointer;
    // SAFETY: reads the word at the thread pointer, which by the ABI holds the thread pointer.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly));
    }
    // SAFETY: reads a register.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, readonly));
    }
    pointer
}

/// Whoever finds a processor there takes it that the kernel keeps it up to date, and that nobody else runs on that one meanwhile.
#[test]
fn nobody_is_told_that_the_kernel_knows_of_restartable_sequences() {
    many_moving_threads(|number| {
        for round in 0..ROUNDS {
            let area = restartable_sequences();
            // SAFETY: the area of the current thread, which has at least this many bytes.
            let [processor_start, processor] =
                [0, 1].map(|index| unsafe { area.add(index).read_volatile() });
            assert_eq!(processor_start, 0);
            assert!(processor < 0, "not registered: {processor}");
            migrate(number + round);
        }
    });
}
