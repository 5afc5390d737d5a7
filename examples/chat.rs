//! A chat server with many rooms: two green threads a connection, one that reads and one that
//! writes.
//!
//! ```text
//! cargo run --release --example chat 7000      serves on 127.0.0.1:7000 for ever; try `nc 127.0.0.1 7000`
//! cargo run --release --example chat           tries itself with a hundred people in ten rooms, and ends
//! ```
//!
//! The first line that a client sends is its name; it is then in the room `lobby`. After that,
//! `/join ROOM` changes the room, `/quit` ends, and any other line goes to everybody in the room.
//!
//! Nobody waits for a slow client: who speaks puts the line into the *outbox* of each listener,
//! where the listener's writer finds it. An outbox that is full ends its own connection. Locks are
//! plain `std::sync::Mutex`es, held while a line is copied and never while anything blocks; a
//! writer with nothing to do parks, and is unparked by who puts a line into its outbox.

use std::collections::HashMap;
use std::convert::Infallible;
use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roving::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use roving::thread::{Thread, ThreadId};
use roving::{go, thread};

const MAX_LINE: u64 = 1024;
/// Bytes that may wait for one client.
const MAX_OUTBOX: usize = 256 << 10;
/// How long a client may take nothing of what is written to it.
const PATIENCE: Duration = Duration::from_secs(30);

const ROOMS: usize = 10;
const PEOPLE: usize = 10;
const LINES: usize = 10;

fn main() -> io::Result<()> {
    match env::args().nth(1) {
        Some(port) => {
            let port: u16 = port.parse().map_err(io::Error::other)?;
            let listener = TcpListener::bind(("127.0.0.1", port))?;
            println!("chatting on {}", listener.local_addr()?);
            let server = go!(move || serve(&listener));
            match server.join().expect("the server panicked")? {}
        }
        None => try_it(),
    }
}

/// Accepts connections for ever. The example `echo` says what the errors are.
fn serve(listener: &TcpListener) -> io::Result<Infallible> {
    let rooms = Arc::new(Rooms::default());
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let rooms = rooms.clone();
                // An error is the end of one connection, whose client has gone.
                let attend = move || attend(Arc::new(stream), &rooms);
                if let Err(error) = thread::Builder::new().spawn(attend) {
                    eprintln!("spawn: {error}");
                }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionAborted => {}
                io::ErrorKind::InvalidInput => return Err(error),
                _ => {
                    eprintln!("accept: {error}");
                    thread::sleep(Duration::from_millis(50));
                }
            },
        }
    }
}

/// Serves one client.
fn attend(stream: Arc<TcpStream>, rooms: &Rooms) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let outbox = Arc::new(Outbox::default());
    let writer = {
        let (stream, outbox) = (stream.clone(), outbox.clone());
        go!(move || {
            let result = write_lines(&stream, &outbox);
            // The reader may still wait for the client.
            let _ = stream.shutdown(Shutdown::Both);
            result
        })
    };
    let member = Member {
        outbox,
        writer: writer.thread().clone(),
    };
    let result = read_lines(&stream, &member, rooms);
    member.end();
    result.and(writer.join().expect("a writer panicked"))
}

/// Does what the client says, until it leaves.
fn read_lines(stream: &TcpStream, member: &Member, rooms: &Rooms) -> io::Result<()> {
    let mut input = BufReader::new(stream);
    let Some(name) = read_line(&mut input)? else {
        return Ok(());
    };
    let mut seat = rooms.enter("lobby", &name, member);
    while let Some(line) = read_line(&mut input)? {
        if let Some(room) = line.strip_prefix("/join ") {
            drop(seat);
            seat = rooms.enter(room, &name, member);
        } else if line == "/quit" {
            break;
        } else {
            rooms.say(&seat.room, &format!("{name}: {line}\n"));
        }
    }
    Ok(())
}

/// Gives the next line without its end, or `None` if there is no more.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let count = input.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if count as u64 == MAX_LINE && !line.ends_with(b"\n") {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the line is too long",
        ));
    }
    let text = String::from_utf8_lossy(line.trim_ascii()).into_owned();
    Ok((count > 0).then_some(text))
}

/// Writes what comes into the outbox, until that has ended.
fn write_lines(mut stream: &TcpStream, outbox: &Outbox) -> io::Result<()> {
    while let Some(lines) = outbox.take() {
        stream.write_all(&lines)?;
    }
    Ok(())
}

/// What is still to be written to one client.
#[derive(Default)]
struct Outbox(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    lines: Vec<u8>,
    ended: bool,
}

