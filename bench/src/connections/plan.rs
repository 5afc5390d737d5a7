//! How a number of connections is laid out: over how many server and client processes, and from
//! which addresses.
//!
//! A process holds as many connections as its descriptors and mappings allow; the fewest processes
//! that suffice are used. Connections are numbered; every server process has a contiguous range of
//! them, and so has every client process, and where two ranges meet is one group. Within a server's
//! range the source address changes every so often, since one source address has only as many ports
//! as the system hands out.

use crate::limits::{SPARE_DESCRIPTORS, SPARE_MAPPINGS};
use crate::server::ServerKind;
use std::net::Ipv4Addr;

/// Connections that are being established at one server at a time: below the 128 that a listener of
/// std queues.
const IN_FLIGHT_AT_A_SERVER: u64 = 96;

/// What bounds a process on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Descriptors that a process may open.
    pub(crate) descriptors: u64,
    /// Memory mappings that a process may have, if there is a limit.
    pub(crate) mappings: Option<u64>,
    /// Ports that the system gives to outgoing connections of one address to one destination.
    pub(crate) ports: u64,
    /// Cores of the machine.
    pub(crate) cores: u64,
}

impl Bounds {
    /// Connections that a client process holds.
    pub(super) fn per_client(self) -> u64 {
        self.descriptors.saturating_sub(SPARE_DESCRIPTORS)
    }

    /// Connections that a server process holds.
    pub(crate) fn per_server(self, kind: ServerKind) -> u64 {
        let by_mappings = self
            .mappings
            .and_then(|limit| {
                limit
                    .saturating_sub(SPARE_MAPPINGS)
                    .checked_div(kind.mappings_per_connection())
            })
            .unwrap_or(u64::MAX);
        self.per_client().min(by_mappings)
    }
}

/// Connections of one client process from one source address to one server process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) server: usize,
    pub(super) source: Ipv4Addr,
    pub(super) connections: u32,
}

/// The layout of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) server_processes: u64,
    /// Worker threads of each server process.
    pub(super) workers: u64,
    /// What each client process connects.
    pub(super) clients: Vec<Vec<Part>>,
    /// Connections that a client process establishes at a time.
    pub(super) in_flight: u64,
}

impl Plan {
    /// Lays out `connections` to a server of `kind`, each of whose processes has `workers`, or by
    /// default its share of the cores.
    pub(super) fn new(
        kind: ServerKind,
        connections: u32,
        workers: Option<u64>,
        bounds: Bounds,
    ) -> Plan {
        let total = u64::from(connections);
        let server_processes = total.div_ceil(bounds.per_server(kind)).max(1);
        let client_processes = total.div_ceil(bounds.per_client()).max(1);
        // A quarter of the ports: the more of them are taken, the longer the system looks for a
        // free one.
        let per_source = (bounds.ports / 4).max(1);

        let server_starts = shares(total, server_processes);
        let mut clients = Vec::new();
        for range in shares(total, client_processes).windows(2) {
            let mut parts = Vec::new();
            let mut next = range[0];
            while next < range[1] {
                let server = server_starts.partition_point(|&start| start <= next) - 1;
                let source = (next - server_starts[server]) / per_source;
                let source_end = server_starts[server] + (source + 1) * per_source;
                let end = range[1].min(server_starts[server + 1]).min(source_end);
                let connections = (end - next) as u32;
                parts.push(Part {
                    server,
                    source: source_address(source),
                    connections,
                });
                next = end;
            }
            clients.push(parts);
        }
        let meeting = (0..server_processes as usize)
            .map(|server| {
                clients
                    .iter()
                    .filter(|parts| parts.iter().any(|part| part.server == server))
                    .count()
            })
            .max()
            .unwrap_or(1)
            .max(1) as u64;
        Plan {
            server_processes,
            workers: workers.unwrap_or((bounds.cores / server_processes).max(1)),
            clients,
            in_flight: (IN_FLIGHT_AT_A_SERVER / meeting).max(1),
        }
    }

    /// Connections of each client process.
    pub(super) fn client_totals(&self) -> impl Iterator<Item = u32> {
        self.clients
            .iter()
            .map(|parts| parts.iter().map(|part| part.connections).sum())
    }
}

/// Divides `active` over the clients in proportion to how many connections each has.
pub(super) fn active_shares(active: u32, client_totals: &[u32]) -> Vec<u32> {
    let total: u64 = client_totals
        .iter()
        .map(|&connections| u64::from(connections))
        .sum();
    let mut before = 0;
    let mut given = 0;
    client_totals
        .iter()
        .map(|&connections| {
            before += u64::from(connections);
            let share = (u64::from(active) * before).checked_div(total).unwrap_or(0) - given;
            given += share;
            share as u32
        })
        .collect()
}

