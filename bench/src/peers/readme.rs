//! The table of the README: the rows that matter most, who is ahead of Roving in which, and what a figure is of where that is
//! not what the row says.

use super::figures::{RowResults, short};
use super::programs::Class;
use super::report::Results;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// What stands around the table in the README.
const BEGIN: &str = "<!-- of make peers: begin -->\n";
const END: &str = "<!-- of make peers: end -->\n";

/// A line: what it is called, the row and the figure, and by how much the figure is divided.
struct Line {
    called: &'static str,
    row: &'static str,
    key: &'static str,
    divided: f64,
    more_is_better: bool,
}

impl Line {
    /// With the comma before it; none where the name ends otherwise.
    fn unit(&self) -> &str {
        const UNITS: [&str; 4] = ["ns", "µs", "ms", "requests/s"];
        let comma = self.called.rfind(", ").unwrap_or(self.called.len());
        let last = &self.called[comma..];
        let is_unit = UNITS
            .iter()
            .any(|unit| last.trim_start_matches(", ").starts_with(unit));
        if is_unit { last } else { "" }
    }
}

/// By how much figures of one row may differ that are level.
const LEVEL: f64 = 0.02;

const fn less(called: &'static str, row: &'static str, key: &'static str) -> Line {
    Line {
        called,
        row,
        key,
        divided: 1.0,
        more_is_better: false,
    }
}

const fn more(called: &'static str, row: &'static str, key: &'static str) -> Line {
    Line {
        more_is_better: true,
        ..less(called, row, key)
    }
}

const fn milliseconds(line: Line) -> Line {
    Line {
        divided: 1_000.0,
        ..line
    }
}

const LINES: &[Line] = &[
    more(
        "echo, 64 connections, requests/s",
        "echo, 64 connections",
        "per_second",
    ),
    more(
        "echo, 1,000 connections, requests/s",
        "echo, 1,000 connections",
        "per_second",
    ),
    milliseconds(less(
        "echo, 1,000 connections, p99, ms",
        "echo, 1,000 connections",
        "p99_us",
    )),
    more(
        "echo, 1,000 connections, the slowest of the mean",
        "echo, 1,000 connections",
        "slowest_share",
    ),
    less(
        "echo, 9,000 connections, CPU µs a request",
        "echo, 9,000 connections",
        "cpu_us",
    ),
    less(
        "echo, 100,000 connections, CPU µs a request",
        "echo, 100,000 connections",
        "cpu_us",
    ),
    less(
        "bytes an idle echo connection with a buffer of 4 KiB",
        "echo, 10,000 connections, 1 % active",
        "bytes",
    ),
    more(
        "short connections a second",
        "short connections",
        "per_second",
    ),
    more(
        "bare HTTP/1.1, 64 connections, requests/s",
        "HTTP/1.1, 64 connections",
        "per_second",
    ),
    less(
        "axum, 64 connections, CPU µs a request",
        "framework (axum), 64 connections",
        "cpu_us",
    ),
    less(
        "axum, 1,000 connections, CPU µs a request",
        "framework (axum), 1,000 connections",
        "cpu_us",
    ),
    less("spawn and join, ns", "spawn and join, 1 worker", "ns"),
    less(
        "spawn and join, two workers, ns",
        "spawn and join, 2 workers",
        "ns",
    ),
    less(
        "spawn 1,000, then join all, ns each",
        "spawn 1,000, then join all, 1 worker",
        "ns",
    ),
    less("yield among 2, ns", "yield, 2 threads", "ns"),
    less("yield among 1,000, ns", "yield, 1,000 threads", "ns"),
    less("yield among 100,000, ns", "yield, 100,000 threads", "ns"),
    less("ping-pong over channels, ns", "ping-pong, 1 worker", "ns"),
    less(
        "ping-pong over channels, two workers, ns",
        "ping-pong, 2 workers",
        "ns",
    ),
    less(
        "mpsc bounded, 4:1, two workers, ns",
        "mpsc bounded, 4:1, 2 workers",
        "ns",
    ),
    less(
        "mutex, 8 contenders, two workers, ns",
        "mutex, 8 contenders, 2 workers",
        "ns",
    ),
    less(
        "mutex held over a yield, two workers, ns",
        "mutex held over a yield, 8 contenders, 2 workers",
        "ns",
    ),
    less(
        "skynet, 100,000 leaves, ns a leaf",
        "skynet, 100,000 leaves, 1 worker",
        "ns",
    ),
    less(
        "skynet, 1,000,000 leaves, two workers, ns a leaf",
        "skynet, 1,000,000 leaves, 2 workers",
        "ns",
    ),
    less(
        "tree of 16,384 leaves of 3 µs, two workers, ns a leaf",
        "tree of 16,384 leaves of 3 us, 2 workers",
        "ns",
    ),
    less(
        "woken from idle by an unpark, p50, µs",
        "wake-up from idle: unpark",
        "p50_us",
    ),
    less(
        "a timer of 1 ms is late, p50, µs",
        "wake-up from idle: timer",
        "p50_us",
    ),
    milliseconds(less(
        "one of 1,000,000 timers is late, p99, ms",
        "growth: 1000000 timers",
        "late_p99_us",
    )),
    less(
        "beside a slow neighbour, lateness p99, µs",
        "slow neighbour",
        "p99_us",
    ),
    less("100,000 asleep, bytes each", "100,000 sleep", "bytes"),
];

/// What a program is called in the table.
fn shown(program: &str) -> &str {
    match program {
        "roving" => "Roving",
        "roving-shared" => "*shared*",
        "tokio-current-thread" => "tokio, one thread",
        "go" => "Go",
        "threads" => "OS threads",
        program => program,
    }
}

