//! The work as blocking code: one file for green threads and for OS threads, which differ in what
//! `super` calls `thread`, `mpsc`, `Mutex` and what is of the network.

use super::{
    Barrier, Mutex, TcpListener, TcpStream, UdpSocket, UnixStream, blocking, mpsc, thread,
};
use common::{
    ASLEEP, BATCH, CAPACITY, CLIENTS, CONTENDERS, LEAF, NEIGHBOURS, Notes, OPEN, PAUSE, Race,
    Responder, SENDERS, Wakes, absent, each, percentiles, yielders,
};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Does it, on a thread.
pub fn work(name: &str, count: usize) -> Value {
    match name {
        "spawn_join" => spawn_join(count),
        "spawn_1000" => spawn_batches(count),
        "spawn_all" => spawn_all(count),
        "ping_pong" => ping_pong(count),
        "unix_ping_pong" => unix_ping_pong(count),
        "mpsc" => many_to_one(count),
        "skynet" => skynet(count),
        "mutex" => mutex(count, || {}),
        "mutex_held" => mutex(count, thread::yield_now),
        "tree" => tree(count),
        "unbalanced" => unbalanced(count),
        "wake_unpark" => wake_unpark(count),
        "wake_timer" => wake_timer(count),
        "wake_socket" => wake_socket(count),
        "udp_echo" => udp_echo(count),
        "timers" => timers(count),
        "sleepers" => sleepers(count),
        "slow_neighbour" => slow_neighbour(count, common::compute_slowly),
        "slow_neighbour_told" => slow_neighbour(count, || blocking(common::compute_slowly)),
        _ => match yielders(name) {
            Some(threads) => yields(threads, count),
            None => absent("no such work"),
        },
    }
}

fn spawn_join(count: usize) -> Value {
    let start = Instant::now();
    for n in 0..count {
        assert_eq!(thread::spawn(move || n).join().unwrap(), n);
    }
    each(start, count)
}

fn spawn_then_join_all(count: usize) {
    let threads: Vec<_> = (0..count).map(|n| thread::spawn(move || n)).collect();
    let numbers = threads.into_iter().map(|thread| thread.join().unwrap());
    assert_eq!(numbers.sum::<usize>(), count * (count - 1) / 2);
}

fn spawn_batches(count: usize) -> Value {
    let batches = count / BATCH;
    spawn_then_join_all(BATCH);
    let start = Instant::now();
    (0..batches).for_each(|_| spawn_then_join_all(BATCH));
    each(start, batches * BATCH)
}

fn spawn_all(count: usize) -> Value {
    spawn_then_join_all(count);
    let start = Instant::now();
    spawn_then_join_all(count);
    each(start, count)
}

fn yields(threads: usize, count: usize) -> Value {
    let times = (count / threads).max(1);
    let race = Arc::new((Barrier::new(threads), Race::new(threads)));
    let handles: Vec<_> = (0..threads)
        .map(|_| {
            let race = race.clone();
            thread::spawn(move || {
                let (barrier, race) = &*race;
                let is_leader = barrier.wait().is_leader();
                // Behind those that it has woken.
                thread::yield_now();
                if is_leader {
                    race.start();
                }
                (0..times).for_each(|_| thread::yield_now());
                race.finish();
            })
        })
        .collect();
    handles
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    race.1.each(times)
}

fn ping_pong(count: usize) -> Value {
    let (to, from_other) = mpsc::sync_channel(1);
    let (to_other, from) = mpsc::sync_channel(1);
    let start = Instant::now();
    let other = thread::spawn(move || from.iter().for_each(|n: usize| to.send(n).unwrap()));
    for n in 0..count {
        to_other.send(n).unwrap();
        assert_eq!(from_other.recv().unwrap(), n);
    }
    drop(to_other);
    other.join().unwrap();
    each(start, count)
}

fn unix_ping_pong(count: usize) -> Value {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let start = Instant::now();
    let other = thread::spawn(move || {
        let mut byte = [0];
        while far.read(&mut byte).unwrap() > 0 {
            far.write_all(&byte).unwrap();
        }
    });
    for n in 0..count {
        near.write_all(&[n as u8]).unwrap();
        let mut byte = [0];
        near.read_exact(&mut byte).unwrap();
        assert_eq!(byte[0], n as u8);
    }
    drop(near);
    other.join().unwrap();
    each(start, count)
}

