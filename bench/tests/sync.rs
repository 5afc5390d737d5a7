//! `sync` runs, and its file says what its table does.

use std::process::Command;

#[test]
fn it_measures_every_row_and_writes_them_down() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("sync.json");
    let output = Command::new(env!("CARGO_BIN_EXE_roving-bench"))
        .args(["sync", "--quick", "--rounds", "1", "--only", "p", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    let results: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(results["schema"], 1);
    let rows = results["rows"].as_array().unwrap();
    assert!(rows.len() >= 6, "{rows:?}");
    for row in rows {
        assert!(table.contains(row["what"].as_str().unwrap()));
        assert!(row["median_ns"][0].as_f64().unwrap() > 0.0);
        assert!(row["ratio"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for arguments in [["--rounds", "0"], ["--workers", "0"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_roving-bench"))
            .arg("sync")
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
}
