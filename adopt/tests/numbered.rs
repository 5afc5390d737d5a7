//! System calls that are made by their numbers, in a program that is adopted.

mod common;

use std::ffi::{c_int, c_long, c_ulong};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{in_adopted_programs, in_programs, is_the_same, on_a_green_thread, or_error};

/// An action as the system has it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Action {
    handler: usize,
    flags: c_ulong,
    restorer: usize,
    mask: u64,
}

/// Sets or asks for the action of a signal by the number of the call.
fn by_number(signal: c_int, action: Option<&Action>) -> Result<Action, i32> {
    let mut before = Action::default();
    let action = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: null, or an action, and there is room for one.
    let told = unsafe {
        let number = libc::SYS_rt_sigaction;
        libc::syscall(number, signal, action, &raw mut before, size_of::<u64>())
    };
    or_error(told).map(|_| before)
}

fn by_name(signal: c_int, handler: usize) -> usize {
    // SAFETY: zeroes are an action, and the handlers do what may be done in one.
    unsafe {
        let (mut action, mut before): (libc::sigaction, libc::sigaction) = mem::zeroed();
        action.sa_sigaction = handler;
        let told = libc::sigaction(signal, &raw const action, &raw mut before);
        assert_eq!(told, 0);
        before.sa_sigaction
    }
}

extern "C" fn one(_: c_int) {}
extern "C" fn other(_: c_int) {}

/// An action with a handler, and with what the C library has handlers go back by.
fn action(handler: extern "C" fn(c_int)) -> Action {
    by_name(libc::SIGUSR2, one as *const () as usize);
    let found = by_number(libc::SIGUSR2, None).unwrap();
    by_name(libc::SIGUSR2, libc::SIG_DFL);
    Action {
        handler: handler as *const () as usize,
        ..found
    }
}

#[test]
fn a_handler_is_the_same_by_number_and_by_name() {
    is_the_same("a_handler_is_the_same_by_number_and_by_name", || {
        let names = |handler| match handler {
            handler if handler == one as *const () as usize => "one".to_owned(),
            handler if handler == other as *const () as usize => "other".to_owned(),
            handler => format!("{handler:#x}"),
        };
        let signal = libc::SIGUSR1;
        let (first, second) = (action(one), action(other));
        by_name(signal, libc::SIG_DFL);
        let mut told = vec![names(by_name(signal, first.handler))];
        told.push(names(by_number(signal, None).unwrap().handler));
        told.push(names(by_number(signal, Some(&second)).unwrap().handler));
        told.push(names(by_number(signal, Some(&first)).unwrap().handler));
        told.push(names(by_name(signal, libc::SIG_IGN)));
        told.push(names(by_number(signal, Some(&second)).unwrap().handler));
        told.push(names(by_name(signal, libc::SIG_DFL)));
        told.push(format!("{:?}", by_number(libc::SIGKILL, Some(&first))));
        told.push(format!("{:?}", by_number(0, None)));
        for (new, before) in [(8_usize, 0_usize), (0, 8), (0, 0)] {
            // SAFETY: the system tells of what is not there.
            let told_so =
                unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, before, 8_usize) };
            told.push(format!("{:?}", or_error(told_so)));
        }
        // SAFETY: the system refuses a set of another size.
        let size =
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, 0_usize, 0_usize, 9_usize) };
        told.push(format!("{:?}", or_error(size)));
        told
    });
}

#[test]
fn a_handler_that_was_set_by_number_parks_nobody() {
    in_programs("a_handler_that_was_set_by_number_parks_nobody", || {
        static OTHERS: AtomicUsize = AtomicUsize::new(0);
        static HAVE_RUN: AtomicUsize = AtomicUsize::new(usize::MAX);
        static DONE: AtomicBool = AtomicBool::new(false);
        extern "C" fn waits(_: c_int) {
            let others = OTHERS.load(Ordering::SeqCst);
            // SAFETY: they are harmless in a handler.
            unsafe {
                libc::sched_yield();
                libc::usleep(10_000);
            }
            HAVE_RUN.store(OTHERS.load(Ordering::SeqCst) - others, Ordering::SeqCst);
        }
        on_a_green_thread(|| {
            by_number(libc::SIGUSR1, Some(&action(waits))).unwrap();
            let is_alone = std::env::var("ROVING_WORKERS").unwrap() == "1";
            let other = thread::spawn(|| {
                while !DONE.load(Ordering::SeqCst) {
                    OTHERS.fetch_add(1, Ordering::SeqCst);
                    thread::yield_now();
                }
            });
            thread::sleep(Duration::from_millis(1));
            // SAFETY: there is a handler.
            assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
            let have_run = HAVE_RUN.load(Ordering::SeqCst);
            assert!(have_run == 0 || !is_alone && have_run != usize::MAX);
            DONE.store(true, Ordering::SeqCst);
            other.join().unwrap();
        });
    });
}

