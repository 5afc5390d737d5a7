//! The load client for what is not one echo at a time: one thread, one bare epoll loop, every
//! answer checked.
//!
//! - `stream`: each connection keeps [`WINDOW`] bytes under way; 64 of them count as a request, and
//!   the latency is that of a window.
//! - `ping`: each connection has 64 bytes echoed, again and again: to look at a server by hand.
//! - `short`: each of so many slots connects, has 64 bytes echoed, closes, and begins anew.
//! - `http`: each connection sends a request, and the next when it is answered.

use super::cell::WireReport;
use crate::clock::cpu_time;
use crate::latency::Latencies;
use crate::process;
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::net::sockopt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Bytes under way on a stream.
const WINDOW: usize = 16 << 10;
/// Bytes of a request.
const REQUEST: usize = 64;
/// The period of the bytes that are sent. Not a divisor of any length here.
const PERIOD: usize = 251;
/// How long it warms up, or as many times that as it takes until every connection has had an answer.
const WARM_UP: Duration = Duration::from_millis(300);
const MOST_WARM_UPS: usize = 100;
const HTTP_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: wire\r\n\r\n";
const HTTP_BODY: &[u8] = b"Hello, world!";

/// The arguments of a client.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    mode: Mode,
    server: SocketAddr,
    /// Identifier of the server's process
    process: u32,
    connections: usize,
    seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Stream,
    Ping,
    Short,
    Http,
}

struct Connection {
    socket: TcpStream,
    begun: Instant,
    /// Whether it, or one before it in its slot, has had an answer.
    is_warm: bool,
    /// Bytes of a stream, or of what is under way, that were sent and received.
    sent: usize,
    received: usize,
    answer: Vec<u8>,
}

impl Connection {
    /// Sends what is to be sent next. It always fits into the buffers of the sockets.
    fn send(&mut self, mode: Mode, pattern: &[u8]) -> Result<()> {
        let request = match mode {
            Mode::Http => HTTP_REQUEST,
            Mode::Ping | Mode::Short => at(pattern, 0, REQUEST),
            Mode::Stream => at(pattern, self.sent, WINDOW - (self.sent - self.received)),
        };
        self.socket.write_all(request).context("sending")?;
        self.sent += request.len();
        Ok(())
    }
}

/// The bytes of a stream from `position` on.
fn at(pattern: &[u8], position: usize, length: usize) -> &[u8] {
    &pattern[position % PERIOD..][..length]
}

struct Client {
    options: Options,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    pattern: Vec<u8>,
    buffer: Vec<u8>,
    latencies: Latencies,
    /// Whether the window has begun.
    counts: bool,
    /// Requests that were answered in it.
    requests: u64,
}

