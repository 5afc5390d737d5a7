//! Chat rooms at a Unix socket, without a lock: each room is a green thread that alone knows who is there, and each
//! person is two, one that reads and one that writes.
//!
//! ```text
//! cargo run --release --example rooms
//! ```
//!
//! The first line that a client sends is `ROOM NAME`; all others go to everybody in the room. Nobody waits for a slow
//! client: one that does not take its lines is put out.
//!
//! It tries itself: people come to each room, talk, and go; then the listener is closed, and all ends.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::path::Path;
use std::sync::Arc;
use std::{env, fs, process};

use roving::channel::{self, Receiver, Sender};
use roving::os::unix::net::{UnixListener, UnixStream};
use roving::sync::Barrier;
use roving::{go, select, thread};

const ROOMS: [&str; 3] = ["attic", "cellar", "kitchen"];
const PEOPLE: usize = 5;
const LINES: usize = 10;
/// How many lines may wait for one client.
const PATIENCE: usize = 1000;

fn main() -> io::Result<()> {
    let path = env::temp_dir().join(format!("rooms-{}", process::id()));
    let listener = UnixListener::bind(&path)?;
    let (close, closed) = channel::bounded::<()>(0);
    let server = go!(move || serve(&listener, &closed));

    let heard = thread::scope(|scope| {
        let mut people = Vec::new();
        for room in ROOMS {
            let all_are_here = Arc::new(Barrier::new(PEOPLE));
            for n in 0..PEOPLE {
                let (path, all_are_here) = (&path, all_are_here.clone());
                people.push(scope.spawn(move || visit(path, room, n, &all_are_here)));
            }
        }
        let people = people.into_iter();
        people
            .map(|person| person.join().expect("a person panicked"))
            .sum::<io::Result<usize>>()
    });

    drop(close);
    server.join().expect("the server panicked")?;
    fs::remove_file(path)?;
    println!(
        "{} people in {} rooms heard {} lines",
        PEOPLE * ROOMS.len(),
        ROOMS.len(),
        heard?
    );
    Ok(())
}

/// Keeps the rooms open until `closed` has no sender any more, and everybody has gone.
fn serve(listener: &UnixListener, closed: &Receiver<()>) -> io::Result<()> {
    thread::scope(|scope| {
        let rooms: HashMap<_, _> = ROOMS
            .map(|room| {
                let (door, events) = channel::bounded(16);
                scope.spawn(move || keep(&events));
                (room, door)
            })
            .into();
        loop {
            select! {
                readable(listener) => {
                    let (stream, _) = listener.accept()?;
                    let rooms = rooms.clone();
                    // An error is the end of one connection, whose client has gone.
                    scope.spawn(move || attend(&Arc::new(stream), &rooms));
                }
                recv(closed) -> _ => return Ok(()),
            }
        }
    })
}

enum Event {
    Enters(String, Sender<Arc<str>>),
    Says(String, String),
    Leaves(String),
}

/// Keeps one room. It ends when nobody can come in any more.
fn keep(events: &Receiver<Event>) {
    let mut people = HashMap::new();
    for event in events {
        let line = match event {
            Event::Enters(name, outbox) => {
                let line = format!("* {name} is here");
                people.insert(name, outbox);
                line
            }
            Event::Says(name, line) => format!("{name}: {line}"),
            Event::Leaves(name) => {
                people.remove(&name);
                format!("* {name} has left")
            }
        };
        let line: Arc<str> = line.into();
        people.retain(|_, outbox| outbox.try_send(line.clone()).is_ok());
    }
}

/// Serves one client.
fn attend(stream: &Arc<UnixStream>, rooms: &HashMap<&str, Sender<Event>>) -> io::Result<()> {
    let mut lines = BufReader::new(&**stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let (room, name) = first.split_once(' ').unwrap_or_default();
    let Some(room) = rooms.get(room) else {
        return writeln!(&**stream, "* there is no such room");
    };
    let (outbox, waiting) = channel::bounded(PATIENCE);
    let _ = room.send(Event::Enters(name.to_owned(), outbox));
    let writes = {
        let stream = stream.clone();
        go!(move || {
            let mut stream = &*stream;
            let result = waiting
                .iter()
                .try_for_each(|line| writeln!(stream, "{line}"));
            // Whoever was put out is told by the end.
            let _ = stream.shutdown(Shutdown::Both);
            result
        })
    };
    for line in lines.map_while(Result::ok) {
        let _ = room.send(Event::Says(name.to_owned(), line));
    }
    let _ = room.send(Event::Leaves(name.to_owned()));
    writes.join().expect("a writer panicked")
}

/// Comes, says some lines when all are there, and gives how many it heard. It hears each line of the room, in the
/// order in which its speaker said it.
fn visit(path: &Path, room: &str, n: usize, all_are_here: &Barrier) -> io::Result<usize> {
    let name = format!("{room}-{n}");
    let mut stream = UnixStream::connect(path)?;
    writeln!(stream, "{room} {name}")?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut next = || lines.next().ok_or(io::ErrorKind::UnexpectedEof)?;
    while next()? != format!("* {name} is here") {}
    all_are_here.wait();

    for line in 0..LINES {
        writeln!(stream, "{line}")?;
    }
    let mut heard: HashMap<String, usize> = HashMap::new();
    while heard.values().sum::<usize>() < PEOPLE * LINES {
        let line = next()?;
        if let Some((speaker, said)) = line.split_once(": ") {
            assert!(speaker.starts_with(room), "{line}");
            let expected = heard.entry(speaker.to_owned()).or_default();
            assert_eq!(said, expected.to_string(), "{line}");
            *expected += 1;
        }
    }
    Ok(PEOPLE * LINES)
}
