//! The trace beside a dump: the file that a viewer opens.
//!
//! It is named for the file of dumps, or else for the process, in the directory in which that runs; and it is
//! of the last dump. It takes its place when it has been written whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use crate::protocol::say::say;
use crate::runtime::record::Record;

/// Writes what there is of a record beside a dump, which has gone to this file or to standard error, and says there where
/// it is.
pub(super) fn write(record: &Record, dump: Option<&Path>) {
    if record.is_empty() {
        return;
    }
    let path = match dump {
        Some(dump) => with_ending(dump, ".trace.json"),
        None => PathBuf::from(format!("roving-{}.trace.json", process::id())),
    };
    let shown = path.display();
    match try_to(record, &path) {
        Ok(()) if dump.is_some() => {}
        Ok(()) => say(&format!("roving: the trace is in {shown}\n")),
        Err(error) => say(&format!(
            "roving: the trace cannot be written to {shown}: {error}\n"
        )),
    }
}

fn try_to(record: &Record, path: &Path) -> io::Result<()> {
    let part = with_ending(path, ".part");
    let written = File::create(&part).and_then(|file| record.write_trace(file));
    let moved = written.and_then(|()| fs::rename(&part, path));
    if moved.is_err() {
        // It was perhaps not even created.
        let _ = fs::remove_file(&part);
    }
    moved
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
