//! `adopt`: what it costs a program of std to be adopted, beside one that was written for green threads, and one on OS threads.
//!
//! Adopted is a [program](../../../adopt/bench) of its own, since all that is built with it has a feature that nothing else here is to
//! be measured with; its work is the same source. A cell measures one batch a round, in a process of its own; the rounds of all
//! cells are interleaved.

mod green_threads;
mod std_threads;
mod work;

use crate::fail;
use crate::limits;
use crate::machine::Machine;
use crate::table;
use anyhow::{Context, Result, bail, ensure};
use comfy_table::CellAlignment;
use indicatif::{ProgressBar, ProgressStyle};
use roving::Builder;
use serde::Serialize;
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::thread;

/// The arguments of `adopt`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds, of which each cell has the median
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Workers of each runtime
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: u32,
    /// Three rounds, with a tenth of the work
    #[arg(long)]
    quick: bool,
    /// Measure the rows whose names contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The adopted program, which is built if none is given
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// The arguments of the child that measures a cell of a program that is not adopted.
#[derive(Debug, clap::Args)]
pub(crate) struct CellOptions {
    what: String,
    count: usize,
    /// Of green threads; none for OS threads
    workers: usize,
}

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Who {
    /// Green threads of an adopted program.
    Adopted,
    /// Green threads by their own API.
    Native,
    /// OS threads.
    OsThreads,
    /// The OS thread of an adopted program's `main`.
    Beside,
}

const ALL: [Who; 4] = [Who::Adopted, Who::Native, Who::OsThreads, Who::Beside];

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Native => "native",
            Self::OsThreads => "OS threads",
            Self::Beside => "OS, adopted",
        }
    }
}

/// What is measured.
struct Row {
    what: &'static str,
    /// Of what.
    unit: &'static str,
    /// How often green threads do it in a batch, and how often OS threads.
    counts: [usize; 2],
    /// Whether one thread does it alone, which may as well be an OS thread of an adopted program.
    is_alone: bool,
    /// Whether green threads have it by their own API.
    is_native: bool,
}

const fn threads(what: &'static str, unit: &'static str, counts: [usize; 2]) -> Row {
    Row {
        what,
        unit,
        counts,
        is_alone: false,
        is_native: true,
    }
}

const fn calls(what: &'static str, unit: &'static str, count: usize, is_native: bool) -> Row {
    Row {
        what,
        unit,
        counts: [count; 2],
        is_alone: true,
        is_native,
    }
}

#[rustfmt::skip]
const ROWS: [Row; 16] = [
    threads("spawn and join", "ns a thread", [200_000, 2_000]),
    threads("channel, ping-pong", "ns a round trip", [200_000, 5_000]),
    threads("condvar, ping-pong", "ns a round trip", [200_000, 5_000]),
    threads("park and unpark, ping-pong", "ns a round trip", [200_000, 5_000]),
    threads("mutex, 8 contenders", "ns a lock and unlock", [800_000, 800_000]),
    threads("yield, two in turn", "ns a yield", [1_000_000, 100_000]),
    threads("echo", "ns a round trip", [50_000, 5_000]),
    threads("echo, 100 connections", "ns of CPU a round trip", [200_000, 50_000]),
    calls("socket, a byte that is there", "ns a byte", 200_000, true),
    calls("pipe, a byte that is there", "ns a byte", 200_000, true),
    calls("mutex of the C library", "ns a lock and unlock", 5_000_000, false),
    threads("asleep", "bytes a thread", [10_000, 1_000]),
    threads("parked", "bytes a thread", [10_000, 1_000]),
    threads("at a channel", "bytes a thread", [10_000, 1_000]),
    threads("at a condvar", "bytes a thread", [10_000, 1_000]),
    threads("at a socket", "bytes a thread", [5_000, 1_000]),
];

impl Row {
    fn is_for(&self, who: Who) -> bool {
        match who {
            Who::Adopted | Who::OsThreads => true,
            Who::Native => self.is_native,
            Who::Beside => self.is_alone,
        }
    }

    fn count(&self, who: Who, divisor: usize) -> usize {
        let [green, os] = self.counts;
        let count = match who {
            Who::Adopted | Who::Native => green,
            Who::OsThreads | Who::Beside => os,
        };
        count / divisor
    }
}

