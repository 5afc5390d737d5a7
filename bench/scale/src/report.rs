//! The tables, and the file of results.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use serde::Serialize;

use crate::costs::{Assumed, Costs};
use crate::scale::{Cell, ROWS};
use crate::validation::{Validation, ratios};

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) schema: u32,
    pub(crate) benchmark: &'static str,
    /// Whether they were measured in this run.
    pub(crate) measured: bool,
    pub(crate) costs: Costs,
    /// Low, middle, high.
    pub(crate) assumed: [Assumed; 3],
    pub(crate) validation: Vec<Validation>,
    pub(crate) designs: Vec<Cell>,
    pub(crate) rules: Vec<Cell>,
    pub(crate) ranges: Vec<Cell>,
}

fn table(head: impl IntoIterator<Item = impl ToString>) -> Table {
    let rule = LineStyle::none().fill('─').junction('─');
    let style = TableStyle::new();
    let mut table = Table::new();
    table.load_style(
        style
            .top_border(rule)
            .header_separator(rule)
            .bottom_border(rule),
    );
    table.set_header(head.into_iter().map(|cell| cell.to_string()));
    table
}

fn right_aligned(mut table: Table, from: usize) -> Table {
    let columns = table.column_iter_mut().skip(from);
    columns.for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    table
}

pub(crate) fn print(results: &Results) {
    if !results.validation.is_empty() {
        println!("\nWhat two workers take to what one takes: by the clock, of processors\n");
        println!("{}", validation(&results.validation));
    }
    println!(
        "\nBy design. Where there is as much to do as can be done: millions a second, and how many times what one core does"
    );
    println!(
        "as it is today. Else: how late they are, p50 and p99 in us, and the share of one core's rate times the cores\n"
    );
    println!(
        "{}",
        by_column(&results.designs, |cell| cell.design.name.to_owned())
    );
    println!("\nBy the rules for searching and stealing\n");
    println!(
        "{}",
        by_column(&results.rules, |cell| cell.design.name.to_owned())
    );
    println!("\nWith what is assumed low, in the middle and high\n");
    let column = |cell: &Cell| format!("{}, {:?}", cell.design.name, cell.range).to_lowercase();
    println!("{}", by_column(&results.ranges, column));
}

fn validation(all: &[Validation]) -> Table {
    let head = ["", "here", "simulated", "apart, here"];
    let mut table = table(head);
    let pair = |[clock, processors]: [f64; 2]| format!("{clock:.2}, {processors:.2}");
    for one in all {
        table.add_row([
            one.name.to_owned(),
            pair(ratios(one.real)),
            pair(ratios(one.simulated)),
            pair(ratios([one.real[0], one.apart])),
        ]);
    }
    right_aligned(table, 1)
}

/// A row for each workload and number of cores.
fn by_column(cells: &[Cell], column: impl Fn(&Cell) -> String) -> Table {
    let mut columns: Vec<String> = Vec::new();
    for cell in cells {
        if !columns.contains(&column(cell)) {
            columns.push(column(cell));
        }
    }
    let head = ["work", "cores"].map(str::to_owned);
    let mut table = table(head.iter().chain(&columns));
    for of_row in cells.chunk_by(|one, next| (one.row, one.cores) == (next.row, next.cores)) {
        let first = &of_row[0];
        let one_core = |cell: &Cell| {
            let mut same = cells
                .iter()
                .filter(|other| other.row == cell.row && other.range == cell.range);
            same.find(|other| other.cores == 1)
                .map(|other| other.outcome.per_second())
        };
        let name = if first.cores == cells[0].cores {
            first.row
        } else {
            ""
        };
        let texts = columns.iter().map(|name| {
            let cell = of_row.iter().find(|cell| column(cell) == *name);
            cell.map_or(String::new(), |cell| text(cell, one_core(cell)))
        });
        let row = [name.to_owned(), first.cores.to_string()];
        table.add_row(row.into_iter().chain(texts));
    }
    right_aligned(table, 1)
}

fn text(cell: &Cell, one_core: Option<f64>) -> String {
    let outcome = &cell.outcome;
    let times = one_core.map(|one| outcome.per_second() / one);
    let is_full = ROWS.iter().any(|row| row.name == cell.row && row.is_full);
    if is_full {
        let times = times.map_or(String::new(), |times| format!(" (x{times:.1})"));
        return format!("{:.2}{times}", outcome.per_second() / 1e6);
    }
    let us = |ns: Option<u64>| ns.map_or("-".into(), |ns| short(ns as f64 / 1e3));
    let share = times.map(|times| format!(" ({:.0} %)", 100.0 * times / cell.cores as f64));
    format!(
        "{}, {}{}",
        us(outcome.p50_ns),
        us(outcome.p99_ns),
        share.unwrap_or_default()
    )
}

fn short(number: f64) -> String {
    if number < 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.0}")
    }
}
