//! Happy eyeballs (after RFC 8305): connect to several addresses of one host, each a little after
//! the last, and keep the connection that stands first.
//!
//! ```text
//! cargo run --release --example happy_eyeballs
//! ```
//!
//! One address never answers, one refuses, and one works. The attempts are green threads; a
//! `select!` waits for their answers and for the time of the next attempt, and whoever has lost is
//! cancelled.

use roving::channel::{Receiver, Sender, after, never, unbounded};
use roving::net::{SocketAddr, TcpListener, TcpStream};
use roving::{go, select, thread};
use std::io;
use std::time::{Duration, Instant};

const STAGGER: Duration = Duration::from_millis(50);

/// Stands for a host that never answers.
fn attempt(address: SocketAddr, answers: bool) -> io::Result<TcpStream> {
    if !answers {
        thread::sleep(Duration::MAX);
    }
    TcpStream::connect(address)
}

type Answer = (SocketAddr, io::Result<TcpStream>);

fn connect(addresses: &[(SocketAddr, bool)]) -> io::Result<TcpStream> {
    let (sender, answers): (Sender<Answer>, Receiver<Answer>) = unbounded();
    let mut left = addresses.iter();
    let mut attempts = Vec::new();
    let mut next = after(Duration::ZERO);
    let mut failed = 0;
    let connected = loop {
        if failed == addresses.len() {
            break Err(io::Error::other("no address answers"));
        }
        select! {
            recv(next) -> _ => {
                next = match left.next() {
                    Some(&(address, answering)) => {
                        let sender = sender.clone();
                        println!("trying {address}");
                        attempts.push(go!(move || {
                            let answer = attempt(address, answering);
                            // Nobody may want it any more.
                            let _ = sender.send((address, answer));
                        }));
                        after(STAGGER)
                    }
                    None => never(),
                };
            }
            recv(answers) -> answer => match answer {
                Ok((address, Ok(stream))) => {
                    println!("{address} answers");
                    break Ok(stream);
                }
                Ok((address, Err(error))) => {
                    println!("{address}: {error}");
                    failed += 1;
                    // The next one need not wait.
                    next = if left.len() > 0 { after(Duration::ZERO) } else { never() };
                }
                Err(_) => unreachable!("a sender is kept here"),
            },
        }
    };
    for attempt in attempts {
        attempt.cancel();
        // Cancelled, or done.
        let _ = attempt.join();
    }
    connected
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let works = listener.local_addr()?;
    let refuses = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let silent = SocketAddr::from(([127, 0, 0, 1], 9));

    let start = Instant::now();
    let stream = connect(&[(silent, false), (refuses, true), (works, true)])?;
    assert_eq!(stream.peer_addr()?, works);
    println!("connected after {:?}", start.elapsed());
    Ok(())
}
