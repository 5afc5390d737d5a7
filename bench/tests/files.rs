//! `files` runs, with one row of it for all.

use std::process::Command;

#[test]
fn it_measures_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("files.json");
    let place = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_roving-bench"))
        .args([
            "files", "--quick", "--rounds", "1", "--only", "sync", "--json",
        ])
        .arg(&json)
        .env("TMPDIR", place.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let results: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(results["benchmark"], "files");
    let row = &results["rows"][0];
    assert_eq!(row["what"], "write and sync, 32 threads");
    for peer in [0, 1, 3] {
        assert!(row["median_ns"][peer].as_f64().unwrap() > 0.0);
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}
