//! The phases of a run: ramp, idle, load, teardown. Each tells the processes what to do and turns until
//! all have reported.

use super::plan;
use super::processes::{Run, Server, TURN};
use super::progress::grouped;
use super::results::{Fairness, Latency, rounded};
use crate::clock::now_ns;
use crate::latency::Latencies;
use crate::proc_stats::Memory;
use crate::protocol::{Group, LoadCommand, Ramped, ServerCommand};
use crate::system;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long the next of the first answers on the active connections may take.
const WARM_LIMIT: Duration = Duration::from_secs(60);
/// Steady load before the window.
const WARM_UP: Duration = Duration::from_millis(250);
/// How long clients may take to report after the end of the window: what they await answers for,
/// and some.
const REPORT_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to end the next of its connections, or to say that it can take no more.
const TEARDOWN_LIMIT: Duration = Duration::from_secs(30);
/// How long a process may take to end.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Rest between the last connection and the measuring of the idle server.
const SETTLE: Duration = Duration::from_millis(500);

/// What came of the ramp.
pub(super) struct RampOutcome {
    pub(super) total: Ramped,
    pub(super) took: Duration,
}

/// What was measured while nothing was asked of the server.
pub(super) struct IdleOutcome {
    pub(super) memory: Memory,
    pub(super) slab: u64,
    pub(super) cpu_percent: f64,
}

/// What was measured under load.
pub(super) struct LoadOutcome {
    pub(super) active: u64,
    pub(super) requests: u64,
    pub(super) requests_per_second: f64,
    pub(super) latency: Option<Latency>,
    pub(super) cpu_us_per_request: Option<f64>,
    pub(super) client_cpu_percent: f64,
    pub(super) other_cpu_percent: f64,
    pub(super) fairness: Fairness,
    pub(super) failed: u64,
    pub(super) wrong_bytes: u64,
    pub(super) errors: BTreeMap<String, u64>,
}