/// Where each of `parts` nearly equal ranges of `0..total` starts, and the end.
fn shares(total: u64, parts: u64) -> Vec<u64> {
    (0..=parts).map(|part| total * part / parts).collect()
}

/// The loopback addresses after 127.0.0.1, which is the servers'.
fn source_address(index: u64) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + 1 + index as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const HERE: Bounds = Bounds {
        descriptors: 20_000,
        mappings: Some(65_530),
        ports: 28_232,
        cores: 2,
    };

    fn check(plan: &Plan, kind: ServerKind, connections: u32, bounds: Bounds) {
        let mut per_server: HashMap<usize, u64> = HashMap::new();
        let mut per_source: HashMap<(usize, Ipv4Addr), u64> = HashMap::new();
        for parts in &plan.clients {
            let held: u64 = parts.iter().map(|part| u64::from(part.connections)).sum();
            assert!(held <= bounds.per_client());
            for part in parts {
                assert!(part.connections > 0);
                assert!(part.source.is_loopback());
                *per_server.entry(part.server).or_default() += u64::from(part.connections);
                *per_source.entry((part.server, part.source)).or_default() +=
                    u64::from(part.connections);
            }
        }
        assert_eq!(per_server.values().sum::<u64>(), u64::from(connections));
        assert!(
            per_server
                .keys()
                .all(|&server| (server as u64) < plan.server_processes)
        );
        assert!(
            per_server
                .values()
                .all(|&held| held <= bounds.per_server(kind))
        );
        assert!(per_source.values().all(|&held| held <= bounds.ports));
        assert_eq!(
            plan.client_totals().map(u64::from).sum::<u64>(),
            u64::from(connections)
        );
        assert!(plan.workers >= 1 && plan.in_flight >= 1);
    }

    #[test]
    fn every_connection_has_one_place_within_all_bounds() {
        let tight = Bounds {
            descriptors: 256,
            mappings: Some(2_000),
            ports: 100,
            cores: 64,
        };
        let free = Bounds {
            descriptors: 1 << 20,
            mappings: None,
            ports: 64_000,
            cores: 8,
        };
        for bounds in [HERE, tight, free] {
            for kind in [ServerKind::Roving, ServerKind::Threads] {
                for connections in [1, 2, 99, 1_000, 19_936, 19_937, 33_333, 100_000] {
                    check(
                        &Plan::new(kind, connections, None, bounds),
                        kind,
                        connections,
                        bounds,
                    );
                }
            }
        }
    }

    #[test]
    fn one_process_where_the_limits_allow() {
        let free = Bounds {
            descriptors: 1 << 20,
            mappings: None,
            ports: 28_232,
            cores: 8,
        };
        let plan = Plan::new(ServerKind::Roving, 100_000, None, free);
        assert_eq!(
            (plan.server_processes, plan.clients.len(), plan.workers),
            (1, 1, 8)
        );
    }

    #[test]
    fn as_many_processes_as_the_descriptors_ask_for() {
        let plan = Plan::new(ServerKind::Roving, 100_000, None, HERE);
        assert_eq!(
            (plan.server_processes, plan.clients.len(), plan.workers),
            (6, 6, 1)
        );
        let plan = Plan::new(ServerKind::Roving, 10_000, None, HERE);
        assert_eq!(
            (plan.server_processes, plan.clients.len(), plan.workers),
            (1, 1, 2)
        );
        assert_eq!(
            Plan::new(ServerKind::Roving, 10_000, Some(7), HERE).workers,
            7
        );
    }

    #[test]
    fn mappings_bound_the_thread_server_alone() {
        assert_eq!(HERE.per_server(ServerKind::Threads), (65_530 - 512) / 4);
        assert_eq!(HERE.per_server(ServerKind::Roving), HERE.per_client());
    }

    #[test]
    fn active_connections_are_shared_out_whole() {
        assert_eq!(active_shares(10, &[50, 50]), [5, 5]);
        assert_eq!(active_shares(100, &[50, 50]), [50, 50]);
        assert_eq!(active_shares(1, &[10, 10, 10]), [0, 0, 1]);
        assert_eq!(active_shares(7, &[1, 2, 97]).iter().sum::<u32>(), 7);
        assert_eq!(active_shares(0, &[]), Vec::<u32>::new());
    }
}
