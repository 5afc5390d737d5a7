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
//! serves one client at a time, so it answers also when all workers are stuck. Nobody may keep it from the others for
//! much longer than [`PATIENCE`], neither by asking slowly nor by taking the answer so.
//!
//! `socket` is where the socket comes from, and who may connect.

mod socket;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::dump::{self, Threads};
use super::metrics::Metrics;
use crate::protocol::process::PerProcess;
use crate::protocol::say::say;
use crate::run::os_thread;
use crate::run::silence::Bystander;
use socket::Place;

/// How long a client may take to ask, and then to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
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
            Err(_) => thread::sleep(PATIENCE / 20),
        }
    }
}

fn answer(client: &UnixStream) -> io::Result<()> {
    if !socket::is_same_user(client) {
        return Ok(());
    }
    let mut request = Vec::new();
    let asks = Patient::with(client).take(LONGEST_REQUEST);
    BufReader::new(asks).read_until(b'\n', &mut request)?;
    let mut line = reply(String::from_utf8_lossy(&request).trim());
    line.push('\n');
    Patient::with(client).write_all(line.as_bytes())
}

/// A client, until the patience with it ends.
struct Patient<'a> {
    client: &'a UnixStream,
    until: Instant,
}

impl<'a> Patient<'a> {
    fn with(client: &'a UnixStream) -> Self {
        Self {
            client,
            until: Instant::now() + PATIENCE,
        }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.client.set_read_timeout(self.left()?)?;
        self.client.read(buffer)
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.client.set_write_timeout(self.left()?)?;
        self.client.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
