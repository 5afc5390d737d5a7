//! The goals over several runs. A goal is held to the median of what it was in each: one quiet or noisy run decides none.

use super::figures::{median, short};
use super::goals::Goal;
use super::report::Results;
use std::fmt::Write;

/// The table for people of the goals that all of these runs have, in the first one's order.
pub(super) fn markdown(runs: &[Results]) -> String {
    let mut out = String::new();
    write_markdown(runs, &mut out).expect("a string takes everything");
    out
}

fn write_markdown(runs: &[Results], out: &mut String) -> std::fmt::Result {
    let dates: Vec<_> = runs.iter().map(|run| run.date.as_str()).collect();
    writeln!(
        out,
        "# Goals over {} runs\n\nOf {} UTC.\n",
        runs.len(),
        dates.join(", ")
    )?;
    writeln!(out, "| | in each run | median | goal | |")?;
    writeln!(out, "|---|---|--:|--:|---|")?;
    for goal in runs.first().map_or(&[][..], |first| &first.goals) {
        let in_each: Option<Vec<&Goal>> = runs.iter().map(|run| find(run, goal)).collect();
        let Some(in_each) = in_each else { continue };
        let held: Vec<f64> = in_each.iter().map(|goal| goal.held()).collect();
        let median = median(&held).expect("there is a run");
        let verdict = match goal.limit.is_met(median) {
            true => "met",
            false => "**missed**",
        };
        let held: Vec<_> = held.iter().map(|held| short(*held)).collect();
        writeln!(
            out,
            "| {} | {} | {} | {} | {verdict} |",
            goal.goal,
            held.join(", "),
            short(median),
            goal.limit,
        )?;
    }
    Ok(())
}

fn find<'a>(run: &'a Results, goal: &Goal) -> Option<&'a Goal> {
    run.goals.iter().find(|other| other.goal == goal.goal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::peers::goals::Limit;

    fn run(date: &str, goals: &[(&str, f64)]) -> Results {
        let limit = Limit::AtMost(1.0);
        let goals = goals.iter().map(|&(goal, ratio)| Goal {
            goal: goal.into(),
            measured: 100.0,
            beside: "another's".into(),
            ratio: Some(ratio),
            limit,
            met: limit.is_met(ratio),
        });
        Results {
            schema: 3,
            benchmark: "peers".into(),
            date: date.into(),
            machine: Machine::look(20_000),
            rounds: 1,
            minutes: 1.0,
            programs: Vec::new(),
            rows: Vec::new(),
            goals: goals.collect(),
        }
    }

    #[test]
    fn the_median_decides() {
        let table = markdown(&[
            run(
                "a",
                &[("one", 0.5), ("two", 1.5), ("of one run alone", 1.0)],
            ),
            run("b", &[("two", 0.9), ("one", 3.0)]),
            run("c", &[("one", 1.0), ("two", 1.25)]),
        ]);
        assert!(table.contains("Of a, b, c UTC."), "{table}");
        assert!(
            table.contains("| one | 0.500, 3.00, 1.00 | 1.00 | <= 1 | met |"),
            "{table}"
        );
        assert!(
            table.contains("| two | 1.50, 0.900, 1.25 | 1.25 | <= 1 | **missed** |"),
            "{table}"
        );
        assert!(!table.contains("of one run alone"), "{table}");
    }
}
