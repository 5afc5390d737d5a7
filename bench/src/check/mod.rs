//! `check`: how many instructions the hot paths take, against a stored baseline.
//!
//! Time is noisy and instructions are not: callgrind counts the same for the same program, whatever
//! else the machine does. A path is run twice, with a number of operations and with twice as many,
//! and the difference belongs to the operations alone. A path that takes over [`TOLERANCE`] more
//! than the baseline fails the check; after a change that is meant to be, `--save` stores a new
//! one. Beside the paths, the executable of the `hello` example and the [stack] of a connection
//! must not grow by more than that either, and the time to compile the example is told.
//!
//! valgrind does not know the instructions that write the thread pointer, so green threads with
//! thread-locals of their own cannot be counted. The paths are counted in the mode that shares
//! them; what the other mode adds to them is in `switch`.

mod paths;
mod stack;

use crate::connections::progress::grouped;
use crate::table;
use anyhow::{Context, Result, bail, ensure};
use comfy_table::CellAlignment;
use indicatif::{ProgressBar, ProgressStyle};
use roving::Builder;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// How much more than the baseline a path may take.
const TOLERANCE: f64 = 0.05;
const HELLO: &str = "bytes of the hello example";
const STACK: &str = "bytes of the stack of a connection";

/// The arguments of `check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Store what is counted as the new baseline
    #[arg(long)]
    save: bool,
    /// The baseline
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json"))]
    baseline: PathBuf,
    /// Count the paths whose names contain this; nothing is saved then
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// The arguments of the child that runs a path.
#[derive(Debug, clap::Args)]
pub(crate) struct PathOptions {
    name: String,
    count: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Baseline {
    rustc: String,
    /// What one operation takes, by path; and the sizes of the example and the stack.
    counts: BTreeMap<String, f64>,
}

/// How a count compares with its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    /// Less by more than the tolerance: the baseline should be stored anew.
    Better,
    Worse,
    New,
}

fn verdict(now: f64, before: Option<f64>) -> Verdict {
    match before {
        None => Verdict::New,
        Some(before) if now > before * (1.0 + TOLERANCE) => Verdict::Worse,
        Some(before) if now < before * (1.0 - TOLERANCE) => Verdict::Better,
        Some(_) => Verdict::Same,
    }
}

/// Runs a path, in a process of its own.
pub(crate) fn path(options: &PathOptions) -> Result<()> {
    run_path(&options.name, options.count)
}

/// Runs a path so many times, on one worker.
fn run_path(name: &str, count: usize) -> Result<()> {
    let path = paths::find(name).with_context(|| format!("there is no path {name:?}"))?;
    // SAFETY: the paths hold nothing of a thread-local, nor what is not `Send`, across a
    // suspension.
    let runtime = unsafe { Builder::new().workers(1).shared_thread_locals() }.build()?;
    runtime.run(|| path(count));
    Ok(())
}

