//! One server at one number of connections: starts the [processes](super::processes), takes them through
//! the [phases](super::phases), and makes a row of what was measured.

use super::interrupt::Interrupt;
use super::phases::{add_errors, per_second};
use super::processes::Run;
use super::results::{Row, rounded};
use super::task::Task;
use crate::system;
use anyhow::Result;

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
