//! Where the source of a suite comes from: cargo, the toolchain, or its repository. It is copied into a folder of its own, and is a workspace there.
//! The tests of Python are where Debian has put them, and have a folder for what they write; those of the C library are in an archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::table::{Source, Suite};

/// Gives the folder of the copy.
pub(crate) fn copy(suite: &Suite, folder: &Path) -> Result<PathBuf> {
    match suite.source {
        Source::Package(version) => package(suite.name, version, folder),
        Source::Repository {
            url,
            tag,
            folder: package,
        } => Ok(repository(url, tag, folder)?.join(package)),
        Source::Std => std(folder),
        Source::Python(_) => python(&folder.join(suite.name)),
        Source::Glibc(_) => glibc(folder),
    }
}

/// The interpreter that has the tests.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

fn python(folder: &Path) -> Result<PathBuf> {
    let ask = |question| Command::new(PYTHON).args(["-c", question]).output();
    let told = ask("import sys; print('%d.%d' % sys.version_info[:2])")
        .with_context(|| format!("this machine lacks {PYTHON}: apt install python3"))?;
    ensure!(
        ask("import test.test_thread")?.status.success(),
        "this machine lacks the tests of {PYTHON}: apt install libpython{}-testsuite",
        String::from_utf8_lossy(&told.stdout).trim()
    );
    fs::create_dir_all(folder)?;
    Ok(folder.to_owned())
}

/// That of the C library which is installed.
fn glibc(folder: &Path) -> Result<PathBuf> {
    const DEBIANS: &str = "/usr/src/glibc";
    let found = fs::read_dir(DEBIANS).ok().into_iter().flatten().flatten();
    let archive = found
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "xz"))
        .context("this machine lacks the source of its C library: apt install glibc-source")?;
    let name = archive.file_name().and_then(|name| name.to_str());
    let name = name.and_then(|name| name.strip_suffix(".tar.xz"));
    let copy = folder.join(name.context("an archive has another name")?);
    if !copy.exists() {
        fs::create_dir_all(folder)?;
        let unpacked = Command::new("tar")
            .arg("-xJf")
            .arg(&archive)
            .arg("-C")
            .arg(folder)
            .status()?;
        ensure!(
            unpacked.success(),
            "tar cannot unpack {}",
            archive.display()
        );
    }
    Ok(copy)
}

fn package(name: &str, version: &str, folder: &Path) -> Result<PathBuf> {
    let copy = folder.join(format!("{name}-{version}"));
    let manifest = copy.join("Cargo.toml");
    if !manifest.exists() {
        copy_folder(&fetch(name, version, folder)?, &copy)?;
        let text = fs::read_to_string(&manifest)?;
        // What it depends on is as new as it may be: of some packages, what was so then cannot be built any more.
        let _ = fs::remove_file(copy.join("Cargo.lock"));
        // Those who help with its tests may use it themselves, and then this copy.
        let ours = format!("\n[workspace]\n\n[patch.crates-io]\n{name} = {{ path = \".\" }}\n");
        fs::write(&manifest, text + &ours)?;
    }
    Ok(copy)
}

/// With its own `Cargo.lock`, if it has one.
fn repository(url: &str, tag: &str, folder: &Path) -> Result<PathBuf> {
    let name = url.rsplit('/').next().context("no name")?;
    let copy = folder.join(format!("{name}-{}", tag.replace('/', "-")));
    if !copy.exists() {
        let cloned = Command::new("git")
            .args([
                "-c",
                "advice.detachedHead=false",
                "clone",
                "--quiet",
                "--depth=1",
            ])
            .args(["--branch", tag, url])
            .arg(&copy)
            .status()
            .context("this machine lacks git: apt install git")?;
        ensure!(
            cloned.success(),
            "git cannot clone {url} at {tag}: what cargo has of it lacks its tests"
        );
        let manifest = copy.join("Cargo.toml");
        let text = fs::read_to_string(&manifest)?;
        if !text.contains("[workspace]") {
            fs::write(&manifest, text + "\n[workspace]\n")?;
        }
    }
    Ok(copy)
}

/// Has cargo fetch a package as a dependency, and gives the folder where it has put it.
fn fetch(name: &str, version: &str, folder: &Path) -> Result<PathBuf> {
    let of_fetch = folder.join("fetch").join(name);
    fs::create_dir_all(of_fetch.join("src"))?;
    fs::write(of_fetch.join("src/lib.rs"), "")?;
    let manifest = of_fetch.join("Cargo.toml");
    fs::write(
        &manifest,
        format!(
            "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
             {name} = {{ version = \"={version}\", default-features = false }}\n"
        ),
    )?;
    let told = Command::new(cargo())
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(&manifest)
        .output()?;
    ensure!(
        told.status.success(),
        "cargo cannot fetch {name} {version}: {}",
        String::from_utf8_lossy(&told.stderr)
    );
    let told: Value = serde_json::from_slice(&told.stdout)?;
    let packages = told["packages"].as_array().context("no packages")?;
    let found = packages
        .iter()
        .find(|package| package["name"] == name && package["version"] == version)
        .and_then(|package| package["manifest_path"].as_str())
        .context("cargo does not know where it has put it")?;
    Ok(Path::new(found).parent().context("no folder")?.to_owned())
}

/// The tests of the standard library that use it as every program does.
fn std(folder: &Path) -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let root = Command::new(rustc).args(["--print", "sysroot"]).output()?;
    let root = String::from_utf8(root.stdout)?;
    let library = Path::new(root.trim()).join("lib/rustlib/src/rust/library");
    if !library.exists() {
        bail!("this toolchain lacks its source: rustup component add rust-src");
    }
    let copy = folder.join("std");
    if !copy.exists() {
        copy_folder(&library.join("std/tests"), &copy.join("tests"))?;
        copy_folder(&library.join("std/src"), &copy.join("std"))?;
        fs::create_dir_all(copy.join("src"))?;
    }
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("std");
    fs::copy(ours.join("manifest.toml"), copy.join("Cargo.toml"))?;
    fs::copy(ours.join("lib.rs"), copy.join("src/lib.rs"))?;
    Ok(copy)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            // Not its permissions: it may be read-only.
            fs::write(&to, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

pub(crate) fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
