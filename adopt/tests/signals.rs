//! Signals, and their handlers, in a program that is adopted.

mod common;

use std::ffi::c_int;
use std::mem;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::os::unix::thread::JoinHandleExt;
use std::process::{Command, ExitStatus};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::{in_programs, is_the_same, on_a_green_thread, or_error, until};
use libc::timespec;

fn install(signal: c_int, handler: extern "C" fn(c_int), flags: c_int) {
    // SAFETY: the handler does what may be done in one; zeroes are a valid action.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags;
        assert_eq!(
            libc::sigaction(signal, &raw const action, ptr::null_mut()),
            0
        );
    }
}

fn raise(signal: c_int) {
    // SAFETY: there is a handler.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

#[test]
fn a_handler_parks_nobody() {
    in_programs("a_handler_parks_nobody", || {
        static OTHERS: AtomicUsize = AtomicUsize::new(0);
        static HAVE_RUN: AtomicUsize = AtomicUsize::new(0);
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        fn os_thread() -> usize {
            // SAFETY: it has no preconditions.
            unsafe { libc::gettid() as usize }
        }
        extern "C" fn waits(_: c_int) {
            let (others, thread) = (OTHERS.load(Ordering::SeqCst), os_thread());
            // SAFETY: they may be called in a handler, or are harmless there.
            unsafe {
                libc::sched_yield();
                let time = timespec {
                    tv_sec: 0,
                    tv_nsec: 10_000_000,
                };
                libc::nanosleep(&raw const time, ptr::null_mut());
            }
            HAVE_RUN.store(OTHERS.load(Ordering::SeqCst) - others, Ordering::SeqCst);
            THREADS.store(usize::from(os_thread() == thread), Ordering::SeqCst);
        }
        on_a_green_thread(|| {
            static DONE: AtomicBool = AtomicBool::new(false);
            install(libc::SIGUSR1, waits, 0);
            let is_alone = std::env::var("ROVING_WORKERS").unwrap() == "1";
            let other = thread::spawn(|| {
                while !DONE.load(Ordering::SeqCst) {
                    OTHERS.fetch_add(1, Ordering::SeqCst);
                    thread::yield_now();
                }
            });
            thread::sleep(Duration::from_millis(1));
            raise(libc::SIGUSR1);
            assert!(!is_alone || HAVE_RUN.load(Ordering::SeqCst) == 0);
            assert_eq!(THREADS.load(Ordering::SeqCst), 1);
            DONE.store(true, Ordering::SeqCst);
            other.join().unwrap();
        });
    });
}

#[test]
fn handlers_interrupt_anything() {
    in_programs("handlers_interrupt_anything", || {
        static HANDLED: AtomicUsize = AtomicUsize::new(0);
        static DONE: AtomicBool = AtomicBool::new(false);
        extern "C" fn waits(_: c_int) {
            // SAFETY: they may be called in a handler, or are harmless there.
            unsafe {
                libc::sched_yield();
                libc::usleep(1);
            }
            HANDLED.fetch_add(1, Ordering::SeqCst);
        }
        on_a_green_thread(|| {
            install(libc::SIGUSR1, waits, libc::SA_RESTART);
            let turns = Arc::new((Mutex::new(0), Condvar::new()));
            let threads: Vec<_> = (0..8)
                .map(|n| {
                    let turns = turns.clone();
                    thread::spawn(move || {
                        for _ in 0..200 {
                            let (sender, receiver) = mpsc::channel();
                            thread::spawn(move || sender.send(n).unwrap());
                            assert_eq!(receiver.recv(), Ok(n));
                            let mut turn = turns.0.lock().unwrap();
                            *turn += 1;
                            turns.1.notify_one();
                            turn = turns
                                .1
                                .wait_timeout(turn, Duration::from_micros(50))
                                .unwrap()
                                .0;
                            drop(turn);
                        }
                    })
                })
                .collect();
            let sends = thread::spawn(|| {
                while !DONE.load(Ordering::SeqCst) {
                    // SAFETY: there is a handler.
                    unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
                    raise(libc::SIGUSR1);
                    thread::yield_now();
                }
            });
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            DONE.store(true, Ordering::SeqCst);
            sends.join().unwrap();
            assert!(HANDLED.load(Ordering::SeqCst) > 0);
        });
    });
}

#[test]
fn who_asks_for_a_handler_is_told_of_his_own() {
    is_the_same("who_asks_for_a_handler_is_told_of_his_own", || {
        unsafe extern "C" {
            fn sysv_signal(signal: c_int, handler: libc::sighandler_t) -> libc::sighandler_t;
            fn sigset(signal: c_int, handler: libc::sighandler_t) -> libc::sighandler_t;
        }
        extern "C" fn one(_: c_int) {}
        extern "C" fn other(_: c_int) {}
        let (one, other) = (one as *const () as usize, other as *const () as usize);
        let name = |handler| match handler {
            libc::SIG_DFL => "default".to_owned(),
            libc::SIG_ERR => format!("{:?}", or_error(-1)),
            handler if handler == one => "one".to_owned(),
            handler if handler == other => "other".to_owned(),
            handler => format!("{handler:#x}"),
        };
        // SAFETY: the handlers do nothing; there is room for what was before.
        unsafe {
            let set = |signal, handler: Option<usize>, flags| {
                let mut before: libc::sigaction = mem::zeroed();
                let action = handler.map(|handler| {
                    let mut action: libc::sigaction = mem::zeroed();
                    action.sa_sigaction = handler;
                    action.sa_flags = flags;
                    libc::sigaddset(&raw mut action.sa_mask, libc::SIGUSR2);
                    action
                });
                let new = action.as_ref().map_or(ptr::null(), ptr::from_ref);
                let result = or_error(libc::sigaction(signal, new, &raw mut before));
                let masks = libc::sigismember(&raw const before.sa_mask, libc::SIGUSR2);
                // What the C library adds is the same each time.
                (
                    result,
                    name(before.sa_sigaction),
                    before.sa_flags & 0x5000_0fff,
                    masks,
                )
            };
            let usr1 = libc::SIGUSR1;
            assert_eq!(set(usr1, Some(libc::SIG_DFL), 0).0, Ok(0));
            let told = vec![
                set(usr1, None, 0),
                set(usr1, Some(one), 0),
                set(usr1, None, 0),
                set(usr1, Some(other), libc::SA_RESTART | libc::SA_SIGINFO),
                set(usr1, Some(libc::SIG_IGN), 0),
                set(usr1, Some(one), 0),
                set(libc::SIGKILL, Some(one), 0),
                set(libc::SIGKILL, None, 0),
                set(0, Some(one), 0),
                set(65, Some(one), 0),
                set(-1, None, 0),
                set(usr1, None, 0),
            ];
            let by_name = [
                libc::signal(usr1, other),
                libc::signal(usr1, other),
                libc::signal(libc::SIGKILL, other),
                libc::signal(1000, other),
                sysv_signal(usr1, one),
                sigset(usr1, other),
                sigset(usr1, 2),
                libc::signal(usr1, libc::SIG_DFL),
            ];
            let by_name = by_name.map(|handler| {
                if handler == 2 {
                    "held".to_owned()
                } else {
                    name(handler)
                }
            });
            let mut mask = mem::zeroed();
            libc::sigemptyset(&raw mut mask);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, ptr::null_mut());
            (told, by_name)
        }
    });
}

