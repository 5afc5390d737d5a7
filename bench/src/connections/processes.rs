//! The processes of a run, and what they say.
//!
//! The servers and clients are child processes; what they report arrives at one channel, and
//! [`Run::turn`] takes it from there, samples the servers' threads and looks for a Ctrl-C. Dropping a
//! `Run` kills whatever is left of it, clients first.

use super::interrupt::Interrupt;
use super::plan::Plan;
use super::progress::Progress;
use super::task::Task;
use crate::clock::{cpu_time, machine_cpu_time};
use crate::load;
use crate::proc_stats::{self, Memory};
use crate::process::{self, Child, Cpus, Said};
use crate::protocol::{LoadReport, Loaded, Ramped, Refusal, ServerReport};
use crate::server::{self, ServerKind};
use anyhow::{Result, bail, ensure};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often threads are sampled and Ctrl-C is looked for, at least.
pub(super) const TURN: Duration = Duration::from_millis(50);
/// How long processes may take to start.
const START_LIMIT: Duration = Duration::from_secs(30);

/// CPU time used by the server processes, by the client processes, and by all programs of the
/// machine.
#[derive(Clone, Copy)]
pub(super) struct CpuTimes {
    pub(super) servers: Duration,
    pub(super) clients: Duration,
    pub(super) machine: Duration,
}

impl CpuTimes {
    pub(super) fn since(self, before: CpuTimes) -> CpuTimes {
        CpuTimes {
            servers: self.servers.saturating_sub(before.servers),
            clients: self.clients.saturating_sub(before.clients),
            machine: self.machine.saturating_sub(before.machine),
        }
    }

    /// What neither the servers nor the clients used.
    pub(super) fn others(self) -> Duration {
        self.machine.saturating_sub(self.servers + self.clients)
    }
}

pub(super) enum Message {
    Server(usize, Said<ServerReport>),
    Client(usize, Said<LoadReport>),
}

/// A server process, and the last that it said.
pub(super) struct Server {
    pub(super) child: Child,
    pub(super) address: Option<SocketAddr>,
    pub(super) open: Option<u64>,
    pub(super) gone: bool,
}

impl Server {
    /// Whether it has yet to say how many connections it has.
    pub(super) fn is_silent(&self) -> bool {
        self.open.is_none() && !self.gone
    }
}

/// A client process, and the last that it said.
pub(super) struct Client {
    pub(super) child: Child,
    pub(super) progress: u64,
    pub(super) ramped: Option<Ramped>,
    pub(super) warm: bool,
    pub(super) loaded: Option<Loaded>,
    pub(super) closed: Option<u64>,
}

/// The processes of a run. Clients come first, so that they are dropped first.
pub(super) struct Run<'a> {
    pub(super) clients: Vec<Client>,
    pub(super) servers: Vec<Server>,
    pub(super) messages: Receiver<Message>,
    pub(super) task: Task<'a>,
    pub(super) plan: Plan,
    pub(super) interrupt: &'a Interrupt,
    pub(super) max_threads: u64,
    pub(super) stopped_by: Option<String>,
    pub(super) errors: BTreeMap<String, u64>,
}

impl<'a> Run<'a> {
    /// Starts all processes, and returns when every server listens.
    pub(super) fn start(task: Task<'a>, interrupt: &'a Interrupt) -> Result<Run<'a>> {
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
        let arguments = server::Options::arguments(
            task.kind,
            run.plan.workers,
            task.computing,
            task.stack_size,
            task.message,
        );
        let cpus = task.apart.then(Cpus::halves);
        for index in 0..run.plan.server_processes as usize {
            let mut command = match task.foreign {
                None => process::own(&arguments)?,
                Some(foreign) => {
                    let mut command = Command::new(foreign.program);
                    command
                        .args(foreign.arguments)
                        .arg(run.plan.workers.to_string())
                        .envs(foreign.environment.iter().copied());
                    command
                }
            };
            if task.kind == ServerKind::Adopted {
                command.env("ROVING_WORKERS", run.plan.workers.to_string());
            }
            if let Some(library) = task.preload {
                command.env("LD_PRELOAD", library);
            }
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
            let arguments =
                load::Options::arguments(task.exchange, task.message, run.plan.in_flight, first_id);
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
    pub(super) fn turn(&mut self, until: Instant) -> Result<()> {
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

    /// Turns until `done`, and fails if the clients make no progress for `limit`.
    pub(super) fn turn_until(
        &mut self,
        limit: Duration,
        what: &str,
        done: impl Fn(&Run<'_>) -> bool,
    ) -> Result<()> {
        let (mut progress, mut deadline) = (self.progress(), Instant::now() + limit);
        while !done(self) {
            ensure!(
                Instant::now() < deadline,
                "{what}: no progress within {} s",
                limit.as_secs()
            );
            self.turn(deadline)?;
            if self.progress() != progress {
                (progress, deadline) = (self.progress(), Instant::now() + limit);
            }
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
        let limit = match refusal.errno {
            Some(errno) => refusal.readings.limit_met(errno),
            // It is not the system's error, and names the limit itself.
            None => refusal.error.clone(),
        };
        let stopped_by = self.stopped_by.get_or_insert(limit);
        if *stopped_by != refusal.error {
            let error = format!("server could not {}: {}", refusal.action, refusal.error);
            *self.errors.entry(error).or_default() += 1;
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

    pub(super) fn progress(&self) -> u64 {
        self.clients.iter().map(|client| client.progress).sum()
    }

    pub(super) fn begin(&self, phase: &str, length: u64) -> Progress {
        let name = self
            .task
            .foreign
            .map_or(self.task.kind.name(), |foreign| foreign.name);
        Progress::begin(name, self.task.connections.into(), phase, length)
    }

    /// The memory of all server processes.
    pub(super) fn memory(&self) -> Memory {
        self.servers
            .iter()
            .filter_map(|server| proc_stats::memory(server.child.pid()))
            .sum()
    }

    /// The CPU time that all server processes used so far.
    pub(super) fn server_cpu(&self) -> Duration {
        self.servers
            .iter()
            .filter_map(|server| cpu_time(server.child.pid()))
            .sum()
    }

    /// The CPU time that was used so far.
    pub(super) fn cpu(&self) -> CpuTimes {
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
}
