//! `sync`: locks, channels, select, spawning and timers, beside those of others. And what measures that, for other
//! suites of rows.
//!
//! The same work for all, with the same capacities and, where there are workers, the same number of
//! them. A cell measures one batch a round, in a process of its own so that no peer's idle workers
//! disturb another's turn; the rounds of all cells are interleaved.

mod calls;
mod may_coroutines;
mod os_threads;
mod roving;
mod tokio_tasks;
pub(crate) mod work;

use crate::fail;
use crate::limits;
use crate::machine::Machine;
use crate::table;
use ::roving::Builder;
use anyhow::{Context, Result, bail};
use comfy_table::CellAlignment;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::env;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The arguments of `sync`, and of what is measured like that.
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
}

/// The arguments of the child that measures a cell once.
#[derive(Debug, clap::Args)]
pub(crate) struct CellOptions {
    suite: String,
    row: usize,
    peer: usize,
    workers: usize,
    divisor: usize,
}

/// What a subcommand measures.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) rows: fn() -> Vec<Row>,
    /// What to know about the table.
    pub(crate) meaning: &'static str,
}

pub(crate) const SUITE: Suite = Suite {
    name: "sync",
    rows,
    meaning: MEANING,
};

pub(crate) const PEERS: [&str; 5] = ["roving", "std", "crossbeam", "tokio", "may"];
const ROVING: usize = 0;

/// What one does `count` times; it gives the nanoseconds of one.
pub(crate) enum Work {
    /// On a thread of the peer.
    Blocking(fn(usize) -> f64),
    Async(fn(usize) -> std::pin::Pin<Box<dyn Future<Output = f64> + Send>>),
    May(fn(usize) -> f64),
}

pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// How often green threads and tasks do it in a batch, and how often OS threads.
    pub(crate) counts: [usize; 2],
    pub(crate) peers: [Option<Work>; PEERS.len()],
}

macro_rules! row {
    ($what:literal, $unit:literal, $green:literal, $os:literal,
     $roving:expr, $std:expr, $crossbeam:expr, $tokio:expr, $may:expr) => {
        Row {
            what: $what,
            unit: $unit,
            counts: [$green, $os],
            peers: [$roving, $std, $crossbeam, $tokio, $may],
        }
    };
}

macro_rules! tasks {
    ($work:path) => {
        Some(Work::Async(|count| Box::pin($work(count))))
    };
}

fn threads(work: fn(usize) -> f64) -> Option<Work> {
    Some(Work::Blocking(work))
}

