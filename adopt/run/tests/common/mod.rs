//! What the tests share: programs, run as ever and by `roving-run`.

// Each file of tests is a program of its own, and uses a part of this.
#![allow(dead_code)]

use std::env;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The sizes of runtimes that everything is tested with.
pub(crate) const WORKER_COUNTS: [usize; 3] = [1, 2, 8];

/// Far more than any program takes, so that it tells a hang from a slow machine. In seconds.
const LIMIT: &str = "120";

/// A program that was compiled for a test.
pub(crate) struct Compiled {
    folder: TempDir,
}

impl Compiled {
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }
}

/// Compiles a program in C or C++; `None`, with a message, if there is no compiler.
pub(crate) fn compile(source: &str, options: &[&str]) -> Option<Compiled> {
    let folder = tempfile::tempdir().unwrap();
    let compiled = Compiled { folder };
    let (name, standard) = if source.ends_with(".cpp") {
        ("c++", "-std=c++20")
    } else {
        ("cc", "-std=gnu11")
    };
    let mut compiler = Command::new(name);
    compiler
        .arg(standard)
        .args(["-O1", "-pthread", "-o"])
        .arg(compiled.path());
    compiler.arg(beside(source)).args(options);
    match compiler.output() {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            not_tested(&format!("there is no compiler, {name}"));
            return None;
        }
        Err(error) => panic!("{error}"),
    }
    Some(compiled)
}

/// One of the programs of the tests.
pub(crate) fn beside(source: &str) -> PathBuf {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    programs.join(source)
}

/// Says on standard error, past what the test harness keeps to itself, that a test has tested nothing.
pub(crate) fn not_tested(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "not tested: {why}");
}

/// As it is run without `roving-run`.
pub(crate) fn as_ever(program: impl AsRef<OsStr>, arguments: &[&OsStr]) -> Output {
    let mut command = Command::new("timeout");
    command.arg(LIMIT).arg(program).args(arguments);
    command.output().unwrap()
}

/// By `roving-run`, with what it is given before the program.
pub(crate) fn green(
    workers: usize,
    options: &[&str],
    program: impl AsRef<OsStr>,
    arguments: &[&OsStr],
) -> Output {
    let mut command = Command::new("timeout");
    command.arg(LIMIT).arg(env!("CARGO_BIN_EXE_roving-run"));
    command.arg("--library").arg(library()).args(options);
    command.arg(program).args(arguments);
    command.env("ROVING_WORKERS", workers.to_string());
    command.output().unwrap()
}

/// Where cargo has put it, beside this program.
pub(crate) fn library() -> PathBuf {
    let this = env::current_exe().unwrap();
    this.parent().unwrap().join("libroving_preload.so")
}

/// A library that is an example of `roving-adopt`, built beside this program.
pub(crate) fn example(name: &str) -> PathBuf {
    let this = env::current_exe().unwrap();
    let folder = this.ancestors().nth(2).unwrap();
    let target = folder.parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--package", "roving-adopt"]);
    cargo.args(["--example", name, "--target-dir"]).arg(target);
    let built = cargo.status().unwrap();
    assert!(built.success());
    folder.join(format!("examples/lib{name}.so"))
}

/// Asserts that it does by `roving-run` what it does as ever, and gives what it says on standard error with each number of workers.
#[track_caller]
pub(crate) fn does_the_same(
    program: impl AsRef<OsStr>,
    arguments: &[&OsStr],
) -> Vec<(usize, String)> {
    let expected = as_ever(&program, arguments);
    let same = |workers| {
        let output = green(workers, &[], &program, arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            (output.status, String::from_utf8_lossy(&output.stdout)),
            (expected.status, String::from_utf8_lossy(&expected.stdout)),
            "with {workers} workers: {error}"
        );
        (workers, error)
    };
    WORKER_COUNTS.map(same).into()
}

/// How many OS threads a program says that it has.
#[track_caller]
pub(crate) fn os_threads(says: &str) -> usize {
    let number = says
        .lines()
        .find_map(|line| line.strip_prefix("OS threads: "));
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{says}"))
}
