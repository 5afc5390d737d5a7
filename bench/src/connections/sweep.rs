//! Which measurements are made, and in which order.
//!
//! The numbers of connections are the powers of ten from 100 up to what was asked for, and that. At
//! each number every server is measured, now one first and now the other, so that a machine that
//! grows slower or faster favours none. A server that was stopped by a limit is not tried with
//! more; in the end all servers are measured at a number somewhat below what it reached.

use super::interrupt::Interrupt;
use super::plan::Bounds;
use super::preflight::Request;
use super::progress::{grouped, note};
use super::results::Row;
use super::run::measure;
use super::task::{Foreign, Task};
use crate::load::ExchangeKind;
use crate::programs;
use crate::server::ServerKind;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// How often a common number is looked for, each time below the one before.
const COMMON_ATTEMPTS: u32 = 3;

/// What is measured beside this program, as far as it is.
#[derive(Debug)]
pub(super) struct Programs {
    /// What adopts the servers of this program.
    preload: Option<PathBuf>,
    /// What serves HTTP, with threads of each kind.
    http: Option<PathBuf>,
}

impl Programs {
    /// Builds them.
    pub(super) fn build(request: &Request<'_>) -> Result<Programs> {
        let is_adopted = request.servers.contains(&ServerKind::Adopted);
        let (preload, http) = match request.exchange {
            ExchangeKind::Echo => (is_adopted.then_some("roving-preload"), None),
            ExchangeKind::Http => (None, Some("roving-bench-http")),
        };
        let build = |package: Option<&str>| {
            package
                .inspect(|package| note(format_args!("Building {package}")))
                .map(|package| {
                    programs::build(package).with_context(|| {
                        format!("without {package} there is no such server; --servers names others")
                    })
                })
                .transpose()
        };
        Ok(Programs {
            preload: build(preload)?,
            http: build(http)?,
        })
    }
}

/// Makes all measurements.
pub(super) fn run(
    request: &Request<'_>,
    programs: &Programs,
    bounds: Bounds,
    quick: bool,
    interrupt: &Interrupt,
) -> Result<Vec<Row>> {
    let measure = |kind: ServerKind, connections: u32, full: bool| {
        let arguments = ["serve", kind.name()];
        let task = Task {
            kind,
            foreign: programs.http.as_deref().map(|program| Foreign {
                name: kind.name(),
                program,
                arguments: &arguments,
                environment: &[],
            }),
            preload: programs
                .preload
                .as_deref()
                .filter(|_| kind == ServerKind::Adopted),
            apart: false,
            connections,
            active: request.active.unwrap_or(connections).min(connections),
            exchange: request.exchange,
            message: request.message,
            seconds: if full {
                request.seconds
            } else {
                (request.seconds / 2).max(1)
            },
            idle_seconds: if quick || request.seconds < 3 { 1 } else { 3 },
            workers: request.workers,
            computing: request.computing,
            stack_size: match kind {
                ServerKind::Roving => request.stack_size,
                ServerKind::Adopted | ServerKind::Threads => request.thread_stack_size,
            },
            bounds,
        };
        measure(task, interrupt)
    };

    let mut rows: Vec<Row> = Vec::new();
    let mut stopped: Vec<ServerKind> = Vec::new();
    let steps = steps(request.connections);
    for (turn, &connections) in steps.iter().enumerate() {
        for kind in in_turn(request.servers, turn) {
            if stopped.contains(&kind) {
                note(format_args!(
                    "{kind:<8}{:>9} not tried: a limit stopped it before",
                    grouped(connections.into())
                ));
                continue;
            }
            let row = measure(kind, connections, connections == request.connections)?;
            if row.stopped_by.is_some() {
                stopped.push(kind);
            }
            rows.push(row);
        }
    }

    let mut reached = rows
        .iter()
        .filter(|row| row.stopped_by.is_some())
        .map(|row| row.established)
        .min();
    for _ in 0..COMMON_ATTEMPTS {
        let Some(common) = reached.map(below) else {
            break;
        };
        if common == 0 || steps.contains(&common) {
            break;
        }
        note(format_args!(
            "All servers at {} connections, somewhat below where a limit stopped one",
            grouped(common.into())
        ));
        // Those that were stopped first: they decide whether this number will do.
        let (first, last): (Vec<_>, Vec<_>) = request
            .servers
            .iter()
            .partition(|kind| stopped.contains(kind));
        reached = None;
        let mut held = Vec::new();
        for &kind in first.into_iter().chain(last) {
            let row = measure(kind, common, true)?;
            let stopped_again = row.stopped_by.is_some();
            reached = stopped_again.then_some(row.established);
            held.push(row);
            if stopped_again {
                break;
            }
        }
        rows.append(&mut held);
    }
    rows.sort_by_key(|row| (row.connections, row.server));
    Ok(rows)
}

/// The numbers of connections up to `most`.
fn steps(most: u32) -> Vec<u32> {
    let mut steps: Vec<u32> = std::iter::successors(Some(100u32), |step| step.checked_mul(10))
        .take_while(|&step| step < most)
        .collect();
    steps.push(most);
    steps
}

/// The servers, in an order that is turned round from one turn to the next.
fn in_turn(servers: &[ServerKind], turn: usize) -> Vec<ServerKind> {
    let mut servers = servers.to_vec();
    if turn % 2 == 1 {
        servers.reverse();
    }
    servers
}

/// A round number that is at least 3 % below what was reached: the limit is shared with the rest of
/// the system, which moves.
fn below(reached: u64) -> u32 {
    let safe = reached - reached.div_ceil(33);
    let unit = 10u64.pow(safe.max(1).ilog10().saturating_sub(1));
    (safe / unit * unit) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_powers_of_ten_up_to_the_number() {
        assert_eq!(steps(100_000), [100, 1_000, 10_000, 100_000]);
        assert_eq!(steps(2_500), [100, 1_000, 2_500]);
        assert_eq!(steps(100), [100]);
        assert_eq!(steps(1), [1]);
        assert_eq!(steps(u32::MAX).last(), Some(&u32::MAX));
    }

    #[test]
    fn no_server_is_always_first() {
        let servers = [ServerKind::Roving, ServerKind::Threads];
        assert_eq!(in_turn(&servers, 0), servers);
        assert_eq!(
            in_turn(&servers, 1),
            [ServerKind::Threads, ServerKind::Roving]
        );
    }

    #[test]
    fn the_common_number_is_round_and_leaves_head_room() {
        assert_eq!(below(32_467), 31_000);
        assert_eq!(below(100_000), 96_000);
        assert_eq!(below(250), 240);
        assert_eq!(below(7), 6);
        assert_eq!(below(1), 0);
        assert_eq!(below(0), 0);
        for reached in 1..5_000 {
            assert!(u64::from(below(reached)) < reached);
        }
    }
}
