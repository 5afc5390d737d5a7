//! The `connections` benchmark as a user runs it: small runs to their end, nonsense, tight limits,
//! and Ctrl-C.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn bench() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roving-bench"));
    command.arg("connections");
    command
}

fn files(command: &mut Command, directory: &Path) {
    command
        .arg("--json")
        .arg(directory.join("out.json"))
        .arg("--svg")
        .arg(directory.join("out.svg"));
}

fn shown(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The benchmark under a limit, as `ulimit` takes it.
fn bench_within(limit: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("ulimit {limit} && exec \"$0\" connections \"$@\""))
        .arg(env!("CARGO_BIN_EXE_roving-bench"))
        // The allocator may take some address space for each thread, or not: not.
        .env("MALLOC_ARENA_MAX", "1");
    command
}

/// What a run that ended well has left.
struct Run {
    said: String,
    results: Value,
    picture: String,
}

/// Runs the benchmark to a good end.
fn run(mut command: Command, arguments: &[&str]) -> Run {
    let directory = tempfile::tempdir().unwrap();
    files(&mut command, directory.path());
    let output = command.args(arguments).output().unwrap();
    let said = shown(&output);
    assert!(output.status.success(), "{said}");
    let file = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    Run {
        said,
        results: serde_json::from_str(&file("out.json")).unwrap(),
        picture: file("out.svg"),
    }
}

/// Runs the benchmark to a good end, and returns the results and the picture.
fn results(arguments: &[&str]) -> (Value, String) {
    let run = run(bench(), arguments);
    (run.results, run.picture)
}

/// Checks what holds for every row of a run that met no limit.
fn check_row(row: &Value) {
    let number = |field: &str| {
        row[field]
            .as_f64()
            .unwrap_or_else(|| panic!("{field} is no number in {row:#}"))
    };
    assert_eq!(row["established"], row["connections"], "{row:#}");
    assert_eq!(number("failed"), 0.0, "{row:#}");
    assert_eq!(number("wrong_bytes"), 0.0, "{row:#}");
    assert!(row["stopped_by"].is_null(), "{row:#}");
    for field in [
        "server_processes",
        "workers_per_process",
        "max_os_threads_per_process",
        "bytes_per_connection",
        "connects_per_second",
        "requests_per_second",
        "cpu_us_per_request",
    ] {
        assert!(number(field) > 0.0, "{field} in {row:#}");
    }
    let latency = |field: &str| row["latency_us"][field].as_f64().unwrap();
    assert!(latency("p50") > 0.0, "{row:#}");
    assert!(latency("p50") <= latency("p99"), "{row:#}");
    assert!(latency("p99") <= latency("p999"), "{row:#}");
    assert!(latency("p999") <= latency("max"), "{row:#}");
    let fairness = |field: &str| row["fairness"][field].as_u64().unwrap();
    assert!(fairness("slowest") <= fairness("fastest"), "{row:#}");
}

fn rows_of<'a>(results: &'a Value, server: &str) -> Vec<&'a Value> {
    results["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["server"] == server)
        .collect()
}

fn check_small_run(server: &str) -> Value {
    let (results, svg) = results(&[
        "--connections",
        "200",
        "--seconds",
        "1",
        "--servers",
        server,
    ]);
    assert_eq!(results["schema"], 1);
    assert_eq!(results["benchmark"], "connections");
    for field in ["cores", "memory_bytes"] {
        assert!(results["machine"][field].is_u64(), "machine has no {field}");
    }
    for field in [
        "cpu",
        "kernel",
        "c_library",
        "thread_locals",
        "guards",
        "rustc",
        "roving",
    ] {
        let text = results["machine"][field].as_str();
        assert!(
            text.is_some_and(|text| !text.is_empty()),
            "machine has no {field}"
        );
    }
    let rows = rows_of(&results, server);
    let connections: Vec<_> = rows
        .iter()
        .map(|row| row["connections"].as_u64().unwrap())
        .collect();
    assert_eq!(connections, [100, 200]);
    rows.into_iter().for_each(check_row);
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    results
}

