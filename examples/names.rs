//! A name server, and clients that ask it: small messages of DNS (RFC 1035), over UDP.
//!
//! ```text
//! cargo run --release --example names
//! ```
//!
//! Datagrams get lost; here the server loses every third itself. So a client waits for an answer only so long and asks
//! again, and it ignores what is no answer to its question. All its calls block, and a look-up is a green thread.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use roving::go;
use roving::net::UdpSocket;

const NAMES: [(&str, Ipv4Addr); 3] = [
    ("hub.example", Ipv4Addr::new(192, 0, 2, 1)),
    ("printer.example", Ipv4Addr::new(192, 0, 2, 17)),
    ("attic.printer.example", Ipv4Addr::new(192, 0, 2, 18)),
];

/// How long a message over UDP may be.
const LONGEST: usize = 512;
const HEADER: usize = 12;

const IS_RESPONSE: u8 = 0x80;
const NO_SUCH_NAME: u8 = 3;
/// Type A, an address of IPv4; class IN, the internet.
const KIND: [u8; 4] = [0, 1, 0, 1];

/// Asks for the address of `name` until there is an answer, four times at most.
fn look_up(server: SocketAddr, name: &str) -> io::Result<Option<Ipv4Addr>> {
    static IDS: AtomicU16 = AtomicU16::new(1);

    let socket = UdpSocket::bind("127.0.0.1:0")?;
    // What anybody else sends does not arrive.
    socket.connect(server)?;
    let id = IDS.fetch_add(1, Ordering::Relaxed);
    let question = question(id, name)?;
    let mut answer = [0; LONGEST];
    for patience in [50, 100, 200, 400].map(Duration::from_millis) {
        socket.send(&question)?;
        socket.set_read_timeout(Some(patience))?;
        loop {
            match socket.recv(&mut answer) {
                // Others are late answers to earlier questions, or no messages at all.
                Ok(len) if answer[..len].starts_with(&id.to_be_bytes()) => {
                    return address(&answer[..len], question.len());
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        println!("no answer for {name} yet");
    }
    Err(io::Error::new(
        ErrorKind::TimedOut,
        "the server does not answer",
    ))
}

fn question(id: u16, name: &str) -> io::Result<Vec<u8>> {
    let mut message = Vec::with_capacity(LONGEST);
    message.extend(id.to_be_bytes());
    // One question, and nothing else.
    message.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        match u8::try_from(label.len()) {
            Ok(len @ 1..=63) => message.push(len),
            _ => return Err(io::Error::new(ErrorKind::InvalidInput, "this is no name")),
        }
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(KIND);
    Ok(message)
}

/// What a response says, in which the question takes up the first `asked` bytes.
fn address(response: &[u8], asked: usize) -> io::Result<Option<Ipv4Addr>> {
    let malformed = || io::Error::new(ErrorKind::InvalidData, "this is no response");
    if response.len() < asked || response[2] & IS_RESPONSE == 0 {
        return Err(malformed());
    }
    match response[3] & 0xf {
        0 => {}
        NO_SUCH_NAME => return Ok(None),
        code => {
            return Err(io::Error::other(format!(
                "the server refuses, with code {code}"
            )));
        }
    }
    // A reference to the name, its kind, how long it lasts, a length.
    let data = response
        .get(asked + 12..)
        .and_then(|data| data.first_chunk::<4>());
    data.map(|octets| Some(Ipv4Addr::from(*octets)))
        .ok_or_else(malformed)
}

/// Answers questions, each with the thread that gets it.
fn serve(socket: &UdpSocket, asked: &AtomicUsize) -> io::Result<()> {
    let mut message = [0; LONGEST];
    loop {
        let (len, client) = socket.recv_from(&mut message)?;
        if asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            continue;
        }
        if let Some(response) = respond(&message[..len]) {
            socket.send_to(&response, client)?;
        }
    }
}

/// The response to a message, unless that is no question.
fn respond(message: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = message.split_at_checked(HEADER)?;
    if header[2] & IS_RESPONSE != 0 {
        return None;
    }
    let mut labels = Vec::new();
    loop {
        let (len, after) = rest.split_first()?;
        if *len == 0 {
            rest = after;
            break;
        }
        let (label, after) = after.split_at_checked((*len).into())?;
        labels.push(str::from_utf8(label).ok()?);
        rest = after;
    }
    if !rest.starts_with(&KIND) {
        return None;
    }
    let question = &message[..message.len() - rest.len() + KIND.len()];
    let name = labels.join(".");
    let known = NAMES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(&name));

    let mut response = question.to_vec();
    response[2] |= IS_RESPONSE;
    match known {
        None => response[3] = NO_SUCH_NAME,
        Some((_, address)) => {
            // One answer: the name that is at byte 12, its kind, a minute, four bytes.
            response[7] = 1;
            response.extend([0xc0, HEADER as u8]);
            response.extend(KIND);
            response.extend([0, 0, 0, 60, 0, 4]);
            response.extend(address.octets());
        }
    }
    Some(response)
}

fn main() -> io::Result<()> {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
    let server = socket.local_addr()?;
    let asked = Arc::new(AtomicUsize::new(0));
    for _ in 0..4 {
        let (socket, asked) = (socket.clone(), asked.clone());
        go!(move || serve(&socket, &asked));
    }

    let names = NAMES.map(|(name, _)| name).into_iter();
    let lookups: Vec<_> = names
        .chain(["cellar.example"])
        .map(|name| (name, go!(move || look_up(server, name))))
        .collect();
    for (name, lookup) in lookups {
        match lookup.join().unwrap()? {
            Some(address) => println!("{name} is {address}"),
            None => println!("there is no {name}"),
        }
    }
    Ok(())
}
