//! A dump whenever SIGQUIT comes: to standard error or a file, whatever the program is stuck in.
//!
//! Each test runs in a process of its own, whose signals it has.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{child, compute_until, is_child, printed, run, watchdog};
use roving_scheduler::{Builder, Runtime, thread};

fn quit() {
    // SAFETY: a signal to this process.
    assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGQUIT) }, 0);
}

/// What a child has added to the file when its dump is there.
fn wait_for(file: &PathBuf, mark: &str) -> String {
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.contains(mark) {
            return text;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn file(name: &str) -> PathBuf {
    let file = std::env::temp_dir().join(format!("roving-dump-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&file);
    file
}

/// One that is named, and parked.
fn forgotten(runtime: &Runtime) -> thread::JoinHandle<()> {
    let forgotten = || {
        thread::Builder::new()
            .name("forgotten".to_owned())
            .spawn(thread::park)
    };
    let forgotten = runtime.run(forgotten).unwrap();
    while !matches!(forgotten.thread().state(), thread::State::Parked(_)) {
        std::thread::yield_now();
    }
    forgotten
}

#[test]
fn it_goes_to_a_file_also_when_all_workers_are_stuck() {
    const NAME: &str = "it_goes_to_a_file_also_when_all_workers_are_stuck";
    if !is_child(NAME) {
        return drop(run(child(NAME)));
    }
    let _watchdog = watchdog("");
    let file = file("stuck");
    let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    for workers in [1, 2, 8] {
        let builder = Builder::new().workers(workers);
        let runtime = builder.dump_on_signal(Some(file.clone())).build().unwrap();
        let _forgotten = forgotten(&runtime);
        stop.store(false, Ordering::Release);
        let stuck: Vec<_> = (0..workers)
            .map(|_| runtime.spawn(|| compute_until(stop)))
            .collect();
        while stuck
            .iter()
            .any(|stuck| !matches!(stuck.thread().state(), thread::State::Running(..)))
        {
            std::thread::yield_now();
        }
        for dumps in 1..=2 {
            quit();
            let running = format!("{} green threads: {workers} running", workers + 1);
            while wait_for(&file, &running).matches(&running).count() < dumps {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        assert!(wait_for(&file, "\"forgotten\"").contains(": park, at "));
        stop.store(true, Ordering::Release);
        runtime.shutdown();
    }
    fs::remove_file(file).unwrap();
}

#[test]
fn what_is_said_goes_to_standard_error_where_the_file_cannot_be_written() {
    const NAME: &str = "what_is_said_goes_to_standard_error_where_the_file_cannot_be_written";
    if is_child(NAME) {
        let runtime = Builder::new().workers(1).build().unwrap();
        let _forgotten = forgotten(&runtime);
        quit();
        // Its parent reads what it says, and ends it.
        std::thread::sleep(Duration::from_secs(300));
        return;
    }
    let with = |value: &str, line: &str| {
        let _watchdog = watchdog(value);
        let said = file("said");
        let mut command: Command = child(NAME);
        command.env("ROVING_DUMP", value);
        let mut child = command
            .stderr(fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let text = wait_for(&said, "\"forgotten\"");
        assert!(text.contains(line), "{text}");
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(said).unwrap();
    };
    with("quit", "1 green thread: 0 running, 0 runnable, 1 parked");
    with(
        "/no/such/folder/dump",
        "roving: dumps cannot be written to /no/such/folder/dump and go to standard error: No such file",
    );
}

#[test]
fn a_handler_that_was_there_before_is_called_too() {
    const NAME: &str = "a_handler_that_was_there_before_is_called_too";
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: libc::c_int) {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
    if !is_child(NAME) {
        return drop(run(child(NAME)));
    }
    let _watchdog = watchdog("");
    let file = file("chained");
    // SAFETY: the handler only counts.
    unsafe { libc::signal(libc::SIGQUIT, count as *const () as libc::sighandler_t) };
    let builder = Builder::new().workers(1).dump_on_signal(Some(file.clone()));
    let runtime = builder.build().unwrap();
    quit();
    wait_for(&file, "0 green threads");
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    runtime.shutdown();
    fs::remove_file(file).unwrap();
}

#[test]
fn without_being_asked_for_the_signal_ends_the_process() {
    const NAME: &str = "without_being_asked_for_the_signal_ends_the_process";
    if is_child(NAME) {
        let runtime = Builder::new().workers(1).build().unwrap();
        runtime.run(quit);
        std::thread::sleep(Duration::from_secs(300));
        return;
    }
    let output = child(NAME).output().unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(
        output.status.signal(),
        Some(libc::SIGQUIT),
        "{}",
        printed(&output)
    );
}
