//! What `roving-bench memory` measures: green threads that wait, in a program that has nothing else.
//!
//! How large the thread-locals of a program are decides how many pages a green thread takes, and other crates have some. So this
//! has no crates but Roving. `roving-bench-memory WHAT COUNT` lets one thread do it, and then `COUNT` threads; each time when all
//! have come to wait, it says so by a line, and goes on at the next line that it is told.

use roving::net::{TcpListener, TcpStream};
use roving::{Builder, Runtime, thread};
use std::any::Any;
use std::env;
use std::io::{self, Read, Write};
use std::mem;
use std::process::exit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The address space of a stack. The larger it is, the more page tables a thread takes.
const STACK: usize = 64 << 10;

/// The bytes of the buffer that a connection reads into.
const BUFFER: usize = 4096;

/// Who has waited for twice five seconds has given back what it does not use.
const RECLAIMED: Duration = Duration::from_secs(12);

/// Comes to wait in so many threads, and gives what keeps them waiting.
type Work = fn(&Runtime, usize) -> io::Result<Box<dyn Any>>;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let (what, count) = (arguments.next(), arguments.next());
    let work: Work = match what.as_deref() {
        Some("parked") => parked,
        Some("asleep") => asleep,
        Some("buffered") => buffered,
        Some("rested") => rested,
        Some("waiting") => waiting,
        _ => return Err(io::Error::other("what it is to do is not known here")),
    };
    let count = count.and_then(|count| count.parse().ok());
    let count =
        count.ok_or_else(|| io::Error::other("how many threads there shall be is not said"))?;

    let runtime = Builder::new().workers(1).stack_size(STACK).build()?;
    if let Some(why) = roving::stacks().not_compact {
        eprintln!("warning: {why}");
    }
    // What comes with the first use of anything.
    drop(work(&runtime, 1)?);
    all_wait()?;
    let waiting = work(&runtime, count)?;
    all_wait()?;
    mem::forget((waiting, runtime));
    exit(0);
}

/// Lets whoever measures this do so.
fn all_wait() -> io::Result<()> {
    println!();
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// Starts so many threads with `body`, and waits until all have come to wait at its end.
fn all_waiting(runtime: &Runtime, count: usize, body: fn()) -> Box<dyn Any> {
    static ARRIVED: AtomicUsize = AtomicUsize::new(0);
    ARRIVED.store(0, Ordering::Relaxed);
    let threads: Vec<_> = (0..count)
        .map(|_| {
            runtime.spawn(move || {
                ARRIVED.fetch_add(1, Ordering::Relaxed);
                body();
            })
        })
        .collect();
    while ARRIVED.load(Ordering::Relaxed) < count {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The only worker runs this when all that came before have come to wait.
    runtime.run(|| ());
    Box::new(threads)
}

fn parked(runtime: &Runtime, count: usize) -> io::Result<Box<dyn Any>> {
    Ok(all_waiting(runtime, count, || thread::park()))
}

fn asleep(runtime: &Runtime, count: usize) -> io::Result<Box<dyn Any>> {
    let body = || thread::sleep(Duration::from_secs(3600));
    Ok(all_waiting(runtime, count, body))
}

fn buffered(runtime: &Runtime, count: usize) -> io::Result<Box<dyn Any>> {
    connections(runtime, count, |mut stream| {
        let mut buffer = [0; BUFFER];
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                length => stream.write_all(&buffer[..length])?,
            }
        }
    })
}

/// What is not used any more has gone back then.
fn rested(runtime: &Runtime, count: usize) -> io::Result<Box<dyn Any>> {
    let streams = buffered(runtime, count)?;
    std::thread::sleep(RECLAIMED);
    Ok(streams)
}

fn waiting(runtime: &Runtime, count: usize) -> io::Result<Box<dyn Any>> {
    connections(runtime, count, |mut stream| {
        loop {
            // Parks until there is something, and takes nothing of it.
            if stream.peek(&mut [0])? == 0 {
                return Ok(());
            }
            let mut buffer = vec![0; BUFFER];
            let length = stream.read(&mut buffer)?;
            stream.write_all(&buffer[..length])?;
        }
    })
}

/// So many connections with a thread each that serves it, all of which have echoed a message and wait for the next.
fn connections(
    runtime: &Runtime,
    count: usize,
    serve: fn(TcpStream) -> io::Result<()>,
) -> io::Result<Box<dyn Any>> {
    let listener = runtime.run(|| TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(move || {
        for _ in 0..count {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            thread::spawn(move || serve(stream));
        }
    });
    let connect = || {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.write_all(b"ping")?;
        stream.read_exact(&mut [0; 4])?;
        Ok(stream)
    };
    let streams = (0..count).map(|_| connect());
    let streams = streams.collect::<io::Result<Vec<_>>>()?;
    // The only worker runs this when the last one has come to wait.
    runtime.run(|| ());
    Ok(Box::new(streams))
}