#[test]
fn what_is_the_workers_stays_so() {
    in_adopted_programs("what_is_the_workers_stays_so", || {
        // SAFETY: names, stacks and parameters that are there.
        unsafe {
            let mut name = [0_u8; 16];
            let named = libc::syscall(libc::SYS_prctl, libc::PR_SET_NAME, c"by number".as_ptr());
            libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr());
            assert_eq!((named, &name[..10]), (0, &b"by number\0"[..]));
            let mut stack = vec![0_u8; 1 << 16];
            let new = libc::stack_t {
                ss_sp: stack.as_mut_ptr().cast(),
                ss_flags: 0,
                ss_size: stack.len(),
            };
            let mut now: libc::stack_t = mem::zeroed();
            let nothing = ptr::null_mut::<libc::stack_t>();
            let number = libc::SYS_sigaltstack;
            assert_eq!(libc::syscall(number, &raw const new, nothing), 0);
            assert_eq!(libc::syscall(number, nothing, &raw mut now), 0);
            assert_ne!(now.ss_sp, new.ss_sp);
            let parameters = libc::sched_param { sched_priority: 0 };
            let batch = libc::syscall(
                libc::SYS_sched_setscheduler,
                0,
                libc::SCHED_BATCH,
                &raw const parameters,
            );
            assert_eq!(or_error(batch), Err(libc::EPERM));
            assert_eq!(libc::sched_getscheduler(0), libc::SCHED_OTHER);
        }
    });
}

