//! A fuzzer over Roving's public interface.
//!
//! It makes random programs of whatever users do with green threads: spawn, join, cancel, borrow, lock,
//! send, select, panic, drop, forget, on green threads and OS threads, in runtimes of one to eight
//! workers. It runs each, and looks at three things: that it ends, that nothing is alive then, and that
//! nothing was lost on the way.
//!
//! | file        | what it is                                                             |
//! |-------------|------------------------------------------------------------------------|
//! | `program`   | what a program is                                                       |
//! | `generate`  | makes one from a seed, such that it ends                                |
//! | `world`     | the objects that its threads share                                      |
//! | `value`     | the values that they pass on, which are counted                         |
//! | `interpret` | runs its threads                                                        |
//! | `execute`   | runs all of it, once                                                    |
//! | `oracle`    | what must be true of every program                                      |
//! | `child`     | the process in which that happens, with its watchdog                    |
//! | `campaign`  | runs many of these processes                                            |
//! | `shrink`    | makes a program that fails smaller                                      |
//!
//! Programs are made by a generator of its own, and not from the bytes of a coverage-guided fuzzer: that
//! needs a nightly compiler, and what it is guided by says little here, since the branch that goes wrong
//! is taken by a thread at the wrong moment and not by a byte of the input. A generator that knows what
//! programs mean makes only such as end, and knows what each must leave behind.
//!
//! A failure can be repeated by its seed as far as threads allow. It is made smaller before it is
//! printed, and written to a file that `replay` takes.

mod campaign;
mod child;
mod execute;
mod generate;
mod interpret;
mod oracle;
mod program;
mod shrink;
mod value;
mod world;

use std::fs;
use std::io::{self, Read};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use campaign::{Failure, Plan};
use generate::Fixed;
use program::Program;

#[derive(Parser)]
#[command(
    name = "roving-fuzz",
    version,
    about = "Runs random programs on green threads"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs random programs until the time is over or one fails
    Run(Run),
    /// Prints the program of a seed
    Show {
        seed: u64,
        #[command(flatten)]
        fixed: FixedOptions,
    },
    /// Runs a program from a file again and again, until it fails
    Replay {
        file: PathBuf,
        /// How often
        #[arg(long, default_value_t = 1000)]
        times: u64,
        /// Seconds that a program may take
        #[arg(long, default_value_t = 30)]
        limit: u64,
    },
    /// The process that programs run in
    #[command(hide = true)]
    Child {
        #[command(subcommand)]
        work: Work,
    },
}

#[derive(Args)]
struct Run {
    /// The first seed; the others follow. By default the clock gives it
    #[arg(long)]
    seed: Option<u64>,
    /// How long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many programs at most
    #[arg(long)]
    programs: Option<u64>,
    /// How many processes at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Seconds that a program may take
    #[arg(long, default_value_t = 30)]
    limit: u64,
    /// After how many failures it ends
    #[arg(long, default_value_t = 1)]
    failures: usize,
    /// Seconds to spend on making each failure smaller
    #[arg(long, default_value_t = 60)]
    shrink: u64,
    /// Where to put the programs that fail
    #[arg(long, default_value = "target/fuzz")]
    out: PathBuf,
    #[command(flatten)]
    fixed: FixedOptions,
}

#[derive(Args, Clone, Copy)]
struct FixedOptions {
    /// Workers of every program, instead of a random number
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Whether green threads stay on their workers, instead of now and then
    #[arg(long)]
    pinned: Option<bool>,
}

impl From<FixedOptions> for Fixed {
    fn from(options: FixedOptions) -> Self {
        Self {
            workers: options.workers.map(usize::from),
            pinned: options.pinned,
        }
    }
}

#[derive(Subcommand)]
enum Work {
    /// Runs the programs of seeds that follow one another
    Batch {
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        count: u64,
        #[arg(long)]
        millis: u64,
        #[arg(long)]
        limit: u64,
        #[command(flatten)]
        fixed: FixedOptions,
    },
    /// Runs the program on standard input
    Repeat {
        #[arg(long)]
        times: usize,
        #[arg(long)]
        millis: u64,
        #[arg(long)]
        limit: u64,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(run) => fuzz(&run),
        Command::Show { seed, fixed } => {
            print!("{}", generate::program(seed, fixed.into()));
            Ok(true)
        }
        Command::Replay { file, times, limit } => replay(&file, times, limit),
        Command::Child { work } => work.run().map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all programs were as they must be.
fn fuzz(run: &Run) -> Result<bool> {
    let seed = match run.seed {
        Some(seed) => seed,
        None => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            now.as_secs() * 1_000_000
        }
    };
    let (ran, failures) = campaign::run(&Plan {
        seed,
        programs: run.programs,
        time: Duration::from_secs(run.seconds),
        limit: Duration::from_secs(run.limit),
        jobs: run.jobs.max(1),
        fixed: run.fixed.into(),
        failures: run.failures.max(1),
    })?;
    let count = failures.len();
    for failure in failures {
        let seed = failure.program.seed;
        eprintln!("seed {seed} {}; it is made smaller ...", failure.kind);
        let smallest = shrink::shrink(failure, Duration::from_secs(run.shrink))?;
        fs::create_dir_all(&run.out).with_context(|| run.out.display().to_string())?;
        let file = run.out.join(format!("{seed}.json"));
        fs::write(&file, serde_json::to_string(&smallest.program)?)
            .with_context(|| file.display().to_string())?;
        print_failure(&smallest, &file);
    }
    println!("{ran} programs from seed {seed} on, {count} failures");
    Ok(count == 0)
}

fn print_failure(failure: &Failure, file: &Path) {
    let Failure {
        program,
        kind,
        report,
        runs,
    } = failure;
    println!("A program {kind} (run {runs}):\n{program}{report}");
    println!("Again: roving-fuzz replay {}\n", file.display());
}

fn replay(file: &Path, times: u64, limit: u64) -> Result<bool> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let program: Program = serde_json::from_str(&text)?;
    let time = Duration::from_secs(3600);
    match campaign::repeat(&program, times, time, Duration::from_secs(limit))? {
        None => {
            println!("it ran {times} times as it must");
            Ok(true)
        }
        Some(failure) => {
            print_failure(&failure, file);
            Ok(false)
        }
    }
}

impl Work {
    fn run(self) -> Result<()> {
        match self {
            Self::Batch {
                seed,
                count,
                millis,
                limit,
                fixed,
            } => {
                let programs =
                    (seed..seed + count).map(|seed| generate::program(seed, fixed.into()));
                child::run(programs, until(millis), Duration::from_secs(limit))?;
            }
            Self::Repeat {
                times,
                millis,
                limit,
            } => {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text)?;
                let program: Program = serde_json::from_str(&text)?;
                let programs = iter::repeat_n(program, times);
                child::run(programs, until(millis), Duration::from_secs(limit))?;
            }
        }
        Ok(())
    }
}

fn until(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}
