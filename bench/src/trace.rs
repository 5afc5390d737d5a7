//! Draws a trace that `Record::write_trace` has written: a lane for each worker, the runs of green threads in it, and lines
//! from who has woken somebody to what that one did then.

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use plotters::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;

const WIDTH: u32 = 1200;
const LANE: i32 = 64;
const TOP: i32 = 40;
const LEFT: i32 = 90;
/// Slices that are narrower have no text in them.
const NARROW: i32 = 46;

const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(150, 150, 150),
];

#[derive(Args)]
pub(crate) struct Options {
    /// The JSON of the trace
    trace: PathBuf,
    /// The picture, an SVG
    picture: PathBuf,
    /// Leaves out what was before, in microseconds from the first event
    #[arg(long, default_value_t = 0.0)]
    from: f64,
    /// Leaves out what was later
    #[arg(long, default_value_t = f64::INFINITY)]
    to: f64,
}

/// The time from the first event that is drawn, in microseconds, on the width of the picture.
struct Scale {
    begin: f64,
    length: f64,
}

impl Scale {
    fn x(&self, time: f64) -> i32 {
        let room = f64::from(WIDTH) - f64::from(LEFT) - 20.0;
        LEFT + ((time - self.begin) / self.length * room) as i32
    }
}

pub(crate) fn draw(options: &Options) -> Result<()> {
    let text = fs::read(&options.trace)
        .with_context(|| format!("no trace in {}", options.trace.display()))?;
    let trace: Value = serde_json::from_slice(&text)?;
    let all = trace["traceEvents"].as_array().context("it is no trace")?;
    let first = all.iter().filter_map(time).fold(f64::INFINITY, f64::min);
    let is_drawn = |event: &&Value| {
        let end = end(event).map(|end| end - first);
        let begin = time(event).map(|begin| begin - first);
        begin.is_some_and(|begin| begin <= options.to) && end.is_some_and(|end| end >= options.from)
    };
    let drawn: Vec<_> = all.iter().filter(is_drawn).collect();
    let begin = drawn.iter().filter_map(|event| time(event));
    let begin = begin
        .fold(f64::INFINITY, f64::min)
        .max(first + options.from);
    let last = drawn.iter().filter_map(|event| end(event));
    let last = last.fold(begin, f64::max).min(first + options.to);
    let scale = Scale {
        begin,
        length: (last - begin).max(1.0),
    };
    let lanes = lanes(all, &drawn);
    let height = TOP + LANE * lanes.len() as i32 + 30;
    let root = SVGBackend::new(&options.picture, (WIDTH, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    draw_all(&root, &drawn, &lanes, &scale).map_err(|error| anyhow!("{error}"))?;
    root.present()?;
    Ok(())
}

type Lanes = BTreeMap<(u64, u64), (i32, String)>;

/// The tracks that have slices: where each is, and what it is called.
fn lanes(all: &[Value], drawn: &[&Value]) -> Lanes {
    let slices = drawn.iter().filter(|event| event["ph"] == "X");
    let mut lanes: Lanes = slices
        .map(|event| (track(event), Default::default()))
        .collect();
    for (place, (key, lane)) in lanes.iter_mut().enumerate() {
        let names = |event: &&Value| event["name"] == "thread_name" && track(event) == *key;
        let name = all.iter().find(names);
        let name = name.and_then(|event| event["args"]["name"].as_str());
        *lane = (TOP + LANE * place as i32, name.unwrap_or("").to_owned());
    }
    lanes
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn draw_all(area: &Area<'_>, events: &[&Value], lanes: &Lanes, scale: &Scale) -> Drawn {
    let font = |size: i32| ("sans-serif", size).into_font();
    let bottom = TOP + LANE * lanes.len() as i32;
    let step = step(scale.length);
    for mark in 0..=(scale.length / step) as i32 {
        let x = scale.x(scale.begin + f64::from(mark) * step);
        let line = vec![(x, TOP - 12), (x, bottom)];
        area.draw(&PathElement::new(line, RGBColor(225, 225, 225)))?;
        let label = format!("{} us", f64::from(mark) * step);
        area.draw(&Text::new(label, (x - 12, TOP - 28), font(13)))?;
    }
    for (top, name) in lanes.values() {
        area.draw(&Text::new(name.as_str(), (10, top + 16), font(15)))?;
    }
    let mut colors = Vec::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let (Some(begin), Some(end)) = (time(event), end(event)) else {
            continue;
        };
        let (left, right) = (
            scale.x(begin).max(LEFT),
            scale.x(end).min(WIDTH as i32 - 20),
        );
        let top = lanes[&track(event)].0;
        let name = event["name"].as_str().unwrap_or("");
        let is_run = event["cat"] == "run";
        let color = if is_run {
            color_of(&mut colors, name)
        } else {
            BLACK
        };
        let corners = [(left, top + 4), (right.max(left + 1), top + LANE - 24)];
        area.draw(&Rectangle::new(corners, color.filled()))?;
        if is_run && right - left > NARROW {
            let style = font(14).color(&WHITE);
            area.draw(&Text::new(name, (left + 5, top + 10), style))?;
        }
    }
    for (place, name) in colors.into_iter().enumerate() {
        let left = LEFT + place as i32 * 110;
        let mark = [(left, bottom + 6), (left + 12, bottom + 18)];
        area.draw(&Rectangle::new(mark, color_at(place).filled()))?;
        area.draw(&Text::new(name, (left + 18, bottom + 5), font(13)))?;
    }
    for event in events.iter().filter(|event| event["ph"] == "i") {
        let (Some(time), Some((top, _))) = (time(event), lanes.get(&track(event))) else {
            continue;
        };
        let mark = Circle::new((scale.x(time), top + LANE - 16), 4, RED.filled());
        area.draw(&mark)?;
    }
    let ends: HashMap<_, _> = events
        .iter()
        .filter(|event| event["ph"] == "f")
        .map(|event| (event["id"].as_u64(), event))
        .collect();
    for event in events.iter().filter(|event| event["ph"] == "s") {
        let to = ends.get(&event["id"].as_u64());
        let point = |event: &Value| {
            let (top, _) = lanes.get(&track(event))?;
            Some((scale.x(time(event)?), top + LANE - 24))
        };
        let (Some(from), Some(to)) = (point(event), to.and_then(|to| point(to))) else {
            continue;
        };
        // An arc, so that it is seen also within a lane.
        let bend = ((from.0 + to.0) / 2, from.1.max(to.1) + 18);
        let arc = (0..=12).map(|n| bezier(from, bend, to, f64::from(n) / 12.0));
        area.draw(&PathElement::new(
            arc.collect::<Vec<_>>(),
            RGBColor(90, 90, 90),
        ))?;
        area.draw(&Circle::new(to, 2, BLACK.filled()))?;
    }
    Ok(())
}

/// The color of the threads of a name.
fn color_of<'a>(seen: &mut Vec<&'a str>, name: &'a str) -> RGBColor {
    let place = seen.iter().position(|other| *other == name);
    color_at(place.unwrap_or_else(|| {
        seen.push(name);
        seen.len() - 1
    }))
}

fn color_at(place: usize) -> RGBColor {
    COLORS[place % COLORS.len()]
}

fn bezier(from: (i32, i32), bend: (i32, i32), to: (i32, i32), t: f64) -> (i32, i32) {
    let at = |a: i32, b: i32, c: i32| {
        let (a, b, c) = (f64::from(a), f64::from(b), f64::from(c));
        (a * (1.0 - t) * (1.0 - t) + 2.0 * b * t * (1.0 - t) + c * t * t) as i32
    };
    (at(from.0, bend.0, to.0), at(from.1, bend.1, to.1))
}

/// A round number of microseconds, about a tenth of the length.
fn step(length: f64) -> f64 {
    let power = 10_f64.powf((length / 10.0).log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].map(|n| n * power);
    round
        .into_iter()
        .find(|step| length / step <= 12.0)
        .unwrap_or(10.0 * power)
}

fn time(event: &Value) -> Option<f64> {
    event["ts"].as_f64()
}

fn end(event: &Value) -> Option<f64> {
    Some(time(event)? + event["dur"].as_f64().unwrap_or(0.0))
}

fn track(event: &Value) -> (u64, u64) {
    let number = |key: &str| event[key].as_u64().unwrap_or(0);
    (number("pid"), number("tid"))
}
