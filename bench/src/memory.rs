//! `memory`: what a green thread takes while it waits, with stacks as they are by default and with compact ones.
//!
//! The layout of stacks is that of a process, so each figure is of a process of its own, a program that has nothing but Roving
//! (`bench/memory/`): what its memory has grown by from before the first thread to after the last one has come to wait, with
//! page tables, for each thread. Both ends of a connection are in that process; what the kernel has for sockets is not counted,
//! since it is not memory of a process.

use crate::fail::Nonsense;
use crate::limits::{self, SPARE_DESCRIPTORS};
use crate::proc_stats::{self, Memory};
use crate::programs;
use crate::table;
use anyhow::{Context, Result, ensure};
use comfy_table::CellAlignment;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// The arguments of `memory`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Threads that are parked or asleep; and connections, of which there are as many as the limit of descriptors allows, at most
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    threads: usize,
    /// Threads that are parked in the last row
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    most: usize,
}

struct Row {
    name: &'static str,
    what: &'static str,
}

const PARKED: Row = Row {
    name: "parked",
    what: "parked",
};
const ROWS: [Row; 5] = [
    PARKED,
    Row {
        name: "asleep",
        what: "asleep",
    },
    Row {
        name: "buffered",
        what: "an idle echo connection with a buffer of 4 KiB",
    },
    Row {
        name: "rested",
        what: "the same, when it has been idle for some seconds",
    },
    Row {
        name: "waiting",
        what: "one that has no buffer before there is something to read",
    },
];

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.threads == 0 || options.most == 0 {
        return Err(Nonsense("there must be threads".into()).into());
    }
    let program = programs::build("roving-bench-memory")?;
    // The program has the same limit.
    let descriptors = limits::raise_descriptor_limit().saturating_sub(SPARE_DESCRIPTORS);
    let connections = options.threads.min(descriptors as usize / 2).max(1);
    let mut rows: Vec<(&Row, usize)> = ROWS
        .iter()
        .map(|row| match row.name {
            "buffered" | "rested" | "waiting" => (row, connections),
            _ => (row, options.threads),
        })
        .collect();
    rows.push((&PARKED, options.most));

    let mut table = table::ruled();
    table.set_header(["bytes a green thread", "threads", "by default", "compact"]);
    for column in 1..4 {
        let column = table.column_mut(column).expect("it has four");
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (row, count) in rows {
        let [usual, compact] = [false, true].map(|compact| measure(&program, row, count, compact));
        let [usual, compact] = [usual?, compact?].map(|each| each.total().to_string());
        table.add_row([row.what.to_owned(), count.to_string(), usual, compact]);
    }
    println!("{table}");
    Ok(())
}

/// What each thread of a program takes.
fn measure(program: &Path, row: &Row, count: usize, compact: bool) -> Result<Memory> {
    let mut measured = Command::new(program)
        .args([row.name, &count.to_string()])
        .env("ROVING_COMPACT_STACKS", if compact { "1" } else { "0" })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let pid = measured.id();
    let mut told = measured.stdin.take().context("it has an input")?;
    let mut says = BufReader::new(measured.stdout.take().context("it has an output")?);
    let mut look = || {
        let line = says.read_line(&mut String::new())?;
        ensure!(line > 0, "the measured program has ended");
        let memory = proc_stats::memory(pid).context("it is gone")?;
        writeln!(told)?;
        Ok(memory)
    };
    let before = look()?;
    let after = look()?;
    let ended = measured.wait()?;
    ensure!(ended.success(), "the measured program: {ended}");
    Ok(after.grown_for_each(before, count as u64))
}
