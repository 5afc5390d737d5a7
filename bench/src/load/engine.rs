//! The event loop of the load client: all connections of the process, and the phase that they are
//! in.
//!
//! Level-triggered: an event that was not used up is reported again, so no connection is forgotten.
//! Every turn of the loop handles what is ready, then begins a bounded number of connections or
//! first requests, so that neither delays the answers for long. The measured window begins when
//! every active connection has had an answer.
//!
//! What is measured: a latency is the time from before a request's `write` until its last byte was
//! read, for each request that was under way at some moment of the window. So the one that a server
//! left waiting from before the window until after it counts too, with all of its time. Requests a
//! second count answers within the window.

use super::Options;
use super::connection::{Connection, Progress, State};
use super::exchange::Exchange;
use crate::clock::now_ns;
use crate::latency::Latencies;
use crate::protocol::{Group, LoadCommand, LoadReport, Loaded, Ramped, say};
use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::collections::BTreeMap;

/// The key of standard input; those of connections are their places.
const COMMANDS: u64 = u64::MAX;
/// First requests that are begun in one turn of the loop.
const BEGUN_A_TURN: usize = 512;
/// Events taken in one turn of the loop.
const EVENTS_A_TURN: usize = 512;
/// Time between two reports of progress.
const REPORT_EVERY_NS: u64 = 100_000_000;
/// A ramp that establishes nothing for so long has failed.
const STALLED_NS: u64 = 30_000_000_000;
/// How long answers are awaited after the end of the window.
const DRAIN_NS: u64 = 30_000_000_000;

/// The state of a load process.
pub(super) struct Engine {
    options: Options,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    phase: Phase,
    /// Connections that broke while nothing was asked of them.
    broken: u64,
    wrong_bytes: u64,
    errors: BTreeMap<String, u64>,
    next_report_ns: u64,
    exchange: Exchange,
    request: Vec<u8>,
    expected: Vec<u8>,
    answer: Vec<u8>,
    commands: Vec<u8>,
}

enum Phase {
    Rest,
    Ramp(Ramp),
    Load(Box<Load>),
}

struct Ramp {
    /// Groups of which connections are yet to be begun, the next one last.
    groups: Vec<Group>,
    under_way: usize,
    established: u64,
    failed: u64,
    last_success_ns: u64,
}

struct Load {
    /// The window; it has not begun as long as it is not known.
    from_ns: u64,
    until_ns: u64,
    active: Vec<u32>,
    /// Active connections that had no answer yet, and did not break.
    cold: usize,
    /// How many of `active` have begun.
    begun: usize,
    under_way: u64,
    failed: u64,
    requests: u64,
    latencies: Latencies,
}

impl Load {
    /// Notes that a connection had an answer, or will have none.
    fn warm(&mut self, connection: &mut Connection) {
        if std::mem::replace(&mut connection.cold, false) {
            self.cold -= 1;
            if self.cold == 0 {
                say(&LoadReport::Warm);
            }
        }
    }
}

