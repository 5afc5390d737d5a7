//! Finished programs do by `roving-run` what they do as ever, on few OS threads.

mod common;

use std::ffi::OsStr;
use std::path::Path;

use common::{beside, compile, does_the_same, not_tested, os_threads};

/// More than there are workers and spares, of 200.
const MANY: usize = 100;

#[test]
fn threads_that_sleep() {
    let Some(sleepers) = compile("sleepers.c", &[]) else {
        return;
    };
    for (workers, says) in does_the_same(sleepers.path(), &[]) {
        let os_threads = os_threads(&says);
        assert!(os_threads < MANY, "{os_threads} with {workers} workers");
    }
}

#[test]
fn what_becomes_of_processes() {
    let Some(processes) = compile("processes.c", &[]) else {
        return;
    };
    for way in [
        "exits",
        "exits at once",
        "is killed",
        "aborts",
        "executes",
        "executes in a child",
        "goes on in a child",
        "forks first",
        "closes all",
        "daemon",
    ] {
        for (_, says) in does_the_same(processes.path(), &[OsStr::new(way)]) {
            assert_eq!(says, "", "{way}");
        }
    }
}

#[test]
fn python() {
    let python = Path::new("/usr/bin/python3");
    if !python.exists() {
        return not_tested("there is no /usr/bin/python3");
    }
    for (_, says) in does_the_same(python, &[beside("queues.py").as_os_str()]) {
        os_threads(&says);
    }
}

#[test]
fn programs_without_threads() {
    let script = "echo one; echo two | cat; (exit 3); echo $?; cat </dev/null; exit 4";
    for (_, says) in does_the_same("sh", &["-c", script].map(OsStr::new)) {
        assert_eq!(says, "");
    }
    let this = beside("sleepers.c");
    does_the_same("cat", &[this.as_os_str()]);
    does_the_same("cat", &[OsStr::new("/no/such/file")]);
}
