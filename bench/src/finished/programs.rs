//! The programs, and what has them run adopted.

use crate::connections::progress::note;
use crate::programs;
use anyhow::{Context, Result, ensure};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A server that is there.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    path: PathBuf,
    arguments: Vec<String>,
}

impl Program {
    /// What is run, with which arguments.
    pub(super) fn as_it_is(&self) -> (&Path, Vec<String>) {
        (&self.path, self.arguments.clone())
    }
}

/// `roving-run`.
#[derive(Debug)]
pub(super) struct Launcher(PathBuf);

impl Launcher {
    /// Builds it, and the library that it has loaded, which it finds beside itself.
    pub(super) fn build() -> Result<Launcher> {
        note("Building roving-preload and roving-run");
        programs::build("roving-preload")?;
        programs::build("roving-run").map(Launcher)
    }

    /// What is run to have a program adopted, with which arguments.
    pub(super) fn of(&self, program: &Program) -> (&Path, Vec<String>) {
        let path = program.path.to_string_lossy().into_owned();
        let arguments = program.arguments.iter().cloned();
        (&self.0, std::iter::once(path).chain(arguments).collect())
    }
}

/// Those that can be run here. What is missing for others is told.
pub(super) fn find(python: &Path) -> Result<Vec<Program>> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("finished");
    let mut all = Vec::new();
    match build_c(&sources) {
        Ok(program) => all.push(program),
        Err(error) => note(format_args!("The server in C is left out: {error:#}")),
    }
    match runs(python.as_os_str().to_owned()) {
        Ok(()) => all.push(Program {
            name: "Python",
            path: python.to_owned(),
            arguments: vec![sources.join("echo.py").to_string_lossy().into_owned()],
        }),
        Err(error) => note(format_args!("The server in Python is left out: {error:#}")),
    }
    ensure!(
        !all.is_empty(),
        "there is nothing to measure: neither of the servers can be had here, for the reasons above"
    );
    Ok(all)
}

fn build_c(sources: &Path) -> Result<Program> {
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    runs(compiler.clone())?;
    let path = env::current_exe()?.with_file_name("roving-bench-finished-echo");
    let built = Command::new(compiler)
        .args(["-O2", "-pthread", "-o"])
        .arg(&path)
        .arg(sources.join("echo.c"))
        .status()?;
    ensure!(built.success(), "the compiler: {built}");
    Ok(Program {
        name: "C",
        path,
        arguments: Vec::new(),
    })
}

fn runs(program: OsString) -> Result<()> {
    let name = program.to_string_lossy().into_owned();
    let run = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("there is no {name}"))?;
    ensure!(run.success(), "{name} --version: {run}");
    Ok(())
}
