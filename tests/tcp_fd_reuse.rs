//! Descriptors are used again at once, and an event for a socket that is gone concerns none that
//! came after it.
//!
//! - storms of connections that open and close, with timeouts and without, each checking what it
//!   gets
//! - sockets whose descriptors live on: clones, sockets that go to std and come back
//! - no descriptor is leaked

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use common::{connection, is_child, on_each_worker_count, run, watchdog};
use roving::net::{TcpListener, TcpStream};
use roving::{go, thread};

/// Opens a connection, says `n` on it, and checks that the answer is about `n`.
fn talk(address: roving::net::SocketAddr, n: u32) {
    let mut stream = TcpStream::connect(address).unwrap();
    if n.is_multiple_of(3) {
        stream
            .set_read_timeout(Some(Duration::from_secs(3600)))
            .unwrap();
    }
    stream.write_all(&n.to_ne_bytes()).unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..4], n.to_ne_bytes());
    assert_eq!(answer[4..], (!n).to_ne_bytes());
    match n % 4 {
        // Leaves the end unread.
        0 => {}
        // Leaves data for the peer that it will not read.
        1 => stream.write_all(b"unread").unwrap(),
        _ => assert_eq!(stream.read(&mut answer).unwrap(), 0),
    }
}

fn serve(mut stream: TcpStream) {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).unwrap();
    let n = u32::from_ne_bytes(bytes);
    if n.is_multiple_of(5) {
        thread::yield_now();
    }
    stream.write_all(&bytes).unwrap();
    stream.write_all(&(!n).to_ne_bytes()).unwrap();
}

#[test]
fn sockets_open_and_close_in_storms() {
    const CLIENTS: u32 = 16;
    const ROUNDS: u32 = 60;
    on_each_worker_count(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepts = go!(move || {
            for stream in listener.incoming().take((CLIENTS * ROUNDS) as usize) {
                let stream = stream.unwrap();
                go!(move || serve(stream));
            }
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                go!(move || {
                    for round in 0..ROUNDS {
                        talk(address, client * ROUNDS + round);
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|c| c.join().unwrap());
        accepts.join().unwrap();
    });
}

/// A socket waits, is closed with an event on its way, and another one with its number waits for
/// something that does not come.
#[test]
fn an_event_of_a_closed_socket_ends_no_wait_of_the_next() {
    on_each_worker_count(|| {
        for n in 0..200u64 {
            let (old, old_peer) = connection();
            let old_number = old.as_raw_fd();
            let ends = go!(move || {
                let _ = old.set_read_timeout(Some(Duration::from_micros(1 + n % 40)));
                let _ = (&old).read(&mut [0]);
                drop(old);
            });
            let writes = go!(move || {
                let _ = (&old_peer).write_all(&[1; 10]);
                old_peer
            });
            ends.join().unwrap();
            let (new, peer) = connection();
            // The kernel takes the lowest number that is free, mostly the one that has just been
            // closed.
            let _ = old_number == new.as_raw_fd();
            new.set_read_timeout(Some(Duration::from_micros(200)))
                .unwrap();
            let error = (&new).read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            (&peer).write_all(b"new").unwrap();
            new.set_read_timeout(None).unwrap();
            let mut buffer = [0; 3];
            (&new).read_exact(&mut buffer).unwrap();
            assert_eq!(&buffer, b"new");
            writes.join().unwrap();
        }
    });
}

/// The original is closed while a clone of it lives, which keeps the connection, and with it its
/// events, alive.
#[test]
fn a_clone_outlives_the_original() {
    on_each_worker_count(|| {
        for n in 0..50u8 {
            let (original, mut peer) = connection();
            // The original is registered: it has waited.
            original
                .set_read_timeout(Some(Duration::from_micros(10)))
                .unwrap();
            assert!((&original).read(&mut [0]).is_err());
            let mut clone = original.try_clone().unwrap();
            clone.set_read_timeout(None).unwrap();
            drop(original);
            let (next, next_peer) = connection();
            let waits = go!(move || {
                let mut byte = [0];
                (&next).read_exact(&mut byte).unwrap();
                byte[0]
            });
            let reads = go!(move || {
                let mut bytes = [0; 2];
                clone.read_exact(&mut bytes).unwrap();
                bytes
            });
            thread::yield_now();
            peer.write_all(&[n]).unwrap();
            thread::yield_now();
            peer.write_all(&[n + 1]).unwrap();
            assert_eq!(reads.join().unwrap(), [n, n + 1]);
            assert!(!waits.is_finished());
            (&next_peer).write_all(&[99]).unwrap();
            assert_eq!(waits.join().unwrap(), 99);
        }
    });
}

/// A socket that has waited goes to std, where it is used, and comes back with the same number.
#[test]
fn a_socket_goes_to_std_and_comes_back() {
    on_each_worker_count(|| {
        let (mut stream, mut peer) = connection();
        for n in 0..50u8 {
            let echoes = go!(move || {
                let mut bytes = [0; 3];
                peer.read_exact(&mut bytes).unwrap();
                thread::yield_now();
                peer.write_all(&bytes).unwrap();
                peer
            });
            let mut bytes = [0; 3];
            stream.write_all(&[n, n, n]).unwrap();
            stream.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, [n; 3]);
            peer = echoes.join().unwrap();

            let mut plain = std::net::TcpStream::from(stream);
            plain.write_all(b"plain").unwrap();
            peer.read_exact(&mut [0; 5]).unwrap();
            peer.write_all(b"answer").unwrap();
            plain.read_exact(&mut [0; 6]).unwrap();
            stream = TcpStream::from(plain);
        }
    });
}

/// In a process of its own, where nobody else opens descriptors.
#[test]
fn descriptors_are_not_leaked() {
    let name = "descriptors_are_not_leaked";
    let _watchdog = watchdog("");
    if !is_child(name) {
        run(common::child(name));
        return;
    }
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for workers in common::WORKER_COUNTS {
        let runtime = common::runtime(workers);
        runtime.run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let clients: Vec<_> = (0..100).map(|n| go!(move || talk(address, n))).collect();
            for stream in listener.incoming().take(100) {
                go!(move || serve(stream.unwrap()));
            }
            clients.into_iter().for_each(|c| c.join().unwrap());
            // One that is unwound, and one that outlives the runtime.
            let (waits, _peer) = connection();
            go!(move || (&waits).read(&mut [0]));
            thread::yield_now();
        });
        drop(runtime);
        assert_eq!(open(), before, "with {workers} workers");
    }
}
