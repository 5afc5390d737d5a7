//! A server that ends gracefully: on SIGTERM or Ctrl-C it takes no more connections, and serves those to the end that it
//! has.
//!
//! ```text
//! cargo run --release --example shutdown
//! ```
//!
//! Some clients are served slowly, and one of them has the process asked to end meanwhile.

use std::io::{self, Read, Write};
use std::time::Duration;

use roving::net::{SocketAddr, TcpListener, TcpStream};
use roving::process::{Command, id};
use roving::signal::{SIGINT, SIGTERM, Signals};
use roving::{go, select, thread};

/// Serves until one of the signals comes, and then until the last is served. Gives the signal.
fn serve(listener: TcpListener, ends: Signals) -> io::Result<i32> {
    thread::scope(|clients| {
        loop {
            select! {
                readable(listener) => {
                    let (stream, _) = listener.accept()?;
                    clients.spawn(move || answer(stream));
                }
                ready(ends) => return ends.recv(),
            }
        }
    })
}

/// Says something, a letter at a time.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    for letter in "served to the end".bytes() {
        stream.write_all(&[letter])?;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Gives what the server has said.
fn ask(address: SocketAddr, asks_for_the_end: bool) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let mut said = String::new();
    (&stream).take(1).read_to_string(&mut said)?;
    if asks_for_the_end {
        Command::new("kill").arg(id().to_string()).status()?;
    }
    stream.read_to_string(&mut said)?;
    Ok(said)
}

fn main() -> io::Result<()> {
    let ends = Signals::new([SIGINT, SIGTERM])?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let clients: Vec<_> = (0..100)
        .map(|n| go!(move || ask(address, n == 99)))
        .collect();
    let signal = serve(listener, ends)?;
    println!("signal {signal}: all who were connected have been served");

    let mut refused = 0;
    for client in clients {
        match client.join().unwrap() {
            Ok(said) => assert_eq!(said, "served to the end"),
            Err(_) => refused += 1,
        }
    }
    println!("{} were, and {refused} came too late", 100 - refused);
    Ok(())
}
