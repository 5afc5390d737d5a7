//! The chapter `parity` names each stable item of the modules of std that it is about, once, and what it is here; and what
//! it says is the same is here.
//!
//! Both are read as text: rustfmt has put items at the first column, and what belongs to them at the fifth.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The minor version of Rust whose std the chapter is about.
const VERSION: u32 = 95;

/// A module of std that the chapter is about, the files that it is made of, and those in which its counterpart is.
struct Module {
    name: &'static str,
    theirs: &'static [&'static str],
    ours: &'static [&'static str],
}

const MODULES: [Module; 13] = [
    Module {
        name: "std",
        theirs: &["macros.rs"],
        ours: &["src/lib.rs"],
    },
    Module {
        name: "std::net",
        theirs: &[
            "net/mod.rs",
            "net/socket_addr.rs",
            "net/tcp.rs",
            "net/udp.rs",
        ],
        ours: &["io/src/net"],
    },
    Module {
        name: "std::os::unix::net",
        theirs: &[
            "os/unix/net/addr.rs",
            "os/unix/net/datagram.rs",
            "os/unix/net/listener.rs",
            "os/unix/net/stream.rs",
        ],
        ours: &["io/src/os/unix/net"],
    },
    Module {
        name: "std::os::linux::net",
        theirs: &["os/net/linux_ext/addr.rs", "os/net/linux_ext/tcp.rs"],
        ours: &["io/src/os/linux/net.rs"],
    },
    Module {
        name: "std::os::unix::thread",
        theirs: &["os/unix/thread.rs"],
        ours: &["scheduler/src/thread"],
    },
    Module {
        name: "std::fs",
        theirs: &["fs.rs"],
        ours: &["io/src/fs"],
    },
    Module {
        name: "std::os::unix::fs",
        theirs: &["os/unix/fs.rs"],
        ours: &["io/src/os/unix/fs.rs"],
    },
    Module {
        name: "std::io",
        theirs: &["io/copy.rs", "io/pipe.rs", "io/stdio.rs"],
        ours: &["io/src/io"],
    },
    Module {
        name: "std::process",
        theirs: &["process.rs"],
        ours: &["io/src/process"],
    },
    Module {
        name: "std::os::unix::process",
        theirs: &["os/unix/process.rs"],
        ours: &["io/src/os/unix/process.rs"],
    },
    Module {
        name: "std::sync",
        theirs: &[
            "sync/barrier.rs",
            "sync/lazy_lock.rs",
            "sync/once.rs",
            "sync/once_lock.rs",
            "sync/poison.rs",
            "sync/poison/condvar.rs",
            "sync/poison/mutex.rs",
            "sync/poison/rwlock.rs",
        ],
        ours: &["scheduler/src/sync"],
    },
    Module {
        name: "std::sync::mpsc",
        theirs: &["sync/mpsc.rs"],
        ours: &["scheduler/src/sync/mpsc.rs"],
    },
    Module {
        name: "std::thread",
        theirs: &[
            "thread/builder.rs",
            "thread/current.rs",
            "thread/functions.rs",
            "thread/id.rs",
            "thread/join_handle.rs",
            "thread/local.rs",
            "thread/scoped.rs",
            "thread/thread.rs",
        ],
        ours: &["scheduler/src/thread"],
    },
];

const CHAPTER: &str = "docs/parity.md";

/// A public item: a type, a function, a macro, such as `print!`, or one that belongs to a type, such as `TcpStream::connect`.
struct Item {
    name: String,
    /// Since which minor version of Rust 1. `None` if nothing says that it is stable.
    stable_since: Option<u32>,
}

