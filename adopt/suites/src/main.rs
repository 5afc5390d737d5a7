//! `roving-adopt-suites`: the tests of others, unmodified, adopted and on OS threads.
//!
//! A [suite](table) is a package as cargo has it, or the standard library as the toolchain has it. Its [`source`] is copied,
//! its [`programs`] of tests are built once, and each is [run](mod@run) on OS threads, and by `roving-run` with one, two and
//! eight workers. The test harness has a thread for each test, so each test is adopted with all that it spawns.
//! Or it is CPython's, as Debian has it: its modules of tests are run by `python3`, which is adopted when it makes its first thread.
//! Those of clients ask a real [`server`], or start one.
//!
//! A test that passes on OS threads and does not when it is adopted *differs*. The table of suites has those for which a reason is
//! known. Where another one differs, or a suite cannot be run to its end, it is named, and the exit status is 1.

mod descendants;
mod interrupt;
mod outcome;
mod programs;
mod run;
mod server;
mod source;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use self::interrupt::Interrupt;
use self::outcome::Outcome;
use self::run::Mode;
use self::table::{SUITES, Suite};

/// Runs the tests of others, adopted and on OS threads
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The suites, or those whose names begin so; else all
    suites: Vec<String>,
    /// List the suites, and what is known of each, and run none
    #[arg(long)]
    list: bool,
    /// Only programs of tests of these names
    #[arg(long, value_name = "NAME")]
    program: Vec<String>,
    /// Only with so many workers, beside the OS threads
    #[arg(long, value_name = "WORKERS")]
    workers: Vec<u32>,
    /// A program of tests that takes longer hangs
    #[arg(long, value_name = "SECONDS", default_value_t = 240)]
    timeout: u64,
    /// Where the results are written to as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let suites = chosen(&options.suites)?;
    if options.list {
        for suite in suites {
            print!("{suite}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    descendants::adopt()?;
    let folder = target()?;
    let runner = programs::build_runner()?;
    let mut modes = vec![Mode::OsThreads];
    match &*options.workers {
        [] => modes.extend([1, 2, 8].map(Mode::Workers)),
        asked => modes.extend(asked.iter().copied().map(Mode::Workers)),
    }
    let how = run::How {
        runner,
        logs: folder.join("suites/logs"),
        timeout: Duration::from_secs(options.timeout),
        interrupt: Interrupt::listen()?,
    };
    let json = options
        .json
        .unwrap_or_else(|| folder.join("suites/results.json"));
    let mut outcomes = Vec::new();
    for suite in suites {
        if how.interrupt.is_asked() {
            break;
        }
        let mut outcome = Outcome::new(suite);
        let ran = run(suite, &folder, &how, &modes, &options.program, &mut outcome);
        if let Err(error) = ran {
            outcome.ends_early(&error);
        }
        eprint!("{}{}", outcome.details(), outcome.row(&modes));
        outcomes.push(outcome);
        outcome::write(&json, &outcomes)?;
    }
    print!("{}", outcome::table(&outcomes, &modes));
    println!("\nwritten to {}", json.display());
    let all_as_known = !how.interrupt.is_asked() && outcomes.iter().all(Outcome::is_as_known);
    Ok(if all_as_known {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn chosen(names: &[String]) -> Result<Vec<&'static Suite>> {
    let known: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
    for name in names {
        ensure!(
            known.iter().any(|known| known.starts_with(name)),
            "there is no suite {name}; they are {}",
            known.join(", ")
        );
    }
    let is_chosen =
        |suite: &&Suite| names.is_empty() || names.iter().any(|name| suite.name.starts_with(name));
    Ok(SUITES.iter().filter(is_chosen).collect())
}

/// The folder for all that is built.
fn target() -> Result<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let project = project.canonicalize().context("the project is gone")?;
    Ok(project.join("target"))
}

/// Adds what each program comes to, as it ends.
fn run(
    suite: &Suite,
    folder: &Path,
    how: &run::How,
    modes: &[Mode],
    only: &[String],
    outcome: &mut Outcome,
) -> Result<()> {
    eprintln!("== {}", suite.name);
    for (program, package) in suite.starts {
        ensure!(
            is_in_path(program),
            "this machine lacks {program}: apt install {package}"
        );
    }
    let _server = if suite.asks_postgres {
        Some(server::start()?)
    } else {
        None
    };
    let source = source::copy(suite, &folder.join("suites"))?;
    let is_asked = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let programs = programs::build(suite, &source, &folder.join("suites-build"), is_asked)?;
    if programs.is_empty() {
        bail!("there is no program of tests");
    }
    for program in &programs {
        for &mode in modes {
            outcome.add(program, mode, how.run(suite, program, &source, mode)?);
        }
    }
    Ok(())
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
