//! The C library's functions for threads, in a program that is adopted.

mod common;

use std::collections::HashSet;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs;
use std::io;
use std::mem::{self, MaybeUninit};
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use common::{MANY, in_programs, is_the_same, on_a_green_thread, os_threads, until};
use libc::{pthread_attr_t, pthread_t, sched_param, timespec};

unsafe extern "C" {
    fn pthread_tryjoin_np(thread: pthread_t, result: *mut *mut c_void) -> c_int;
    fn pthread_timedjoin_np(
        thread: pthread_t,
        result: *mut *mut c_void,
        until: *const timespec,
    ) -> c_int;
    fn pthread_clockjoin_np(
        thread: pthread_t,
        result: *mut *mut c_void,
        clock: libc::clockid_t,
        until: *const timespec,
    ) -> c_int;
    fn pthread_equal(one: pthread_t, other: pthread_t) -> c_int;
    fn pthread_setschedprio(thread: pthread_t, priority: c_int) -> c_int;
    fn pthread_attr_setsigmask_np(
        attributes: *mut pthread_attr_t,
        mask: *const libc::sigset_t,
    ) -> c_int;
    fn pthread_attr_setaffinity_np(
        attributes: *mut pthread_attr_t,
        size: usize,
        set: *const libc::cpu_set_t,
    ) -> c_int;
    fn thrd_create(
        thread: *mut pthread_t,
        start: extern "C" fn(*mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn thrd_join(thread: pthread_t, result: *mut c_int) -> c_int;
    fn thrd_detach(thread: pthread_t) -> c_int;
    fn thrd_current() -> pthread_t;
    fn thrd_sleep(time: *const timespec, left: *mut timespec) -> c_int;
    fn thrd_yield();
}

unsafe extern "C-unwind" {
    fn pthread_create(
        thread: *mut pthread_t,
        attributes: *const pthread_attr_t,
        start: Start,
        argument: *mut c_void,
    ) -> c_int;
    fn pthread_exit(result: *mut c_void) -> !;
    fn pthread_testcancel();
}

/// Threads exit in some.
type Start = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// Gives back what it is called with, after so many milliseconds.
extern "C-unwind" fn sleeps(milliseconds: *mut c_void) -> *mut c_void {
    thread::sleep(Duration::from_millis(milliseconds.addr() as u64));
    milliseconds
}

fn number(number: usize) -> *mut c_void {
    ptr::without_provenance_mut(number)
}

fn create(start: Start, argument: usize) -> pthread_t {
    create_with(None, start, argument).unwrap()
}

fn create_with(
    attributes: Option<&pthread_attr_t>,
    start: Start,
    argument: usize,
) -> Result<pthread_t, c_int> {
    let mut id = 0;
    let attributes = attributes.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: there is room for the id, and the attributes are null or initialised.
    match unsafe { pthread_create(&raw mut id, attributes, start, number(argument)) } {
        0 => Ok(id),
        error => Err(error),
    }
}

fn join(id: pthread_t) -> Result<usize, c_int> {
    let mut result = ptr::null_mut();
    // SAFETY: there is room for the result; the threads of these tests are there.
    match unsafe { libc::pthread_join(id, &raw mut result) } {
        0 => Ok(result.addr()),
        error => Err(error),
    }
}

fn attributes(set: impl FnOnce(*mut pthread_attr_t)) -> pthread_attr_t {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: there is room for them.
    unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        set(attributes.as_mut_ptr());
        attributes.assume_init()
    }
}

/// What a clock will show in so many milliseconds.
fn in_milliseconds(clock: libc::clockid_t, milliseconds: i64) -> timespec {
    // SAFETY: there is room for the answer.
    unsafe {
        let mut time: timespec = mem::zeroed();
        libc::clock_gettime(clock, &raw mut time);
        let nanoseconds = time.tv_nsec + milliseconds % 1000 * 1_000_000;
        time.tv_sec += milliseconds / 1000 + nanoseconds.div_euclid(1_000_000_000);
        time.tv_nsec = nanoseconds.rem_euclid(1_000_000_000);
        time
    }
}

#[test]
fn a_thread_is_joined_in_every_way() {
    is_the_same("a_thread_is_joined_in_every_way", || {
        static MAY_END: AtomicBool = AtomicBool::new(false);
        extern "C-unwind" fn waits(_: *mut c_void) -> *mut c_void {
            while !MAY_END.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            number(150)
        }
        MAY_END.store(false, Ordering::SeqCst);
        let mut told = Vec::new();
        let mut result = ptr::null_mut();
        let result = &raw mut result;
        let (wall, steady) = (libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC);
        // SAFETY: the threads are there until they are joined; there is room for results and times.
        unsafe {
            let me = libc::pthread_self();
            told.push(libc::pthread_join(me, result));
            let id = create(waits, 0);
            told.push(pthread_tryjoin_np(id, result));
            told.push(pthread_timedjoin_np(id, result, &in_milliseconds(wall, 10)));
            told.push(pthread_timedjoin_np(
                id,
                result,
                &in_milliseconds(wall, -5000),
            ));
            told.push(pthread_clockjoin_np(
                id,
                result,
                steady,
                &in_milliseconds(steady, 10),
            ));
            told.push(pthread_clockjoin_np(
                id,
                result,
                wall,
                &in_milliseconds(wall, 10),
            ));
            told.push(pthread_clockjoin_np(
                id,
                result,
                77,
                &in_milliseconds(wall, 10),
            ));
            MAY_END.store(true, Ordering::SeqCst);
            told.push(pthread_clockjoin_np(
                id,
                result,
                steady,
                &in_milliseconds(steady, 60_000),
            ));
            told.push((*result).addr() as c_int);

            let id = create(sleeps, 10);
            told.push(pthread_timedjoin_np(id, result, ptr::null()));
            told.push((*result).addr() as c_int);

            // Sooner or later the thread has ended.
            let at_last = |join: &dyn Fn() -> c_int, not_yet| loop {
                match join() {
                    error if error == not_yet => thread::sleep(Duration::from_millis(1)),
                    other => break other,
                }
            };
            let id = create(sleeps, 5);
            let past = in_milliseconds(wall, -5000);
            let join = || pthread_timedjoin_np(id, ptr::null_mut(), &past);
            told.push(at_last(&join, libc::ETIMEDOUT));
            let id = create(sleeps, 5);
            told.push(at_last(&|| pthread_tryjoin_np(id, result), libc::EBUSY));
            told.push((*result).addr() as c_int);
        }
        told
    });
}

#[test]
fn a_thread_is_detached_once() {
    is_the_same("a_thread_is_detached_once", || {
        let mut told = Vec::new();
        // SAFETY: the threads are there: they sleep meanwhile.
        unsafe {
            let id = create(sleeps, 300);
            told.push(libc::pthread_detach(id));
            told.push(libc::pthread_detach(id));
            told.push(join(id).unwrap_err());
            let detached = attributes(|attributes| {
                libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED);
            });
            let id = create_with(Some(&detached), sleeps, 300).unwrap();
            told.push(libc::pthread_detach(id));
            told.push(join(id).unwrap_err());
        }
        told
    });
}