/// The public items of a file. What implements a trait is none.
fn items(source: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut stable_since = None;
    // The type that the lines belong to, and whether it is a trait.
    let mut within: Option<(&str, bool)> = None;
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        let depth = line.len() - trimmed.len();
        if trimmed.starts_with("#[") {
            let mut attribute = trimmed.to_owned();
            while !attribute.split(" //").next().unwrap().ends_with(']') {
                let Some(more) = lines.next() else { break };
                attribute += more.trim();
            }
            if let Some(stable) = attribute.strip_prefix("#[stable(") {
                let since = stable.split("since = \"1.").nth(1);
                let since = since.and_then(|since| since.split('.').next()?.parse().ok());
                stable_since = stable_since.or(since);
            } else if attribute.starts_with("#[unstable(") {
                stable_since = Some(u32::MAX);
            }
            continue;
        }
        if trimmed.is_empty() || trimmed.starts_with("//") {
            continue;
        }
        if line == "}" {
            within = None;
        }
        let words: Vec<_> = trimmed.split_whitespace().collect();
        let in_trait = within.is_some_and(|(_, is_trait)| is_trait);
        let named = |kind: &str| {
            let place = words.iter().position(|word| *word == kind)?;
            let is_head = words[..place]
                .iter()
                .all(|word| ["pub", "const", "unsafe"].contains(word));
            let is_public = words[0] == "pub" || in_trait;
            let name = words.get(place + 1)?;
            (is_head && is_public).then(|| identifier(name))
        };
        match depth {
            0 => {
                if let Some(header) = trimmed.strip_prefix("impl") {
                    within = (!header.contains(" for ")).then(|| (implemented(header), false));
                }
                if let Some(list) = trimmed.strip_prefix("pub use ") {
                    let mut list = list.to_owned();
                    while !list.ends_with(';') {
                        let Some(more) = lines.next() else { break };
                        list = list + " " + more.trim();
                    }
                    let reexported = list.rsplit("::").next().unwrap_or_default();
                    let names = reexported.split(|c: char| !c.is_alphanumeric() && c != '_');
                    let names = names.filter(|name| name.starts_with(char::is_uppercase));
                    items.extend(names.map(|name| Item {
                        name: name.to_owned(),
                        stable_since,
                    }));
                }
                if let Some(name) = trimmed.strip_prefix("macro_rules! ") {
                    items.push(Item {
                        name: format!("{}!", identifier(name)),
                        stable_since,
                    });
                }
                for kind in ["struct", "enum", "trait", "type", "fn"] {
                    if let Some(name) = named(kind) {
                        items.push(Item {
                            name: name.to_owned(),
                            stable_since,
                        });
                        if kind == "trait" {
                            within = Some((name, true));
                        }
                    }
                }
            }
            4 => {
                if let (Some((of, _)), Some(name)) = (within, named("fn")) {
                    items.push(Item {
                        name: format!("{of}::{name}"),
                        stable_since,
                    });
                }
            }
            _ => {}
        }
        stable_since = None;
    }
    items
}

/// The identifier at the beginning.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The type of an `impl`, whose header goes on behind that word.
fn implemented(header: &str) -> &str {
    let (mut depth, mut before) = (0, ' ');
    let start = header.find(|c: char| {
        let closes = c == '>' && before != '-';
        depth += i32::from(c == '<') - i32::from(closes);
        before = c;
        depth == 0 && c.is_alphabetic()
    });
    identifier(&header[start.unwrap_or(header.len())..])
}

/// The rows of the chapter: the module, the items, and whether they are said to be the same here.
fn rows(chapter: &str) -> Vec<(String, String, bool)> {
    let mut rows = Vec::new();
    let mut module = String::new();
    for line in chapter.lines().filter(|line| line.starts_with('|')) {
        let mut cells = line.split(" | ");
        let (Some(first), Some(second)) = (cells.next(), cells.next()) else {
            continue;
        };
        let spans: Vec<_> = first.split('`').skip(1).step_by(2).collect();
        if let [name] = spans[..]
            && (name == "std" || name.starts_with("std::"))
        {
            module = name.to_owned();
            continue;
        }
        let is_same = second.starts_with("same");
        for item in spans.into_iter().flat_map(expanded) {
            rows.push((module.clone(), item, is_same));
        }
    }
    rows
}