/// Who waits by a number waits beside others, of whom one ends its wait.
#[test]
fn who_waits_leaves_the_worker_to_others() {
    in_adopted_programs("who_waits_leaves_the_worker_to_others", || {
        fn while_another(wakes: impl FnOnce() + Send + 'static, wait: impl FnOnce() -> c_long) {
            let (sender, begins) = mpsc::channel();
            let wakes = thread::spawn(move || {
                begins.recv().unwrap();
                wakes();
            });
            sender.send(()).unwrap();
            let told = or_error(wait());
            assert!(told.is_ok_and(|told| told >= 0), "{told:?}");
            wakes.join().unwrap();
        }
        fn fd(it: &impl AsRawFd) -> usize {
            it.as_raw_fd() as usize
        }
        fn writes(to: &OwnedFd) {
            // SAFETY: there is a byte.
            let told = unsafe { libc::write(to.as_raw_fd(), c"x".as_ptr().cast(), 1) };
            assert_eq!(told, 1);
        }
        let mut byte = [0_u8];
        let place = byte.as_mut_ptr() as usize;

        let (from, to) = io::pipe().unwrap();
        let (from, to) = (OwnedFd::from(from), OwnedFd::from(to));
        let again = to.try_clone().unwrap();
        while_another(
            move || writes(&again),
            // SAFETY: there is room for the byte.
            || unsafe { libc::syscall(libc::SYS_read, fd(&from), place, 1) },
        );
        let mut polled = libc::pollfd {
            fd: from.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        while_another(
            move || writes(&to),
            // SAFETY: there is one.
            || unsafe { libc::syscall(libc::SYS_ppoll, &raw mut polled, 1, 0, 0, 8) },
        );

        let (one, other) = UnixDatagram::pair().unwrap();
        while_another(
            move || assert_eq!(other.send(b"x").unwrap(), 1),
            // SAFETY: there is room for the byte; no address is asked for.
            || unsafe { libc::syscall(libc::SYS_recvfrom, fd(&one), place, 1, 0, 0, 0) },
        );

        let folder = std::env::temp_dir().join(format!("roving-numbered-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let to_connect = path.clone();
        while_another(
            move || drop(UnixStream::connect(to_connect).unwrap()),
            // SAFETY: no address is asked for.
            || unsafe { libc::syscall(libc::SYS_accept4, fd(&listener), 0, 0, libc::SOCK_CLOEXEC) },
        );

        let (opens, holds) = (folder.join("lock"), folder.join("lock"));
        let holder = std::fs::File::create(holds).unwrap();
        holder.lock().unwrap();
        let opened = std::fs::File::create(opens).unwrap();
        while_another(
            move || drop(holder),
            // SAFETY: it takes a lock.
            || unsafe { libc::syscall(libc::SYS_flock, fd(&opened), libc::LOCK_EX) },
        );
        std::fs::remove_dir_all(folder).unwrap();

        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id() as libc::pid_t;
        while_another(
            // SAFETY: the child is there.
            move || assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0),
            // SAFETY: nothing is asked for.
            || unsafe { libc::syscall(libc::SYS_wait4, pid, 0, 0, 0) },
        );
        let _ = child.wait();

        // A word that other processes may have too, and that is said to be so.
        // SAFETY: it maps memory anew, which stays.
        let word: &AtomicU32 = unsafe {
            let place = libc::mmap(
                ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(place, libc::MAP_FAILED);
            &*place.cast()
        };
        let futex = |operation: c_int, value: c_int| {
            let address = word.as_ptr();
            // SAFETY: it is a word, and there is no time.
            unsafe { libc::syscall(libc::SYS_futex, address, operation, value, 0, 0, 0) }
        };
        while_another(
            move || {
                while futex(libc::FUTEX_WAKE, 1) == 0 {
                    thread::yield_now();
                }
            },
            || futex(libc::FUTEX_WAIT, 0),
        );
    });
}

/// The mode of a descriptor that a thread has waited on before.
#[test]
fn a_mode_that_is_set_by_number_is_known() {
    in_adopted_programs("a_mode_that_is_set_by_number_is_known", || {
        let (one, other) = UnixDatagram::pair().unwrap();
        let sends = other.try_clone().unwrap();
        let sends = thread::spawn(move || sends.send(b"x").unwrap());
        let mut byte = [0];
        one.recv(&mut byte).unwrap();
        sends.join().unwrap();
        let fd = one.as_raw_fd();
        // SAFETY: it sets a mode.
        unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFL, libc::O_NONBLOCK) };
        let late = one.recv(&mut byte).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::WouldBlock);
        drop(other);
    });
}

/// The system tells of places where nothing is, by name and by number.
#[test]
fn what_is_not_there_is_told_of() {
    type Parameters = libc::sched_param;
    const NULL: usize = 0;
    const NOWHERE: usize = 8;

    fn by_number(number: c_long, a: usize, b: usize, c: usize) -> Result<i64, i32> {
        // SAFETY: the system is told of nothing that is there.
        or_error(unsafe { libc::syscall(number, a, b, c) })
    }

    is_the_same("what_is_not_there_is_told_of", || {
        let mut told = Vec::new();
        for place in [NULL, NOWHERE] {
            // SAFETY: the system is told of nothing that is there.
            unsafe {
                let parameters = ptr::without_provenance::<Parameters>(place);
                told.push(or_error(libc::sched_setparam(0, parameters)));
                let (ordinary, none) = (libc::SCHED_OTHER, 99);
                told.push(or_error(libc::sched_setscheduler(0, ordinary, parameters)));
                told.push(or_error(libc::sched_setscheduler(0, none, parameters)));
                let cpus = ptr::without_provenance(place);
                told.push(or_error(libc::sched_setaffinity(0, 8, cpus)));
                told.push(or_error(libc::prctl(libc::PR_SET_NAME, place)));
                told.push(or_error(libc::prctl(libc::PR_GET_NAME, place)));
            }
            told.push(by_number(libc::SYS_sched_setparam, 0, place, 0));
            told.push(by_number(libc::SYS_sched_setscheduler, 0, 0, place));
            told.push(by_number(libc::SYS_sched_setaffinity, 0, 8, place));
            for option in [libc::PR_SET_NAME, libc::PR_GET_NAME] {
                told.push(by_number(libc::SYS_prctl, option as usize, place, 0));
            }
        }
        for [new, old] in [[NOWHERE, NULL], [NULL, NOWHERE]] {
            let (set, had) = (
                ptr::without_provenance(new),
                ptr::without_provenance_mut(old),
            );
            // SAFETY: the system is told of nothing that is there.
            told.push(or_error(unsafe { libc::sigaltstack(set, had) }));
            told.push(by_number(libc::SYS_sigaltstack, new, old, 0));
        }
        let mut child = Command::new("true").spawn().unwrap();
        let info = ptr::without_provenance_mut(NOWHERE);
        // SAFETY: the same.
        told.push(or_error(unsafe {
            libc::waitid(libc::P_PID, child.id(), info, libc::WEXITED)
        }));
        // The system has taken its state.
        told.push(
            child
                .wait()
                .map_or_else(|error| Err(error.raw_os_error().unwrap()), |_| Ok(0)),
        );
        told
    });
}