fn coroutines(work: fn(usize) -> f64) -> Option<Work> {
    Some(Work::May(work))
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    use may_coroutines as may;
    use os_threads::{crossbeam, locks as os, std_channels as std};
    use roving::locks as green;
    use tokio_tasks as tokio;
    vec![
        row!("ping-pong, two channels", "round trip", 100_000, 5_000,
            threads(roving::ping_pong), threads(std::ping_pong), threads(crossbeam::ping_pong), tasks!(tokio::ping_pong), coroutines(may::ping_pong)),
        row!("ping-pong with timeouts", "two timers", 100_000, 5_000,
            threads(roving::ping_pong_with_timeouts), threads(std::ping_pong_with_timeouts), threads(crossbeam::ping_pong_with_timeouts), tasks!(tokio::ping_pong_with_timeouts), None),
        row!("mpsc bounded(1024), 4:1", "message", 400_000, 400_000,
            threads(roving::mpsc_bounded), threads(std::mpsc_bounded), threads(crossbeam::mpsc_bounded), tasks!(tokio::mpsc_bounded), None),
        row!("mpsc unbounded, 4:1", "message", 400_000, 400_000,
            threads(roving::mpsc_unbounded), threads(std::mpsc_unbounded), threads(crossbeam::mpsc_unbounded), tasks!(tokio::mpsc_unbounded), coroutines(may::mpsc_unbounded)),
        row!("rendezvous", "message", 100_000, 5_000,
            threads(roving::rendezvous), threads(std::rendezvous), threads(crossbeam::rendezvous), None, None),
        row!("select over 8", "message", 100_000, 20_000,
            threads(roving::select_over_eight), None, threads(crossbeam::select_over_eight), tasks!(tokio::select_over_eight), None),
        row!("mutex, uncontended", "lock and unlock", 2_000_000, 2_000_000,
            threads(green::mutex_uncontended), threads(os::mutex_uncontended), None, tasks!(tokio::mutex_uncontended), coroutines(may::mutex_uncontended)),
        row!("mutex, 8 contenders", "lock and unlock", 800_000, 800_000,
            threads(green::mutex_contended), threads(os::mutex_contended), None, tasks!(tokio::mutex_contended), coroutines(may::mutex_contended)),
        row!("rwlock, 8 threads, 90 % read", "lock and unlock", 800_000, 800_000,
            threads(green::rwlock), threads(os::rwlock), None, tasks!(tokio::rwlock), coroutines(may::rwlock)),
        row!("barrier of 8", "round", 20_000, 1_000,
            threads(green::barrier), threads(os::barrier), None, tasks!(tokio::barrier), None),
        row!("condvar ping-pong", "round trip", 100_000, 5_000,
            threads(green::condvar), threads(os::condvar), None, None, None),
        row!("spawn and join", "thread", 200_000, 2_000,
            threads(green::spawn_join), threads(os::spawn_join), None, tasks!(tokio::spawn_join), coroutines(may::spawn_join)),
        row!("scope of 100", "scope", 2_000, 20,
            threads(green::scope), threads(os::scope), None, tasks!(tokio::scope), coroutines(may::scope)),
        row!("skynet", "leaf", 100_000, 0,
            threads(roving::skynet), None, None, tasks!(tokio::skynet), None),
        row!("call that may block, in place", "call", 400_000, 400_000,
            threads(calls::roving), threads(calls::bare), None, tasks!(calls::block_in_place), None),
        row!("call that may block, 8 others yield", "call", 20_000, 20_000,
            threads(calls::roving_beside_others), None, None, tasks!(calls::block_in_place_beside_others), None),
        row!("call that may block, in a pool", "call", 50_000, 50_000,
            threads(calls::roving), None, None, tasks!(calls::spawn_blocking), None),
        row!("lateness of 200 timers, p50", "timer", 1, 1,
            threads(|_| green::lateness(0.5)), threads(|_| os::lateness(0.5)), None, Some(Work::Async(|_| Box::pin(tokio::lateness(0.5)))), None),
        row!("lateness of 200 timers, p99", "timer", 1, 1,
            threads(|_| green::lateness(0.99)), threads(|_| os::lateness(0.99)), None, Some(Work::Async(|_| Box::pin(tokio::lateness(0.99)))), None),
    ]
}

impl Row {
    /// How often a peer does it in a batch.
    fn count(&self, peer: usize, divisor: usize) -> usize {
        let [green, os] = self.counts;
        let count = if peer == 1 || peer == 2 { os } else { green };
        match self.what {
            // A tree needs a power of ten.
            "skynet" if divisor > 1 => 10_000,
            "skynet" => count,
            _ => (count / divisor).max(1),
        }
    }
}

/// Measures a cell of one of these once, in this process.
pub(crate) fn cell(suites: &[Suite], options: CellOptions) -> Result<()> {
    let suite = suites.iter().find(|suite| suite.name == options.suite);
    let no_suite = || format!("there is no suite {:?}", options.suite);
    let rows = (suite.with_context(no_suite)?.rows)();
    let no_row = || format!("there is no row {} of {}", options.row, options.suite);
    let row = rows.get(options.row).with_context(no_row)?;
    let work = row.peers.get(options.peer).and_then(Option::as_ref);
    let count = row.count(options.peer, options.divisor);
    let no_work = || format!("there is no work of peer {} in that row", options.peer);
    let nanos = match work.with_context(no_work)? {
        Work::Blocking(work) if options.peer == ROVING => {
            let runtime = Builder::new().workers(options.workers).build()?;
            runtime.run(|| work(count))
        }
        Work::Blocking(work) => work(count),
        Work::Async(work) => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(options.workers)
                .enable_time()
                .build()?;
            let task = runtime.spawn(work(count));
            runtime.block_on(task)?
        }
        Work::May(work) => {
            may::config()
                .set_workers(options.workers)
                .set_worker_pin(false);
            work(count)
        }
    };
    println!("{nanos}");
    Ok(())
}

fn measure(suite: &Suite, row: usize, peer: usize, workers: u32, divisor: usize) -> Result<f64> {
    let child = Command::new(env::current_exe()?)
        .args(["cell", suite.name])
        .args([row, peer, workers as usize, divisor].map(|n| n.to_string()))
        .stderr(Stdio::inherit())
        .output()?;
    if !child.status.success() {
        bail!("the measuring process ended with {}", child.status);
    }
    let text = String::from_utf8(child.stdout)?;
    text.trim().parse().context("reading its figure")
}

#[derive(Debug, Serialize)]
struct Results {
    schema: u32,
    benchmark: &'static str,
    machine: Machine,
    rounds: u32,
    workers: u32,
    peers: Vec<String>,
    rows: Vec<Figures>,
}

