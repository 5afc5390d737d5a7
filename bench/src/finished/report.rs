//! What came of it: a table of medians, and in words how the two ways compare.

use super::{Measured, Options};
use crate::connections::progress::grouped;
use crate::connections::results::Row;
use crate::machine::Machine;
use crate::server::ServerKind;
use crate::table;
use comfy_table::CellAlignment;
use std::fmt::Write;

/// A figure: how it is called, what it is of a round, and with how many digits after the point it is shown.
struct Figure {
    name: &'static str,
    of: fn(&Row) -> Option<f64>,
    digits: usize,
}

const FIGURES: [Figure; 7] = [
    Figure {
        name: "OS threads",
        of: |row| Some(row.max_os_threads_per_process as f64),
        digits: 0,
    },
    Figure {
        name: "bytes/connection",
        of: |row| row.bytes_per_connection.map(|bytes| bytes as f64),
        digits: 0,
    },
    Figure {
        name: "of these resident",
        of: |row| {
            row.memory_per_connection
                .map(|memory| memory.resident as f64)
        },
        digits: 0,
    },
    Figure {
        name: "connects/s",
        of: |row| Some(row.connects_per_second),
        digits: 0,
    },
    Figure {
        name: "requests/s",
        of: |row| row.requests_per_second,
        digits: 0,
    },
    Figure {
        name: "p99 ms",
        of: |row| row.latency_us.map(|latency| latency.p99 / 1_000.0),
        digits: 1,
    },
    Figure {
        name: "CPU us/request",
        of: |row| row.cpu_us_per_request,
        digits: 1,
    },
];

impl Measured<'_> {
    fn median(&self, figure: &Figure) -> Option<f64> {
        let of = self.rounds.iter().filter_map(figure.of);
        let mut values: Vec<f64> = of.collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

/// All of it, ready to print.
pub(super) fn render(machine: &Machine, options: &Options, all: &[Measured<'_>]) -> String {
    let mut table = table::ruled();
    let names = FIGURES.iter().map(|figure| figure.name);
    table.set_header(["program", "threads"].into_iter().chain(names));
    for one in all {
        let threads = match one.way {
            ServerKind::Adopted => "green, by roving-run",
            _ => "OS",
        };
        let figures = FIGURES.iter().map(|figure| {
            let shown = |value| match figure.digits {
                0 => grouped(value as u64),
                digits => format!("{value:.digits$}"),
            };
            one.median(figure).map_or_else(|| "-".into(), shown)
        });
        let words = [one.program.name.to_owned(), threads.to_owned()];
        table.add_row(words.into_iter().chain(figures));
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        if place > 1 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut out = format!(
        "\n{} connections, all active; messages of {} bytes; medians of {} rounds of {} s\n{} ({} cores), {}\n\n{table}\n\n",
        grouped(options.connections.into()),
        options.message,
        options.rounds,
        options.seconds,
        machine.cpu,
        machine.cores,
        machine.ground(),
    );
    for pair in all.chunks_exact(2) {
        let [threads, green] = pair else { continue };
        let ratios = FIGURES.iter().filter_map(|figure| {
            let (before, now) = (threads.median(figure)?, green.median(figure)?);
            (before > 0.0).then(|| format!("{:.2} x the {}", now / before, figure.name))
        });
        let ratios: Vec<String> = ratios.collect();
        let _ = writeln!(
            out,
            "{}, green against OS threads: {}",
            threads.program.name,
            ratios.join(", ")
        );
    }
    let disturbed = all.iter().flat_map(|one| &one.rounds);
    let most = disturbed
        .filter_map(|row| row.other_cpu_percent)
        .fold(0.0, f64::max);
    let _ = writeln!(
        out,
        "Other programs used {most:.0} % of a core at most meanwhile"
    );
    out
}
