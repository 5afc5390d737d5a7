//! What a backtrace shows on a green thread: its own frames, down to where it began, and nothing
//! behind.

mod common;

use std::backtrace::Backtrace;
use std::process::Command;

use common::{child, is_child, on_each_worker_count, runtime, watchdog};
use roving_scheduler::coroutine::Generator;
use roving_scheduler::thread;

/// More than any of the tests has.
const MANY_FRAMES: usize = 80;

#[inline(never)]
fn outer_function<R>(f: impl FnOnce() -> R) -> R {
    let result = middle_function(f);
    std::hint::black_box(());
    result
}

#[inline(never)]
fn middle_function<R>(f: impl FnOnce() -> R) -> R {
    thread::yield_now();
    let result = f();
    std::hint::black_box(());
    result
}

/// That the functions are there in this order, and that the trace has an end.
fn assert_complete(trace: &str) {
    let place = |function: &str| {
        let found = trace.find(function);
        found.unwrap_or_else(|| panic!("{function} is missing:\n{trace}"))
    };
    assert!(
        place("middle_function") < place("outer_function"),
        "{trace}"
    );
    assert!(place("outer_function") < place("live"), "{trace}");
}

#[test]
fn a_captured_backtrace_shows_the_green_threads_frames_and_ends() {
    on_each_worker_count(|| {
        let capture = || Backtrace::force_capture().to_string();
        let trace = thread::spawn(move || outer_function(capture))
            .join()
            .unwrap();
        assert_complete(&trace);
        let frames = trace
            .lines()
            .filter(|line| {
                line.trim_start()
                    .split(':')
                    .next()
                    .unwrap()
                    .parse::<usize>()
                    .is_ok()
            })
            .count();
        assert!((5..MANY_FRAMES).contains(&frames), "{trace}");
    });
}

#[test]
fn a_destructor_captures_one_while_its_thread_unwinds() {
    struct Captures(std::sync::mpsc::Sender<String>);
    impl Drop for Captures {
        fn drop(&mut self) {
            thread::yield_now();
            let trace = outer_function(|| Backtrace::force_capture().to_string());
            self.0.send(trace).unwrap();
        }
    }
    on_each_worker_count(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let panics = thread::spawn(move || {
            let _captures = Captures(sender);
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(panics.join().is_err());
        assert_complete(&receiver.recv().unwrap());
    });
}

/// The trace of a debugger, if there is one on this machine.
#[cfg(target_os = "linux")]
#[test]
fn a_debugger_shows_the_green_threads_frames_and_ends() {
    const NAME: &str = "a_debugger_shows_the_green_threads_frames_and_ends";
    if is_child(NAME) {
        runtime(1).run(|| {
            outer_function(|| {
                // SAFETY: stops for the debugger.
                unsafe { libc::raise(libc::SIGTRAP) };
            });
        });
        return;
    }
    if Command::new("gdb").arg("--version").output().is_err() {
        println!("not tested: there is no gdb");
        return;
    }
    let _watchdog = watchdog("");
    let child = child(NAME);
    let mut debugger = Command::new("gdb");
    debugger
        .args([
            "-nx",
            "-batch",
            "-ex",
            "set breakpoint pending on",
            "-ex",
            "run",
            "-ex",
            "bt",
        ])
        .args(["-ex", "kill", "--args"])
        .arg(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture", "--test-threads=1"])
        .env_remove("LD_PRELOAD");
    for (name, value) in child.get_envs() {
        match value {
            Some(value) => debugger.env(name, value),
            None => debugger.env_remove(name),
        };
    }
    let output = debugger.output().unwrap();
    let trace = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if !trace.contains("SIGTRAP") {
        println!("not tested: gdb may not trace here\n{trace}{errors}");
        return;
    }
    let frames = &trace[trace.find("#0").expect("a frame")..];
    assert_complete(frames);
    let count = frames.lines().filter(|line| line.starts_with('#')).count();
    assert!((5..MANY_FRAMES).contains(&count), "{frames}");
    for complaint in ["corrupt stack", "previous frame", "Backtrace stopped"] {
        assert!(
            !trace.contains(complaint) && !errors.contains(complaint),
            "{trace}{errors}"
        );
    }
}

/// A coroutine is called by whoever resumes it: its frames come first, and then that one's.
#[test]
fn a_backtrace_in_a_coroutine_goes_on_in_whoever_resumed_it() {
    on_each_worker_count(|| {
        let traced = || {
            let capture = || Backtrace::force_capture().to_string();
            let mut generator = Generator::new(move |y| y.yield_(middle_function(capture)));
            outer_function(move || generator.next().unwrap())
        };
        assert_complete(&thread::spawn(traced).join().unwrap());
    });
}
