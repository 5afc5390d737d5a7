//! Adoption where it is refused, asked for again, or late; and limits that are hit in an adopted program.

mod common;

use std::ffi::c_void;
use std::fs::File;
use std::hint;
use std::io::{self, Read, Write};
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use common::{
    MANY, in_programs, in_programs_each, is_the_same, on_a_green_thread, os_threads, until,
};

/// What `adopt` tells in a process with this variable, and whether its threads are green then.
fn told_with(test: &str, name: &str, value: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(name, value)
        .env("TEST_TELLS", "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = told.lines().find_map(|line| line.split_once("told: "));
    line.unwrap_or_else(|| panic!("{output:?}")).1.to_owned()
}

#[test]
fn pinned_threads_are_not_adopted() {
    const TEST: &str = "pinned_threads_are_not_adopted";
    in_programs(TEST, || {
        if std::env::var_os("TEST_TELLS").is_some() {
            let refused = roving_adopt::adopt().unwrap_err();
            // Again it is the same.
            assert_eq!(
                roving_adopt::adopt().unwrap_err().to_string(),
                refused.to_string()
            );
            let is_green = thread::spawn(roving_scheduler::is_green).join().unwrap();
            println!("told: {:?}, {refused}; green: {is_green}", refused.kind());
            return;
        }
        assert_eq!(
            told_with(TEST, "ROVING_THREAD_LOCALS", "pinned"),
            "Unsupported, cannot adopt the program: the global runtime was asked for green threads without thread-locals of \
             their own (Builder::thread_locals, ROVING_THREAD_LOCALS); green: false"
        );
    });
}

/// Each asks the C library what it is like, of which all see the same.
#[test]
fn many_ask_for_it_at_once() {
    in_programs_each(20, "many_ask_for_it_at_once", || {
        const THREADS: usize = 4;
        roving_scheduler::Handle::current().unwrap();
        let come = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    come.fetch_add(1, Ordering::Relaxed);
                    while come.load(Ordering::Relaxed) < THREADS {
                        hint::spin_loop();
                    }
                    roving_adopt::adopt().unwrap();
                });
            }
        });
        assert!(thread::spawn(roving_scheduler::is_green).join().unwrap());
    });
}

#[test]
fn threads_that_share_thread_locals_are_not_adopted() {
    in_programs("threads_that_share_thread_locals_are_not_adopted", || {
        // SAFETY: no green thread runs on it.
        let builder = unsafe { roving_scheduler::Builder::new().shared_thread_locals() };
        builder.build_global().unwrap();
        let refused = roving_adopt::adopt().unwrap_err();
        assert_eq!(
            (refused.kind(), &*refused.to_string()),
            (
                io::ErrorKind::Unsupported,
                "cannot adopt the program: the global runtime was asked for green threads without thread-locals of their own \
                 (Builder::thread_locals, ROVING_THREAD_LOCALS)"
            )
        );
        assert!(!thread::spawn(roving_scheduler::is_green).join().unwrap());
    });
}

