//! How much of its stack a green thread uses that serves a connection.
//!
//! With thread-locals of its own it has some 1,400 bytes before it takes another page, and with that half as much memory again. What
//! is counted is in bytes and the same with every run, but for what an allocation takes that finds nothing free.

use anyhow::{Context, Result};
use roving::net::{TcpListener, TcpStream};
use roving::{Builder, go, thread};
use std::io::{self, Read, Write};

const CONNECTIONS: usize = 99;
const MESSAGE: [u8; 64] = [7; 64];

/// The median of some that are idle, each of which has answered once.
pub(super) fn of_a_connection() -> Result<f64> {
    let runtime = Builder::new().workers(1).build()?;
    let used: io::Result<Vec<_>> = runtime.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let pairs = (0..CONNECTIONS).map(|_| {
            let client = TcpStream::connect(address)?;
            let (stream, _) = listener.accept()?;
            Ok((client, go!(move || serve(stream))))
        });
        let mut pairs = pairs.collect::<io::Result<Vec<_>>>()?;
        for (client, _) in &mut pairs {
            client.write_all(&MESSAGE)?;
            client.read_exact(&mut { MESSAGE })?;
        }
        let ends = pairs.into_iter().map(|(client, serves)| {
            drop(client);
            serves.join().expect("it does not panic")
        });
        ends.collect()
    });
    let mut used = used?;
    used.sort_unstable();
    let median = used[CONNECTIONS / 2].context("green threads know what they use")?;
    Ok(median as f64)
}

/// Echoes until the other end is gone, and gives what has been used by then.
fn serve(mut stream: TcpStream) -> io::Result<Option<usize>> {
    let mut message = MESSAGE;
    while stream.read_exact(&mut message).is_ok() {
        stream.write_all(&message)?;
    }
    Ok(thread::stack_usage().map(|usage| usage.high_water))
}
