//! `resp`: what `redis-benchmark` says of a small server of its protocol on green threads, beside the same on OS threads, and beside
//! `redis-server`.
//!
//! All share the machine, and it is the tail that is of interest. A kernel with autogroups gives each session its share of
//! the processors, whatever it has of threads; so each server is a session of its own, and so is each client.

mod commands;
mod server;

use crate::process;
use crate::table;
use anyhow::{Context, Result, ensure};
use comfy_table::CellAlignment;
use server::Kind;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

pub(crate) use server::{Options as ServerOptions, run as serve};

/// The arguments of `resp`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds, of which each figure is the median
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// Requests of a round
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// Requests that a connection sends at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pipeline: u32,
    /// Workers of the green threads
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: u32,
}

const SERVERS: [&str; 3] = ["roving", "OS threads", "redis-server"];
const TESTS: [&str; 2] = ["SET", "GET"];
/// What `redis-benchmark --csv` calls them, and what the table does.
const FIGURES: [(&str, &str); 5] = [
    ("rps", "requests/s"),
    ("p50_latency_ms", "p50, ms"),
    ("p95_latency_ms", "p95, ms"),
    ("p99_latency_ms", "p99, ms"),
    ("max_latency_ms", "max, ms"),
];

/// What the client says of each test, by its place among [`TESTS`].
type Said = Vec<(usize, Vec<(&'static str, f64)>)>;

/// Ends a server with its round, however that ends.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures, and prints a table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut samples: BTreeMap<(usize, usize, &str), Vec<f64>> = BTreeMap::new();
    for _ in 0..options.rounds {
        for place in 0..SERVERS.len() {
            let server = start(place, options)?;
            for (test, figures) in measure(server.address, options)? {
                for (key, value) in figures {
                    samples.entry((test, place, key)).or_default().push(value);
                }
            }
        }
    }
    let mut shown = table::ruled();
    let units = FIGURES.iter().map(|(_, unit)| *unit);
    shown.set_header(["test", "server"].into_iter().chain(units));
    for (test, name) in TESTS.iter().enumerate() {
        for (place, server) in SERVERS.iter().enumerate() {
            let medians = FIGURES.iter().map(|(key, _)| {
                let mut all = samples.remove(&(test, place, *key)).unwrap_or_default();
                all.sort_unstable_by(f64::total_cmp);
                let median = all.get(all.len() / 2);
                let digits = if *key == "rps" { 0 } else { 3 };
                median.map_or("-".into(), |median| format!("{median:.digits$}"))
            });
            let row = [(*name).to_owned(), (*server).to_owned()];
            shown.add_row(row.into_iter().chain(medians));
        }
    }
    for column in 2..FIGURES.len() + 2 {
        let column = shown.column_mut(column).context("it was added")?;
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!(
        "{} clients, {} at once, medians of {} rounds of {} requests, {} workers\n{shown}",
        options.clients, options.pipeline, options.rounds, options.requests, options.workers
    );
    Ok(())
}

/// Makes `command` lead a session, and end when this program does.
fn in_a_session(command: &mut Command) -> &mut Command {
    let lead = || {
        rustix::process::setsid()?;
        Ok(rustix::process::set_parent_process_death_signal(Some(
            rustix::process::Signal::KILL,
        ))?)
    };
    // SAFETY: between fork and exec there are but two system calls, and no allocation.
    unsafe { command.pre_exec(lead) }
}

fn start(place: usize, options: &Options) -> Result<Server> {
    let kind = match place {
        0 => Kind::Roving,
        1 => Kind::Threads,
        _ => return start_redis(),
    };
    let kind = clap::ValueEnum::to_possible_value(&kind).context("it has a name")?;
    let mut command = process::own(&[
        "resp-server".into(),
        kind.get_name().into(),
        options.workers.to_string(),
    ])?;
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = in_a_session(command).spawn()?;
    let stdout = child.stdout.take().context("it is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().parse();
    let address = address.with_context(|| format!("the server said {line:?}"))?;
    Ok(Server { child, address })
}

fn start_redis() -> Result<Server> {
    // It is free again, and nobody is likely to take it at once.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--port", &address.port().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let child = in_a_session(&mut command).spawn();
    let child = child.context("cannot run redis-server; Debian has it in redis-server")?;
    let server = Server { child, address };
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = TcpStream::connect(address) {
        ensure!(Instant::now() < deadline, "redis-server: {error}");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(server)
}

fn measure(server: SocketAddr, options: &Options) -> Result<Said> {
    let mut command = Command::new("redis-benchmark");
    command
        .args(["-h", "127.0.0.1", "-p", &server.port().to_string()])
        .args(["-c", &options.clients.to_string()])
        .args(["-n", &options.requests.to_string()])
        .args(["-P", &options.pipeline.to_string()])
        .args(["-t", &TESTS.join(",").to_lowercase(), "--csv"])
        .stdin(Stdio::null());
    let output = in_a_session(&mut command).output();
    let output = output.context("cannot run redis-benchmark; Debian has it in redis-tools")?;
    ensure!(
        output.status.success(),
        "redis-benchmark: {}",
        output.status
    );
    let csv = String::from_utf8(output.stdout)?;
    figures(&csv).with_context(|| format!("redis-benchmark said {csv:?}"))
}

fn figures(csv: &str) -> Result<Said> {
    let mut lines = csv.lines().skip_while(|line| !line.starts_with("\"test\""));
    let fields = |line: &str| -> Vec<String> {
        let fields = line.split(',');
        fields
            .map(|field| field.trim_matches('"').to_owned())
            .collect()
    };
    let names = fields(lines.next().context("no header")?);
    let mut all = Vec::new();
    for (test, name) in TESTS.iter().enumerate() {
        let line = lines.next().context("a test is missing")?;
        let values = fields(line);
        ensure!(
            values.first().is_some_and(|value| value == name),
            "not {name}"
        );
        let mut figures = Vec::new();
        for (key, _) in FIGURES {
            let place = names.iter().position(|name| name == key).context(key)?;
            let value = values.get(place).context(key)?;
            figures.push((key, value.parse().map_err(io::Error::other)?));
        }
        all.push((test, figures));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_says_is_understood() {
        let csv = "WARNING: Could not fetch server CONFIG\n\
            \"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
            \"SET\",\"1000.5\",\"0.4\",\"0.1\",\"0.3\",\"0.7\",\"0.9\",\"1.5\"\n\
            \"GET\",\"2000\",\"0.4\",\"0.1\",\"0.2\",\"0.6\",\"0.8\",\"1.4\"\n";
        let figures = figures(csv).unwrap();
        assert_eq!(figures[0].1[0], ("rps", 1000.5));
        assert_eq!(figures[1].1[3], ("p99_latency_ms", 0.8));
        assert!(super::figures("\"SET\",\"1\"\n").is_err());
    }
}
