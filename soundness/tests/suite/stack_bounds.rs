//! Who asks the C library for the bounds of the stack that it is on is told those of the green thread's.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::ffi::{CStr, CString, c_void};
use std::hint;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;
use std::sync::Mutex;

use roving::thread;
use roving_soundness::{THREADS, many, many_moving_threads, migrate, on_moving_threads};

const LIBRARY: &str = env!("LAZY_LIBRARY");

unsafe extern "C" {
    fn locals_stack(size: *mut usize) -> *const u8;
}
type Stack = unsafe extern "C" fn(*mut usize) -> *const u8;

/// The stack of a thread, and the size of its guard.
#[inline(never)]
fn bounds_of(thread: libc::pthread_t) -> (Range<usize>, usize) {
    let (mut start, mut size, mut guard) = (ptr::null_mut(), 0, 0);
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: the attributes are initialised by the first call, if it succeeds.
    unsafe {
        assert_eq!(libc::pthread_getattr_np(thread, attributes.as_mut_ptr()), 0);
        libc::pthread_attr_getstack(attributes.as_ptr(), &mut start, &mut size);
        libc::pthread_attr_getguardsize(attributes.as_ptr(), &mut guard);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    (start.addr()..start.addr() + size, guard)
}

fn this() -> libc::pthread_t {
    // SAFETY: it has no preconditions.
    unsafe { libc::pthread_self() }
}

fn bounds() -> Range<usize> {
    bounds_of(this()).0
}

/// Checks that a stack with `size` bytes holds what is on it now.
#[inline(never)]
fn expect_to_be_on(stack: &Range<usize>, size: usize) {
    let local = 0_u8;
    assert!(stack.contains(&(&raw const local).addr()));
    // Thread-locals lie above it.
    let whole = stack.end - stack.start;
    assert!((size..size + (32 << 10)).contains(&whole), "{whole}");
}

#[test]
fn they_are_those_of_the_green_stack_wherever_it_runs() {
    on_moving_threads(|runtime| {
        for size in [16 << 10, 64 << 10, 1 << 20, 8 << 20] {
            // Again on stacks that were used before.
            for _ in 0..3 {
                let measures = move |number| {
                    let (stack, guard) = bounds_of(this());
                    assert!(guard >= 4096, "{guard}");
                    for round in 0..20 {
                        expect_to_be_on(&stack, size);
                        migrate(number + round);
                        assert_eq!(bounds(), stack);
                    }
                    stack
                };
                let stacks = runtime.run(|| {
                    let sized = |number| {
                        let builder = thread::Builder::new().stack_size(size);
                        builder.spawn(move || measures(number)).unwrap()
                    };
                    let threads: Vec<_> = (0..THREADS).map(sized).collect();
                    threads
                        .into_iter()
                        .map(|t| t.join().unwrap())
                        .collect::<Vec<_>>()
                });
                assert!(stacks.iter().all(|stack| !stack.is_empty()));
            }
        }
    });
}

#[test]
fn stacks_of_threads_that_are_alive_are_apart() {
    on_moving_threads(|runtime| {
        static SEEN: Mutex<Vec<Range<usize>>> = Mutex::new(Vec::new());
        SEEN.lock().unwrap().clear();
        many(runtime, |_| {
            SEEN.lock().unwrap().push(bounds());
            while SEEN.lock().unwrap().len() < THREADS {
                migrate(0);
            }
        });
        let mut seen = SEEN.lock().unwrap();
        seen.sort_by_key(|stack| stack.start);
        assert!(seen.is_sorted_by(|lower, upper| lower.end <= upper.start));
    });
}

#[test]
fn any_thread_may_ask_for_those_of_another() {
    on_moving_threads(|runtime| {
        let (tell, told) = std::sync::mpsc::channel();
        let green = runtime.spawn(move || {
            tell.send((this(), bounds())).unwrap();
            thread::park();
        });
        let (thread, stack) = told.recv().unwrap();
        assert_eq!(bounds_of(thread).0, stack);
        runtime.run(|| assert_eq!(bounds_of(thread).0, stack));
        let (main, here) = (this(), bounds());
        runtime.run(|| assert_eq!(bounds_of(main).0, here));
        green.thread().unpark();
        green.join().unwrap();
    });
}

#[test]
fn those_of_os_threads_are_what_they_were() {
    std::thread::spawn(|| {
        let local = 0_u8;
        assert!(bounds().contains(&(&raw const local).addr()));
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the first call initialises the attributes, and a set of processors may be zeroes.
        unsafe {
            assert_eq!(libc::pthread_getattr_np(this(), attributes.as_mut_ptr()), 0);
            let mut here = MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init();
            let mut told = here;
            libc::sched_getaffinity(0, size_of_val(&here), &mut here);
            let size = size_of_val(&told);
            libc::pthread_attr_getaffinity_np(attributes.as_ptr(), size, &mut told);
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            assert!(libc::CPU_EQUAL(&here, &told), "its affinity is told too");
        }
    })
    .join()
    .unwrap();
}

fn open(path: &str, name: &CStr) -> Stack {
    let path = CString::new(path).unwrap();
    // SAFETY: the library has no initialisers, and its function this type; it stays open.
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        let function = libc::dlsym(library, name.as_ptr());
        assert!(!function.is_null());
        std::mem::transmute::<*mut c_void, Stack>(function)
    }
}

#[test]
fn c_code_is_told_be_it_linked_or_loaded() {
    let loaded = open(LIBRARY, c"locals_stack");
    many_moving_threads(move |number| {
        let expected = bounds();
        for stack in [locals_stack as Stack, loaded] {
            migrate(number);
            let mut size = 0;
            // SAFETY: the functions are those of `locals.c`.
            let start = unsafe { stack(&mut size) }.addr();
            assert_eq!(start..start + size, expected);
        }
    });
}

/// Recurses so deep that it needs many stacks, and moves on the way.
fn recurse(left: usize) -> usize {
    stacker::maybe_grow(32 << 10, 256 << 10, || {
        let frame = hint::black_box([left; 64]);
        if left == 0 {
            migrate(0);
            return frame[1];
        }
        if left.is_multiple_of(1000) {
            migrate(left);
        }
        recurse(left - 1) + 1 + frame[2] - left
    })
}

#[test]
fn stacker_knows_what_remains_and_grows_in_time() {
    many_moving_threads(|number| {
        let remaining = || stacker::remaining_stack().expect("it is known");
        let whole = bounds();
        let before = remaining();
        assert!((whole.end - whole.start) / 2 < before && before < whole.end - whole.start);
        migrate(number);
        assert!(remaining().abs_diff(before) < 1024);
        for _ in 0..3 {
            assert_eq!(recurse(5000), 5000);
        }
        assert!(remaining().abs_diff(before) < 1024);
    });
}
