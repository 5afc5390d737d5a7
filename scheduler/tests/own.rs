//! Thread-locals of one's own, as the default and when they are asked for.
//!
//! - it is known which mode a runtime is in, and why not in a better one
//! - what other threads do meanwhile does not decide it
//! - the C library finds the thread-locals of a green thread, and tells where they are
//! - blocks that were given back to the system come back as new
//! - what the C library does for all threads reaches the workers while they run green threads

mod common;
#[cfg(target_os = "linux")]
#[path = "common/old_kernel.rs"]
mod old_kernel;

use std::cell::{Cell, RefCell};
use std::hash::RandomState;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use common::{child, each_worker_count, is_child, not_tested, run, stacks_returned, watchdog};
use roving_scheduler::{Builder, Runtime, ThreadLocals, stacks, sync, thread};

/// A runtime with own thread-locals, where they can be had.
fn own_runtime(workers: usize) -> Option<Runtime> {
    match Builder::new().workers(workers).own_thread_locals().build() {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            not_tested::without_own_thread_locals(error);
            None
        }
    }
}

#[test]
fn a_runtime_tells_its_mode_and_why_not_a_better_one() {
    let _stacks = stacks_returned();
    let pinned = Builder::new().pinned_thread_locals().build().unwrap();
    assert_eq!(pinned.thread_locals(), ThreadLocals::Pinned);
    assert_eq!(pinned.no_own_thread_locals(), None);
    let asked = Builder::new().own_thread_locals().build();
    let default = Builder::new().build().unwrap();
    match (asked, default.no_own_thread_locals()) {
        (Ok(own), None) => assert_eq!(own.thread_locals(), ThreadLocals::Own),
        (Err(error), Some(why)) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("thread-locals"), "{error}");
            assert_eq!(error.to_string(), why.to_string());
            assert_eq!(default.thread_locals(), ThreadLocals::Pinned);
        }
        // The environment or the build asks for another mode.
        (Ok(_) | Err(_), _) => assert_ne!(default.thread_locals(), ThreadLocals::Own),
    }
}

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(17) };
    static LIST: RefCell<Vec<u32>> = RefCell::new(vec![1, 2, 3]);
}

/// Where the thread-locals of each module are, from the current thread's pointer, as the C library tells it.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn modules() -> Vec<(usize, isize)> {
    unsafe extern "C" fn visit(
        module: *mut libc::dl_phdr_info,
        _size: usize,
        found: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: dl_iterate_phdr passes a module, and what it was given; the word at the thread pointer is
        // the pointer.
        let (module, found, pointer) = unsafe {
            let pointer: usize;
            std::arch::asm!("mov {}, fs:0", out(reg) pointer);
            (&*module, &mut *found.cast::<Vec<_>>(), pointer)
        };
        if module.dlpi_tls_modid != 0 {
            let offset = module.dlpi_tls_data.addr().wrapping_sub(pointer);
            found.push((module.dlpi_tls_modid, offset.cast_signed()));
        }
        0
    }
    let mut found = Vec::new();
    // SAFETY: `visit` takes what it is given here.
    unsafe { libc::dl_iterate_phdr(Some(visit), ptr::from_mut(&mut found).cast()) };
    found
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn the_c_library_tells_where_thread_locals_of_modules_are() {
    let _stacks = stacks_returned();
    let Some(runtime) = own_runtime(2) else {
        return;
    };
    let of_os_thread = std::thread::spawn(modules).join().unwrap();
    assert!(!of_os_thread.is_empty());
    // The first look changes nothing that the second one could see.
    assert_eq!(
        runtime.run(|| (modules(), modules())),
        (of_os_thread.clone(), of_os_thread)
    );
}

#[test]
fn more_threads_than_stay_warm_find_their_thread_locals_new_each_time() {
    const THREADS: usize = 4000;
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let Some(runtime) = own_runtime(2) else {
        return;
    };
    for _ in 0..3 {
        let parked: Vec<_> = (0..THREADS)
            .map(|_| {
                runtime.spawn(|| {
                    assert_eq!(COUNT.replace(0), 17);
                    LIST.with_borrow_mut(|list| {
                        assert_eq!(*list, [1, 2, 3]);
                        list.push(4);
                        thread::park();
                        assert_eq!(*list, [1, 2, 3, 4]);
                    });
                    assert_eq!(COUNT.get(), 0);
                })
            })
            .collect();
        parked.iter().for_each(|p| p.thread().unpark());
        parked.into_iter().for_each(|p| p.join().unwrap());
    }
}

