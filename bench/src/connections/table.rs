//! The results for people: where and how, two tables, and in words what they come to.

use super::plan::{Bounds, Plan};
use super::preflight::Request;
use super::progress::grouped;
use super::results::{Results, Row};
use crate::machine::Machine;
use crate::server::ServerKind;
use crate::table;
use comfy_table::{CellAlignment, Table};
use std::fmt::Write;

/// CPU time of other programs, in percent of a core, from which on a measurement is called
/// disturbed.
const DISTURBED_PERCENT: f64 = 10.0;

/// On what and how will be measured.
pub(super) fn introduction(machine: &Machine, request: &Request<'_>, bounds: Bounds) -> String {
    let mut out = format!(
        "Roving {} on {} ({} cores, {} MiB), {}\n\
         {}\n\
         Up to {} connections; messages of {} bytes; stacks of {} bytes for green threads, {} for OS threads\n",
        machine.roving,
        machine.cpu,
        machine.cores,
        grouped(machine.memory_bytes >> 20),
        machine.rustc,
        machine.ground(),
        grouped(request.connections.into()),
        request.message,
        grouped(request.stack_size),
        grouped(request.thread_stack_size)
    );
    for &kind in request.servers {
        let plan = Plan::new(kind, request.connections, request.workers, bounds);
        let workers = match kind.is_green() {
            true => format!(", workers in each: {}", plan.workers),
            false => String::new(),
        };
        let computing = match request.computing {
            0 => String::new(),
            count => format!(", threads that compute in each: {count}"),
        };
        let because = if plan.server_processes > 1 || plan.clients.len() > 1 {
            let mappings = match (kind, bounds.mappings) {
                (ServerKind::Threads, Some(limit)) => format!(" and {} mappings", grouped(limit)),
                _ => String::new(),
            };
            format!(
                " (a process may have {} descriptors{mappings})",
                grouped(bounds.descriptors)
            )
        } else {
            String::new()
        };
        let _ = writeln!(
            out,
            "{kind} at {} connections: server processes: {}{workers}{computing}, load processes: {}{because}",
            grouped(request.connections.into()),
            plan.server_processes,
            plan.clients.len()
        );
    }
    out.push('\n');
    out
}

/// All of it, ready to print.
pub(super) fn render(results: &Results) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "\nHolding the connections\n{}", holding(&results.rows));
    let _ = writeln!(out, "\nServing them\n{}\n", serving(&results.rows));
    for line in conclusions(&results.rows) {
        let _ = writeln!(out, "{line}");
    }
    out
}

fn holding(rows: &[Row]) -> Table {
    let mut table = table(&[
        "connections",
        "server",
        "established",
        "failed",
        "processes",
        "workers each",
        "OS threads each",
        "bytes/connection",
        "connects/s",
        "idle CPU",
    ]);
    for row in rows {
        table.add_row([
            grouped(row.connections.into()),
            row.server.to_string(),
            grouped(row.established),
            grouped(row.failed),
            row.server_processes.to_string(),
            match row.server.is_green() {
                true => row.workers_per_process.to_string(),
                false => "-".into(),
            },
            grouped(row.max_os_threads_per_process),
            or_dash(row.bytes_per_connection, grouped),
            grouped(row.connects_per_second as u64),
            or_dash(row.idle_cpu_percent, |percent| format!("{percent:.2} %")),
        ]);
    }
    align(&mut table);
    table
}

fn serving(rows: &[Row]) -> Table {
    let mut table = table(&[
        "connections",
        "server",
        "active",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "CPU us/request",
        "requests slowest/fastest",
        "wrong bytes",
    ]);
    for row in rows.iter().filter(|row| row.requests.is_some()) {
        let milliseconds = |us: Option<f64>| or_dash(us, |us| format!("{:.2}", us / 1_000.0));
        table.add_row([
            grouped(row.connections.into()),
            row.server.to_string(),
            or_dash(row.active, grouped),
            or_dash(row.requests_per_second, |rate| grouped(rate as u64)),
            milliseconds(row.latency_us.map(|latency| latency.p50)),
            milliseconds(row.latency_us.map(|latency| latency.p99)),
            milliseconds(row.latency_us.map(|latency| latency.p999)),
            milliseconds(row.latency_us.map(|latency| latency.max)),
            or_dash(row.cpu_us_per_request, |us| format!("{us:.1}")),
            or_dash(row.fairness, |fairness| {
                format!(
                    "{} / {}",
                    grouped(fairness.slowest),
                    grouped(fairness.fastest)
                )
            }),
            grouped(row.wrong_bytes),
        ]);
    }
    align(&mut table);
    table
}

fn table(header: &[&str]) -> Table {
    let mut table = table::ruled();
    table.set_header(header.iter().copied());
    table
}

/// Numbers to the right; the second column holds names.
fn align(table: &mut Table) {
    for (place, column) in table.column_iter_mut().enumerate() {
        if place != 1 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".into(), show)
}

/// What the rows come to: which limit stopped whom, and how the servers compare where both were
/// measured.
pub(super) fn conclusions(rows: &[Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows {
        if let Some(limit) = &row.stopped_by {
            let asked = grouped(row.connections.into());
            lines.push(format!(
                "{}: stopped at {} of {asked} connections by {limit}",
                row.server,
                grouped(row.established)
            ));
        }
    }
    let measured = |connections: u32, kind: ServerKind| {
        rows.iter().find(|row| {
            row.connections == connections && row.server == kind && row.requests.is_some()
        })
    };
    let pairs = rows.iter().filter_map(|row| {
        let against = match row.server {
            ServerKind::Roving => ServerKind::Threads,
            ServerKind::Adopted => ServerKind::Roving,
            ServerKind::Threads => return None,
        };
        measured(row.connections, row.server).zip(measured(row.connections, against))
    });
    for (row, other) in pairs {
        let ratio = |ours: Option<f64>, others: Option<f64>| match (ours, others) {
            (Some(ours), Some(others)) if others > 0.0 => format!("{:.2}", ours / others),
            _ => "-".into(),
        };
        lines.push(format!(
            "{:>9} connections, {} against {}: {} x the memory, {} x the requests a second, {} x the p99, \
             {} x the CPU a request",
            grouped(row.connections.into()),
            row.server,
            other.server,
            ratio(
                row.bytes_per_connection.map(|bytes| bytes as f64),
                other.bytes_per_connection.map(|bytes| bytes as f64)
            ),
            ratio(row.requests_per_second, other.requests_per_second),
            ratio(row.latency_us.map(|l| l.p99), other.latency_us.map(|l| l.p99)),
            ratio(row.cpu_us_per_request, other.cpu_us_per_request),
        ));
    }
    for row in rows {
        if let Some(percent) = row.other_cpu_percent
            && percent >= DISTURBED_PERCENT
        {
            let connections = grouped(row.connections.into());
            lines.push(format!(
                "{} at {connections}: disturbed, other programs used {percent:.0} % of a core during the load",
                row.server
            ));
        }
    }
    for row in rows {
        for (error, times) in &row.errors {
            let connections = grouped(row.connections.into());
            lines.push(format!(
                "{} at {connections}: {error} ({} times)",
                row.server,
                grouped(*times)
            ));
        }
    }
    lines
}