/// Whether the table says the version of a program: some are another's too.
fn is_told(program: &str) -> bool {
    !matches!(program, "roving" | "roving-shared" | "tokio-current-thread")
}

/// Whose figure is the best of those that can be compared, beside Roving's own; the floor is nobody's choice.
fn best<'a>(line: &Line, row: &RowResults, programs: &[&'a str]) -> Option<(&'a str, f64)> {
    let programs = programs.iter().enumerate();
    programs
        .filter(|(_, name)| **name == "roving" || Class::of(name).is_peer())
        .filter_map(|(program, name)| Some((*name, row.comparable(program, line.key)?)))
        .reduce(|best, other| {
            let is_better = match line.more_is_better {
                true => other.1 > best.1,
                false => other.1 < best.1,
            };
            if is_better { other } else { best }
        })
}

/// The sentence that says who is ahead, the table, and its notes.
pub(super) fn table(results: &Results) -> String {
    let programs: Vec<&str> = results.names().collect();
    let mut rows = String::new();
    let mut notes: Vec<String> = Vec::new();
    let mut ahead: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in LINES {
        let Some(row) = results.rows.iter().find(|row| row.name == line.row) else {
            continue;
        };
        let best = best(line, row, &programs);
        let ours = programs.iter().position(|name| *name == "roving");
        let ours = ours.and_then(|program| row.comparable(program, line.key));
        if let (Some((name, best)), Some(ours)) = (best, ours)
            && (best / ours - 1.0).abs() > LEVEL
        {
            let called = line.called.strip_suffix(line.unit()).unwrap_or(line.called);
            ahead.entry(shown(name)).or_default().push(called);
        }
        write!(rows, "| {} |", line.called).expect("a string takes everything");
        for (program, name) in programs.iter().enumerate() {
            let figure = row.median(program, line.key);
            let mut cell = figure.map_or(String::new(), |figure| short(figure / line.divided));
            if best.is_some_and(|(best, _)| best == *name) {
                cell = format!("**{cell}**");
            }
            if let Some(note) = &row.notes[program] {
                let known = notes.iter().position(|known| known == note);
                let index = known.unwrap_or_else(|| {
                    notes.push(note.clone());
                    notes.len() - 1
                });
                let dash = if figure.is_none() { "–" } else { "" };
                cell = format!("{cell}{dash} <sup>{}</sup>", index + 1);
            }
            write!(rows, " {cell} |").expect("a string takes everything");
        }
        rows.push('\n');
    }
    let head: Vec<_> = programs.iter().map(|name| shown(name)).collect();
    let aligned = "--:|".repeat(programs.len());
    let versions = results.programs.iter().filter(|(name, _)| is_told(name));
    let versions: Vec<_> = versions.map(|(_, version)| version.as_str()).collect();
    let mut table = format!(
        "{}; [the whole of it](bench/results/peers-{}.md). {}\n\n| | {} |\n|---|{aligned}\n{rows}",
        versions.join(", "),
        results.date,
        sentence(&ahead),
        head.join(" | ")
    );
    for (index, note) in notes.iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        let break_ = if index + 1 < notes.len() { "\\" } else { "" };
        writeln!(table, "{gap}<sup>{}</sup> {note}{break_}", index + 1)
            .expect("a string takes everything");
    }
    table
}

fn sentence(ahead: &BTreeMap<&str, Vec<&str>>) -> String {
    if ahead.is_empty() {
        return "No peer is more than 2 % ahead of Roving in any of these rows.".into();
    }
    let peers = ahead.iter();
    let peers = peers.map(|(peer, lines)| format!("{peer}: {}", lines.join("; ")));
    format!(
        "The best of each row is bold (neither *shared* nor the floor counts). Who is more than 2 % ahead of Roving in this run:\n\n- {}\n\nIn all other rows Roving is ahead, or level.",
        peers.collect::<Vec<_>>().join("\n- ")
    )
}

/// Puts a table into the README in place of the one before.
pub(super) fn publish(table: &str, readme: &Path) -> Result<()> {
    let text =
        fs::read_to_string(readme).with_context(|| format!("cannot read {}", readme.display()))?;
    let replaced = replaced(&text, table)
        .with_context(|| format!("{} has no place for the table", readme.display()))?;
    fs::write(readme, replaced).with_context(|| format!("cannot write {}", readme.display()))
}

fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::rows::rows;

    #[test]
    fn each_line_is_of_a_figure_that_is_measured() {
        let rows = rows(false);
        for line in LINES {
            let row = rows.iter().find(|row| row.name == line.row);
            let mut figures = row.expect(line.row).figures.iter();
            let figure = figures.find(|figure| figure.key == line.key);
            let figure = figure.expect(line.called);
            assert_eq!(
                figure.more_is_better, line.more_is_better,
                "{}",
                line.called
            );
        }
    }

    #[test]
    fn units_are_told_from_names() {
        let units = |called| less(called, "", "").unit().len();
        assert_eq!(
            units("skynet, 100,000 leaves, ns a leaf"),
            ", ns a leaf".len()
        );
        assert_eq!(
            units("echo, 64 connections, requests/s"),
            ", requests/s".len()
        );
        assert_eq!(units("short connections a second"), 0);
        assert_eq!(units("echo, the slowest of the mean"), 0);
    }

    #[test]
    fn the_table_takes_the_place_of_the_one_before() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        let once = replaced(&text, "new").unwrap();
        assert_eq!(once, format!("a\n{BEGIN}\nnew\n{END}b\n"));
        assert_eq!(replaced(&once, "new").unwrap(), once);
        assert_eq!(replaced("a\n", "new"), None);
    }
}