/// Runs a client.
pub(crate) fn run(options: Options) -> Result<()> {
    process::bind_to_parent()?;
    let pattern = (0..PERIOD + WINDOW).map(|n| (n % PERIOD) as u8).collect();
    let mut client = Client {
        epoll: epoll::create(CreateFlags::CLOEXEC)?,
        connections: Vec::new(),
        pattern,
        buffer: vec![0; WINDOW],
        latencies: Latencies::new(),
        counts: false,
        requests: 0,
        options,
    };
    for index in 0..client.options.connections {
        let connection = client.open(index)?;
        client.connections.push(connection);
    }
    let window = Duration::from_secs(client.options.seconds);
    client.warm_up()?;
    client.counts = true;
    let begun = Instant::now();
    let used_before = client.cpu_time_of_server()?;
    client.go_on_for(window)?;
    let used = client.cpu_time_of_server()?.saturating_sub(used_before);
    let quantile = |quantile| client.latencies.microseconds_at(quantile);
    let requests = client.requests as f64;
    let report = WireReport {
        per_second: requests / begun.elapsed().as_secs_f64(),
        cpu_us: used.as_secs_f64() * 1e6 / requests,
        p50_us: quantile(0.5).context("nothing was answered")?,
        p99_us: quantile(0.99).context("nothing was answered")?,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

impl Client {
    /// Connects, and sends the first.
    fn open(&self, index: usize) -> Result<Connection> {
        let begun = Instant::now();
        let socket = TcpStream::connect(self.options.server).context("cannot connect")?;
        socket.set_nodelay(true)?;
        // Closing resets: no port stays in TIME_WAIT.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        socket.set_nonblocking(true)?;
        epoll::add(
            &self.epoll,
            &socket,
            EventData::new_u64(index as u64),
            EventFlags::IN,
        )?;
        let mut connection = Connection {
            socket,
            begun,
            is_warm: false,
            sent: 0,
            received: 0,
            answer: Vec::new(),
        };
        connection.send(self.options.mode, &self.pattern)?;
        Ok(connection)
    }

    fn warm_up(&mut self) -> Result<()> {
        for _ in 0..MOST_WARM_UPS {
            self.go_on_for(WARM_UP)?;
            if self.connections.iter().all(|connection| connection.is_warm) {
                return Ok(());
            }
        }
        bail!("the server leaves connections without an answer");
    }

    fn cpu_time_of_server(&self) -> Result<Duration> {
        cpu_time(self.options.process).context("the server is gone")
    }

    fn go_on_for(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        let mut events = Vec::with_capacity(256);
        while Instant::now() < until {
            let timeout = rustix::time::Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            };
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout))?;
            for event in events.drain(..) {
                self.receive(event.data.u64() as usize)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let got = match connection.socket.read(&mut self.buffer) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("receiving"),
        };
        let received = connection.received;
        connection.received += got;
        match self.options.mode {
            Mode::Stream => {
                ensure!(
                    self.buffer[..got] == *at(&self.pattern, received, got),
                    "wrong bytes in a stream"
                );
                let whole = |position: usize| (position / REQUEST) as u64;
                let answered = whole(received + got) - whole(received);
                let windows = (received + got) / WINDOW - received / WINDOW;
                self.answered(index, answered, windows > 0);
                self.connections[index].send(self.options.mode, &self.pattern)?;
            }
            Mode::Ping | Mode::Short => {
                ensure!(
                    received + got <= REQUEST
                        && self.buffer[..got] == *at(&self.pattern, received, got),
                    "wrong bytes in an answer"
                );
                if received + got == REQUEST {
                    self.answered(index, 1, true);
                    if self.options.mode == Mode::Short {
                        self.connections[index] = Connection {
                            is_warm: true,
                            ..self.open(index)?
                        };
                    } else {
                        let connection = &mut self.connections[index];
                        connection.received = 0;
                        connection.send(Mode::Ping, &self.pattern)?;
                    }
                }
            }
            Mode::Http => {
                connection.answer.extend_from_slice(&self.buffer[..got]);
                if http_answered(&connection.answer)? {
                    connection.answer.clear();
                    self.answered(index, 1, true);
                    self.connections[index].send(self.options.mode, &self.pattern)?;
                }
            }
        }
        Ok(())
    }

    /// So many requests were answered, by the last of which what was begun is complete or not.
    fn answered(&mut self, index: usize, requests: u64, is_complete: bool) {
        if self.counts {
            self.requests += requests;
        }
        if is_complete {
            let connection = &mut self.connections[index];
            connection.is_warm = true;
            let now = Instant::now();
            let took = now - std::mem::replace(&mut connection.begun, now);
            if self.counts {
                self.latencies.add(took.as_nanos() as u64, 1);
            }
        }
    }
}

/// Whether all of an answer has come. An error if it is not the right one.
fn http_answered(answer: &[u8]) -> Result<bool> {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(false);
    };
    let body = &answer[end + 4..];
    ensure!(
        answer.starts_with(b"HTTP/1.1 200 ") && HTTP_BODY.starts_with(body),
        "a wrong answer"
    );
    Ok(body.len() == HTTP_BODY.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_http_is_complete_and_right() {
        let right = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!";
        for length in 0..right.len() {
            assert!(!http_answered(&right[..length]).unwrap());
        }
        assert!(http_answered(right).unwrap());
        assert!(http_answered(b"HTTP/1.1 200 OK\r\n\r\nHello, world?").is_err());
        assert!(http_answered(b"HTTP/1.1 500 No\r\n\r\nHello, world!").is_err());
    }
}
