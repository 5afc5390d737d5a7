//! Roving works however a program is built. Each test builds programs with cargo, in a folder of their own, and runs them.
//!
//! It takes minutes, so it is not among what all changes must pass: `make builds`.

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// How a program is built: the name of the profile, what it says besides what the release's does, and options of the compiler.
struct Build {
    profile: &'static str,
    settings: &'static [&'static str],
    flags: &'static str,
}

impl Build {
    const fn new(profile: &'static str, settings: &'static [&'static str]) -> Self {
        Self {
            profile,
            settings,
            flags: "",
        }
    }

    /// Builds a package and gives the folder in which its programs and libraries are.
    fn make(&self, package: &str) -> PathBuf {
        let profile = format!("profile.{}", self.profile);
        let target = workspace().join("target/builds");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--locked",
            "--package",
            package,
            "--profile",
            self.profile,
        ]);
        cargo
            .arg("--config")
            .arg(format!("{profile}.inherits='release'"));
        cargo.arg("--config").arg(format!("{profile}.debug=false"));
        for setting in self.settings {
            cargo.arg("--config").arg(format!("{profile}.{setting}"));
        }
        cargo
            .arg("--target-dir")
            .arg(&target)
            .current_dir(workspace());
        cargo
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", self.flags);
        let built = cargo.output().expect("cargo can be run");
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        target.join(self.profile)
    }
}

fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("it is in the workspace")
}

/// A program that is ended if it hangs.
fn limited(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.arg("300").arg(program);
    command
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    let mut command = limited(program);
    command.args(arguments);
    run_command(command)
}

fn run_command(mut command: Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn text(output: &Output) -> (String, String) {
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (of(&output.stdout), of(&output.stderr))
}

/// The program has used everything, and found it as it should be.
fn assert_works(output: &Output, how: &str) {
    let (out, error) = text(output);
    assert!(output.status.success(), "{:?}\n{error}", output.status);
    assert!(out.contains(how) && out.contains(": works"), "{out}");
    assert!(!error.contains("roving:"), "{error}");
    println!("{}", out.trim());
}

/// The process was ended by a signal, which says whose stack was too small.
fn assert_overflows(program: &Path) {
    let overflown = run(program, &["overflow"]);
    let (_, error) = text(&overflown);
    assert_eq!(overflown.status.signal(), Some(6), "{error}");
    assert!(
        error.contains("'deep'") && error.contains("overflow"),
        "{error}"
    );
}

/// A panic ends its green thread alone, and comes out of `join`.
fn assert_unwinds(program: &Path) {
    let panicked = run(program, &["panic"]);
    let (out, error) = text(&panicked);
    assert_eq!(out.trim(), "true", "{error}");
    assert!(
        error.contains("on purpose") && error.contains("unlucky"),
        "{error}"
    );
}

/// A panic ends the process, and says whose it was.
fn assert_aborts(program: &Path) {
    let panicked = run(program, &["panic"]);
    let (out, error) = text(&panicked);
    assert_eq!(
        (panicked.status.signal(), out.as_str()),
        (Some(6), ""),
        "{error}"
    );
    assert!(
        error.contains("on purpose") && error.contains("unlucky"),
        "{error}"
    );
}

#[test]
fn without_unwinding() {
    let built = Build::new("aborts", &["panic='abort'"]).make("roving-builds");
    let program = built.join("roving-builds");
    assert_works(&run(&program, &[]), "panic = abort");
    assert_overflows(&program);
    assert_aborts(&program);
}

#[test]
fn with_all_optimised_as_one() {
    let built = Build::new("whole", &["lto='fat'", "codegen-units=1"]).make("roving-builds");
    let program = built.join("roving-builds");
    assert_works(&run(&program, &[]), "panic = unwind");
    assert_overflows(&program);
    assert_unwinds(&program);
}

#[test]
fn optimised_for_size() {
    let built = Build::new("small", &["opt-level='z'"]).make("roving-builds");
    let program = built.join("roving-builds");
    assert_works(&run(&program, &[]), "panic = unwind");
    assert_overflows(&program);
    assert_unwinds(&program);
}

/// As programs are made that are to be as small as can be.
#[test]
fn as_small_as_can_be() {
    let settings = &[
        "opt-level='z'",
        "lto='fat'",
        "codegen-units=1",
        "panic='abort'",
        "strip='symbols'",
    ];
    let built = Build::new("smallest", settings).make("roving-builds");
    let program = built.join("roving-builds");
    assert_works(&run(&program, &[]), "panic = abort");
    assert_overflows(&program);
    assert_aborts(&program);
}

/// One Roving, in a library that a program shares with others; and the standard library in another.
#[test]
fn as_a_dynamic_library() {
    let build = Build {
        flags: "-Cprefer-dynamic",
        ..Build::new("shared", &[])
    };
    let built = build.make("roving-builds-dylib");
    let library = built.join("libroving_builds_dylib.so");
    assert!(library.exists(), "{}", library.display());
    let found = Command::new("rustc")
        .args(["--print", "target-libdir"])
        .output();
    let found = found.expect("rustc can be run").stdout;
    let of_rust = String::from_utf8(found).expect("a path is text");
    let paths = env::join_paths([&built, Path::new(of_rust.trim())]).expect("no colon in them");
    let mut program = limited(&built.join("shares_a_dylib"));
    program.env("LD_LIBRARY_PATH", paths);
    assert_works(&run_command(program), "panic = unwind");
}

/// Three Rovings in one process, which know nothing of each other: that of the program, and those of two copies of a plugin. The program
/// unloads them while threads wait in them.
#[test]
fn as_a_plugin_that_is_loaded_twice() {
    let build = Build::new("plugins", &[]);
    let host = build.make("roving-builds").join("plugin_host");
    let built = build.make("roving-builds-plugin");
    let plugin = built.join("libroving_builds_plugin.so");
    let [first, second] = ["first", "second"].map(|name| {
        let copy = built.join(name).with_extension("so");
        fs::copy(&plugin, &copy).expect("a plugin can be copied");
        copy.to_str().expect("a path is text").to_owned()
    });
    assert_works(&run(&host, &[&first, &second]), "panic = unwind");
}
