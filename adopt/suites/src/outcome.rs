//! What a suite has come to, beside OS threads, for people and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::programs::Program;
use crate::run::{End, Mode, Ran};
use crate::table::{Source, Suite};

pub(crate) struct Outcome {
    suite: &'static Suite,
    of_modes: BTreeMap<Mode, OfMode>,
    /// Why it has not been run to its end.
    unfinished: Option<String>,
}

#[derive(Default)]
struct OfMode {
    /// The programs that have run.
    programs: BTreeSet<String>,
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
    /// Programs that hang, or are killed, or fail without a test that does, with how they end.
    broken: Vec<String>,
    /// How many of them hang.
    hung: usize,
    green: u64,
    took: Duration,
}

impl Outcome {
    pub(crate) fn new(suite: &'static Suite) -> Self {
        Self {
            suite,
            of_modes: BTreeMap::new(),
            unfinished: None,
        }
    }

    /// What has been added is all that there is of it.
    pub(crate) fn ends_early(&mut self, error: &anyhow::Error) {
        self.unfinished = Some(format!("{error:#}"));
    }

    pub(crate) fn add(&mut self, program: &Program, mode: Mode, ran: Ran) {
        let of_mode = self.of_modes.entry(mode).or_default();
        of_mode.programs.insert(program.name.clone());
        of_mode.green += ran.green;
        of_mode.took += ran.took;
        let is_hung = matches!(ran.end, End::Hung);
        of_mode.hung += usize::from(is_hung);
        let has_failed = ran.tests.values().any(|has_passed| !has_passed);
        if is_hung
            || matches!(ran.end, End::Killed(_))
            || matches!(ran.end, End::Exited(status) if status != 0 && !has_failed)
        {
            of_mode.broken.push(format!("{} {}", program.name, ran.end));
        }
        for (test, has_passed) in ran.tests {
            let test = format!("{}::{test}", program.name);
            let which = match has_passed {
                true => &mut of_mode.passed,
                false => &mut of_mode.failed,
            };
            which.insert(test);
        }
    }

    /// The tests that pass on OS threads, and not in this mode.
    fn differing(&self, mode: Mode) -> Vec<&str> {
        let (Some(os), Some(here)) = (
            self.of_modes.get(&Mode::OsThreads),
            self.of_modes.get(&mode),
        ) else {
            return Vec::new();
        };
        let has_run = |test: &&str| {
            let program = test.split_once("::").map(|(program, _)| program);
            program.is_some_and(|program| here.programs.contains(program))
        };
        os.passed
            .difference(&here.passed)
            .map(|test| &**test)
            .filter(has_run)
            .collect()
    }

    fn adopted(&self) -> impl Iterator<Item = Mode> {
        self.of_modes
            .keys()
            .copied()
            .filter(|&mode| mode != Mode::OsThreads)
    }

    /// Whether a program breaks in this mode, and not in the same way on OS threads.
    fn breaks_here(&self, mode: Mode) -> bool {
        let os = self.of_modes.get(&Mode::OsThreads);
        let is_new = |broken| !os.is_some_and(|os| os.broken.contains(broken));
        let here = self.of_modes.get(&mode);
        here.is_some_and(|here| here.broken.iter().any(is_new))
    }

    /// Whether it has been run, with no difference but those for which there is a reason.
    pub(crate) fn is_as_known(&self) -> bool {
        self.unfinished.is_none()
            && self.adopted().all(|mode| {
                let mut tests = self.differing(mode).into_iter();
                !self.breaks_here(mode) && tests.all(|test| self.suite.why(test).is_some())
            })
    }

