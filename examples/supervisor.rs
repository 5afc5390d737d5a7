//! A supervisor: it starts workers as processes, starts those again that fail, and ends all when it is asked to.
//!
//! ```text
//! cargo run --release --example supervisor
//! ```
//!
//! One of them works until it is asked to end, one fails again and again, and one does not do what it is asked. The
//! process asks itself to end after a while.

use std::env;
use std::io;
use std::time::Duration;

use roving::channel::{Receiver, after, bounded};
use roving::process::{Child, Command, ExitCode};
use roving::signal::{SIGINT, SIGTERM, Signals};
use roving::{deadline, go, process, select, thread};

/// How long one waits before a worker is started again; each time for twice as long.
const BACK_OFF: Duration = Duration::from_millis(20);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);

/// How long a worker may take to end when it is asked to.
const GRACE: Duration = Duration::from_millis(300);

const WORKERS: [&str; 3] = ["diligent", "unlucky", "stubborn"];

fn main() -> io::Result<ExitCode> {
    match env::args().nth(1) {
        Some(name) => work(&name),
        None => supervise_all().map(|()| ExitCode::SUCCESS),
    }
}

fn supervise_all() -> io::Result<()> {
    let ends = Signals::new([SIGINT, SIGTERM])?;
    // When it is dropped, all who receive know.
    let (goes_on, end) = bounded(0);
    let supervised = WORKERS.map(|name| {
        let end = end.clone();
        go!(name = name, move || supervise(name, &end))
    });
    go!(|| {
        thread::sleep(Duration::from_millis(400));
        send(process::id(), SIGTERM);
    });
    println!("signal {}", ends.recv()?);
    drop(goes_on);
    supervised
        .into_iter()
        .try_for_each(|supervised| supervised.join().unwrap())
}

/// Has one worker at work until the end.
fn supervise(name: &str, end: &Receiver<()>) -> io::Result<()> {
    let mut back_off = BACK_OFF;
    loop {
        let mut worker = Command::new(env::current_exe()?).arg(name).spawn()?;
        println!("{name}: process {}", worker.id());
        select! {
            ready(worker) => {}
            recv(end) -> _ => return stop(name, worker),
        }
        let status = worker.wait()?;
        if status.success() {
            return Ok(());
        }
        println!("{name}: {status}, again in {back_off:?}");
        select! {
            recv(after(back_off)) -> _ => {}
            recv(end) -> _ => return Ok(()),
        }
        back_off = LONGEST_BACK_OFF.min(2 * back_off);
    }
}

/// Asks a worker to end, and ends it if it does not.
fn stop(name: &str, mut worker: Child) -> io::Result<()> {
    send(worker.id(), SIGTERM);
    let status = match deadline(GRACE, || worker.wait()) {
        Ok(Ok(status)) => status,
        _ => {
            worker.kill()?;
            worker.wait()?
        }
    };
    println!("{name}: {status}");
    Ok(())
}

/// Sends a signal to this process, or to a child that has not been waited for.
fn send(process: u32, signal: i32) {
    // SAFETY: it has no preconditions; nobody else has that number.
    unsafe { libc::kill(process.cast_signed(), signal) };
}

fn work(name: &str) -> io::Result<ExitCode> {
    let ends = Signals::new([SIGTERM])?;
    match name {
        "unlucky" => Ok(ExitCode::FAILURE),
        "stubborn" => loop {
            ends.recv()?;
        },
        _ => ends.recv().map(|_| ExitCode::SUCCESS),
    }
}
