//! Bars of the figures that matter most, a panel each.

use super::figures::short;
use super::report::Results;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::path::Path;

/// Rows and figures, with titles.
const PANELS: [(&str, &str, &str); 15] = [
    ("spawn and join, 1 worker", "ns", "spawn and join, ns"),
    ("yield, 1,000 threads", "ns", "yield among 1,000, ns"),
    ("ping-pong, 2 workers", "ns", "ping-pong on two workers, ns"),
    (
        "mpsc bounded, 4:1, 2 workers",
        "ns",
        "mpsc on two workers, ns",
    ),
    (
        "skynet, 100,000 leaves, 1 worker",
        "ns",
        "skynet, ns a leaf",
    ),
    ("100,000 sleep", "bytes", "asleep, bytes each"),
    (
        "wake-up from idle: timer",
        "p50_us",
        "a timer's lateness, p50, us",
    ),
    (
        "slow neighbour",
        "p99_us",
        "beside a slow neighbour, p99, us",
    ),
    (
        "echo, 1,000 connections",
        "cpu_us",
        "echo, 1,000: CPU us a request",
    ),
    ("echo, 9,000 connections", "p99_us", "echo, 9,000: p99, us"),
    (
        "short connections",
        "per_second",
        "short connections a second",
    ),
    (
        "HTTP/1.1, 64 connections",
        "per_second",
        "HTTP requests a second",
    ),
    (
        "axum, 64 connections",
        "cpu_us",
        "axum, 64: CPU us a request",
    ),
    (
        "axum, 1,000 connections",
        "cpu_us",
        "axum, 1,000: CPU us a request",
    ),
    ("axum, 9,000 connections", "p99_us", "axum, 9,000: p99, us"),
];
const COLUMNS: usize = 3;
const SIZE: (u32, u32) = (1200, 1250);

pub(super) fn draw(results: &Results, path: &Path) -> Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, area) in PANELS
        .iter()
        .zip(root.split_evenly((PANELS.len() / COLUMNS, COLUMNS)))
    {
        draw_panel(results, panel, &area).map_err(|error| anyhow!("{error}"))?;
    }
    root.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_panel(
    results: &Results,
    (name, key, title): &(&str, &str, &str),
    area: &Area<'_>,
) -> Result<(), Box<dyn std::error::Error>> {
    let (width, height) = area.dim_in_pixel();
    area.draw(&Text::new(*title, (12, 10), ("sans-serif", 16).into_font()))?;
    let Some(row) = results.rows.iter().find(|row| row.name == *name) else {
        return Ok(());
    };
    let medians: Vec<_> = results
        .programs
        .iter()
        .enumerate()
        .map(|(index, (program, _))| (program, row.median(index, key)))
        .collect();
    let most = medians
        .iter()
        .filter_map(|(_, median)| *median)
        .fold(0.0, f64::max);
    let step = (height as i32 - 40) / medians.len().max(1) as i32;
    let (left, room) = (110, f64::from(width) - 190.0);
    for (place, (program, median)) in medians.into_iter().enumerate() {
        let top = 36 + place as i32 * step;
        let font = || ("sans-serif", 13).into_font();
        area.draw(&Text::new(program.as_str(), (12, top), font()))?;
        let end = left + median.map_or(0, |median| (median / most * room).max(1.0) as i32);
        if median.is_some() {
            let color = if program.starts_with("roving") {
                RGBColor(0, 114, 178)
            } else {
                RGBColor(170, 170, 170)
            };
            let bar = [(left, top), (end, top + step * 7 / 10)];
            area.draw(&Rectangle::new(bar, color.filled()))?;
        }
        let label = median.map_or("-".into(), short);
        area.draw(&Text::new(label, (end + 5, top), font()))?;
    }
    Ok(())
}
