//! The results as data: what the JSON file holds, and the table and the picture are made of.
//!
//! `schema` is raised when a field changes its meaning or goes away; new fields may come at any
//! time. A figure that was not measured is null.

use crate::machine::Machine;
use crate::proc_stats::Memory;
use crate::server::ServerKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All results of one run of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Results {
    pub(super) schema: u32,
    pub(super) benchmark: String,
    pub(super) machine: Machine,
    pub(super) parameters: Parameters,
    pub(super) rows: Vec<Row>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Parameters {
    pub(super) connections: u32,
    pub(super) message_bytes: u32,
    pub(super) seconds: u64,
    /// Active connections asked for; null stands for all.
    pub(super) active: Option<u32>,
    pub(super) roving_stack_bytes: u64,
    pub(super) thread_stack_bytes: u64,
}

/// One server at one number of connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) server: ServerKind,
    /// Connections asked for.
    pub(super) connections: u32,
    /// Connections that were established and proven by an echo.
    pub(super) established: u64,
    /// Connections that could not be established, or broke, or got no answer.
    pub(super) failed: u64,
    pub(super) wrong_bytes: u64,
    pub(super) server_processes: u64,
    pub(super) client_processes: u64,
    /// Worker threads that a server process was told to have; the thread server has none beside
    /// its connections'.
    pub(super) workers_per_process: u64,
    pub(super) stack_bytes: u64,
    pub(super) max_os_threads_per_process: u64,
    /// The memory that the server processes grew by from before the first to after the last
    /// connection, for each connection; sockets, which are the same for every server, not
    /// counted.
    pub(super) bytes_per_connection: Option<u64>,
    pub(super) memory_per_connection: Option<Memory>,
    /// Kernel slabs of the whole machine (sockets of both sides, threads, mappings), for each
    /// connection.
    pub(super) machine_slab_bytes_per_connection: Option<u64>,
    pub(super) connects_per_second: f64,
    /// CPU time of the server processes while nothing was asked of them, in percent of one core.
    pub(super) idle_cpu_percent: Option<f64>,
    /// Connections that were kept busy.
    pub(super) active: Option<u64>,
    /// Seconds of the measured window.
    pub(super) seconds: Option<u64>,
    /// Requests answered within the window.
    pub(super) requests: Option<u64>,
    pub(super) requests_per_second: Option<f64>,
    pub(super) latency_us: Option<Latency>,
    pub(super) cpu_us_per_request: Option<f64>,
    /// CPU time that the load clients used in the window, in percent of one core.
    pub(super) client_cpu_percent: Option<f64>,
    /// CPU time that programs other than the servers and clients used in the window, in percent of
    /// one core: what is more than a little disturbs the measurement.
    pub(super) other_cpu_percent: Option<f64>,
    pub(super) fairness: Option<Fairness>,
    pub(super) teardown_seconds: f64,
    /// The limit that kept the server from taking all connections.
    pub(super) stopped_by: Option<String>,
    /// The errors that were met, and how often.
    pub(super) errors: BTreeMap<String, u64>,
}

impl Row {
    /// Whether all was as it should be: nothing failed, and no wrong byte.
    pub(super) fn is_clean(&self) -> bool {
        self.failed == 0 && self.wrong_bytes == 0 && self.established == u64::from(self.connections)
    }
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// Requests that the slowest and the fastest of the active connections got answered within the
/// window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Fairness {
    pub(super) slowest: u64,
    pub(super) fastest: u64,
}

/// `value` with `digits` after the point.
pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
