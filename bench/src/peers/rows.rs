//! What is measured.

use super::programs::{Class, Program};

/// Some work, and the figures that are taken of it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) what: What,
    pub(super) figures: &'static [Figure],
    /// Measured in the first round only: what takes long, and what shows a shape and not a place.
    pub(super) once: bool,
    /// What is measured where the whole cannot be done.
    pub(super) less: Option<Less>,
    only_for: &'static [&'static str],
}

/// A figure by its name in what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figure {
    pub(super) key: &'static str,
    pub(super) unit: &'static str,
    pub(super) more_is_better: bool,
}

/// Less of the same work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Less {
    pub(super) work: &'static str,
    pub(super) count: usize,
    /// How much it is, as in "of ... only".
    pub(super) said: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// `PROGRAM run WORK COUNT WORKERS`.
    Work {
        work: &'static str,
        count: usize,
        /// The count of OS threads.
        os_count: usize,
        workers: usize,
    },
    /// So many connections to an echo server, of which some are kept busy with 64 bytes at a time.
    Echo {
        connections: u32,
        active: u32,
        seconds: u64,
    },
    /// What the [`wire`](mod@super::wire) client does, to a server of `protocol`.
    Wire {
        mode: &'static str,
        protocol: &'static str,
        connections: usize,
        seconds: u64,
    },
}

const fn less(key: &'static str, unit: &'static str) -> Figure {
    Figure {
        key,
        unit,
        more_is_better: false,
    }
}

const fn more(key: &'static str, unit: &'static str) -> Figure {
    Figure {
        key,
        unit,
        more_is_better: true,
    }
}

const TIME: &[Figure] = &[less("ns", "ns")];
const LATENCY: &[Figure] = &[less("p50_us", "p50, us"), less("p99_us", "p99, us")];
const TIMERS: &[Figure] = &[
    less("ns", "ns of CPU"),
    less("late_p50_us", "late p50, us"),
    less("late_p99_us", "late p99, us"),
];
const BYTES: &[Figure] = &[less("bytes", "bytes")];
const ECHO: &[Figure] = &[
    more("per_second", "requests/s"),
    less("cpu_us", "CPU us/request"),
    less("p50_us", "p50, us"),
    less("p99_us", "p99, us"),
    more("slowest_share", "slowest/mean"),
    less("bytes", "bytes/connection"),
    less("os_threads", "OS threads"),
    less("idle_cpu_percent", "idle CPU, %"),
    more("connects_per_second", "connects/s"),
];
const WIRE: &[Figure] = &[
    more("per_second", "requests/s"),
    less("cpu_us", "CPU us/request"),
    less("p50_us", "p50, us"),
    less("p99_us", "p99, us"),
];

impl Row {
    fn work(
        name: &str,
        figures: &'static [Figure],
        work: &'static str,
        counts: [usize; 2],
        workers: usize,
    ) -> Self {
        let [count, os_count] = counts;
        Self {
            name: name.to_owned(),
            what: What::Work {
                work,
                count,
                os_count,
                workers,
            },
            figures,
            once: false,
            less: None,
            only_for: &[],
        }
    }

    fn echo(name: &str, connections: u32, active: u32, seconds: u64) -> Self {
        Self {
            name: name.to_owned(),
            what: What::Echo {
                connections,
                active,
                seconds,
            },
            figures: ECHO,
            once: connections > 10_000,
            less: None,
            only_for: &[],
        }
    }

    fn wire(name: &str, mode: &'static str, protocol: &'static str, connections: usize) -> Self {
        Self {
            name: name.to_owned(),
            what: What::Wire {
                mode,
                protocol,
                connections,
                seconds: 1,
            },
            figures: WIRE,
            once: false,
            less: None,
            only_for: &[],
        }
    }

    /// So many connections to frameworks' servers, which send a request each, and the next when it is answered.
    fn framework(connections: usize, seconds: u64) -> Self {
        let grouped = crate::connections::progress::grouped(connections as u64);
        let name = format!("framework (axum), {grouped} connections");
        let row = Self::wire(&name, "http", "framework", connections);
        Self {
            what: What::Wire {
                mode: "http",
                protocol: "framework",
                connections,
                seconds,
            },
            ..row.only_for(&["roving", "tokio", "tokio-current-thread", "go"])
        }
    }