extern "C-unwind" fn joins(id: *mut c_void) -> *mut c_void {
    match join(id.addr() as pthread_t) {
        Ok(left) => number(left),
        Err(error) => number(error as usize + 1000),
    }
}

#[test]
fn two_do_not_join_one_thread() {
    in_programs("two_do_not_join_one_thread", || {
        static ONE_IS_REFUSED: AtomicBool = AtomicBool::new(false);
        extern "C-unwind" fn waits(_: *mut c_void) -> *mut c_void {
            until(|| ONE_IS_REFUSED.load(Ordering::SeqCst));
            number(150)
        }
        extern "C-unwind" fn joins_or_is_refused(id: *mut c_void) -> *mut c_void {
            let told = joins(id);
            if told != number(150) {
                ONE_IS_REFUSED.store(true, Ordering::SeqCst);
            }
            told
        }
        on_a_green_thread(|| {
            let awaited = create(waits, 0);
            let joiners = [(); 2].map(|()| create(joins_or_is_refused, awaited as usize));
            let mut told = joiners.map(|joiner| join(joiner).unwrap());
            told.sort_unstable();
            assert_eq!(told, [150, libc::EINVAL as usize + 1000]);
        });
    });
}

#[test]
fn two_do_not_join_each_other() {
    in_programs("two_do_not_join_each_other", || {
        static FIRST: AtomicUsize = AtomicUsize::new(0);
        static TOLD: Mutex<Vec<usize>> = Mutex::new(Vec::new());
        // Who comes later is refused, and leaves that to the other one.
        extern "C-unwind" fn joins_and_tells(id: *mut c_void) -> *mut c_void {
            let told = joins(id);
            TOLD.lock().unwrap().push(told.addr());
            told
        }
        extern "C-unwind" fn joins_first(_: *mut c_void) -> *mut c_void {
            until(|| FIRST.load(Ordering::SeqCst) != 0);
            joins_and_tells(number(FIRST.load(Ordering::SeqCst)))
        }
        on_a_green_thread(|| {
            let second = create(joins_first, 0);
            let first = create(joins_and_tells, second as usize);
            FIRST.store(first as usize, Ordering::SeqCst);
            until(|| TOLD.lock().unwrap().len() == 2);
            assert_eq!(*TOLD.lock().unwrap(), [libc::EDEADLK as usize + 1000; 2]);
        });
    });
}

