//! The console: a Unix socket at which a program answers what it does, to programs of the same user.
//!
//! A client sends one line, gets one line of JSON, and the connection is closed. The lines are
//!
//! | line       | answer                                                                              |
//! |------------|-------------------------------------------------------------------------------------|
//! | `metrics`  | the [numbers](super::metrics::Metrics) of all runtimes                               |
//! | `threads`  | each green thread: what it does, since when, why, from where; the first [`MOST_THREADS`] |
//! | `thread N` | a dump of the green thread of that number alone, with its stack                      |
//! | `dump`     | a [dump](super::dump::Dump)                                                          |
//!
//! and for all else the answer is an object whose `error` says what is wrong. An OS thread that does nothing else
//! serves one client at a time, so it answers also when all workers are stuck. It waits for nobody for longer than
//! [`PATIENCE`].
//!
//! `socket` is where the socket comes from, and who may connect.

mod socket;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::dump::{self, Threads};
use super::metrics::Metrics;
use crate::protocol::process::PerProcess;
use crate::protocol::say::say;
use crate::run::os_thread;
use crate::run::silence::Bystander;
use socket::Place;

/// How long a client may neither send what it asks nor take what it gets.
const PATIENCE: Duration = Duration::from_secs(1);
const LONGEST_REQUEST: u64 = 256;
/// Of more green threads than these, none is told of one by one.
const MOST_THREADS: usize = 10_000;

/// Where this process has its console. A forked child has none.
static CONSOLE: PerProcess<Place> = PerProcess::new();

/// Opens the console there, unless there is one in this process. If that cannot be done, it is told.
pub(super) fn open(path: &Path) {
    if CONSOLE.get().is_none()
        && let Err(error) = try_open(path)
    {
        let path = path.display();
        say(&format!("roving: there is no console at {path}: {error}\n"));
    }
}

fn try_open(path: &Path) -> io::Result<()> {
    let (listener, place) = socket::listen(path)?;
    match CONSOLE.set(place) {
        Ok(place) => place.remove_at_exit(remove),
        // Another thread has opened one.
        Err(place) => {
            place.remove();
            return Ok(());
        }
    }
    let started = os_thread::start("roving-console".to_owned(), move || serve(&listener));
    started.map(drop)
}

extern "C" fn remove() {
    if let Some(place) = CONSOLE.get() {
        place.remove();
    }
}

fn serve(listener: &UnixListener) {
    let _bystander = Bystander::new();
    loop {
        match listener.accept() {
            // What becomes of a client is its own affair.
            Ok((client, _)) => drop(answer(&client)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // There are no descriptors left, or no memory.
            Err(_) => thread::sleep(PATIENCE / 10),
        }
    }
}

fn answer(mut client: &UnixStream) -> io::Result<()> {
    if !socket::is_same_user(client) {
        return Ok(());
    }
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut request = String::new();
    BufReader::new(client.take(LONGEST_REQUEST)).read_line(&mut request)?;
    let mut line = reply(request.trim());
    line.push('\n');
    client.write_all(line.as_bytes())
}

/// All the numbers of this process.
#[derive(Serialize)]
struct Numbers {
    pid: u32,
    runtimes: Vec<Metrics>,
}

#[derive(Serialize)]
struct Mistake {
    error: String,
}

fn reply(request: &str) -> String {
    match request.split_once(' ').unwrap_or((request, "")) {
        ("metrics", "") => json(&Numbers {
            pid: process::id(),
            runtimes: dump::runtimes().iter().map(|r| Metrics::of(r)).collect(),
        }),
        ("threads", "") => json(&Threads::list(MOST_THREADS)),
        ("thread", id) => match id.parse().ok().and_then(dump::of_thread) {
            Some(dump) => json(&dump),
            None => mistake(format!("there is no green thread {id}, or no more")),
        },
        ("dump", "") => json(&dump::dump()),
        _ => mistake(format!(
            "{request:?} is none of metrics, threads, thread N and dump"
        )),
    }
}

fn mistake(error: String) -> String {
    json(&Mistake { error })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("there is nothing in it that JSON has not")
}
