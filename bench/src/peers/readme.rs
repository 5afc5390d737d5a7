//! The table of the README: the rows that matter most, who is ahead of Roving in which, and what a figure is of where that is
//! not what the row says.

use super::figures::{RowResults, short};
use super::programs::Class;
use super::report::Results;
use crate::connections::progress::grouped;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// What stands around the table in the README.
const BEGIN: &str = "<!-- of make peers: begin -->\n";
const END: &str = "<!-- of make peers: end -->\n";

/// A line: what it is called, the unit of its figure, the row and the figure, and by how much the figure is divided.
struct Line {
    of: Part,
    called: &'static str,
    unit: &'static str,
    row: &'static str,
    key: &'static str,
    divided: f64,
    more_is_better: bool,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Connections,
    Threads,
    Time,
    Memory,
}

impl Part {
    const ALL: [Part; 4] = [Part::Connections, Part::Threads, Part::Time, Part::Memory];

    fn title(self) -> &'static str {
        match self {
            Part::Connections => "Connections",
            Part::Threads => "Threads, channels and locks",
            Part::Time => "Timers and wake-ups",
            Part::Memory => "Memory",
        }
    }
}

impl Line {
    fn title(&self) -> String {
        match self.unit {
            "" => self.called.to_owned(),
            unit => format!("{}, {unit}", self.called),
        }
    }

    /// By what factor a figure is better than another one.
    fn lead(&self, figure: f64, other: f64) -> f64 {
        match self.more_is_better {
            true => figure / other,
            false => other / figure,
        }
    }
}

/// By what factor figures of one row may differ that are level.
const LEVEL: f64 = 1.02;

const fn less(
    of: Part,
    called: &'static str,
    unit: &'static str,
    row: &'static str,
    key: &'static str,
) -> Line {
    Line {
        of,
        called,
        unit,
        row,
        key,
        divided: 1.0,
        more_is_better: false,
    }
}

const fn more(
    of: Part,
    called: &'static str,
    unit: &'static str,
    row: &'static str,
    key: &'static str,
) -> Line {
    Line {
        more_is_better: true,
        ..less(of, called, unit, row, key)
    }
}

const fn milliseconds(line: Line) -> Line {
    Line {
        divided: 1_000.0,
        ..line
    }
}

/// Requests a second of an echo server.
const fn rate(called: &'static str, row: &'static str) -> Line {
    more(Part::Connections, called, "", row, "per_second")
}

/// CPU time for a request of a server.
const fn cpu(called: &'static str, row: &'static str) -> Line {
    less(Part::Connections, called, "µs", row, "cpu_us")
}

/// Time by the clock for each of something.
const fn time(called: &'static str, unit: &'static str, row: &'static str) -> Line {
    less(Part::Threads, called, unit, row, "ns")
}

