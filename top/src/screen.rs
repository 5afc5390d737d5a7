//! How the [view](crate::view) is drawn.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Table};

use crate::console::{Stack, State, Thread};
use crate::view::{Shown, View};

/// More workers than these have no line.
const MOST_WORKERS: usize = 16;
const BAR: usize = 20;

pub(crate) fn draw(frame: &mut Frame<'_>, view: &mut View) {
    let workers = worker_rows(view);
    let of_workers = Constraint::Length(workers.len() as u16 + 1);
    let layout = Layout::vertical([
        Constraint::Length(2),
        of_workers,
        Constraint::Min(3),
        Constraint::Length(1),
    ]);
    let [head, of_workers, of_threads, foot] = layout.areas(frame.area());
    frame.render_widget(head_lines(view), head);
    draw_workers(frame, workers, of_workers);
    match &view.shown {
        Some(shown) => draw_stack(frame, view, shown, of_threads),
        None => draw_threads(frame, view, of_threads),
    }
    frame.render_widget(foot_line(view), foot);
}

fn head_lines(view: &View) -> Paragraph<'static> {
    let look = &view.look;
    let sum =
        |of: fn(&crate::console::Runtime) -> usize| look.runtimes.iter().map(of).sum::<usize>();
    let spawned: u64 = look.runtimes.iter().map(|runtime| runtime.spawned).sum();
    let runs: u64 = look.runtimes.iter().map(|runtime| runtime.runs).sum();
    let hand_overs: u64 = look.runtimes.iter().map(|runtime| runtime.hand_overs).sum();
    let uptime = look.runtimes.iter().map(|runtime| runtime.uptime);
    let uptime = uptime.fold(0.0, f64::max);
    let paused = if view.paused { ", paused" } else { "" };
    Paragraph::new(vec![
        Line::from(vec![
            Span::from(format!("process {}", look.pid)).bold(),
            Span::from(format!(", up for {}{paused}", time(uptime))),
        ]),
        Line::from(format!(
            "{} green threads: {} running, {} runnable, {} parked; {} spawned, {} runs, {} hand-overs",
            sum(|runtime| runtime.alive),
            sum(|runtime| runtime.running),
            sum(|runtime| runtime.runnable),
            sum(|runtime| runtime.parked),
            grouped(spawned),
            grouped(runs),
            grouped(hand_overs),
        )),
    ])
}

fn worker_rows(view: &View) -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    let many = view.look.runtimes.len() > 1;
    for (runtime, numbers) in view.look.runtimes.iter().enumerate() {
        for (number, worker) in numbers.workers.iter().enumerate() {
            let lately = view.lately(runtime, number);
            // A spare that has done nothing lately is in reserve, or gone.
            if worker.is_spare && lately.busy == 0.0 && !worker.is_stuck {
                continue;
            }
            let kind = if worker.is_spare { "spare" } else { "worker" };
            let name = match many {
                true => format!("{kind} {runtime}.{number}"),
                false => format!("{kind} {number}"),
            };
            let full = (lately.busy * BAR as f64).round() as usize;
            let runs =
                |thread: &&Thread| thread.runtime == runtime && thread.worker == Some(number);
            let runs = view.look.threads.iter().find(runs);
            rows.push(Row::new(vec![
                name,
                format!("{:3.0} %", lately.busy * 100.0),
                format!("{}{}", "█".repeat(full), "░".repeat(BAR - full)),
                grouped(lately.runs_a_second.round() as u64),
                grouped(worker.steals),
                worker.queued.to_string(),
                runs.map_or(String::new(), title),
                if worker.is_stuck { "stuck" } else { "" }.to_owned(),
            ]));
        }
    }
    let left_out = rows.len().saturating_sub(MOST_WORKERS);
    if left_out > 0 {
        rows.truncate(MOST_WORKERS - 1);
        rows.push(Row::new(vec![format!("and {} more", left_out + 1)]));
    }
    rows
}

fn draw_workers(frame: &mut Frame<'_>, rows: Vec<Row<'static>>, area: Rect) {
    let widths = [
        Constraint::Length(12),
        Constraint::Length(5),
        Constraint::Length(BAR as u16),
        Constraint::Length(12),
        Constraint::Length(10),
        Constraint::Length(8),
        Constraint::Fill(1),
        Constraint::Length(6),
    ];
    let names = ["", "busy", "", "runs/s", "steals", "queued", "runs", ""];
    let header = Row::new(names).style(Style::new().bold().underlined());
    frame.render_widget(Table::new(rows, widths).header(header), area);
}