#[test]
fn the_thread_server_is_measured() {
    let results = check_small_run("threads");
    for row in rows_of(&results, "threads") {
        let threads = row["max_os_threads_per_process"].as_u64().unwrap();
        assert!(threads > row["connections"].as_u64().unwrap(), "{row:#}");
    }
}

#[test]
fn the_green_thread_server_is_measured() {
    let results = check_small_run("roving");
    for row in rows_of(&results, "roving") {
        let threads = row["max_os_threads_per_process"].as_u64().unwrap();
        assert!(
            threads <= row["workers_per_process"].as_u64().unwrap() + 3,
            "{row:#}"
        );
    }
}

#[test]
fn the_adopted_server_is_measured() {
    let results = check_small_run("adopted");
    let is_green = results["machine"]["thread_locals"] == "own";
    for row in rows_of(&results, "adopted") {
        let (threads, connections) = (
            row["max_os_threads_per_process"].as_u64().unwrap(),
            row["connections"].as_u64().unwrap(),
        );
        assert_eq!(threads < connections / 2, is_green, "{row:#}");
    }
}

#[test]
fn some_active_connections_are_enough() {
    let (results, _) = results(&[
        "--connections",
        "150",
        "--seconds",
        "1",
        "--active",
        "7",
        "--message",
        "1000",
        "--servers",
        "threads",
    ]);
    let rows = rows_of(&results, "threads");
    rows.iter().copied().for_each(check_row);
    assert!(rows.iter().all(|row| row["active"] == 7));
}

#[test]
fn few_descriptors_take_more_processes() {
    let run = run(
        bench_within("-n 150"),
        &[
            "--connections",
            "300",
            "--seconds",
            "1",
            "--servers",
            "threads",
        ],
    );
    assert!(run.said.contains("150 descriptors"), "{}", run.said);
    let rows = rows_of(&run.results, "threads");
    rows.iter().copied().for_each(check_row);
    let last = rows.last().unwrap();
    assert_eq!(
        (
            last["server_processes"].as_u64(),
            last["client_processes"].as_u64()
        ),
        (Some(4), Some(4))
    );
}

#[test]
fn a_limit_that_stops_a_server_is_told_and_all_are_compared_below_it() {
    // Kibibytes of address space: enough to start, and for some hundreds of threads with stacks of
    // a mebibyte.
    let run = run(
        bench_within("-v 400000"),
        &[
            "--connections",
            "900",
            "--seconds",
            "1",
            "--servers",
            "threads",
            "--thread-stack-size",
            "1048576",
        ],
    );
    let rows = rows_of(&run.results, "threads");
    let number = |row: &Value, field: &str| row[field].as_u64().unwrap();
    let stopped = rows
        .iter()
        .find(|row| !row["stopped_by"].is_null())
        .expect("no limit was met");
    assert!(
        number(stopped, "established") < number(stopped, "connections"),
        "{stopped:#}"
    );
    // A server that runs out of memory altogether ends, and what it had established fails too.
    assert!(
        number(stopped, "established") + number(stopped, "failed")
            >= number(stopped, "connections"),
        "{stopped:#}"
    );
    assert!(
        stopped["requests_per_second"].is_null() && stopped["latency_us"].is_null(),
        "{stopped:#}"
    );
    assert!(run.said.contains("threads: stopped at"), "{}", run.said);
    // The largest number that was held is below what was reached, and clean.
    let held = rows
        .iter()
        .filter(|row| row["stopped_by"].is_null())
        .max_by_key(|row| number(row, "connections"));
    let held = held.expect("nothing was held");
    assert!(
        number(held, "connections") <= number(stopped, "established"),
        "{}",
        run.said
    );
    check_row(held);
}

#[test]
fn a_limit_that_the_server_names_is_told_as_it_says() {
    // As above; the green threads' stacks are what there is no room for.
    let Run { said, .. } = run(
        bench_within("-v 800000"),
        &[
            "--connections",
            "900",
            "--seconds",
            "1",
            "--servers",
            "roving",
            "--stack-size",
            "1048576",
        ],
    );
    let conclusion = said
        .lines()
        .find(|line| line.starts_with("roving: stopped at"));
    let conclusion = conclusion.expect(&said);
    assert!(
        conclusion.contains("no room for another green thread")
            && conclusion.contains("ulimit -v is 800000"),
        "{conclusion}"
    );
    assert!(!said.contains("no known limit reached"), "{said}");
}

