//! The goals that Roving is held to: ratios of figures of the same run.

use super::figures::{RowResults, short};
use super::programs::Class;
use crate::connections::progress::grouped;
use Limit::{AtLeast, AtMost, LessThan};
use serde::{Serialize, Serializer};
use std::fmt;

/// A goal, and how far it is.
#[derive(Debug, Serialize)]
pub(super) struct Goal {
    pub(super) goal: String,
    /// What the goal is about, of Roving.
    pub(super) measured: f64,
    /// What it is compared with, and whose that is.
    pub(super) beside: String,
    /// The one by the other; none where the goal is a plain number.
    pub(super) ratio: Option<f64>,
    pub(super) limit: Limit,
    pub(super) met: bool,
}

impl Goal {
    /// What the limit is of.
    pub(super) fn held(&self) -> f64 {
        self.ratio.unwrap_or(self.measured)
    }
}

/// What a ratio or a plain number may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    AtMost(f64),
    LessThan(f64),
    AtLeast(f64),
}

impl Limit {
    pub(super) fn is_met(self, held: f64) -> bool {
        match self {
            Self::AtMost(most) => held <= most,
            Self::LessThan(limit) => held < limit,
            Self::AtLeast(least) => held >= least,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, limit) = match *self {
            Self::AtMost(most) => ("<=", most),
            Self::LessThan(limit) => ("<", limit),
            Self::AtLeast(least) => (">=", least),
        };
        match limit {
            large if large >= 1_000.0 => write!(f, "{sign} {}", grouped(large as u64)),
            small => write!(f, "{sign} {small}"),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The figures of a run, by the names of rows and programs.
struct Figures<'a> {
    rows: &'a [RowResults],
    programs: &'a [&'a str],
    goals: Vec<Goal>,
}

impl Figures<'_> {
    fn of(&self, program: &str, row: &str, key: &str) -> Option<f64> {
        let program = self.programs.iter().position(|name| *name == program)?;
        let row = self.rows.iter().find(|r| r.name == row)?;
        row.comparable(program, key)
    }

    /// The least figure among the programs of which `is_in` holds, and whose it is.
    fn least(&self, row: &str, key: &str, is_in: impl Fn(Class) -> bool) -> Option<(f64, &str)> {
        self.extreme(row, key, is_in, |a, b| a < b)
    }

    fn extreme(
        &self,
        row: &str,
        key: &str,
        is_in: impl Fn(Class) -> bool,
        is_better: impl Fn(f64, f64) -> bool,
    ) -> Option<(f64, &str)> {
        let programs = self.programs.iter().copied();
        programs
            .filter(|program| is_in(Class::of(program)))
            .filter_map(|program| Some((self.of(program, row, key)?, program)))
            .reduce(|best, other| {
                if is_better(other.0, best.0) {
                    other
                } else {
                    best
                }
            })
    }

    /// How many times `other` `value` is should be within `limit`.
    fn ratio(
        &mut self,
        goal: String,
        value: Option<f64>,
        other: Option<(f64, String)>,
        limit: Limit,
    ) {
        let (Some(value), Some((other, whose))) = (value, other) else {
            return;
        };
        let ratio = value / other;
        self.goals.push(Goal {
            goal,
            measured: value,
            beside: format!("{} of {whose}", short(other)),
            ratio: Some(ratio),
            limit,
            met: limit.is_met(ratio),
        });
    }

    /// Roving's figure should be at most `limit` times the least of those in which `is_in` holds.
    fn at_most(
        &mut self,
        ours: &str,
        row: &str,
        key: &str,
        limit: f64,
        whose: &str,
        is_in: impl Fn(Class) -> bool,
    ) {
        let least = self.least(row, key, is_in);
        let least = least.map(|(value, name)| (value, name.to_owned()));
        let value = self.of(ours, row, key);
        let mode = if ours == "roving-shared" {
            " (shared)"
        } else {
            ""
        };
        let goal = format!("{row}{mode}, {}, against {whose}", unit(key));
        self.ratio(goal, value, least, AtMost(limit));
    }

