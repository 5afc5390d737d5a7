//! The hot paths: their instructions are counted by `check`, their time is taken by `cargo bench`.

use roving::channel::{self, bounded, unbounded};
use roving::net::{TcpListener, TcpStream};
use roving::sync::{Mutex, RwLock};
use roving::{select, thread};
use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) const NAMES: [&str; 13] = [
    "channel, bounded: send and receive",
    "channel, ping-pong of two",
    "channel, unbounded: send and receive",
    "echo of 64 bytes",
    "echo over 400 connections, a request",
    "mutex: lock and unlock",
    "park and unpark, ping-pong of two",
    "rwlock: read and unlock",
    "scope with one thread",
    "select over 8, one ready",
    "spawn and join",
    "timer: a ping-pong with a timeout",
    "yield",
];

/// What runs a path so many times, on a green thread.
pub(crate) fn find(name: &str) -> Option<fn(usize)> {
    Some(match name {
        "channel, bounded: send and receive" => |count| passes(bounded(1024), count),
        "channel, ping-pong of two" => ping_pong,
        "channel, unbounded: send and receive" => |count| passes(unbounded(), count),
        "echo of 64 bytes" => echo,
        "echo over 400 connections, a request" => busy_echo,
        "mutex: lock and unlock" => mutex,
        "park and unpark, ping-pong of two" => park,
        "rwlock: read and unlock" => rwlock,
        "scope with one thread" => scope,
        "select over 8, one ready" => select_over_eight,
        "spawn and join" => spawn,
        "timer: a ping-pong with a timeout" => timer,
        "yield" => yields,
        _ => return None,
    })
}

fn spawn(count: usize) {
    for n in 0..count {
        assert_eq!(thread::spawn(move || n).join().unwrap(), n);
    }
}

fn scope(count: usize) {
    let mut sum = 0;
    for n in 0..count {
        thread::scope(|s| {
            s.spawn(|| sum += n);
        });
    }
    assert_eq!(sum, count * (count - 1) / 2);
}

/// Two that yield in turn: each yields half as often.
fn yields(count: usize) {
    let partner = thread::spawn(move || (0..count / 2).for_each(|_| thread::yield_now()));
    (0..count / 2).for_each(|_| thread::yield_now());
    partner.join().unwrap();
}

fn park(count: usize) {
    let ping = thread::current();
    let turn = Arc::new(AtomicBool::new(false));
    let its_turn = turn.clone();
    let pong = thread::spawn(move || {
        for _ in 0..count {
            while !its_turn.swap(false, Ordering::AcqRel) {
                thread::park();
            }
            ping.unpark();
        }
    });
    for _ in 0..count {
        turn.store(true, Ordering::Release);
        pong.thread().unpark();
        thread::park();
    }
    pong.join().unwrap();
}

/// A ping-pong in which one of the two gives up after a while.
fn timer(count: usize) {
    const LONG: Duration = Duration::from_secs(1000);
    let (to, from_other) = bounded(1);
    let (to_other, from) = bounded(1);
    let other = thread::spawn(move || from.iter().for_each(|n: usize| to.send(n).unwrap()));
    for n in 0..count {
        to_other.send(n).unwrap();
        assert_eq!(from_other.recv_timeout(LONG), Ok(n));
    }
    drop(to_other);
    other.join().unwrap();
}

fn mutex(count: usize) {
    let mutex = Mutex::new(0);
    for _ in 0..count {
        *black_box(&mutex).lock().unwrap() += 1;
    }
}

fn rwlock(count: usize) {
    let lock = RwLock::new(0);
    for _ in 0..count {
        black_box(*black_box(&lock).read().unwrap());
    }
}

fn passes((sender, receiver): (channel::Sender<usize>, channel::Receiver<usize>), count: usize) {
    for n in 0..count {
        sender.send(n).unwrap();
        assert_eq!(receiver.recv(), Ok(n));
    }
}

fn ping_pong(count: usize) {
    let (to, from_other) = bounded(1);
    let (to_other, from) = bounded(1);
    let other = thread::spawn(move || from.iter().for_each(|n: usize| to.send(n).unwrap()));
    for n in 0..count {
        to_other.send(n).unwrap();
        assert_eq!(from_other.recv(), Ok(n));
    }
    drop(to_other);
    other.join().unwrap();
}

fn select_over_eight(count: usize) {
    let channels: [_; 8] = std::array::from_fn(|_| bounded(1));
    let [a, b, c, d, e, f, g, h] = &channels;
    for n in 0..count {
        channels[n % 8].0.send(n).unwrap();
        let got = select! {
            recv(a.1) -> n => n,
            recv(b.1) -> n => n,
            recv(c.1) -> n => n,
            recv(d.1) -> n => n,
            recv(e.1) -> n => n,
            recv(f.1) -> n => n,
            recv(g.1) -> n => n,
            recv(h.1) -> n => n,
        };
        assert_eq!(got, Ok(n));
    }
}

fn echo(count: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 64];
        while stream.read_exact(&mut bytes).is_ok() {
            stream.write_all(&bytes).unwrap();
        }
    });
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut bytes = [0; 64];
    for _ in 0..count {
        stream.write_all(&bytes).unwrap();
        stream.read_exact(&mut bytes).unwrap();
    }
    drop(stream);
    server.join().unwrap();
}

/// One request after the other to each of many, which wait for it: the server is never idle. The clients are std's, and nobody
/// waits for the answers before they are there.
fn busy_echo(count: usize) {
    const CONNECTIONS: usize = 400;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let connect = |_| {
        let client = std::net::TcpStream::connect(address).unwrap();
        client.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let answered = answered.clone();
        let server = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(got @ 1..) = stream.read(&mut bytes) {
                stream.write_all(&bytes[..got]).unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        (client, server)
    };
    let (mut clients, servers): (Vec<_>, Vec<_>) = (0..CONNECTIONS).map(connect).unzip();
    let mut bytes = [0; 64];
    for round in 1..=count / CONNECTIONS {
        for client in &mut clients {
            client.write_all(&bytes).unwrap();
        }
        while answered.load(Ordering::Relaxed) < round * CONNECTIONS {
            thread::yield_now();
        }
        for client in &mut clients {
            client.read_exact(&mut bytes).unwrap();
        }
    }
    drop(clients);
    for server in servers {
        server.join().unwrap();
    }
}