const LINES: &[Line] = &[
    rate("echo, 64 connections: requests/s", "echo, 64 connections"),
    cpu(
        "echo, 64 connections: CPU per request",
        "echo, 64 connections",
    ),
    rate(
        "echo, 1,000 connections: requests/s",
        "echo, 1,000 connections",
    ),
    cpu(
        "echo, 1,000 connections: CPU per request",
        "echo, 1,000 connections",
    ),
    milliseconds(less(
        Part::Connections,
        "echo, 1,000 connections: p99",
        "ms",
        "echo, 1,000 connections",
        "p99_us",
    )),
    more(
        Part::Connections,
        "echo, 1,000 connections: slowest connection, relative to the mean",
        "",
        "echo, 1,000 connections",
        "slowest_share",
    ),
    rate(
        "echo, 9,000 connections: requests/s",
        "echo, 9,000 connections",
    ),
    cpu(
        "echo, 9,000 connections: CPU per request",
        "echo, 9,000 connections",
    ),
    rate(
        "echo, 10,000 connections, 1 % active: requests/s",
        "echo, 10,000 connections, 1 % active",
    ),
    cpu(
        "echo, 10,000 connections, 1 % active: CPU per request",
        "echo, 10,000 connections, 1 % active",
    ),
    rate(
        "echo, 100,000 connections: requests/s",
        "echo, 100,000 connections",
    ),
    cpu(
        "echo, 100,000 connections: CPU per request",
        "echo, 100,000 connections",
    ),
    rate(
        "echo, 100,000 connections, 1 % active: requests/s",
        "echo, 100,000 connections, 1 % active",
    ),
    cpu(
        "echo, 100,000 connections, 1 % active: CPU per request",
        "echo, 100,000 connections, 1 % active",
    ),
    more(
        Part::Connections,
        "short connections per second",
        "",
        "short connections",
        "per_second",
    ),
    rate(
        "bare HTTP/1.1, 64 connections: requests/s",
        "HTTP/1.1, 64 connections",
    ),
    cpu(
        "axum, 64 connections: CPU per request",
        "framework (axum), 64 connections",
    ),
    cpu(
        "axum, 1,000 connections: CPU per request",
        "framework (axum), 1,000 connections",
    ),
    cpu(
        "axum, 9,000 connections: CPU per request",
        "framework (axum), 9,000 connections",
    ),
    time("spawn and join", "ns", "spawn and join, 1 worker"),
    time(
        "spawn and join, two workers",
        "ns",
        "spawn and join, 2 workers",
    ),
    time(
        "spawn 1,000, then join all",
        "ns each",
        "spawn 1,000, then join all, 1 worker",
    ),
    time("yield among 2", "ns", "yield, 2 threads"),
    time("yield among 1,000", "ns", "yield, 1,000 threads"),
    time("yield among 100,000", "ns", "yield, 100,000 threads"),
    time("ping-pong over channels", "ns", "ping-pong, 1 worker"),
    time(
        "ping-pong over channels, two workers",
        "ns",
        "ping-pong, 2 workers",
    ),
    time(
        "mpsc bounded, 4:1, two workers",
        "ns",
        "mpsc bounded, 4:1, 2 workers",
    ),
    time(
        "mutex, 8 contenders, two workers",
        "ns",
        "mutex, 8 contenders, 2 workers",
    ),
    time(
        "mutex held over a yield, two workers",
        "ns",
        "mutex held over a yield, 8 contenders, 2 workers",
    ),
    time(
        "skynet, 100,000 leaves",
        "ns per leaf",
        "skynet, 100,000 leaves, 1 worker",
    ),
    time(
        "skynet, 1,000,000 leaves, two workers",
        "ns per leaf",
        "skynet, 1,000,000 leaves, 2 workers",
    ),
    time(
        "tree of 16,384 leaves of 3 µs, two workers",
        "ns per leaf",
        "tree of 16,384 leaves of 3 us, 2 workers",
    ),
    time(
        "unbalanced computation, two workers",
        "ns per thread",
        "unbalanced compute, 2 workers",
    ),
    less(
        Part::Time,
        "wake-up from idle by an unpark, p50",
        "µs",
        "wake-up from idle: unpark",
        "p50_us",
    ),
    less(
        Part::Time,
        "lateness of a 1 ms timer, p50",
        "µs",
        "wake-up from idle: timer",
        "p50_us",
    ),
    less(
        Part::Time,
        "10,000 timers, CPU time each",
        "ns",
        "10,000 timers",
        "ns",
    ),
    milliseconds(less(
        Part::Time,
        "lateness of 1,000,000 timers, p99",
        "ms",
        "growth: 1000000 timers",
        "late_p99_us",
    )),
    less(
        Part::Time,
        "lateness of 1 ms sleeps while another thread computes 5 ms at a time, p99",
        "µs",
        "slow neighbour",
        "p99_us",
    ),
    less(
        Part::Memory,
        "idle echo connection with a buffer of 4 KiB",
        "bytes",
        "echo, 10,000 connections, 1 % active",
        "bytes",
    ),
    less(
        Part::Memory,
        "100,000 sleeping threads",
        "bytes each",
        "100,000 sleep",
        "bytes",
    ),
];

/// What a program is called in the table.
fn shown(program: &str) -> &str {
    match program {
        "roving" => "Roving",
        "roving-shared" => "*shared*",
        "tokio-current-thread" => "tokio (one thread)",
        "go" => "Go",
        "threads" => "OS threads",
        "floor" => "bare",
        program => program,
    }
}

/// Whether the table says the version of a program: some are another's too.
fn is_told(program: &str) -> bool {
    !matches!(program, "roving" | "roving-shared" | "tokio-current-thread")
}

/// The figures of a line that can be compared: Roving's own and those of its peers.
fn compared<'a>(line: &Line, row: &RowResults, programs: &[&'a str]) -> Vec<(&'a str, f64)> {
    let programs = programs.iter().enumerate();
    programs
        .filter(|(_, name)| **name == "roving" || Class::of(name).is_peer())
        .filter_map(|(program, name)| Some((*name, row.comparable(program, line.key)?)))
        .collect()
}

/// Whose figure is the best.
fn best<'a>(line: &Line, figures: &[(&'a str, f64)]) -> Option<&'a str> {
    let figures = figures.iter().copied();
    let best = figures.reduce(|best, other| match line.lead(other.1, best.1) > 1.0 {
        true => other,
        false => best,
    });
    best.map(|(name, _)| name)
}