    /// A value of Roving's alone.
    fn plain(&mut self, goal: String, value: Option<f64>, limit: Limit) {
        if let Some(value) = value {
            self.goals.push(Goal {
                goal,
                measured: value,
                beside: String::new(),
                ratio: None,
                limit,
                met: limit.is_met(value),
            });
        }
    }

    /// The best of the peers at a figure of which more is better.
    fn most(&self, row: &str, key: &str) -> Option<(f64, String)> {
        let most = self.extreme(row, key, Class::is_peer, |a, b| a > b);
        most.map(|(value, name)| (value, name.to_owned()))
    }
}

fn unit(key: &str) -> &str {
    match key {
        "ns" => "ns",
        "cpu_us" => "CPU us per request",
        "p50_us" => "p50",
        "p99_us" => "p99",
        "per_second" => "per second",
        key => key,
    }
}

const ECHOES: [&str; 7] = [
    "echo, 1 connection",
    "echo, 64 connections",
    "echo, 1,000 connections",
    "echo, 9,000 connections",
    "echo, 10,000 connections, 1 % active",
    "echo, 100,000 connections",
    "echo, 100,000 connections, 1 % active",
];

const FRAMEWORKS: [&str; 3] = [
    "framework (axum), 64 connections",
    "framework (axum), 1,000 connections",
    "framework (axum), 9,000 connections",
];

/// All goals of which the figures are there, those of scheduling first.
pub(super) fn goals(rows: &[RowResults], programs: &[&str]) -> Vec<Goal> {
    let mut figures = Figures {
        rows,
        programs,
        goals: Vec::new(),
    };
    scheduling(&mut figures);
    waking(&mut figures);
    memory(&mut figures);
    connections(&mut figures);
    shape(&mut figures);
    figures.goals
}

fn scheduling(f: &mut Figures<'_>) {
    let is_stackful = |class| class == Class::Stackful;
    for (row, in_own_mode) in [
        ("yield, 2 threads", 1.6),
        ("yield, 1,000 threads", 1.6),
        ("yield, 100,000 threads", 1.5),
    ] {
        let peers = Class::is_peer;
        f.at_most("roving-shared", row, "ns", 1.0, "every peer", peers);
        f.at_most("roving", row, "ns", in_own_mode, "every peer", peers);
        f.at_most("roving", row, "ns", 1.0, "stackful peers", is_stackful);
    }
    for row in ["ping-pong, 1 worker", "ping-pong, 2 workers"] {
        let may = f.of("may", row, "ns").map(|may| (may, "may".to_owned()));
        let ours = f.of("roving-shared", row, "ns");
        f.ratio(
            format!("{row} (shared), ns, against may"),
            ours,
            may,
            AtMost(1.0),
        );
        f.at_most("roving", row, "ns", 1.5, "every peer", Class::is_peer);
    }
    for row in [
        "spawn and join, 1 worker",
        "spawn and join, 2 workers",
        "spawn 1,000, then join all, 1 worker",
        "spawn 1,000, then join all, 2 workers",
    ] {
        let ours = f.of("roving", row, "ns");
        let tokio = f.of("tokio", row, "ns");
        let tokio = tokio.map(|tokio| (tokio, "tokio".to_owned()));
        f.ratio(
            format!("{row}, ns, against tokio"),
            ours,
            tokio,
            AtMost(0.8),
        );
    }
    for row in [
        "skynet, 100,000 leaves, 1 worker",
        "skynet, 1,000,000 leaves, 2 workers",
        "mpsc bounded, 4:1, 1 worker",
        "mpsc bounded, 4:1, 2 workers",
        "mutex, 8 contenders, 2 workers",
        "mutex held over a yield, 8 contenders, 2 workers",
    ] {
        f.at_most("roving", row, "ns", 1.0, "every peer", Class::is_peer);
    }
}

fn waking(f: &mut Figures<'_>) {
    for cause in ["unpark", "timer", "socket"] {
        let row = format!("wake-up from idle: {cause}");
        let value = f.of("roving", &row, "p50_us");
        for peer in ["go", "tokio"] {
            let other = f.of(peer, &row, "p50_us");
            let other = other.map(|other| (other, peer.to_owned()));
            f.ratio(
                format!("{row}, p50, against {peer}"),
                value,
                other,
                AtMost(1.0),
            );
        }
    }
    let is_stackless = |class| class == Class::Stackless;
    f.at_most(
        "roving",
        "slow neighbour",
        "p99_us",
        0.5,
        "tokio",
        is_stackless,
    );
}

