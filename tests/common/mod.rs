//! What the tests share: all that the scheduler's tests do, and connections.

// Each file of tests is a program of its own, and uses a part of this.
#![allow(dead_code, unused_imports)]

pub(crate) mod folder;
#[path = "../../scheduler/tests/common/mod.rs"]
mod scheduler;

#[cfg(unix)]
pub(crate) mod options;
#[cfg(unix)]
pub(crate) mod script;
#[cfg(unix)]
pub(crate) mod terminal;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roving::net::{SocketAddr, TcpListener, TcpStream};
use roving::{go, thread};

#[cfg(unix)]
pub(crate) use options::set_option;
pub(crate) use scheduler::*;

/// The two ends of a connection. Neither holds small pieces of data back, which would only make
/// tests slow.
pub(crate) fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    one.set_nodelay(true).unwrap();
    other.set_nodelay(true).unwrap();
    (one, other)
}

/// An address at which nobody listens, and nobody else will while what comes with it is kept: the
/// end of a connection that was accepted there keeps the port. (The port of a connecting end would
/// not do: the system may connect that to itself.)
pub(crate) fn closed_address() -> (SocketAddr, [TcpStream; 2]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let one = TcpStream::connect(address).unwrap();
    let (other, _) = listener.accept().unwrap();
    (address, [one, other])
}

/// Data that come with the end of the stream, or before it, are read whole, and then the end: `rounds` times, by a reader that
/// has read once before. It is registered with the driver then, and its first read was short.
pub(crate) fn the_end_comes_behind_the_data<S: Read + Write + Send + 'static>(
    rounds: usize,
    connection: impl Fn() -> (S, S),
    end: fn(&S) -> io::Result<()>,
) {
    for n in 0..rounds {
        let (mut reader, mut writer) = connection();
        let writes = go!(move || {
            writer.write_all(b"first").unwrap();
            for _ in 0..n % 4 {
                thread::yield_now();
            }
            writer.write_all(b"second").unwrap();
            if n % 2 == 0 {
                end(&writer).unwrap();
                assert_eq!(writer.read(&mut [0]).unwrap(), 0);
            }
        });
        let mut all = String::new();
        let mut buffer = [0; 100];
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                count => all += std::str::from_utf8(&buffer[..count]).unwrap(),
            }
        }
        assert_eq!(all, "firstsecond");
        drop(reader);
        writes.join().unwrap();
    }
}

/// `len` bytes that differ from place to place, and with `seed`.
pub(crate) fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n * 31 + n / 251 + seed * 7) as u8)
        .collect()
}

/// A path at which nothing is, and nothing will be when this is dropped.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static PLACES: AtomicUsize = AtomicUsize::new(0);
        let place = PLACES.fetch_add(1, Ordering::Relaxed);
        let name = format!("roving-test-{}-{place}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // One that was killed, of the same number, may have left it.
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl AsRef<Path> for Place {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Lets others run for a while, so that they come to where they wait.
pub(crate) fn let_others_wait() {
    for _ in 0..10 {
        roving::thread::yield_now();
    }
    roving::thread::sleep(Duration::from_millis(2));
}
