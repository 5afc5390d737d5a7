//! What `roving-run` takes, and what it refuses.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use common::{as_ever, compile, green, library, not_tested, os_threads};

/// More than there are workers and spares, of 200.
const MANY: usize = 100;

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn refused(program: impl AsRef<OsStr>, status: i32, why: &str) {
    let output = green(2, &[], program, &[]);
    let says = says(&output);
    assert_eq!(output.status.code(), Some(status), "{says}");
    assert!(
        says.starts_with("roving-run: ") && says.contains(why),
        "{says}"
    );
    assert_eq!(says.lines().count(), 1, "{says}");
}

#[test]
fn what_cannot_be_adopted_is_refused() {
    refused("no-such-program", 127, "no such program");
    refused("/no/such/program", 127, "no such program");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, begin: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, begin).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    refused(
        file("text", b"echo hello\n"),
        126,
        "neither a program nor a script",
    );
    refused(
        file(
            "endless",
            format!("#!{}/endless\n", folder.path().display()).as_bytes(),
        ),
        126,
        "neither",
    );
    refused(
        file("lost", b"#!/no/such/interpreter\n"),
        126,
        "cannot be read",
    );
    let this = fs::read(env!("CARGO_BIN_EXE_roving-run")).unwrap();
    let mut other_machine = this.clone();
    other_machine[18..20].copy_from_slice(&object::elf::EM_RISCV.to_le_bytes());
    refused(file("riscv", &other_machine), 126, "RISC-V");
    refused(file("broken", &this[..100]), 126, "neither");
    let mut musl = this.clone();
    let interpreter = b"/lib64/ld-linux-x86-64.so.2";
    if let Some(at) = musl
        .windows(interpreter.len())
        .position(|bytes| bytes == interpreter)
    {
        musl[at..at + interpreter.len()].copy_from_slice(b"/lib64/ld-musl-x86_64.so.1\0");
        refused(file("musl", &musl), 126, "musl");
    }
    let Some(statically) = compile("sleepers.c", &["-static"]) else {
        return;
    };
    refused(statically.path(), 126, "linked statically");
}

/// Only root can make such programs and be somebody else.
#[test]
fn rights_of_others_are_refused() {
    let Some(program) = compile("sleepers.c", &[]) else {
        return;
    };
    let path = program.path();
    if std::os::unix::fs::chown(&path, Some(1), Some(1)).is_err() {
        return not_tested("whoever tests is not root");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    refused(&path, 126, "privileges that you do not have");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o2755)).unwrap();
    refused(&path, 126, "privileges that you do not have");
}

#[test]
fn scripts_are_run_by_their_interpreters() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    fs::write(&script, "#! /bin/sh\necho \"$0 $*\"; exit 4\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let arguments = ["--report", "-x"].map(OsStr::new);
    let output = green(2, &[], &script, &arguments);
    assert_eq!(output, as_ever(&script, &arguments));
}

#[test]
fn children_inherit_it_or_do_not() {
    let Some(sleepers) = compile("sleepers.c", &[]) else {
        return;
    };
    let path = sleepers.path();
    let os_threads = |options: &[&str], script: &str| {
        let arguments = [OsStr::new("-c"), OsStr::new(script), path.as_os_str()];
        os_threads(&says(&green(2, options, "sh", &arguments)))
    };
    // Not the last command of the script, which a shell may become.
    let (starts, becomes) = ("\"$0\"; exit 0", "exec \"$0\"");
    assert!(os_threads(&[], starts) < MANY);
    assert!(os_threads(&["--inherit"], starts) < MANY);
    assert!(os_threads(&["--no-inherit"], starts) > MANY);
    assert!(os_threads(&["--no-inherit", "--inherit"], starts) < MANY);
    assert!(os_threads(&["--no-inherit"], becomes) < MANY);
}

#[test]
fn a_report_tells_what_became_green() {
    let Some(sleepers) = compile("sleepers.c", &[]) else {
        return;
    };
    let report = says(&green(2, &["--report"], sleepers.path(), &[]));
    assert!(report.contains("roving: program ("), "{report}");
    assert!(
        report.contains("200 green threads were made, on 2 workers"),
        "{report}"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report");
    let option = format!("--report={}", file.display());
    // It closes its standard error before.
    for program in ["ls", "ls"] {
        assert_eq!(says(&green(2, &[&option], program, &[])), "");
    }
    let report = fs::read_to_string(file).unwrap();
    assert_eq!(
        report
            .matches("it was not adopted: 0 threads were made")
            .count(),
        2,
        "{report}"
    );
    let closes = green(2, &["--report"], "ls", &[]);
    assert!(
        says(&closes).contains("it was not adopted"),
        "{}",
        says(&closes)
    );
}

#[test]
fn a_report_tells_who_called_what_waits() {
    // Its functions have names that the loader knows.
    let Some(writes) = compile("writes.c", &["-rdynamic"]) else {
        return;
    };
    let report = says(&green(2, &["--report"], writes.path(), &[]));
    let (counts, longest) = report.split_once("the longest of these:").expect(&report);
    assert!(
        counts.contains("15  fsync, by writes_out in program"),
        "{report}"
    );
    let one = "ms  fsync, by writes_out in program";
    assert_eq!(longest.matches(one).count(), 10, "{report}");
    // As an OS thread it keeps nobody else from anything.
    let path = writes.path();
    let excepts = OsStr::new("ROVING_ADOPT=-libother,-writes_out");
    let arguments = [excepts, path.as_os_str()];
    let report = says(&green(2, &["--report"], "env", &arguments));
    assert!(report.contains("roving: program ("), "{report}");
    assert!(
        report.contains(" 0 green threads were made") && !report.contains("fsync"),
        "{report}"
    );
}

#[test]
fn what_was_to_be_loaded_before_still_is() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roving-run"));
    command.arg("--library").arg(library());
    command
        .args(["sh", "-c", "echo $LD_PRELOAD"])
        .env("LD_PRELOAD", "libc.so.6");
    let output = command.output().unwrap();
    let expected = format!("{}:libc.so.6\n", library().display());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn without_a_library_it_says_so() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roving-run"));
    let output = command
        .args(["--library", "/no/such.so", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(says(&output).contains("there is no library /no/such.so"));
}

#[test]
fn a_library_that_the_loader_does_not_take_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let spaced = folder.path().join("a space.so");
    fs::write(&spaced, "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_roving-run"));
    let output = command.arg("--library").arg(&spaced).arg("true").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(125));
    let says = says(&output);
    assert!(
        says.contains("a space or a colon") && says.ends_with("; --library names another path\n"),
        "{says}"
    );
}

#[test]
fn where_it_is_refused_the_program_goes_on() {
    let Some(sleepers) = compile("sleepers.c", &[]) else {
        return;
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_roving-run"));
    command.arg("--library").arg(library()).arg(sleepers.path());
    let output = command
        .env("ROVING_THREAD_LOCALS", "pinned")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stdout, b"19900\n");
    let says = says(&output);
    assert!(
        says.contains("roving: cannot adopt the program: "),
        "{says}"
    );
    assert!(os_threads(&says) > MANY, "{says}");
}
