//! Threads that end by the system call itself, in a program that is adopted: such a thread ends at once, and alone.

mod common;

use std::env;
use std::ffi::{c_int, c_void};
use std::hint;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::{in_programs, is_the_same, on_a_green_thread, until};

type Start = extern "C" fn(*mut c_void) -> *mut c_void;

/// Each is signalled a moment later than the one before.
const ON_THEIR_WAY: u32 = 1_000;

static DESTROYED: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicUsize = AtomicUsize::new(0);

fn end(status: c_int) -> ! {
    ENDED.fetch_add(1, Ordering::SeqCst);
    // SAFETY: nobody has borrowed anything of this thread.
    unsafe { libc::syscall(libc::SYS_exit, status) };
    unreachable!("it does not return");
}

/// Makes a thread, with attributes, and gives its id.
fn make(attributes: *const libc::pthread_attr_t, start: Start) -> libc::pthread_t {
    let mut id = 0;
    // SAFETY: there is room for the id, and null or attributes.
    let failed = unsafe { libc::pthread_create(&raw mut id, attributes, start, ptr::null_mut()) };
    assert_eq!(failed, 0);
    id
}

fn join(id: libc::pthread_t) -> *mut c_void {
    let mut left = ptr::null_mut();
    // SAFETY: there is room for what it has left.
    assert_eq!(unsafe { libc::pthread_join(id, &raw mut left) }, 0);
    left
}

extern "C" fn destroy(_: *mut c_void) {
    DESTROYED.fetch_add(1, Ordering::SeqCst);
}

struct Value;

impl Drop for Value {
    fn drop(&mut self) {
        DESTROYED.fetch_add(1, Ordering::SeqCst);
    }
}

/// The current thread has two values that are destroyed at its end.
fn have_values() {
    thread_local! {
        static VALUE: Value = const { Value };
    }

    VALUE.with(|_| ());
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: there is room for the key, and its destructor takes anything.
        let failed = unsafe { libc::pthread_key_create(&raw mut key, Some(destroy)) };
        assert_eq!(failed, 0);
        key
    });
    // SAFETY: it is a key.
    let failed = unsafe { libc::pthread_setspecific(*key, ptr::without_provenance(1)) };
    assert_eq!(failed, 0);
}

extern "C" fn has_values_and_ends(_: *mut c_void) -> *mut c_void {
    have_values();
    let _value = Value;
    end(7)
}

#[test]
fn a_thread_ends_at_once_and_alone() {
    is_the_same("a_thread_ends_at_once_and_alone", || {
        let before = ENDED.load(Ordering::SeqCst);
        // More than there are workers.
        for _ in 0..20 {
            join(make(ptr::null(), has_values_and_ends));
        }
        // SAFETY: there is room for them, and they are what they are told to be.
        let detached = unsafe {
            let mut attributes = std::mem::zeroed();
            libc::pthread_attr_init(&raw mut attributes);
            libc::pthread_attr_setdetachstate(&raw mut attributes, libc::PTHREAD_CREATE_DETACHED);
            attributes
        };
        make(&raw const detached, has_values_and_ends);
        until(|| ENDED.load(Ordering::SeqCst) == before + 21);
        let others_run = thread::spawn(|| 5).join().unwrap();
        (others_run, DESTROYED.load(Ordering::SeqCst))
    });
}

#[test]
fn who_joins_it_gets_null() {
    extern "C" fn ends(_: *mut c_void) -> *mut c_void {
        end(7)
    }
    in_programs("who_joins_it_gets_null", || {
        on_a_green_thread(|| assert!(join(make(ptr::null(), ends)).is_null()));
    });
}

#[test]
fn a_thread_ends_in_a_handler() {
    extern "C" fn ends(_: c_int) {
        end(7)
    }
    extern "C" fn waits(_: *mut c_void) -> *mut c_void {
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    }
    extern "C" fn waits_in_the_system(_: *mut c_void) -> *mut c_void {
        // SAFETY: it has no preconditions.
        unsafe { libc::pause() };
        unreachable!("it does not return");
    }
    is_the_same("a_thread_ends_in_a_handler", || {
        // SAFETY: the handler ends the thread, of which nobody has borrowed anything.
        unsafe { libc::signal(libc::SIGUSR1, ends as *const () as usize) };
        for start in [waits as Start, waits_in_the_system] {
            let id = make(ptr::null(), start);
            thread::sleep(Duration::from_millis(2));
            // SAFETY: it has not been joined.
            assert_eq!(unsafe { libc::pthread_kill(id, libc::SIGUSR1) }, 0);
            join(id);
        }
        thread::spawn(|| 5).join().unwrap()
    });
}

/// The signal comes at any moment of its way into the system.
#[test]
fn a_thread_ends_in_a_handler_on_its_way_into_the_system() {
    static IS_ON_ITS_WAY: AtomicBool = AtomicBool::new(false);
    extern "C" fn ends(_: c_int) {
        end(7)
    }
    extern "C" fn waits(_: *mut c_void) -> *mut c_void {
        IS_ON_ITS_WAY.store(true, Ordering::SeqCst);
        // SAFETY: it has no preconditions.
        unsafe { libc::pause() };
        unreachable!("it does not return");
    }
    in_programs(
        "a_thread_ends_in_a_handler_on_its_way_into_the_system",
        || {
            roving_adopt::adopt().unwrap();
            // SAFETY: the handler ends the thread, of which nobody has borrowed anything.
            unsafe { libc::signal(libc::SIGUSR1, ends as *const () as usize) };
            for n in 0..ON_THEIR_WAY {
                IS_ON_ITS_WAY.store(false, Ordering::SeqCst);
                let id = make(ptr::null(), waits);
                while !IS_ON_ITS_WAY.load(Ordering::SeqCst) {
                    hint::spin_loop();
                }
                for _ in 0..n {
                    hint::spin_loop();
                }
                // SAFETY: it has not been joined.
                assert_eq!(unsafe { libc::pthread_kill(id, libc::SIGUSR1) }, 0);
                join(id);
            }
        },
    );
}

