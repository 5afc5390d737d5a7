//! `switch`: what it costs to switch from one activity to another, and back.
//!
//! The price list of stackless and stackful coroutines, bare and through the scheduler in each of
//! its modes, of OS threads and of processes. A row measures one batch a round, and the rounds of
//! all rows are interleaved, so that a noisy moment meets all alike.

mod bare;
mod coroutines;
mod futures;
mod green;
mod kernel;

use crate::limits;
use crate::machine::Machine;
use crate::table;
use anyhow::{Context, Result};
use comfy_table::CellAlignment;
use indicatif::{ProgressBar, ProgressStyle};
use roving::ThreadLocals;
use serde::Serialize;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

pub(crate) use kernel::{EchoOptions, echo};

/// The arguments of `switch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds, of which each row has the median
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Three rounds
    #[arg(long)]
    quick: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is measured, and how: a batch gives the nanoseconds of one there and back.
struct Row {
    what: &'static str,
    unit: &'static str,
    batch: Box<dyn FnMut() -> Result<f64>>,
}

impl Row {
    fn new(
        what: &'static str,
        unit: &'static str,
        batch: impl FnMut() -> Result<f64> + 'static,
    ) -> Self {
        Self {
            what,
            unit,
            batch: Box::new(batch),
        }
    }
}

/// A switch to something and back.
const PAIR: &str = "switch pair";
/// A switch to an equal, which switches to another.
const TRANSFER: &str = "transfer";
/// The next value of an iterator.
const VALUE: &str = "value";
/// Something that is begun and comes to its end.
const CALL: &str = "call";
/// A message to a partner and its answer.
const ROUND_TRIP: &str = "round trip";

#[derive(Debug, Serialize)]
struct Results {
    schema: u32,
    benchmark: &'static str,
    machine: Machine,
    rounds: u32,
    rows: Vec<Figures>,
    goals: Vec<Goal>,
}

#[derive(Debug, Serialize)]
struct Figures {
    what: &'static str,
    unit: &'static str,
    median_ns: f64,
    least_ns: f64,
    most_ns: f64,
    times_bare: f64,
}

#[derive(Debug, Serialize)]
struct Goal {
    goal: &'static str,
    limit_ns: f64,
    measured_ns: f64,
}

