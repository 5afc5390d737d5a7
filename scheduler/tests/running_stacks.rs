//! The stacks of threads that run are in dumps, and what these do does not come out differently.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::hint::black_box;
use std::io;
use std::mem;
use std::panic;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{alone, child, compute_until, each_kind, is_child, run, watchdog};
use corosensei::stack::DefaultStack;
use roving_scheduler::coroutine::Generator;
use roving_scheduler::thread::{self, JoinHandle, State};
use roving_scheduler::{Builder, Runtime, dump};

/// Runs `test` on a runtime of each size, in the mode that is asked for.
fn each_size(test: impl Fn(&Runtime)) {
    let _alone = alone();
    each_kind(|builder| [builder], test);
}

fn wait_until_running<T>(thread: &JoinHandle<T>) {
    while !matches!(thread.thread().state(), State::Running(..)) {
        std::thread::yield_now();
    }
}

/// What a dump says of what the thread of that name runs, once it has `mark` in it.
fn told_of(name: &str, mark: &str) -> String {
    for _ in 0..100 {
        let text = dump().to_string();
        let begin = text.find(&format!("{name:?}"));
        let told = begin.map_or("", |begin| {
            let rest = &text[begin..];
            let end = rest.find("\nworker ").or_else(|| rest.find(" run nothing"));
            &rest[..end.unwrap_or(rest.len())]
        });
        if told.contains(mark) {
            return told.to_owned();
        }
        // It may not be where it will stay, or have got no processor.
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{mark:?} is not told of {name:?}:\n{}", dump());
}

fn assert_in_order(told: &str, names: &[&str]) {
    let at = |name: &&str| {
        let found = told.find(*name);
        found.unwrap_or_else(|| panic!("{name} is missing:\n{told}"))
    };
    assert!(names.iter().map(at).is_sorted(), "{told}");
    for stranger in ["Worker", "runtime::dump", "live", "call_above", "Glimpse"] {
        assert!(!told.contains(stranger), "{stranger}:\n{told}");
    }
}

fn spawn(runtime: &Runtime, name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let builder = thread::Builder::new().name(name.to_owned());
    let thread = runtime.run(|| builder.spawn(run)).unwrap();
    wait_until_running(&thread);
    thread
}

#[inline(never)]
fn outer_of_two(run: &mut dyn FnMut()) {
    inner_of_two(run);
    black_box(());
}

#[inline(never)]
fn inner_of_two(run: &mut dyn FnMut()) {
    run();
    black_box(());
}

#[inline(never)]
fn outermost(run: &mut dyn FnMut()) {
    run();
    black_box(());
}

const BOTH: [&str; 2] = ["inner_of_two", "outer_of_two"];

/// One that is busy in `run` until this is dropped, also by a test that fails.
struct Busy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn busy(runtime: &Runtime, name: &str, run: impl FnOnce(Arc<AtomicBool>) + Send + 'static) -> Busy {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let thread = Some(spawn(runtime, name, move || run(seen)));
    Busy { stop, thread }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking());
    }
}

#[test]
fn one_that_computes_is_shown_where_it_is() {
    each_size(|runtime| {
        let _busy = busy(runtime, "computes", |stop| {
            outer_of_two(&mut || compute_until(&stop));
        });
        let told = told_of("computes", BOTH[0]);
        assert_in_order(&told, &["it computes", "compute_until", BOTH[0], BOTH[1]]);
    });
}

