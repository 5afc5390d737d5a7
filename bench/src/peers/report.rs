//! What came of it: medians, the table, and the data of the file of results.

use super::figures::{RowResults, short};
use super::goals::Goal;
use crate::machine::Machine;
use anyhow::{Result, ensure};
use serde::Serialize;
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
        "# Roving beside its peers\n\n{}, {} cores, {}; {} UTC; medians of {} rounds. {}.\n",
        machine.cpu,
        machine.cores,
        machine.rustc,
        results.date,
        results.rounds,
        machine.ground()
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
