//! `roving-run PROGRAM ARGUMENTS`: a finished program whose threads are green ones.
//!
//! It [looks](program) whether that can be, has the loader load a [library] before the program, and becomes the program.

mod library;
mod program;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode};

use anyhow::{Context, Result};
use clap::Parser;

/// The command itself fails.
const FAILED: u8 = 125;

/// Runs a finished program with its threads as green ones
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "It becomes the program, with its number and its exit status. Where it cannot: 127, there is no such program; 126, \
    it cannot be run so; 125, this command fails. The variables of Roving, such as ROVING_WORKERS, count for the program."
)]
struct Options {
    /// Report what became of the program's threads when it exits, on standard error or in a file that is added to
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    report: Option<PathBuf>,
    /// The programs that it starts are run so too, which is the default
    #[arg(long, overrides_with = "no_inherit")]
    inherit: bool,
    /// The programs that it starts are run as ever, but for what it executes itself
    #[arg(long)]
    no_inherit: bool,
    /// The library; else libroving_preload.so beside this command or in ../lib
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// The program, and what it is given
    #[arg(value_name = "PROGRAM", required = true, num_args = 1.., trailing_var_arg = true)]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let options = Options::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        process::exit(if error.use_stderr() { FAILED.into() } else { 0 });
    });
    let (status, error) = match run(&options) {
        Err(error) => (FAILED, error),
        Ok(unfit) => (unfit.status(), unfit.into()),
    };
    eprintln!("roving-run: {error:#}");
    ExitCode::from(status)
}

/// Returns if it does not become the program.
fn run(options: &Options) -> Result<program::Unfit> {
    let library = match &options.library {
        Some(library) => std::path::absolute(library)?,
        None => library::find()?,
    };
    let (program, arguments) = options
        .command
        .split_first()
        .context("no program is given")?;
    let path = match program::find(program).and_then(|path| {
        program::check(&path)?;
        Ok(path)
    }) {
        Ok(path) => path,
        Err(unfit) => return Ok(unfit),
    };
    let mut command = Command::new(&path);
    command.arg0(program).args(arguments);
    command.env("LD_PRELOAD", library::before_others(&library)?);
    set(&mut command, "ROVING_ADOPT_REPORT", report(options)?);
    let only = options.no_inherit.then(|| process::id().to_string());
    set(&mut command, "ROVING_ADOPT_ONLY", only);
    Ok(program::Unfit::cannot_execute(&path, &command.exec()))
}

fn set(command: &mut Command, name: &str, value: Option<impl Into<OsString>>) {
    match value {
        Some(value) => command.env(name, value.into()),
        None => command.env_remove(name),
    };
}

/// Where a report goes to, wherever the program goes.
fn report(options: &Options) -> Result<Option<PathBuf>> {
    let absolute = |path: &PathBuf| match &**path == Path::new("-") {
        true => Ok(path.clone()),
        false => std::path::absolute(path)
            .with_context(|| format!("the report cannot go to {}", path.display())),
    };
    options.report.as_ref().map(absolute).transpose()
}