#[test]
fn a_handler_that_was_there_is_taken_over() {
    in_programs("a_handler_that_was_there_is_taken_over", || {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn sees(_: c_int) {
            // SAFETY: it is harmless in a handler.
            unsafe { libc::usleep(100) };
            SEEN.fetch_add(1, Ordering::SeqCst);
        }
        install(libc::SIGUSR1, sees, libc::SA_RESETHAND);
        on_a_green_thread(|| raise(libc::SIGUSR1));
        assert_eq!(SEEN.load(Ordering::SeqCst), 1);
        // It was for once.
        // SAFETY: zeroes are a valid action, and there is room for the answer.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            libc::sigaction(libc::SIGUSR1, ptr::null(), &raw mut action);
            assert_eq!(action.sa_sigaction, libc::SIG_DFL);
        }
    });
}

#[test]
fn who_waits_for_a_signal_gets_it() {
    in_programs("who_waits_for_a_signal_gets_it", || {
        const IS_BLOCKED: &str = "TEST_IS_BLOCKED";
        // SAFETY: the signal is valid.
        let set = unsafe {
            let mut set = mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGUSR1);
            set
        };
        if std::env::var_os(IS_BLOCKED).is_none() {
            // All threads of the program have it blocked that this one executes.
            let mut program = Command::new(std::env::current_exe().unwrap());
            program
                .args(["who_waits_for_a_signal_gets_it", "--exact"])
                .env(IS_BLOCKED, "1");
            // SAFETY: the closure does what may be done there.
            let status = unsafe {
                program.pre_exec(move || {
                    libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
                    Ok(())
                });
                program.status()
            };
            assert!(status.unwrap().success());
            return;
        }
        on_a_green_thread(move || {
            let waits: [fn(&libc::sigset_t) -> c_int; 3] = [
                |set| {
                    let mut signal = 0;
                    // SAFETY: there is room for the answer.
                    let error = unsafe { libc::sigwait(set, &raw mut signal) };
                    if error == 0 { signal } else { -error }
                },
                // SAFETY: it wants no answer.
                |set| unsafe { libc::sigwaitinfo(set, ptr::null_mut()) },
                |set| {
                    let time = timespec {
                        tv_sec: 60,
                        tv_nsec: 0,
                    };
                    // SAFETY: it wants no answer.
                    unsafe { libc::sigtimedwait(set, ptr::null_mut(), &raw const time) }
                },
            ];
            for wait in waits {
                let waits = thread::spawn(move || wait(&set));
                // Others run meanwhile.
                thread::sleep(Duration::from_millis(20));
                // SAFETY: all have it blocked.
                unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
                assert_eq!(waits.join().unwrap(), libc::SIGUSR1);
            }
        });
    });
}