impl Run<'_> {
    /// Establishes the connections, as many as the servers take.
    pub(super) fn ramp(&mut self) -> Result<RampOutcome> {
        let bar = self.begin("ramp", self.task.connections.into());
        let addresses: Option<Vec<SocketAddr>> =
            self.servers.iter().map(|server| server.address).collect();
        let addresses = addresses.context("a server does not listen")?;
        let started = Instant::now();
        for (client, parts) in self.clients.iter_mut().zip(&self.plan.clients) {
            let groups = parts
                .iter()
                .map(|part| Group {
                    source: part.source,
                    server: addresses[part.server],
                    connections: part.connections,
                })
                .collect();
            client.child.tell(&LoadCommand::Ramp(groups));
        }
        let mut given_up = false;
        while self.clients.iter().any(|client| client.ramped.is_none()) {
            self.turn(Instant::now() + TURN)?;
            if self.stopped_by.is_some() && !given_up {
                given_up = true;
                for client in &mut self.clients {
                    client.child.tell(&LoadCommand::StopRamp);
                }
            }
            let established = self.progress();
            let rate = per_second(established, started.elapsed());
            bar.set(
                established,
                format_args!("{} a second", grouped(rate as u64)),
            );
        }
        let took = started.elapsed();
        let mut total = Ramped::default();
        for ramped in self
            .clients
            .iter()
            .filter_map(|client| client.ramped.as_ref())
        {
            total.established += ramped.established;
            total.failed += ramped.failed;
            total.wrong_bytes += ramped.wrong_bytes;
            add_errors(&mut total.errors, &ramped.errors);
        }
        if total.failed > 0 {
            self.hear_of_a_limit(total.established)?;
        }
        let rate = per_second(total.established, took);
        let stopped = self
            .stopped_by
            .as_ref()
            .map_or(String::new(), |reason| format!(", stopped by {reason}"));
        bar.end(format_args!(
            "{} established, {} failed, {} a second{stopped}",
            grouped(total.established),
            grouped(total.failed),
            grouped(rate as u64)
        ));
        Ok(RampOutcome { total, took })
    }

    /// Waits until the servers have noticed that no more than `established` connections are left, or have said what stopped
    /// them.
    ///
    /// A server at its limit breaks connections before it says so, and what it says comes by another way than what the clients
    /// say: without this, a ramp that a limit has ended may seem to have ended by itself.
    fn hear_of_a_limit(&mut self, established: u64) -> Result<()> {
        let deadline = Instant::now() + TEARDOWN_LIMIT;
        while self.stopped_by.is_none() && Instant::now() < deadline {
            match self.count_open(deadline)? {
                Some(open) if open > established => self.turn(Instant::now() + TURN / 5)?,
                _ => break,
            }
        }
        Ok(())
    }

    /// Watches the servers while nothing is asked of them.
    pub(super) fn idle(
        &mut self,
        before: Memory,
        slab_before: u64,
        established: u64,
    ) -> Result<IdleOutcome> {
        let settled = Instant::now() + SETTLE;
        while Instant::now() < settled {
            self.turn(settled)?;
        }
        let memory = self.memory().grown_for_each(before, established);
        let slab = system::meminfo("Slab")
            .unwrap_or(0)
            .saturating_sub(slab_before);
        let length = Duration::from_secs(self.task.idle_seconds);
        let bar = self.begin("idle", length.as_millis() as u64);
        let (started, cpu) = (Instant::now(), self.server_cpu());
        while started.elapsed() < length {
            self.turn(started + length)?;
            bar.set(started.elapsed().as_millis() as u64, "");
        }
        let used = self.server_cpu().saturating_sub(cpu);
        let cpu_percent = used.as_secs_f64() / started.elapsed().as_secs_f64() * 100.0;
        bar.end(format_args!(
            "{} bytes a connection, {cpu_percent:.2} % of a core, {} OS threads a process",
            grouped(memory.total()),
            grouped(self.max_threads)
        ));
        Ok(IdleOutcome {
            memory,
            slab: slab.checked_div(established).unwrap_or(0),
            cpu_percent,
        })
    }

    /// Keeps the active connections busy, and measures.
    pub(super) fn load(&mut self) -> Result<LoadOutcome> {
        let totals: Vec<u32> = self.plan.client_totals().collect();
        let window = Duration::from_secs(self.task.seconds);
        let shares = plan::active_shares(self.task.active, &totals);
        for (client, &active) in self.clients.iter_mut().zip(&shares) {
            client.progress = 0;
            client.child.tell(&LoadCommand::Load { active });
        }
        self.turn_until(WARM_LIMIT, "first answers", |run| {
            run.clients.iter().all(|client| client.warm)
        })?;
        let bar = self.begin("load", window.as_millis() as u64);
        let (from, from_ns) = (
            Instant::now() + WARM_UP,
            now_ns() + WARM_UP.as_nanos() as u64,
        );
        let until = from + window;
        for client in &mut self.clients {
            let until_ns = from_ns + window.as_nanos() as u64;
            client
                .child
                .tell(&LoadCommand::Window { from_ns, until_ns });
        }
        while Instant::now() < from {
            self.turn(from)?;
        }
        let (cpu_from, before) = (Instant::now(), self.cpu());
        while Instant::now() < until {
            self.turn(until)?;
            let elapsed = from.elapsed();
            let rate = per_second(self.progress(), elapsed);
            bar.set(
                elapsed.as_millis() as u64,
                format_args!("{} requests a second", grouped(rate as u64)),
            );
        }
        // The CPU time is read a moment late at both ends: what counts is its rate.
        let used = self.cpu().since(before);
        let measured = cpu_from.elapsed().as_secs_f64();
        let percent = |used: Duration| used.as_secs_f64() / measured * 100.0;
        self.turn_until(REPORT_LIMIT, "load", |run| {
            run.clients.iter().all(|client| client.loaded.is_some())
        })?;

        let mut latencies = Latencies::new();
        let mut outcome = LoadOutcome {
            active: self.task.active.into(),
            requests: 0,
            requests_per_second: 0.0,
            latency: None,
            cpu_us_per_request: None,
            client_cpu_percent: percent(used.clients),
            other_cpu_percent: percent(used.others()),
            fairness: Fairness {
                slowest: u64::MAX,
                fastest: 0,
            },
            failed: 0,
            wrong_bytes: 0,
            errors: BTreeMap::new(),
        };
        for (loaded, share) in self
            .clients
            .iter()
            .filter_map(|client| client.loaded.as_ref())
            .zip(shares)
        {
            outcome.requests += loaded.requests;
            outcome.failed += loaded.failed;
            outcome.wrong_bytes += loaded.wrong_bytes;
            add_errors(&mut outcome.errors, &loaded.errors);
            for &(nanoseconds, times) in &loaded.latencies {
                latencies.add(nanoseconds, times);
            }
            if share > 0 {
                outcome.fairness.slowest = outcome.fairness.slowest.min(loaded.slowest);
                outcome.fairness.fastest = outcome.fairness.fastest.max(loaded.fastest);
            }
        }
        outcome.requests_per_second = outcome.requests as f64 / window.as_secs_f64();
        if outcome.requests > 0 {
            outcome.cpu_us_per_request = Some(rounded(
                percent(used.servers) * 1e4 / outcome.requests_per_second,
                2,
            ));
        }
        let at = |quantile| latencies.microseconds_at(quantile).map(|us| rounded(us, 1));
        outcome.latency = (|| {
            Some(Latency {
                p50: at(0.5)?,
                p99: at(0.99)?,
                p999: at(0.999)?,
                max: at(1.0)?,
            })
        })();
        let p99 = outcome.latency.map_or("none".into(), |latency| {
            format!("{:.1} ms", latency.p99 / 1_000.0)
        });
        bar.end(format_args!(
            "{} requests a second, p99 {p99}, {} wrong bytes, {} failed",
            grouped(outcome.requests_per_second as u64),
            grouped(outcome.wrong_bytes),
            grouped(outcome.failed)
        ));
        Ok(outcome)
    }

    /// Closes all connections, waits until the servers have noticed, and ends all processes.
    pub(super) fn tear_down(&mut self) -> Result<(u64, Duration)> {
        let bar = self.begin("teardown", self.task.connections.into());
        let started = Instant::now();
        for client in &mut self.clients {
            client.child.tell(&LoadCommand::Close);
        }
        let mut deadline = started + TEARDOWN_LIMIT;
        let mut fewest = u64::MAX;
        let open = loop {
            let open = self.count_open(deadline)?;
            if let Some(open) = open {
                bar.set(u64::from(self.task.connections).saturating_sub(open), "");
                if open < fewest {
                    fewest = open;
                    deadline = Instant::now() + TEARDOWN_LIMIT;
                }
            }
            let closed = self.clients.iter().all(|client| client.closed.is_some());
            if (closed && open == Some(0)) || Instant::now() >= deadline {
                break open;
            }
            self.turn(Instant::now() + TURN / 5)?;
        };
        let took = started.elapsed();
        match open {
            None => {
                *self
                    .errors
                    .entry("server did not say how many connections it has".into())
                    .or_default() += 1
            }
            Some(0) => {}
            Some(open) => {
                self.errors
                    .insert("server still held a closed connection".into(), open);
            }
        }
        let broken = self.clients.iter().filter_map(|client| client.closed).sum();
        for client in self.clients.drain(..) {
            client.child.end(Instant::now() + END_LIMIT);
        }
        for server in self.servers.drain(..) {
            if !server.gone && server.child.end(Instant::now() + END_LIMIT).is_none() {
                *self
                    .errors
                    .entry("server process did not end by itself".into())
                    .or_default() += 1;
            }
        }
        bar.end(format_args!("{:.2} s", took.as_secs_f64()));
        Ok((broken, took))
    }

    /// How many connections the servers have; `None` if one of them has not said so by `deadline`.
    fn count_open(&mut self, deadline: Instant) -> Result<Option<u64>> {
        for server in &mut self.servers {
            server.open = None;
            server.child.tell(&ServerCommand::Count);
        }
        while self.servers.iter().any(Server::is_silent) {
            if Instant::now() >= deadline {
                return Ok(None);
            }
            self.turn(deadline)?;
        }
        Ok(Some(
            self.servers.iter().filter_map(|server| server.open).sum(),
        ))
    }
}

pub(super) fn per_second(count: u64, took: Duration) -> f64 {
    if took.is_zero() {
        0.0
    } else {
        count as f64 / took.as_secs_f64()
    }
}

pub(super) fn add_errors(all: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (error, times) in more {
        *all.entry(error.clone()).or_default() += times;
    }
}
