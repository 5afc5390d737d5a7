//! What came of it: medians, the table, and the data of the file of results.

use super::cell::Measured;
use super::goals::Goal;
use super::rows::{Figure, Row};
use crate::machine::Machine;
use anyhow::{Result, ensure};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

#[derive(Debug, Serialize)]
pub(super) struct Results {
    pub(super) schema: u32,
    pub(super) benchmark: &'static str,
    /// UTC, when it ended.
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) rounds: u32,
    /// Names and versions.
    pub(super) programs: Vec<(String, String)>,
    pub(super) rows: Vec<RowResults>,
    pub(super) goals: Vec<Goal>,
}

/// A row, with what was measured of each program.
#[derive(Debug, Serialize)]
pub(super) struct RowResults {
    pub(super) name: String,
    #[serde(skip)]
    figures: &'static [Figure],
    /// By program, and by figure, every round.
    pub(super) samples: Vec<BTreeMap<String, Vec<f64>>>,
    /// By program: why there are no figures.
    pub(super) notes: Vec<Option<String>>,
}

impl RowResults {
    pub(super) fn new(row: &Row, programs: usize) -> Self {
        Self {
            name: row.name.clone(),
            figures: row.figures,
            samples: vec![BTreeMap::new(); programs],
            notes: vec![None; programs],
        }
    }

    pub(super) fn add(&mut self, program: usize, measured: Measured) {
        match measured {
            Measured::Figures(figures) => {
                for (key, value) in figures {
                    self.samples[program].entry(key).or_default().push(value);
                }
            }
            Measured::Note(note) => self.notes[program] = Some(note),
        }
    }

    /// The median of a program's figure.
    pub(super) fn median(&self, program: usize, key: &str) -> Option<f64> {
        median(self.samples[program].get(key)?)
    }

    /// What was measured of a program last, for the log.
    pub(super) fn latest(&self, program: usize) -> String {
        if let Some(note) = &self.notes[program] {
            return note.clone();
        }
        let samples = self.samples[program].iter();
        let last = samples.filter_map(|(key, all)| Some(format!("{key} {}", short(*all.last()?))));
        last.collect::<Vec<_>>().join(", ")
    }
}

pub(super) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        _ if sorted.is_empty() => None,
        0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

/// A number in three or four digits.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size < 1.0 => format!("{value:.3}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => crate::connections::progress::grouped(value.round() as u64),
    }
}

/// The date and time in a form that sorts and is a file's name.
pub(super) fn today() -> Result<String> {
    let date = Command::new("date")
        .args(["-u", "+%Y-%m-%d-%H%M%S"])
        .output()?;
    ensure!(date.status.success(), "date: {}", date.status);
    Ok(String::from_utf8_lossy(&date.stdout).trim().to_owned())
}

/// The table for people, with the goals below.
pub(super) fn markdown(results: &Results) -> String {
    let mut out = String::new();
    write_markdown(results, &mut out).expect("a string takes everything");
    out
}

fn write_markdown(results: &Results, out: &mut String) -> std::fmt::Result {
    let machine = &results.machine;
    writeln!(
        out,
        "# Roving beside its peers\n\n{}, {} cores, Linux {}, {}; {} UTC; medians of {} rounds.\n",
        machine.cpu, machine.cores, machine.kernel, machine.rustc, results.date, results.rounds
    )?;
    for (name, version) in &results.programs {
        writeln!(out, "- `{name}`: {version}")?;
    }
    let names = results.programs.iter().map(|(name, _)| name.as_str());
    writeln!(
        out,
        "\n| work | unit | {} |",
        names.collect::<Vec<_>>().join(" | ")
    )?;
    writeln!(out, "|---|---|{}", "--:|".repeat(results.programs.len()))?;
    let mut notes: Vec<String> = Vec::new();
    for row in &results.rows {
        for (place, figure) in row.figures.iter().enumerate() {
            let name = if place == 0 { row.name.as_str() } else { "" };
            write!(out, "| {name} | {} |", figure.unit)?;
            let medians: Vec<_> = (0..results.programs.len())
                .map(|program| row.median(program, figure.key))
                .collect();
            for (program, median) in medians.iter().enumerate() {
                match (median, &row.notes[program]) {
                    (Some(median), _) => write!(out, " {} |", short(*median))?,
                    (None, Some(note)) => {
                        let known = notes.iter().position(|known| known == note);
                        let index = known.unwrap_or_else(|| {
                            notes.push(note.clone());
                            notes.len() - 1
                        });
                        write!(out, " ({}) |", index + 1)?;
                    }
                    (None, None) => write!(out, " - |")?,
                }
            }
            writeln!(out)?;
        }
    }
    if !notes.is_empty() {
        writeln!(out, "\nNot measured:\n")?;
        for (index, note) in notes.iter().enumerate() {
            writeln!(out, "{}. {note}", index + 1)?;
        }
    }
    writeln!(out, "\n## Goals\n\n| goal | measured | |\n|---|---|---|")?;
    for goal in &results.goals {
        let verdict = if goal.met { "met" } else { "**missed**" };
        writeln!(out, "| {} | {} | {verdict} |", goal.goal, goal.measured)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.1234, 1.234, 12.34, 123.4, 12_345.6].map(short);
        assert_eq!(shown, ["0", "0.123", "1.23", "12.3", "123", "12,346"]);
    }
}
