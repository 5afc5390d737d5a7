//! The house of floors: no file of the scheduler imports from a floor above its own.
//!
//! What is read are the paths that begin with `crate` in all that is code, `use` lines and others. The
//! names that lead to are the top-level modules; a macro that is exported is at the root, wherever it
//! was written.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. What shares a floor may import each other.
const FLOORS: [&[&str]; 6] = [
    &["protocol"],
    &["stack"],
    &["run"],
    &["wait"],
    &["runtime"],
    &[
        "adopt",
        "blocking",
        "channel",
        "coroutine",
        "future",
        "group",
        "sync",
        "testing",
        "thread",
        "time",
    ],
];

const MACROS: [&str; 4] = ["__select", "local", "select", "select_biased"];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// An import from above, as a compiler would show it.
fn arrows_up(file: &str, text: &str) -> Vec<String> {
    let module = file.split(['/', '.']).next().unwrap_or_default();
    let Some(own) = floor_of(module) else {
        return vec![format!("{file}: `{module}` is on no floor")];
    };
    let mut arrows = Vec::new();
    for (number, line) in code_of(text).lines().enumerate() {
        for name in roots_named_in(line) {
            let problem = match floor_of(name) {
                Some(floor) if floor <= own => continue,
                Some(_) => "is above it",
                None if MACROS.contains(&name) => continue,
                None => "is on no floor: name the module that it comes from",
            };
            let number = number + 1;
            arrows.push(format!("{file}:{number}: `crate::{name}` {problem}"));
        }
    }
    arrows
}

/// The text without comments. Each line stays where it is.
fn code_of(text: &str) -> String {
    let without = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    let lines: Vec<_> = text.lines().map(without).collect();
    lines.join("\n")
}

/// The names that follow `crate::` in a line, those in braces too.
fn roots_named_in(line: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        if line[..at].ends_with(['$', '_']) || line[..at].ends_with(char::is_alphanumeric) {
            continue;
        }
        let rest = &line[at + "crate::".len()..];
        let name_at_start = |text: &'_ str| text.find(|c: char| !c.is_alphanumeric() && c != '_');
        match rest.strip_prefix('{') {
            None => names.push(&rest[..name_at_start(rest).unwrap_or(rest.len())]),
            Some(group) => names.extend(
                group
                    .split(['}', ';', ','])
                    .map(str::trim)
                    .map(|item| &item[..name_at_start(item).unwrap_or(item.len())])
                    .filter(|name| !name.is_empty()),
            ),
        }
    }
    names
}

fn sources_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources_under(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn nothing_imports_from_above() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources_under(&root);
    assert!(files.len() > 50, "only {} files found", files.len());
    let mut arrows = Vec::new();
    for path in files {
        let file = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let file = file.replace('\\', "/");
        if file != "lib.rs" {
            arrows.extend(arrows_up(&file, &fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(arrows.is_empty(), "\n{}", arrows.join("\n"));
}

/// What the documentation shows is pasted by people who depend on the facade.
#[test]
fn examples_name_the_facade_alone() {
    let scheduler = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "../io/src"].map(|folder| sources_under(&scheduler.join(folder)));
    let mut named = Vec::new();
    for path in files.concat() {
        // How to build on this crate is shown with this crate.
        if ["wait/mod.rs", "wait/polled.rs"]
            .iter()
            .any(|file| path.ends_with(file))
        {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let is_code = line.trim_start().starts_with("//") && !line.contains("](");
            if is_code && line.contains("roving_scheduler::") || line.contains("use roving_io::") {
                named.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert!(named.is_empty(), "\n{}", named.join("\n"));
}

#[test]
fn an_arrow_that_runs_up_is_named_by_file_line_and_target() {
    let text = "//! See `crate::thread`.\nuse crate::run::{green, queue};\nuse crate::{wait, sync::Mutex};\n";
    assert_eq!(
        arrows_up("wait/mod.rs", text),
        ["wait/mod.rs:3: `crate::sync` is above it"]
    );
    let text = "fn f() {\n    crate::wait::begin(); $crate::thread::park();\n}\n";
    assert_eq!(
        arrows_up("stack/pool.rs", text),
        ["stack/pool.rs:2: `crate::wait` is above it"]
    );
    assert_eq!(
        arrows_up("time.rs", "use crate::Builder;"),
        ["time.rs:1: `crate::Builder` is on no floor: name the module that it comes from"]
    );
    assert_eq!(
        arrows_up("misc/mod.rs", ""),
        ["misc/mod.rs: `misc` is on no floor"]
    );
}
