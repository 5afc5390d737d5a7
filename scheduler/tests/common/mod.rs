//! What the tests share: runtimes of every size, a watchdog, and tests that run again in a process
//! of their own.
//!
//! A test that works with runtimes begins with [`stacks_returned`], or uses [`each_worker_count`],
//! which does. When the last of those that run at the same time ends, no stack may be in use,
//! unless a test of the same program [uses the global runtime](uses_global_runtime), which never
//! ends and keeps some.

// Each file of tests is a program of its own, and uses a part of this.
#![allow(dead_code)]

pub(crate) mod drops;
mod hang;
pub(crate) mod not_tested;

use std::env;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use roving_scheduler::{Builder, Runtime, ThreadLocals, stacks};

/// Far more than any test takes, so that it tells a hang from a slow machine.
const LIMIT: Duration = Duration::from_secs(400);

/// The sizes of runtimes that everything is tested with.
pub(crate) const WORKER_COUNTS: [usize; 3] = [1, 2, 8];

/// A runtime with all defaults. Where green threads ought to have their own thread-locals and have not, what is tested on it is
/// another thing.
pub(crate) fn runtime(workers: usize) -> Runtime {
    built(Builder::new().workers(workers))
}

/// A runtime in which nobody looks who is stuck, so that no spare takes a thread or a timer from a worker but during a
/// call that says that it blocks.
pub(crate) fn unwatched(workers: usize) -> Runtime {
    let builder = Builder::new().workers(workers);
    built(builder.stuck_after(Duration::ZERO))
}

/// The same with one worker, so that nobody else is there at all.
pub(crate) fn lone_worker() -> Runtime {
    unwatched(1)
}

fn built(builder: Builder) -> Runtime {
    let runtime = builder.build().unwrap();
    if let Some(why) = runtime.no_own_thread_locals() {
        not_tested::fail_if_expected(why);
    }
    runtime
}

/// Runs `test` on a runtime of each size, which must then end without a green thread that is alive.
pub(crate) fn each_worker_count(test: impl Fn(&Runtime)) {
    each_of_worker_counts(&WORKER_COUNTS, test);
}

/// The same with runtimes in which another worker can do what one does not get to.
pub(crate) fn each_plural_worker_count(test: impl Fn(&Runtime)) {
    each_of_worker_counts(&WORKER_COUNTS[1..], test);
}

fn each_of_worker_counts(worker_counts: &[usize], test: impl Fn(&Runtime)) {
    let _stacks = stacks_returned();
    for &workers in worker_counts {
        let _watchdog = watchdog(format_args!("with {workers} workers"));
        let runtime = runtime(workers);
        test(&runtime);
        runtime
            .shutdown_timeout(LIMIT)
            .expect("no green thread is alive");
    }
}

/// Runs `test` on runtimes of each size, of each of the kinds that `kinds` makes.
pub(crate) fn each_kind<const N: usize>(
    kinds: impl Fn(Builder) -> [Builder; N],
    test: impl Fn(&Runtime),
) {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        for builder in kinds(Builder::new().workers(workers)) {
            let _watchdog = watchdog(format_args!("{builder:?}"));
            let runtime = builder.build().unwrap();
            test(&runtime);
            runtime.shutdown();
        }
    }
}

/// What tells of the whole process is asked by one test at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TESTS: Mutex<()> = Mutex::new(());
    TESTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `test` on a green thread of a runtime of each size.
pub(crate) fn on_each_worker_count(test: impl Fn() + Send + Sync) {
    each_worker_count(|runtime| runtime.run(&test));
}

/// The same, but not where they are pinned to their worker: a call that blocks in the system holds those up.
pub(crate) fn on_each_that_moves(test: impl Fn() + Send + Sync) {
    each_worker_count(|runtime| {
        if runtime.thread_locals() != ThreadLocals::Pinned {
            runtime.run(&test);
        }
    });
}

/// The same in every mode that is safe to ask for.
pub(crate) fn on_each_mode(test: impl Fn() + Send + Sync) {
    on_each_worker_count(&test);
    on_pinned_threads(test);
}

/// The same, and on an OS thread, which does not use the global runtime.
pub(crate) fn everywhere(test: impl Fn() + Send + Sync) {
    let _stacks = stacks_returned();
    {
        let _watchdog = watchdog("on an OS thread");
        test();
    }
    on_each_mode(test);
}

/// Runs `test` on a green thread of a runtime of each size, whose green threads are pinned.
pub(crate) fn on_pinned_threads(test: impl Fn() + Send + Sync) {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(format_args!("pinned, with {workers} workers"));
        let builder = Builder::new().workers(workers).pinned_thread_locals();
        let runtime = builder.build().unwrap();
        assert_eq!(runtime.thread_locals(), ThreadLocals::Pinned);
        runtime.run(&test);
        runtime
            .shutdown_timeout(LIMIT)
            .expect("no green thread is alive");
    }
}

/// The name that the system knows the current OS thread by.
#[cfg(target_os = "linux")]
pub(crate) fn os_thread_name() -> String {
    let name = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
    name.trim_end().to_owned()
}

/// Computes until `done`, and is of no use to anybody else meanwhile.
pub(crate) fn compute_until(done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
}

/// Runs `test` while one green thread computes, which it has begun to do.
pub(crate) fn beside_one_that_computes(runtime: &Runtime, test: impl FnOnce()) {
    let (started, stop) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (start, seen) = (started.clone(), stop.clone());
    let computes = runtime.spawn(move || {
        start.store(true, Ordering::Release);
        compute_until(&seen);
    });
    while !started.load(Ordering::Acquire) {
        thread::yield_now();
    }
    test();
    stop.store(true, Ordering::Release);
    computes.join().unwrap();
}