fn many_to_one(count: usize) -> Value {
    let (sender, receiver) = mpsc::sync_channel(CAPACITY);
    let start = Instant::now();
    for _ in 0..SENDERS {
        let sender = sender.clone();
        thread::spawn(move || (0..count / SENDERS).for_each(|n| sender.send(n).unwrap()));
    }
    drop(sender);
    assert_eq!(receiver.iter().count(), count / SENDERS * SENDERS);
    each(start, count)
}

fn skynet(count: usize) -> Value {
    fn node(first: usize, size: usize) -> usize {
        if size == 1 {
            return first;
        }
        let (sender, receiver) = mpsc::sync_channel(10);
        for child in 0..10 {
            let sender = sender.clone();
            let size = size / 10;
            thread::spawn(move || sender.send(node(first + child * size, size)).unwrap());
        }
        drop(sender);
        receiver.iter().sum()
    }
    assert_eq!(node(0, count), count * (count - 1) / 2);
    let start = Instant::now();
    assert_eq!(node(0, count), count * (count - 1) / 2);
    each(start, count)
}

/// `hold` is what is done with the lock held.
fn mutex(count: usize, hold: fn()) -> Value {
    let number = Arc::new(Mutex::new(0));
    let start = Instant::now();
    let threads: Vec<_> = (0..CONTENDERS)
        .map(|_| {
            let number = number.clone();
            thread::spawn(move || {
                for _ in 0..count / CONTENDERS {
                    let mut number = number.lock().unwrap();
                    *number += 1;
                    hold();
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let figures = each(start, count);
    assert_eq!(*number.lock().unwrap(), count / CONTENDERS * CONTENDERS);
    figures
}

fn tree(count: usize) -> Value {
    fn node(first: usize, size: usize) -> u64 {
        if size == 1 {
            return common::spin(first, LEAF);
        }
        let half = size / 2;
        let left = thread::spawn(move || node(first, half));
        let right = node(first + half, half);
        left.join().unwrap().wrapping_add(right)
    }
    let whole = (0..count).fold(0, |sum: u64, n| sum.wrapping_add(common::spin(n, LEAF)));
    let start = Instant::now();
    assert_eq!(node(0, count), whole);
    each(start, count)
}

fn unbalanced(count: usize) -> Value {
    let part = |n| common::spin(n, common::unbalanced_steps(n));
    let whole = (0..count).fold(0, |sum: u64, n| sum.wrapping_add(part(n)));
    let start = Instant::now();
    let threads: Vec<_> = (0..count).map(|n| thread::spawn(move || part(n))).collect();
    let parts = threads.into_iter().map(|thread| thread.join().unwrap());
    assert_eq!(parts.fold(0, u64::wrapping_add), whole);
    each(start, count)
}

fn wake_unpark(count: usize) -> Value {
    let wakes = Arc::new(Wakes::new());
    let causes = wakes.clone();
    let sleeper = thread::current();
    let waker = std::thread::spawn(move || causes.cause(count, || sleeper.unpark()));
    let latencies = (0..count)
        .map(|_| {
            while !wakes.is_caused() {
                thread::park();
            }
            wakes.see()
        })
        .collect();
    waker.join().unwrap();
    percentiles(latencies)
}

fn wake_timer(count: usize) -> Value {
    let notes = Notes::new(count);
    for n in 0..count {
        let start = Instant::now();
        thread::sleep(PAUSE);
        notes.note(n, start, PAUSE);
    }
    percentiles(notes.latencies())
}

fn wake_socket(count: usize) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let wakes = Arc::new(Wakes::new());
    let causes = wakes.clone();
    let waker = std::thread::spawn(move || {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        causes.cause(count, || socket.write_all(&[1]).unwrap());
    });
    let (mut socket, _) = listener.accept().unwrap();
    let latencies = (0..count)
        .map(|_| {
            socket.read_exact(&mut [0]).unwrap();
            wakes.see()
        })
        .collect();
    waker.join().unwrap();
    percentiles(latencies)
}

fn udp_echo(count: usize) -> Value {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let serves = thread::spawn(move || {
        let mut buffer = [0; 1500];
        loop {
            let (len, client) = server.recv_from(&mut buffer).unwrap();
            if len == 0 {
                return;
            }
            server.send_to(&buffer[..len], client).unwrap();
        }
    });
    let times = count / CLIENTS;
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            thread::spawn(move || {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.connect(address).unwrap();
                let mut answer = [0; 1500];
                for _ in 0..times {
                    socket.send(&[7; 64]).unwrap();
                    assert_eq!(socket.recv(&mut answer).unwrap(), 64);
                }
            })
        })
        .collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    let figures = each(start, times * CLIENTS);
    let last = UdpSocket::bind("127.0.0.1:0").unwrap();
    last.send_to(&[], address).unwrap();
    serves.join().unwrap();
    figures
}

fn timers(count: usize) -> Value {
    let notes = Arc::new(Notes::new(count));
    let cpu_before = common::cpu_time();
    let threads: Vec<_> = (0..count)
        .map(|n| {
            let notes = notes.clone();
            thread::spawn(move || {
                let start = Instant::now();
                thread::sleep(common::nap(n));
                notes.note(n, start, common::nap(n));
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    common::timer_figures(&notes, cpu_before)
}

/// The threads are left to the end of the process.
fn sleepers(count: usize) -> Value {
    let before = common::memory();
    for spawned in 0..count {
        let sleeper = thread::Builder::new().spawn(|| {
            ASLEEP.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_secs(3600));
        });
        if let Err(error) = sleeper {
            return serde_json::json!({ "stopped": format!("at {spawned}: {error}") });
        }
    }
    while ASLEEP.load(Ordering::Relaxed) < count as u64 {
        thread::sleep(10 * PAUSE);
    }
    thread::sleep(common::SETTLE);
    common::bytes_of_sleepers(count, before)
}

/// The slow one comes last and the last of the others ends it, so that nothing has to be begun or joined while it is busy.
fn slow_neighbour(count: usize, compute: fn()) -> Value {
    let others = NEIGHBOURS - 1;
    let barrier = Arc::new(Barrier::new(NEIGHBOURS));
    let measuring = Arc::new(AtomicUsize::new(others));
    let notes = Arc::new(Notes::new(others * count));
    let mut threads: Vec<_> = (0..others)
        .map(|neighbour| {
            let (barrier, measuring, notes) = (barrier.clone(), measuring.clone(), notes.clone());
            thread::spawn(move || {
                barrier.wait();
                for n in 0..count {
                    let start = Instant::now();
                    thread::sleep(PAUSE);
                    notes.note(neighbour * count + n, start, PAUSE);
                }
                measuring.fetch_sub(1, Ordering::Relaxed);
            })
        })
        .collect();
    threads.push(thread::spawn(move || {
        barrier.wait();
        while measuring.load(Ordering::Relaxed) > 0 {
            compute();
            thread::yield_now();
        }
    }));
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    percentiles(notes.latencies())
}

/// Accepts connections, a thread for each, until the process ends.
pub fn serve(listener: &TcpListener, serve_connection: fn(TcpStream) -> io::Result<()>) {
    loop {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        let connection = thread::Builder::new().spawn(move || {
            OPEN.fetch_add(1, Ordering::Relaxed);
            // A peer that resets its connection ends it as one that closes it does.
            let _ = stream
                .set_nodelay(true)
                .and_then(|()| serve_connection(stream));
            OPEN.fetch_sub(1, Ordering::Relaxed);
        });
        if connection.is_err() {
            thread::sleep(PAUSE);
        }
    }
}

pub fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; common::BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            got => stream.write_all(&buffer[..got])?,
        }
    }
}

pub fn http(mut stream: TcpStream) -> io::Result<()> {
    let mut responder = Responder::new();
    loop {
        let got = stream.read(responder.space())?;
        match responder.answers(got) {
            Some(answers) if got > 0 => stream.write_all(answers)?,
            _ => return Ok(()),
        }
    }
}