    /// Where `count` cannot be done.
    fn or(mut self, work: &'static str, count: usize, said: &'static str) -> Self {
        self.less = Some(Less { work, count, said });
        self
    }

    fn once(mut self) -> Self {
        self.once = true;
        self
    }

    fn only_for(mut self, programs: &'static [&'static str]) -> Self {
        self.only_for = programs;
        self
    }

    /// Whether `program` takes part.
    pub(super) fn is_for(&self, program: &Program) -> bool {
        match self.what {
            // What they cost is the system's; the mode hardly matters.
            What::Echo { .. } | What::Wire { .. } if program.name == "roving-shared" => false,
            // It has one worker.
            What::Work { workers, .. } if workers > 1 && program.name == "tokio-current-thread" => {
                false
            }
            // One OS thread, whatever it is told.
            What::Work { workers, .. } if workers > 1 && program.class() == Class::Floor => false,
            _ => self.only_for.is_empty() || self.only_for.contains(&program.name),
        }
    }
}

/// All rows, in the order of the table.
pub(super) fn rows(quick: bool) -> Vec<Row> {
    let scale = if quick { 10 } else { 1 };
    let few = |count: usize| count / scale;
    let seconds = 1;
    let mut rows = vec![
        Row::work(
            "spawn and join, 1 worker",
            TIME,
            "spawn_join",
            [few(200_000), 2_000],
            1,
        ),
        Row::work(
            "spawn and join, 2 workers",
            TIME,
            "spawn_join",
            [few(200_000), 2_000],
            2,
        ),
        Row::work(
            "spawn 1,000, then join all, 1 worker",
            TIME,
            "spawn_1000",
            [few(200_000), 2_000],
            1,
        ),
        Row::work(
            "spawn 1,000, then join all, 2 workers",
            TIME,
            "spawn_1000",
            [few(200_000), 2_000],
            2,
        ),
        Row::work(
            "yield, 2 threads",
            TIME,
            "yield_2",
            [few(2_000_000), few(200_000)],
            1,
        ),
        Row::work(
            "yield, 1,000 threads",
            TIME,
            "yield_1000",
            [few(2_000_000), few(200_000)],
            1,
        ),
        Row::work(
            "yield, 100,000 threads",
            TIME,
            "yield_100000",
            [few(2_000_000), few(2_000_000)],
            1,
        )
        .or("yield_10000", few(200_000), "10,000"),
        Row::work(
            "ping-pong, 1 worker",
            TIME,
            "ping_pong",
            [few(300_000), 10_000],
            1,
        ),
        Row::work(
            "ping-pong, 2 workers",
            TIME,
            "ping_pong",
            [few(300_000), 10_000],
            2,
        ),
        Row::work(
            "Unix-socket ping-pong, 1 worker",
            TIME,
            "unix_ping_pong",
            [few(200_000), 20_000],
            1,
        ),
        Row::work(
            "Unix-socket ping-pong, 2 workers",
            TIME,
            "unix_ping_pong",
            [few(200_000), 20_000],
            2,
        ),
        Row::work(
            "mpsc bounded, 4:1, 1 worker",
            TIME,
            "mpsc",
            [few(1_000_000), few(1_000_000)],
            1,
        ),
        Row::work(
            "mpsc bounded, 4:1, 2 workers",
            TIME,
            "mpsc",
            [few(1_000_000), few(1_000_000)],
            2,
        ),
        Row::work(
            "mutex, 8 contenders, 2 workers",
            TIME,
            "mutex",
            [few(2_000_000), few(2_000_000)],
            2,
        ),
        Row::work(
            "mutex held over a yield, 8 contenders, 2 workers",
            TIME,
            "mutex_held",
            [few(500_000), few(100_000)],
            2,
        ),
        Row::work(
            "skynet, 100,000 leaves, 1 worker",
            TIME,
            "skynet",
            [100_000 / scale, 100_000],
            1,
        )
        .or("skynet", 10_000, "10,000 leaves"),
        Row::work(
            "skynet, 1,000,000 leaves, 2 workers",
            TIME,
            "skynet",
            [1_000_000 / scale, 1_000_000],
            2,
        )
        .or("skynet", 10_000, "10,000 leaves")
        .once(),
        Row::work(
            "tree of 16,384 leaves of 3 us, 1 worker",
            TIME,
            "tree",
            [16_384, 16_384],
            1,
        )
        .or("tree", 1_024, "1,024 leaves"),
        Row::work(
            "tree of 16,384 leaves of 3 us, 2 workers",
            TIME,
            "tree",
            [16_384, 16_384],
            2,
        )
        .or("tree", 1_024, "1,024 leaves"),
        Row::work(
            "tree of 1,024 leaves of 3 us, 2 workers",
            TIME,
            "tree",
            [1_024, 1_024],
            2,
        ),
        Row::work(
            "unbalanced compute, 2 workers",
            TIME,
            "unbalanced",
            [16_384 / scale, 16_384 / scale],
            2,
        )
        .or("unbalanced", 1_024, "1,024"),
        Row::work(
            "wake-up from idle: unpark",
            LATENCY,
            "wake_unpark",
            [few(300), few(300)],
            2,
        ),
        Row::work(
            "wake-up from idle: timer",
            LATENCY,
            "wake_timer",
            [few(300), few(300)],
            2,
        ),
        Row::work(
            "wake-up from idle: socket",
            LATENCY,
            "wake_socket",
            [few(300), few(300)],
            2,
        ),
        Row::work(
            "UDP echo, 64 clients, 2 workers",
            TIME,
            "udp_echo",
            [few(300_000), few(300_000)],
            2,
        ),
        Row::work("10,000 timers", TIMERS, "timers", [10_000, 10_000], 2),
        Row::work(
            "slow neighbour",
            LATENCY,
            "slow_neighbour",
            [few(300), few(300)],
            2,
        ),
        Row::work(
            "slow neighbour that tells that it computes",
            LATENCY,
            "slow_neighbour_told",
            [few(300), few(300)],
            2,
        ),
        Row::work("100,000 sleep", BYTES, "sleepers", [100_000, 100_000], 2)
            .or("sleepers", 10_000, "10,000")
            .once(),
        Row::work(
            "1,000,000 sleep",
            BYTES,
            "sleepers",
            [1_000_000, 1_000_000],
            2,
        )
        .or("sleepers", 10_000, "10,000")
        .once(),
        Row::echo("echo, 1 connection", 1, 1, seconds),
        Row::echo("echo, 64 connections", 64, 64, seconds),
        Row::echo("echo, 1,000 connections", 1_000, 1_000, seconds),
        Row::echo("echo, 9,000 connections", 9_000, 9_000, seconds),
        Row::echo("echo, 10,000 connections, 1 % active", 10_000, 100, seconds),
    ];
    if !quick {
        rows.extend([
            Row::echo("echo, 100,000 connections", 100_000, 100_000, 3),
            Row::echo("echo, 100,000 connections, 1 % active", 100_000, 1_000, 2),
        ]);
    }
    rows.extend([
        Row::wire("pipelined, 4 streams", "stream", "echo", 4),
        Row::wire("short connections", "short", "echo", 16),
        Row::wire("HTTP/1.1, 64 connections", "http", "http", 64),
        Row::framework(64, seconds),
        Row::framework(1_000, 2 * seconds),
        // A connection gets its turn a few times a second.
        Row::framework(9_000, 4 * seconds),
    ]);
    const GROWING: &[&str] = &["roving", "tokio", "go", "may"];
    let counts: &[usize] = if quick {
        &[1_000, 10_000]
    } else {
        &[1_000, 10_000, 100_000, 1_000_000]
    };
    for (work, what, figures) in [
        ("spawn_all", "spawn then join all", TIME),
        ("timers", "timers", TIMERS),
        ("sleepers", "sleep", BYTES),
    ] {
        for &count in counts {
            let name = format!("growth: {count} {what}");
            rows.push(
                Row::work(&name, figures, work, [count, 0], 1)
                    .once()
                    .only_for(GROWING),
            );
        }
    }
    for (work, count) in [("tree", 16_384), ("skynet", 100_000), ("mpsc", 1_000_000)] {
        for workers in [1, 2, 4, 8, 16, 64] {
            let name = format!("workers: {work} on {workers}");
            let count = if quick { count / 16 } else { count };
            let count = if work == "skynet" && quick {
                10_000
            } else {
                count
            };
            rows.push(
                Row::work(&name, TIME, work, [count, 0], workers)
                    .only_for(GROWING)
                    .once(),
            );
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_rows_have_one_name() {
        for quick in [false, true] {
            let rows = rows(quick);
            let names: HashSet<_> = rows.iter().map(|row| &row.name).collect();
            assert_eq!(names.len(), rows.len());
        }
    }
}
