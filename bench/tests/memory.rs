//! `memory` runs, and tells a figure of each row and layout.

use std::process::Command;

#[test]
fn it_measures_every_row_in_both_layouts() {
    let output = Command::new(env!("CARGO_BIN_EXE_roving-bench"))
        .args(["memory", "--threads", "200", "--most", "400"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<u64>> = table
        .lines()
        .filter_map(|line| {
            let figures = line.split_whitespace().rev().take(3);
            figures.map(|figure| figure.parse().ok()).collect()
        })
        .collect();
    assert_eq!(rows.len(), 6, "{table}");
    for row in rows {
        assert!(row.iter().all(|&figure| figure > 0), "{table}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_roving-bench"))
        .args(["memory", "--threads", "0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