/// In a process of its own does `ends`, all that the test `name` does there, and gives what has become of it.
fn of_its_own(name: &str, ends: impl FnOnce()) -> Output {
    const ENDS: &str = "TEST_ENDS";
    if env::var_os(ENDS).is_some() {
        ends();
        std::process::exit(3);
    }
    let mut again = Command::new(env::current_exe().unwrap());
    again.args([name, "--exact", "--nocapture"]);
    again.env(ENDS, "1").output().unwrap()
}

/// How a child has exited whose main thread runs `body`.
fn exit_of(body: impl FnOnce()) -> Option<c_int> {
    // SAFETY: of this process's threads, nobody has anything that the child needs.
    let child = unsafe { libc::fork() };
    if child == 0 {
        body();
        std::process::exit(3);
    }
    let mut status = 0;
    // SAFETY: there is room for it.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
}

#[test]
fn the_process_outlives_its_main_thread() {
    in_programs("the_process_outlives_its_main_thread", || {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let exit = exit_of(|| {
            roving_adopt::adopt().unwrap();
            for n in 0..3 {
                let mut writer = writer.try_clone().unwrap();
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(20));
                    writer.write_all(&[n]).unwrap();
                });
            }
            end(5);
        });
        drop(writer);
        let mut told = Vec::new();
        reader.read_to_end(&mut told).unwrap();
        told.sort_unstable();
        assert_eq!((exit, &told[..]), (Some(5), &[0, 1, 2][..]));
    });
}

#[test]
fn a_process_ends_with_its_only_thread() {
    in_programs("a_process_ends_with_its_only_thread", || {
        let exit = exit_of(|| {
            roving_adopt::adopt().unwrap();
            thread::spawn(|| ()).join().unwrap();
            end(6);
        });
        assert_eq!(exit, Some(6));
    });
}

#[test]
fn a_forked_child_ends_with_the_status() {
    in_programs("a_forked_child_ends_with_the_status", || {
        on_a_green_thread(|| {
            assert_eq!(exit_of(|| end(9)), Some(9));
        });
    });
}

/// How the thread ends that has forked.
const RETURNS: usize = 1;
const EXITS: usize = 2;
const ENDS_AT_ONCE: usize = 3;

/// Forks, and gives the status of the child, which another thread ends that this one has made there, when this one has ended.
extern "C-unwind" fn forks_and_ends(way: *mut c_void) -> *mut c_void {
    unsafe extern "C-unwind" {
        fn pthread_exit(left: *mut c_void) -> !;
    }
    // SAFETY: of this process's threads, nobody has anything that the child needs.
    let child = unsafe { libc::fork() };
    if child != 0 {
        let mut status = 0;
        // SAFETY: there is room for it.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        return ptr::without_provenance_mut(status as usize);
    }
    have_values();
    // SAFETY: it has no preconditions.
    let forked = unsafe { libc::pthread_self() };
    let way = way.addr();
    thread::spawn(move || {
        let left = join(forked).addr();
        let destroyed = DESTROYED.load(Ordering::SeqCst);
        let expected = if way == ENDS_AT_ONCE {
            (0, 0)
        } else {
            (way, 2)
        };
        // SAFETY: it ends the child.
        unsafe { libc::_exit(if (left, destroyed) == expected { 42 } else { 1 }) }
    });
    match way {
        // SAFETY: nobody has borrowed anything of this thread, and nothing is to be dropped.
        EXITS => unsafe { pthread_exit(ptr::without_provenance_mut(way)) },
        ENDS_AT_ONCE => end(5),
        _ => ptr::without_provenance_mut(way),
    }
}

#[test]
fn a_forked_child_outlives_the_thread_that_forked() {
    unsafe extern "C" {
        fn pthread_create(
            id: *mut libc::pthread_t,
            attributes: *const libc::pthread_attr_t,
            start: extern "C-unwind" fn(*mut c_void) -> *mut c_void,
            argument: *mut c_void,
        ) -> c_int;
    }
    in_programs("a_forked_child_outlives_the_thread_that_forked", || {
        roving_adopt::adopt().unwrap();
        for way in [RETURNS, EXITS, ENDS_AT_ONCE] {
            let mut id = 0;
            let argument = ptr::without_provenance_mut(way);
            // SAFETY: there is room for the id, and it is called with what it takes.
            let failed =
                unsafe { pthread_create(&raw mut id, ptr::null(), forks_and_ends, argument) };
            assert_eq!(failed, 0);
            let status = join(id).addr() as c_int;
            let exit = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
            assert_eq!(exit, Some(42), "way {way}: {status}");
        }
    });
}

/// Roving's own threads are none that could end so.
#[test]
fn a_worker_does_not_end() {
    const NAME: &str = "a_worker_does_not_end";
    in_programs(NAME, || {
        let output = of_its_own(NAME, || {
            roving_adopt::adopt().unwrap();
            let own = roving_scheduler::thread::spawn(|| end(5));
            let _ = own.join();
        });
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{printed}");
        assert!(
            printed.contains("roving: the system call exit"),
            "{printed}"
        );
    });
}
