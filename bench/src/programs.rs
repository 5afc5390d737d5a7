//! Programs and libraries that a benchmark has built apart from this program, since what they are made of has other
//! features than here: by cargo, in release.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds a package of the workspace, and tells where its program, or else its library, is.
pub(crate) fn build(package: &str) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet"])
        .args(["--message-format=json-render-diagnostics", "-p", package])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(
        built.status.success(),
        "cargo build -p {package}: {}",
        built.status
    );
    let messages = String::from_utf8_lossy(&built.stdout);
    messages
        .lines()
        .filter_map(|line| made(&serde_json::from_str(line).ok()?, package))
        .next_back()
        .with_context(|| format!("cargo build -p {package} does not say what it has made"))
}

/// What a message of cargo says was made for a package.
fn made(message: &Value, package: &str) -> Option<PathBuf> {
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let id = message["package_id"].as_str()?;
    // The name of a package that is called as its folder is left out in its id.
    let is_it = id.contains(&format!("#{package}@"))
        || manifest.parent()?.file_name()?.to_str()? == package;
    if message["reason"] != "compiler-artifact" || !is_it {
        return None;
    }
    let kinds = message["target"]["kind"].as_array()?;
    if kinds.iter().any(|kind| kind == "custom-build") {
        return None;
    }
    let file = message["executable"].as_str();
    file.or_else(|| message["filenames"][0].as_str())
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_made_is_found_in_what_cargo_says() {
        let said = |kind: &str, name: &str, executable: Option<&str>| {
            json!({
                "reason": "compiler-artifact",
                "package_id": format!("path+file:///somewhere/{name}#roving-{name}@0.1.0"),
                "manifest_path": format!("/somewhere/{name}/Cargo.toml"),
                "target": { "kind": [kind] },
                "filenames": ["/target/made"],
                "executable": executable,
            })
        };
        let found = |message: &Value| made(message, "roving-run");
        assert_eq!(
            found(&said("bin", "run", Some("/target/run"))),
            Some("/target/run".into())
        );
        assert_eq!(
            found(&said("cdylib", "run", None)),
            Some("/target/made".into())
        );
        assert_eq!(found(&said("custom-build", "run", Some("/build"))), None);
        assert_eq!(found(&said("bin", "runner", Some("/other"))), None);
        assert_eq!(
            found(&json!({ "reason": "build-finished", "success": true })),
            None
        );
    }
}
