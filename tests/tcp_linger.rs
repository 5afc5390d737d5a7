//! Connections with `SO_LINGER`: the close of one waits until the peer has what was sent.
//!
//! - whoever closes waits, and nobody else; but for those that are pinned to the same worker
//! - a cancellation and a deadline wait for the close, and take effect after it

mod common;

use std::io::{Read, Write};
use std::time::Duration;

use common::{connection, each_worker_count, set_option};
use roving::channel::unbounded;
use roving::net::TcpStream;
use roving::{Runtime, ThreadLocals, deadline, go, thread};

/// Runs `test` on runtimes of each size. One that is pinned waits for whoever has its worker, so there the test would
/// wait for itself.
fn each_that_moves_threads(test: impl Fn(&Runtime)) {
    each_worker_count(|runtime| {
        if runtime.thread_locals() != ThreadLocals::Pinned {
            test(runtime);
        }
    });
}

/// Lets a close wait for longer than any test takes.
fn linger(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 10_000,
    };
    set_option(stream, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

/// A connection whose close lingers until the other end, which is given with it, has read what was
/// sent; and how much that is.
fn full_connection() -> (TcpStream, TcpStream, usize) {
    let (mut stream, peer) = connection();
    linger(&stream);
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while let Ok(more) = stream.write(&[7; 65_536]) {
        sent += more;
    }
    (stream, peer, sent)
}

fn read_all(mut peer: TcpStream) -> usize {
    let mut read = Vec::new();
    peer.read_to_end(&mut read).unwrap();
    read.len()
}

#[test]
fn only_the_closer_waits() {
    each_that_moves_threads(|runtime| {
        let workers = runtime.workers();
        runtime.run(|| {
            let connections: Vec<_> = (0..=workers).map(|_| full_connection()).collect();
            let (closers, peers): (Vec<_>, Vec<_>) = connections
                .into_iter()
                .map(|(stream, peer, sent)| (go!(move || drop(stream)), (peer, sent)))
                .unzip();
            for n in 0..50 {
                assert_eq!(go!(move || n).join().unwrap(), n);
                thread::sleep(Duration::from_millis(1));
            }
            assert!(closers.iter().all(|closer| !closer.is_finished()));
            for (peer, sent) in peers {
                assert_eq!(read_all(peer), sent);
            }
            closers
                .into_iter()
                .for_each(|closer| closer.join().unwrap());
        });
    });
}

#[test]
fn nothing_interrupts_it() {
    each_that_moves_threads(|runtime| {
        runtime.run(|| {
            let (stream, peer, sent) = full_connection();
            let (begins, begun) = unbounded();
            let closer = go!(move || {
                begins.send(()).unwrap();
                drop(stream);
            });
            // Who is cancelled before does not begin.
            begun.recv().unwrap();
            thread::sleep(Duration::from_millis(1));
            closer.cancel();
            thread::sleep(Duration::from_millis(1));
            assert!(!closer.is_finished());
            assert_eq!(read_all(peer), sent);
            // Its next blocking call would tell it; there is none.
            closer.join().unwrap();

            let (stream, peer, sent) = full_connection();
            let reads = go!(move || {
                thread::sleep(Duration::from_millis(5));
                read_all(peer)
            });
            let late = deadline(Duration::from_millis(1), move || {
                drop(stream);
                thread::sleep(Duration::MAX);
            });
            assert!(late.is_err());
            assert_eq!(reads.join().unwrap(), sent);
        });
    });
}