/// Measures a cell once, in this process, which ends with it: threads that wait are not waited for.
pub(crate) fn cell(options: &CellOptions) -> Result<()> {
    let (what, count) = (options.what.as_str(), options.count);
    let no_row = || format!("there is no row {what:?}");
    let figure = if options.workers == 0 {
        // Where there are no other threads, locks and descriptors are cheaper.
        thread::spawn(thread::park);
        std_threads::find(what).with_context(no_row)?(count)
    } else {
        let work = green_threads::find(what).with_context(no_row)?;
        let runtime = Builder::new().workers(options.workers).build()?;
        let figure = runtime.run(|| work(count));
        // It would wait for them.
        std::mem::forget(runtime);
        figure
    };
    println!("{figure}");
    exit(0);
}

fn measure(row: &Row, who: Who, program: &Path, workers: u32, divisor: usize) -> Result<f64> {
    let count = row.count(who, divisor).to_string();
    let workers = workers.to_string();
    let mut command = match who {
        Who::Adopted | Who::Beside => Command::new(program),
        Who::Native | Who::OsThreads => Command::new(env::current_exe()?),
    };
    match who {
        Who::Adopted => command.args([row.what, &count, "green"]),
        Who::Beside => command.args([row.what, &count, "os"]),
        Who::Native => command.args(["adopt-cell", row.what, &count, &workers]),
        Who::OsThreads => command.args(["adopt-cell", row.what, &count, "0"]),
    };
    let output = command
        .env("ROVING_WORKERS", &workers)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "the measuring process ended with {}",
        output.status
    );
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().context("reading its figure")
}

/// Builds the adopted program.
fn build() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace")?;
    // Beside what else is built, in the workspace that this program is of.
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--quiet"])
        .args(["-p", "roving-adopt-bench"])
        .current_dir(root)
        .status()
        .context("cannot run cargo")?;
    ensure!(built.success(), "cargo build: {built}");
    Ok(root.join(target).join("release/roving-adopt-bench"))
}

#[derive(Debug, Serialize)]
struct Results {
    schema: u32,
    benchmark: &'static str,
    machine: Machine,
    rounds: u32,
    workers: u32,
    rows: Vec<Figures>,
}

#[derive(Debug, Serialize)]
struct Figures {
    what: &'static str,
    unit: &'static str,
    adopted: Option<Cell>,
    native: Option<Cell>,
    os_threads: Option<Cell>,
    /// An OS thread of an adopted program.
    beside: Option<Cell>,
    ratios: Ratios,
}

/// Of one cell.
#[derive(Debug, Clone, Serialize)]
struct Cell {
    median: f64,
    /// In the order of their size.
    samples: Vec<f64>,
}

/// Of medians.
#[derive(Debug, Default, Serialize)]
struct Ratios {
    adopted_to_native: Option<f64>,
    adopted_to_os_threads: Option<f64>,
    beside_to_os_threads: Option<f64>,
}

impl Figures {
    fn new(row: &Row, mut samples: [Vec<f64>; ALL.len()]) -> Self {
        let cells = ALL.map(|who| {
            let mut samples = std::mem::take(&mut samples[who as usize]);
            samples.sort_by(f64::total_cmp);
            let median = *samples.get(samples.len() / 2)?;
            Some(Cell { median, samples })
        });
        let ratio = |one: Who, other: Who| {
            let median = |who: Who| cells[who as usize].as_ref().map(|cell| cell.median);
            Some(median(one)? / median(other)?)
        };
        let ratios = Ratios {
            adopted_to_native: ratio(Who::Adopted, Who::Native),
            adopted_to_os_threads: ratio(Who::Adopted, Who::OsThreads),
            beside_to_os_threads: ratio(Who::Beside, Who::OsThreads),
        };
        let [adopted, native, os_threads, beside] = cells;
        Self {
            what: row.what,
            unit: row.unit,
            adopted,
            native,
            os_threads,
            beside,
            ratios,
        }
    }
}

