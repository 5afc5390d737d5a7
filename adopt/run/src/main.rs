//! `roving-run PROGRAM ARGUMENTS`: runs a finished program with green threads.
//!
//! It [checks](program) whether that is possible, has the dynamic linker preload a [library], and replaces itself with the program.

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

/// Runs a finished program with green threads
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "It replaces itself with the program, keeping the process ID; the exit status is the program's. Otherwise: 127, there is no \
    such program; 126, it cannot be adopted; 125, this command fails. Roving's variables, such as ROVING_WORKERS, apply to the \
    program."
)]
struct Options {
    /// Report how the program's threads ran when it exits, to standard error, or append it to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    report: Option<PathBuf>,
    /// Adopt child programs too (the default)
    #[arg(long, overrides_with = "no_inherit")]
    inherit: bool,
    /// Do not adopt child programs, except one that replaces the program (exec)
    #[arg(long)]
    no_inherit: bool,
    /// The library [default: libroving_preload.so next to this command or in ../lib]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// The program and its arguments
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

/// Returns only if it cannot execute the program.
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