fn draw_threads(frame: &mut Frame<'_>, view: &mut View, area: Rect) {
    // One row is the header.
    view.rows = usize::from(area.height.saturating_sub(1));
    let marked = view.marked_row();
    let lowest = (marked + 1).saturating_sub(view.rows);
    view.top = view.top.clamp(lowest, marked.max(lowest));
    let seen = view.look.threads.iter().enumerate().skip(view.top);
    let rows = seen.take(view.rows).map(|(row, thread)| {
        let style = match thread.state {
            State::Running => Style::new().fg(Color::Green),
            State::Runnable => Style::new().fg(Color::Yellow),
            State::Parked | State::Ended => Style::new(),
        };
        let style = if row == marked {
            style.add_modifier(Modifier::REVERSED)
        } else {
            style
        };
        Row::new(vec![
            title(thread),
            state(thread),
            thread.seconds.map_or(String::new(), time),
            format!("{:3.0} %", view.seen_running(thread) * 100.0),
            why(thread),
            thread.spawned_at.clone(),
        ])
        .style(style)
    });
    let widths = [
        Constraint::Length(22),
        Constraint::Length(12),
        Constraint::Length(9),
        Constraint::Length(5),
        Constraint::Fill(1),
        Constraint::Length(28),
    ];
    let names = [
        "thread",
        "state",
        "for",
        "seen",
        "why, and where",
        "spawned at",
    ];
    let header = Row::new(names).style(Style::new().bold().underlined());
    let rows: Vec<_> = rows.collect();
    frame.render_widget(Table::new(rows, widths).header(header), area);
}

fn draw_stack(frame: &mut Frame<'_>, view: &View, shown: &Shown, area: Rect) {
    let thread = view
        .look
        .threads
        .iter()
        .find(|thread| thread.id == shown.id);
    let mut lines = Vec::new();
    match thread {
        Some(thread) => lines.push(Line::from(format!("{}: {}", state(thread), why(thread)))),
        None => lines.push(Line::from("it has ended")),
    }
    match &shown.stack {
        None => lines.push(Line::from("…")),
        Some(Err(error)) => lines.push(Line::from(error.clone())),
        Some(Ok(stack)) => lines.extend(stack_lines(stack)),
    }
    let name = thread.map_or_else(|| format!("thread {}", shown.id), title);
    let block = Block::bordered().title(format!(" the stack of {name} "));
    let last = lines.len().saturating_sub(1);
    let scrolled = shown.scrolled.min(last) as u16;
    frame.render_widget(
        Paragraph::new(lines).block(block).scroll((scrolled, 0)),
        area,
    );
}

fn stack_lines(stack: &Stack) -> impl Iterator<Item = Line<'static>> {
    let frames = stack.frames.iter().flat_map(|frame| {
        let place = frame.place.iter();
        let place = place.map(|place| Line::from(format!("      at {place}")).dim());
        [Line::from(format!("  {}", frame.function))]
            .into_iter()
            .chain(place)
    });
    frames.chain(stack.missing.iter().map(|why| Line::from(why.clone())))
}

fn foot_line(view: &View) -> Line<'static> {
    if view.shown.is_some() {
        return Line::from(" Esc back   ↑↓ scroll   q quit").reversed();
    }
    let order = if view.reversed { ", turned round" } else { "" };
    let left_out = match view.look.left_out {
        0 => String::new(),
        more => format!("   and {more} more threads"),
    };
    Line::from(format!(
        " ↑↓ mark   Enter stack   s sort: {}{order}   r turn round   p pause   q quit{left_out}",
        view.sort.name()
    ))
    .reversed()
}

/// How a thread is called.
fn title(thread: &Thread) -> String {
    match &thread.name {
        Some(name) => format!("{} {name}", thread.id),
        None => thread.id.to_string(),
    }
}

fn state(thread: &Thread) -> String {
    match (thread.state, thread.worker) {
        (State::Running, Some(worker)) => format!("running on {worker}"),
        (State::Running, None) => "running".to_owned(),
        (State::Runnable, _) => "runnable".to_owned(),
        (State::Parked, _) => "parked".to_owned(),
        (State::Ended, _) => "ended".to_owned(),
    }
}

fn why(thread: &Thread) -> String {
    let mut text = thread.why.clone().unwrap_or_default();
    if let Some(left) = thread.seconds_left {
        text += &format!(", {} left", time(left));
    }
    if let Some(place) = &thread.waits_at {
        text += &format!(", at {place}");
    }
    text
}

