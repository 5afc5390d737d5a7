//! The library that is loaded before the program.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const NAME: &str = "libroving_preload.so";

/// Beside this command, or where libraries are that belong to commands there.
pub(crate) fn find() -> Result<PathBuf> {
    let this = env::current_exe()
        .context("cannot find the path of this command, next to which the library is; --library names another path")?;
    let folder = this
        .parent()
        .context("the path of this command has no parent directory")?;
    let candidates = [folder.join(NAME), folder.join("../lib").join(NAME)];
    let found = candidates.into_iter().find(|candidate| candidate.is_file());
    found.with_context(|| {
        let folder = folder.display();
        format!("there is no {NAME} in {folder} or {folder}/../lib, where the library of the package roving-preload must be; --library names another path")
    })
}

/// What is to be loaded before a program: this, and then what was to be so already.
pub(crate) fn before_others(library: &Path) -> Result<OsString> {
    ensure!(
        library.is_file(),
        "there is no library {}",
        library.display()
    );
    let mut all = library.as_os_str().to_owned();
    ensure!(
        !all.as_bytes().iter().any(|byte| b" :".contains(byte)),
        "the dynamic linker preloads no library whose path has a space or a colon: {}; --library names another path",
        library.display()
    );
    if let Some(others) = env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        all.push(":");
        all.push(others);
    }
    Ok(all)
}
