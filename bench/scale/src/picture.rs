//! How much is done with how many cores: a panel for each workload, a line for each design.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::report::Results;
use crate::scale::{Cell, ROWS, Row};

const SIZE: (u32, u32) = (1200, 800);
const HEAD: u32 = 92;
const INK: RGBColor = RGBColor(38, 43, 51);
const FAINT: RGBColor = RGBColor(222, 226, 231);
const QUIET: RGBColor = RGBColor(150, 158, 168);
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
];

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(crate) fn draw(results: &Results, path: &Path) -> Result<()> {
    let mut svg = String::new();
    draw_on(results, SVGBackend::with_string(&mut svg, SIZE))
        .map_err(|error| anyhow!("{error}"))?;
    std::fs::write(path, svg)?;
    Ok(())
}

fn font(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour)
}

fn draw_on(results: &Results, backend: SVGBackend<'_>) -> Drawn {
    let root = backend.into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(HEAD);
    let title = "More cores than there are, simulated: thousands a second by number of cores (higher is better)";
    head.draw_text(title, &font(19, INK), (24, 12))?;
    let mut names: Vec<&str> = results
        .designs
        .iter()
        .map(|cell| cell.design.name)
        .collect();
    names.truncate(COLOURS.len());
    let ideal = ("as many times as cores", QUIET);
    let legend = names.iter().copied().zip(COLOURS).chain([ideal]);
    for (place, (name, colour)) in legend.enumerate() {
        let (x, y) = (24 + place as i32 % 4 * 290, 44 + place as i32 / 4 * 22);
        head.draw(&PathElement::new(
            [(x, y + 7), (x + 28, y + 7)],
            colour.stroke_width(3),
        ))?;
        head.draw_text(name, &font(14, INK), (x + 36, y))?;
    }
    for (area, row) in body
        .margin(0, 10, 10, 10)
        .split_evenly((2, 3))
        .iter()
        .zip(&ROWS)
    {
        draw_panel(results, row, &names, area)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(results: &Results, row: &Row, names: &[&str], area: &Area<'_>) -> Drawn {
    let cells: Vec<&Cell> = results
        .designs
        .iter()
        .filter(|cell| cell.row == row.name)
        .collect();
    let thousands = |cell: &Cell| (cell.cores as f64, cell.outcome.per_second() / 1e3);
    let points: Vec<_> = cells.iter().map(|cell| thousands(cell)).collect();
    let Some(&(fewest, first)) = points.first() else {
        return Ok(());
    };
    let most = points.iter().fold(0.0, |most, point| point.0.max(most));
    let highest = points.iter().fold(0.0, |most, point| point.1.max(most));
    let lowest = points.iter().fold(first, |least, point| point.1.min(least));
    let top = highest * 3.0;
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .caption(row.name, font(14, INK))
        .x_label_area_size(26)
        .y_label_area_size(58)
        .build_cartesian_2d(
            (fewest / 1.2..most * 1.2).log_scale(),
            (lowest / 1.5..top).log_scale(),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(FAINT)
        .label_style(font(12, INK))
        .y_labels(4)
        .x_label_formatter(&|cores| format!("{cores:.0}"))
        .y_label_formatter(&|rate| format!("{rate:.0}"))
        .draw()?;
    // As far as there is room.
    let end = most.min(fewest * top / first);
    let ideal = [(fewest, first), (end, first * end / fewest)];
    chart.draw_series(LineSeries::new(ideal, QUIET.stroke_width(1)))?;
    for (name, colour) in names.iter().zip(COLOURS) {
        let of_design = || {
            cells
                .iter()
                .filter(|cell| cell.design.name == *name)
                .map(|cell| thousands(cell))
        };
        chart.draw_series(LineSeries::new(of_design(), colour.stroke_width(2)))?;
        chart.draw_series(of_design().map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    Ok(())
}
