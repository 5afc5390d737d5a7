//! `finished`: programs that were there before, as they are and by `roving-run`: a server in C, built by the system's compiler, and
//! one in Python, of its standard library. Both have a thread for each connection.
//!
//! They are measured in turn, as those of `connections` are, several rounds of it; a figure is the median of its rounds.

mod programs;
mod report;

use crate::connections::interrupt::Interrupt;
use crate::connections::plan::Bounds;
use crate::connections::results::Row;
use crate::connections::run::measure as measure_server;
use crate::connections::task::{Foreign, Task};
use crate::fail::Nonsense;
use crate::limits;
use crate::load::ExchangeKind;
use crate::machine::{self, Machine};
use crate::server::ServerKind;
use crate::system;
use anyhow::{Result, ensure};
use programs::{Launcher, Program};
use std::io::Write;
use std::path::PathBuf;

/// The arguments of `finished`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections, all of which are kept busy
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    connections: u32,
    /// Bytes of a request and of its answer
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    message: u32,
    /// Seconds of load that are measured in each round
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u64,
    /// Rounds, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// The interpreter of Python
    #[arg(long, value_name = "FILE", default_value = "/usr/bin/python3")]
    python: PathBuf,
}

/// How a program is run.
const WAYS: [ServerKind; 2] = [ServerKind::Threads, ServerKind::Adopted];

/// What was measured of one program, run in one way: a row for each round.
struct Measured<'a> {
    program: &'a Program,
    way: ServerKind,
    rounds: Vec<Row>,
}

/// Runs the benchmark.
pub(crate) fn run(options: Options) -> Result<()> {
    let descriptors = limits::raise_descriptor_limit();
    let (first_port, last_port) = limits::ephemeral_ports();
    let bounds = Bounds {
        descriptors,
        mappings: system::number("/proc/sys/vm/max_map_count"),
        ports: u64::from(last_port - first_port) + 1,
        cores: machine::cores(),
    };
    let most = bounds.per_server(ServerKind::Threads);
    let is_sense = (1..=most).contains(&u64::from(options.connections))
        && (1..=512).contains(&options.message)
        && (1..=3600).contains(&options.seconds)
        && options.rounds > 0;
    if !is_sense {
        return Err(Nonsense(format!(
            "it takes 1 to {most} connections, messages of 1 to 512 bytes, 1 to 3600 seconds, and at least 1 round"
        ))
        .into());
    }

    let interrupt = Interrupt::listen()?;
    let launcher = Launcher::build()?;
    let programs = programs::find(&options.python)?;
    let mut all: Vec<Measured<'_>> = programs
        .iter()
        .flat_map(|program| {
            WAYS.map(|way| Measured {
                program,
                way,
                rounds: Vec::new(),
            })
        })
        .collect();
    for _ in 0..options.rounds {
        for one in &mut all {
            let row = measure(one, &launcher, &options, bounds, &interrupt)?;
            one.rounds.push(row);
        }
    }
    let mut stdout = std::io::stdout();
    let machine = Machine::look(descriptors);
    write!(stdout, "{}", report::render(&machine, &options, &all))?;
    Ok(())
}

fn measure(
    one: &Measured<'_>,
    launcher: &Launcher,
    options: &Options,
    bounds: Bounds,
    interrupt: &Interrupt,
) -> Result<Row> {
    let (program, arguments) = match one.way {
        ServerKind::Adopted => launcher.of(one.program),
        _ => one.program.as_it_is(),
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let task = Task {
        kind: one.way,
        foreign: Some(Foreign {
            name: one.program.name,
            program,
            arguments: &arguments,
            environment: &[],
        }),
        preload: None,
        apart: false,
        connections: options.connections,
        active: options.connections,
        exchange: ExchangeKind::Echo,
        message: options.message,
        seconds: options.seconds,
        idle_seconds: 1,
        workers: None,
        computing: 0,
        stack_size: 0,
        bounds,
    };
    let row = measure_server(task, interrupt)?;
    let (name, way) = (one.program.name, one.way);
    ensure!(
        row.is_clean() && row.stopped_by.is_none(),
        "{name}, {way}: {} established, {} failed, {} wrong bytes, stopped by {:?}, errors {:?}",
        row.established,
        row.failed,
        row.wrong_bytes,
        row.stopped_by,
        row.errors
    );
    let is_green = row.max_os_threads_per_process < u64::from(options.connections);
    ensure!(
        way != ServerKind::Adopted || is_green,
        "{name} was not adopted: it had {} OS threads",
        row.max_os_threads_per_process
    );
    Ok(row)
}
