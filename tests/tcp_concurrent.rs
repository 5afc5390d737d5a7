//! Sockets that many threads use at once.
//!
//! - one reads while another writes, by reference and by clones, green and not
//! - several readers share what comes, several writers' pieces arrive whole
//! - several accept on one listener, and each connection goes to one of them
//! - one calls on a green thread, and another the same on an OS thread

mod common;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::{Arc, mpsc};

use common::{connection, each_worker_count, on_each_worker_count, pattern};
use roving::net::{Shutdown, TcpListener, TcpStream};
use roving::{go, thread};

#[test]
fn one_reads_while_another_writes() {
    on_each_worker_count(|| {
        let (one, other) = connection();
        let data = Arc::new(pattern(0, 1 << 20));
        let ends = [one, other].map(|stream| {
            let stream = Arc::new(stream);
            let (writer, data) = (stream.clone(), data.clone());
            let writes = go!(move || {
                (&*writer).write_all(&data).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let reads = go!(move || {
                let mut received = Vec::new();
                (&*stream).read_to_end(&mut received).unwrap();
                received
            });
            (writes, reads)
        });
        for (writes, reads) in ends {
            writes.join().unwrap();
            assert!(reads.join().unwrap() == *data);
        }
    });
}

#[test]
fn clones_read_and_write() {
    on_each_worker_count(|| {
        let (one, mut other) = connection();
        let mut reader = one.try_clone().unwrap();
        let mut writer = one.try_clone().unwrap();
        drop(one);
        let echoes = go!(move || std::io::copy(&mut other.try_clone().unwrap(), &mut other));
        let data = pattern(3, 300_000);
        let sent = data.clone();
        go!(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        assert!(received == data);
        assert_eq!(echoes.join().unwrap().unwrap(), 300_000);
    });
}

#[test]
fn a_green_thread_and_an_os_thread_share_a_socket() {
    each_worker_count(|runtime| {
        for green_reads in [true, false] {
            let (one, other) = connection();
            let data = Arc::new(pattern(1, 500_000));
            let stream = Arc::new(one);
            let (reader, writer, sent) = (stream.clone(), stream, data.clone());
            let read = move || {
                let mut received = Vec::new();
                (&*reader).read_to_end(&mut received).unwrap();
                received
            };
            let write = move || {
                (&*writer).write_all(&sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            };
            let echoes = runtime.spawn(move || std::io::copy(&mut &other, &mut &other).unwrap());
            let received = if green_reads {
                let reads = runtime.spawn(read);
                std::thread::spawn(write).join().unwrap();
                reads.join().unwrap()
            } else {
                let reads = std::thread::spawn(read);
                runtime.spawn(write).join().unwrap();
                reads.join().unwrap()
            };
            assert!(received == *data);
            assert_eq!(echoes.join().unwrap(), 500_000);
        }
    });
}

/// Readers of both kinds wait on one socket; each byte goes to one of them, and the end to all.
#[test]
fn several_readers_share_what_comes() {
    each_worker_count(|runtime| {
        let (mut writer, reader) = connection();
        let reader = Arc::new(reader);
        let read = || {
            let reader = reader.clone();
            move || {
                let mut numbers = Vec::new();
                let mut byte = [0];
                while (&*reader).read(&mut byte).unwrap() == 1 {
                    numbers.push(byte[0]);
                    thread::yield_now();
                }
                numbers
            }
        };
        let green: Vec<_> = (0..6).map(|_| runtime.spawn(read())).collect();
        let plain: Vec<_> = (0..2).map(|_| std::thread::spawn(read())).collect();
        let writes = runtime.spawn(move || {
            for n in 0..=255u8 {
                writer.write_all(&[n]).unwrap();
                if n % 3 == 0 {
                    thread::yield_now();
                }
            }
        });
        writes.join().unwrap();
        let mut all: Vec<u8> = Vec::new();
        for numbers in green.into_iter().map(|h| h.join().unwrap()) {
            all.extend(numbers);
        }
        for numbers in plain.into_iter().map(|h| h.join().unwrap()) {
            all.extend(numbers);
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..=255));
    });
}

/// All that several writers write arrives, in some order.
#[test]
fn several_writers_share_the_room() {
    const PIECE: usize = 10_000;
    on_each_worker_count(|| {
        let (writer, mut reader) = connection();
        let writer = Arc::new(writer);
        let writers: Vec<_> = (0..4u8)
            .map(|n| {
                let writer = writer.clone();
                go!(move || {
                    for _ in 0..50 {
                        (&*writer).write_all(&[n; PIECE]).unwrap();
                    }
                })
            })
            .collect();
        drop(writer);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        writers.into_iter().for_each(|w| w.join().unwrap());
        for n in 0..4u8 {
            assert_eq!(all.iter().filter(|b| **b == n).count(), 50 * PIECE);
        }
    });
}

#[test]
fn several_accept_on_one_listener() {
    each_worker_count(|runtime| {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let (tell, told) = mpsc::channel();
        // By reference and by clones, green and not. A connection that says "end" ends the one who
        // accepted it.
        let accept = |listener: Arc<TcpListener>| {
            let tell = tell.clone();
            move || {
                loop {
                    let (mut stream, peer) = listener.accept().unwrap();
                    let mut said = String::new();
                    stream.read_to_string(&mut said).unwrap();
                    if said == "end" {
                        return;
                    }
                    tell.send((peer, said)).unwrap();
                }
            }
        };
        let green: Vec<_> = (0..6)
            .map(|n| match n % 2 {
                0 => runtime.spawn(accept(listener.clone())),
                _ => runtime.spawn(accept(Arc::new(listener.try_clone().unwrap()))),
            })
            .collect();
        let plain: Vec<_> = (0..2)
            .map(|_| std::thread::spawn(accept(listener.clone())))
            .collect();
        let say = move |what: &str| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(what.as_bytes()).unwrap();
            stream.local_addr().unwrap()
        };
        let clients: Vec<_> = (0..100)
            .map(|n| {
                runtime.spawn(move || {
                    let said = format!("client {n}");
                    (say(&said), said)
                })
            })
            .collect();
        let sent: HashSet<_> = clients.into_iter().map(|c| c.join().unwrap()).collect();
        let accepted: HashSet<_> = (0..100).map(|_| told.recv().unwrap()).collect();
        assert_eq!(sent, accepted);
        for _ in 0..8 {
            say("end");
        }
        green.into_iter().for_each(|a| a.join().unwrap());
        plain.into_iter().for_each(|a| a.join().unwrap());
        assert!(told.try_recv().is_err());
    });
}

#[test]
fn a_socket_moves_from_thread_to_thread() {
    each_worker_count(|runtime| {
        let (mut one, other) = connection();
        let echoes = runtime.spawn(move || std::io::copy(&mut &other, &mut &other).unwrap());
        for n in 0..50u8 {
            let talk = move || {
                one.write_all(&[n; 10]).unwrap();
                let mut answer = [0; 10];
                one.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [n; 10]);
                one
            };
            one = match n % 3 {
                0 => std::thread::spawn(talk).join().unwrap(),
                _ => runtime.spawn(talk).join().unwrap(),
            };
        }
        drop(one);
        assert_eq!(echoes.join().unwrap(), 500);
    });
}
