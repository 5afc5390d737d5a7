//! How long operations wait.
//!
//! - reads, writes and attempts to connect end when their time is up, not before, and with std's
//!   errors
//! - what comes in time is delivered; a timeout loses no data and does no harm to what follows
//! - clones share timeouts, and they come along from std and go back to it
//! - readiness races the time

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net as std_net;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{connection, on_each_worker_count, pattern};
use roving::net::{TcpListener, TcpStream};
use roving::{go, thread};

const SHORT: Duration = Duration::from_millis(5);

/// Runs `test` on an OS thread, and on green threads.
fn on_every_kind(test: impl Fn() + Send + Sync) {
    common::uses_global_runtime();
    test();
    on_each_worker_count(test);
}

/// Fills the buffers between the ends of a connection, and gives how many bytes that took.
fn fill(mut stream: &TcpStream) -> usize {
    let mut sent = 0;
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.write(&[1; 65536]) {
            Ok(n) => sent += n,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

#[test]
fn a_read_ends_when_its_time_is_up() {
    on_every_kind(|| {
        let (stream, _peer) = connection();
        stream.set_read_timeout(Some(SHORT)).unwrap();
        for _ in 0..3 {
            let start = Instant::now();
            let error = (&stream).read(&mut [0; 10]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            assert!(start.elapsed() >= SHORT);
        }
        let start = Instant::now();
        assert_eq!(
            stream.peek(&mut [0; 10]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        assert!(start.elapsed() >= SHORT);
    });
}

#[test]
fn what_comes_in_time_is_delivered() {
    on_every_kind(|| {
        let (mut stream, mut peer) = connection();
        stream
            .set_read_timeout(Some(Duration::from_secs(3600)))
            .unwrap();
        let writes = go!(move || {
            thread::sleep(Duration::from_millis(1));
            peer.write_all(b"in time").unwrap();
            peer
        });
        let mut buffer = [0; 10];
        assert_eq!(stream.read(&mut buffer).unwrap(), 7);
        assert_eq!(&buffer[..7], b"in time");
        drop(writes.join().unwrap());
        assert_eq!(stream.read(&mut buffer).unwrap(), 0);
    });
}

#[test]
fn a_timeout_loses_nothing() {
    on_every_kind(|| {
        let (mut stream, mut peer) = connection();
        stream
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        let data = pattern(1, 2000);
        let sent = data.clone();
        let writes = go!(move || {
            for chunk in sent.chunks(100) {
                thread::sleep(Duration::from_micros(1500));
                peer.write_all(chunk).unwrap();
            }
        });
        let mut received = Vec::new();
        let mut buffer = [0; 64];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => received.extend_from_slice(&buffer[..n]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        writes.join().unwrap();
        assert_eq!(received, data);
    });
}

#[test]
fn a_write_ends_when_its_time_is_up() {
    on_every_kind(|| {
        let (mut stream, mut peer) = connection();
        stream.set_write_timeout(Some(SHORT)).unwrap();
        let mut sent = fill(&stream);
        let start = Instant::now();
        // The system may find a little more room meanwhile.
        let error = loop {
            match stream.write(&[1; 100_000]) {
                Ok(n) => sent += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= SHORT);
        // What was said to be written has been, and no more.
        drop(stream);
        assert_eq!(io::copy(&mut peer, &mut io::sink()).unwrap(), sent as u64);
    });
}

#[test]
fn a_write_that_was_cut_short_tells_how_much() {
    on_every_kind(|| {
        let (mut stream, mut peer) = connection();
        stream.set_write_timeout(Some(SHORT)).unwrap();
        let data = pattern(2, 20 << 20);
        let written = stream.write(&data).unwrap();
        assert!(0 < written && written < data.len());
        drop(stream);
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert!(received == data[..written]);
    });
}

#[test]
fn a_time_of_zero_is_refused_and_none_is_for_ever() {
    on_every_kind(|| {
        let (stream, peer) = connection();
        for refused in [
            stream.set_read_timeout(Some(Duration::ZERO)),
            stream.set_write_timeout(Some(Duration::ZERO)),
            TcpStream::connect_timeout(&stream.local_addr().unwrap(), Duration::ZERO).map(drop),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(stream.read_timeout().unwrap(), None);
        stream.set_read_timeout(Some(SHORT)).unwrap();
        assert!((&stream).read(&mut [0]).is_err());
        stream.set_read_timeout(None).unwrap();
        let writes = go!(move || {
            thread::sleep(2 * SHORT);
            (&peer).write_all(b"x").unwrap();
            peer
        });
        assert_eq!((&stream).read(&mut [0]).unwrap(), 1);
        writes.join().unwrap();
    });
}

#[test]
fn clones_share_their_timeouts() {
    on_every_kind(|| {
        let (stream, _peer) = connection();
        let clone = stream.try_clone().unwrap();
        clone.set_read_timeout(Some(SHORT)).unwrap();
        assert!(stream.read_timeout().unwrap().unwrap() >= SHORT);
        let error = (&stream).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(stream);
        assert!((&clone).read(&mut [0]).is_err());
    });
}

#[test]
fn timeouts_come_from_std_and_go_back() {
    on_every_kind(|| {
        let listener = std_net::TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = std_net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        theirs.set_read_timeout(Some(SHORT)).unwrap();
        let mut ours = TcpStream::from(theirs);
        let start = Instant::now();
        assert_eq!(
            ours.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        assert!(start.elapsed() >= SHORT);
        ours.set_read_timeout(Some(2 * SHORT)).unwrap();
        let mut theirs = std_net::TcpStream::from(ours);
        let start = Instant::now();
        let told_by_std = if cfg!(windows) {
            ErrorKind::TimedOut
        } else {
            ErrorKind::WouldBlock
        };
        assert_eq!(theirs.read(&mut [0]).unwrap_err().kind(), told_by_std);
        assert!(start.elapsed() >= 2 * SHORT);
    });
}

#[test]
fn the_others_go_on_while_one_waits() {
    on_each_worker_count(|| {
        let (stream, peer) = connection();
        stream
            .set_read_timeout(Some(Duration::from_secs(3600)))
            .unwrap();
        let waits = go!(move || (&stream).read(&mut [0]).unwrap());
        for n in 0..50 {
            assert_eq!(go!(move || n).join().unwrap(), n);
        }
        drop(peer);
        assert_eq!(waits.join().unwrap(), 0);
    });
}

#[test]
fn readiness_races_the_time() {
    on_each_worker_count(|| {
        let (mut stream, mut peer) = connection();
        let (rounds, bytes) = (300u64, 1u64);
        let writes = go!(move || {
            for round in 0..rounds {
                thread::sleep(Duration::from_micros(round * 13 % 120));
                peer.write_all(&[round as u8]).unwrap();
            }
        });
        let mut received = 0;
        let mut round = 0;
        while received < rounds * bytes {
            round += 1;
            let timeout = Duration::from_micros(1 + round * 7 % 120);
            stream.set_read_timeout(Some(timeout)).unwrap();
            let mut buffer = [0];
            match stream.read(&mut buffer) {
                Ok(n) => {
                    assert_eq!((n, buffer[0]), (1, received as u8));
                    received += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        writes.join().unwrap();
        stream.set_read_timeout(None).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    });
}

/// A listener whose queue is full lets nobody in, and answers nobody.
#[test]
fn an_attempt_to_connect_ends_when_its_time_is_up() {
    let _watchdog = common::watchdog("");
    let listener = std_net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let inside = Mutex::new(Vec::new());
    let connect = |patience| loop {
        let start = Instant::now();
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => inside.lock().unwrap().push(stream),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                assert!(start.elapsed() >= patience);
                return;
            }
        }
        assert!(
            inside.lock().unwrap().len() < 10_000,
            "the queue of the listener has an end"
        );
    };
    connect(Duration::from_millis(300));
    // The queue is full now, unless that time was up for another reason.
    on_every_kind(|| connect(SHORT));
    // Whoever still waits gets in when there is room.
    let runtime = common::runtime(1);
    let waits = runtime.spawn(move || TcpStream::connect(address).map(|_| ()));
    let meanwhile = runtime.spawn(|| 3);
    assert_eq!(meanwhile.join().unwrap(), 3);
    drop(inside);
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(true).unwrap();
    while !waits.is_finished() {
        let _ = listener.accept();
        std::thread::yield_now();
    }
    waits.join().unwrap().unwrap();
}
