//! A program whose `main` is not Rust's, as one in C which has loaded a library with Roving in it. std prepares
//! nothing there.
//!
//! - an overflow on a worker or a spare is told all the same, of a green thread and of a coroutine

// A sanitizer has its own say when a program faults.
#![cfg(not(any(feature = "address-sanitizer", feature = "thread-sanitizer")))]
#![no_main]

#[path = "common/not_tested.rs"]
mod not_tested;

use std::env;
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::mpsc;

use roving_scheduler::coroutine::Generator;
use roving_scheduler::{Builder, blocking, thread};

const VARIABLE: &str = "ROVING_TEST_OVERFLOWS";

/// What overflows, and what is told of it.
const OVERFLOWS: [(&str, fn(), &str); 3] = [
    (
        "thread",
        overflow,
        "green thread '<unnamed>' has overflowed its stack",
    ),
    (
        "coroutine",
        in_a_coroutine,
        "a coroutine has overflowed its stack",
    ),
    ("spare", on_a_spare, "a coroutine has overflowed its stack"),
];

/// Recurses until there is no stack left.
fn overflow() {
    fn recurse(depth: u64) -> u64 {
        let frame = black_box([depth; 16]);
        if depth == u64::MAX {
            return frame[0];
        }
        black_box(recurse(depth + 1)) + frame[15]
    }
    black_box(recurse(black_box(0)));
}

fn in_a_coroutine() {
    let mut overflows = Generator::<()>::new(|_| overflow());
    overflows.next();
}

/// With one worker, which this keeps. With more, any other may be it.
fn on_a_spare() {
    let (done, ends) = mpsc::channel::<()>();
    thread::spawn(move || {
        in_a_coroutine();
        drop(done);
    });
    let _ended = blocking::run(|| ends.recv());
}

#[unsafe(no_mangle)]
extern "C" fn main(_: libc::c_int, _: *const *const libc::c_char) -> libc::c_int {
    // SAFETY: it has no preconditions.
    unsafe { libc::alarm(200) };
    if let Ok(asked) = env::var(VARIABLE) {
        let (_, overflows, _) = OVERFLOWS.iter().find(|(name, ..)| asked == *name).unwrap();
        Builder::new().build().unwrap().run(overflows);
        return 0;
    }
    let mut modes = vec!["own", "pinned"];
    if let Some(why) = Builder::new().build().unwrap().no_own_thread_locals() {
        not_tested::without_own_thread_locals(why);
        modes.remove(0);
    }
    for (name, _, told) in OVERFLOWS {
        for workers in ["1", "2", "8"] {
            for &thread_locals in &modes {
                let mut child = Command::new(env::current_exe().unwrap());
                child.env(VARIABLE, name).env("ROVING_WORKERS", workers);
                child.env("ROVING_THREAD_LOCALS", thread_locals);
                let output = child.output().unwrap();
                let printed = String::from_utf8_lossy(&output.stderr);
                assert_eq!(
                    output.status.signal(),
                    Some(libc::SIGABRT),
                    "{name}: {printed}"
                );
                assert!(printed.contains(told), "{printed}");
            }
        }
    }
    0
}