/// Who is ahead of Roving, and by what factor, the farthest first.
fn ahead<'a>(line: &Line, figures: &[(&'a str, f64)]) -> Vec<(&'a str, f64)> {
    let Some((_, ours)) = figures.iter().find(|(name, _)| *name == "roving") else {
        return Vec::new();
    };
    let peers = figures.iter().filter(|(name, _)| *name != "roving");
    let leads = peers.map(|(name, figure)| (*name, line.lead(*figure, *ours)));
    let mut ahead: Vec<_> = leads.filter(|(_, lead)| *lead > LEVEL).collect();
    ahead.sort_by(|a, b| b.1.total_cmp(&a.1));
    ahead
}

/// The list of who is ahead, the table, and its notes.
pub(super) fn table(results: &Results) -> String {
    let programs: Vec<&str> = results.names().collect();
    let mut rows = String::new();
    let mut notes: Vec<String> = Vec::new();
    let mut leads: Vec<Lead> = Vec::new();
    for line in LINES {
        let Some(row) = results.rows.iter().find(|row| row.name == line.row) else {
            continue;
        };
        let figures = compared(line, row, &programs);
        let best = best(line, &figures);
        let ahead = ahead(line, &figures);
        Lead::add(&mut leads, line, &ahead);
        write!(rows, "| {} |", line.title()).expect("a string takes everything");
        for (program, name) in programs.iter().enumerate() {
            let figure = row.median(program, line.key);
            let mut cell = figure.map_or(String::new(), |figure| short(figure / line.divided));
            if best == Some(*name) {
                cell = format!("**{cell}**");
            }
            if ahead.iter().any(|(peer, _)| peer == name) {
                cell += AHEAD;
            }
            if let Some(note) = &row.notes[program] {
                let note = in_words(note);
                let known = notes.iter().position(|known| *known == note);
                let index = known.unwrap_or_else(|| {
                    notes.push(note);
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
        "{}; [the whole run](bench/results/peers-{}.md). {}\n\n| | {} |\n|---|{aligned}\n{rows}",
        versions.join(", "),
        results.date,
        who_leads(&leads),
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

/// What stands behind the figure of a peer that is ahead of Roving.
const AHEAD: &str = " ▴";

/// Who is ahead in the lines of one subject, each by the most that it is in one of them.
struct Lead<'a> {
    of: Part,
    subject: &'static str,
    peers: Vec<(&'a str, f64)>,
}

impl<'a> Lead<'a> {
    /// Adds those who are `ahead` in a line, whose subject is what it is called up to a colon.
    fn add(leads: &mut Vec<Lead<'a>>, line: &Line, ahead: &[(&'a str, f64)]) {
        let subject = line.called.split(": ").next().unwrap_or(line.called);
        if !leads.iter().any(|lead| lead.subject == subject) && !ahead.is_empty() {
            let (of, peers) = (line.of, Vec::new());
            leads.push(Lead { of, subject, peers });
        }
        let Some(lead) = leads.iter_mut().find(|lead| lead.subject == subject) else {
            return;
        };
        for &(peer, by) in ahead {
            match lead.peers.iter_mut().find(|(known, _)| *known == peer) {
                Some((_, known)) => *known = known.max(by),
                None => lead.peers.push((peer, by)),
            }
        }
        lead.peers.sort_by(|a, b| b.1.total_cmp(&a.1));
    }

    fn said(&self) -> String {
        let peers = self.peers.iter();
        let peers = peers.map(|(name, by)| format!("{} {}", shown(name), factor(*by)));
        format!("{}: {}", self.subject, peers.collect::<Vec<_>>().join(", "))
    }
}

fn who_leads(leads: &[Lead<'_>]) -> String {
    let bold = "The best of each row is bold (*shared* and the bare programs are not counted).";
    if leads.is_empty() {
        return format!("{bold} No peer is more than 2 % ahead of Roving in any of these rows.");
    }
    let parts = Part::ALL.into_iter().filter_map(|part| {
        let leads = leads.iter().filter(|lead| lead.of == part);
        let leads: Vec<_> = leads.map(Lead::said).collect();
        (!leads.is_empty()).then(|| format!("- **{}**: {}", part.title(), leads.join("; ")))
    });
    format!(
        "{bold} Every peer that is more than 2 % ahead of Roving has a{AHEAD} in that row; these are, by up to what factor:\n\n{}\n\nIn all other rows Roving is ahead, or level.",
        parts.collect::<Vec<_>>().join("\n")
    )
}

/// How many times better; without a number where Roving has some of what the peer has none of.
fn factor(lead: f64) -> String {
    match lead {
        lead if lead.is_infinite() => "(none)".into(),
        lead if lead < 10.0 => format!("{lead:.2}"),
        lead => format!("{lead:.0}"),
    }
}

/// A note without what only the program that wrote it understands.
fn in_words(note: &str) -> String {
    if let Some((part, why)) = note.split_once(" only: ") {
        return format!("{part} only: {}", in_words(why));
    }
    let number = |text: &str| text.parse::<u64>().ok().map(grouped);
    if let Some((count, _)) = note.split_once(" connections failed: ")
        && let Some(count) = number(count)
    {
        return format!("{count} of the connections failed");
    }
    let stopped = note
        .strip_prefix("at ")
        .and_then(|rest| rest.split_once(": "));
    if let Some((count, error)) = stopped
        && let Some(count) = number(count)
    {
        let error = error.split(" (os error").next().unwrap_or(error);
        return format!("it stopped at {count} threads: {error}");
    }
    note.to_owned()
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
    use crate::peers::cell::Measured;
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

    fn row(samples: &[(&str, f64)]) -> RowResults {
        let row = rows(false)
            .into_iter()
            .find(|row| row.name == "yield, 2 threads");
        let mut results = RowResults::new(&row.unwrap(), samples.len());
        for (program, (_, figure)) in samples.iter().enumerate() {
            results.add(
                program,
                Measured {
                    figures: [("ns".to_owned(), *figure)].into(),
                    ..Measured::default()
                },
            );
        }
        results
    }

    #[test]
    fn everybody_who_is_ahead_is_named() {
        let samples = [
            ("roving", 100.0),
            ("roving-shared", 10.0),
            ("tokio", 50.0),
            ("may", 99.0),
            ("go", 40.0),
            ("threads", 200.0),
            ("floor", 5.0),
        ];
        let programs = samples.map(|(name, _)| name);
        let results = row(&samples);
        let line = time("yield among 2", "ns", "yield, 2 threads");
        let figures = compared(&line, &results, &programs);
        assert_eq!(best(&line, &figures), Some("go"));
        assert_eq!(ahead(&line, &figures), [("go", 2.5), ("tokio", 2.0)]);
        let line = more(
            Part::Threads,
            "of which more is better",
            "",
            "yield, 2 threads",
            "ns",
        );
        assert_eq!(best(&line, &figures), Some("threads"));
        assert_eq!(ahead(&line, &figures), [("threads", 2.0)]);
    }

    #[test]
    fn who_has_none_of_a_cost_is_ahead() {
        let line = time("a cost", "ns", "");
        assert_eq!(ahead(&line, &[("roving", 1.0), ("go", 0.0)]).len(), 1);
        assert!(ahead(&line, &[("roving", 0.0), ("go", 0.0)]).is_empty());
        assert!(ahead(&line, &[("roving", 0.0), ("go", 1.0)]).is_empty());
        assert_eq!(
            [f64::INFINITY, 1.234, 21.1].map(factor),
            ["(none)", "1.23", "21"]
        );
    }

    #[test]
    fn leads_are_grouped() {
        let bytes = less(Part::Memory, "asleep", "bytes", "", "");
        let mut leads = Vec::new();
        Lead::add(&mut leads, &bytes, &[("go", 2.0)]);
        Lead::add(&mut leads, &rate("echo: requests/s", ""), &[("may", 1.1)]);
        Lead::add(&mut leads, &time("spawn", "ns", ""), &[]);
        Lead::add(
            &mut leads,
            &cpu("echo: CPU", ""),
            &[("go", 1.3), ("may", 1.2)],
        );
        let said = who_leads(&leads);
        let lists: Vec<_> = said.lines().filter(|line| line.starts_with('-')).collect();
        assert_eq!(
            lists,
            [
                "- **Connections**: echo: Go 1.30, may 1.20",
                "- **Memory**: asleep: Go 2.00"
            ]
        );
        assert!(who_leads(&[]).contains("No peer"));
    }

    #[test]
    fn notes_are_in_words() {
        let notes = [
            "its channels have no bound",
            "67593 connections failed: {\"Connection reset by peer (os error 104)\": 67592}",
            "at 16368: Resource temporarily unavailable (os error 11)",
            "of 10,000 only: at 16368: Resource temporarily unavailable (os error 11)",
        ];
        assert_eq!(
            notes.map(in_words),
            [
                "its channels have no bound",
                "67,593 of the connections failed",
                "it stopped at 16,368 threads: Resource temporarily unavailable",
                "of 10,000 only: it stopped at 16,368 threads: Resource temporarily unavailable",
            ]
        );
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