pub(crate) fn run(options: Options) -> Result<()> {
    let (rounds, divisor) = if options.quick {
        (3, 10)
    } else {
        (options.rounds, 1)
    };
    let rows: Vec<&Row> = ROWS
        .iter()
        .filter(|row| row.what.contains(&options.only))
        .collect();
    if rows.is_empty() {
        bail!(fail::no_row(&options.only, ROWS.iter().map(|row| row.what)));
    }
    let program = options.program.clone().map_or_else(build, Ok)?;
    let descriptors = limits::raise_descriptor_limit();
    let cells: Vec<(usize, Who)> = (0..rows.len())
        .flat_map(|row| ALL.map(|who| (row, who)))
        .filter(|(row, who)| rows[*row].is_for(*who))
        .collect();
    let progress = ProgressBar::new(u64::from(rounds) * cells.len() as u64);
    progress.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let mut samples: Vec<[Vec<f64>; ALL.len()]> = Vec::new();
    samples.resize_with(rows.len(), Default::default);
    for _ in 0..rounds {
        for (row, who) in &cells {
            let name = format!("{}: {}", rows[*row].what, who.name());
            progress.set_message(name.clone());
            let figure = measure(rows[*row], *who, &program, options.workers, divisor);
            let figure = figure.with_context(|| format!("measuring {name}"))?;
            samples[*row][*who as usize].push(figure);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let figures = rows.into_iter().zip(samples);
    let results = Results {
        schema: 1,
        benchmark: "adopt",
        machine: Machine::look(descriptors),
        rounds,
        workers: options.workers,
        rows: figures
            .map(|(row, samples)| Figures::new(row, samples))
            .collect(),
    };
    print(&results)?;
    if let Some(path) = options.json {
        let text = serde_json::to_string_pretty(&results)?;
        fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn print(results: &Results) -> Result<()> {
    let mut table = table::ruled();
    let header = ["", "of one"].into_iter().chain(ALL.map(Who::name));
    table.set_header(header.chain([
        "adopted to native",
        "adopted to OS threads",
        "OS, adopted to OS threads",
    ]));
    let shown = |figure: Option<f64>, decimals: usize| {
        figure.map_or("—".to_owned(), |figure| format!("{figure:.decimals$}"))
    };
    for row in &results.rows {
        let cells = [&row.adopted, &row.native, &row.os_threads, &row.beside];
        let ratios = &row.ratios;
        let ratios = [
            ratios.adopted_to_native,
            ratios.adopted_to_os_threads,
            ratios.beside_to_os_threads,
        ];
        let cells = cells.map(|cell| shown(cell.as_ref().map(|cell| cell.median), 1));
        let texts = [row.what.to_owned(), row.unit.to_owned()].into_iter();
        table.add_row(
            texts
                .chain(cells)
                .chain(ratios.map(|ratio| shown(ratio, 2))),
        );
    }
    for column in 2..ALL.len() + 5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let machine = &results.machine;
    writeln!(
        std::io::stdout().lock(),
        "roving {}, {}, {}; {} workers; medians of {} interleaved rounds\n{}\n\n{table}\n{MEANING}",
        machine.roving,
        machine.rustc,
        machine.cpu,
        results.workers,
        results.rounds,
        machine.ground(),
    )?;
    Ok(())
}

const MEANING: &str = "\
The same work of std in a program that is adopted and in one that is not, where its threads are OS threads, and by the
API of green threads (native). What one thread does alone, the OS thread of the adopted program's main does too (OS,
adopted). Bytes are those of memory of the process that one more thread takes; the kernel has more for an OS thread.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_work_for_all_who_are_measured() {
        for row in &ROWS {
            assert!(std_threads::find(row.what).is_some(), "{}", row.what);
            let native = green_threads::find(row.what).is_some();
            assert_eq!(native, row.is_native, "{}", row.what);
        }
    }

    #[test]
    fn the_median_and_the_ratios_are_those_of_the_samples() {
        let samples = [
            vec![30.0, 10.0, 20.0],
            vec![10.0, 11.0, 9.0],
            vec![40.0; 3],
            Vec::new(),
        ];
        let figures = Figures::new(&ROWS[0], samples);
        assert_eq!(figures.ratios.adopted_to_native, Some(2.0));
        assert_eq!(figures.ratios.adopted_to_os_threads, Some(0.5));
        assert_eq!(figures.ratios.beside_to_os_threads, None);
        assert!(figures.beside.is_none());
    }
}
