//! What is published says what it is, and what it is made of may be used by everybody: packages of the registry, under licences that ask for
//! no more than to be named, which the promised compiler compiles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode};

const PUBLISHED: [&str; 5] = [
    "roving",
    "roving-adopt",
    "roving-io",
    "roving-scheduler",
    "roving-top",
];

/// Those that `deny.toml` allows.
static LICENCES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let (_, list) = include_str!("../../deny.toml")
        .split_once("\nallow = [")
        .expect("it has a list of licences");
    let (list, _) = list.split_once(']').expect("the list ends");
    list.split('"').skip(1).step_by(2).collect()
});

/// What cargo tells of the workspace and all that it is made of, with all features and for all systems.
static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--all-features",
        "--manifest-path",
    ]);
    let told = cargo.arg(manifest).output().expect("cargo can be run");
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    serde_json::from_slice(&told.stdout).expect("cargo writes JSON")
});

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn packages() -> BTreeMap<&'static str, &'static Value> {
    let packages = list(&METADATA, "packages").iter();
    packages
        .map(|package| (text(package, "id"), package))
        .collect()
}

fn is_of_the_workspace(package: &Value) -> bool {
    package["source"].is_null()
}

/// All that a program which depends on these packages is compiled of, and that they are compiled with.
fn made_of(names: &[&str]) -> Vec<&'static Value> {
    let packages = packages();
    let nodes = list(&METADATA["resolve"], "nodes").iter();
    let nodes: BTreeMap<_, _> = nodes.map(|node| (text(node, "id"), node)).collect();
    let mut found = BTreeSet::new();
    let mut left: Vec<_> = packages
        .iter()
        .filter(|(_, package)| {
            is_of_the_workspace(package) && names.contains(&text(package, "name"))
        })
        .map(|(&id, _)| id)
        .collect();
    assert_eq!(left.len(), names.len());
    while let Some(id) = left.pop() {
        if found.insert(id) {
            let needed = list(nodes[id], "deps").iter().filter(|dependency| {
                let mut kinds = list(dependency, "dep_kinds").iter();
                // Loom is for models.
                kinds.any(|kind| {
                    text(kind, "kind") != "dev" && text(kind, "target") != "cfg(roving_loom)"
                })
            });
            left.extend(needed.map(|dependency| text(dependency, "pkg")));
        }
    }
    found.into_iter().map(|id| packages[id]).collect()
}

fn others(names: &[&str]) -> Vec<&'static Value> {
    let all = made_of(names).into_iter();
    all.filter(|package| !is_of_the_workspace(package))
        .collect()
}

#[test]
fn what_is_published_says_what_it_is() {
    let of_the_workspace = packages()
        .into_values()
        .filter(|package| is_of_the_workspace(package));
    let mut published = BTreeSet::new();
    for package in of_the_workspace {
        let name = text(package, "name");
        if package["publish"].is_null() {
            published.insert(name);
            for field in [
                "description",
                "documentation",
                "license",
                "readme",
                "rust_version",
            ] {
                let has_none = field == "documentation" && name == "roving-top";
                assert!(
                    has_none || !text(package, field).is_empty(),
                    "{name} has no {field}"
                );
            }
            for field in ["categories", "keywords"] {
                assert!(
                    (1..=5).contains(&list(package, field).len()),
                    "{name}: {field}"
                );
            }
            let folder = Path::new(text(package, "manifest_path")).with_file_name("");
            for file in ["LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
                assert!(folder.join(file).is_file(), "{name} has no {file}");
            }
        }
    }
    assert_eq!(published, BTreeSet::from(PUBLISHED));
}

/// Of what is published a package depends on what is published, of a version.
#[test]
fn what_is_published_can_be_had() {
    for package in made_of(&PUBLISHED) {
        let (name, source) = (text(package, "name"), text(package, "source"));
        assert!(
            PUBLISHED.contains(&name) || source.starts_with("registry+"),
            "{name}: {source}"
        );
    }
}

/// Whether one may choose what asks for no more than is given anyhow.
fn is_free(expression: &str) -> bool {
    let allowed = |licence: &LicenseReq| LICENCES.contains(&licence.to_string().as_str());
    Expression::parse_mode(expression, ParseMode::LAX)
        .is_ok_and(|expression| expression.evaluate(allowed))
}

#[test]
fn licences_ask_for_no_more_than_to_be_named() {
    assert!(
        is_free("MIT")
            && is_free("Unlicense OR MIT")
            && is_free("Unlicense/MIT")
            && is_free("(MIT OR Apache-2.0) AND Unicode-3.0")
    );
    assert!(!is_free("MPL-2.0") && !is_free("MIT AND GPL-3.0-only") && !is_free(""));
    assert!(!is_free("(MIT OR Apache-2.0) AND GPL-3.0-only"));
    assert!(!is_free("Apache-2.0 WITH LLVM-exception"));
    let others = others(&PUBLISHED);
    let not_free = others
        .iter()
        .filter(|package| !is_free(text(package, "license")));
    let not_free: Vec<_> = not_free
        .map(|package| (text(package, "name"), text(package, "license")))
        .collect();
    assert!(not_free.is_empty(), "{not_free:?}");
}

fn version(text: &str) -> Vec<u32> {
    text.split('.')
        .map(|part| part.parse().expect("a number"))
        .collect()
}

#[test]
fn the_promised_compiler_compiles_what_it_is_made_of() {
    let promised = text(made_of(&["roving"])[0], "rust_version");
    for package in made_of(&PUBLISHED) {
        let (name, needs) = (text(package, "name"), text(package, "rust_version"));
        assert!(
            needs.is_empty() || version(needs) <= version(promised),
            "{name} needs {needs}"
        );
    }
}
