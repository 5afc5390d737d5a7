//! Forks of a program that is adopted.

mod common;

use std::cell::UnsafeCell;
use std::ffi::{CString, c_int, c_void};
use std::fs;
use std::io::{PipeWriter, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::{MANY, in_adopted_programs, in_programs, on_a_green_thread, os_threads};

/// What a child does that goes on without executing another program: threads, locks and messages, and another child.
fn goes_on() {
    let (sender, receiver) = mpsc::channel();
    let sum = Mutex::new(0);
    thread::scope(|scope| {
        for n in 0..50 {
            let (sender, sum) = (sender.clone(), &sum);
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(5));
                *sum.lock().unwrap() += n;
                sender.send(n).unwrap();
            });
        }
    });
    drop(sender);
    assert_eq!(receiver.iter().sum::<i32>(), 1225);
    assert_eq!(*sum.lock().unwrap(), 1225);
    assert!(Command::new("true").status().unwrap().success());
}

/// Forks, and gives the status of the child, which calls `body` and exits.
fn fork(body: impl FnOnce()) -> c_int {
    // SAFETY: what others hold locked in this process is not used by the child.
    match unsafe { libc::fork() } {
        0 => {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            // SAFETY: it ends the child here.
            unsafe { libc::_exit(if result.is_ok() { 42 } else { 1 }) }
        }
        child => {
            assert!(child > 0);
            let mut status = 0;
            // SAFETY: there is room for the answer.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            if libc::WIFEXITED(status) {
                libc::WEXITSTATUS(status)
            } else {
                -status
            }
        }
    }
}

#[test]
fn the_child_of_a_green_thread_goes_on() {
    in_programs("the_child_of_a_green_thread_goes_on", || {
        assert_eq!(on_a_green_thread(|| fork(goes_on)), 42);
    });
}

#[test]
fn the_child_of_main_goes_on() {
    in_programs("the_child_of_main_goes_on", || {
        on_a_green_thread(|| ());
        assert_eq!(fork(goes_on), 42);
    });
}

#[test]
fn what_is_done_once_in_a_child_is_done_once() {
    static BODIES: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn body() {
        BODIES.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(20));
    }
    unsafe extern "C" {
        fn pthread_once(once: *mut c_int, body: extern "C" fn()) -> c_int;
    }
    in_programs("what_is_done_once_in_a_child_is_done_once", || {
        on_a_green_thread(|| ());
        let both_do_it = || {
            static ONCE: AtomicI32 = AtomicI32::new(0);
            // SAFETY: a new one is 0.
            let once = || unsafe { pthread_once(ONCE.as_ptr(), body) };
            let green = thread::spawn(once);
            assert_eq!((once(), green.join().unwrap()), (0, 0));
            assert_eq!(BODIES.load(Ordering::SeqCst), 1);
        };
        assert_eq!(fork(both_do_it), 42);
    });
}

#[test]
fn a_child_forks_too() {
    in_programs("a_child_forks_too", || {
        let status = on_a_green_thread(|| {
            fork(|| {
                goes_on();
                assert_eq!(thread::spawn(|| fork(goes_on)).join().unwrap(), 42);
                assert_eq!(fork(goes_on), 42);
            })
        });
        assert_eq!(status, 42);
    });
}

#[test]
fn many_fork_at_once() {
    in_programs("many_fork_at_once", || {
        on_a_green_thread(|| {
            const THREADS: usize = 8;
            // As a thread starts and ends, std has a lock that a child would inherit.
            let all = Arc::new(Barrier::new(THREADS));
            let forks = || {
                let all = all.clone();
                thread::spawn(move || {
                    all.wait();
                    let status = fork(goes_on);
                    all.wait();
                    status
                })
            };
            let threads: Vec<_> = (0..THREADS).map(|_| forks()).collect();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), 42);
            }
        });
    });
}

