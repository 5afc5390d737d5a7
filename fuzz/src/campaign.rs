//! Runs many programs in processes of their own, and gathers what fails.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::child::{HANG, VIOLATION};
use crate::generate::{self, Fixed};
use crate::program::Program;

/// So many programs a process: one that lives long may meet what one that is new does not.
const BATCH: u64 = 200;

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// `None` for as many as there is time for.
    pub(crate) programs: Option<u64>,
    pub(crate) time: Duration,
    /// How long a program may take.
    pub(crate) limit: Duration,
    pub(crate) jobs: usize,
    pub(crate) fixed: Fixed,
    /// After so many failures it ends.
    pub(crate) failures: usize,
}

/// How a program failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Hang,
    Crash(String),
    Violation,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hang => f.write_str("hangs"),
            Self::Crash(how) => write!(f, "takes its process along: {how}"),
            Self::Violation => f.write_str("does not leave things as they must be"),
        }
    }
}

/// A program that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) program: Program,
    pub(crate) kind: Kind,
    /// What its process said.
    pub(crate) report: String,
    /// As how many-th it failed, if it was run again and again.
    pub(crate) runs: u64,
}

/// Runs programs until the time is over. Gives how many ran, and what failed.
pub(crate) fn run(plan: &Plan) -> Result<(u64, Vec<Failure>)> {
    let until = Instant::now() + plan.time;
    let next = AtomicU64::new(plan.seed);
    let end = plan
        .programs
        .map_or(u64::MAX, |programs| plan.seed.saturating_add(programs));
    let ran = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let bar = bar(plan.time);
    let start = Instant::now();
    let work = || -> Result<()> {
        loop {
            let enough = lock(&failures).len() >= plan.failures;
            let seed = next.fetch_add(BATCH, Ordering::Relaxed);
            if enough || seed >= end || Instant::now() >= until {
                return Ok(());
            }
            let mut seed = seed;
            let batch_end = seed.saturating_add(BATCH).min(end);
            // After a failure the rest of the batch is run by another process.
            while seed < batch_end && Instant::now() < until {
                let mut child = child()?;
                child
                    .args(["batch", "--seed", &seed.to_string()])
                    .args(["--count", &(batch_end - seed).to_string()])
                    .args(["--millis", &millis(until).to_string()])
                    .args(["--limit", &plan.limit.as_secs().to_string()])
                    .args(plan.fixed.arguments());
                let began = Instant::now();
                let ended = observe(
                    child,
                    "",
                    plan.limit * 2 + until.saturating_duration_since(began),
                    |_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                        bar.set_position(start.elapsed().as_secs());
                        let failed = lock(&failures).len();
                        bar.set_message(format!(
                            "{} programs, {failed} failures",
                            ran.load(Ordering::Relaxed)
                        ));
                    },
                )?;
                let Some(kind) = ended.kind() else {
                    break;
                };
                let failed = ended.last.with_context(|| {
                    format!("it failed before the first program:\n{}", ended.report)
                })?;
                lock(&failures).push(Failure {
                    program: generate::program(failed, plan.fixed),
                    kind,
                    report: ended.report,
                    runs: 1,
                });
                if lock(&failures).len() >= plan.failures {
                    return Ok(());
                }
                seed = failed + 1;
            }
        }
    };
    let outcome: Result<()> = thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.jobs).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("it gives its errors"))
    });
    bar.finish_and_clear();
    outcome?;
    let failures = failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok((ran.into_inner(), failures))
}

/// Runs one program again and again, until it fails or has run so often or so long.
pub(crate) fn repeat(
    program: &Program,
    times: u64,
    time: Duration,
    limit: Duration,
) -> Result<Option<Failure>> {
    let mut child = child()?;
    child
        .args(["repeat", "--times", &times.to_string()])
        .args(["--millis", &time.as_millis().to_string()])
        .args(["--limit", &limit.as_secs().to_string()]);
    let mut runs = 0;
    let text = serde_json::to_string(program)?;
    let ended = observe(child, &text, time + limit * 2, |_| runs += 1)?;
    Ok(ended.kind().map(|kind| Failure {
        program: program.clone(),
        kind,
        report: ended.report,
        runs,
    }))
}

/// This program, as a process that programs run in.
fn child() -> Result<Command> {
    let mut child = Command::new(std::env::current_exe()?);
    child.arg("child");
    Ok(child)
}

/// How a process ended.
struct Ended {
    /// `None` if it was killed here.
    status: Option<ExitStatus>,
    /// The last seed that it named.
    last: Option<u64>,
    report: String,
}

impl Ended {
    fn kind(&self) -> Option<Kind> {
        let Some(status) = self.status else {
            return Some(Kind::Hang);
        };
        match (status.code(), status.signal()) {
            (Some(0), _) => None,
            (Some(HANG), _) => Some(Kind::Hang),
            (Some(VIOLATION), _) => Some(Kind::Violation),
            (_, Some(signal)) => Some(Kind::Crash(format!("signal {signal}"))),
            (code, _) => Some(Kind::Crash(format!("exit code {}", code.unwrap_or(-1)))),
        }
    }
}

/// Runs a process to its end, but no longer than its own watchdog can take.
fn observe(
    mut command: Command,
    input: &str,
    time: Duration,
    mut begins: impl FnMut(u64) + Send,
) -> Result<Ended> {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("the process that programs run in")?;
    let mut stdin = process.stdin.take().context("a pipe")?;
    let stdout = process.stdout.take().context("a pipe")?;
    let mut stderr = process.stderr.take().context("a pipe")?;
    // One that ends early need not have read it all.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let until = Instant::now() + time;
    thread::scope(|scope| {
        let lines = scope.spawn(move || {
            let mut last = None;
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(seed) = line.parse() {
                    last = Some(seed);
                    begins(seed);
                }
            }
            last
        });
        let report = scope.spawn(move || {
            let mut report = Vec::new();
            let _ = stderr.read_to_end(&mut report);
            String::from_utf8_lossy(&report).into_owned()
        });
        let status = loop {
            if let Some(status) = process.try_wait()? {
                break Some(status);
            }
            if Instant::now() >= until {
                process.kill()?;
                process.wait()?;
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        Ok(Ended {
            status,
            last: lines.join().expect("it does not panic"),
            report: report.join().expect("it does not panic"),
        })
    })
}

fn bar(time: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar:.cyan/dim} {percent:>3}% {msg}")
        .expect("the template is constant")
        .progress_chars("━╸─");
    ProgressBar::with_draw_target(Some(time.as_secs()), ProgressDrawTarget::stderr())
        .with_style(style)
}

fn millis(until: Instant) -> u128 {
    until.saturating_duration_since(Instant::now()).as_millis()
}

fn lock<T>(list: &Mutex<Vec<T>>) -> std::sync::MutexGuard<'_, Vec<T>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