/// `A::{b, c}` is `A::b` and `A::c`.
fn expanded(span: &str) -> Vec<String> {
    match span.strip_suffix('}').and_then(|span| span.split_once('{')) {
        None => vec![span.to_owned()],
        Some((of, names)) => {
            let names = names.split(", ");
            names.map(|name| format!("{of}{name}")).collect()
        }
    }
}

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else {
        found.push(path.to_owned());
    }
}

/// Where std's source is, if the toolchain has it.
fn their_sources() -> Option<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output();
    let sysroot = String::from_utf8(sysroot.ok()?.stdout).ok()?;
    let path = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std/src");
    path.is_dir().then_some(path)
}

#[test]
fn the_chapter_names_all_of_std() {
    let Some(theirs) = their_sources() else {
        println!("not tested: this toolchain lacks std's source, the component rust-src");
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rows = rows(&fs::read_to_string(root.join(CHAPTER)).unwrap());
    let mut faults = Vec::new();
    for module in &MODULES {
        let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
        let stable = module
            .theirs
            .iter()
            .flat_map(|file| items(&read(&theirs.join(file))));
        let stable = stable.filter(|item| item.stable_since.is_some_and(|since| since <= VERSION));
        let stable: BTreeSet<_> = stable.map(|item| item.name).collect();
        assert!(!stable.is_empty(), "{} has items", module.name);

        let mut files = Vec::new();
        for path in module.ours {
            sources(&root.join(path), &mut files);
        }
        let ours = files.iter().flat_map(|file| items(&read(file)));
        let ours: BTreeSet<_> = ours.map(|item| item.name).collect();

        let mut named = BTreeSet::new();
        for (_, item, is_same) in rows.iter().filter(|(of, ..)| of == module.name) {
            let item_of = format!("{}: {item}", module.name);
            if !stable.contains(item) {
                faults.push(format!("{item_of} is no stable item of std"));
            } else if !named.insert(item) {
                faults.push(format!("{item_of} is named twice"));
            }
            if *is_same && !ours.contains(item) {
                faults.push(format!("{item_of} is said to be the same, and is not here"));
            }
        }
        let missing = stable.iter().filter(|item| !named.contains(item));
        faults.extend(missing.map(|item| format!("{}: {item} is not named", module.name)));
    }
    assert!(faults.is_empty(), "{CHAPTER}:\n{}", faults.join("\n"));
}

#[test]
fn items_are_found() {
    let source = "
#[stable(feature = \"a\", since = \"1.0.0\")]
pub struct Old(u8);

impl<'a, T: Into<u8>, F: FnOnce() -> T> Old {
    #[stable(feature = \"a\", since = \"1.9.0\")]
    #[inline] // or not
    #[rustc_const_stable(feature = \"b\", since = \"1.90.0\")]
    pub const unsafe fn stable(&self) {
        pub fn inner() {}
    }

    #[unstable(
        feature = \"a\",
        issue = \"1\"
    )]
    pub fn unstable(&self) {}

    fn private(&self) {}
}

#[stable(feature = \"a\", since = \"1.1.0\")]
impl Clone for Old {
    fn clone(&self) -> Self {}
}

#[stable(feature = \"a\", since = \"1.2.0\")]
pub trait Trait {
    #[stable(feature = \"a\", since = \"1.2.0\")]
    fn required(&self);
}

#[stable(feature = \"a\", since = \"1.3.0\")]
pub use self::inner::{One, Two};

#[macro_export]
#[stable(feature = \"a\", since = \"1.4.0\")]
macro_rules! stated {
    () => {};
}
";
    let found = items(source);
    let found: Vec<_> = found.iter().map(|i| (&*i.name, i.stable_since)).collect();
    assert_eq!(
        found,
        [
            ("Old", Some(0)),
            ("Old::stable", Some(9)),
            ("Old::unstable", Some(u32::MAX)),
            ("Trait", Some(2)),
            ("Trait::required", Some(2)),
            ("One", Some(3)),
            ("Two", Some(3)),
            ("stated!", Some(4)),
        ]
    );
}