#[test]
fn a_wait_for_a_signal_fails_as_ever() {
    is_the_same("a_wait_for_a_signal_fails_as_ever", || {
        // SAFETY: the signals are valid.
        unsafe {
            let mut set: libc::sigset_t = mem::zeroed();
            libc::sigaddset(&raw mut set, libc::SIGUSR2);
            [(0, 1_000_000), (0, -1), (0, 0)].map(|(tv_sec, tv_nsec)| {
                let time = timespec { tv_sec, tv_nsec };
                or_error(libc::sigtimedwait(
                    &raw const set,
                    ptr::null_mut(),
                    &raw const time,
                ))
            })
        }
    });
}

#[test]
fn who_pauses_is_woken_by_a_handler() {
    in_programs("who_pauses_is_woken_by_a_handler", || {
        extern "C" fn nothing(_: c_int) {}
        on_a_green_thread(|| {
            static IS_BACK: AtomicBool = AtomicBool::new(false);
            install(libc::SIGUSR1, nothing, 0);
            let pauses = thread::spawn(|| {
                // SAFETY: it has no preconditions.
                let told = or_error(unsafe { libc::pause() });
                IS_BACK.store(true, Ordering::SeqCst);
                told
            });
            while !IS_BACK.load(Ordering::SeqCst) {
                // It goes to any OS thread: to that one in the end.
                for task in std::fs::read_dir("/proc/self/task").unwrap() {
                    let thread: c_int =
                        task.unwrap().file_name().to_str().unwrap().parse().unwrap();
                    // SAFETY: there is a handler.
                    unsafe {
                        libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1)
                    };
                }
                thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(pauses.join().unwrap(), Err(libc::EINTR));
        });
    });
}