impl Outbox {
    /// Waits for lines and takes them all; `None` when there will be no more. Only the writer calls
    /// this.
    fn take(&self) -> Option<Vec<u8>> {
        loop {
            let mut pending = self.0.lock().unwrap();
            if !pending.lines.is_empty() {
                return Some(mem::take(&mut pending.lines));
            }
            if pending.ended {
                return None;
            }
            drop(pending);
            // If a line comes between the look and this, its unpark makes the park return at once.
            thread::park();
        }
    }
}

/// A client as the others see it.
#[derive(Clone)]
struct Member {
    outbox: Arc<Outbox>,
    writer: Thread,
}

impl Member {
    fn send(&self, line: &str) {
        let mut pending = self.outbox.0.lock().unwrap();
        if pending.lines.len() + line.len() > MAX_OUTBOX {
            pending.ended = true;
        }
        if !pending.ended {
            pending.lines.extend(line.bytes());
        }
        drop(pending);
        self.writer.unpark();
    }

    fn end(&self) {
        self.outbox.0.lock().unwrap().ended = true;
        self.writer.unpark();
    }
}

/// Who is in which room. A room exists while somebody is in it.
#[derive(Default)]
struct Rooms(Mutex<HashMap<String, HashMap<ThreadId, Member>>>);

impl Rooms {
    fn enter<'a>(&'a self, room: &str, name: &'a str, member: &Member) -> Seat<'a> {
        let id = member.writer.id();
        let mut rooms = self.0.lock().unwrap();
        let members = rooms.entry(room.to_owned()).or_default();
        members.insert(id, member.clone());
        drop(rooms);
        self.say(room, &format!("* {name} is in {room}\n"));
        Seat {
            rooms: self,
            room: room.to_owned(),
            id,
            name,
        }
    }

    /// Sends a line to everybody in a room.
    fn say(&self, room: &str, line: &str) {
        let rooms = self.0.lock().unwrap();
        for member in rooms.get(room).into_iter().flat_map(HashMap::values) {
            member.send(line);
        }
    }
}

/// A place in a room, which is left by dropping this.
struct Seat<'a> {
    rooms: &'a Rooms,
    room: String,
    id: ThreadId,
    name: &'a str,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut rooms = self.rooms.0.lock().unwrap();
        if let Some(members) = rooms.get_mut(&self.room) {
            members.remove(&self.id);
            if members.is_empty() {
                rooms.remove(&self.room);
            }
        }
        drop(rooms);
        let farewell = format!("* {} has left {}\n", self.name, self.room);
        self.rooms.say(&self.room, &farewell);
    }
}

fn try_it() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    go!(move || serve(&listener));

    let mut people = Vec::new();
    for room in 0..ROOMS {
        for person in 0..PEOPLE {
            people.push(Person::enter(address, room, person)?);
        }
    }
    // All are in their rooms now, so nobody misses a line.
    let people: Vec<_> = people
        .into_iter()
        .map(|mut person| go!(move || person.chat()))
        .collect();
    for person in people {
        person.join().expect("a person panicked")?;
    }
    println!(
        "{} people in {ROOMS} rooms heard {} lines each",
        ROOMS * PEOPLE,
        PEOPLE * LINES
    );
    Ok(())
}

/// A client that tries the server.
struct Person {
    input: BufReader<TcpStream>,
    room: usize,
}

impl Person {
    /// Connects, and returns when the server says that this person is in the room.
    fn enter(address: SocketAddr, room: usize, person: usize) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        let name = format!("person-{room}-{person}");
        stream.write_all(format!("{name}\n/join room-{room}\n").as_bytes())?;
        let mut input = BufReader::new(stream);
        let welcome = format!("* {name} is in room-{room}");
        while read_line(&mut input)?.ok_or(io::ErrorKind::UnexpectedEof)? != welcome {}
        Ok(Self { input, room })
    }

    /// Says some lines, and checks that it hears every line of its room, in the order in which each
    /// speaker said them, and no other.
    fn chat(&mut self) -> io::Result<()> {
        let lines: String = (0..LINES).map(|line| format!("{line}\n")).collect();
        self.input.get_mut().write_all(lines.as_bytes())?;
        let speakers = format!("person-{}-", self.room);
        let mut heard: HashMap<String, usize> = HashMap::new();
        while heard.values().sum::<usize>() < PEOPLE * LINES {
            let line = read_line(&mut self.input)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if let Some((speaker, said)) = line.split_once(": ") {
                assert!(speaker.starts_with(&speakers), "{line}");
                let next = heard.entry(speaker.to_owned()).or_default();
                assert_eq!(said, next.to_string(), "{line}");
                *next += 1;
            }
        }
        assert_eq!(heard.len(), PEOPLE);
        Ok(())
    }
}
