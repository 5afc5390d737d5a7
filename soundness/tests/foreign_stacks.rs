//! A green thread may run on a stack that is not its own, and block there as long as it likes: its own
//! stack is left as it was, and what it has on the other one too.
//!
//! Each kind of other stack is tested in a process of its own, in which waits that last for a moment are
//! long. Other stacks lie above the green threads' own and below them.

use std::env;
use std::hint::black_box;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, CoroutineResult};
use roving::{Builder, Runtime, ThreadLocals, thread};
use roving_soundness::{bounded, migrate, suspend, without_own_thread_locals};

const OTHER_STACK: usize = 128 << 10;
const THREADS: usize = 12;

/// Calls [`block`] with the number, on another stack.
type OnAnother = fn(usize);

/// Whether each suspension resumes on another OS thread.
static MOVES: AtomicBool = AtomicBool::new(false);
static PARKED: AtomicUsize = AtomicUsize::new(0);
static MAY_GO_ON: AtomicBool = AtomicBool::new(false);

/// Suspends in each way, and then for long, with something on the stack.
#[inline(never)]
fn block(number: usize) {
    let kept = black_box([number; 1024]);
    for way in 0..4 {
        if MOVES.load(Ordering::SeqCst) {
            migrate(way);
        } else {
            suspend(way);
        }
    }
    PARKED.fetch_add(1, Ordering::SeqCst);
    while !MAY_GO_ON.load(Ordering::SeqCst) {
        thread::park();
    }
    assert!(kept.iter().all(|&kept| kept == number));
}

/// Has several pages of its own stack in use while it is on another.
fn with_pages_in_use(number: usize, on_another: OnAnother) {
    let kept = black_box([number; 4096]);
    on_another(number);
    assert!(kept.iter().all(|&kept| kept == number));
}

#[inline(never)]
fn use_the_stack(bytes: usize) -> u8 {
    let frame = black_box([1_u8; 4096]);
    if bytes > frame.len() {
        black_box(use_the_stack(bytes - frame.len())) & frame[0]
    } else {
        frame[0]
    }
}

/// Returns when this green thread has lost the pages that it does not use, twice: then whoever was
/// parked before has been looked at.
fn see_two_reclaims() {
    for _ in 0..2 {
        use_the_stack(100 << 10);
        while thread::stack_usage().unwrap().high_water > 50 << 10 {
            thread::sleep(Duration::from_millis(300));
        }
    }
}

fn test_on(runtime: &Runtime, threads: usize, on_another: OnAnother) {
    PARKED.store(0, Ordering::SeqCst);
    MAY_GO_ON.store(false, Ordering::SeqCst);
    let blocked: Vec<_> = (1..=threads)
        .map(|number| runtime.spawn(move || with_pages_in_use(number, on_another)))
        .collect();
    while PARKED.load(Ordering::SeqCst) < threads {
        std::thread::yield_now();
    }
    runtime.spawn(see_two_reclaims).join().unwrap();
    MAY_GO_ON.store(true, Ordering::SeqCst);
    for thread in blocked {
        thread.thread().unpark();
        thread.join().unwrap();
    }
}

/// Runs the test `name` in a process of its own: on runtimes of every size, in both safe modes. Where
/// green threads share thread-locals, `threads_of_a_pinned_runtime` are on other stacks at a time.
fn each_way(name: &str, threads_of_a_pinned_runtime: usize, on_another: OnAnother) {
    const CHILD: &str = "ROVING_TEST_CHILD";
    if env::var_os(CHILD).is_none() {
        let mut child = Command::new(env::current_exe().unwrap());
        child
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .env("ROVING_RECLAIM_SECONDS", "0.05");
        let status = child.status().unwrap();
        assert!(status.success(), "{status}");
        return;
    }
    // Room for stacks above those of green threads, whose mapping is larger.
    EARLY
        .lock()
        .unwrap()
        .extend((0..THREADS / 2).map(|_| stack()));
    drop(black_box(vec![1_u8; 16 << 20]));
    for mode in [ThreadLocals::Own, ThreadLocals::Pinned] {
        for workers in [1, 2, 8] {
            let (builder, threads) = match mode {
                ThreadLocals::Own => (Builder::new().own_thread_locals(), THREADS),
                _ => (
                    Builder::new().pinned_thread_locals(),
                    threads_of_a_pinned_runtime,
                ),
            };
            let moves = mode == ThreadLocals::Own && workers > 1;
            match builder.workers(workers).migrate_always(moves).build() {
                Ok(runtime) => {
                    MOVES.store(moves, Ordering::SeqCst);
                    bounded(|| test_on(&runtime, threads, on_another));
                }
                Err(error) => without_own_thread_locals(&error),
            }
        }
    }
}