#[test]
fn an_overflow_is_told_of() {
    in_programs("an_overflow_is_told_of", || {
        const OVERFLOWS: &str = "TEST_OVERFLOWS";
        #[allow(unconditional_recursion, reason = "it is to overflow")]
        fn deep(depth: usize) -> usize {
            let block = std::hint::black_box([depth; 64]);
            deep(depth + 1) + block[depth % 64]
        }
        if std::env::var_os(OVERFLOWS).is_some() {
            on_a_green_thread(|| {
                println!("{}", deep(0));
            });
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["an_overflow_is_told_of", "--exact", "--nocapture"])
            .env(OVERFLOWS, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("overflow"), "{told}");
        assert!(!output.status.success());
    });
}

#[test]
fn a_handler_signals_other_threads() {
    is_the_same("a_handler_signals_other_threads", || {
        static OTHER: AtomicUsize = AtomicUsize::new(0);
        static TOLD: AtomicUsize = AtomicUsize::new(usize::MAX);
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn passes_on(_: c_int) {
            let other = OTHER.load(Ordering::SeqCst) as libc::pthread_t;
            // SAFETY: the thread is there.
            let told = unsafe { libc::pthread_kill(other, libc::SIGUSR2) };
            TOLD.store(told as usize, Ordering::SeqCst);
        }
        extern "C" fn sees(_: c_int) {
            // SAFETY: it has no preconditions.
            SEEN.store(unsafe { libc::pthread_self() } as usize, Ordering::SeqCst);
        }
        OTHER.store(0, Ordering::SeqCst);
        SEEN.store(0, Ordering::SeqCst);
        install(libc::SIGUSR1, passes_on, 0);
        install(libc::SIGUSR2, sees, 0);
        let sleeps = thread::spawn(|| {
            // SAFETY: it has no preconditions.
            let me = unsafe { libc::pthread_self() } as usize;
            OTHER.store(me, Ordering::SeqCst);
            while SEEN.load(Ordering::SeqCst) == 0 {
                thread::sleep(Duration::from_millis(10));
            }
            assert_eq!(SEEN.load(Ordering::SeqCst), me);
        });
        while OTHER.load(Ordering::SeqCst) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        raise(libc::SIGUSR1);
        sleeps.join().unwrap();
        TOLD.load(Ordering::SeqCst)
    });
}

/// It has interrupted who does the same, with whatever lock that takes.
#[test]
fn a_handler_names_and_signals_its_own_thread() {
    in_programs("a_handler_names_and_signals_its_own_thread", || {
        static HANDLED: AtomicUsize = AtomicUsize::new(0);
        static DONE: AtomicBool = AtomicBool::new(false);
        fn names_itself() {
            let mut name = [0_u8; 16];
            // SAFETY: names and a thread that are there, and no signal.
            unsafe {
                libc::prctl(libc::PR_SET_NAME, c"of a handler".as_ptr());
                libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr());
                assert_eq!(libc::pthread_kill(libc::pthread_self(), 0), 0);
            }
            assert_eq!(&name[..13], b"of a handler\0");
        }
        extern "C" fn handles(_: c_int) {
            names_itself();
            HANDLED.fetch_add(1, Ordering::SeqCst);
        }
        on_a_green_thread(|| {
            install(libc::SIGUSR1, handles, libc::SA_RESTART);
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    thread::spawn(|| {
                        while !DONE.load(Ordering::SeqCst) {
                            names_itself();
                            let mut name = [0; 16];
                            // SAFETY: there is room for the name.
                            unsafe {
                                let me = libc::pthread_self();
                                libc::pthread_setname_np(me, c"of a handler".as_ptr());
                                libc::pthread_getname_np(me, name.as_mut_ptr(), 16);
                            }
                            thread::yield_now();
                        }
                    })
                })
                .collect();
            // Whom the system has chosen to handle it may come to run late.
            let mut sent = 0;
            while sent < 2000 || HANDLED.load(Ordering::SeqCst) == 0 {
                // SAFETY: there is a handler.
                unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
                sent += 1;
                thread::yield_now();
            }
            DONE.store(true, Ordering::SeqCst);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            assert!(HANDLED.load(Ordering::SeqCst) > 0);
        });
    });
}

