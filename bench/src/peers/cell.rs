//! One row of one program, measured once.

use super::programs::{Class, Program};
use super::rows::{Less, Row, What};
use crate::connections::interrupt::Interrupt;
use crate::connections::plan::Bounds;
use crate::connections::run;
use crate::connections::task::{Foreign, Task};
use crate::load::ExchangeKind;
use crate::process::{self, Cpus};
use crate::server::ServerKind;
use crate::{limits, machine, system};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a work may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// None if it could not be done.
    pub(super) figures: BTreeMap<String, f64>,
    /// Why there are none, or what they are of that is not what the others did.
    pub(super) note: Option<String>,
    /// Whether they are of other work than the others did, with which they are not to be compared.
    pub(super) is_other: bool,
}

impl Measured {
    fn none(why: String) -> Self {
        Self {
            note: Some(why),
            ..Self::default()
        }
    }
}

/// What could not be done is done with less, if the row has less: from the beginning if `is_less`.
pub(super) fn measure(
    row: &Row,
    program: &Program,
    is_less: bool,
    interrupt: &Interrupt,
) -> Result<Measured> {
    match row.what {
        What::Work {
            work,
            count,
            os_count,
            workers,
        } => {
            let is_os = program.class() == Class::OsThreads;
            let count = if is_os { os_count } else { count };
            let measure = |work: &str, count| measure_work(program, work, count, workers);
            match row.less {
                Some(less) if is_less => measure_less(less, String::new(), measure),
                Some(less) => {
                    let whole = measure(work, count)?;
                    if !whole.figures.is_empty() {
                        return Ok(whole);
                    }
                    measure_less(less, whole.note.unwrap_or_default(), measure)
                }
                None => measure(work, count),
            }
        }
        What::Echo {
            connections,
            active,
            seconds,
        } => measure_echo(program, connections, active, seconds, interrupt),
        What::Wire {
            mode,
            protocol,
            connections,
            seconds,
        } => measure_wire(program, mode, protocol, connections, seconds),
    }
}

/// `why` says what is not possible of the whole.
fn measure_less(
    less: Less,
    why: String,
    measure: impl Fn(&str, usize) -> Result<Measured>,
) -> Result<Measured> {
    let measured = measure(less.work, less.count)?;
    if measured.figures.is_empty() {
        return Ok(Measured::none(why));
    }
    Ok(Measured {
        note: Some(format!("of {} only: {why}", less.said)),
        is_other: true,
        ..measured
    })
}

/// Ends a program with the measurement, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure_work(program: &Program, work: &str, count: usize, workers: usize) -> Result<Measured> {
    let child = Command::new(&program.path)
        .args(["run", work, &count.to_string(), &workers.to_string()])
        .envs(program.environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", program.path.display()))?;
    let mut child = Killed(child);
    let stderr = child.0.stderr.take().context("it is piped")?;
    // A program that fails may say so a thousand times: the first line is kept.
    let errors = thread::spawn(move || {
        let mut lines = BufReader::new(stderr).split(b'\n').map_while(Result::ok);
        // Where Rust panicked stands on one line, and why on the next.
        let why = lines.find(|line| {
            !line.trim_ascii().is_empty() && !line.windows(8).any(|word| word == b"panicked")
        });
        lines.for_each(drop);
        String::from_utf8_lossy(&why.unwrap_or_default()).into_owned()
    });
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.0.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            return Ok(Measured::none(format!(
                "not done within {} s",
                LIMIT.as_secs()
            )));
        }
        thread::sleep(Duration::from_millis(2));
    };
    let mut output = String::new();
    let stdout = child.0.stdout.take().context("it is piped")?;
    BufReader::new(stdout).read_to_string(&mut output)?;
    if !status.success() {
        let error: String = errors
            .join()
            .unwrap_or_default()
            .chars()
            .take(100)
            .collect();
        return Ok(Measured::none(format!(
            "ended with {}: {error}",
            outcome(status)
        )));
    }
    let figures: BTreeMap<String, Value> =
        serde_json::from_str(&output).with_context(|| format!("it printed {output:?}"))?;
    for why in ["absent", "stopped"] {
        if let Some(Value::String(note)) = figures.get(why) {
            return Ok(Measured::none(note.clone()));
        }
    }
    let note = figures.get("note").and_then(Value::as_str);
    let note = note.map(str::to_owned);
    let is_other = figures.contains_key("other");
    let numbers = figures.into_iter();
    let numbers = numbers.filter_map(|(key, value)| Some((key, value.as_f64()?)));
    Ok(Measured {
        figures: numbers.collect(),
        note,
        is_other,
    })
}

/// How a program ended, in words.
fn outcome(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => "no status".into(),
    }
}

