//! `roving-top`: what the green threads of a running program do, live.
//!
//! It asks the program at its console, a Unix socket, which is there if the program was built with the feature `console` of
//! `roving` and started with `ROVING_CONSOLE=path`. An OS thread [asks](console), so that keys are answered also while the program is
//! not; the rest is a [view] of what came last, and how it is [drawn](screen).

mod console;
mod screen;
mod view;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use console::{Console, Look, Stack};
use view::{Asked, View};

/// How long a key may wait for the screen, and the screen for news.
const TICK: Duration = Duration::from_millis(50);

/// Shows what the green threads of a running program do
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "The program must have been built with the feature `console` of roving, and started with \
    ROVING_CONSOLE=path (or use Builder::console). Keys: arrows move, Enter shows the stack of a thread, s sorts, r turns the \
    order round, p pauses, q quits."
)]
struct Options {
    /// The number of the process, or the path of its console
    #[arg(value_name = "PID|PATH")]
    program: String,
    /// How many seconds it is from one look to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    interval: f64,
}

fn interval(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("it is from 0.1 to 3600 seconds".to_owned()),
    }
}

/// What whoever asks the program has found out.
enum News {
    Look(Look),
    Stack(u64, Result<Stack>),
    /// Nobody answers any more.
    Gone(anyhow::Error),
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(last_words)) => {
            eprintln!("roving-top: {last_words}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("roving-top: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Gives what is left to say when the program that was looked at has ended.
fn run(options: &Options) -> Result<Option<String>> {
    let console = Console::of(&options.program)?;
    let first = console.look()?;
    ensure!(
        std::io::stdout().is_terminal() && std::io::stdin().is_terminal(),
        "cannot draw: standard input and standard output must be a terminal"
    );
    let (to_console, questions) = mpsc::channel();
    let (tells, news) = mpsc::channel();
    let interval = Duration::from_secs_f64(options.interval);
    thread::spawn(move || keep_asking(&console, interval, &questions, &tells));
    let mut view = View::new(first);
    let mut terminal = ratatui::try_init().context("cannot draw on the terminal")?;
    let ended = watch(&mut terminal, &mut view, &to_console, &news);
    ratatui::restore();
    ended
}

/// Looks again and again, and asks for stacks in between.
fn keep_asking(
    console: &Console,
    interval: Duration,
    questions: &Receiver<u64>,
    tells: &Sender<News>,
) {
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let news = match questions.recv_timeout(left) {
            Ok(id) => News::Stack(id, console.stack(id)),
            Err(RecvTimeoutError::Timeout) => {
                next = Instant::now() + interval;
                match console.look() {
                    Ok(look) => News::Look(look),
                    Err(error) => News::Gone(error),
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if tells.send(news).is_err() {
            return;
        }
    }
}

fn watch(
    terminal: &mut DefaultTerminal,
    view: &mut View,
    questions: &Sender<u64>,
    news: &Receiver<News>,
) -> Result<Option<String>> {
    loop {
        terminal.draw(|frame| screen::draw(frame, view))?;
        if event::poll(TICK)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            match view.press(key) {
                Asked::Nothing => {}
                Asked::Stack(id) => questions.send(id).context("nobody asks any more")?,
                Asked::End => return Ok(None),
            }
        }
        for news in news.try_iter() {
            match news {
                News::Look(look) => view.update(look),
                News::Stack(id, stack) => view.show_stack(id, stack),
                News::Gone(error) => return Ok(Some(format!("{error:#}"))),
            }
        }
    }
}