/// What a thread is told of its stack.
fn stack_of(id: libc::pthread_t) -> Range<usize> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    let (mut start, mut size) = (ptr::null_mut(), 0);
    // SAFETY: there is room for the answers, and the attributes are there when they are asked for the stack.
    unsafe {
        assert_eq!(libc::pthread_getattr_np(id, attributes), 0);
        libc::pthread_attr_getstack(attributes, &raw mut start, &raw mut size);
        libc::pthread_attr_destroy(attributes);
    }
    start.addr()..start.addr() + size
}

#[test]
fn a_child_is_the_thread_that_it_was() {
    in_programs("a_child_is_the_thread_that_it_was", || {
        on_a_green_thread(|| {
            extern "C" fn nothing(_: *mut c_void) -> *mut c_void {
                ptr::null_mut()
            }
            let mut other = 0;
            // SAFETY: there is room for the id, and for results; the functions are given ids of this process.
            unsafe {
                libc::pthread_create(&raw mut other, ptr::null(), nothing, ptr::null_mut());
                let me = libc::pthread_self();
                let stack = stack_of(me);
                let status = fork(|| {
                    assert_eq!(libc::pthread_self(), me);
                    let now = stack_of(me);
                    assert_eq!(now.end, stack.end);
                    assert!(now.contains(&(&raw const now).addr()));
                    assert_eq!(libc::pthread_join(me, ptr::null_mut()), libc::EDEADLK);
                    assert_eq!(libc::pthread_kill(me, 0), 0);
                    assert_eq!(libc::pthread_setname_np(me, c"child".as_ptr()), 0);
                    // It is a thread of the parent.
                    assert_eq!(libc::pthread_join(other, ptr::null_mut()), libc::ESRCH);
                    // What is asked for again is there.
                    roving_adopt::adopt().unwrap();
                });
                assert_eq!(status, 42);
                assert_eq!(libc::pthread_join(other, ptr::null_mut()), 0);
            }
        });
    });
}

#[test]
fn handlers_of_forks_are_called_in_order() {
    in_programs("handlers_of_forks_are_called_in_order", || {
        static CALLED: AtomicUsize = AtomicUsize::new(0);
        fn note(digit: usize) {
            CALLED.store(CALLED.load(Ordering::SeqCst) * 10 + digit, Ordering::SeqCst);
        }
        extern "C" fn before() {
            note(1);
        }
        extern "C" fn in_parent() {
            note(2);
        }
        extern "C" fn in_child() {
            // It may wait, as on any thread.
            thread::sleep(Duration::from_millis(1));
            note(3);
        }
        on_a_green_thread(|| {
            // SAFETY: the functions stay.
            unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
            assert_eq!(fork(|| assert_eq!(CALLED.load(Ordering::SeqCst), 13)), 42);
            assert_eq!(CALLED.load(Ordering::SeqCst), 12);
        });
    });
}

#[test]
fn what_others_wait_for_in_the_parent_is_no_ones_in_the_child() {
    in_programs(
        "what_others_wait_for_in_the_parent_is_no_ones_in_the_child",
        || {
            struct Barrier(UnsafeCell<MaybeUninit<libc::pthread_barrier_t>>);
            // SAFETY: it is for several threads.
            unsafe impl Sync for Barrier {}
            static BARRIER: Barrier = Barrier(UnsafeCell::new(MaybeUninit::uninit()));
            fn make() {
                let barrier = BARRIER.0.get().cast();
                // SAFETY: there is room for it, and nobody of this process waits there.
                let failed = unsafe { libc::pthread_barrier_init(barrier, ptr::null(), 2) };
                assert_eq!(failed, 0);
            }
            fn arrive() -> c_int {
                // SAFETY: it has been made.
                unsafe { libc::pthread_barrier_wait(BARRIER.0.get().cast()) }
            }
            on_a_green_thread(|| {
                make();
                let waits = thread::spawn(arrive);
                // Whether it waits already decides nothing but what is tested.
                thread::sleep(Duration::from_millis(50));
                let status = fork(|| {
                    make();
                    let results = [(); 2].map(|()| thread::spawn(arrive));
                    let results = results.map(|thread| thread.join().unwrap());
                    let leader = libc::PTHREAD_BARRIER_SERIAL_THREAD;
                    assert_eq!(results.iter().sum::<c_int>(), leader);
                });
                assert_eq!(status, 42);
                arrive();
                waits.join().unwrap();
            });
        },
    );
}

