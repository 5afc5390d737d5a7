//! Bars of the figures that matter most, a panel each.
//!
//! Each panel says which direction is better. A bar that dwarfs the others is cut, and its figure written; so is
//! whatever has no figure, or one of other work.

use super::figures::{RowResults, short};
use super::programs::Class;
use super::report::Results;
use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// Rows and figures, with titles.
const PANELS: [Panel; 18] = [
    ("spawn and join, 1 worker", "ns", "Spawn and join, ns"),
    (
        "spawn 1,000, then join all, 1 worker",
        "ns",
        "Spawn 1,000, then join all, ns each",
    ),
    (
        "skynet, 100,000 leaves, 1 worker",
        "ns",
        "Skynet, ns per leaf",
    ),
    ("yield, 2 threads", "ns", "Yield among 2, ns"),
    ("yield, 1,000 threads", "ns", "Yield among 1,000, ns"),
    ("yield, 100,000 threads", "ns", "Yield among 100,000, ns"),
    ("ping-pong, 2 workers", "ns", "Ping-pong, two workers, ns"),
    (
        "mpsc bounded, 4:1, 2 workers",
        "ns",
        "Bounded mpsc, two workers, ns",
    ),
    (
        "mutex, 8 contenders, 2 workers",
        "ns",
        "Mutex, two workers, ns",
    ),
    (
        "wake-up from idle: timer",
        "p50_us",
        "Lateness of a timer, p50, µs",
    ),
    (
        "slow neighbour",
        "p99_us",
        "Lateness beside a computing thread, p99, µs",
    ),
    ("100,000 sleep", "bytes", "Sleeping threads, bytes each"),
    (
        "echo, 1,000 connections",
        "cpu_us",
        "Echo, 1,000: CPU µs per request",
    ),
    ("echo, 9,000 connections", "p99_us", "Echo, 9,000: p99, µs"),
    (
        "echo, 10,000 connections, 1 % active",
        "bytes",
        "Idle connection, bytes",
    ),
    (
        "short connections",
        "per_second",
        "Short connections per second",
    ),
    (
        "HTTP/1.1, 64 connections",
        "per_second",
        "Bare HTTP, requests/s",
    ),
    (
        "framework (axum), 1,000 connections",
        "cpu_us",
        "axum, 1,000: CPU µs per request",
    ),
];
const COLUMNS: usize = 3;
const WIDTH: u32 = 1260;
const PANEL_HEIGHT: u32 = 236;
const HEAD: u32 = 84;
/// What stands before the bars, and after the longest.
const LEFT: i32 = 150;
const RIGHT: i32 = 110;
/// So many times the next one is too long.
const DWARFS: f64 = 3.0;

const INK: RGBColor = RGBColor(38, 43, 51);
const QUIET: RGBColor = RGBColor(100, 108, 120);

/// Writes the picture of `results` to `path`.
pub(super) fn draw(results: &Results, path: &Path) -> Result<()> {
    let panels: Vec<_> = PANELS
        .iter()
        .filter_map(|panel| Some((panel, results.rows.iter().find(|row| row.name == panel.0)?)))
        .collect();
    let size = (
        WIDTH,
        HEAD + panels.len().div_ceil(COLUMNS) as u32 * PANEL_HEIGHT,
    );
    let mut svg = String::new();
    draw_on(results, &panels, SVGBackend::with_string(&mut svg, size))
        .map_err(|error| anyhow!("{error}"))?;
    std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
}