#[test]
fn two_of_any_kind_do_not_join_each_other() {
    in_programs("two_of_any_kind_do_not_join_each_other", || {
        static MAKER: AtomicUsize = AtomicUsize::new(0);
        static REFUSED: AtomicUsize = AtomicUsize::new(0);
        extern "C-unwind" fn joins_maker(milliseconds: *mut c_void) -> *mut c_void {
            thread::sleep(Duration::from_millis(milliseconds.addr() as u64));
            joins(number(MAKER.load(Ordering::SeqCst)))
        }
        /// Makes one that joins its maker, who joins it, both after so many milliseconds. With what one of them is refused: the later one.
        fn refused_of_two(maker: u64, made: usize) -> usize {
            // SAFETY: it has no preconditions.
            MAKER.store(unsafe { libc::pthread_self() } as usize, Ordering::SeqCst);
            let other = create(joins_maker, made);
            thread::sleep(Duration::from_millis(maker));
            match join(other) {
                Ok(left) => left - 1000,
                Err(error) => error as usize,
            }
        }
        extern "C-unwind" fn makes_one(is_later: *mut c_void) -> *mut c_void {
            let (maker, made) = if is_later.is_null() { (0, 50) } else { (50, 0) };
            REFUSED.store(refused_of_two(maker, made), Ordering::SeqCst);
            number(0)
        }
        roving_adopt::adopt().unwrap();
        assert_eq!(refused_of_two(0, 50), libc::EDEADLK as usize);
        // Each is given a policy, so that it is an OS thread, or is not.
        for (is_os_thread, is_later) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
            let attributes = attributes(|attributes| {
                if is_os_thread {
                    // SAFETY: the attributes are there.
                    unsafe {
                        libc::pthread_attr_setinheritsched(attributes, libc::PTHREAD_EXPLICIT_SCHED)
                    };
                }
            });
            REFUSED.store(0, Ordering::SeqCst);
            create_with(Some(&attributes), makes_one, is_later).unwrap();
            until(|| REFUSED.load(Ordering::SeqCst) != 0);
            assert_eq!(REFUSED.load(Ordering::SeqCst), libc::EDEADLK as usize);
        }
    });
}

#[test]
fn ids_are_of_one_thread_each() {
    is_the_same("ids_are_of_one_thread_each", || {
        extern "C-unwind" fn own_id(_: *mut c_void) -> *mut c_void {
            // SAFETY: they have no preconditions.
            unsafe {
                let id = libc::pthread_self();
                thread::sleep(Duration::from_millis(1));
                assert!(pthread_equal(id, libc::pthread_self()) != 0 && id == thrd_current());
                number(id as usize)
            }
        }
        // They have ended, but are not joined.
        let mut ids: Vec<_> = (0..200).map(|_| create(own_id, 0)).collect();
        thread::sleep(Duration::from_millis(50));
        let are_own = ids.iter().all(|&id| join(id) == Ok(id as usize));
        ids.sort_unstable();
        ids.dedup();
        (are_own, ids.len())
    });
}

#[test]
fn names_are_those_that_were_given() {
    is_the_same("names_are_those_that_were_given", || {
        let name_of = |id| {
            let mut name = [0; 16];
            // SAFETY: there is room for the answer.
            let error = unsafe { libc::pthread_getname_np(id, name.as_mut_ptr(), 16) };
            // SAFETY: it ends with a zero.
            (error, unsafe { CStr::from_ptr(name.as_ptr()) }.to_owned())
        };
        extern "C-unwind" fn inherits(_: *mut c_void) -> *mut c_void {
            let mut name = [0 as c_char; 16];
            // SAFETY: there is room for the answer.
            unsafe { libc::pthread_getname_np(libc::pthread_self(), name.as_mut_ptr(), 16) };
            number(usize::from_ne_bytes(
                name.map(|byte| byte as u8)[..8].try_into().unwrap(),
            ))
        }
        let inner = thread::Builder::new().name("of std".to_owned());
        let inner = inner.spawn(move || {
            // SAFETY: strings, and room for the answers.
            unsafe {
                let me = libc::pthread_self();
                let before = name_of(me);
                let set = libc::pthread_setname_np(me, c"set".as_ptr());
                let after = name_of(me);
                let too_long = libc::pthread_setname_np(me, c"sixteen letters.".as_ptr());
                let mut short = [0; 15];
                let too_short = libc::pthread_getname_np(me, short.as_mut_ptr(), 15);
                let inherited = join(create(inherits, 0));
                let by_prctl = libc::prctl(libc::PR_SET_NAME, c"by prctl, and too long".as_ptr());
                let mut asked = [0u8; 16];
                libc::prctl(libc::PR_GET_NAME, asked.as_mut_ptr());
                let fitting = libc::pthread_setname_np(me, c"fifteen letters".as_ptr());
                (
                    before,
                    set,
                    after,
                    too_long,
                    too_short,
                    inherited,
                    by_prctl,
                    asked,
                    fitting,
                    name_of(me),
                )
            }
        });
        let told = inner.unwrap().join().unwrap();
        let id = create(sleeps, 100);
        // SAFETY: a string; the thread sleeps meanwhile.
        let by_another = unsafe { libc::pthread_setname_np(id, c"by another".as_ptr()) };
        let named = name_of(id);
        join(id).unwrap();
        (told, by_another, named)
    });
}