fn memory(f: &mut Figures<'_>) {
    for row in ["100,000 sleep", "1,000,000 sleep"] {
        let bytes = f.of("roving", row, "bytes");
        f.plain(format!("{row}, bytes each"), bytes, AtMost(8_800.0));
    }
    for row in [
        "echo, 10,000 connections, 1 % active",
        "echo, 100,000 connections, 1 % active",
    ] {
        let is_stackful = |class| class == Class::Stackful;
        f.at_most("roving", row, "bytes", 1.0, "stackful peers", is_stackful);
        let idle = f.of("roving", row, "idle_cpu_percent");
        f.plain(format!("{row}: idle CPU, % of a core"), idle, LessThan(0.1));
    }
}

fn connections(f: &mut Figures<'_>) {
    let is_floor = |class| class == Class::Floor;
    let is_stackless = |class| class == Class::Stackless;
    for row in &ECHOES[1..4] {
        let rate = f.of("roving", row, "per_second");
        let floor = f.of("floor", row, "per_second");
        let floor = floor.map(|value| (value, "the bare loop".to_owned()));
        let best = f.most(row, "per_second");
        f.ratio(
            format!("{row}, requests/s, against the bare loop"),
            rate,
            floor,
            AtLeast(0.93),
        );
        f.ratio(
            format!("{row}, requests/s, against every peer"),
            rate,
            best,
            AtLeast(1.05),
        );
    }
    for row in &ECHOES[2..4] {
        f.at_most("roving", row, "p99_us", 1.0, "every peer", Class::is_peer);
        let share = f.of("roving", row, "slowest_share");
        f.plain(
            format!("{row}: slowest connection, relative to the mean"),
            share,
            AtLeast(0.5),
        );
    }
    for row in ECHOES {
        f.at_most("roving", row, "cpu_us", 1.0, "every peer", Class::is_peer);
        f.at_most("roving", row, "cpu_us", 1.08, "the bare loop", is_floor);
    }
    for row in FRAMEWORKS {
        f.at_most("roving", row, "cpu_us", 1.0, "tokio", is_stackless);
        f.at_most("roving", row, "p99_us", 1.0, "tokio", is_stackless);
    }
    let rate = f.of("roving", "short connections", "per_second");
    let best = f.most("short connections", "per_second");
    f.ratio(
        "short connections, per second, against every peer".into(),
        rate,
        best,
        AtLeast(1.0),
    );
}

/// How figures grow with numbers of threads, and of workers.
fn shape(f: &mut Figures<'_>) {
    let one = f.of("roving", "tree of 16,384 leaves of 3 us, 1 worker", "ns");
    let two = f.of("roving", "tree of 16,384 leaves of 3 us, 2 workers", "ns");
    let two = two.map(|two| (two, "two workers".to_owned()));
    f.ratio(
        "tree: one worker against two".into(),
        one,
        two,
        AtLeast(1.9),
    );
    for work in ["spawn then join all", "sleep", "timers"] {
        let key = if work == "sleep" { "bytes" } else { "ns" };
        let costs: Vec<f64> = [1_000, 10_000, 100_000, 1_000_000]
            .iter()
            .filter_map(|count| f.of("roving", &format!("growth: {count} {work}"), key))
            .collect();
        let least = costs.iter().copied().reduce(f64::min);
        let most = costs.iter().copied().reduce(f64::max);
        let least = least.map(|least| (least, "the least".to_owned()));
        f.ratio(
            format!("growth of {work}, the most"),
            most,
            least,
            AtMost(1.3),
        );
    }
    for work in ["tree", "skynet", "mpsc"] {
        let on = |workers| f.of("roving", &format!("workers: {work} on {workers}"), "ns");
        let (two, eight) = (on(2), on(8));
        let eight = eight.map(|eight| (eight, "eight".to_owned()));
        f.ratio(
            format!("{work}: two workers against eight"),
            two,
            eight,
            AtLeast(0.9),
        );
    }
}
