//! A dump whenever SIGQUIT comes: to standard error or a file, whatever the program is stuck in.
//!
//! Each test runs in a process of its own, whose signals it has.

mod common;

use std::ffi::CString;
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
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

/// Where nothing is, not even what is left of an earlier process of the same number.
fn file(name: &str) -> PathBuf {
    let file = std::env::temp_dir().join(format!("roving-dump-{}-{name}", std::process::id()));
    let trace = trace_of(&file);
    for left in [&file, &trace, &part_of(&trace)] {
        let _ = fs::remove_file(left);
        let _ = fs::remove_dir(left);
    }
    file
}

/// The trace that comes with a dump.
fn trace_of(dump: &Path) -> PathBuf {
    PathBuf::from(format!("{}.trace.json", dump.display()))
}

/// What becomes of a trace that is being written.
fn part_of(trace: &Path) -> PathBuf {
    PathBuf::from(format!("{}.part", trace.display()))
}

/// One that is named, and parked.
fn forgotten(runtime: &Runtime) -> thread::JoinHandle<()> {
    parked(runtime, "forgotten")
}

fn parked(runtime: &Runtime, name: &str) -> thread::JoinHandle<()> {
    let forgotten = || {
        thread::Builder::new()
            .name(name.to_owned())
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

/// Has a dump taken in which a thread has the name. The parent reads it, and ends this.
fn dump_until_the_end(name: &str) {
    let runtime = Builder::new().workers(1).build().unwrap();
    let _parked = parked(&runtime, name);
    std::env::set_current_dir("/").unwrap();
    quit();
    std::thread::sleep(Duration::from_secs(300));
}

#[test]
fn what_is_said_goes_to_standard_error_where_the_file_cannot_be_written() {
    const NAME: &str = "what_is_said_goes_to_standard_error_where_the_file_cannot_be_written";
    if is_child(NAME) {
        return dump_until_the_end("forgotten");
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
    let pipe = file("pipe");
    let path = CString::new(pipe.to_str().unwrap()).unwrap();
    // SAFETY: the path ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    // Nobody reads it.
    with(
        path.to_str().unwrap(),
        "roving: dumps cannot be written to ",
    );
    fs::remove_file(pipe).unwrap();
}

#[test]
fn the_file_is_where_it_was_when_the_program_goes_to_another_folder() {
    const NAME: &str = "the_file_is_where_it_was_when_the_program_goes_to_another_folder";
    if is_child(NAME) {
        return dump_until_the_end("forgotten");
    }
    let _watchdog = watchdog("");
    let file = file("relative");
    let mut command = child(NAME);
    command.env("ROVING_DUMP", file.file_name().unwrap());
    command.current_dir(file.parent().unwrap());
    let mut child = command.spawn().unwrap();
    wait_for(&file, "\"forgotten\"");
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_file(file).unwrap();
}

/// Whoever shares it with the program may have made it one that does not block.
#[test]
fn standard_error_that_is_full_is_waited_for() {
    const NAME: &str = "standard_error_that_is_full_is_waited_for";
    // More than a pipe has room for.
    let long = "long".repeat(100_000);
    if is_child(NAME) {
        return dump_until_the_end(&long);
    }
    let _watchdog = watchdog("");
    let (mut reader, writer) = std::io::pipe().unwrap();
    // SAFETY: it sets a flag of a descriptor that is there.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    let mut command = child(NAME);
    command.env("ROVING_DUMP", "quit").stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let (mut text, mut part) = (Vec::new(), [0; 1024]);
    while text.len() < long.len() || !text.ends_with(b"\n") {
        let read = reader.read(&mut part).unwrap();
        text.extend(&part[..read]);
    }
    assert!(String::from_utf8(text).unwrap().contains(&long));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_trace_comes_with_it_where_events_are_recorded() {
    const NAME: &str = "a_trace_comes_with_it_where_events_are_recorded";
    if !is_child(NAME) {
        return drop(run(child(NAME)));
    }
    let _watchdog = watchdog("");
    let file = file("traced");
    let trace = trace_of(&file);
    let builder = Builder::new().workers(2).record(64);
    let runtime = builder.dump_on_signal(Some(file.clone())).build().unwrap();
    let forgotten = forgotten(&runtime);
    quit();
    let is_whole = |text: &str| {
        assert!(text.starts_with("{\"traceEvents\":["), "{text}");
        assert!(text.ends_with("}\n"), "{text}");
    };
    is_whole(&wait_for(&trace, "\"forgotten\""));
    assert!(wait_for(&file, " events\n").contains("\"forgotten\" runs"));

    // What comes later takes its place.
    forgotten.thread().unpark();
    forgotten.join().unwrap();
    quit();
    let run = "\"name\":\"forgotten\",";
    while wait_for(&trace, run).matches(run).count() < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    is_whole(&wait_for(&trace, run));

    // Where it cannot be written, the program goes on, and so do dumps.
    fs::remove_file(&trace).unwrap();
    fs::create_dir(&trace).unwrap();
    quit();
    while wait_for(&file, "0 green threads")
        .matches("0 green threads")
        .count()
        < 2
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    runtime.shutdown();
    while part_of(&trace).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    fs::remove_dir(trace).unwrap();
    fs::remove_file(file).unwrap();
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
    // The thread that got the signal may be about to.
    while CALLS.load(Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
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