#[test]
fn workers_keep_their_names() {
    in_programs("workers_keep_their_names", || {
        let comms = || {
            let tasks = fs::read_dir("/proc/self/task").unwrap();
            let comm = |task: fs::DirEntry| {
                fs::read_to_string(task.path().join("comm")).unwrap_or_default()
            };
            tasks.map(|task| comm(task.unwrap())).collect::<Vec<_>>()
        };
        on_a_green_thread(move || {
            let names = || {
                // SAFETY: strings.
                unsafe {
                    libc::prctl(libc::PR_SET_NAME, c"a green one".as_ptr());
                    libc::pthread_setname_np(libc::pthread_self(), c"a green one".as_ptr());
                }
            };
            let named = thread::Builder::new().name("a green one".to_owned());
            named.spawn(names).unwrap().join().unwrap();
            assert!(
                comms().iter().all(|comm| !comm.contains("green")),
                "{:?}",
                comms()
            );
        });
    });
}

#[test]
fn what_the_kernel_knows_is_told_as_of_a_thread() {
    is_the_same("what_the_kernel_knows_is_told_as_of_a_thread", || {
        let id = create(sleeps, 200);
        // SAFETY: the thread sleeps meanwhile; there is room for answers; signal 0 is none.
        unsafe {
            let me = libc::pthread_self();
            let of = |id| {
                let (mut policy, mut parameters) = (77, mem::zeroed::<libc::sched_param>());
                let asked = libc::pthread_getschedparam(id, &raw mut policy, &raw mut parameters);
                let mut set = |policy: c_int, priority: c_int| {
                    parameters.sched_priority = priority;
                    libc::pthread_setschedparam(id, policy, &raw const parameters)
                };
                let sets = [
                    set(libc::SCHED_OTHER, 0),
                    set(libc::SCHED_OTHER, 1),
                    set(libc::SCHED_FIFO, 0),
                    set(77, 0),
                    pthread_setschedprio(id, 0),
                    pthread_setschedprio(id, 1),
                ];
                let mut cpus: libc::cpu_set_t = mem::zeroed();
                let size = size_of::<libc::cpu_set_t>();
                let affinity = libc::pthread_getaffinity_np(id, size, &raw mut cpus);
                let same = libc::pthread_setaffinity_np(id, size, &raw const cpus);
                let none: libc::cpu_set_t = mem::zeroed();
                let no_cpu = libc::pthread_setaffinity_np(id, size, &raw const none);
                let signals = [0, -1, 1000].map(|signal| libc::pthread_kill(id, signal));
                (
                    asked,
                    policy,
                    sets,
                    affinity,
                    libc::CPU_COUNT(&cpus),
                    same,
                    no_cpu,
                    signals,
                )
            };
            let told = (of(me), of(id));
            join(id).unwrap();
            told
        }
    });
}

