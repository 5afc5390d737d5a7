//! Accepting a connection, whatever the addresses are.
//!
//! No flag makes one `accept` non-blocking, so the description of a listener is, whatever mode its
//! user has set; [`Settings`] keeps the two apart.

use std::io;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::SocketAddrAny;

use crate::net::making;
use crate::readiness::Direction;
use crate::settings::Settings;
use crate::source::{Attempt, Source};

/// A connection, and the address of its other end.
pub(crate) type Accepted = (OwnedFd, Option<SocketAddrAny>);

/// Waits for a connection.
#[track_caller]
pub(crate) fn accept(source: &Source, settings: &Settings) -> io::Result<Accepted> {
    let fd = source.fd();
    settings.prepare_listener(fd)?;
    source.operate(
        Direction::Read,
        || settings.patience(fd, Direction::Read),
        |_| try_accept(fd),
    )
}

pub(crate) async fn accept_async(source: &Source, settings: &Settings) -> io::Result<Accepted> {
    let fd = source.fd();
    settings.prepare_listener(fd)?;
    source
        .operate_async(Direction::Read, |_| try_accept(fd))
        .await
}

fn try_accept(fd: BorrowedFd<'_>) -> io::Result<Attempt<Accepted>> {
    loop {
        match making::accept(fd) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Attempt::Empty),
            result => return Attempt::of(result),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::source::Patience;
    use roving_scheduler::{Builder, thread};

    const ACCEPTERS: usize = 8;

    /// All are woken for a connection, but only one finds none.
    #[test]
    fn of_many_few_ask_in_vain() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let source = Arc::new(Source::new(listener.into()));
        let asked = Arc::new(AtomicUsize::new(0));
        let runtime = Builder::new().workers(1).max_spares(0).build().unwrap();
        runtime.run(|| {
            let accepters: Vec<_> = (0..ACCEPTERS)
                .map(|_| {
                    let (source, asked) = (source.clone(), asked.clone());
                    thread::spawn(move || {
                        let patience = || Ok(Patience::Forever);
                        source.operate(Direction::Read, patience, |_| {
                            asked.fetch_add(1, Ordering::Relaxed);
                            try_accept(source.fd())
                        })
                    })
                })
                .collect();
            let until_waiting = |count| {
                while source.first().map(|it| it.waiting(Direction::Read)) != Some(count) {
                    thread::yield_now();
                }
            };
            until_waiting(ACCEPTERS);
            let mut connections = Vec::new();
            for left in (0..ACCEPTERS).rev() {
                let before = asked.load(Ordering::Relaxed);
                connections.push(TcpStream::connect(address).unwrap());
                until_waiting(left);
                let more = asked.load(Ordering::Relaxed) - before;
                if cfg!(target_os = "linux") {
                    assert!(more <= 2, "{more} have asked for one connection");
                }
            }
            for accepter in accepters {
                accepter.join().unwrap().unwrap();
            }
        });
    }
}
