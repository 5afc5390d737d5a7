//! The public API of the published crates, against a baseline: a file for each crate in `api/`, with a line for each item. A
//! difference is shown, and fails. `make api ARGS=--bless` stores a new baseline.
//!
//! - The items are those that rustdoc documents, with all features, on Linux with glibc. What the facade re-exports is there a line with
//!   its name; what it is, is in the file of the crate that defines it.
//! - Auto traits (`Send`, `Sync`, `Unpin`, `UnwindSafe`, `RefUnwindSafe`) are lines too: they are promised without being written anywhere.
//! - The JSON that rustdoc writes has a format of each compiler version. So this takes the compiler of the workspace, and fails with others.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use public_api::Builder;

const CRATES: [&str; 4] = ["roving", "roving-adopt", "roving-io", "roving-scheduler"];

/// Auto traits of the compiler's own, which programs cannot name.
const UNNAMED: [&str; 2] = ["core::marker::Freeze", "core::marker::UnsafeUnpin"];

fn main() -> ExitCode {
    let blesses = env::args().any(|argument| argument == "--bless");
    check_compiler();
    let mut differ = 0;
    for name in CRATES {
        let path = baseline(name);
        let now = api(name);
        if blesses {
            fs::write(&path, now).expect("the folder is there");
            continue;
        }
        let before = fs::read_to_string(&path).unwrap_or_default();
        let difference = difference(&before, &now);
        println!(
            "{name}: {} lines, {} differ",
            now.lines().count(),
            difference.len()
        );
        for line in &difference {
            println!("{line}");
        }
        differ += difference.len();
    }
    if differ == 0 {
        return ExitCode::SUCCESS;
    }
    println!("the public API has changed; if that is meant, store it: make api ARGS=--bless");
    ExitCode::FAILURE
}

/// Panics if this is another compiler than all is tested with.
fn check_compiler() {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = Command::new(rustc).arg("--version").output();
    let told = told.expect("rustc can be run").stdout;
    let told = String::from_utf8_lossy(&told);
    let ours = concat!("rustc ", env!("CARGO_PKG_RUST_VERSION"), ".");
    assert!(
        told.starts_with(ours),
        "cannot compare the public API: the baseline was made by {ours}*, and other compilers have other formats: {told}"
    );
}

fn baseline(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("api").join(name).with_extension("txt")
}

/// All items of a crate, a line each.
fn api(name: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Build scripts ask what the compiler can do, so what is built elsewhere would be built anew.
    let target = workspace.join("target/api");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "rustdoc",
        "--quiet",
        "--locked",
        "--lib",
        "--all-features",
        "--package",
        name,
    ]);
    cargo
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&workspace);
    cargo.args([
        "--",
        "-Zunstable-options",
        "--output-format=json",
        "--cap-lints=allow",
    ]);
    cargo.env("RUSTC_BOOTSTRAP", "1");
    let told = cargo.output().expect("cargo can be run");
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    let json = target
        .join("doc")
        .join(name.replace('-', "_"))
        .with_extension("json");
    let items = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .build();
    let items =
        items.unwrap_or_else(|error| panic!("cannot read what rustdoc tells of {name}: {error}"));
    let lines = items.items().map(|item| format!("{item}\n"));
    lines
        .filter(|line| !UNNAMED.iter().any(|unnamed| line.contains(unnamed)))
        // What is in blocks without a trait has lines of its own, however many blocks there are.
        .filter(|line| !line.starts_with("impl") || line.contains(" for "))
        .collect()
}

/// The lines that are in one of them more often than in the other, marked.
fn difference(before: &str, now: &str) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for line in before.lines() {
        *counts.entry(line).or_insert(0) -= 1;
    }
    for line in now.lines() {
        *counts.entry(line).or_insert(0) += 1;
    }
    let differ = counts.into_iter().filter(|(_, count)| *count != 0);
    let mark = |(line, count)| match count > 0 {
        true => format!("+ {line}"),
        false => format!("- {line}"),
    };
    differ.map(mark).collect()
}