    /// Each test that differs or fails, and each program that does not come to its end.
    pub(crate) fn details(&self) -> String {
        let mut text = String::new();
        if let Some(why) = &self.unfinished {
            let how = match self.of_modes.is_empty() {
                true => "not run",
                false => "not run to its end",
            };
            let _ = writeln!(text, "  {how}: {why}");
        }
        for (mode, of_mode) in &self.of_modes {
            for broken in &of_mode.broken {
                let _ = writeln!(text, "  {mode}: {broken}");
            }
            if *mode == Mode::OsThreads {
                for test in &of_mode.failed {
                    let _ = writeln!(text, "  {mode}: {test} fails");
                }
            }
            for test in self.differing(*mode) {
                let how = match of_mode.failed.contains(test) {
                    true => "fails",
                    false => "does not end",
                };
                let why = self.suite.why(test).unwrap_or("no reason is known");
                let _ = writeln!(text, "  {mode}: {test} {how}: {why}");
            }
        }
        text
    }

    fn cell(&self, mode: Mode) -> String {
        let Some(of_mode) = self.of_modes.get(&mode) else {
            return "not run".to_owned();
        };
        let mut cell = of_mode.passed.len().to_string();
        if self.unfinished.is_some() {
            cell.insert_str(0, "at least ");
        }
        if !of_mode.failed.is_empty() {
            let _ = write!(cell, ", {} fail", of_mode.failed.len());
        }
        match of_mode.hung {
            0 => {}
            1 => cell += ", hangs",
            n => {
                let _ = write!(cell, ", {n} programs hang");
            }
        }
        cell
    }

    /// How many tests pass, as a row of the [table].
    pub(crate) fn row(&self, modes: &[Mode]) -> String {
        let mut row = format!("| {} {} |", self.suite.name, version(self.suite));
        for mode in modes {
            let _ = write!(row, " {} |", self.cell(*mode));
        }
        let green = self.of_modes.values().map(|of| of.green).max();
        let seconds = |mode| {
            let of_mode = self.of_modes.get(mode);
            of_mode.map_or("-".to_owned(), |of| format!("{:.0}", of.took.as_secs_f64()))
        };
        let seconds: Vec<_> = modes.iter().map(seconds).collect();
        let _ = writeln!(
            row,
            " {} | {} |",
            green.unwrap_or_default(),
            seconds.join(", ")
        );
        row
    }

    fn json(&self) -> Value {
        let modes: serde_json::Map<_, _> = self
            .of_modes
            .iter()
            .map(|(mode, of_mode)| {
                let value = json!({
                    "passed": of_mode.passed.len(),
                    "failed": of_mode.failed,
                    "broken": of_mode.broken,
                    "differs": self.differing(*mode),
                    "green threads": of_mode.green,
                    "seconds": of_mode.took.as_secs_f64(),
                });
                (mode.to_string(), value)
            })
            .collect();
        json!({
            "suite": self.suite.name,
            "version": version(self.suite),
            "runs": modes,
            "left out": self.suite.left_out.iter().map(|(test, _)| test).collect::<Vec<_>>(),
            "unfinished": self.unfinished,
        })
    }
}

fn version(suite: &Suite) -> &'static str {
    match suite.source {
        Source::Package(version) => version,
        Source::Repository { tag, .. } => tag,
        Source::Std => "of the toolchain",
        Source::Python(_) | Source::Glibc(_) => "of Debian",
    }
}

/// How many tests pass, as a table in Markdown.
pub(crate) fn table(outcomes: &[Outcome], modes: &[Mode]) -> String {
    let mut text = String::from("| suite |");
    for mode in modes {
        let _ = write!(text, " {mode} |");
    }
    let _ = writeln!(
        text,
        " green threads | seconds |\n|---|{}",
        "--:|".repeat(modes.len() + 2)
    );
    for outcome in outcomes {
        text += &outcome.row(modes);
    }
    text
}

/// Writes everything as JSON.
pub(crate) fn write(path: &Path, outcomes: &[Outcome]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let all: Vec<_> = outcomes.iter().map(Outcome::json).collect();
    let mut file = File::create(path)?;
    serde_json::to_writer_pretty(&mut file, &all)?;
    writeln!(file)?;
    Ok(())
}
