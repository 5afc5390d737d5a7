//! The fuzzer as it is used: programs that must pass do, and what must fail is told.

use std::fs;
use std::process::{Command, Output};

fn fuzz(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roving-fuzz"))
        .args(arguments)
        .output()
        .unwrap()
}

fn printed(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    streams.map(|text| String::from_utf8_lossy(text)).concat()
}

#[test]
fn programs_end_leave_nothing_alive_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let output = fuzz(&[
        "run",
        "--seed",
        "1",
        "--seconds",
        "10",
        "--limit",
        "120",
        "--out",
        out,
    ]);
    assert!(output.status.success(), "{}", printed(&output));
    assert!(printed(&output).contains(", 0 failures"));
}

#[test]
fn a_seed_gives_the_same_program_each_time() {
    let [one, other] = [(); 2].map(|()| printed(&fuzz(&["show", "7"])));
    assert_eq!(one, other);
    assert!(one.contains("seed 7"));
    assert_ne!(one, printed(&fuzz(&["show", "8"])));
}

/// Runs a program of one green thread a few times.
fn replay(bounded: bool, body: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program.json");
    let program = format!(
        r#"{{"seed":0,"workers":2,"pinned":false,"migrate":false,"bounded":{bounded},"channels":[],
            "roots":[{{"green":true,"body":{body}}}],"end":"Join"}}"#
    );
    fs::write(&file, program).unwrap();
    let file = file.to_str().unwrap();
    let output = fuzz(&["replay", file, "--times", "3", "--limit", "2"]);
    (output.status.success(), printed(&output))
}

#[test]
fn what_does_not_end_by_itself_is_told_with_the_place_where_it_is() {
    let waits = r#"["Yield",{"BarrierWait":0}]"#;
    let (passed, told) = replay(true, waits);
    assert!(!passed, "{told}");
    assert!(told.contains("A program hangs"), "{told}");
    assert!(told.contains("3     BarrierWait(0)"), "{told}");
    assert!(told.contains("is at line 3"), "{told}");
    // The end cancels it, if it may.
    let (passed, told) = replay(false, waits);
    assert!(passed, "{told}");
}

#[test]
fn a_program_that_takes_its_process_along_is_told() {
    // A destructor that panics while its thread unwinds.
    let panics = r#"[{"AtEnd":"Panic"}]"#;
    let (passed, told) = replay(true, panics);
    assert!(!passed, "{told}");
    assert!(told.contains("takes its process along"), "{told}");
}