type Panel = (&'static str, &'static str, &'static str);
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw_on(results: &Results, panels: &[(&Panel, &RowResults)], backend: SVGBackend<'_>) -> Drawn {
    let root = backend.into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(HEAD);
    head.draw_text("Roving and its peers", &text(22, INK), (16, 14))?;
    let machine = &results.machine;
    let about = format!(
        "{} cores of {}, Linux {}; medians of {} rounds. A bar with a gap is cut off. * part of the work, or in another form: see the table.",
        machine.cores, machine.cpu, machine.kernel, results.rounds
    );
    head.draw_text(&about, &text(13, QUIET), (16, 48))?;
    let places = body.split_evenly((panels.len().div_ceil(COLUMNS).max(1), COLUMNS));
    for ((panel, row), area) in panels.iter().zip(places) {
        draw_panel(results, row, panel, &area)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(
    results: &Results,
    row: &RowResults,
    (_, key, title): &Panel,
    area: &Area<'_>,
) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    area.draw_text(title, &text(16, INK), (16, 4))?;
    let figure = row.figures.iter().find(|figure| figure.key == *key);
    let better = match figure.is_some_and(|figure| figure.more_is_better) {
        true => "more is better →",
        false => "← less is better",
    };
    let at_right = text(12, QUIET).pos(Pos::new(HPos::Right, VPos::Top));
    area.draw_text(better, &at_right, (width as i32 - 24, 7))?;

    let programs = results.names().enumerate();
    let medians: Vec<_> = programs
        .filter(|(program, _)| row.has(*program))
        .map(|(program, name)| (program, name, row.median(program, key)))
        .collect();
    let most = longest(
        medians
            .iter()
            .filter_map(|(_, _, median)| *median)
            .collect(),
    );
    let step = (height as i32 - 44) / results.programs.len().max(1) as i32;
    let room = f64::from(width as i32 - LEFT - RIGHT);
    for (place, (program, name, median)) in medians.into_iter().enumerate() {
        let top = 32 + place as i32 * step;
        area.draw_text(name, &text(13, INK), (16, top))?;
        let Some(median) = median else {
            area.draw_text("not possible", &text(12, QUIET), (LEFT + 4, top))?;
            continue;
        };
        let is_cut = median > most;
        let share = (median / most).min(1.0);
        let end = LEFT + (share * room).max(1.0) as i32;
        let bottom = top + step * 7 / 10;
        let bar = [(LEFT, top), (end, bottom)];
        area.draw(&Rectangle::new(bar, colour(name).filled()))?;
        if is_cut {
            let gap = end - 30;
            let corners = vec![
                (gap, bottom),
                (gap + 6, top),
                (gap + 12, top),
                (gap + 6, bottom),
            ];
            area.draw(&Polygon::new(corners, WHITE.filled()))?;
        }
        let star = match row.notes[program] {
            Some(_) => " *",
            None => "",
        };
        let label = format!("{}{star}", short(median));
        area.draw_text(&label, &text(13, INK), (end + 5, top))?;
    }
    Ok(())
}

/// The figure whose bar takes all the room: the most, or, if some dwarf at least half of all, the most of the others.
fn longest(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let pairs = figures
        .windows(2)
        .skip((figures.len() / 2).saturating_sub(1));
    let dwarfed = pairs
        .filter(|pair| pair[1] > DWARFS * pair[0])
        .map(|pair| pair[0]);
    let most = dwarfed.reduce(f64::min).or(figures.last().copied());
    most.filter(|most| *most > 0.0).unwrap_or(1.0)
}

fn colour(program: &str) -> RGBColor {
    match (program, Class::of(program)) {
        ("roving", _) => RGBColor(0, 114, 178),
        (_, Class::Roving) => RGBColor(110, 175, 220),
        (_, Class::Floor) => RGBColor(215, 219, 224),
        _ => RGBColor(165, 172, 181),
    }
}

fn text(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size)
        .into_font()
        .color(&colour)
        .pos(Pos::new(HPos::Left, VPos::Top))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::rows::rows;

    #[test]
    fn what_dwarfs_the_others_does_not_say_how_long_they_are() {
        assert_eq!(longest(vec![]), 1.0);
        assert_eq!(longest(vec![0.0]), 1.0);
        assert_eq!(longest(vec![5.0, 100.0, 90.0, 80.0]), 100.0);
        assert_eq!(longest(vec![45_000.0, 250.0, 300.0, 430.0]), 430.0);
        assert_eq!(longest(vec![45_000.0, 4_000.0, 300.0, 250.0, 430.0]), 430.0);
    }

    #[test]
    fn each_panel_is_of_a_figure_that_is_measured() {
        let rows = rows(false);
        for (name, key, _) in PANELS {
            let row = rows.iter().find(|row| row.name == name).expect(name);
            assert!(row.figures.iter().any(|figure| figure.key == key), "{name}");
        }
        assert_eq!(PANELS.len() % COLUMNS, 0);
    }
}
