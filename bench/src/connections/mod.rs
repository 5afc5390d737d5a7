//! `connections`: many connections, held and served by a green thread each and by an OS thread
//! each; and by a program that has an OS thread for each, adopted.
//!
//! The servers are measured in turn at 100, 1,000, 10,000 .. connections up to the number asked for
//! (`sweep`); each measurement (`run`) has processes of its own (`processes`), laid out by
//! `plan`, which go through `phases`. Where a server
//! is stopped by a limit of the system on the way to a number, that is a row of its own, and all
//! servers are measured once more at a number that it can hold. The rows go to a file (`results`),
//! a table (`table`) and a picture (`picture`).

pub(crate) mod interrupt;
mod phases;
mod picture;
pub(crate) mod plan;
mod preflight;
mod processes;
pub(crate) mod progress;
pub(crate) mod results;
pub(crate) mod run;
mod sweep;
mod table;
pub(crate) mod task;

use crate::limits;
use crate::load::ExchangeKind;
use crate::machine::{self, Machine};
use crate::server::ServerKind;
use crate::system;
use anyhow::{Context, Result, ensure};
use interrupt::Interrupt;
use plan::Bounds;
use preflight::{Request, Room};
use results::{Parameters, Results};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use sweep::Programs;

/// Where results go, but for those that are told where.
const RESULTS: &str = "bench/results";

/// Descriptors that a server of HTTP needs for other things than its clients, on top.
const HTTP_DESCRIPTORS: u64 = 512;

/// The arguments of `connections`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections to reach [default: 100000, with --quick 10000]
    #[arg(long, value_name = "N")]
    connections: Option<u32>,
    /// What is asked and answered
    #[arg(long, value_enum, default_value_t)]
    exchange: ExchangeKind,
    /// Bytes of a request and of its answer, or of their bodies
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    message: u32,
    /// Seconds of load that are measured at the largest numbers; half of it at the smaller ones
    /// [default: 10, with --quick 2]
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Connections that are kept busy: `all`, or a number; the others stay open and idle
    #[arg(long, value_name = "all|N", default_value = "all")]
    active: Active,
    /// Servers to measure
    #[arg(long, value_delimiter = ',', default_value = "roving,adopted,threads")]
    servers: Vec<ServerKind>,
    /// Worker threads of each green-thread server process [default: its share of the cores]
    #[arg(long, value_name = "N")]
    workers: Option<u64>,
    /// Threads of each server process that compute without end meanwhile
    #[arg(long, value_name = "N", default_value_t = 0)]
    computing: u32,
    /// Bytes of stack of a green thread
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 10)]
    stack_size: u64,
    /// Bytes of stack of an OS thread
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 10)]
    thread_stack_size: u64,
    /// File for the results [default: bench/results/connections.json, or http.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// File for the picture [default: bench/results/connections.svg, or http.svg]
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Less of everything: well under a minute
    #[arg(long)]
    quick: bool,
}

/// Which connections are kept busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Active {
    All,
    Some(u32),
}

impl FromStr for Active {
    type Err = String;

    fn from_str(text: &str) -> Result<Active, String> {
        match text {
            "all" => Ok(Active::All),
            _ => text
                .parse()
                .map(Active::Some)
                .map_err(|_| "give `all` or a number".into()),
        }
    }
}

/// Runs the benchmark.
pub(crate) fn run(options: Options) -> Result<()> {
    let descriptors = limits::raise_descriptor_limit();
    let (first_port, last_port) = limits::ephemeral_ports();
    let bounds = Bounds {
        descriptors: match options.exchange {
            ExchangeKind::Echo => descriptors,
            // A server of HTTP has a database, and connections with another server.
            ExchangeKind::Http => descriptors.saturating_sub(HTTP_DESCRIPTORS),
        },
        mappings: system::number("/proc/sys/vm/max_map_count"),
        ports: u64::from(last_port - first_port) + 1,
        cores: machine::cores(),
    };
    let mut servers = Vec::new();
    for &server in &options.servers {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    let request = Request {
        connections: options
            .connections
            .unwrap_or(if options.quick { 10_000 } else { 100_000 }),
        exchange: options.exchange,
        message: options.message,
        seconds: options
            .seconds
            .unwrap_or(if options.quick { 2 } else { 10 }),
        active: match options.active {
            Active::All => None,
            Active::Some(active) => Some(active),
        },
        servers: &servers,
        workers: options.workers,
        computing: options.computing,
        stack_size: options.stack_size,
        thread_stack_size: options.thread_stack_size,
    };
    preflight::check(&request, Room::look(bounds))?;
    let file = |option: &str, given: Option<PathBuf>, extension| {
        let path = given.unwrap_or_else(|| {
            // If it fails, the file cannot be written either, and that is told.
            let _ = fs::create_dir_all(RESULTS);
            let name = match options.exchange {
                ExchangeKind::Echo => "connections",
                ExchangeKind::Http => "http",
            };
            Path::new(RESULTS).join(name).with_extension(extension)
        });
        preflight::check_writable(option, &path).map(|()| path)
    };
    let json_file = file("--json", options.json, "json")?;
    let svg_file = file("--svg", options.svg, "svg")?;

    let interrupt = Interrupt::listen()?;
    let machine = Machine::look(descriptors);
    let mut stdout = std::io::stdout();
    write!(
        stdout,
        "{}",
        table::introduction(&machine, &request, bounds)
    )?;
    let programs = Programs::build(&request)?;
    let rows = sweep::run(&request, &programs, bounds, options.quick, &interrupt)?;
    let results = Results {
        schema: 1,
        benchmark: "connections".into(),
        machine,
        parameters: Parameters {
            connections: request.connections,
            exchange: request.exchange,
            message_bytes: request.message,
            seconds: request.seconds,
            active: request.active,
            computing: request.computing,
            roving_stack_bytes: request.stack_size,
            thread_stack_bytes: request.thread_stack_size,
        },
        rows,
    };
    let mut json = serde_json::to_string_pretty(&results)?;
    json.push('\n');
    fs::write(&json_file, json).with_context(|| format!("cannot write {}", json_file.display()))?;
    picture::draw(&results, &svg_file)
        .with_context(|| format!("cannot write {}", svg_file.display()))?;
    write!(stdout, "{}", table::render(&results))?;
    writeln!(
        stdout,
        "Results: {}\nPicture: {}",
        json_file.display(),
        svg_file.display()
    )?;

    let unclean = results
        .rows
        .iter()
        .find(|row| !row.is_clean() && row.stopped_by.is_none());
    if let Some(row) = unclean {
        let (failed, wrong) = (row.failed, row.wrong_bytes);
        anyhow::bail!(
            "the {} server at {} connections: {failed} failed, {wrong} wrong bytes",
            row.server,
            row.connections
        );
    }
    ensure!(
        results.rows.iter().all(|row| row.wrong_bytes == 0),
        "there were wrong bytes"
    );
    Ok(())
}
