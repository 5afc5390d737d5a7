//! A TCP server that sends back what it receives: one green thread a connection, in plain blocking
//! code.
//!
//! ```text
//! cargo run --release --example echo 7000      serves on 127.0.0.1:7000 for ever
//! cargo run --release --example echo           tries itself with a hundred clients, and ends
//! ```
//!
//! `serve` is the accept loop to copy: it goes on when the system is out of descriptors or memory
//! for a moment, and does not spin meanwhile.

use std::convert::Infallible;
use std::env;
use std::io::{self, Read, Write};
use std::time::Duration;

use roving::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use roving::{go, thread};

const CLIENTS: usize = 100;

fn main() -> io::Result<()> {
    match env::args().nth(1) {
        Some(port) => {
            let port: u16 = port.parse().map_err(io::Error::other)?;
            let listener = TcpListener::bind(("127.0.0.1", port))?;
            println!("echoing on {}", listener.local_addr()?);
            let server = go!(move || serve(&listener));
            match server.join().expect("the server panicked")? {}
        }
        None => try_it(),
    }
}

/// Accepts connections for ever; gives an error only when the listener itself is of no use any
/// more.
fn serve(listener: &TcpListener) -> io::Result<Infallible> {
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let spawned = thread::Builder::new().spawn(move || {
                    if let Err(error) = echo(stream) {
                        eprintln!("{peer}: {error}");
                    }
                });
                // The system refuses another stack. This client has been dropped with the closure.
                if let Err(error) = spawned {
                    eprintln!("{peer}: {error}");
                }
            }
            Err(error) => match error.kind() {
                // ECONNABORTED: this client went away while it was queued. There may be others.
                io::ErrorKind::ConnectionAborted => {}
                // EINVAL: the listener has been shut down.
                io::ErrorKind::InvalidInput => return Err(error),
                // EMFILE, ENFILE, ENOBUFS, ENOMEM: connections that end free what is short, so let
                // some time pass. Clients wait in the listener's queue.
                _ => {
                    eprintln!("accept: {error}");
                    thread::sleep(Duration::from_millis(50));
                }
            },
        }
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count])?;
    }
}

fn try_it() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    go!(move || serve(&listener));

    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| go!(move || converse(address, number)))
        .collect();
    for client in clients {
        client.join().expect("a client panicked")?;
    }
    println!("{CLIENTS} clients got back what they sent");
    Ok(())
}

/// Sends some messages and checks that each comes back, and nothing more.
fn converse(address: SocketAddr, number: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    for round in 0..10 {
        let message = format!("client {number}, message {round}");
        stream.write_all(message.as_bytes())?;
        let mut answer = vec![0; message.len()];
        stream.read_exact(&mut answer)?;
        assert_eq!(answer, message.as_bytes());
    }
    stream.shutdown(Shutdown::Write)?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    assert!(rest.is_empty());
    Ok(())
}
