//! The servers under test: one blocking program, compiled against two kinds of thread. Compiled against those of std it is
//! measured twice, as it is and adopted.
//!
//! The accept loop, the loop of a connection and its buffer are written once, here; a [`Kind`] says
//! what a listener, a stream and a thread are. The kinds therefore differ in nothing but that.
//!
//! A server process prints the address that it listens at, serves until its standard input ends,
//! and answers what it is asked in between. When it can take no more connections (no thread, no
//! descriptor), it reports why with what the system counts at that moment, stops accepting, and
//! goes on serving the connections that it has.

mod roving;
mod threads;

use crate::limits::{self, Readings};
use crate::process;
use crate::protocol::{Refusal, ServerCommand, ServerReport, say};
use anyhow::Result;
use clap::ValueEnum;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hint;
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest message that a server's buffer holds.
pub(crate) const LONGEST_MESSAGE: u32 = 4096;

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ServerKind {
    /// A green thread for each connection
    Roving,
    /// The program that has an OS thread for each, adopted: these are green threads
    Adopted,
    /// An OS thread for each connection
    Threads,
}

impl ServerKind {
    /// Its name on the command line and in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ServerKind::Roving => "roving",
            ServerKind::Adopted => "adopted",
            ServerKind::Threads => "threads",
        }
    }

    /// Memory mappings that the kernel keeps for each connection: an OS thread has its stack and
    /// the stack of its signal handler, each with a guard; green threads share their mappings where the system
    /// allows it, and name the limit themselves where it does not.
    pub(crate) fn mappings_per_connection(self) -> u64 {
        match self {
            ServerKind::Roving | ServerKind::Adopted => 0,
            ServerKind::Threads => 4,
        }
    }
}

impl ServerKind {
    /// Whether it has workers, on which its connections are green threads.
    pub(crate) fn is_green(self) -> bool {
        match self {
            ServerKind::Roving | ServerKind::Adopted => true,
            ServerKind::Threads => false,
        }
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The arguments of a server process.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    kind: ServerKind,
    #[arg(long)]
    workers: usize,
    #[arg(long)]
    computing: u32,
    #[arg(long)]
    stack_size: usize,
    #[arg(long)]
    message: usize,
}

impl Options {
    /// The command line that gives these options.
    pub(crate) fn arguments(
        kind: ServerKind,
        workers: u64,
        computing: u32,
        stack_size: u64,
        message: u32,
    ) -> Vec<String> {
        let pairs = [
            ("--kind", kind.name().to_owned()),
            ("--workers", workers.to_string()),
            ("--computing", computing.to_string()),
            ("--stack-size", stack_size.to_string()),
            ("--message", message.to_string()),
        ];
        let mut arguments = vec!["serve".to_owned()];
        for (name, value) in pairs {
            arguments.extend([name.to_owned(), value]);
        }
        arguments
    }
}

/// What a server is made of.
trait Kind: Copy + Send + Sync + 'static {
    type Listener: Send + 'static;
    type Stream: Read + Write + Send + 'static;