pub(crate) fn run(options: Options) -> Result<()> {
    let rounds = if options.quick { 3 } else { options.rounds };
    let (mut rows, left_out) = rows();
    let progress = ProgressBar::new(u64::from(rounds) * rows.len() as u64);
    progress.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let mut measured = vec![Vec::new(); rows.len()];
    for _ in 0..rounds {
        for (row, samples) in rows.iter_mut().zip(&mut measured) {
            progress.set_message(row.what);
            samples.push((row.batch)().with_context(|| format!("measuring {}", row.what))?);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let results = results(rounds, &rows, measured)?;
    print(&results, &left_out)?;
    if let Some(path) = options.json {
        let text = serde_json::to_string_pretty(&results)?;
        fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

const BARE: &str = "stackful coroutine, bare";
const BARE_OWN: &str = "the same with own thread-locals";
const THROUGH_OWN: &str = "green threads that yield, own";

/// The rows that can be measured here, and why others cannot.
fn rows() -> (Vec<Row>, Vec<String>) {
    let mut left_out = Vec::new();
    let mut rows = vec![
        Row::new("system call, the floor of the kernel", CALL, || {
            Ok(kernel::system_call())
        }),
        Row::new("futures polled in turn, stackless", PAIR, || {
            Ok(bare::futures())
        }),
        Row::new(BARE, PAIR, || Ok(bare::coroutine())),
        Row::new("coroutine", PAIR, || Ok(coroutines::resumed())),
        Row::new("coroutine of the crate generator", PAIR, || {
            Ok(coroutines::others())
        }),
        Row::new("iterator written by hand", VALUE, || {
            Ok(coroutines::iterated())
        }),
        Row::new("generator as an iterator", VALUE, || {
            Ok(coroutines::generated())
        }),
        Row::new("coroutines that transfer", TRANSFER, || {
            Ok(coroutines::transferred())
        }),
    ];
    #[cfg(target_arch = "x86_64")]
    rows.push(Row::new("bare stacks switched directly", TRANSFER, || {
        Ok(coroutines::switched_directly())
    }));
    let own = green::runtime(ThreadLocals::Own, 1);
    match &own {
        Ok(_) => {
            rows.push(Row::new(BARE_OWN, PAIR, || {
                Ok(bare::coroutine_with_thread_locals())
            }));
            rows.push(Row::new("the same, the pointer written once", PAIR, || {
                Ok(bare::coroutine_with_one_write())
            }));
        }
        Err(error) => left_out.push(format!("own thread-locals: {error}")),
    }
    rows.extend([
        Row::new("future made and polled to its end", CALL, || {
            Ok(futures::polled())
        }),
        Row::new("block_on of a ready future, OS thread", CALL, || {
            Ok(futures::blocked_on())
        }),
        Row::new("block_on of a ready future, green thread", CALL, || {
            futures::blocked_on_by_a_green_thread()
        }),
        Row::new("greenly, begun and ended", CALL, || {
            Ok(futures::begun_and_ended())
        }),
        Row::new("greenly, set aside in await_", PAIR, || {
            Ok(futures::suspended())
        }),
    ]);
    let modes = [
        (
            ThreadLocals::Own,
            THROUGH_OWN,
            "park and unpark, own, one worker",
            "park and unpark, own, two workers",
        ),
        (
            ThreadLocals::Pinned,
            "green threads that yield, pinned",
            "park and unpark, pinned, one worker",
            "park and unpark, pinned, two workers",
        ),
        (
            ThreadLocals::Shared,
            "green threads that yield, shared",
            "park and unpark, shared, one worker",
            "park and unpark, shared, two workers",
        ),
    ];
    for (mode, yields, one, two) in modes {
        if mode == ThreadLocals::Own && own.is_err() {
            continue;
        }
        rows.push(Row::new(yields, PAIR, move || green::yields(mode)));
        rows.push(Row::new(one, ROUND_TRIP, move || green::ping_pong(mode, 1)));
        rows.push(Row::new(two, ROUND_TRIP, move || green::ping_pong(mode, 2)));
    }
    rows.push(Row::new("OS threads, park and unpark", ROUND_TRIP, || {
        Ok(kernel::park_unpark())
    }));
    rows.push(Row::new("OS threads, pipes, one core", ROUND_TRIP, || {
        kernel::threads(true)
    }));
    rows.push(Row::new("OS threads, pipes, any core", ROUND_TRIP, || {
        kernel::threads(false)
    }));
    rows.push(Row::new("processes, pipes, one core", ROUND_TRIP, || {
        kernel::processes(true)
    }));
    rows.push(Row::new("processes, pipes, any core", ROUND_TRIP, || {
        kernel::processes(false)
    }));
    (rows, left_out)
}

fn results(rounds: u32, rows: &[Row], measured: Vec<Vec<f64>>) -> Result<Results> {
    let mut figures: Vec<_> = rows
        .iter()
        .zip(measured)
        .map(|(row, mut samples)| {
            samples.sort_by(f64::total_cmp);
            Figures {
                what: row.what,
                unit: row.unit,
                median_ns: samples[samples.len() / 2],
                least_ns: samples[0],
                most_ns: samples[samples.len() - 1],
                times_bare: 0.0,
            }
        })
        .collect();
    let median = |what| {
        figures
            .iter()
            .find(|row| row.what == what)
            .map(|row| row.median_ns)
    };
    let bare = median(BARE).context("this row is always there")?;
    let mut goals = Vec::new();
    if let (Some(own), Some(through)) = (median(BARE_OWN), median(THROUGH_OWN)) {
        goals.push(Goal {
            goal: "a bare switch pair with own thread-locals",
            limit_ns: 30.0,
            measured_ns: own,
        });
        goals.push(Goal {
            goal: "what the scheduler adds to that",
            limit_ns: 15.0,
            measured_ns: through - own,
        });
    }
    for row in &mut figures {
        row.times_bare = row.median_ns / bare;
    }
    Ok(Results {
        schema: 1,
        benchmark: "switch",
        machine: Machine::look(limits::raise_descriptor_limit()),
        rounds,
        rows: figures,
        goals,
    })
}

fn print(results: &Results, left_out: &[String]) -> Result<()> {
    let mut table = table::ruled();
    table.set_header(["what", "ns", "least", "most", "of one", "times bare"]);
    for row in &results.rows {
        table.add_row([
            row.what.to_owned(),
            format!("{:.1}", row.median_ns),
            format!("{:.1}", row.least_ns),
            format!("{:.1}", row.most_ns),
            row.unit.to_owned(),
            format!("{:.1}", row.times_bare),
        ]);
    }
    for column in [1, 2, 3, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut out = std::io::stdout().lock();
    let machine = &results.machine;
    writeln!(
        out,
        "roving {}, {}, {}; medians of {} interleaved rounds\n{}\n\n{table}\n",
        machine.roving,
        machine.rustc,
        machine.cpu,
        results.rounds,
        machine.ground()
    )?;
    writeln!(out, "{MEANING}")?;
    for goal in &results.goals {
        let missed = goal.measured_ns - goal.limit_ns;
        let verdict = if missed <= 0.0 {
            "met".to_owned()
        } else {
            format!("missed by {missed:.1} ns")
        };
        writeln!(
            out,
            "goal: {}, at most {:.0} ns: {:.1} ns, {verdict}",
            goal.goal, goal.limit_ns, goal.measured_ns
        )?;
    }
    for reason in left_out {
        writeln!(out, "left out: {reason}")?;
    }
    Ok(())
}

const MEANING: &str = "\
A future is a state machine: to switch is to return and to call, but only code that is written for it
can be suspended. A stackful coroutine saves a few registers and changes the stack, and any code can
be suspended. Roving's coroutines ask before each switch whether it may be done: that nobody resumes what
runs, or yields in the middle of an unwinding. A transfer goes by way of whoever has entered, in two
switches; a direct one is one, in a call whose return the processor predicts wrongly. Own thread-locals add
the write of one register on the way in and on the way out. Blocking on a future that is ready makes a
waker, in one allocation, and buys that any code may call it. Blocking code as a future takes a stack from
a pool and gives it back, and has thread-locals of its own where green threads have; what it awaits is
polled by the task around it, at the cost of a poll and a switch pair. The scheduler adds the queue, and
the question whether somebody else should be woken. An OS thread goes through the kernel and its
scheduler; a process changes the address space as well.
";
