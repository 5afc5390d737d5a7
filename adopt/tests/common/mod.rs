//! What the tests share: programs that are adopted, with each number of workers.

// Each file of tests is a program of its own, and uses a part of this.
#![allow(dead_code)]

pub(crate) mod library;

use std::env;
use std::fmt::Debug;
use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Far more than any test takes, so that it tells a hang from a slow machine, an emulated one too.
pub(crate) const LIMIT: Duration = Duration::from_secs(600);

/// The numbers of workers that everything is tested with.
const WORKERS: [&str; 3] = ["1", "2", "8"];

/// Says in which process a test is that runs in one of its own.
const ROLE: &str = "TEST_ROLE";

/// Runs `body`, all that the test `name` does, in processes of their own, with each number of workers. It adopts its process when
/// it wants to. No worker that blocks is replaced unless it is handed over: so what waits for it waits until the limit.
pub(crate) fn in_programs(name: &str, body: impl FnOnce()) {
    in_programs_each(1, name, body);
}

/// The same in so many processes with each number of workers.
pub(crate) fn in_programs_each(times: usize, name: &str, body: impl FnOnce()) {
    if env::var_os(ROLE).is_some() {
        end_after(LIMIT);
        return body();
    }
    for workers in WORKERS.repeat(times) {
        let output = Command::new(env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, "1")
            .env("ROVING_WORKERS", workers)
            .env("ROVING_STUCK_AFTER", "1000s")
            .env("ROVING_WARN_STUCK", "0")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = [&output.stdout[..], &output.stderr[..]].concat();
        let told = String::from_utf8_lossy(&told);
        assert!(
            output.status.success() && told.contains("1 passed"),
            "{workers} workers: {}\n{told}",
            output.status
        );
    }
}

/// Ends this process if it has not ended by then.
fn end_after(limit: Duration) {
    let (sender, receiver) = mpsc::channel::<()>();
    let (starts, started) = mpsc::channel::<()>();
    thread::spawn(move || {
        drop(starts);
        if receiver.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            eprintln!("it hangs");
            std::process::abort();
        }
    });
    // As an OS thread starts it maps memory and gives some back, of which a test may count what there is.
    let _ = started.recv();
    // It lives as long as the process.
    std::mem::forget(sender);
}

/// Adopts this process, and runs `body` on a green thread.
pub(crate) fn on_a_green_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    roving_adopt::adopt().unwrap();
    thread::spawn(body).join().unwrap()
}

/// Runs `body`, all that the test `name` does, on a green thread of processes that are adopted, with each number of workers.
pub(crate) fn in_adopted_programs(name: &str, body: impl FnOnce() + Send + 'static) {
    in_programs(name, || on_a_green_thread(body));
}

/// Checks that `body` finds the same on an OS thread of a program that is not adopted, and, in one that is, on the thread that
/// has adopted it and on a green thread. It is what the test `name` does.
pub(crate) fn is_the_same<T>(name: &str, body: impl Fn() -> T + Copy + Send + 'static)
where
    T: PartialEq + Debug + Send + 'static,
{
    in_programs(name, move || {
        let on_an_os_thread = thread::spawn(body).join().unwrap();
        roving_adopt::adopt().unwrap();
        assert_eq!(body(), on_an_os_thread, "on the thread that has adopted");
        let on_a_green_thread = thread::spawn(body).join().unwrap();
        assert_eq!(on_a_green_thread, on_an_os_thread, "on a green thread");
    });
}

/// What a function of the C library gives, with its error if that is negative.
pub(crate) fn or_error<T: Into<i64>>(result: T) -> Result<i64, i32> {
    match result.into() {
        failed if failed < 0 => Err(io::Error::last_os_error().raw_os_error().unwrap()),
        result => Ok(result),
    }
}

/// Asks until it is so.
pub(crate) fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// More than there are workers, spares and threads of the test harness.
pub(crate) const MANY: usize = 300;

/// How many threads the kernel knows in this process.
pub(crate) fn os_threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}