#[test]
fn a_child_accepts_where_others_do_in_the_parent() {
    in_programs("a_child_accepts_where_others_do_in_the_parent", || {
        on_a_green_thread(|| {
            static DONE: AtomicBool = AtomicBool::new(false);
            let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
            let address = listener.local_addr().unwrap();
            let accept = || {
                let listener = listener.clone();
                thread::spawn(move || {
                    while !DONE.load(Ordering::SeqCst) {
                        drop(listener.accept().unwrap());
                    }
                })
            };
            let connect = move || {
                while !DONE.load(Ordering::SeqCst) {
                    drop(TcpStream::connect(address).unwrap());
                }
            };
            let accept = [(); 4].map(|()| accept());
            let connects = [(); 2].map(|()| thread::spawn(connect));
            for _ in 0..8 {
                let listener = listener.clone();
                let status = fork(move || {
                    thread::spawn(move || drop(listener.accept().unwrap()))
                        .join()
                        .unwrap();
                });
                assert_eq!(status, 42);
            }
            DONE.store(true, Ordering::SeqCst);
            let _ = connects.map(|thread| thread.join().unwrap());
            while !accept.iter().all(|thread| thread.is_finished()) {
                drop(TcpStream::connect(address));
                thread::sleep(Duration::from_millis(1));
            }
        });
    });
}

#[test]
fn a_handler_wakes_in_the_child_too() {
    in_programs("a_handler_wakes_in_the_child_too", || {
        struct Semaphore(UnsafeCell<MaybeUninit<libc::sem_t>>);
        // SAFETY: it is for several threads.
        unsafe impl Sync for Semaphore {}
        static POSTED: Semaphore = Semaphore(UnsafeCell::new(MaybeUninit::uninit()));
        /// More than can be noted at once.
        const POSTS: usize = 3000;
        extern "C" fn posts(_: c_int) {
            // SAFETY: it has been made.
            unsafe { libc::sem_post(POSTED.0.get().cast()) };
        }
        fn waits(times: usize) {
            for _ in 0..times {
                // SAFETY: it has been made.
                unsafe { while libc::sem_wait(POSTED.0.get().cast()) != 0 {} }
            }
        }
        on_a_green_thread(|| {
            // SAFETY: there is room for it, and the handler does what may be done in one.
            unsafe {
                assert_eq!(libc::sem_init(POSTED.0.get().cast(), 0, 0), 0);
                libc::signal(libc::SIGALRM, posts as *const () as usize);
            }
            // The only thread waits, which is then not green.
            let alone = fork(|| {
                let every = libc::itimerval {
                    it_interval: libc::timeval {
                        tv_sec: 0,
                        tv_usec: 50_000,
                    },
                    it_value: libc::timeval {
                        tv_sec: 0,
                        tv_usec: 50_000,
                    },
                };
                // SAFETY: it is a time, and there is a handler.
                unsafe {
                    libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &raw const every, 0)
                };
                waits(3);
            });
            assert_eq!(alone, 42);
            let with_others = fork(|| {
                let other = thread::spawn(|| waits(POSTS));
                for _ in 0..POSTS {
                    // SAFETY: there is a handler.
                    unsafe { libc::raise(libc::SIGALRM) };
                }
                other.join().unwrap();
            });
            assert_eq!(with_others, 42);
        });
    });
}