    fn listen(self, address: SocketAddr) -> io::Result<Self::Listener>;
    fn address(self, listener: &Self::Listener) -> io::Result<SocketAddr>;
    fn accept(self, listener: &Self::Listener) -> io::Result<Self::Stream>;
    /// Runs the accept loop on a thread of this kind.
    fn spawn_accept_loop(self, accept_loop: impl FnOnce() + Send + 'static) -> io::Result<()>;
    /// Serves a connection on a thread of this kind.
    fn spawn_connection(self, connection: impl FnOnce() + Send + 'static) -> io::Result<()>;
}

/// Connections being served.
static OPEN: AtomicU64 = AtomicU64::new(0);
/// Connections that were broken before they could be accepted.
static FAILED_ACCEPTS: AtomicU64 = AtomicU64::new(0);

/// Runs a server process.
pub(crate) fn run(options: Options) -> Result<()> {
    process::bind_to_parent()?;
    limits::raise_descriptor_limit();
    match options.kind {
        ServerKind::Roving => serve(
            roving::Roving::start(options.workers, options.stack_size)?,
            &options,
        )?,
        // The library that is loaded before it decides which.
        ServerKind::Adopted | ServerKind::Threads => serve(
            threads::Threads {
                stack_size: options.stack_size,
            },
            &options,
        )?,
    }
    for line in io::stdin().lock().lines() {
        match serde_json::from_str(&line?)? {
            ServerCommand::Count => say(&ServerReport::Count {
                open: OPEN.load(Ordering::Acquire),
                failed_accepts: FAILED_ACCEPTS.load(Ordering::Relaxed),
            }),
        }
    }
    std::process::exit(0);
}

/// Starts to serve, and reports the address.
fn serve<K: Kind>(kind: K, options: &Options) -> Result<()> {
    for _ in 0..options.computing {
        kind.spawn_connection(compute)?;
    }
    let message = options.message;
    let listener = kind.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = kind.address(&listener)?;
    kind.spawn_accept_loop(move || accept_loop(kind, &listener, message))?;
    say(&ServerReport::Listening(address));
    Ok(())
}

/// Computes without end, and lets nobody else run.
fn compute() {
    loop {
        hint::spin_loop();
    }
}

/// Accepts connections, a thread for each, until there is no room for one more.
fn accept_loop<K: Kind>(kind: K, listener: &K::Listener, message: usize) {
    loop {
        let stream = match kind.accept(listener) {
            Ok(stream) => stream,
            Err(error) if concerns_one_peer(&error) => {
                FAILED_ACCEPTS.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Err(error) => return refuse("accept a connection", &error),
        };
        OPEN.fetch_add(1, Ordering::Relaxed);
        let served = kind.spawn_connection(move || {
            // A peer that resets its connection ends it as one that closes it does.
            let _ = echo(stream, message);
            OPEN.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = served {
            // The connection is closed by now. Who finds it counted no more has been told why.
            refuse("start a thread", &error);
            OPEN.fetch_sub(1, Ordering::Release);
            return;
        }
    }
}

/// Whether an error of `accept` says something of one connection, and nothing of the listener or
/// the process.
fn concerns_one_peer(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::PERM)
    )
}

fn refuse(action: &str, error: &io::Error) {
    say(&ServerReport::Refused(Box::new(Refusal {
        action: action.into(),
        errno: error.raw_os_error(),
        error: error.to_string(),
        readings: Readings::take(),
    })));
}

/// Serves one connection with the smallest buffer on its stack that holds a message.
fn echo(stream: impl Read + Write, message: usize) -> io::Result<()> {
    match message {
        0..=64 => echo_loop::<64>(stream, message),
        65..=512 => echo_loop::<512>(stream, message),
        _ => echo_loop::<{ LONGEST_MESSAGE as usize }>(stream, message),
    }
}

/// The plain blocking loop of a connection: reads a message, writes it back, until the peer ends.
///
/// Not inlined, since the frame of a caller that had all sizes in it would have room for the
/// largest buffer.
#[inline(never)]
fn echo_loop<const BUFFER: usize>(mut stream: impl Read + Write, message: usize) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    let message = &mut buffer[..message];
    loop {
        match stream.read_exact(message) {
            Ok(()) => stream.write_all(message)?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that has `input` to read and keeps what is written.
    struct Canned<'a> {
        input: &'a [u8],
        output: &'a mut Vec<u8>,
    }

    impl Read for Canned<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let some = buffer.len().min(7);
            self.input.read(&mut buffer[..some])
        }
    }

    impl Write for Canned<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.output.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn echoes_whole_messages_of_every_size() {
        for message in [1, 63, 64, 65, 512, 513, 4096] {
            let input: Vec<u8> = (0..message * 3 + message / 2).map(|i| i as u8).collect();
            let mut output = Vec::new();
            echo(
                Canned {
                    input: &input,
                    output: &mut output,
                },
                message,
            )
            .unwrap();
            assert_eq!(output, input[..message * 3], "message of {message}");
        }
    }

    #[test]
    fn exhaustion_concerns_the_server_and_an_abort_one_peer() {
        let of = |errno: Errno| concerns_one_peer(&io::Error::from(errno));
        assert!(of(Errno::CONNABORTED));
        assert!(!of(Errno::MFILE) && !of(Errno::NFILE) && !of(Errno::NOBUFS) && !of(Errno::NOMEM));
    }
}