/// How many operations are enough for a steady count.
fn operations(name: &str) -> usize {
    match name {
        "mutex: lock and unlock" | "rwlock: read and unlock" => 200_000,
        "echo of 64 bytes" => 5_000,
        _ => 20_000,
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let valgrind = Command::new("valgrind").arg("--version").output();
    ensure!(
        valgrind.is_ok_and(|output| output.status.success()),
        "valgrind is needed to count instructions: install it (Debian, Ubuntu: apt install valgrind; Fedora: dnf install valgrind)"
    );
    let names: Vec<&str> = paths::NAMES
        .into_iter()
        .filter(|name| name.contains(&options.only))
        .collect();
    let progress = ProgressBar::new(names.len() as u64 + 1);
    progress.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let mut counts = BTreeMap::new();
    for name in names {
        progress.set_message(name);
        let count = count(name).with_context(|| format!("counting {name}"))?;
        counts.insert(name.to_owned(), count);
        progress.inc(1);
    }
    if STACK.contains(&options.only) {
        counts.insert(STACK.to_owned(), stack::of_a_connection()?);
    }
    let mut compiled_in = None;
    if HELLO.contains(&options.only) {
        progress.set_message("compiling the hello example");
        let (bytes, seconds) = hello()?;
        counts.insert(HELLO.to_owned(), bytes);
        compiled_in = Some(seconds);
    }
    progress.finish_and_clear();

    let stored = fs::read_to_string(&options.baseline).ok();
    let baseline: Option<Baseline> = stored
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .with_context(|| format!("cannot read {}", options.baseline.display()))?;
    let mut table = table::ruled();
    table.set_header(["", "baseline", "now", "ratio", ""]);
    let mut worse = Vec::new();
    let mut is_better = false;
    for (name, &now) in &counts {
        let before = baseline
            .as_ref()
            .and_then(|baseline| baseline.counts.get(name))
            .copied();
        let verdict = verdict(now, before);
        let word = match verdict {
            Verdict::Same => "",
            Verdict::Better => "better",
            Verdict::Worse => "WORSE",
            Verdict::New => "new",
        };
        is_better |= verdict == Verdict::Better;
        let shown = |value: f64| grouped(value.round() as u64);
        let ratio = before.map_or("-".into(), |before| format!("{:.3}", now / before));
        if verdict == Verdict::Worse {
            worse.push(format!("{name} ({ratio})"));
        }
        let before = before.map_or("-".into(), shown);
        table.add_row([name.as_str(), &before, &shown(now), &ratio, word]);
    }
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut stdout = std::io::stdout();
    writeln!(
        stdout,
        "Instructions of one operation, one worker:\n{table}"
    )?;
    if let Some(seconds) = compiled_in {
        writeln!(
            stdout,
            "The hello example was compiled from nothing in {seconds:.1} s."
        )?;
    }
    let rustc = env!("ROVING_BENCH_RUSTC");
    if options.save {
        ensure!(options.only.is_empty(), "--save stores all paths, not some");
        let baseline = Baseline {
            rustc: rustc.into(),
            counts,
        };
        let text = serde_json::to_string_pretty(&baseline)? + "\n";
        fs::write(&options.baseline, text)
            .with_context(|| format!("cannot write {}", options.baseline.display()))?;
        writeln!(stdout, "Stored as {}", options.baseline.display())?;
        return Ok(());
    }
    let Some(baseline) = baseline else {
        bail!("there is no baseline yet: store one with --save");
    };
    if baseline.rustc != rustc {
        writeln!(
            stdout,
            "The baseline was counted with {}, this with {rustc}: a difference may be the compiler's.",
            baseline.rustc
        )?;
    }
    ensure!(
        worse.is_empty(),
        "more than {:.0} % above the baseline: {}. If that is meant to be, run `make bench-check ARGS=--save`",
        TOLERANCE * 100.0,
        worse.join(", ")
    );
    if is_better {
        writeln!(
            stdout,
            "Some are better: keep that with `make bench-check ARGS=--save`"
        )?;
    }
    Ok(())
}

/// Instructions of one operation.
fn count(name: &str) -> Result<f64> {
    let operations = operations(name);
    let [once, twice] = [1, 2].map(|times| total(name, times * operations));
    Ok((twice? - once?) / operations as f64)
}

/// Instructions of a whole process.
fn total(name: &str, count: usize) -> Result<f64> {
    let output = Command::new("timeout")
        .args([
            "120",
            "valgrind",
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
        ])
        .arg(env::current_exe()?)
        .args(["check-path", name, &count.to_string()])
        .stdin(Stdio::null())
        .output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "valgrind ended with {}:\n{log}",
        output.status
    );
    log.lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .with_context(|| format!("no count in what callgrind said:\n{log}"))
}

/// The size of the stripped executable, and the seconds that it takes to compile it and all that it
/// needs.
fn hello() -> Result<(f64, f64)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace")?;
    let target = root.join("target/hello");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    let begun = Instant::now();
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--example",
            "hello",
        ])
        .current_dir(root)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .status()?;
    ensure!(built.success(), "cargo build: {built}");
    let seconds = begun.elapsed().as_secs_f64();
    let executable = target.join("release/examples/hello");
    Ok((fs::metadata(executable)?.len() as f64, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_per_cent_are_tolerated_and_more_is_not() {
        assert_eq!(verdict(104.9, Some(100.0)), Verdict::Same);
        assert_eq!(verdict(105.1, Some(100.0)), Verdict::Worse);
        assert_eq!(verdict(110.0, Some(100.0)), Verdict::Worse);
        assert_eq!(verdict(95.1, Some(100.0)), Verdict::Same);
        assert_eq!(verdict(94.9, Some(100.0)), Verdict::Better);
        assert_eq!(verdict(1.0, None), Verdict::New);
    }

    #[test]
    fn every_path_has_a_number_of_operations_and_runs() {
        for name in paths::NAMES {
            assert!(operations(name) >= 1000);
            run_path(name, 10).unwrap();
        }
        assert!(run_path("nothing", 10).is_err());
    }
}
