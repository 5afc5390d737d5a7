//! What a program answers at its console, and where that is.
//!
//! Each test runs in a process of its own, which has its console for itself.

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{WORKER_COUNTS, child, is_child, printed, run, watchdog};
use roving::thread::{self, State};
use roving::{Builder, Runtime};
use serde_json::Value;

/// A path at which there is nothing.
fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("roving-console-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

/// Asks until there is an answer: who takes too long to ask is sent away.
fn asked_at(path: &Path, line: &[u8]) -> String {
    loop {
        let mut stream = UnixStream::connect(path).unwrap();
        let mut answer = String::new();
        let asked = stream.write_all(&[line, b"\n"].concat());
        match asked.and_then(|()| stream.read_to_string(&mut answer)) {
            Ok(0) => {}
            Ok(length) => {
                assert_eq!(answer.find('\n'), Some(length - 1), "one line");
                return answer;
            }
            Err(error) => {
                let is_sent_away = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                assert!(is_sent_away.contains(&error.kind()), "{error}");
            }
        }
    }
}

fn ask(path: &Path, line: &str) -> Value {
    serde_json::from_str(&asked_at(path, line.as_bytes())).unwrap()
}

/// A thread of that name that waits in this function.
fn parked(runtime: &Runtime) -> thread::JoinHandle<()> {
    let spawn = || {
        thread::Builder::new()
            .name("waits".to_owned())
            .spawn(waits_here)
    };
    let parked = runtime.run(spawn).unwrap();
    while !matches!(parked.thread().state(), State::Parked(_)) {
        std::thread::yield_now();
    }
    parked
}

#[inline(never)]
fn waits_here() {
    thread::park();
    std::hint::black_box(());
}

fn thread_named<'a>(threads: &'a Value, name: &str) -> &'a Value {
    let mut threads = threads["threads"].as_array().unwrap().iter();
    let found = threads.find(|thread| thread["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {name}"))
}

#[test]
fn it_answers_also_when_all_workers_are_stuck() {
    const NAME: &str = "it_answers_also_when_all_workers_are_stuck";
    if !is_child(NAME) {
        return drop(run(child(NAME)));
    }
    let _watchdog = watchdog("");
    let path = path("stuck");
    let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    for workers in WORKER_COUNTS {
        let builder = Builder::new().workers(workers).max_spares(0);
        let runtime = builder.console(&path).build().unwrap();
        let waits = parked(&runtime);
        stop.store(false, Ordering::Release);
        let computes = || while !stop.load(Ordering::Acquire) {};
        let stuck: Vec<_> = (0..workers).map(|_| runtime.spawn(computes)).collect();
        let runs =
            |stuck: &thread::JoinHandle<_>| matches!(stuck.thread().state(), State::Running(..));
        while !stuck.iter().all(runs) {
            std::thread::yield_now();
        }

        let metrics = ask(&path, "metrics");
        assert_eq!(metrics["pid"], std::process::id());
        assert_eq!(metrics["runtimes"][0]["running"], workers, "{metrics}");
        assert_eq!(metrics["runtimes"][0]["parked"], 1);

        let threads = ask(&path, "threads");
        assert_eq!(threads["threads"].as_array().unwrap().len(), workers + 1);
        assert_eq!(threads["left_out"], 0);
        let told = thread_named(&threads, "waits");
        assert_eq!(told["state"], "parked");
        assert_eq!(told["why"], "park");
        assert!(
            told["spawned_at"].as_str().unwrap().contains("console.rs"),
            "{told}"
        );
        assert!(told["seconds"].is_f64(), "{told}");
        let running = |thread: &&Value| thread["state"] == "running" && thread["worker"].is_u64();
        let threads = threads["threads"].as_array().unwrap();
        assert_eq!(threads.iter().filter(running).count(), workers);

        let one = ask(&path, &format!("thread {}", told["id"]));
        assert_eq!(
            (&one["alive"], &one["parked"]),
            (&1.into(), &1.into()),
            "{one}"
        );
        let stack = one["groups"][0]["stack"].to_string();
        assert!(stack.contains("waits_here"), "{one}");

        let dump = ask(&path, "dump");
        assert_eq!(dump["running"], workers);
        assert_eq!(dump["alive"], workers + 1);

        stop.store(true, Ordering::Release);
        waits.thread().unpark();
        waits.join().unwrap();
        stuck.into_iter().for_each(|stuck| stuck.join().unwrap());
        runtime.shutdown();
    }
}

