//! What is built: the programs of tests of a suite, and `roving-run` with its library.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
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

/// All programs of tests that are asked for, without information for debuggers, which takes most of the time and the disk.
pub(crate) fn build(
    suite: &Suite,
    source: &Path,
    into: &Path,
    is_asked: impl Fn(&str) -> bool,
) -> Result<Vec<Program>> {
    if let Source::Python(modules) = suite.source {
        let asked = modules.iter().filter(|module| is_asked(module));
        return Ok(asked.map(|module| of_python(module)).collect());
    }
    if let Source::Glibc(folders) = suite.source {
        return of_glibc(folders, source, into, is_asked);
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
    programs.retain(|program| is_asked(&program.name));
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

/// Each is a program of its own, and all share some functions. What wants more of the C library than it exports cannot be built, and
/// is left out.
fn of_glibc(
    folders: &[&str],
    source: &Path,
    into: &Path,
    is_asked: impl Fn(&str) -> bool,
) -> Result<Vec<Program>> {
    let into = into.join("glibc");
    // Of all that is in the source, they are to find what they share, and the rest where it is installed.
    let include = into.join("include");
    fs::create_dir_all(&include)?;
    for name in ["support", "include/intprops.h", "include/array_length.h"] {
        let name = Path::new(name);
        let link = include.join(name.file_name().context("a name")?);
        if !link.exists() {
            symlink(source.join(name), link)?;
        }
    }
    // It tells of the machine for which the library is built.
    fs::write(include.join("config.h"), "")?;
    let beside: Vec<_> = folders.iter().map(|folder| source.join(folder)).collect();
    let shared: Vec<_> = files(&source.join("support"), "")?
        .iter()
        .filter_map(|file| compile(file, &beside, &into, &["-c"], &[]))
        .collect();
    let library = into.join("support.a");
    let archived = Command::new("ar")
        .arg("rcs")
        .arg(&library)
        .args(&shared)
        .status()
        .context("this machine lacks ar: apt install binutils")?;
    ensure!(archived.success(), "ar cannot make {}", library.display());
    let libraries = [library.to_str().context("a path")?, "-lrt", "-ldl", "-lm"];
    let mut programs = Vec::new();
    for folder in folders {
        for file in files(&source.join(folder), "tst-")? {
            let name = file.file_stem().and_then(|name| name.to_str());
            if !name.is_some_and(&is_asked) {
                continue;
            }
            if let Some(path) = compile(&file, &beside, &into, &[], &libraries) {
                let name = path.file_name().and_then(|name| name.to_str());
                programs.push(Program {
                    name: name.context("a name")?.to_owned(),
                    path: path.clone(),
                    arguments: Vec::new(),
                });
            }
        }
    }
    Ok(programs)
}

/// The files of C whose names begin so.
fn files(folder: &Path, begin: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(begin) && name.ends_with(".c")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Where it is to be told that things are which the programs do not use.
const PLACES: [&str; 10] = [
    "SRCDIR",
    "OBJDIR",
    "OBJDIR_ELF_LDSO",
    "INSTDIR",
    "LIBDIR",
    "SLIBDIR",
    "BINDIR",
    "SBINDIR",
    "ROOTSBINDIR",
    "COMPLOCALEDIR",
];

/// Compiles a file, if that was not done before. It may include those in the folders `beside`. `None` if it cannot be.
fn compile(
    file: &Path,
    beside: &[PathBuf],
    into: &Path,
    how: &[&str],
    libraries: &[&str],
) -> Option<PathBuf> {
    let object = into.join(file.file_stem()?);
    if !object.exists() {
        let quoted = beside
            .iter()
            .flat_map(|folder| [OsStr::new("-iquote"), folder.as_os_str()]);
        let told = Command::new("nice")
            .args(["cc", "-std=gnu11", "-O1", "-w", "-pthread", "-D_GNU_SOURCE"])
            // In seconds, for slow machines; and what some of them take to be included.
            .args(["-DTIMEOUTFACTOR=4", "-include", "limits.h"])
            .args(PLACES.map(|place| format!("-D{place}_PATH=\"/\"")))
            .args(how)
            .arg("-I")
            .arg(into.join("include"))
            .arg("-I")
            .arg(into.join("include/support"))
            .args(quoted)
            .arg("-o")
            .arg(&object)
            .arg(file)
            .args(libraries)
            .output()
            .ok()?;
        if !told.status.success() {
            return None;
        }
    }
    Some(object)
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
