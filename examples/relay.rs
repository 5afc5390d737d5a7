//! A relay: what comes on one connection goes on by another, in both directions, without a way through this process.
//!
//! ```text
//! cargo run --release --example relay
//! ```
//!
//! `relay LISTEN TARGET`, for example `relay 127.0.0.1:8080 example.org:80`, relays until it is killed. Without arguments it
//! shows its numbers: some clients that fetch megabytes by it, with `splice` and with a loop that reads and writes.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roving::io::{self, Read, Write};
use roving::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use roving::{go, thread};

/// How bytes get from one connection to the other.
type Moves = fn(&TcpStream, &TcpStream) -> io::Result<u64>;

fn by_the_system(from: &TcpStream, to: &TcpStream) -> io::Result<u64> {
    io::splice(from, to)
}

fn by_a_buffer(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<u64> {
    io::copy(&mut from, &mut to)
}

/// Moves what comes in one direction until its end, and ends the other side then.
fn one_way(from: &TcpStream, to: &TcpStream, moves: Moves) -> io::Result<u64> {
    let moved = moves(from, to);
    // Who is gone already need not be told.
    let _ = to.shutdown(Shutdown::Write);
    moved
}

/// Relays one connection.
fn serve(client: TcpStream, target: SocketAddr, moves: Moves) -> io::Result<u64> {
    let server = TcpStream::connect(target)?;
    thread::scope(|scope| {
        let there = scope.spawn(|| one_way(&client, &server, moves));
        let back = one_way(&server, &client, moves)?;
        Ok(there.join().unwrap()? + back)
    })
}

/// Relays all connections, for as long as there is a process.
fn relay(listener: TcpListener, target: SocketAddr, moves: Moves, total: &Arc<AtomicU64>) {
    for client in listener.incoming() {
        let Ok(client) = client.inspect_err(|error| eprintln!("cannot accept: {error}")) else {
            // Perhaps there are no descriptors left: some will be free again.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let total = total.clone();
        go!(move || match serve(client, target, moves) {
            Ok(moved) => drop(total.fetch_add(moved, Ordering::Relaxed)),
            Err(error) => eprintln!("a connection has failed: {error}"),
        });
    }
}

/// What each client fetches.
const BYTES: usize = 64 << 20;
const CLIENTS: usize = 4;

/// Sends much to whoever asks for it.
fn origin(listener: TcpListener) {
    let block = Arc::new(vec![7; 1 << 18]);
    for client in listener.incoming() {
        let block = block.clone();
        go!(move || -> io::Result<()> {
            let mut client = client?;
            client.read_exact(&mut [0])?;
            for _ in 0..BYTES / block.len() {
                client.write_all(&block)?;
            }
            client.shutdown(Shutdown::Write)
        });
    }
}

fn fetch(relay: SocketAddr) -> io::Result<usize> {
    let mut stream = TcpStream::connect(relay)?;
    stream.write_all(b"?")?;
    let (mut fetched, mut buffer) = (0, vec![0; 1 << 18]);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(fetched),
            read => fetched += read,
        }
    }
}

fn show_numbers() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let target = listener.local_addr()?;
    go!(move || origin(listener));
    for (name, moves) in [("splice", by_the_system as Moves), ("copy", by_a_buffer)] {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let total = Arc::new(AtomicU64::new(0));
        let counts = total.clone();
        go!(move || relay(listener, target, moves, &counts));
        let begin = Instant::now();
        let clients: Vec<_> = (0..CLIENTS).map(|_| go!(move || fetch(address))).collect();
        for client in clients {
            assert_eq!(client.join().unwrap()?, BYTES);
        }
        let time = begin.elapsed();
        while total.load(Ordering::Relaxed) < (CLIENTS * (BYTES + 1)) as u64 {
            thread::yield_now();
        }
        let megabytes = (CLIENTS * BYTES) >> 20;
        let rate = megabytes as f64 / time.as_secs_f64();
        println!("{name}: {CLIENTS} connections, {megabytes} MiB, {rate:.0} MiB/s");
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(listen), Some(target)) = (arguments.next(), arguments.next()) else {
        return show_numbers();
    };
    let mut targets = target.to_socket_addrs()?;
    let target = targets.next().ok_or(io::ErrorKind::NotFound)?;
    relay(
        TcpListener::bind(listen)?,
        target,
        by_the_system,
        &Arc::default(),
    );
    Ok(())
}
