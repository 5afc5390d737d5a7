//! The servers: one source, on green threads and on OS threads.

use super::commands::Store;
use crate::process::bind_to_parent;
use anyhow::Result;
use clap::ValueEnum;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

/// The arguments of a server.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    kind: Kind,
    /// Of green threads
    workers: usize,
}

/// Whose threads serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Roving,
    Threads,
}

/// Serves until the benchmark ends it.
pub(crate) fn run(options: &Options) -> Result<()> {
    bind_to_parent()?;
    let store = Arc::new(Store::default());
    match options.kind {
        Kind::Roving => {
            let runtime = roving::Builder::new().workers(options.workers).build()?;
            runtime.run(|| -> Result<()> {
                let listener = roving::net::TcpListener::bind("127.0.0.1:0")?;
                tell(listener.local_addr()?)?;
                loop {
                    let (stream, _) = listener.accept()?;
                    stream.set_nodelay(true)?;
                    let store = store.clone();
                    roving::thread::spawn(move || serve(stream, &store));
                }
            })
        }
        Kind::Threads => {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            tell(listener.local_addr()?)?;
            loop {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                let store = store.clone();
                thread::spawn(move || serve(stream, &store));
            }
        }
    }
}

fn tell(address: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{address}")?;
    stdout.flush()
}

/// A client that goes away, or does not speak the protocol, is left.
fn serve(mut stream: impl Read + Write, store: &Store) {
    let mut received = vec![0; 16 << 10];
    let mut filled = 0;
    let mut answers = Vec::new();
    loop {
        if filled == received.len() {
            received.resize(2 * filled, 0);
        }
        match stream.read(&mut received[filled..]) {
            Ok(0) | Err(_) => return,
            Ok(got) => filled += got,
        }
        answers.clear();
        let taken = store.carry_out(&received[..filled], &mut answers);
        if stream.write_all(&answers).is_err() {
            return;
        }
        let Ok(taken) = taken else { return };
        received.copy_within(taken..filled, 0);
        filled -= taken;
    }
}