#[test]
fn a_thread_has_a_number_of_its_own() {
    in_programs("a_thread_has_a_number_of_its_own", || {
        roving_adopt::adopt().unwrap();
        // SAFETY: they have no preconditions; the signal is none.
        let look = || unsafe {
            let number = libc::gettid();
            assert_eq!(libc::syscall(libc::SYS_gettid), i64::from(number));
            let kill =
                |number: libc::pid_t| libc::syscall(libc::SYS_tgkill, libc::getpid(), number, 0);
            assert_eq!(kill(number), 0);
            number
        };
        let is_known = |number| fs::exists(format!("/proc/self/task/{number}")).unwrap();
        let os_thread = look();
        assert!(is_known(os_thread));
        let threads = (0..100).map(|_| {
            thread::spawn(move || {
                let number = look();
                for _ in 0..10 {
                    thread::sleep(Duration::from_millis(1));
                    assert_eq!(look(), number);
                }
                // It is none of the kernel's.
                assert!(!is_known(number));
                number
            })
        });
        let threads: Vec<_> = threads.collect();
        let numbers: HashSet<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(!numbers.contains(&os_thread));
        // One after another, each has another one.
        let numbers: HashSet<_> = (0..50)
            .map(|_| thread::spawn(look).join().unwrap())
            .collect();
        assert_eq!(numbers.len(), 50);
        static NUMBERS: Mutex<Vec<libc::pid_t>> = Mutex::new(Vec::new());
        let all = Arc::new(Barrier::new(50));
        let threads = (0..50).map(|_| {
            let all = all.clone();
            thread::spawn(move || {
                NUMBERS.lock().unwrap().push(look());
                all.wait();
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        let numbers: HashSet<_> = NUMBERS.lock().unwrap().iter().copied().collect();
        assert_eq!(numbers.len(), 50);
    });
}

#[test]
fn an_alternate_stack_is_there_and_stays() {
    in_programs("an_alternate_stack_is_there_and_stays", || {
        roving_adopt::adopt().unwrap();
        let ask = || {
            // SAFETY: zeroes are a valid value, and there is room for the answer.
            unsafe {
                let mut stack: libc::stack_t = mem::zeroed();
                assert_eq!(libc::sigaltstack(ptr::null(), &raw mut stack), 0);
                stack
            }
        };
        let set = |flags, size| {
            let stack = libc::stack_t {
                ss_sp: ptr::without_provenance_mut(1 << 16),
                ss_flags: flags,
                ss_size: size,
            };
            // SAFETY: it is not used.
            let failed = unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
            if failed == 0 {
                None
            } else {
                io::Error::last_os_error().raw_os_error()
            }
        };
        thread::spawn(move || {
            assert_eq!(ask().ss_flags, 0);
            assert_eq!(set(0, 1 << 16), None);
            assert_eq!(set(libc::SS_DISABLE, 0), None);
            assert_eq!(set(0, 1), Some(libc::ENOMEM));
            assert_eq!(set(77, 1 << 16), Some(libc::EINVAL));
            assert_eq!(ask().ss_flags, 0);
            static ON: AtomicUsize = AtomicUsize::new(0);
            extern "C" fn handler(_: c_int) {
                let local = 0_u8;
                ON.store(ptr::from_ref(&local).addr(), Ordering::SeqCst);
            }
            // SAFETY: the handler does nothing but to note.
            unsafe {
                let mut action: libc::sigaction = mem::zeroed();
                action.sa_sigaction = handler as *const () as usize;
                action.sa_flags = libc::SA_ONSTACK;
                libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut());
                libc::raise(libc::SIGUSR1);
            }
            let here = 0_u8;
            let distance = ptr::from_ref(&here)
                .addr()
                .abs_diff(ON.load(Ordering::SeqCst));
            assert!(
                distance > 1 << 16,
                "the handler ran on the thread's own stack"
            );
        })
        .join()
        .unwrap();
    });
}

#[test]
fn who_asks_whether_a_thread_has_ended_holds_nobody_up() {
    in_programs(
        "who_asks_whether_a_thread_has_ended_holds_nobody_up",
        || {
            extern "C-unwind" fn names_itself(_: *mut c_void) -> *mut c_void {
                for _ in 0..1000 {
                    // SAFETY: a string.
                    unsafe { libc::pthread_setname_np(libc::pthread_self(), c"named".as_ptr()) };
                    thread::yield_now();
                }
                ptr::null_mut()
            }
            on_a_green_thread(|| {
                let id = create(names_itself, 0);
                // SAFETY: the thread is there until it is joined.
                while unsafe { pthread_tryjoin_np(id, ptr::null_mut()) } == libc::EBUSY {}
            });
        },
    );
}

#[test]
fn who_waits_for_a_futex_and_is_moved_is_woken() {
    in_programs("who_waits_for_a_futex_and_is_moved_is_woken", || {
        static WORDS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
        // SAFETY: the words stay.
        let futex = |operation: c_int, value: u32, count: usize, expected: u32| unsafe {
            let [one, other] = WORDS.each_ref().map(AtomicU32::as_ptr);
            libc::syscall(
                libc::SYS_futex,
                one,
                operation,
                value,
                count,
                other,
                expected,
            )
        };
        on_a_green_thread(move || {
            let waits = thread::spawn(move || {
                while WORDS[0].load(Ordering::SeqCst) == 0 {
                    futex(libc::FUTEX_WAIT, 0, 0, 0);
                }
            });
            thread::sleep(Duration::from_millis(20));
            WORDS[0].store(1, Ordering::SeqCst);
            // None is woken, and all are moved.
            assert!(futex(libc::FUTEX_CMP_REQUEUE, 0, usize::MAX >> 33, 1) >= 0);
            // SAFETY: the word stays.
            let moved = unsafe {
                let other = WORDS[1].as_ptr();
                libc::syscall(
                    libc::SYS_futex,
                    other,
                    libc::FUTEX_WAKE,
                    c_int::MAX,
                    0,
                    0,
                    0,
                )
            };
            assert!(moved >= 0);
            waits.join().unwrap();
        });
    });
}

#[test]
fn a_thread_signals_and_cancels_itself() {
    is_the_same("a_thread_signals_and_cancels_itself", || {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
            // SAFETY: the system has given it.
            let value = unsafe { (*info).si_value().sival_ptr.addr() };
            SEEN.store(signal as usize * 1000 + value, Ordering::SeqCst);
        }
        extern "C-unwind" fn cancels_itself(_: *mut c_void) -> *mut c_void {
            // SAFETY: there is nothing on this stack.
            unsafe {
                libc::pthread_cancel(libc::pthread_self());
                pthread_testcancel();
            }
            number(1)
        }
        // SAFETY: the handler does nothing but to note.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut());
            let me = libc::pthread_self();
            let killed = libc::pthread_kill(me, libc::SIGUSR1);
            let seen = SEEN.swap(0, Ordering::SeqCst) / 1000;
            let raised = libc::raise(libc::SIGUSR1);
            let raised_seen = SEEN.swap(0, Ordering::SeqCst) / 1000;
            let queued = libc::pthread_sigqueue(
                me,
                libc::SIGUSR1,
                libc::sigval {
                    sival_ptr: number(7),
                },
            );
            let queued_seen = SEEN.swap(0, Ordering::SeqCst);
            (
                killed,
                seen,
                raised,
                raised_seen,
                queued,
                queued_seen,
                join(create(cancels_itself, 0)),
            )
        }
    });
}

#[test]
fn what_others_cannot_be_told_is_refused() {
    in_programs("what_others_cannot_be_told_is_refused", || {
        on_a_green_thread(|| {
            let id = create(sleeps, 100);
            // SAFETY: the thread sleeps meanwhile.
            unsafe {
                let mut clock = 0;
                assert_eq!(
                    libc::pthread_getcpuclockid(id, &raw mut clock),
                    libc::ENOENT
                );
                join(id).unwrap();
                // It is there no more.
                assert_eq!(libc::pthread_kill(id, 0), libc::ESRCH);
                assert_eq!(libc::pthread_detach(id), libc::ESRCH);
                assert_eq!(join(id), Err(libc::ESRCH));
            }
        });
    });
}

#[test]
fn threads_as_c_has_them() {
    is_the_same("threads_as_c_has_them", || {
        extern "C" fn ends(with: *mut c_void) -> c_int {
            let time = timespec {
                tv_sec: 0,
                tv_nsec: 1_000_000,
            };
            // SAFETY: a time.
            unsafe {
                thrd_sleep(&raw const time, ptr::null_mut());
                thrd_yield();
            }
            -(with.addr() as c_int)
        }
        // SAFETY: there is room for ids and results; the threads are there until they are joined.
        unsafe {
            let mut id = 0;
            let created = thrd_create(&raw mut id, ends, number(7));
            let mut result = 0;
            let joined = thrd_join(id, &raw mut result);
            thrd_create(&raw mut id, ends, number(7));
            let detached = thrd_detach(id);
            let invalid = timespec {
                tv_sec: 0,
                tv_nsec: -1,
            };
            let slept = thrd_sleep(&raw const invalid, ptr::null_mut());
            (
                created,
                joined,
                result,
                detached,
                slept,
                thrd_join(thrd_current(), ptr::null_mut()),
            )
        }
    });
}

#[test]
fn who_exits_leaves_what_it_says() {
    is_the_same("who_exits_leaves_what_it_says", || {
        extern "C-unwind" fn exits(with: *mut c_void) -> *mut c_void {
            // SAFETY: there is nothing on this stack.
            unsafe { pthread_exit(with) }
        }
        // The blocks of those that have exited are used again.
        (0..100).map(|n| join(create(exits, n))).collect::<Vec<_>>()
    });
}

/// Whether a thread with these attributes runs on an OS thread that it has for itself.
fn is_os_thread(attributes: &pthread_attr_t) -> bool {
    extern "C-unwind" fn asks(_: *mut c_void) -> *mut c_void {
        // SAFETY: it has no preconditions. That of the C library is even.
        number(unsafe { libc::pthread_self() } as usize & 1)
    }
    join(create_with(Some(attributes), asks, 0).unwrap()).unwrap() == 0
}

#[test]
fn who_asks_for_what_is_the_kernels_gets_an_os_thread() {
    in_programs("who_asks_for_what_is_the_kernels_gets_an_os_thread", || {
        on_a_green_thread(|| {
            // SAFETY: the attributes are initialised, and what they are set to is valid.
            unsafe {
                assert!(!is_os_thread(&attributes(|_| ())));
                assert!(!is_os_thread(&attributes(|attributes| {
                    libc::pthread_attr_setstacksize(attributes, 64 << 10);
                })));
                assert!(is_os_thread(&attributes(|attributes| {
                    libc::pthread_attr_setinheritsched(attributes, libc::PTHREAD_EXPLICIT_SCHED);
                })));
                let mut mask = mem::zeroed();
                libc::sigemptyset(&raw mut mask);
                assert!(!is_os_thread(&attributes(|attributes| {
                    pthread_attr_setsigmask_np(attributes, &raw const mask);
                })));
                let mut cpus = mem::zeroed();
                let size = size_of::<libc::cpu_set_t>();
                libc::sched_getaffinity(0, size, &raw mut cpus);
                assert!(is_os_thread(&attributes(|attributes| {
                    pthread_attr_setaffinity_np(attributes, size, &raw const cpus);
                })));
                let mut stack = vec![0u8; 1 << 20];
                assert!(is_os_thread(&attributes(|attributes| {
                    libc::pthread_attr_setstack(attributes, stack.as_mut_ptr().cast(), stack.len());
                })));
                assert!(is_os_thread(&attributes(|attributes| {
                    libc::pthread_attr_setstacksize(attributes, 2 << 30);
                })));
            }
        });
    });
}

#[test]
fn threads_of_files_that_are_excepted_stay_os_threads() {
    in_programs("threads_of_files_that_are_excepted_stay_os_threads", || {
        const NAMES: &str = "ROVING_ADOPT";
        if std::env::var_os(NAMES).is_some() {
            roving_adopt::adopt().unwrap();
            println!("an OS thread: {}", is_os_thread(&attributes(|_| ())));
            return;
        }
        let program = std::env::current_exe().unwrap();
        let file = program.file_name().unwrap().to_str().unwrap();
        for (names, is_excepted) in [
            (format!("-{file}"), true),
            (format!("-libother, -{file}"), true),
            ("-libother".to_owned(), false),
            (file.to_owned(), false),
            (String::new(), false),
        ] {
            let output = Command::new(&program)
                .args([
                    "threads_of_files_that_are_excepted_stay_os_threads",
                    "--exact",
                    "--nocapture",
                ])
                .env(NAMES, &names)
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(
                told.contains(&format!("an OS thread: {is_excepted}")),
                "{names}: {told}"
            );
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                complaint.contains("ROVING_ADOPT="),
                !names.starts_with('-'),
                "{complaint}"
            );
        }
    });
}