/// Runs `test` while two green threads a worker do nothing but yield.
pub(crate) fn beside_some_that_yield(runtime: &Runtime, test: impl FnOnce()) {
    let stop = Arc::new(AtomicBool::new(false));
    let yielders: Vec<_> = (0..2 * runtime.workers())
        .map(|_| {
            let stop = stop.clone();
            runtime.spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    roving_scheduler::thread::yield_now();
                }
            })
        })
        .collect();
    test();
    stop.store(true, Ordering::Release);
    yielders.into_iter().for_each(|y| y.join().unwrap());
}

/// Aborts the process when a test takes too long, naming the test and `what`.
#[must_use]
pub(crate) struct Watchdog {
    _done: Sender<()>,
}

pub(crate) fn watchdog(what: impl Display) -> Watchdog {
    let test = thread::current().name().unwrap_or("unnamed").to_owned();
    let what = format!("{test} {what}");
    let (done, waiting) = mpsc::channel::<()>();
    let (starts, started) = mpsc::channel::<()>();
    thread::spawn(move || {
        drop(starts);
        if waiting.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            hang::tell(&format!("HANGS: test {what} has not ended after {LIMIT:?}"));
            std::process::abort();
        }
    });
    // An OS thread that starts needs memory, of which a test may leave it none.
    let _ = started.recv();
    Watchdog { _done: done }
}

static GLOBAL_RUNTIME_IS_USED: AtomicBool = AtomicBool::new(false);

/// See the [module](self).
pub(crate) fn uses_global_runtime() {
    // So that nobody who counts the stacks has asked before.
    let _tests = tests_with_stacks();
    GLOBAL_RUNTIME_IS_USED.store(true, Ordering::Release);
}

static TESTS_WITH_STACKS: Mutex<usize> = Mutex::new(0);

fn tests_with_stacks() -> MutexGuard<'static, usize> {
    TESTS_WITH_STACKS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// See the [module](self).
#[must_use]
pub(crate) struct StacksReturned;

pub(crate) fn stacks_returned() -> StacksReturned {
    *tests_with_stacks() += 1;
    StacksReturned
}

impl Drop for StacksReturned {
    fn drop(&mut self) {
        let mut tests = tests_with_stacks();
        *tests -= 1;
        let is_used = GLOBAL_RUNTIME_IS_USED.load(Ordering::Acquire);
        if *tests == 0 && !is_used && !thread::panicking() {
            assert_eq!(stacks().in_use, 0, "all stacks are back in the pool");
        }
    }
}

const CHILD: &str = "ROVING_TEST_CHILD";

/// Whether this process was started by [`child`], to run the test `name`.
pub(crate) fn is_child(name: &str) -> bool {
    env::var_os(CHILD).is_some_and(|child| child == name)
}

/// A command that runs the test `name` of this program in a process of its own. `limits` are
/// commands for the shell, such as `ulimit -n 20`.
pub(crate) fn child_with_limits(name: &str, limits: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("ulimit -c 0; {limits} && exec \"$0\" \"$@\""))
        .arg(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        // What each thread's heap reserves would make limits on address space depend on the
        // machine.
        .env("MALLOC_ARENA_MAX", "1")
        .env_remove("ROVING_WORKERS")
        .env_remove("ROVING_STACK_SIZE");
    shell
}

pub(crate) fn child(name: &str) -> Command {
    child_with_limits(name, ":")
}

/// One that may have few descriptors, of which a test can take the last: no spare watches, who would open a file for that
/// now and then.
pub(crate) fn child_with_few_descriptors(name: &str) -> Command {
    let mut child = child_with_limits(name, "ulimit -n 64");
    child.env("ROVING_STUCK_AFTER", "0");
    child
}

/// The kinds of guards, as `ROVING_STACK_GUARDS` names them.
#[cfg(target_os = "linux")]
pub(crate) const GUARDS: [&str; 5] = ["madvise", "poison", "write-protect", "memfd", "mprotect"];
#[cfg(not(target_os = "linux"))]
pub(crate) const GUARDS: [&str; 1] = ["mprotect"];

/// Children that begin with each kind of guards.
pub(crate) fn with_each_kind_of_guards(
    child: impl Fn() -> Command,
) -> impl Iterator<Item = Command> {
    GUARDS.into_iter().map(move |kind| {
        let mut child = child();
        child.env("ROVING_STACK_GUARDS", kind);
        child
    })
}

/// Runs a child that must end well, and gives what it printed.
pub(crate) fn run(mut child: Command) -> String {
    let output = child.output().unwrap();
    let printed = printed(&output);
    assert!(output.status.success(), "{}\n{printed}", output.status);
    assert!(
        printed.contains("1 passed"),
        "the child ran a test:\n{printed}"
    );
    printed
}

/// What a child printed, on both streams.
pub(crate) fn printed(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs `test` on green threads of runtimes of every size, and on an OS thread, whose children belong
/// to the global runtime.
pub(crate) fn on_every_kind(test: impl Fn() + Send + Sync) {
    uses_global_runtime();
    {
        let _watchdog = watchdog("on an OS thread");
        test();
    }
    on_each_worker_count(test);
}

/// What the panic of `f` says.
pub(crate) fn panics<T>(f: impl FnOnce() -> T) -> String {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("it does not panic"),
        Err(payload) => message(&*payload),
    }
}

/// Gives a panic's message.
pub(crate) fn message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}

/// Waits until the thread is parked.
pub(crate) fn wait_until_parked(thread: &roving_scheduler::thread::Thread) {
    use roving_scheduler::thread::{State, yield_now};

    while !matches!(thread.state(), State::Parked(_)) {
        yield_now();
    }
}