fn measure_echo(
    program: &Program,
    connections: u32,
    active: u32,
    seconds: u64,
    interrupt: &Interrupt,
) -> Result<Measured> {
    let (first_port, last_port) = limits::ephemeral_ports();
    let task = Task {
        kind: match program.class() {
            Class::OsThreads => ServerKind::Threads,
            _ => ServerKind::Roving,
        },
        foreign: Some(Foreign {
            name: program.name,
            program: &program.path,
            arguments: &["serve", "echo"],
            environment: program.environment,
        }),
        preload: None,
        apart: true,
        connections,
        active,
        exchange: ExchangeKind::Echo,
        message: 64,
        seconds,
        idle_seconds: u64::from(active < connections),
        computing: 0,
        workers: Some(1),
        stack_size: 0,
        bounds: Bounds {
            descriptors: limits::raise_descriptor_limit(),
            mappings: system::number("/proc/sys/vm/max_map_count"),
            ports: u64::from(last_port - first_port) + 1,
            cores: machine::cores(),
        },
    };
    let row = match run::measure(task, interrupt) {
        Ok(row) => row,
        Err(error) if error.is::<crate::fail::Interrupted>() => return Err(error),
        Err(error) => return Ok(Measured::none(format!("{error:#}"))),
    };
    ensure!(row.wrong_bytes == 0, "{} wrong bytes", row.wrong_bytes);
    if let Some(limit) = row.stopped_by {
        let reached = row.established;
        return Ok(Measured::none(format!("stopped at {reached} by {limit}")));
    }
    if row.failed > 0 {
        let (failed, errors) = (row.failed, row.errors);
        return Ok(Measured::none(format!(
            "{failed} connections failed: {errors:?}"
        )));
    }
    let latency = row.latency_us.context("there were no answers")?;
    let requests = row.requests.unwrap_or(0) as f64;
    let slowest = row.fairness.map_or(0, |fairness| fairness.slowest) as f64;
    let figures = [
        ("per_second", row.requests_per_second),
        ("cpu_us", row.cpu_us_per_request),
        ("p50_us", Some(latency.p50)),
        ("p99_us", Some(latency.p99)),
        (
            "slowest_share",
            Some(slowest * f64::from(active) / requests),
        ),
        ("bytes", row.bytes_per_connection.map(|bytes| bytes as f64)),
        ("os_threads", Some(row.max_os_threads_per_process as f64)),
        (
            "idle_cpu_percent",
            row.idle_cpu_percent.filter(|_| active < connections),
        ),
        ("connects_per_second", Some(row.connects_per_second)),
    ];
    let figures = figures.into_iter();
    let figures = figures.filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Ok(Measured {
        figures: figures.collect(),
        ..Measured::default()
    })
}

/// What the client reports at its end.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct WireReport {
    pub(super) per_second: f64,
    pub(super) cpu_us: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

fn measure_wire(
    program: &Program,
    mode: &str,
    protocol: &str,
    connections: usize,
    seconds: u64,
) -> Result<Measured> {
    let [server_cpus, client_cpus] = Cpus::halves();
    let mut command = Command::new(&program.path);
    command
        .args(["serve", protocol, "1"])
        .envs(program.environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    server_cpus.bind(&mut command);
    let mut server = Killed(command.spawn()?);
    let mut line = String::new();
    let stdout = server.0.stdout.take().context("it is piped")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let said: Value = serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?;
    if let Some(Value::String(note)) = said.get("absent") {
        return Ok(Measured::none(note.clone()));
    }
    let address: SocketAddr = serde_json::from_value(said["Listening"].clone())?;

    let mut command = process::own(&[
        "wire".into(),
        mode.into(),
        address.to_string(),
        server.0.id().to_string(),
        connections.to_string(),
        seconds.to_string(),
    ])?;
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    client_cpus.bind(&mut command);
    let client = command.spawn()?.wait_with_output()?;
    ensure!(
        client.status.success(),
        "the client ended with {}",
        client.status
    );
    let report: WireReport = serde_json::from_slice(&client.stdout)?;
    let note = match (protocol, program.name) {
        ("framework", "go") => Some("its net/http".into()),
        _ => None,
    };
    Ok(Measured {
        figures: BTreeMap::from([
            ("per_second".to_owned(), report.per_second),
            ("cpu_us".to_owned(), report.cpu_us),
            ("p50_us".to_owned(), report.p50_us),
            ("p99_us".to_owned(), report.p99_us),
        ]),
        note,
        is_other: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_told_and_not_compared() {
        let less = Less {
            work: "sleepers",
            count: 10,
            said: "10",
        };
        let within = |most: usize| {
            move |_: &str, count: usize| match count <= most {
                true => Ok(Measured {
                    figures: BTreeMap::from([("ns".to_owned(), 1.0)]),
                    ..Measured::default()
                }),
                false => Ok(Measured::none("no room".into())),
            }
        };
        let measured = measure_less(less, "no room".into(), within(10)).unwrap();
        assert_eq!(measured.note.as_deref(), Some("of 10 only: no room"));
        assert!(measured.is_other && measured.figures.contains_key("ns"));
        let none = measure_less(less, "no room".into(), within(9)).unwrap();
        assert_eq!(none.note.as_deref(), Some("no room"));
        assert!(none.figures.is_empty());
    }
}