#[test]
fn what_it_does_not_know_it_says() {
    const NAME: &str = "what_it_does_not_know_it_says";
    if !is_child(NAME) {
        return drop(run(child(NAME)));
    }
    let _watchdog = watchdog("");
    let path = path("questions");
    let _runtime = Builder::new().workers(1).console(&path).build().unwrap();
    let error = |line: &str| ask(&path, line)["error"].as_str().unwrap().to_owned();
    assert_eq!(
        error("thread 4711"),
        "there is no green thread 4711, or no more"
    );
    assert_eq!(error("thread x"), "there is no green thread x, or no more");
    assert_eq!(
        error("hello"),
        "\"hello\" is none of metrics, threads, thread N and dump"
    );
    assert!(error("").starts_with("\"\" is none"));
    assert!(error(&"x".repeat(200)).contains("is none"));
    assert!(asked_at(&path, b"\xff").contains("is none"));
    // Who says nothing holds nobody up for ever.
    let silent = UnixStream::connect(&path).unwrap();
    assert!(ask(&path, "metrics")["runtimes"].is_array());
    drop(silent);
    // Nor does who takes his time.
    let mut slow = UnixStream::connect(&path).unwrap();
    let is_answered = AtomicBool::new(false);
    let bytes = std::thread::scope(|scope| {
        let drips = scope.spawn(|| {
            let mut bytes = 0;
            while !is_answered.load(Ordering::Acquire) && slow.write_all(b"x").is_ok() {
                bytes += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            bytes
        });
        assert!(ask(&path, "metrics")["runtimes"].is_array());
        is_answered.store(true, Ordering::Release);
        drips.join().unwrap()
    });
    assert!(bytes < 200, "it was heard to its end");
}

/// Starts a process that asks for a console at `path` and waits until it is told to end; gives what it has said by then.
fn said_by_one_at(name: &str, path: &Path, meanwhile: impl FnOnce()) -> String {
    let mut process = child(name);
    process.env("ROVING_CONSOLE", path);
    process.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = process.stderr(Stdio::piped()).spawn().unwrap();
    // It says when it has begun.
    let mut said = Vec::new();
    while !said.ends_with(b"has begun\n") {
        let mut byte = [0];
        process
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut byte)
            .unwrap();
        said.extend(byte);
    }
    meanwhile();
    drop(process.stdin.take());
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", printed(&output));
    printed(&output)
}

#[test]
fn its_file_is_of_this_user_and_goes_with_the_process() {
    const NAME: &str = "its_file_is_of_this_user_and_goes_with_the_process";
    if is_child(NAME) {
        let _runtime = Builder::new().workers(1).build().unwrap();
        println!("has begun");
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let _watchdog = watchdog("");

    let free = path("free");
    let is_private = || {
        let file = fs::symlink_metadata(&free).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert!(ask(&free, "metrics")["runtimes"].is_array());
    };
    let said = said_by_one_at(NAME, &free, is_private);
    assert!(!said.contains("roving:"), "{said}");
    assert!(!free.exists(), "it is gone with its process");

    // One that was killed has left its file.
    drop(UnixListener::bind(&free).unwrap());
    // A process that is started meanwhile has it until it executes its program.
    while UnixStream::connect(&free).is_ok() {}
    let said = said_by_one_at(NAME, &free, is_private);
    assert!(!said.contains("roving:"), "{said}");

    let no_console = |path: &Path, why: &str| {
        let said = said_by_one_at(NAME, path, || ());
        let line = format!("roving: there is no console at {}: {why}", path.display());
        assert_eq!(said.matches("roving:").count(), 1, "{said}");
        assert!(said.contains(&line), "{said}");
    };
    let taken = UnixListener::bind(&free).unwrap();
    no_console(&free, "somebody listens there\n");
    taken.set_nonblocking(true).unwrap();
    // Who tried has been here, and is gone. The file is there.
    while taken
        .accept()
        .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    {}
    assert!(free.exists());
    drop(taken);
    fs::remove_file(&free).unwrap();

    fs::write(&free, "precious").unwrap();
    no_console(&free, "there is a file that is no socket\n");
    assert_eq!(fs::read(&free).unwrap(), b"precious");
    fs::remove_file(&free).unwrap();

    no_console(
        Path::new("/no/such/folder/console"),
        "No such file or directory",
    );
    no_console(
        Path::new(&format!("/tmp/{}", "x".repeat(200))),
        "path must be shorter",
    );
}
