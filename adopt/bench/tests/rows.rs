//! Each row is done, on green threads and, where it makes none, on the OS thread of `main`.

use std::process::Command;

fn figure(row: &str, count: usize, kind: &str) -> f64 {
    let output = Command::new(env!("CARGO_BIN_EXE_roving-adopt-bench"))
        .args([row, &count.to_string(), kind])
        .output()
        .unwrap();
    assert!(output.status.success(), "{row}: {output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn every_row_is_done_by_green_threads() {
    for row in [
        "spawn and join",
        "channel, ping-pong",
        "condvar, ping-pong",
        "park and unpark, ping-pong",
        "mutex, 8 contenders",
        "yield, two in turn",
        "echo",
        "echo, 100 connections",
        "socket, a byte that is there",
        "pipe, a byte that is there",
        "mutex of the C library",
        "asleep",
        "parked",
        "at a channel",
        "at a condvar",
        "at a socket",
    ] {
        assert!(figure(row, 200, "green") > 0.0, "{row}");
    }
}

/// Without optimisation frames are several times as large.
#[cfg(not(debug_assertions))]
#[test]
fn a_thread_that_waits_has_touched_two_pages() {
    let page = rustix::param::page_size() as f64;
    for row in [
        "asleep",
        "parked",
        "at a channel",
        "at a condvar",
        "at a socket",
    ] {
        let bytes = figure(row, 2_000, "green");
        assert!(bytes < 3.0 * page, "{row}: {bytes}");
    }
}

#[test]
fn calls_are_made_by_an_os_thread() {
    for row in [
        "socket, a byte that is there",
        "pipe, a byte that is there",
        "mutex of the C library",
    ] {
        assert!(figure(row, 200, "os") > 0.0, "{row}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_roving-adopt-bench"))
        .args(["nothing", "1", "green"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