#[test]
fn the_child_ends_with_its_thread() {
    extern "C" fn tells_its_end(writer: *mut c_void) {
        // SAFETY: it is what the thread has set, and each process has its own copy.
        let mut writer = unsafe { Box::from_raw(writer.cast::<PipeWriter>()) };
        writer.write_all(b".").unwrap();
    }
    in_programs("the_child_ends_with_its_thread", || {
        on_a_green_thread(|| {
            let (mut ends, tells) = std::io::pipe().unwrap();
            let forks = thread::spawn(|| {
                let mut key = 0;
                let tells = Box::into_raw(Box::new(tells));
                // SAFETY: there is room for the key; the child returns from here, and uses nothing that others hold.
                unsafe {
                    libc::pthread_key_create(&raw mut key, Some(tells_its_end));
                    libc::pthread_setspecific(key, tells.cast());
                    libc::fork()
                }
            });
            let child = forks.join().unwrap();
            let mut status = 0;
            // SAFETY: there is room for the answer.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert!(
                libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
                "{status}"
            );
            // In both processes the values of its keys were destroyed.
            let mut told = String::new();
            ends.read_to_string(&mut told).unwrap();
            assert_eq!(told, "..");
        });
    });
}

#[test]
fn other_programs_are_executed_in_every_way() {
    in_programs("other_programs_are_executed_in_every_way", || {
        on_a_green_thread(|| {
            use std::os::unix::process::CommandExt;
            let mut command = Command::new("true");
            assert!(command.status().unwrap().success());
            // With this it forks.
            // SAFETY: the closure does nothing.
            unsafe { command.pre_exec(|| Ok(())) };
            assert!(command.status().unwrap().success());
            assert!(Command::new("no such program").spawn().is_err());
            let path = CString::new("/bin/sh").unwrap();
            let arguments = [
                path.as_ptr(),
                c"-c".as_ptr(),
                c"exit 5".as_ptr(),
                ptr::null(),
            ];
            // SAFETY: strings, with a null at the end; the child does nothing but to execute.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::execv(path.as_ptr(), arguments.as_ptr());
                    libc::_exit(1);
                }
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0);
                assert_eq!(libc::WEXITSTATUS(status), 5);
                let mut child = 0;
                let arguments = arguments.map(<*const _>::cast_mut);
                let error = libc::posix_spawn(
                    &raw mut child,
                    path.as_ptr(),
                    ptr::null(),
                    ptr::null(),
                    arguments.as_ptr(),
                    [ptr::null_mut()].as_ptr(),
                );
                assert_eq!(error, 0);
                libc::waitpid(child, &raw mut status, 0);
                assert_eq!(libc::WEXITSTATUS(status), 5);
            }
        });
    });
}

#[test]
fn a_daemon_closes_what_it_has_and_goes_on() {
    in_programs("a_daemon_closes_what_it_has_and_goes_on", || {
        let path = std::env::temp_dir().join(format!("roving-adopt-daemon-{}", std::process::id()));
        let path = &path;
        let status = on_a_green_thread({
            let path = path.clone();
            move || {
                fork(move || {
                    // SAFETY: this process has nothing open that it knows of.
                    unsafe {
                        libc::setsid();
                        libc::syscall(libc::SYS_close_range, 3, !0u32, 0);
                    }
                    goes_on();
                    fs::write(path, "done").unwrap();
                })
            }
        });
        assert_eq!(status, 42);
        assert_eq!(fs::read_to_string(path).unwrap(), "done");
        fs::remove_file(path).unwrap();
    });
}

/// What a child does of which nobody was told: what may be called in the handler of a signal, and waits.
extern "C" fn waits(ends: *mut c_void) -> c_int {
    // SAFETY: the caller gives two descriptors, which the child has; the rest is its own.
    unsafe {
        let [from_parent, to_parent] = *ends.cast::<[c_int; 2]>();
        let moment = libc::timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        let mut byte = 0_u8;
        let byte = (&raw mut byte).cast::<c_void>();
        let mut none = libc::pollfd {
            fd: from_parent,
            events: libc::POLLIN,
            revents: 0,
        };
        let is_well = libc::nanosleep(&raw const moment, ptr::null_mut()) == 0
            && libc::poll(&raw mut none, 1, 1) == 0
            && libc::write(to_parent, byte, 1) == 1
            && libc::read(from_parent, byte, 1) == 1;
        let grandchild = libc::fork();
        if grandchild == 0 {
            libc::nanosleep(&raw const moment, ptr::null_mut());
            libc::_exit(3);
        }
        let mut status = 0;
        let is_well = is_well
            && libc::waitpid(grandchild, &raw mut status, 0) == grandchild
            && libc::WEXITSTATUS(status) == 3;
        libc::_exit(if is_well { 42 } else { 1 })
    }
}

