//! One server at one number of connections: ramp, idle, load, teardown.
//!
//! The servers and clients are child processes; what they report arrives at one channel, and
//! [`Run::turn`] takes it from there, samples the servers' threads and looks for a Ctrl-C. A phase
//! tells the processes what to do and turns until all have reported. Dropping a `Run` kills
//! whatever is left of it, clients first.

use super::interrupt::Interrupt;
use super::plan::{self, Bounds, Plan};
use super::progress::{Progress, grouped};
use super::results::{Fairness, Latency, Row, rounded};
use crate::clock::{cpu_time, machine_cpu_time, now_ns};
use crate::latency::Latencies;
use crate::proc_stats::{self, Memory};
use crate::process::{self, Child, Cpus, Said};
use crate::protocol::{
    Group, LoadCommand, LoadReport, Loaded, Ramped, Refusal, ServerCommand, ServerReport,
};
use crate::server::ServerKind;
use crate::{load, server, system};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often threads are sampled and Ctrl-C is looked for, at least.
const TURN: Duration = Duration::from_millis(50);
/// How long processes may take to start.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long the first answers on all active connections may take.
const WARM_LIMIT: Duration = Duration::from_secs(60);
/// Steady load before the window.
const WARM_UP: Duration = Duration::from_millis(250);
/// How long clients may take to report after the end of the window: what they await answers for,
/// and some.
const REPORT_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to end its connections.
const TEARDOWN_LIMIT: Duration = Duration::from_secs(30);
/// How long a process may take to end.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Rest between the last connection and the measuring of the idle server.
const SETTLE: Duration = Duration::from_millis(500);

/// A server that is not one of this program's: it is called with `serve echo WORKERS`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Foreign<'a> {
    pub(crate) name: &'a str,
    pub(crate) program: &'a Path,
    pub(crate) environment: &'a [(&'static str, &'static str)],
}

/// What one run is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) kind: ServerKind,
    /// What serves instead of a server of that kind of this program.
    pub(crate) foreign: Option<Foreign<'a>>,
    /// Whether servers and clients each have CPUs of their own.
    pub(crate) apart: bool,
    pub(crate) connections: u32,
    pub(crate) active: u32,
    pub(crate) message: u32,
    pub(crate) seconds: u64,
    pub(crate) idle_seconds: u64,
    pub(crate) workers: Option<u64>,
    pub(crate) stack_size: u64,
    pub(crate) bounds: Bounds,
}

/// Carries out `task`.
pub(crate) fn measure(task: Task<'_>, interrupt: &Interrupt) -> Result<Row> {
    let mut run = Run::start(task, interrupt)?;
    let before = run.memory();
    let slab_before = system::meminfo("Slab").unwrap_or(0);
    let ramp = run.ramp()?;
    let established = ramp.total.established;

    let mut idle = None;
    let mut loaded = None;
    if run.stopped_by.is_none() {
        idle = Some(run.idle(before, slab_before, established)?);
        loaded = Some(run.load()?);
    }
    let (broken, teardown) = run.tear_down()?;

    let mut errors = ramp.total.errors;
    let mut failed = ramp.total.failed + broken;
    let mut wrong_bytes = ramp.total.wrong_bytes;
    if let Some(loaded) = &loaded {
        failed += loaded.failed;
        wrong_bytes += loaded.wrong_bytes;
        add_errors(&mut errors, &loaded.errors);
    }
    add_errors(&mut errors, &run.errors);
    Ok(Row {
        server: task.kind,
        connections: task.connections,
        established,
        failed,
        wrong_bytes,
        server_processes: run.plan.server_processes,
        client_processes: run.plan.clients.len() as u64,
        workers_per_process: run.plan.workers,
        stack_bytes: task.stack_size,
        max_os_threads_per_process: run.max_threads,
        bytes_per_connection: idle.as_ref().map(|idle| idle.memory.total()),
        memory_per_connection: idle.as_ref().map(|idle| idle.memory),
        machine_slab_bytes_per_connection: idle.as_ref().map(|idle| idle.slab),
        connects_per_second: rounded(per_second(established, ramp.took), 1),
        idle_cpu_percent: idle.as_ref().map(|idle| rounded(idle.cpu_percent, 3)),
        active: loaded.as_ref().map(|loaded| loaded.active),
        seconds: loaded.as_ref().map(|_| task.seconds),
        requests: loaded.as_ref().map(|loaded| loaded.requests),
        requests_per_second: loaded
            .as_ref()
            .map(|loaded| rounded(loaded.requests_per_second, 1)),
        latency_us: loaded.as_ref().and_then(|loaded| loaded.latency),
        cpu_us_per_request: loaded.as_ref().and_then(|loaded| loaded.cpu_us_per_request),
        client_cpu_percent: loaded
            .as_ref()
            .map(|loaded| rounded(loaded.client_cpu_percent, 1)),
        other_cpu_percent: loaded
            .as_ref()
            .map(|loaded| rounded(loaded.other_cpu_percent, 1)),
        fairness: loaded.as_ref().map(|loaded| loaded.fairness),
        teardown_seconds: rounded(teardown.as_secs_f64(), 3),
        stopped_by: run.stopped_by.take(),
        errors,
    })
}