#[test]
fn twenty_thousand_threads() {
    in_programs("twenty_thousand_threads", || {
        on_a_green_thread(|| {
            let (sender, receiver) = std::sync::mpsc::channel::<()>();
            let receiver = std::sync::Arc::new(std::sync::Mutex::new(receiver));
            let waits = || {
                let receiver = receiver.clone();
                move || receiver.lock().unwrap().recv().is_err()
            };
            let threads: Vec<_> = (0..20_000).map(|_| thread::spawn(waits())).collect();
            drop(sender);
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        });
    });
}

#[test]
fn many_are_detached() {
    in_programs("many_are_detached", || {
        on_a_green_thread(|| {
            static RUN: AtomicUsize = AtomicUsize::new(0);
            for n in 0..1000 {
                let thread = thread::spawn(|| RUN.fetch_add(1, Ordering::SeqCst));
                if n % 2 == 0 {
                    thread::yield_now();
                }
                drop(thread);
            }
            common::until(|| RUN.load(Ordering::SeqCst) == 1000);
        });
    });
}

/// What `clock_nanosleep` gives for a time that comes in so many milliseconds, or now if there is none left.
fn sleep_until(clock: libc::clockid_t, milliseconds: i64) -> c_int {
    let until = in_milliseconds(clock, milliseconds);
    // SAFETY: it is a time, and what is left is not asked for.
    let error = unsafe {
        libc::clock_nanosleep(
            clock,
            libc::TIMER_ABSTIME,
            &raw const until,
            ptr::null_mut(),
        )
    };
    let now = in_milliseconds(clock, 0);
    assert!(error != 0 || (now.tv_sec, now.tv_nsec) >= (until.tv_sec, until.tv_nsec));
    error
}