/// A thread's state of the C library's random numbers, since glibc 2.41, is in memory that the system may drop.
#[cfg(target_os = "linux")]
#[test]
fn blocks_that_are_given_back_take_no_state_of_random_numbers_along() {
    const NAME: &str = "blocks_that_are_given_back_take_no_state_of_random_numbers_along";
    const THREADS: usize = 1000;
    if !is_child(NAME) {
        let _watchdog = watchdog("");
        run(child(NAME));
        return;
    }
    let droppable = || {
        let mappings = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (mut size, mut all) = (0, 0);
        for line in mappings.lines() {
            if let Some(kilobytes) = line.strip_prefix("Size:") {
                size = kilobytes
                    .trim_end_matches(" kB")
                    .trim()
                    .parse::<usize>()
                    .unwrap();
            } else if line
                .strip_prefix("VmFlags:")
                .is_some_and(|flags| flags.split(' ').any(|f| f == "dp"))
            {
                all += size;
            }
        }
        all
    };
    let mut after_first = None;
    for _ in 0..5 {
        // With the last runtime, all but a few stacks and their blocks are given back.
        let Some(runtime) = own_runtime(2) else {
            return;
        };
        let all_are_there = Arc::new(sync::Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let all_are_there = all_are_there.clone();
                runtime.spawn(move || {
                    drop(RandomState::new());
                    all_are_there.wait();
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        drop(runtime);
        let now = droppable();
        let first = *after_first.get_or_insert(now);
        assert!(
            now <= first + first / 2,
            "{first} KiB after the first time, now {now}"
        );
    }
}

#[test]
fn credentials_are_changed_on_every_os_thread() {
    // SAFETY: these have no preconditions; what is set is what is there.
    let set = || unsafe { libc::setuid(libc::getuid()) };
    each_worker_count(|runtime| {
        let busy = Arc::new(AtomicBool::new(true));
        let computing: Vec<_> = (1..runtime.workers())
            .map(|_| {
                let busy = busy.clone();
                runtime.spawn(move || {
                    while busy.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            assert_eq!(set(), 0);
            assert_eq!(runtime.run(set), 0);
        }
        busy.store(false, Ordering::Relaxed);
        computing.into_iter().for_each(|c| c.join().unwrap());
    });
}

/// Several runtimes at once are the first of their process, while threads come and go, on stacks of the C library's and on
/// others, and credentials change.
#[cfg(target_os = "linux")]
#[test]
fn what_other_threads_do_meanwhile_does_not_decide_the_mode() {
    const NAME: &str = "what_other_threads_do_meanwhile_does_not_decide_the_mode";
    if !is_child(NAME) {
        let _watchdog = watchdog("");
        for _ in 0..20 {
            run(child(NAME));
        }
        return;
    }
    static STOP: AtomicBool = AtomicBool::new(false);
    let until_stopped = |act: fn()| {
        std::thread::spawn(move || {
            while !STOP.load(Ordering::Relaxed) {
                act();
            }
        })
    };
    let mut others = vec![
        until_stopped(thread_on_a_stack_of_its_programs),
        until_stopped(thread_on_a_stack_of_its_programs),
        until_stopped(|| std::thread::spawn(|| ()).join().unwrap()),
    ];
    // Who asks for compact stacks is told not to: the C library may hang.
    if std::env::var_os("ROVING_COMPACT_STACKS").is_none() {
        others.push(until_stopped(|| {
            // SAFETY: sets what is set.
            assert_eq!(unsafe { libc::setuid(libc::getuid()) }, 0);
        }));
    }
    let at_once = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                at_once.wait();
                if let Some(runtime) = own_runtime(2) {
                    assert_eq!(runtime.run(|| COUNT.replace(18)), 17);
                }
            });
        }
    });
    STOP.store(true, Ordering::Relaxed);
    others.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A thread that comes and goes.
#[cfg(target_os = "linux")]
fn thread_on_a_stack_of_its_programs() {
    extern "C" fn nothing(_: *mut libc::c_void) -> *mut libc::c_void {
        ptr::null_mut()
    }

    let mut stack = vec![0_u128; 256 << 10 >> 4];
    let mut attributes = MaybeUninit::uninit();
    let mut thread = 0;
    // SAFETY: the attributes are initialised first, and the thread has ended before its stack goes.
    unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        let start = stack.as_mut_ptr().cast();
        assert_eq!(
            libc::pthread_attr_setstack(attributes.as_mut_ptr(), start, size_of_val(&*stack)),
            0
        );
        let created =
            libc::pthread_create(&mut thread, attributes.as_ptr(), nothing, ptr::null_mut());
        assert_eq!(created, 0);
        assert_eq!(libc::pthread_join(thread, ptr::null_mut()), 0);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn where_they_cannot_be_had_it_is_an_error_to_demand_them_and_a_fact_to_be_asked_for() {
    const NAME: &str =
        "where_they_cannot_be_had_it_is_an_error_to_demand_them_and_a_fact_to_be_asked_for";
    if !is_child(NAME) {
        let _watchdog = watchdog("");
        let mut child = child(NAME);
        child.env_remove("ROVING_THREAD_LOCALS");
        run(child);
        return;
    }
    old_kernel::hide_handler_of_signal_to_all_threads();
    let os_threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = os_threads();
    for _ in 0..3 {
        let error = Builder::new().own_thread_locals().build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("thread-locals: "), "{error}");
    }
    // The system counts one that has ended for a moment more.
    while os_threads() > before {
        std::thread::yield_now();
    }
    assert_eq!((os_threads(), stacks().in_use), (before, 0));
    let default = Builder::new().workers(2).build().unwrap();
    if cfg!(roving_shared) {
        return;
    }
    assert_eq!(default.thread_locals(), ThreadLocals::Pinned);
    assert!(default.no_own_thread_locals().is_some());
    assert_eq!(default.run(|| thread::spawn(|| 1).join().unwrap()), 1);
}
