//! Which workloads are simulated, with how many cores and of which designs.

use serde::Serialize;

use crate::clock::Time;
use crate::costs::{Assumed, Costs, Range};
use crate::design::{DESIGNS, Design, PROPOSED, RULES, TODAY};
use crate::simulation::{Outcome, Plan, run};
use crate::workload::Kind;

pub(crate) struct Row {
    pub(crate) name: &'static str,
    kind: fn(usize) -> Kind,
    window: Option<(Time, Time)>,
    /// Whether it asks for as much as there is, so that what counts is how much is done; else, how late it is.
    pub(crate) is_full: bool,
}

/// Of endless work this counts.
const WINDOW: Option<(Time, Time)> = Some((5_000_000, 15_000_000));

pub(crate) const ROWS: [Row; 6] = [
    Row {
        name: "skynet, 100,000 leaves",
        kind: |_| Kind::Skynet { levels: 5 },
        window: None,
        is_full: true,
    },
    Row {
        name: "4 green producers, tasks of 2 us",
        kind: |_| Kind::Producers {
            producers: 4,
            tasks: 20_000,
            ns: 2_000.0,
        },
        window: None,
        is_full: true,
    },
    Row {
        name: "4 OS threads inject tasks of 2 us",
        kind: |_| Kind::Injected {
            producers: 4,
            tasks: 20_000,
            ns: 2_000.0,
        },
        window: None,
        is_full: true,
    },
    Row {
        name: "echo, 100 connections a core, all busy",
        kind: |cores| echo(cores, 200_000.0),
        window: WINDOW,
        is_full: true,
    },
    Row {
        name: "echo, 100 connections a core, 100,000 requests/s a core",
        kind: |cores| echo(cores, 1_000_000.0),
        window: WINDOW,
        is_full: false,
    },
    Row {
        name: "200 sleepers a core, up to 4 ms, each then 2 us",
        kind: |cores| Kind::Sleepers {
            threads: 200 * cores,
            naps: u32::MAX,
            most_ns: 4_000_000.0,
            ns: 2_000.0,
        },
        window: WINDOW,
        is_full: false,
    },
];

fn echo(cores: usize, think_ns: f64) -> Kind {
    Kind::Echo {
        connections: 100 * cores,
        requests: u32::MAX,
        think_ns,
        ns: 2_000.0,
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) row: &'static str,
    pub(crate) cores: usize,
    pub(crate) range: Range,
    pub(crate) design: Design,
    pub(crate) outcome: Outcome,
}

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale<'a> {
    pub(crate) costs: Costs,
    pub(crate) cores: &'a [usize],
    /// Is told what comes next.
    pub(crate) tell: fn(&str),
}

impl Scale<'_> {
    /// All workloads of all designs.
    pub(crate) fn designs(&self) -> Vec<Cell> {
        self.cells(ROWS.iter(), &DESIGNS, &[Range::Middle])
    }

    /// Who searches and how much is stolen.
    pub(crate) fn rules(&self) -> Vec<Cell> {
        let rows = ROWS.iter().filter(|row| row.is_full);
        self.cells(rows, &RULES, &[Range::Middle])
    }

    /// As it is, and as is proposed, with the assumed low and high.
    pub(crate) fn ranges(&self) -> Vec<Cell> {
        let rows = ROWS.iter().filter(|row| row.is_full);
        let ranges = [Range::Low, Range::Middle, Range::High];
        self.cells(rows, &[TODAY, PROPOSED], &ranges)
    }

    fn cells<'r>(
        &self,
        rows: impl Iterator<Item = &'r Row>,
        designs: &[Design],
        ranges: &[Range],
    ) -> Vec<Cell> {
        let mut cells = Vec::new();
        for row in rows {
            for &cores in self.cores {
                for &design in designs {
                    cells.extend(
                        ranges
                            .iter()
                            .map(|range| self.cell(row, cores, design, *range)),
                    );
                }
            }
        }
        cells
    }

    fn cell(&self, row: &Row, cores: usize, design: Design, range: Range) -> Cell {
        (self.tell)(&format!("{}, {cores} cores, {}", row.name, design.name));
        let assumed = Assumed::of(range);
        let outcome = run(&Plan {
            kind: (row.kind)(cores),
            workers: cores,
            design,
            costs: self.costs.elsewhere(&assumed),
            assumed,
            window: row.window,
        });
        Cell {
            row: row.name,
            cores,
            range,
            design,
            outcome,
        }
    }
}