/// Runs the test `name` again, which finds then that it is to do what ends it, and gives how it has ended.
fn ended(name: &str, variable: &str) -> ExitStatus {
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args([name, "--exact", "--nocapture"]);
    again.env(variable, "1").output().unwrap().status
}

#[test]
fn who_handled_faults_before_handles_an_overflow() {
    const OVERFLOWS: &str = "TEST_OVERFLOWS";
    const NAME: &str = "who_handled_faults_before_handles_an_overflow";
    extern "C" fn exit(_: c_int) {
        // SAFETY: it may be called in the handler of a signal.
        unsafe { libc::_exit(7) };
    }
    #[allow(unconditional_recursion, reason = "it is to overflow")]
    fn deep(depth: usize) -> usize {
        let block = std::hint::black_box([depth; 64]);
        deep(depth + 1) + block[depth % 64]
    }
    in_programs(NAME, || {
        if std::env::var_os(OVERFLOWS).is_some() {
            install(libc::SIGSEGV, exit, libc::SA_ONSTACK);
            install(libc::SIGBUS, exit, libc::SA_ONSTACK);
            on_a_green_thread(|| {
                println!("{}", deep(0));
            });
        }
        assert_eq!(ended(NAME, OVERFLOWS).code(), Some(7));
    });
}

#[test]
fn a_fault_that_somebody_sends_ends_the_process() {
    const SENDS: &str = "TEST_SENDS";
    const NAME: &str = "a_fault_that_somebody_sends_ends_the_process";
    in_programs(NAME, || {
        if std::env::var_os(SENDS).is_some() {
            // The handler of std goes on.
            // SAFETY: nobody is told of such a signal any more.
            unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
            on_a_green_thread(|| {
                // SAFETY: it sends this process a signal.
                unsafe { libc::kill(libc::getpid(), libc::SIGSEGV) };
                thread::sleep(Duration::from_secs(1));
            });
            std::process::exit(3);
        }
        assert_eq!(ended(NAME, SENDS).signal(), Some(libc::SIGSEGV));
    });
}

/// As collectors of garbage stop the threads of a program.
#[test]
fn a_handler_waits_for_another_signal() {
    static STOPPED: AtomicUsize = AtomicUsize::new(0);
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    extern "C" fn stop(_: c_int) {
        STOPPED.fetch_add(1, Ordering::SeqCst);
        // SAFETY: zeroes are a set, and this may be called in the handler of a signal.
        unsafe {
            let mut all_but_one: libc::sigset_t = mem::zeroed();
            libc::sigfillset(&raw mut all_but_one);
            libc::sigdelset(&raw mut all_but_one, libc::SIGUSR2);
            libc::sigsuspend(&raw const all_but_one);
        }
        STOPPED.fetch_sub(1, Ordering::SeqCst);
    }
    extern "C" fn go_on(_: c_int) {}
    in_programs("a_handler_waits_for_another_signal", || {
        install(libc::SIGUSR1, stop, libc::SA_RESTART);
        install(libc::SIGUSR2, go_on, 0);
        on_a_green_thread(|| ());
        let sleeps = || thread::sleep(Duration::from_millis(1));
        for pause in [sleeps, thread::yield_now] {
            IS_OVER.store(false, Ordering::SeqCst);
            let waits = thread::spawn(move || {
                while !IS_OVER.load(Ordering::SeqCst) {
                    pause();
                }
            });
            let send = |signal| {
                // SAFETY: it has not ended.
                let failed = unsafe { libc::pthread_kill(waits.as_pthread_t(), signal) };
                assert_eq!(failed, 0);
            };
            for _ in 0..10 {
                send(libc::SIGUSR1);
                until(|| STOPPED.load(Ordering::SeqCst) == 1);
                send(libc::SIGUSR2);
                until(|| STOPPED.load(Ordering::SeqCst) == 0);
            }
            IS_OVER.store(true, Ordering::SeqCst);
            waits.join().unwrap();
        }
    });
}
