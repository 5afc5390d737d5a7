//! `memory`: what a green thread takes while it waits, with stacks as they are by default and with compact ones.
//!
//! The layout of stacks is that of a process, so each figure is of a process of its own: what its memory has grown by from before
//! the first thread to after the last one has come to wait, with page tables, for each thread. Both ends of a connection are in that
//! process; what the kernel has for sockets is not counted, since it is not memory of a process.

use crate::fail::Nonsense;
use crate::limits::{self, SPARE_DESCRIPTORS};
use crate::proc_stats::{self, Memory};
use crate::table;
use anyhow::{Context, Result, ensure};
use comfy_table::CellAlignment;
use roving::net::{TcpListener, TcpStream};
use roving::{Builder, Runtime, thread};
use std::env;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio, exit};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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

/// The arguments of the child that measures one figure.
#[derive(Debug, clap::Args)]
pub(crate) struct CellOptions {
    what: String,
    count: usize,
}

/// The address space of a stack. The larger it is, the more page tables a thread takes.
const STACK: usize = 64 << 10;

/// The bytes of the buffer that a connection reads into.
const BUFFER: usize = 4096;

/// Who has waited for twice five seconds has given back what it does not use.
const RECLAIMED: Duration = Duration::from_secs(12);

/// Comes to wait in so many threads, and gives what keeps them waiting.
type Work = fn(&Runtime, usize) -> io::Result<Box<dyn std::any::Any>>;

struct Row {
    name: &'static str,
    what: &'static str,
    work: Work,
}

const PARKED: Row = Row {
    name: "parked",
    what: "parked",
    work: parked,
};
const ROWS: [Row; 5] = [
    PARKED,
    Row {
        name: "asleep",
        what: "asleep",
        work: asleep,
    },
    Row {
        name: "buffered",
        what: "an idle echo connection with a buffer of 4 KiB",
        work: buffered,
    },
    Row {
        name: "rested",
        what: "the same, when it has been idle for some seconds",
        work: rested,
    },
    Row {
        name: "waiting",
        what: "one that has no buffer before there is something to read",
        work: waiting,
    },
];

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.threads == 0 || options.most == 0 {
        return Err(Nonsense("there must be threads".into()).into());
    }
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
        let [usual, compact] = [false, true].map(|compact| measure(row, count, compact));
        let [usual, compact] = [usual?, compact?].map(|each| each.to_string());
        table.add_row([row.what.to_owned(), count.to_string(), usual, compact]);
    }
    println!("{table}");
    Ok(())
}

fn measure(row: &Row, count: usize, compact: bool) -> Result<u64> {
    let output = Command::new(env::current_exe()?)
        .args(["memory-cell", row.name, &count.to_string()])
        .env("ROVING_COMPACT_STACKS", if compact { "1" } else { "0" })
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "the measuring process ended with {}",
        output.status
    );
    let figure = String::from_utf8(output.stdout)?;
    figure.trim().parse().context("no figure")
}

/// Measures one figure, in this process, which ends with it.
pub(crate) fn cell(options: &CellOptions) -> Result<()> {
    let row = ROWS.iter().find(|row| row.name == options.what);
    let no_row = || format!("there is no row {:?}", options.what);
    let work = row.with_context(no_row)?.work;
    limits::raise_descriptor_limit();
    let runtime = Builder::new().workers(1).stack_size(STACK).build()?;
    if let Some(why) = roving::stacks().not_compact {
        eprintln!("warning: {why}");
    }
    // What comes with the first use of anything.
    drop(work(&runtime, 1)?);
    let before = memory();
    let waiting = work(&runtime, options.count)?;
    let each = memory().grown_for_each(before, options.count as u64);
    println!("{}", each.total());
    std::mem::forget((waiting, runtime));
    exit(0);
}

fn memory() -> Memory {
    proc_stats::memory(std::process::id()).expect("it is this process")
}

/// Starts so many threads with `body`, and waits until all have come to wait at its end.
fn all_waiting(runtime: &Runtime, count: usize, body: fn()) -> Box<dyn std::any::Any> {
    static ARRIVED: AtomicUsize = AtomicUsize::new(0);
    ARRIVED.store(0, Ordering::Relaxed);
    let threads: Vec<_> = (0..count)
        .map(|_| {
            runtime.spawn(move || {
                ARRIVED.fetch_add(1, Ordering::Relaxed);
                body();
            })
        })
        .collect();
    while ARRIVED.load(Ordering::Relaxed) < count {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The only worker runs this when all that came before have come to wait.
    runtime.run(|| ());
    Box::new(threads)
}

fn parked(runtime: &Runtime, count: usize) -> io::Result<Box<dyn std::any::Any>> {
    Ok(all_waiting(runtime, count, || thread::park()))
}

fn asleep(runtime: &Runtime, count: usize) -> io::Result<Box<dyn std::any::Any>> {
    let body = || thread::sleep(Duration::from_secs(3600));
    Ok(all_waiting(runtime, count, body))
}

fn buffered(runtime: &Runtime, count: usize) -> io::Result<Box<dyn std::any::Any>> {
    connections(runtime, count, |mut stream| {
        let mut buffer = [0; BUFFER];
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                length => stream.write_all(&buffer[..length])?,
            }
        }
    })
}

/// What is not used any more has gone back then.
fn rested(runtime: &Runtime, count: usize) -> io::Result<Box<dyn std::any::Any>> {
    let streams = buffered(runtime, count)?;
    std::thread::sleep(RECLAIMED);
    Ok(streams)
}

fn waiting(runtime: &Runtime, count: usize) -> io::Result<Box<dyn std::any::Any>> {
    connections(runtime, count, |mut stream| {
        loop {
            // Parks until there is something, and takes nothing of it.
            if stream.peek(&mut [0])? == 0 {
                return Ok(());
            }
            let mut buffer = vec![0; BUFFER];
            let length = stream.read(&mut buffer)?;
            stream.write_all(&buffer[..length])?;
        }
    })
}

/// So many connections with a thread each that serves it, all of which have echoed a message and wait for the next.
fn connections(
    runtime: &Runtime,
    count: usize,
    serve: fn(TcpStream) -> io::Result<()>,
) -> io::Result<Box<dyn std::any::Any>> {
    let listener = runtime.run(|| TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(move || {
        for _ in 0..count {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            thread::spawn(move || serve(stream));
        }
    });
    let connect = || {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.write_all(b"ping")?;
        stream.read_exact(&mut [0; 4])?;
        Ok(stream)
    };
    let streams = (0..count).map(|_| connect());
    let streams = streams.collect::<io::Result<Vec<_>>>()?;
    // The only worker runs this when the last one has come to wait.
    runtime.run(|| ());
    Ok(Box::new(streams))
}
