//! What came of it: medians, the whole table, and the data of the file of results.

use super::figures::{RowResults, short};
use super::goals::{self, Goal};
use crate::machine::Machine;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::process::Command;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Results {
    pub(super) schema: u32,
    pub(super) benchmark: String,
    /// UTC, when it ended.
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) rounds: u32,
    /// Minutes that it took.
    #[serde(default)]
    pub(super) minutes: f64,
    /// Names and versions.
    pub(super) programs: Vec<(String, String)>,
    pub(super) rows: Vec<RowResults>,
    /// Found anew when a file is read.
    #[serde(skip_deserializing)]
    pub(super) goals: Vec<Goal>,
}

impl Results {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.programs.iter().map(|(name, _)| name.as_str())
    }

    /// Finds the goals of which there are figures.
    pub(super) fn look_for_goals(&mut self) {
        let programs: Vec<&str> = self.names().collect();
        self.goals = goals::goals(&self.rows, &programs);
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
        "# Roving and its peers\n\n{}, {} cores, {}; {} UTC; medians of {} rounds, {} minutes. {}.\n",
        machine.cpu,
        machine.cores,
        machine.rustc,
        results.date,
        results.rounds,
        short(results.minutes),
        machine.ground()
    )?;
    for (name, version) in &results.programs {
        writeln!(out, "- `{name}`: {version}")?;
    }
    let names = results.names();
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
                match median {
                    Some(median) => write!(out, " {}", short(*median))?,
                    None => write!(out, " -")?,
                }
                if let Some(note) = &row.notes[program] {
                    let known = notes.iter().position(|known| known == note);
                    let index = known.unwrap_or_else(|| {
                        notes.push(note.clone());
                        notes.len() - 1
                    });
                    write!(out, " ({})", index + 1)?;
                }
                write!(out, " |")?;
            }
            writeln!(out)?;
        }
    }
    if !notes.is_empty() {
        writeln!(out, "\nMeasured in another form, or not at all:\n")?;
        for (index, note) in notes.iter().enumerate() {
            writeln!(out, "{}. {note}", index + 1)?;
        }
    }
    writeln!(
        out,
        "\n## Goals\n\n| | Roving | against | ratio | goal | |\n|---|--:|--:|--:|--:|---|"
    )?;
    for goal in &results.goals {
        let ratio = goal
            .ratio
            .map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let verdict = if goal.met { "met" } else { "**missed**" };
        let Goal {
            goal,
            measured,
            beside,
            limit,
            ..
        } = goal;
        let measured = short(*measured);
        writeln!(
            out,
            "| {goal} | {measured} | {beside} | {ratio} | {limit} | {verdict} |"
        )?;
    }
    Ok(())
}