/// As people read it.
fn time(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1000.0),
        ..60.0 => format!("{seconds:.1} s"),
        ..3600.0 => format!("{:.0} min", (seconds / 60.0).floor()),
        ..86400.0 => format!("{:.0} h", (seconds / 3600.0).floor()),
        _ => format!("{:.0} days", (seconds / 86400.0).floor()),
    }
}

/// With a mark for each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Frame as Function;
    use crate::view::tests::{look, thread};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;

    fn drawn(view: &mut View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let cells = buffer.content().chunks(usize::from(width));
        cells
            .map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>())
            .collect()
    }

    fn view() -> View {
        let mut parked = thread(3, State::Parked, 75.0);
        parked.name = Some("waits".to_owned());
        parked.waits_at = Some("src/pool.rs:88:30".to_owned());
        let threads = vec![parked, thread(4, State::Running, 0.02)];
        View::new(look(threads, 3.0))
    }

    #[test]
    fn threads_and_workers_have_lines() {
        let rows = drawn(&mut view(), 140, 12);
        assert!(
            rows[0].starts_with("process 17, up for 12.3 s"),
            "{rows:#?}"
        );
        assert!(rows[1].starts_with("2 green threads: "), "{rows:#?}");
        assert!(
            rows[3].contains("worker 0") && rows[3].contains(" 75 %"),
            "{rows:#?}"
        );
        assert!(
            rows[3].contains(&"█".repeat(15)) && rows[3].contains("░░░░░"),
            "{rows:#?}"
        );
        assert!(
            rows[5].contains("running on 0") && rows[5].contains("20 ms"),
            "{rows:#?}"
        );
        assert!(rows[5].contains("100 %"), "{rows:#?}");
        assert!(rows[6].starts_with("3 waits"), "{rows:#?}");
        assert!(
            rows[6].contains("parked") && rows[6].contains("1 min"),
            "{rows:#?}"
        );
        assert!(rows[6].contains("park, at src/pool.rs:88:30"), "{rows:#?}");
        assert!(rows[6].contains("src/main.rs:3:1"), "{rows:#?}");
        assert!(rows[11].contains("s sort: state"), "{rows:#?}");
    }

    #[test]
    fn the_stack_of_one_has_the_place_of_the_others() {
        let mut view = view();
        view.press(KeyCode::Down.into());
        view.press(KeyCode::Enter.into());
        assert!(drawn(&mut view, 100, 20)[6].contains("…"));
        let frames = (0..3).map(|number| Function {
            function: format!("function_{number}"),
            place: Some("src/pool.rs:88".to_owned()),
        });
        let stack = Stack {
            frames: frames.collect(),
            missing: None,
        };
        view.show_stack(3, Ok(stack));
        let text = drawn(&mut view, 100, 20).join("\n");
        assert!(text.contains(" the stack of 3 waits "), "{text}");
        assert!(
            text.contains("parked: park, at src/pool.rs:88:30"),
            "{text}"
        );
        assert!(
            text.contains("function_2") && text.contains("at src/pool.rs:88"),
            "{text}"
        );
        view.press(KeyCode::PageDown.into());
        assert!(!drawn(&mut view, 100, 20).join("\n").contains("function_0"));
    }

    #[test]
    fn the_marked_thread_is_on_the_screen() {
        let threads = (0..100).map(|id| thread(id, State::Parked, 1.0));
        let mut view = View::new(look(threads.collect(), 1.0));
        drawn(&mut view, 100, 20);
        for (key, id) in [
            (KeyCode::End, "99"),
            (KeyCode::PageUp, "85"),
            (KeyCode::Up, "84"),
            (KeyCode::Home, "0"),
        ] {
            view.press(key.into());
            let rows = drawn(&mut view, 100, 20);
            assert!(
                rows.iter().any(|row| row.starts_with(&format!("{id} "))),
                "{rows:#?}"
            );
        }
    }

    #[test]
    fn it_is_drawn_on_the_smallest_screens() {
        for (width, height) in [(1, 1), (10, 3), (20, 5), (300, 100)] {
            drawn(&mut view(), width, height);
        }
        drawn(&mut View::new(look(Vec::new(), 0.0)), 80, 24);
    }

    #[test]
    fn numbers_are_as_people_read_them() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        let times = [0.0123, 1.0, 61.0, 7200.0, 200_000.0].map(time);
        assert_eq!(times, ["12 ms", "1.0 s", "1 min", "2 h", "2 days"]);
    }
}