/// Runs nonsense, and checks that it is told so, with these words, before anything was measured.
fn check_nonsense(arguments: &[&str], words: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = bench();
    files(&mut command, directory.path());
    let output = command.args(arguments).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(2),
        "{arguments:?}: {}",
        shown(&output)
    );
    let error = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(
            error.contains(word),
            "{arguments:?} does not say {word:?}: {error}"
        );
    }
    assert!(
        output.stdout.is_empty(),
        "{arguments:?}: {}",
        shown(&output)
    );
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "{arguments:?} left files"
    );
}

#[test]
fn nonsense_is_refused_before_any_work() {
    check_nonsense(&["--connections", "0"], &["--connections 0", "at least 1"]);
    check_nonsense(
        &["--connections", "4000000000"],
        &["this machine can hold about", "ask for at most"],
    );
    check_nonsense(&["--connections", "many"], &["many", "--connections"]);
    check_nonsense(&["--message", "0"], &["--message 0", "1 to 4096"]);
    check_nonsense(
        &["--message", "1000000"],
        &["--message 1000000", "1 to 4096"],
    );
    check_nonsense(&["--seconds", "0"], &["--seconds 0"]);
    check_nonsense(&["--active", "some"], &["`all` or a number"]);
    check_nonsense(
        &["--connections", "10", "--active", "11"],
        &["--active 11", "1 to 10"],
    );
    check_nonsense(&["--servers", "apache"], &["apache", "roving", "threads"]);
    check_nonsense(&["--servers", ""], &["roving", "threads"]);
    check_nonsense(&["--workers", "0"], &["--workers 0"]);
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_any_work() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good");
    for (option, other) in [("--json", "--svg"), ("--svg", "--json")] {
        let output = bench()
            .arg(other)
            .arg(&good)
            .args([option, "/proc/no/such/file"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            error.contains(option) && error.contains("cannot be written"),
            "{error}"
        );
        assert!(output.stdout.is_empty());
        assert!(!good.exists());
    }
}

/// The processes that have `parent`, as far as they still exist.
fn children_of(parent: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
        .unwrap_or_default();
    children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Starts a long run, and returns it with its child processes once it is under load.
fn under_load(directory: &Path) -> (std::process::Child, Vec<u32>) {
    let mut command = bench();
    files(&mut command, directory);
    let mut process = command
        .args([
            "--connections",
            "100",
            "--seconds",
            "3600",
            "--servers",
            "threads",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The line at the end of the idle phase is where the load begins.
    let mut lines = BufReader::new(process.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(
        lines.any(|line| line.contains("idle")),
        "it never came to its load"
    );
    let children = children_of(process.id());
    assert_eq!(children.len(), 2, "a server and a client");
    (process, children)
}

#[test]
fn an_interrupt_ends_all_processes_and_a_second_run_works() {
    let directory = tempfile::tempdir().unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let (mut process, children) = under_load(directory.path());
        kill_process(Pid::from_child(&process), signal).unwrap();
        assert_eq!(
            process.wait().unwrap().code(),
            Some(130),
            "after {signal:?}"
        );
        for child in children {
            assert!(!exists(child), "process {child} is left after {signal:?}");
        }
    }
    results(&[
        "--connections",
        "100",
        "--seconds",
        "1",
        "--servers",
        "threads",
    ]);
}

#[test]
fn no_child_outlives_a_benchmark_that_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut process, children) = under_load(directory.path());
    let exits: Vec<_> = children
        .iter()
        .map(|&child| {
            let pid = Pid::from_raw(child as i32).unwrap();
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
        })
        .collect();
    process.kill().unwrap();
    process.wait().unwrap();
    for exit in &exits {
        let mut ready = [rustix::event::PollFd::new(
            exit,
            rustix::event::PollFlags::IN,
        )];
        let limit = rustix::event::Timespec {
            tv_sec: 600,
            tv_nsec: 0,
        };
        assert_eq!(
            rustix::event::poll(&mut ready, Some(&limit)).unwrap(),
            1,
            "a process is left"
        );
    }
}