#[test]
fn threads_that_do_the_same_are_told_to() {
    let _alone = alone();
    let _watchdog = watchdog("");
    let runtime = Builder::new().workers(2).build().unwrap();
    let (senders, threads): (Vec<_>, Vec<_>) = (0..3)
        .map(|_| {
            let (sender, receiver) = mpsc::channel::<()>();
            let waits = move || {
                outer_of_two(&mut || {
                    let _ = receiver.recv();
                })
            };
            (sender, spawn(&runtime, "waits", waits))
        })
        .unzip();
    for _ in 0..100 {
        let text = dump().to_string();
        if text.matches("inner_of_two").count() == 1 && text.matches("where thread ").count() == 2 {
            drop(senders);
            for waits in threads {
                waits.join().unwrap();
            }
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{}", dump());
}

#[test]
fn one_that_waits_in_the_system_is_shown_where_it_is() {
    each_size(|runtime| {
        let sleeps = busy(runtime, "sleeps", |stop| {
            outer_of_two(&mut || {
                while !stop.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(300));
                }
            });
        });
        let told = told_of("sleeps", "nanosleep");
        drop(sleeps);
        assert_in_order(&told, &["it waits in the system", BOTH[0], BOTH[1]]);

        let (sender, receiver) = mpsc::channel::<()>();
        let receives = spawn(runtime, "receives", move || {
            outer_of_two(&mut || receiver.recv().unwrap());
        });
        let told = told_of("receives", BOTH[0]);
        assert_in_order(&told, &["recv", BOTH[0], BOTH[1]]);

        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let wants = lock.clone();
        let locks = spawn(runtime, "locks", move || {
            outer_of_two(&mut || drop(wants.lock().unwrap()));
        });
        let told = told_of("locks", BOTH[0]);
        assert_in_order(&told, &["lock", BOTH[0], BOTH[1]]);

        let (reader, writer) = io::pipe().unwrap();
        let polls = spawn(runtime, "polls", move || {
            outer_of_two(&mut || poll(&reader, -1).unwrap());
        });
        let told = told_of("polls", BOTH[0]);
        assert_in_order(&told, &["poll", BOTH[0], BOTH[1]]);

        drop((held, sender.send(()), writer));
        for thread in [receives, locks, polls] {
            thread.join().unwrap();
        }
    });
}

#[inline(never)]
fn with_another_stack(run: &mut (dyn FnMut() + Send)) {
    let stack = DefaultStack::new(256 << 10).unwrap();
    corosensei::on_stack(stack, || outer_of_two(&mut || run()));
    black_box(());
}

#[test]
fn one_on_another_stack_is_shown_on_both() {
    each_size(|runtime| {
        let elsewhere = busy(runtime, "elsewhere", |stop| {
            outermost(&mut || with_another_stack(&mut || compute_until(&stop)));
        });
        let told = told_of("elsewhere", BOTH[0]);
        assert_in_order(&told, &["compute_until", BOTH[0], BOTH[1], "outermost"]);
        drop(elsewhere);

        let _generates = busy(runtime, "generates", |stop| {
            let generator = Generator::new(move |_: &_| outer_of_two(&mut || compute_until(&stop)));
            let nothing: Vec<()> = generator.into_iter().collect();
            black_box(nothing);
        });
        let told = told_of("generates", BOTH[0]);
        assert_in_order(&told, &["compute_until", BOTH[0], BOTH[1]]);
    });
}

fn poll(file: &impl std::os::fd::AsRawFd, millis: i32) -> io::Result<()> {
    let mut wanted = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry.
    match unsafe { libc::poll(&raw mut wanted, 1, millis) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The calls that fail with `EINTR` after any handler, be it one that restarts calls, each for a moment.
fn calls_that_may_be_interrupted(nothing_comes: &io::PipeReader) -> io::Result<()> {
    let moment = libc::timespec {
        tv_sec: 0,
        tv_nsec: 50_000,
    };
    let check = |result: i32| match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    };
    // SAFETY: all is there for as long as the calls take.
    unsafe {
        check(libc::nanosleep(&raw const moment, ptr::null_mut()))?;
        poll(nothing_comes, 1)?;
        let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        let mut event = mem::zeroed();
        let waited = check(libc::epoll_wait(epoll, &raw mut event, 1, 1));
        libc::close(epoll);
        waited?;
        let mut signals = mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGUSR1);
        match check(libc::sigtimedwait(
            &raw const signals,
            ptr::null_mut(),
            &raw const moment,
        )) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(()),
            other => other,
        }
    }
}

