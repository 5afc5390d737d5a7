//! A green thread that keeps its worker for too long is told of on standard error.
//!
//! Each test runs in processes of their own, whose standard error is read.

mod common;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{WORKER_COUNTS, child, compute_until, is_child, printed};
use roving_scheduler::{Builder, Runtime, blocking, thread};

const VARIABLE: &str = "ROVING_WARN_STUCK";

/// What the child that runs `test` says on both streams, with `value` in the variable.
fn said(mut child: Command, value: &str) -> String {
    let output = child.env(VARIABLE, value).output().unwrap();
    let printed = printed(&output);
    assert!(output.status.success(), "{}\n{printed}", output.status);
    assert!(printed.contains("1 passed"), "{printed}");
    printed
}

/// How often somebody is told of.
fn told(said: &str) -> usize {
    said.matches("has kept its worker for").count()
}

/// Runtimes of all sizes, in the mode that is asked for.
fn runtimes() -> impl Iterator<Item = Runtime> {
    let of_size = |workers| Builder::new().workers(workers).build().unwrap();
    WORKER_COUNTS.into_iter().map(of_size)
}

/// Long enough for all that is to be told, also on a machine that is busy.
const LONG: Duration = Duration::from_secs(4);

fn for_long(runtime: &Runtime, run: impl FnOnce(Arc<AtomicBool>) + Send + 'static) {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let named = thread::Builder::new().name("keeps".to_owned());
    let keeps = runtime.run(|| named.spawn(move || run(seen)).unwrap());
    sleep(LONG);
    stop.store(true, Ordering::Release);
    keeps.join().unwrap();
}

#[test]
fn one_that_computes_is_told_of_with_its_stack() {
    const NAME: &str = "one_that_computes_is_told_of_with_its_stack";
    if is_child(NAME) {
        for runtime in runtimes() {
            for_long(&runtime, |stop| compute_until(&stop));
        }
        return;
    }
    let said = said(child(NAME), "50ms");
    // One place has spawned them all.
    assert_eq!(told(&said), 1, "{said}");
    assert!(said.contains("\"keeps\", spawned at "), "{said}");
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        assert!(
            said.contains("it computes") && said.contains("compute_until"),
            "{said}"
        );
    }
}

#[test]
fn those_that_wait_are_told_of_each() {
    const NAME: &str = "those_that_wait_are_told_of_each";
    if is_child(NAME) {
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let (sender, receiver) = mpsc::channel::<()>();
        let runtime = Builder::new().workers(2).build().unwrap();
        let locks = lock.clone();
        let first = runtime.spawn(move || drop(locks.lock().unwrap()));
        let second = runtime.spawn(move || receiver.recv().unwrap());
        let third = runtime.spawn(|| sleep(2 * LONG));
        sleep(2 * LONG);
        drop(held);
        sender.send(()).unwrap();
        for thread in [first, second, third] {
            thread.join().unwrap();
        }
        return;
    }
    let said = said(child(NAME), "50ms");
    assert_eq!(told(&said), 3, "{said}");
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        for mark in ["nanosleep", "recv", "lock", "it waits in the system"] {
            assert!(said.contains(mark), "{mark}:\n{said}");
        }
    }
}

#[test]
fn those_that_do_as_they_should_are_not_told_of() {
    const NAME: &str = "those_that_do_as_they_should_are_not_told_of";
    if is_child(NAME) {
        for runtime in runtimes() {
            runtime.run(|| {
                let calls = thread::spawn(|| blocking::run(|| sleep(Duration::from_millis(300))));
                let yields = thread::spawn(|| {
                    let end = Instant::now() + Duration::from_millis(300);
                    while Instant::now() < end {
                        thread::yield_now();
                    }
                });
                thread::sleep(Duration::from_millis(300));
                calls.join().unwrap();
                yields.join().unwrap();
            });
        }
        return;
    }
    let said = said(child(NAME), "50ms");
    assert_eq!(told(&said), 0, "{said}");
}

#[test]
fn it_is_turned_off() {
    const NAME: &str = "it_is_turned_off";
    if is_child(NAME) {
        let runtime = Builder::new().workers(1).build().unwrap();
        return for_long(&runtime, |stop| compute_until(&stop));
    }
    for off in ["0", "off", " 0s "] {
        let said = said(child(NAME), off);
        assert!(!said.contains("roving:"), "{off}:\n{said}");
    }
}

#[test]
fn by_default_it_is_on_in_debug_builds() {
    const NAME: &str = "by_default_it_is_on_in_debug_builds";
    if is_child(NAME) {
        let runtime = Builder::new().workers(1).build().unwrap();
        return for_long(&runtime, |_| sleep(LONG));
    }
    let mut child = child(NAME);
    let output = child.env_remove(VARIABLE).output().unwrap();
    let said = printed(&output);
    assert_eq!(told(&said), usize::from(cfg!(debug_assertions)), "{said}");
}

#[test]
fn a_limit_that_cannot_be() {
    let year = Duration::from_secs(365 * 24 * 3600);
    let error = Builder::new().warn_stuck(year).build().unwrap_err();
    assert!(error.to_string().contains("warn_stuck = "), "{error}");
}