#[derive(Debug, Serialize)]
struct Figures {
    what: &'static str,
    unit: &'static str,
    /// Medians, by peer; null where a peer has no such operation.
    median_ns: [Option<f64>; PEERS.len()],
    /// Roving's beside the fastest other.
    ratio: Option<f64>,
}

pub(crate) fn run(suite: &Suite, options: Options) -> Result<()> {
    let (rounds, divisor) = if options.quick {
        (3, 10)
    } else {
        (options.rounds, 1)
    };
    let rows = (suite.rows)();
    let cells: Vec<(usize, usize)> = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.what.contains(&options.only))
        .flat_map(|(index, row)| {
            let peers = (0..PEERS.len()).filter(|peer| row.peers[*peer].is_some());
            peers.map(move |peer| (index, peer))
        })
        .collect();
    if cells.is_empty() {
        bail!(fail::no_row(&options.only, rows.iter().map(|row| row.what)));
    }
    let progress = ProgressBar::new(u64::from(rounds) * cells.len() as u64);
    progress.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let mut samples = vec![Vec::new(); cells.len()];
    for _ in 0..rounds {
        for ((row, peer), samples) in cells.iter().zip(&mut samples) {
            let name = format!("{}: {}", rows[*row].what, PEERS[*peer]);
            progress.set_message(name.clone());
            let nanos = measure(suite, *row, *peer, options.workers, divisor);
            samples.push(nanos.with_context(|| format!("measuring {name}"))?);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let mut figures: Vec<Figures> = Vec::new();
    for ((row, peer), mut samples) in cells.into_iter().zip(samples) {
        samples.sort_by(f64::total_cmp);
        let row = &rows[row];
        if figures.last().is_none_or(|last| last.what != row.what) {
            figures.push(Figures {
                what: row.what,
                unit: row.unit,
                median_ns: [None; PEERS.len()],
                ratio: None,
            });
        }
        let last = figures.last_mut().context("just pushed")?;
        last.median_ns[peer] = Some(samples[samples.len() / 2]);
    }
    for row in &mut figures {
        let others = row.median_ns[ROVING + 1..].iter().flatten().copied();
        row.ratio = row.median_ns[ROVING]
            .zip(others.reduce(f64::min))
            .map(|(own, best)| own / best);
    }
    let results = Results {
        schema: 1,
        benchmark: suite.name,
        machine: Machine::look(limits::raise_descriptor_limit()),
        rounds,
        workers: options.workers,
        peers: PEERS.map(str::to_owned).to_vec(),
        rows: figures,
    };
    print(suite, &results)?;
    if let Some(path) = options.json {
        let text = serde_json::to_string_pretty(&results)?;
        fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn print(suite: &Suite, results: &Results) -> Result<()> {
    let is_there = |peer: &usize| {
        results
            .rows
            .iter()
            .any(|row| row.median_ns[*peer].is_some())
    };
    let peers: Vec<usize> = (0..PEERS.len()).filter(is_there).collect();
    let mut table = table::ruled();
    let header = ["ns", "of one"].into_iter();
    let header = header.chain(peers.iter().map(|peer| PEERS[*peer]));
    table.set_header(header.chain(["of the best other"]));
    for row in &results.rows {
        let shown =
            |nanos: Option<f64>| nanos.map_or("—".to_owned(), |nanos| format!("{nanos:.1}"));
        let mut cells = vec![row.what.to_owned(), row.unit.to_owned()];
        cells.extend(peers.iter().map(|peer| shown(row.median_ns[*peer])));
        cells.push(
            row.ratio
                .map_or("—".to_owned(), |ratio| format!("{ratio:.2}")),
        );
        table.add_row(cells);
    }
    for column in 2..peers.len() + 3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut out = std::io::stdout().lock();
    let machine = &results.machine;
    writeln!(
        out,
        "roving {}, {}, {}; {} workers; medians of {} interleaved rounds\n{}\n\n{table}\n{}",
        machine.roving,
        machine.rustc,
        machine.cpu,
        results.workers,
        results.rounds,
        machine.ground(),
        suite.meaning
    )?;
    Ok(())
}

const MEANING: &str = "\
std and crossbeam run on OS threads, the others on their workers. A dash: the peer has no such operation;
of std, no select; of tokio, neither a rendezvous nor a condition variable; skynet is not for OS threads.
may's channels are unbounded, in the ping-pong too. Lateness is in nanoseconds after the time asked for.
The call is getppid, by roving::blocking, tokio's block_in_place or spawn_blocking, or by nothing (std).
";