/// The system looks at a name as far as it goes, and not behind that.
#[test]
fn a_name_at_the_end_of_memory_is_looked_at_as_far_as_it_goes() {
    let name = "a_name_at_the_end_of_memory_is_looked_at_as_far_as_it_goes";
    is_the_same(name, || {
        let size = 4096;
        let mut told = Vec::new();
        // SAFETY: new memory of two pages, each of which is given back once; what is written fits into the first.
        unsafe {
            let (access, kind) = (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            );
            let pages = libc::mmap(ptr::null_mut(), 2 * size, access, kind, -1, 0).cast::<u8>();
            assert_ne!(pages.cast(), libc::MAP_FAILED);
            for is_alone in [false, true] {
                if is_alone {
                    assert_eq!(libc::munmap(pages.add(size).cast(), size), 0);
                }
                for written in ["first\0", "without its end", "no end", ""] {
                    let start = pages.add(size - written.len());
                    start.copy_from(written.as_ptr(), written.len());
                    told.push(or_error(libc::prctl(libc::PR_SET_NAME, start)));
                    let mut now = [0_u8; 16];
                    told.push(or_error(libc::prctl(libc::PR_GET_NAME, now.as_mut_ptr())));
                    told.extend(now.map(|byte| Ok(byte.into())));
                }
            }
            libc::munmap(pages.cast(), size);
        }
        told
    });
}

/// The system tells of a place that can only be read where it is to write there, and what is there stays.
#[test]
fn what_can_only_be_read_is_told_of() {
    is_the_same("what_can_only_be_read_is_told_of", || {
        let size = 4096;
        let mut told = Vec::new();
        // SAFETY: new memory, which is given back.
        unsafe {
            let (access, kind) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let page = libc::mmap(ptr::null_mut(), size, access, kind, -1, 0);
            assert_ne!(page, libc::MAP_FAILED);
            told.push(or_error(libc::sigaltstack(ptr::null(), page.cast())));
            told.push(or_error(libc::syscall(libc::SYS_sigaltstack, 0, page)));
            let signal = libc::SIGUSR1;
            told.push(or_error(libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                0,
                page,
                size_of::<u64>(),
            )));
            told.push(or_error(libc::prctl(libc::PR_GET_NAME, page)));
            let mut at_once = libc::timeval {
                tv_sec: 0,
                tv_usec: 0,
            };
            let (reader, writer) = std::io::pipe().unwrap();
            let count = writer.as_raw_fd() + 1;
            let none = ptr::null_mut();
            let selected = libc::select(count, page.cast(), none, none, &raw mut at_once);
            told.push(or_error(selected));
            drop((reader, writer));
            let mut child = Command::new("true").spawn().unwrap();
            told.push(or_error(libc::waitid(
                libc::P_PID,
                child.id(),
                page.cast(),
                libc::WEXITED,
            )));
            // The system has taken its state.
            let again = child.wait();
            told.push(again.map_or_else(|error| Err(error.raw_os_error().unwrap()), |_| Ok(0)));
            let bytes = std::slice::from_raw_parts(page.cast::<u8>(), size);
            assert!(bytes.iter().all(|&byte| byte == 0));
            libc::munmap(page, size);
        }
        told
    });
}