impl Engine {
    pub(super) fn new(options: Options) -> Result<Engine> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            rustix::stdio::stdin(),
            EventData::new_u64(COMMANDS),
            EventFlags::IN,
        )?;
        let exchange = Exchange::new(options.exchange, options.message);
        Ok(Engine {
            options,
            epoll,
            connections: Vec::new(),
            phase: Phase::Rest,
            broken: 0,
            wrong_bytes: 0,
            errors: BTreeMap::new(),
            next_report_ns: 0,
            request: vec![0; exchange.request_len()],
            expected: vec![0; exchange.answer_len()],
            answer: vec![0; exchange.answer_len() + 1],
            exchange,
            commands: Vec::new(),
        })
    }

    /// Runs until standard input ends.
    pub(super) fn run(mut self) -> Result<()> {
        let mut events = Vec::with_capacity(EVENTS_A_TURN);
        loop {
            match epoll::wait(
                &self.epoll,
                spare_capacity(&mut events),
                self.timeout().as_ref(),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    COMMANDS => {
                        if !self.read_commands()? {
                            return Ok(());
                        }
                    }
                    key => self.ready(key as usize, event.flags),
                }
            }
            self.advance();
        }
    }

    /// How long the loop may wait when nothing happens.
    fn timeout(&self) -> Option<Timespec> {
        let nanoseconds = match &self.phase {
            Phase::Rest => return None,
            Phase::Ramp(_) => REPORT_EVERY_NS,
            Phase::Load(load) if load.begun < load.active.len() => 0,
            Phase::Load(_) => REPORT_EVERY_NS / 10,
        };
        Some(Timespec {
            tv_sec: 0,
            tv_nsec: nanoseconds as i64,
        })
    }

    /// Obeys what standard input says; false at its end.
    fn read_commands(&mut self) -> Result<bool> {
        let mut chunk = [0; 4096];
        let got = rustix::io::read(rustix::stdio::stdin(), &mut chunk)?;
        self.commands.extend_from_slice(&chunk[..got]);
        while let Some(end) = self.commands.iter().position(|&byte| byte == b'\n') {
            let command = serde_json::from_slice(&self.commands[..end])?;
            self.commands.drain(..=end);
            self.obey(command);
        }
        Ok(got > 0)
    }

    fn obey(&mut self, command: LoadCommand) {
        let now = now_ns();
        self.next_report_ns = now + REPORT_EVERY_NS;
        match command {
            LoadCommand::Ramp(mut groups) => {
                groups.retain(|group| group.connections > 0);
                groups.reverse();
                self.connections
                    .reserve_exact(groups.iter().map(|group| group.connections as usize).sum());
                self.phase = Phase::Ramp(Ramp {
                    groups,
                    under_way: 0,
                    established: 0,
                    failed: 0,
                    last_success_ns: now,
                });
            }
            LoadCommand::StopRamp => self.stop_ramp("given up"),
            LoadCommand::Load { active } => self.start_load(active),
            LoadCommand::Window { from_ns, until_ns } => {
                if let Phase::Load(load) = &mut self.phase {
                    (load.from_ns, load.until_ns) = (from_ns, until_ns);
                }
            }
            LoadCommand::Close => {
                self.connections.clear();
                self.phase = Phase::Rest;
                say(&LoadReport::Closed {
                    broken: self.broken,
                });
            }
        }
    }

    /// The active connections are spread evenly over those that are alive, and so over the servers.
    fn start_load(&mut self, active: u32) {
        let alive: Vec<u32> = (0u32..)
            .zip(&self.connections)
            .filter(|(_, connection)| connection.state == State::Idle)
            .map(|(index, _)| index)
            .collect();
        let active = spread(&alive, active as usize);
        for connection in &mut self.connections {
            connection.answered = 0;
            connection.cold = true;
        }
        if active.is_empty() {
            say(&LoadReport::Warm);
        }
        self.phase = Phase::Load(Box::new(Load {
            from_ns: u64::MAX,
            until_ns: u64::MAX,
            cold: active.len(),
            active,
            begun: 0,
            under_way: 0,
            failed: 0,
            requests: 0,
            latencies: Latencies::new(),
        }));
    }

    /// Handles what `epoll` reported of a connection.
    fn ready(&mut self, index: usize, flags: EventFlags) {
        // A connection that was closed in this turn may still be among its events.
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let id = self.options.first_id + index as u32;
        let key = index as u64;
        let outcome = match connection.state {
            State::Closed => return,
            State::Connecting => connection
                .connected(&self.epoll, key)
                .and_then(|()| {
                    connection.begin(
                        &self.epoll,
                        key,
                        id,
                        now_ns(),
                        &self.exchange,
                        &mut self.request,
                    )
                })
                .map(|()| Progress::Partial),
            State::Waiting | State::Idle => {
                let sent = if connection.has_unsent(self.request.len())
                    && flags.contains(EventFlags::OUT)
                {
                    connection.send_rest(&self.epoll, key, id, &self.exchange, &mut self.request)
                } else {
                    Ok(())
                };
                sent.and_then(|()| {
                    if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                        connection.receive(
                            id,
                            &self.exchange,
                            &mut self.answer,
                            &mut self.expected,
                            &mut self.wrong_bytes,
                        )
                    } else {
                        Ok(Progress::Partial)
                    }
                })
            }
        };
        match outcome {
            Ok(Progress::Partial) => {}
            Ok(Progress::Answered) => self.answered(index),
            Err(error) => self.fail(index, error),
        }
    }

    /// All of an answer has come: the connection is established, or its next request is begun.
    fn answered(&mut self, index: usize) {
        let now = now_ns();
        let connection = &mut self.connections[index];
        connection.state = State::Idle;
        match &mut self.phase {
            Phase::Rest => {}
            Phase::Ramp(ramp) => {
                ramp.under_way -= 1;
                ramp.established += 1;
                ramp.last_success_ns = now;
            }
            Phase::Load(load) => {
                if connection.begun_ns < load.until_ns && load.from_ns <= now {
                    load.latencies.add(now - connection.begun_ns, 1);
                }
                if (load.from_ns..load.until_ns).contains(&now) {
                    load.requests += 1;
                    connection.answered += 1;
                }
                load.under_way -= 1;
                load.warm(connection);
                if now < load.until_ns {
                    load.under_way += 1;
                    self.begin(index, now);
                }
            }
        }
    }

    /// Begins the next request of a connection.
    fn begin(&mut self, index: usize, now: u64) {
        let id = self.options.first_id + index as u32;
        if let Err(error) = self.connections[index].begin(
            &self.epoll,
            index as u64,
            id,
            now,
            &self.exchange,
            &mut self.request,
        ) {
            self.fail(index, error);
        }
    }

    /// Closes a connection that failed, and counts it in the phase that it failed in.
    fn fail(&mut self, index: usize, error: Errno) {
        self.count_error(describe(error), 1);
        let was = self.connections[index].state;
        self.connections[index].close();
        match (&mut self.phase, was) {
            (Phase::Ramp(ramp), State::Connecting | State::Waiting) => {
                ramp.under_way -= 1;
                ramp.failed += 1;
            }
            (Phase::Load(load), State::Waiting) => {
                load.under_way -= 1;
                load.failed += 1;
                load.warm(&mut self.connections[index]);
            }
            _ => self.broken += 1,
        }
    }

    fn count_error(&mut self, error: String, times: u64) {
        *self.errors.entry(error).or_default() += times;
    }

    /// Begins what may begin, reports, and ends the phase when it is over.
    fn advance(&mut self) {
        match self.phase {
            Phase::Rest => {}
            Phase::Ramp(_) => self.advance_ramp(),
            Phase::Load(_) => self.advance_load(),
        }
    }

    fn advance_ramp(&mut self) {
        let now = now_ns();
        let Phase::Ramp(ramp) = &mut self.phase else {
            return;
        };
        while ramp.under_way < self.options.in_flight
            && let Some(group) = ramp.groups.last_mut()
        {
            let (source, server) = (group.source, group.server);
            group.connections -= 1;
            if group.connections == 0 {
                ramp.groups.pop();
            }
            match Connection::open(&self.epoll, self.connections.len() as u64, source, server) {
                Ok(connection) => {
                    ramp.under_way += 1;
                    self.connections.push(connection);
                }
                Err((connection, error)) => {
                    ramp.failed += 1;
                    *self.errors.entry(describe(error)).or_default() += 1;
                    self.connections.push(connection);
                }
            }
        }
        let (established, last_success_ns) = (ramp.established, ramp.last_success_ns);
        if ramp.under_way == 0 && ramp.groups.is_empty() {
            self.end_ramp();
        } else if now.saturating_sub(last_success_ns) > STALLED_NS {
            self.stop_ramp("not established in time");
        } else if now >= self.next_report_ns {
            self.next_report_ns = now + REPORT_EVERY_NS;
            say(&LoadReport::Progress(established));
        }
    }

    /// Counts as failed what is not established, with `reason`.
    fn stop_ramp(&mut self, reason: &str) {
        let Phase::Ramp(ramp) = &mut self.phase else {
            return;
        };
        let never_begun: u64 = ramp
            .groups
            .iter()
            .map(|group| u64::from(group.connections))
            .sum();
        let missing = never_begun + ramp.under_way as u64;
        ramp.groups.clear();
        ramp.under_way = 0;
        ramp.failed += missing;
        for connection in &mut self.connections {
            if connection.state != State::Idle {
                connection.close();
            }
        }
        if missing > 0 {
            self.count_error(reason.into(), missing);
        }
        self.end_ramp();
    }

    fn end_ramp(&mut self) {
        if let Phase::Ramp(ramp) = std::mem::replace(&mut self.phase, Phase::Rest) {
            say(&LoadReport::Ramped(Ramped {
                established: ramp.established,
                failed: ramp.failed,
                wrong_bytes: std::mem::take(&mut self.wrong_bytes),
                errors: std::mem::take(&mut self.errors),
            }));
        }
    }

    fn advance_load(&mut self) {
        for _ in 0..BEGUN_A_TURN {
            let now = now_ns();
            let Phase::Load(load) = &mut self.phase else {
                return;
            };
            if load.begun == load.active.len() {
                break;
            }
            if now >= load.until_ns {
                load.begun = load.active.len();
                break;
            }
            let index = load.active[load.begun] as usize;
            load.begun += 1;
            // One that broke since it was chosen has been counted then.
            if self.connections[index].state == State::Idle {
                load.under_way += 1;
                self.begin(index, now);
            } else {
                load.warm(&mut self.connections[index]);
            }
        }
        let now = now_ns();
        let Phase::Load(load) = &self.phase else {
            return;
        };
        let drained = load.under_way == 0 || now >= load.until_ns.saturating_add(DRAIN_NS);
        if now >= load.until_ns && drained {
            self.end_load();
        } else if now >= self.next_report_ns {
            self.next_report_ns = now + REPORT_EVERY_NS;
            let warm = (load.active.len() - load.cold) as u64;
            let progress = if load.cold > 0 { warm } else { load.requests };
            say(&LoadReport::Progress(progress));
        }
    }

    fn end_load(&mut self) {
        let Phase::Load(load) = std::mem::replace(&mut self.phase, Phase::Rest) else {
            return;
        };
        if load.under_way > 0 {
            self.count_error("no answer".into(), load.under_way);
        }
        let answered = || {
            load.active
                .iter()
                .map(|&index| u64::from(self.connections[index as usize].answered))
        };
        say(&LoadReport::Loaded(Loaded {
            requests: load.requests,
            slowest: answered().min().unwrap_or(0),
            fastest: answered().max().unwrap_or(0),
            failed: load.failed + load.under_way,
            wrong_bytes: std::mem::take(&mut self.wrong_bytes),
            latencies: load.latencies.counts(),
            errors: std::mem::take(&mut self.errors),
        }));
    }
}

/// An error in words, with its number.
fn describe(error: Errno) -> String {
    match error {
        Errno::PIPE => "closed by the server".into(),
        error => error.to_string(),
    }
}

/// Picks `count` of `all`, evenly spaced, or all if there are fewer.
fn spread(all: &[u32], count: usize) -> Vec<u32> {
    let count = count.min(all.len());
    (0..count)
        .map(|pick| all[pick * all.len() / count])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_evenly_and_picks_none_twice() {
        let all: Vec<u32> = (100..200).collect();
        assert_eq!(spread(&all, 4), [100, 125, 150, 175]);
        assert_eq!(spread(&all, 100), all);
        assert_eq!(spread(&all, 1000), all);
        assert!(spread(&all, 0).is_empty());
        assert!(spread(&[], 5).is_empty());
        let some = spread(&all, 37);
        assert!(some.is_sorted_by(|a, b| a < b) && some.len() == 37);
    }
}