/// Stacks that were mapped before those of green threads.
static EARLY: Mutex<Vec<DefaultStack>> = Mutex::new(Vec::new());

fn stack() -> DefaultStack {
    DefaultStack::new(OTHER_STACK).unwrap()
}

/// An early stack, or a new one.
fn another_stack() -> DefaultStack {
    let early = EARLY.lock().unwrap().pop();
    early.unwrap_or_else(stack)
}

#[test]
fn a_stack_for_a_deep_recursion() {
    each_way("a_stack_for_a_deep_recursion", THREADS, |number| {
        stacker::grow(OTHER_STACK, || block(number));
        // And once more within, however much is left.
        stacker::grow(OTHER_STACK, || {
            stacker::maybe_grow(OTHER_STACK, OTHER_STACK, || block(number));
        });
    });
}

#[test]
fn a_coroutine_of_a_green_threads_own() {
    each_way("a_coroutine_of_a_green_threads_own", THREADS, |number| {
        let mut coroutine = Coroutine::with_stack(another_stack(), move |own, ()| {
            for step in 0..3 {
                block(number);
                own.suspend(step);
            }
        });
        for step in 0..3 {
            let resumed = coroutine.resume(());
            assert!(matches!(resumed, CoroutineResult::Yield(s) if s == step));
            block(number);
        }
        assert!(matches!(coroutine.resume(()), CoroutineResult::Return(())));
        EARLY.lock().unwrap().push(coroutine.into_stack());
    });
}

#[test]
fn a_generator_of_a_green_threads_own() {
    // It keeps in a thread-local which generator runs, and takes for granted that the one that was
    // entered last is left first. Neighbours that share thread-locals leave in any order.
    each_way("a_generator_of_a_green_threads_own", 1, |number| {
        let mut generator = generator::Gn::<()>::new_scoped(move |mut own| {
            for step in 0..3 {
                block(number);
                own.yield_with(step);
            }
            3
        });
        for step in 0..=3 {
            assert_eq!(generator.resume(), Some(step));
            block(number);
        }
        assert!(generator.is_done());
    });
}

#[cfg(target_env = "gnu")]
#[test]
fn a_context_of_the_c_library() {
    use std::mem::MaybeUninit;

    extern "C" fn main(number: libc::c_int) {
        block(number.try_into().unwrap());
    }

    each_way("a_context_of_the_c_library", THREADS, |number| {
        let stack = another_stack();
        let mut here = MaybeUninit::<libc::ucontext_t>::zeroed();
        let mut there = MaybeUninit::<libc::ucontext_t>::zeroed();
        // SAFETY: the context is that of `main` with its argument on a stack of its own, which ends
        // before this does, and goes on here then.
        unsafe {
            assert_eq!(libc::getcontext(there.as_mut_ptr()), 0);
            let context = there.assume_init_mut();
            let (top, bottom) = (stack.base().get(), stack.limit().get() + (4 << 10));
            context.uc_stack.ss_sp = std::ptr::with_exposed_provenance_mut(bottom);
            context.uc_stack.ss_size = top - bottom;
            context.uc_link = here.as_mut_ptr();
            let main: extern "C" fn(libc::c_int) = main;
            let main = std::mem::transmute::<extern "C" fn(libc::c_int), extern "C" fn()>(main);
            libc::makecontext(context, main, 1, number as libc::c_int);
            assert_eq!(libc::swapcontext(here.as_mut_ptr(), context), 0);
        }
        EARLY.lock().unwrap().push(stack);
    });
}
