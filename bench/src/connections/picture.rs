//! The results as a picture: four small diagrams over the number of connections, all servers in
//! each.
//!
//! Every server has its colour and its mark in all four, so that it is known without the colour
//! too. Numbers of connections, latencies and threads span powers of ten and have logarithmic axes;
//! the others start at zero.

use super::progress::grouped;
use super::results::{Results, Row};
use super::table::conclusions;
use crate::load::ExchangeKind;
use crate::server::ServerKind;
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

const SIZE: (u32, u32) = (1100, 820);
const INK: RGBColor = RGBColor(38, 43, 51);
const FAINT: RGBColor = RGBColor(222, 226, 231);
const QUIET: RGBColor = RGBColor(100, 108, 120);

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One of the diagrams: its title, whether its axis is logarithmic, and the figure of a row.
struct Diagram {
    title: &'static str,
    logarithmic: bool,
    figure: fn(&Row) -> Option<f64>,
}

const DIAGRAMS: [Diagram; 4] = [
    Diagram {
        title: "Requests a second",
        logarithmic: false,
        figure: |row| row.requests_per_second,
    },
    Diagram {
        title: "Memory a connection (KiB, with what the kernel keeps for threads)",
        logarithmic: false,
        figure: |row| row.bytes_per_connection.map(|bytes| bytes as f64 / 1024.0),
    },
    Diagram {
        title: "p99 latency (ms)",
        logarithmic: true,
        figure: |row| row.latency_us.map(|latency| latency.p99 / 1_000.0),
    },
    Diagram {
        title: "OS threads of all server processes",
        logarithmic: true,
        figure: |row| {
            let threads = row.max_os_threads_per_process * row.server_processes;
            row.requests.map(|_| threads as f64)
        },
    },
];