/// What came of the ramp.
struct RampOutcome {
    total: Ramped,
    took: Duration,
}

/// What was measured while nothing was asked of the server.
struct IdleOutcome {
    memory: Memory,
    slab: u64,
    cpu_percent: f64,
}

/// What was measured under load.
struct LoadOutcome {
    active: u64,
    requests: u64,
    requests_per_second: f64,
    latency: Option<Latency>,
    cpu_us_per_request: Option<f64>,
    client_cpu_percent: f64,
    other_cpu_percent: f64,
    fairness: Fairness,
    failed: u64,
    wrong_bytes: u64,
    errors: BTreeMap<String, u64>,
}

/// CPU time used by the server processes, by the client processes, and by all programs of the
/// machine.
#[derive(Clone, Copy)]
struct CpuTimes {
    servers: Duration,
    clients: Duration,
    machine: Duration,
}

impl CpuTimes {
    fn since(self, before: CpuTimes) -> CpuTimes {
        CpuTimes {
            servers: self.servers.saturating_sub(before.servers),
            clients: self.clients.saturating_sub(before.clients),
            machine: self.machine.saturating_sub(before.machine),
        }
    }

    /// What neither the servers nor the clients used.
    fn others(self) -> Duration {
        self.machine.saturating_sub(self.servers + self.clients)
    }
}

enum Message {
    Server(usize, Said<ServerReport>),
    Client(usize, Said<LoadReport>),
}

/// A server process, and the last that it said.
struct Server {
    child: Child,
    address: Option<SocketAddr>,
    open: Option<u64>,
    gone: bool,
}

/// A client process, and the last that it said.
struct Client {
    child: Child,
    progress: u64,
    ramped: Option<Ramped>,
    warm: bool,
    loaded: Option<Loaded>,
    closed: Option<u64>,
}

/// The processes of a run. Clients come first, so that they are dropped first.
struct Run<'a> {
    clients: Vec<Client>,
    servers: Vec<Server>,
    messages: Receiver<Message>,
    task: Task<'a>,
    plan: Plan,
    interrupt: &'a Interrupt,
    max_threads: u64,
    stopped_by: Option<String>,
    errors: BTreeMap<String, u64>,
}

