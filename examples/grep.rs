//! A parallel grep: `grep [text] [folder]` prints the lines that have a text in them, of all files below a folder.
//!
//! ```text
//! cargo run --release --example grep
//! ```
//!
//! Each file and each folder has a green thread, which reads it with plain blocking calls. A semaphore bounds how many are
//! open. What they find is put together in the order of the names, whoever comes first.
//!
//! Without arguments it searches its own sources.

use roving::fs;
use roving::sync::Semaphore;
use roving::thread;
use std::env;
use std::io;
use std::path::{Path, PathBuf};

/// How many files and folders are open at once.
static OPEN: Semaphore = Semaphore::new(64);

/// The lines of a file that have `text` in them, unless it is none of text.
fn search_file(path: &Path, text: &str) -> io::Result<Vec<String>> {
    let contents = {
        let _open = OPEN.acquire();
        fs::read(path)?
    };
    let Ok(contents) = String::from_utf8(contents) else {
        return Ok(Vec::new());
    };
    let lines = (1..).zip(contents.lines());
    let found = lines.filter(|(_, line)| line.contains(text));
    Ok(found
        .map(|(number, line)| format!("{}:{number}:{line}", path.display()))
        .collect())
}

/// What is in a folder, but for what is hidden or built: where it is, and whether it is a folder.
fn list(folder: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let _open = OPEN.acquire();
    let mut list = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        if !is_hidden && name != "target" && (kind.is_dir() || kind.is_file()) {
            list.push((entry.path(), kind.is_dir()));
        }
    }
    list.sort();
    Ok(list)
}

/// The same lines of all that is below a folder. What cannot be read is told of and left out.
fn search_folder(folder: &Path, text: &str) -> io::Result<Vec<String>> {
    let list = list(folder)?;
    let found = thread::scope(|scope| {
        let searches: Vec<_> = list
            .iter()
            .map(|(path, is_folder)| {
                scope.spawn(move || {
                    let search = if *is_folder {
                        search_folder
                    } else {
                        search_file
                    };
                    search(path, text).unwrap_or_else(|error| {
                        eprintln!("{}: {error}", path.display());
                        Vec::new()
                    })
                })
            })
            .collect();
        let in_order = searches.into_iter().map(|search| search.join());
        in_order
            .flat_map(|found| found.expect("no search panics"))
            .collect()
    });
    Ok(found)
}

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let text = arguments.next().unwrap_or("Semaphore::new(".to_owned());
    let folder = arguments
        .next()
        .map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let found = roving::spawn(move || search_folder(&folder, &text));
    let found = found.join().expect("no search panics")?;
    for line in &found {
        println!("{line}");
    }
    println!("{} lines", found.len());
    Ok(())
}