#[test]
fn no_call_is_interrupted_by_a_thousand_dumps() {
    let dumps = 1000 / common::WORKER_COUNTS.len() + 1;
    each_size(|runtime| {
        let stop = Arc::new(AtomicBool::new(false));
        let calls = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = [0, 300_000]
            .into_iter()
            .map(|turns| {
                let (stop, calls) = (stop.clone(), calls.clone());
                runtime.spawn(move || {
                    let (nothing_comes, _writer) = io::pipe().unwrap();
                    while !stop.load(Ordering::Acquire) {
                        calls_that_may_be_interrupted(&nothing_comes).unwrap();
                        calls.fetch_add(1, Ordering::Relaxed);
                        for turn in 0..turns {
                            black_box(turn);
                        }
                    }
                })
            })
            .collect();
        let mut shown = 0;
        for _ in 0..dumps {
            shown += dump()
                .to_string()
                .matches("calls_that_may_be_interrupted")
                .count();
        }
        stop.store(true, Ordering::Release);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(shown > 0 && calls.load(Ordering::Relaxed) > 0);
    });
}

/// Whatever a stack can look like: deep, on other stacks, within unwindings and in the allocator.
fn all_kinds_of_stacks(depth: usize) -> usize {
    let frame = black_box([depth; 16]);
    let deeper = match depth {
        0 => {
            let unwinds = panic::catch_unwind(|| panic::resume_unwind(Box::new(depth)));
            usize::from(unwinds.is_err())
        }
        // Some of them on another stack.
        20 => {
            let stack = DefaultStack::new(64 << 10).unwrap();
            corosensei::on_stack(stack, || all_kinds_of_stacks(depth - 1))
        }
        _ => all_kinds_of_stacks(depth - 1),
    };
    let numbers: Vec<String> = (0..4).map(|number| number.to_string()).collect();
    deeper + frame[depth % 16] + numbers.concat().len()
}

#[test]
fn a_storm_goes_on_while_dumps_are_taken() {
    each_size(|runtime| {
        let stop = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..2 * runtime.workers())
            .map(|number| {
                let stop = stop.clone();
                runtime.spawn(move || {
                    let mut sum = 0_usize;
                    while !stop.load(Ordering::Acquire) {
                        // For longer than the kernel takes from tick to tick.
                        for _ in 0..if number % 2 == 0 { 3_000 } else { 3 } {
                            sum = sum.wrapping_add(all_kinds_of_stacks(40));
                        }
                        thread::yield_now();
                    }
                    sum
                })
            })
            .collect();
        for _ in 0..10 {
            assert!(!dump().to_string().is_empty());
        }
        stop.store(true, Ordering::Release);
        for thread in threads {
            black_box(thread.join().unwrap());
        }
    });
}

/// Runs one that computes, whose stack is not shown, and gives what is said.
fn told_of_one_that_is_left_alone() -> String {
    let runtime = Builder::new().workers(1).build().unwrap();
    let _busy = busy(&runtime, "computes", |stop| compute_until(&stop));
    told_of("computes", "left alone")
}

#[test]
fn a_program_that_handles_the_signal_itself_keeps_it() {
    const NAME: &str = "a_program_that_handles_the_signal_itself_keeps_it";
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: libc::c_int) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    let _watchdog = watchdog("");
    if !is_child(NAME) {
        return drop(run(child(NAME)));
    }
    // SAFETY: a handler that counts.
    unsafe { libc::signal(libc::SIGURG, count as *const () as usize) };
    let told = told_of_one_that_is_left_alone();
    assert!(told.contains("the program handles SIGURG itself"), "{told}");
    assert_eq!(COUNT.load(Ordering::Relaxed), 0);
    // SAFETY: a signal to this thread.
    unsafe { libc::raise(libc::SIGURG) };
    assert_eq!(COUNT.load(Ordering::Relaxed), 1);
}

#[test]
fn one_that_blocks_the_signal_is_left_alone() {
    const NAME: &str = "one_that_blocks_the_signal_is_left_alone";
    let _watchdog = watchdog("");
    if !is_child(NAME) {
        return drop(run(child(NAME)));
    }
    // Those that the runtime starts inherit it.
    // SAFETY: it blocks signals of this thread.
    unsafe {
        let mut signals = mem::zeroed();
        libc::sigfillset(&raw mut signals);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut());
    }
    let told = told_of_one_that_is_left_alone();
    assert!(told.contains("it blocks SIGURG"), "{told}");
}
