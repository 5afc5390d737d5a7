//! What is built: the programs of tests of a suite, and `roving-run` with its library.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::source::{PYTHON, cargo};
use crate::table::{Source, Suite};

/// A program of tests.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// What it is given before what the harness takes.
    pub(crate) arguments: Vec<String>,
}

/// Gives the path of `roving-run`.
pub(crate) fn build_runner() -> Result<PathBuf> {
    let mut command = Command::new(cargo());
    command
        .args(["build", "--release", "--locked"])
        .args(["-p", "roving-run", "-p", "roving-preload"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = artifacts(&mut command)?;
    let found = built
        .iter()
        .filter_map(|artifact| artifact["executable"].as_str())
        .find(|path| path.ends_with("/roving-run"));
    Ok(found.context("cargo has built no roving-run")?.into())
}

/// All programs of tests, without information for debuggers, which takes most of the time and the disk.
pub(crate) fn build(suite: &Suite, source: &Path, into: &Path) -> Result<Vec<Program>> {
    if let Source::Python(modules) = suite.source {
        return Ok(modules.iter().map(|module| of_python(module)).collect());
    }
    let mut command = Command::new("nice");
    command
        .arg(cargo())
        .args(["test", "--no-run", "--lib", "--tests"])
        .args(suite.cargo)
        .current_dir(source)
        .env("CARGO_TARGET_DIR", into)
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_TEST_DEBUG", "0")
        .envs(suite.variables.iter().copied());
    let programs = artifacts(&mut command)?;
    let programs = programs
        .iter()
        .filter(|artifact| artifact["profile"]["test"] == true);
    let mut programs: Vec<_> = programs
        .filter_map(|artifact| {
            Some(Program {
                name: artifact["target"]["name"].as_str()?.to_owned(),
                path: artifact["executable"].as_str()?.into(),
                arguments: Vec::new(),
            })
        })
        .collect();
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

/// A module of tests. Each of its tests is named as it begins, and again if it fails.
fn of_python(module: &str) -> Program {
    Program {
        name: module.to_owned(),
        path: PYTHON.into(),
        arguments: ["-m", "test", "-v", module].map(str::to_owned).into(),
    }
}

/// What cargo says that it has built, or had.
fn artifacts(command: &mut Command) -> Result<Vec<Value>> {
    let told = command
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(told.status.success(), "it cannot be built");
    let told = String::from_utf8(told.stdout)?;
    told.lines()
        .map(|line| Ok(serde_json::from_str::<Value>(line)?))
        .filter(|message| {
            message
                .as_ref()
                .map_or(true, |message| message["reason"] == "compiler-artifact")
        })
        .collect()
}