/// Writes the picture of `results` to `path`.
pub(super) fn draw(results: &Results, path: &Path) -> Result<()> {
    let mut svg = String::new();
    draw_on(results, SVGBackend::with_string(&mut svg, SIZE))
        .map_err(|error| anyhow!("{error}"))?;
    std::fs::write(path, svg)?;
    Ok(())
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw_on(results: &Results, backend: SVGBackend<'_>) -> Drawn {
    let root = backend.into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(92);
    let machine = &results.machine;
    let active = results
        .parameters
        .active
        .map_or("all".to_owned(), |active| grouped(active.into()));
    let title = match results.parameters.exchange {
        ExchangeKind::Echo => "A thread for each connection: green or OS",
        ExchangeKind::Http => "HTTP with a thread for each connection: green or OS",
    };
    head.draw_text(title, &text(22, INK), (24, 14))?;
    let subtitle = format!(
        "{} cores of {}, Linux {}; messages of {} bytes, {active} connections active",
        machine.cores, machine.cpu, machine.kernel, results.parameters.message_bytes
    );
    head.draw_text(&subtitle, &text(13, QUIET), (24, 44))?;
    if results.rows.iter().any(|row| row.stopped_by.is_some())
        && let Some(stopped) = conclusions(&results.rows).first()
    {
        head.draw_text(&one_line(stopped), &text(13, QUIET), (24, 64))?;
    }
    legend(&head, results)?;
    for (area, diagram) in body
        .margin(0, 12, 12, 12)
        .split_evenly((2, 2))
        .iter()
        .zip(&DIAGRAMS)
    {
        draw_diagram(area, diagram, results)?;
    }
    root.present()?;
    Ok(())
}

/// As much of `text` as there is room for.
fn one_line(text: &str) -> String {
    const ROOM: usize = 150;
    match text.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

fn kinds(results: &Results) -> Vec<ServerKind> {
    let mut kinds: Vec<ServerKind> = results.rows.iter().map(|row| row.server).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn legend(head: &Canvas<'_>, results: &Results) -> Drawn {
    let mut x = SIZE.0 as i32 - 30 - 110 * kinds(results).len() as i32;
    for kind in kinds(results) {
        let y = 25;
        head.draw(&PathElement::new(
            [(x, y), (x + 30, y)],
            colour(kind).stroke_width(3),
        ))?;
        let (at, style) = ((x + 15, y), colour(kind).filled());
        match kind {
            ServerKind::Roving => head.draw(&Circle::new(at, 5, style))?,
            ServerKind::Adopted => head.draw(&Cross::new(at, 5, colour(kind).stroke_width(2)))?,
            ServerKind::Threads => head.draw(&TriangleMarker::new(at, 7, style))?,
        }
        let label = match kind {
            ServerKind::Roving => "roving",
            ServerKind::Adopted => "adopted",
            ServerKind::Threads => "OS threads",
        };
        head.draw_text(label, &text(15, INK), (x + 38, y - 9))?;
        x += 110;
    }
    Ok(())
}

fn draw_diagram(area: &Canvas<'_>, diagram: &Diagram, results: &Results) -> Drawn {
    let points = |kind: ServerKind| -> Vec<(f64, f64)> {
        let rows = results.rows.iter().filter(|row| row.server == kind);
        rows.filter_map(|row| Some((f64::from(row.connections), (diagram.figure)(row)?)))
            .collect()
    };
    let all: Vec<(f64, f64)> = kinds(results).into_iter().flat_map(points).collect();
    let across = || results.rows.iter().map(|row| f64::from(row.connections));
    let x = decades(across()).start / 1.5..across().fold(1.0, f64::max) * 1.5;
    let highest = all.iter().map(|point| point.1).fold(0.0, f64::max);
    let y = if diagram.logarithmic {
        decades(all.iter().map(|point| point.1))
    } else {
        0.0..if highest > 0.0 { highest * 1.15 } else { 1.0 }
    };
    let mut builder = ChartBuilder::on(area);
    builder
        .margin(10)
        .caption(diagram.title, text(15, INK))
        .x_label_area_size(38)
        .y_label_area_size(70);
    if diagram.logarithmic {
        plot(
            builder.build_cartesian_2d(x.log_scale(), y.log_scale())?,
            points,
            results,
        )
    } else {
        plot(
            builder.build_cartesian_2d(x.log_scale(), y)?,
            points,
            results,
        )
    }
}

fn plot<X, Y>(
    mut chart: ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    points: impl Fn(ServerKind) -> Vec<(f64, f64)>,
    results: &Results,
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(FAINT)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .label_style(text(12, QUIET))
        .x_desc("connections")
        .axis_desc_style(text(12, QUIET))
        .draw()?;
    for kind in kinds(results) {
        chart.draw_series(LineSeries::new(points(kind), colour(kind).stroke_width(2)))?;
        let style = colour(kind).filled();
        let marks = points(kind).into_iter();
        match kind {
            ServerKind::Roving => chart.draw_series(marks.map(|at| Circle::new(at, 5, style)))?,
            ServerKind::Adopted => {
                let style = colour(kind).stroke_width(2);
                chart.draw_series(marks.map(|at| Cross::new(at, 5, style)))?
            }
            ServerKind::Threads => {
                chart.draw_series(marks.map(|at| TriangleMarker::new(at, 7, style)))?
            }
        };
    }
    Ok(())
}

/// Colours that are told apart by every kind of eye.
fn colour(kind: ServerKind) -> RGBColor {
    match kind {
        ServerKind::Roving => RGBColor(0, 114, 178),
        ServerKind::Adopted => RGBColor(0, 158, 115),
        ServerKind::Threads => RGBColor(213, 94, 0),
    }
}

fn text(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size)
        .into_font()
        .color(&colour)
        .pos(Pos::new(HPos::Left, VPos::Top))
}

/// The powers of ten that hold all of `values`.
fn decades(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = values
        .filter(|value| *value > 0.0)
        .fold((f64::INFINITY, 0.0f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if low > high {
        return 1.0..10.0;
    }
    let start = low.log10().floor();
    let end = high.log10().ceil().max(start + 1.0);
    10f64.powf(start)..10f64.powf(end)
}

/// A number in few characters.
fn short(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        v if v >= 1e6 => format!("{}M", trimmed(v / 1e6)),
        v if v >= 1e3 => format!("{}k", trimmed(v / 1e3)),
        v => trimmed(v),
    }
}

fn trimmed(value: f64) -> String {
    let digits = if value >= 10.0 {
        0
    } else if value >= 0.1 {
        1
    } else {
        3
    };
    let shown = format!("{value:.digits$}");
    if shown.contains('.') {
        shown.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (0.01, "0.01"),
            (0.5, "0.5"),
            (100.0, "100"),
            (2_500.0, "2.5k"),
            (100_000.0, "100k"),
        ];
        for (value, shown) in cases {
            assert_eq!(short(value), shown);
        }
        assert_eq!(short(3e6), "3M");
    }

    #[test]
    fn decades_hold_all_values_and_never_collapse() {
        assert_eq!(decades([120.0, 9_000.0].into_iter()), 100.0..10_000.0);
        assert_eq!(decades([100.0].into_iter()), 100.0..1_000.0);
        assert_eq!(decades(std::iter::empty()), 1.0..10.0);
        assert_eq!(decades([0.0].into_iter()), 1.0..10.0);
    }
}
