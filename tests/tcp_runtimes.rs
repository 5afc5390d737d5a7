//! Sockets that green threads of several runtimes use, and sockets that outlive the runtime that
//! used them first.

mod common;

use std::io::{Read, Write};
use std::sync::Arc;

use common::{
    WORKER_COUNTS, connection, each_worker_count, pattern, runtime, stacks_returned, watchdog,
};
use roving::net::{Shutdown, TcpListener, TcpStream};
use roving::{Cancelled, go};

#[test]
fn one_reads_and_another_writes() {
    each_worker_count(|first| {
        let second = runtime(2);
        for _ in 0..3 {
            let (one, other) = connection();
            let stream = Arc::new(one);
            let data = Arc::new(pattern(4, 1 << 20));
            let (reader, writer, sent) = (stream.clone(), stream, data.clone());
            let echoes = first.spawn(move || std::io::copy(&mut &other, &mut &other).unwrap());
            let reads = second.spawn(move || {
                let mut all = Vec::new();
                (&*reader).read_to_end(&mut all).unwrap();
                all
            });
            let writes = first.spawn(move || {
                (&*writer).write_all(&sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            writes.join().unwrap();
            assert!(reads.join().unwrap() == *data);
            echoes.join().unwrap();
        }
    });
}

/// Readers of three runtimes and of none wait on the same socket at the same time.
#[test]
fn all_wait_on_one_socket() {
    each_worker_count(|first| {
        let others = [runtime(1), runtime(2)];
        let (mut writer, reader) = connection();
        let reader = Arc::new(reader);
        let read = || {
            let reader = reader.clone();
            move || {
                let mut bytes = Vec::new();
                let mut byte = [0];
                while (&*reader).read(&mut byte).unwrap() == 1 {
                    bytes.push(byte[0]);
                }
                bytes
            }
        };
        let mut green = Vec::new();
        for runtime in [first, &others[0], &others[1]] {
            green.extend((0..3).map(|_| runtime.spawn(read())));
        }
        let plain = std::thread::spawn(read());
        for n in 0..200u8 {
            writer.write_all(&[n]).unwrap();
            if n % 7 == 0 {
                std::thread::yield_now();
            }
        }
        drop(writer);
        let mut all = plain.join().unwrap();
        for handle in green {
            all.extend(handle.join().unwrap());
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..200));
    });
}

#[test]
fn a_socket_is_used_in_turn() {
    each_worker_count(|first| {
        let second = runtime(1);
        let (mut stream, peer) = connection();
        let echoes = second.spawn(move || std::io::copy(&mut &peer, &mut &peer).unwrap());
        for n in 0..60u8 {
            let talk = || {
                stream.write_all(&[n; 5]).unwrap();
                let mut answer = [0; 5];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [n; 5]);
            };
            match n % 3 {
                0 => first.run(talk),
                1 => second.run(talk),
                _ => talk_here(talk),
            }
        }
        drop(stream);
        assert_eq!(echoes.join().unwrap(), 300);
    });
}

fn talk_here(talk: impl FnOnce()) {
    talk();
}

#[test]
fn a_socket_outlives_its_first_runtime() {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let (stream, mut peer) = connection();
        let stream = Arc::new(stream);
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        for round in 0..5u8 {
            let runtime = runtime(workers);
            let (reader, accepter) = (stream.clone(), listener.clone());
            // These wait, so both sockets are registered with this runtime, and are unwound with
            // it.
            let waits = [
                runtime.spawn(move || (&*reader).read(&mut [0]).map(drop)),
                runtime.spawn(move || accepter.accept().map(drop)),
            ];
            runtime.run(roving::thread::yield_now);
            if round % 2 == 0 {
                runtime.run(|| {
                    let (pinged, _other) = connection();
                    drop(pinged);
                });
            }
            drop(runtime);
            for wait in waits {
                assert!(wait.join().unwrap_err().is::<Cancelled>());
            }
            let next = common::runtime(workers);
            next.run(|| {
                let reader = stream.clone();
                let reads = go!(move || {
                    let mut byte = [0];
                    (&*reader).read_exact(&mut byte).unwrap();
                    byte[0]
                });
                peer.write_all(&[round]).unwrap();
                assert_eq!(reads.join().unwrap(), round);
                let accepter = listener.clone();
                let accepts = go!(move || accepter.accept().unwrap().1);
                let client = TcpStream::connect(address).unwrap();
                assert_eq!(accepts.join().unwrap(), client.local_addr().unwrap());
            });
        }
    }
}

/// A green thread of one runtime closes a socket on which those of another one have waited.
#[test]
fn a_socket_is_closed_elsewhere() {
    each_worker_count(|first| {
        let second = runtime(2);
        for _ in 0..20 {
            let (stream, mut peer) = connection();
            let waits = first.spawn(move || {
                let mut byte = [0];
                (&stream).read_exact(&mut byte).unwrap();
                stream
            });
            peer.write_all(b"x").unwrap();
            let stream = waits.join().unwrap();
            second.run(move || drop(stream));
            assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        }
    });
}
