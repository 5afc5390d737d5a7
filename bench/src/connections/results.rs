//! The results as data: what the JSON file holds, and the table and the picture are made of.
//!
//! `schema` is raised when a field changes its meaning or goes away; new fields may come at any
//! time. A figure that was not measured is null.

use crate::load::ExchangeKind;
use crate::machine::Machine;
use crate::proc_stats::Memory;
use crate::server::ServerKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All results of one run of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) schema: u32,
    pub(crate) benchmark: String,
    pub(crate) machine: Machine,
    pub(crate) parameters: Parameters,
    pub(crate) rows: Vec<Row>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parameters {
    pub(crate) connections: u32,
    /// Echoes where it is not said.
    #[serde(default)]
    pub(crate) exchange: ExchangeKind,
    pub(crate) message_bytes: u32,
    pub(crate) seconds: u64,
    /// Active connections asked for; null stands for all.
    pub(crate) active: Option<u32>,
    /// Threads of each server process that compute without end.
    #[serde(default)]
    pub(crate) computing: u32,
    pub(crate) roving_stack_bytes: u64,
    pub(crate) thread_stack_bytes: u64,
}

/// One server at one number of connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) server: ServerKind,
    /// Connections asked for.
    pub(crate) connections: u32,
    /// Connections that were established and proven by an echo.
    pub(crate) established: u64,
    /// Connections that could not be established, or broke, or got no answer.
    pub(crate) failed: u64,
    pub(crate) wrong_bytes: u64,
    pub(crate) server_processes: u64,
    pub(crate) client_processes: u64,
    /// Worker threads that a server process was told to have; the thread server has none beside
    /// its connections'.
    pub(crate) workers_per_process: u64,
    pub(crate) stack_bytes: u64,
    pub(crate) max_os_threads_per_process: u64,
    /// The memory that the server processes grew by from before the first to after the last
    /// connection, for each connection; sockets, which are the same for every server, not
    /// counted.
    pub(crate) bytes_per_connection: Option<u64>,
    pub(crate) memory_per_connection: Option<Memory>,
    /// Kernel slabs of the whole machine (sockets of both sides, threads, mappings), for each
    /// connection.
    pub(crate) machine_slab_bytes_per_connection: Option<u64>,
    pub(crate) connects_per_second: f64,
    /// CPU time of the server processes while nothing was asked of them, in percent of one core.
    pub(crate) idle_cpu_percent: Option<f64>,
    /// Connections that were kept busy.
    pub(crate) active: Option<u64>,
    /// Seconds of the measured window.
    pub(crate) seconds: Option<u64>,
    /// Requests answered within the window.
    pub(crate) requests: Option<u64>,
    pub(crate) requests_per_second: Option<f64>,
    pub(crate) latency_us: Option<Latency>,
    pub(crate) cpu_us_per_request: Option<f64>,
    /// CPU time that the load clients used in the window, in percent of one core.
    pub(crate) client_cpu_percent: Option<f64>,
    /// CPU time that programs other than the servers and clients used in the window, in percent of
    /// one core: what is more than a little disturbs the measurement.
    pub(crate) other_cpu_percent: Option<f64>,
    pub(crate) fairness: Option<Fairness>,
    pub(crate) teardown_seconds: f64,
    /// The limit that kept the server from taking all connections.
    pub(crate) stopped_by: Option<String>,
    /// The errors that were met, and how often.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Row {
    /// Whether all was as it should be: nothing failed, and no wrong byte.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed == 0 && self.wrong_bytes == 0 && self.established == u64::from(self.connections)
    }
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// Requests that the slowest and the fastest of the active connections got answered within the
/// window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fairness {
    pub(crate) slowest: u64,
    pub(crate) fastest: u64,
}

/// `value` with `digits` after the point.
pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