#[test]
fn who_sleeps_until_a_time_of_any_clock_takes_no_os_thread() {
    in_programs(
        "who_sleeps_until_a_time_of_any_clock_takes_no_os_thread",
        || {
            on_a_green_thread(|| {
                let sleeps = (0..MANY).map(|_| {
                    thread::spawn(|| {
                        [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC]
                            .map(|clock| sleep_until(clock, 100))
                    })
                });
                let sleeps: Vec<_> = sleeps.collect();
                thread::sleep(Duration::from_millis(50));
                let os_threads = os_threads();
                assert!(os_threads < MANY / 2, "{os_threads}");
                for sleeps in sleeps {
                    assert_eq!(sleeps.join().unwrap(), [0; 2]);
                }
                // A clock that stands still unless others compute.
                let sleeps = thread::spawn(|| sleep_until(libc::CLOCK_PROCESS_CPUTIME_ID, 20));
                while !sleeps.is_finished() {
                    thread::yield_now();
                }
                assert_eq!(sleeps.join().unwrap(), 0);
            });
        },
    );
}

#[test]
fn what_is_no_time_of_a_clock_is_refused() {
    is_the_same("what_is_no_time_of_a_clock_is_refused", || {
        let until = |clock, tv_sec, tv_nsec| {
            let time = timespec { tv_sec, tv_nsec };
            // SAFETY: it is a time, or not, and what is left is not asked for.
            unsafe {
                libc::clock_nanosleep(clock, libc::TIMER_ABSTIME, &raw const time, ptr::null_mut())
            }
        };
        [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC].map(|clock| {
            (
                until(clock, 1, 1_000_000_000),
                until(clock, 1, -1),
                until(clock, 0, 0),
                sleep_until(clock, -10),
                sleep_until(clock, 10),
            )
        })
    });
}

