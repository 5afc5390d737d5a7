//! The benchmarks of Roving, one subcommand each.
//!
//! A benchmark runs its servers and its load clients as child processes of itself (`process`),
//! which are hidden subcommands of the same program and speak JSON lines over their pipes
//! (`protocol`). A benchmark exits with 0 when it ran and every answer was right, 1 when it did
//! not, 2 when the command made no sense (nothing has been started then), and 130 when it was
//! interrupted.

mod adopt;
mod check;
mod clock;
mod connections;
mod datagrams;
mod fail;
mod files;
mod finished;
mod latency;
mod limits;
mod load;
mod machine;
mod memory;
mod peers;
mod proc_stats;
mod process;
mod programs;
mod protocol;
mod resp;
mod server;
mod switch;
mod sync;
mod system;
mod table;
mod trace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "roving-bench", version, about = "The benchmarks of Roving")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Holds many connections to a green-thread server and to a thread-per-connection server, and
    /// compares the two
    Connections(connections::Options),
    /// Compares what it costs to switch: futures, coroutines, green threads, OS threads, processes
    Switch(switch::Options),
    /// Compares locks, channels, select, spawning and timers with those of std, crossbeam, tokio
    /// and may
    Sync(sync::Options),
    /// Compares files with those of std on OS threads, and of tokio
    Files(sync::Options),
    /// Compares adopted programs of std with ones that were written for green threads, and with OS threads
    Adopt(adopt::Options),
    /// Compares finished programs, as they are, with the same by `roving-run`
    Finished(finished::Options),
    /// Compares Roving with may, tokio, Go, OS threads and what no runtime can beat
    Peers(peers::Options),
    /// Compares a small server of Redis's protocol with OS threads and with redis-server, by redis-benchmark
    Resp(resp::Options),
    /// Counts the instructions of the hot paths, and compares them with a baseline
    Check(check::Options),
    /// Tells what a green thread takes while it waits, by default and with compact stacks
    Memory(memory::Options),
    /// Compares batches of datagrams with single ones
    Datagrams(datagrams::Options),
    /// Draws a trace of what a runtime has recorded
    DrawTrace(trace::Options),
    /// Runs a hot path of `check`
    #[command(hide = true)]
    CheckPath(check::PathOptions),
    /// Serves echoes, until its standard input ends
    #[command(hide = true)]
    Serve(server::Options),
    /// Makes load, until its standard input ends
    #[command(hide = true)]
    Load(load::Options),
    /// Makes streams, short connections or HTTP requests for a while
    #[command(hide = true)]
    Wire(peers::WireOptions),
    /// Serves Redis's protocol
    #[command(hide = true)]
    RespServer(resp::ServerOptions),
    /// Answers bytes of standard input, until it ends
    #[command(hide = true)]
    Echo(switch::EchoOptions),
    /// Measures one cell of `adopt` once, not adopted
    #[command(hide = true)]
    AdoptCell(adopt::CellOptions),
    /// Measures one cell of `sync` or `files` once
    #[command(hide = true)]
    Cell(sync::CellOptions),
}

impl Command {
    /// Whether it is what a person runs to see figures.
    fn measures(&self) -> bool {
        matches!(
            self,
            Self::Connections(_)
                | Self::Switch(_)
                | Self::Memory(_)
                | Self::Sync(_)
                | Self::Datagrams(_)
                | Self::Files(_)
                | Self::Finished(_)
                | Self::Adopt(_)
                | Self::Peers(_)
                | Self::Resp(_)
                | Self::Check(_)
        )
    }
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if command.measures() {
        machine::warn_of_debug_build();
    }
    let outcome = match command {
        Command::Connections(options) => connections::run(options),
        Command::Switch(options) => switch::run(options),
        Command::Datagrams(options) => datagrams::run(options),
        Command::Sync(options) => sync::run(&sync::SUITE, options),
        Command::Files(options) => sync::run(&files::SUITE, options),
        Command::Memory(options) => memory::run(&options),
        Command::Adopt(options) => adopt::run(options),
        Command::AdoptCell(options) => adopt::cell(&options),
        Command::Finished(options) => finished::run(options),
        Command::Cell(options) => sync::cell(&[sync::SUITE, files::SUITE], options),
        Command::Check(options) => check::run(&options),
        Command::DrawTrace(options) => trace::draw(&options),
        Command::CheckPath(options) => check::path(&options),
        Command::Peers(options) => peers::run(options),
        Command::Wire(options) => peers::wire(options),
        Command::Resp(options) => resp::run(&options),
        Command::RespServer(options) => resp::serve(&options),
        Command::Serve(options) => server::run(options),
        Command::Load(options) => load::run(options),
        Command::Echo(options) => switch::echo(options),
    };
    fail::exit_code(outcome)
}