impl<'a> Run<'a> {
    /// Starts all processes, and returns when every server listens.
    fn start(task: Task<'a>, interrupt: &'a Interrupt) -> Result<Run<'a>> {
        let plan = Plan::new(task.kind, task.connections, task.workers, task.bounds);
        let (sender, messages) = mpsc::channel();
        let mut run = Run {
            clients: Vec::new(),
            servers: Vec::new(),
            messages,
            task,
            plan,
            interrupt,
            max_threads: 0,
            stopped_by: None,
            errors: BTreeMap::new(),
        };
        let arguments =
            server::Options::arguments(task.kind, run.plan.workers, task.stack_size, task.message);
        let cpus = task.apart.then(Cpus::halves);
        for index in 0..run.plan.server_processes as usize {
            let mut command = match task.foreign {
                None => process::own(&arguments)?,
                Some(foreign) => {
                    let mut command = Command::new(foreign.program);
                    command
                        .args(["serve", "echo", &run.plan.workers.to_string()])
                        .envs(foreign.environment.iter().copied());
                    command
                }
            };
            if let Some([servers, _]) = &cpus {
                servers.bind(&mut command);
            }
            let child = Child::start(command, sender.clone(), move |said| {
                Message::Server(index, said)
            })?;
            run.servers.push(Server {
                child,
                address: None,
                open: None,
                gone: false,
            });
        }
        let mut first_id = 0;
        let totals: Vec<u32> = run.plan.client_totals().collect();
        for (index, connections) in totals.into_iter().enumerate() {
            let arguments = load::Options::arguments(task.message, run.plan.in_flight, first_id);
            let mut command = process::own(&arguments)?;
            if let Some([_, clients]) = &cpus {
                clients.bind(&mut command);
            }
            let child = Child::start(command, sender.clone(), move |said| {
                Message::Client(index, said)
            })?;
            run.clients.push(Client {
                child,
                progress: 0,
                ramped: None,
                warm: false,
                loaded: None,
                closed: None,
            });
            first_id += connections;
        }
        run.turn_until(START_LIMIT, "start", |run| {
            run.stopped_by.is_some() || run.servers.iter().all(|server| server.address.is_some())
        })?;
        if let Some(reason) = &run.stopped_by {
            bail!("the {} server did not start: {reason}", task.kind);
        }
        Ok(run)
    }

    /// Takes what was reported, waiting no longer than until `until`, samples the threads, and
    /// looks for a Ctrl-C.
    fn turn(&mut self, until: Instant) -> Result<()> {
        let wait = until.saturating_duration_since(Instant::now()).min(TURN);
        match self.messages.recv_timeout(wait) {
            Ok(message) => self.take(message)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("all processes of the run are gone"),
        }
        while let Ok(message) = self.messages.try_recv() {
            self.take(message)?;
        }
        for server in &self.servers {
            self.max_threads = self
                .max_threads
                .max(proc_stats::threads(server.child.pid()).unwrap_or(0));
        }
        self.interrupt.check()
    }

    /// Turns until `done`, and fails if that takes longer than `limit`.
    fn turn_until(
        &mut self,
        limit: Duration,
        what: &str,
        done: impl Fn(&Run<'_>) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !done(self) {
            ensure!(
                Instant::now() < deadline,
                "{what}: not done within {} s",
                limit.as_secs()
            );
            self.turn(deadline)?;
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Server(index, Said::Report(report)) => match report {
                ServerReport::Listening(address) => self.servers[index].address = Some(address),
                ServerReport::Refused(refusal) => self.refused(*refusal),
                ServerReport::Count {
                    open,
                    failed_accepts,
                } => {
                    self.servers[index].open = Some(open);
                    if failed_accepts > 0 {
                        self.errors
                            .insert("accept: connection was broken".into(), failed_accepts);
                    }
                }
            },
            Message::Server(index, Said::Gone) => self.server_gone(index),
            Message::Client(index, Said::Report(report)) => {
                let client = &mut self.clients[index];
                match report {
                    LoadReport::Progress(progress) => client.progress = progress,
                    LoadReport::Ramped(ramped) => {
                        client.progress = ramped.established;
                        client.ramped = Some(ramped);
                    }
                    LoadReport::Warm => client.warm = true,
                    LoadReport::Loaded(loaded) => {
                        client.progress = loaded.requests;
                        client.loaded = Some(loaded);
                    }
                    LoadReport::Closed { broken } => client.closed = Some(broken),
                }
            }
            Message::Client(index, Said::Gone) => {
                let status = self.clients[index].child.status();
                bail!(
                    "load client {index} ended before its time: {}",
                    status.map_or("killed".into(), |s| s.to_string())
                );
            }
        }
        Ok(())
    }

    fn refused(&mut self, refusal: Refusal) {
        let error = format!("server could not {}: {}", refusal.action, refusal.error);
        *self.errors.entry(error).or_default() += 1;
        if self.stopped_by.is_none() {
            self.stopped_by = Some(refusal.readings.limit_met(refusal.errno));
        }
    }

    fn server_gone(&mut self, index: usize) {
        let server = &mut self.servers[index];
        server.gone = true;
        // Its output ends a moment before it does.
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut status = server.child.status();
        while status.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
            status = server.child.status();
        }
        let status = status.map_or("it hangs".into(), |status| status.to_string());
        if self.stopped_by.is_none() {
            self.stopped_by = Some(format!("the end of a server process ({status})"));
        }
    }

    fn progress(&self) -> u64 {
        self.clients.iter().map(|client| client.progress).sum()
    }

    fn begin(&self, phase: &str, length: u64) -> Progress {
        let name = self
            .task
            .foreign
            .map_or(self.task.kind.name(), |foreign| foreign.name);
        Progress::begin(name, self.task.connections.into(), phase, length)
    }

    /// The memory of all server processes.
    fn memory(&self) -> Memory {
        self.servers
            .iter()
            .filter_map(|server| proc_stats::memory(server.child.pid()))
            .sum()
    }

    /// The CPU time that all server processes used so far.
    fn server_cpu(&self) -> Duration {
        self.servers
            .iter()
            .filter_map(|server| cpu_time(server.child.pid()))
            .sum()
    }

    /// The CPU time that was used so far.
    fn cpu(&self) -> CpuTimes {
        CpuTimes {
            servers: self.server_cpu(),
            clients: self
                .clients
                .iter()
                .filter_map(|client| cpu_time(client.child.pid()))
                .sum(),
            machine: machine_cpu_time().unwrap_or_default(),
        }
    }

    /// Establishes the connections, as many as the servers take.
    fn ramp(&mut self) -> Result<RampOutcome> {
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

    /// Watches the servers while nothing is asked of them.
    fn idle(&mut self, before: Memory, slab_before: u64, established: u64) -> Result<IdleOutcome> {
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
    fn load(&mut self) -> Result<LoadOutcome> {
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
    fn tear_down(&mut self) -> Result<(u64, Duration)> {
        let bar = self.begin("teardown", self.task.connections.into());
        let started = Instant::now();
        for client in &mut self.clients {
            client.child.tell(&LoadCommand::Close);
        }
        let deadline = started + TEARDOWN_LIMIT;
        let open = loop {
            for server in &mut self.servers {
                server.open = None;
                server.child.tell(&ServerCommand::Count);
            }
            while self
                .servers
                .iter()
                .any(|server| server.open.is_none() && !server.gone)
                && Instant::now() < deadline
            {
                self.turn(deadline)?;
            }
            let open: u64 = self.servers.iter().filter_map(|server| server.open).sum();
            bar.set(u64::from(self.task.connections).saturating_sub(open), "");
            let closed = self.clients.iter().all(|client| client.closed.is_some());
            if (closed && open == 0) || Instant::now() >= deadline {
                break open;
            }
            self.turn(Instant::now() + TURN / 5)?;
        };
        let took = started.elapsed();
        if open > 0 {
            self.errors
                .insert("server still held a closed connection".into(), open);
        }
        let broken = self.clients.iter().filter_map(|client| client.closed).sum();
        let deadline = Instant::now() + END_LIMIT;
        for client in self.clients.drain(..) {
            client.child.end(deadline);
        }
        for server in self.servers.drain(..) {
            if !server.gone && server.child.end(deadline).is_none() {
                *self
                    .errors
                    .entry("server process did not end by itself".into())
                    .or_default() += 1;
            }
        }
        bar.end(format_args!("{:.2} s", took.as_secs_f64()));
        Ok((broken, took))
    }
}

fn per_second(count: u64, took: Duration) -> f64 {
    if took.is_zero() {
        0.0
    } else {
        count as f64 / took.as_secs_f64()
    }
}

fn add_errors(all: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (error, times) in more {
        *all.entry(error.clone()).or_default() += times;
    }
}