#[test]
fn attributes_are_told_as_they_were_asked_for() {
    is_the_same("attributes_are_told_as_they_were_asked_for", || {
        unsafe extern "C" {
            fn pthread_attr_getguardsize(
                attributes: *const pthread_attr_t,
                size: *mut usize,
            ) -> c_int;
            fn pthread_attr_getdetachstate(
                attributes: *const pthread_attr_t,
                state: *mut c_int,
            ) -> c_int;
            fn pthread_attr_getstack(
                attributes: *const pthread_attr_t,
                start: *mut *mut c_void,
                size: *mut usize,
            ) -> c_int;
            fn pthread_attr_getaffinity_np(
                attributes: *const pthread_attr_t,
                size: usize,
                cpus: *mut libc::cpu_set_t,
            ) -> c_int;
        }
        type Told = (usize, usize, c_int, bool, bool);
        static TOLD: Mutex<Option<Told>> = Mutex::new(None);
        extern "C-unwind" fn tells(_: *mut c_void) -> *mut c_void {
            // SAFETY: there is room for the answers.
            let told = unsafe {
                let mut attributes = mem::zeroed();
                let me = libc::pthread_self();
                assert_eq!(libc::pthread_getattr_np(me, &raw mut attributes), 0);
                let (mut start, mut size, mut guard, mut detached) = (ptr::null_mut(), 0, 0, 0);
                pthread_attr_getstack(&raw const attributes, &raw mut start, &raw mut size);
                pthread_attr_getguardsize(&raw const attributes, &raw mut guard);
                pthread_attr_getdetachstate(&raw const attributes, &raw mut detached);
                let here = (&raw const size).addr();
                let is_on_it = (start.addr()..start.addr() + size).contains(&here);
                let [mut told, mut has]: [libc::cpu_set_t; 2] = mem::zeroed();
                let bytes = size_of_val(&told);
                pthread_attr_getaffinity_np(&raw const attributes, bytes, &raw mut told);
                libc::sched_getaffinity(0, bytes, &raw mut has);
                libc::pthread_attr_destroy(&raw mut attributes);
                (
                    size,
                    guard,
                    detached,
                    is_on_it,
                    libc::CPU_EQUAL(&told, &has),
                )
            };
            *TOLD.lock().unwrap() = Some(told);
            ptr::null_mut()
        }
        // SAFETY: it has no preconditions.
        let least = unsafe { libc::sysconf(libc::_SC_THREAD_STACK_MIN) } as usize;
        let asked = [
            (1 << 20, 4096),
            ((1 << 20) + 4096, 16 * 4096),
            (least.max(64 << 10), 0),
        ];
        asked.map(|(stack, guard)| {
            [libc::PTHREAD_CREATE_JOINABLE, libc::PTHREAD_CREATE_DETACHED].map(|detached| {
                let attributes = attributes(|attributes| {
                    // SAFETY: they are initialised.
                    unsafe {
                        assert_eq!(libc::pthread_attr_setstacksize(attributes, stack), 0);
                        libc::pthread_attr_setguardsize(attributes, guard);
                        libc::pthread_attr_setdetachstate(attributes, detached);
                    }
                });
                let id = create_with(Some(&attributes), tells, 0).unwrap();
                if detached == libc::PTHREAD_CREATE_JOINABLE {
                    join(id).unwrap();
                }
                loop {
                    if let Some(told) = TOLD.lock().unwrap().take() {
                        assert_eq!(told, (stack, guard, detached, true, true));
                        return told;
                    }
                    thread::yield_now();
                }
            })
        })
    });
}

#[test]
fn what_is_asked_of_a_thread_that_has_ended_is_refused() {
    is_the_same(
        "what_is_asked_of_a_thread_that_has_ended_is_refused",
        || {
            extern "C-unwind" fn nothing(_: *mut c_void) -> *mut c_void {
                ptr::null_mut()
            }
            let id = create(nothing, 0);
            let mut parameters = sched_param { sched_priority: 0 };
            let mut ask = || {
                let mut policy = 0;
                // SAFETY: it is joined later, and there is room for the answers.
                unsafe { libc::pthread_getschedparam(id, &raw mut policy, &raw mut parameters) }
            };
            while ask() == 0 {
                thread::sleep(Duration::from_millis(1));
            }
            let told = ask();
            let mut clock = 0;
            // SAFETY: it is joined later. A signal that it is sent is lost.
            let told = unsafe {
                (
                    told,
                    libc::pthread_setschedparam(id, libc::SCHED_OTHER, &raw const parameters),
                    pthread_setschedprio(id, 0),
                    libc::pthread_getcpuclockid(id, &raw mut clock),
                    libc::pthread_kill(id, libc::SIGUSR1),
                    libc::pthread_cancel(id),
                )
            };
            join(id).unwrap();
            told
        },
    );
}

#[test]
fn an_affinity_is_inherited() {
    is_the_same("an_affinity_is_inherited", || {
        extern "C-unwind" fn has(_: *mut c_void) -> *mut c_void {
            // SAFETY: there is room for the answer.
            let count = unsafe {
                let mut cpus: libc::cpu_set_t = mem::zeroed();
                libc::sched_getaffinity(0, size_of_val(&cpus), &raw mut cpus);
                libc::CPU_COUNT(&cpus)
            };
            number(count as usize)
        }
        extern "C-unwind" fn takes_one(_: *mut c_void) -> *mut c_void {
            // SAFETY: it is a set with one of those that there are.
            unsafe {
                let mut cpus: libc::cpu_set_t = mem::zeroed();
                libc::sched_getaffinity(0, size_of_val(&cpus), &raw mut cpus);
                let first = (0..1024).find(|&cpu| libc::CPU_ISSET(cpu, &cpus)).unwrap();
                libc::CPU_ZERO(&mut cpus);
                libc::CPU_SET(first, &mut cpus);
                let me = libc::pthread_self();
                let set = libc::pthread_setaffinity_np(me, size_of_val(&cpus), &raw const cpus);
                assert_eq!(set, 0);
            }
            number(join(create(has, 0)).unwrap())
        }
        // It is given a policy, so that it is an OS thread.
        let attributes = attributes(|attributes| {
            // SAFETY: the attributes are there.
            unsafe { libc::pthread_attr_setinheritsched(attributes, libc::PTHREAD_EXPLICIT_SCHED) };
        });
        join(create_with(Some(&attributes), takes_one, 0).unwrap())
    });
}
