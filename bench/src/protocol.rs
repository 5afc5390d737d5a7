//! What the processes of a benchmark say to each other: one JSON value a line, commands on a
//! child's standard input, reports on its standard output.

use crate::limits::Readings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

/// What a server is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ServerCommand {
    /// Answer with [`ServerReport::Count`].
    Count,
}

/// What a server reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ServerReport {
    /// It accepts connections at this address.
    Listening(SocketAddr),
    /// It can take no more connections, and accepts none from here on.
    Refused(Box<Refusal>),
    /// How many connections are being served, and how many accepts failed for the peer's sake.
    Count { open: u64, failed_accepts: u64 },
}

/// Why a server could not take one more connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// What it could not do.
    pub(crate) action: String,
    /// The error number, where the system gave one.
    pub(crate) errno: Option<i32>,
    /// The error in words.
    pub(crate) error: String,
    /// What the system said of the limits at that moment.
    pub(crate) readings: Readings,
}

/// What a load client is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum LoadCommand {
    /// Establish these connections, each proven by one echo.
    Ramp(Vec<Group>),
    /// Give up what the ramp has not established yet.
    StopRamp,
    /// Keep this many connections busy with one request each, until the end of the window.
    Load { active: u32 },
    /// The window in which to measure, in nanoseconds of the monotonic clock.
    Window { from_ns: u64, until_ns: u64 },
    /// Close all connections.
    Close,
}

/// Connections from one source address to one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) source: Ipv4Addr,
    pub(crate) server: SocketAddr,
    pub(crate) connections: u32,
}

/// What a load client reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum LoadReport {
    /// How far the phase under way has come: connections established, connections that had their first answer, or requests
    /// answered.
    Progress(u64),
    /// The ramp has ended.
    Ramped(Ramped),
    /// Every active connection has had an answer: what is under way from now on is the steady load.
    Warm,
    /// The load has ended.
    Loaded(Loaded),
    /// All connections are closed.
    Closed {
        /// Connections that broke while they were idle.
        broken: u64,
    },
}

/// How a ramp went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ramped {
    pub(crate) established: u64,
    pub(crate) failed: u64,
    pub(crate) wrong_bytes: u64,
    /// How often each error was met.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// How the load went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// Requests answered within the window.
    pub(crate) requests: u64,
    /// Requests of the fewest and of the most that one connection got answered within the window.
    pub(crate) slowest: u64,
    pub(crate) fastest: u64,
    /// Active connections that broke, or whose last request was never answered.
    pub(crate) failed: u64,
    pub(crate) wrong_bytes: u64,
    /// Latencies of the requests that were under way within the window: nanoseconds, and how
    /// often.
    pub(crate) latencies: Vec<(u64, u64)>,
    pub(crate) errors: BTreeMap<String, u64>,
}

/// Says `report` to the parent process. When the parent is gone, standard input ends too, which
/// ends this process.
pub(crate) fn say(report: &impl Serialize) {
    let mut line = serde_json::to_vec(report).expect("reports are plain data");
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
}
