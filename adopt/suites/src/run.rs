//! One run of a program of tests, and what has become of each of its tests.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::descendants::Before;
use crate::interrupt::Interrupt;
use crate::programs::Program;
use crate::table::{Source, Suite};

/// On what the threads of a program run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    OsThreads,
    Workers(u32),
}

impl Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OsThreads => f.write_str("OS threads"),
            Self::Workers(1) => f.write_str("1 worker"),
            Self::Workers(n) => write!(f, "{n} workers"),
        }
    }
}

/// How programs of tests are run.
pub(crate) struct How {
    /// `roving-run`.
    pub(crate) runner: PathBuf,
    /// The folder for what they print.
    pub(crate) logs: PathBuf,
    pub(crate) timeout: Duration,
    pub(crate) interrupt: Interrupt,
}

/// What a run has come to.
pub(crate) struct Ran {
    /// Whether each test that has ended has passed, without those that it ignores.
    pub(crate) tests: BTreeMap<String, bool>,
    pub(crate) end: End,
    /// How many green threads there were.
    pub(crate) green: u64,
    pub(crate) took: Duration,
}

pub(crate) enum End {
    Exited(i32),
    Killed(i32),
    Hung,
}

impl Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exits with status {status}"),
            Self::Killed(signal) => write!(f, "dies of signal {signal}"),
            Self::Hung => f.write_str("hangs"),
        }
    }
}

impl How {
    /// Fails if it is interrupted.
    pub(crate) fn run(
        &self,
        suite: &Suite,
        program: &Program,
        source: &Path,
        mode: Mode,
    ) -> Result<Ran> {
        fs::create_dir_all(&self.logs)?;
        if !suite.apart {
            return self.run_process(suite, program, source, mode, None);
        }
        let mut all = Ran {
            tests: BTreeMap::new(),
            end: End::Exited(0),
            green: 0,
            took: Duration::ZERO,
        };
        for test in names(program, source)? {
            let ran = self.run_process(suite, program, source, mode, Some(&test))?;
            all.tests.extend(ran.tests);
            all.green += ran.green;
            all.took += ran.took;
            if matches!(all.end, End::Exited(0)) {
                all.end = ran.end;
            }
        }
        Ok(all)
    }

    /// Runs one process, with all of its tests, or with one.
    fn run_process(
        &self,
        suite: &Suite,
        program: &Program,
        source: &Path,
        mode: Mode,
        only: Option<&str>,
    ) -> Result<Ran> {
        let one = only.map_or(String::new(), |test| format!("{test}-"));
        let log = |what: &str| {
            let name = format!("{}-{}-{one}{mode}.{what}", suite.name, program.name);
            self.logs.join(name.replace(' ', "-"))
        };
        let report = log("report");
        let _ = fs::remove_file(&report);
        let mut command = match mode {
            Mode::OsThreads => Command::new(&program.path),
            Mode::Workers(count) => {
                let mut command = Command::new(&self.runner);
                let mut to = std::ffi::OsString::from("--report=");
                to.push(&report);
                command
                    .arg(to)
                    .arg(&program.path)
                    .env("ROVING_WORKERS", count.to_string());
                command
            }
        };
        command.args(&program.arguments);
        let is_python = matches!(suite.source, Source::Python(_));
        if (!suite.left_out.is_empty() || only.is_some()) && !is_python {
            command.arg("--exact");
        }
        command.args(only);
        for (test, _) in suite.left_out {
            command.args([if is_python { "--ignore" } else { "--skip" }, test]);
        }
        let before = Before::note()?;
        let began = Instant::now();
        let child = command
            .current_dir(source)
            .env("CARGO_MANIFEST_DIR", source)
            .env("CARGO_PKG_NAME", suite.name)
            .envs(suite.variables.iter().copied())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(File::create(log("out"))?)
            .stderr(File::create(log("err"))?)
            .spawn()
            .with_context(|| format!("cannot run {}", program.path.display()))?;
        let end = match self.wait(child, &before)? {
            None => End::Hung,
            Some(status) => match status.signal() {
                Some(signal) => End::Killed(signal),
                None => End::Exited(status.code().unwrap_or_default()),
            },
        };
        let took = began.elapsed();
        let printed = fs::read(log("out"))?;
        let told = fs::read_to_string(&report).unwrap_or_default();
        if only.is_some() && matches!(end, End::Exited(0)) {
            for log in [log("out"), log("err"), report] {
                let _ = fs::remove_file(log);
            }
        }
        Ok(Ran {
            tests: if is_python {
                tests_of_python(&String::from_utf8_lossy(&printed), &program.name)
            } else {
                tests(&String::from_utf8_lossy(&printed), &program.name, &end)
            },
            end,
            green: green(&told),
            took,
        })
    }

