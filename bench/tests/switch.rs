//! `switch` runs, and its file says what its table does.

use std::process::Command;

#[test]
fn it_measures_every_row_and_writes_them_down() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("switch.json");
    let output = Command::new(env!("CARGO_BIN_EXE_roving-bench"))
        .args(["switch", "--quick", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).contains("debug build");
    assert_eq!(told, cfg!(debug_assertions), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    let results: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(results["schema"], 1);
    let build = results["machine"]["build"].as_str().unwrap();
    assert!(build.starts_with("opt-level "), "{build}");
    assert_eq!(build.contains("debug assertions"), cfg!(debug_assertions));
    assert_eq!(results["rounds"], 3);
    let rows = results["rows"].as_array().unwrap();
    assert!(rows.len() >= 24, "{rows:?}");
    for row in rows {
        assert!(table.contains(row["what"].as_str().unwrap()));
        let figure = |name: &str| row[name].as_f64().unwrap();
        assert!(figure("least_ns") > 0.0);
        assert!(figure("least_ns") <= figure("median_ns"));
        assert!(figure("median_ns") <= figure("most_ns"));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_roving-bench"))
        .args(["switch", "--rounds", "0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