/// Calls `f` with so many bytes of address space left.
fn with_room<T>(left: libc::rlim_t, f: impl FnOnce() -> T) -> T {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: libc::rlim_t = pages.split(' ').next().unwrap().parse().unwrap();
    let limit = |most| {
        let limit = libc::rlimit {
            rlim_cur: most,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: it is a limit.
        let refused = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
        assert_eq!(refused, 0);
    };
    limit((pages << 12) + left);
    let result = f();
    limit(libc::RLIM_INFINITY);
    result
}

#[test]
fn a_runtime_for_which_there_is_no_memory_is_refused() {
    in_programs("a_runtime_for_which_there_is_no_memory_is_refused", || {
        let refused = with_room(1 << 20, roving_adopt::adopt).unwrap_err();
        let says = refused.to_string();
        assert!(
            says.starts_with("cannot adopt the program: no room for a runtime: ")
                && says.ends_with("; raise the one that is met"),
            "{says}"
        );
        assert!(on_a_green_thread(roving_scheduler::is_green));
    });
}

#[test]
fn a_thread_for_which_there_is_no_memory_is_refused() {
    is_the_same("a_thread_for_which_there_is_no_memory_is_refused", || {
        extern "C" fn nothing(_: *mut c_void) -> *mut c_void {
            ptr::null_mut()
        }
        const STACK: usize = 1 << 30;
        let create = || {
            // SAFETY: there is room for the attributes and the id, and the function does nothing.
            unsafe {
                let mut attributes = mem::zeroed();
                libc::pthread_attr_init(&raw mut attributes);
                libc::pthread_attr_setstacksize(&raw mut attributes, STACK);
                let mut id = 0;
                let error = libc::pthread_create(
                    &raw mut id,
                    &raw const attributes,
                    nothing,
                    ptr::null_mut(),
                );
                if error == 0 {
                    libc::pthread_join(id, ptr::null_mut());
                }
                libc::pthread_attr_destroy(&raw mut attributes);
                error
            }
        };
        let refused = with_room(256 << 20, || [create(), create()]);
        assert_eq!(refused, [libc::EAGAIN; 2]);
        (refused, thread::spawn(|| 5).join().unwrap())
    });
}

#[test]
fn to_ask_again_does_nothing() {
    in_programs("to_ask_again_does_nothing", || {
        let (sender, receiver) = mpsc::channel::<()>();
        // It is there before, and stays what it is.
        let early = thread::spawn(move || {
            receiver.recv().unwrap();
            roving_scheduler::is_green()
        });
        for _ in 0..2 {
            roving_adopt::adopt().unwrap();
        }
        on_a_green_thread(|| {
            assert!(roving_scheduler::is_green());
            // By a thread of its own.
            roving_adopt::adopt().unwrap();
            assert!(thread::spawn(roving_scheduler::is_green).join().unwrap());
        });
        sender.send(()).unwrap();
        assert!(!early.join().unwrap());
    });
}

#[test]
fn a_green_thread_of_the_runtime_may_adopt() {
    in_programs("a_green_thread_of_the_runtime_may_adopt", || {
        let adopts = roving_scheduler::thread::spawn(|| {
            roving_adopt::adopt().unwrap();
            thread::spawn(roving_scheduler::is_green).join().unwrap()
        });
        assert!(adopts.join().unwrap());
    });
}

#[test]
fn a_forked_child_may_adopt() {
    in_programs("a_forked_child_may_adopt", || {
        // SAFETY: the child has one thread, as the parent is not in the middle of anything that it needs.
        let status = unsafe {
            match libc::fork() {
                0 => {
                    let is_green = roving_adopt::adopt().is_ok()
                        && thread::spawn(roving_scheduler::is_green).join().unwrap();
                    libc::_exit(i32::from(is_green))
                }
                pid => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
                    status
                }
            }
        };
        assert_eq!(libc::WEXITSTATUS(status), 1, "{status:#x}");
    });
}

#[test]
fn who_finds_no_descriptor_is_told_so_and_others_go_on() {
    in_programs(
        "who_finds_no_descriptor_is_told_so_and_others_go_on",
        || on_a_green_thread(|| finds_no_descriptor(true)),
    );
}

#[test]
fn where_there_never_was_one_to_wait_with_others_go_on() {
    in_programs(
        "where_there_never_was_one_to_wait_with_others_go_on",
        || on_a_green_thread(|| finds_no_descriptor(false)),
    );
}

/// What waits with descriptors of its own takes them as a thread first waits: before there are none left, or in vain.
fn finds_no_descriptor(waits_before: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let serve = move || {
        let mut byte = [0];
        while server.read(&mut byte).unwrap() == 1 {
            server.write_all(&byte).unwrap();
        }
    };
    let mut echo = |n: u8| {
        let mut byte = [0];
        client.write_all(&[n]).unwrap();
        client.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [n]);
    };
    let mut serve = Some(serve);
    let mut echoes = None;
    if waits_before {
        echoes = serve.take().map(thread::spawn);
        echo(0);
    }
    let limit = libc::rlimit {
        rlim_cur: 64,
        rlim_max: 64,
    };
    // SAFETY: it is a limit.
    let refused = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(refused, 0);
    let mut all = Vec::new();
    let error = loop {
        match File::open("/dev/null") {
            Ok(file) => all.push(file),
            Err(error) => break error,
        }
    };
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    let is_full = |error: io::Error| error.raw_os_error() == Some(libc::EMFILE);
    assert!(is_full(io::pipe().unwrap_err()));
    assert!(is_full(TcpStream::connect("127.0.0.1:1").unwrap_err()));
    // Those that are there are waited for as ever, and threads are made.
    let sleeps: Vec<_> = (0..MANY)
        .map(|_| thread::spawn(|| thread::sleep(std::time::Duration::from_millis(1))))
        .collect();
    let echoes = echoes.or_else(|| serve.take().map(thread::spawn));
    (0..10).for_each(&mut echo);
    sleeps.into_iter().for_each(|thread| thread.join().unwrap());
    drop(all);
    until(|| os_threads() < MANY);
    drop(client);
    echoes.unwrap().join().unwrap();
}