unsafe extern "C" {
    fn _Fork() -> libc::pid_t;
}

/// As many words as `clone` has of the stack of a child.
const WORDS: usize = 1 << 13;

/// Has `make` make a child that [`waits`], for which there is a stack, and what it is to be given.
fn is_waited_for(make: impl FnOnce(*mut c_void, *mut c_void) -> libc::pid_t) {
    let (from_parent, mut to_child) = std::io::pipe().unwrap();
    let (mut from_child, to_parent) = std::io::pipe().unwrap();
    let mut ends = [from_parent.as_raw_fd(), to_parent.as_raw_fd()];
    let mut stack = vec![0_u128; WORDS];
    let child = make(
        stack.as_mut_ptr_range().end.cast(),
        (&raw mut ends).cast::<c_void>(),
    );
    assert!(child > 0);
    from_child.read_exact(&mut [0]).unwrap();
    to_child.write_all(&[0]).unwrap();
    let mut status = 0;
    // SAFETY: there is room for the answer.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 42 << 8);
}

#[test]
fn a_child_of_which_nobody_is_told_waits_in_the_system() {
    in_adopted_programs(
        "a_child_of_which_nobody_is_told_waits_in_the_system",
        || {
            let as_fork = |fork: &dyn Fn() -> libc::pid_t| {
                is_waited_for(|_, ends| match fork() {
                    0 => waits(ends),
                    child => child,
                });
            };
            // SAFETY: what others hold locked in this process is not used by the child.
            unsafe {
                as_fork(&|| _Fork());
                as_fork(&|| libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as _);
                #[cfg(target_arch = "x86_64")]
                as_fork(&|| libc::syscall(libc::SYS_fork) as _);
                let mut arguments: libc::clone_args = std::mem::zeroed();
                arguments.exit_signal = libc::SIGCHLD as u64;
                as_fork(&|| {
                    libc::syscall(
                        libc::SYS_clone3,
                        &raw const arguments,
                        size_of_val(&arguments),
                    ) as _
                });
                is_waited_for(|stack, ends| libc::clone(waits, stack, libc::SIGCHLD, ends));
            }
            // The parent waits as before.
            thread::sleep(Duration::from_millis(1));
            let threads: Vec<_> = (0..MANY)
                .map(|_| thread::spawn(|| thread::sleep(Duration::from_millis(200))))
                .collect();
            assert!(os_threads() < MANY);
            for thread in threads {
                thread.join().unwrap();
            }
        },
    );
}

#[test]
fn a_child_in_the_memory_of_its_parent_waits_in_the_system() {
    extern "C" fn sleeps(_: *mut c_void) -> c_int {
        thread::sleep(Duration::from_millis(1));
        42
    }
    in_adopted_programs(
        "a_child_in_the_memory_of_its_parent_waits_in_the_system",
        || {
            let mut stack = vec![0_u128; WORDS];
            let end = stack.as_mut_ptr_range().end.cast();
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            let mut status = 0;
            // SAFETY: it has a stack, and its parent waits; there is room for the answer.
            unsafe {
                let child = libc::clone(sleeps, end, flags, ptr::null_mut());
                assert!(child > 0);
                assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            }
            assert_eq!(status, 42 << 8);
            // The parent waits as before.
            let waits = || thread::sleep(Duration::from_millis(200));
            let threads: Vec<_> = (0..MANY).map(|_| thread::spawn(waits)).collect();
            waits();
            assert!(os_threads() < MANY);
            for thread in threads {
                thread.join().unwrap();
            }
        },
    );
}