    /// Waits for a child, and ends it with all that it has begun. `None` if it has not ended in time.
    fn wait(&self, mut child: Child, before: &Before) -> Result<Option<ExitStatus>> {
        let group = Pid::from_child(&child);
        let deadline = Instant::now() + self.timeout;
        let status = loop {
            match child.try_wait()? {
                None if Instant::now() < deadline && !self.interrupt.is_asked() => {
                    thread::sleep(Duration::from_millis(20));
                }
                status => break status,
            }
        };
        // If there is nobody left, that is as well.
        let _ = kill_process_group(group, Signal::KILL);
        if status.is_none() {
            child.wait()?;
        }
        before.end_others()?;
        self.interrupt.check()?;
        Ok(status)
    }
}

/// The tests that a program has.
fn names(program: &Program, source: &Path) -> Result<Vec<String>> {
    let told = Command::new(&program.path)
        .args(["--list", "--format=terse"])
        .current_dir(source)
        .output()?;
    let told = String::from_utf8(told.stdout)?;
    let tests = told.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(tests.map(str::to_owned).collect())
}

/// What the test harness has printed. A program without the harness is one test of its name.
fn tests(printed: &str, program: &str, end: &End) -> BTreeMap<String, bool> {
    let has_harness = printed
        .lines()
        .any(|line| line.starts_with("running ") && line.contains(" test"));
    if !has_harness {
        return match end {
            End::Hung => BTreeMap::new(),
            End::Exited(status) => BTreeMap::from([(program.to_owned(), *status == 0)]),
            End::Killed(_) => BTreeMap::from([(program.to_owned(), false)]),
        };
    }
    printed.lines().filter_map(test).collect()
}

fn test(line: &str) -> Option<(String, bool)> {
    let (test, verdict) = line.rsplit_once(" ... ")?;
    // Something that a test prints may stand before it.
    let name = match test.strip_prefix("test ") {
        Some(name) => name,
        None => test.rsplit_once("test ")?.1,
    };
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    let has_passed = match verdict.split(|c: char| !c.is_alphabetic()).next()? {
        "ok" => true,
        "FAILED" => false,
        _ => return None,
    };
    Some((name.to_owned(), has_passed))
}

/// What Python's `unittest` has printed: `NAME (MODULE.CLASS.NAME) ... ok`, where the test's description, and whatever it prints, may
/// stand before the verdict. Those that are skipped are left out.
fn tests_of_python(printed: &str, module: &str) -> BTreeMap<String, bool> {
    let mut tests = BTreeMap::new();
    let mut current = None;
    for line in printed.lines() {
        let begins = line.split_once(" (test.").and_then(|(name, rest)| {
            let (path, _) = rest.split_once(')')?;
            // What tells of a failure later begins with FAIL or ERROR.
            let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
            let path = path.strip_prefix(module).unwrap_or(path);
            is_name.then(|| path.trim_start_matches('.').to_owned())
        });
        if begins.is_some() {
            current = begins;
        }
        let verdict = line
            .rsplit_once(" ... ")
            .map_or(line, |(_, verdict)| verdict);
        // Some say before how long they have taken.
        let verdict = verdict
            .rsplit_once("s ")
            .map_or(verdict, |(time, verdict)| {
                if time.parse::<f64>().is_ok() {
                    verdict
                } else {
                    ""
                }
            });
        let has_passed = match verdict {
            "ok" => true,
            "FAIL" | "ERROR" => false,
            _ => continue,
        };
        if let Some(test) = current.take() {
            tests.insert(test, has_passed);
        }
    }
    tests
}

/// How many threads were green in all programs that have reported.
fn green(report: &str) -> u64 {
    let numbers = report.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let at = words
            .windows(2)
            .position(|pair| pair == ["green", "threads"])?;
        words
            .get(at.checked_sub(1)?)?
            .replace(',', "")
            .parse::<u64>()
            .ok()
    });
    numbers.sum()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use rustix::process::kill_process;

    use super::*;
    use crate::descendants;

    /// Processes in sessions of their own, one below the other.
    const LEAVES: &str =
        "setsid sh -c 'setsid sh -c \"echo \\$\\$; exec sleep 1000\" & echo $$; wait' & wait";

    #[test]
    fn a_program_that_is_ended_leaves_nothing() {
        descendants::adopt().unwrap();
        let mut stays = Command::new("sleep").arg("1000").spawn().unwrap();
        let before = Before::note().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", LEAVES])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers: Vec<_> = told.take(2).map(Result::unwrap).collect();
        let how = How {
            runner: PathBuf::new(),
            logs: PathBuf::new(),
            timeout: Duration::ZERO,
            interrupt: Interrupt::listen().unwrap(),
        };
        let ended = how.wait(child, &before);
        let is_there = |number: &String| Path::new("/proc").join(number).exists();
        let left: Vec<_> = numbers.iter().filter(|number| is_there(number)).collect();
        let stayed = stays.try_wait().unwrap();
        stays.kill().unwrap();
        stays.wait().unwrap();
        for number in &left {
            let pid = number.parse().ok().and_then(Pid::from_raw).unwrap();
            let _ = kill_process(pid, Signal::KILL);
        }
        assert!(ended.unwrap().is_none());
        assert!(left.is_empty(), "{left:?}");
        assert!(stayed.is_none(), "{stayed:?}");
    }
}
