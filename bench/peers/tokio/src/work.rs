//! The work as tasks.

use common::{
    ASLEEP, BATCH, CAPACITY, CLIENTS, CONTENDERS, LEAF, NEIGHBOURS, Notes, PAUSE, Race, SENDERS,
    Wakes, absent, each, noted, percentiles, yielders,
};
use serde_json::Value;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket, UnixStream};
use tokio::sync::{Barrier, Mutex, Notify, mpsc};
use tokio::task::{block_in_place, yield_now};

pub async fn work(name: &str, count: usize) -> Value {
    match name {
        "spawn_join" => spawn_join(count).await,
        "spawn_1000" => spawn_batches(count).await,
        "spawn_all" => spawn_all(count).await,
        "ping_pong" => ping_pong(count).await,
        "unix_ping_pong" => unix_ping_pong(count).await,
        "mpsc" => many_to_one(count).await,
        "skynet" => skynet(count).await,
        "mutex" => noted(
            mutex(count).await,
            "std's mutex, as its documentation advises where no lock is held over an await",
        ),
        "mutex_held" => mutex_held(count).await,
        "tree" => tree(count).await,
        "unbalanced" => unbalanced(count).await,
        "wake_unpark" => wake_unpark(count).await,
        "wake_timer" => wake_timer(count).await,
        "wake_socket" => wake_socket(count).await,
        "udp_echo" => udp_echo(count).await,
        "timers" => timers(count).await,
        "sleepers" => sleepers(count).await,
        "slow_neighbour" => slow_neighbour(count, common::compute_slowly).await,
        "slow_neighbour_told" => {
            slow_neighbour(count, || block_in_place(common::compute_slowly)).await
        }
        _ => match yielders(name) {
            Some(tasks) => yields(tasks, count).await,
            None => absent("no such work"),
        },
    }
}

async fn spawn_join(count: usize) -> Value {
    let start = Instant::now();
    for n in 0..count {
        assert_eq!(tokio::spawn(async move { n }).await.unwrap(), n);
    }
    each(start, count)
}

async fn spawn_then_join_all(count: usize) {
    let tasks: Vec<_> = (0..count).map(|n| tokio::spawn(async move { n })).collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap();
    }
    assert_eq!(sum, count * (count - 1) / 2);
}

async fn spawn_batches(count: usize) -> Value {
    let batches = count / BATCH;
    spawn_then_join_all(BATCH).await;
    let start = Instant::now();
    for _ in 0..batches {
        spawn_then_join_all(BATCH).await;
    }
    each(start, batches * BATCH)
}

async fn spawn_all(count: usize) -> Value {
    spawn_then_join_all(count).await;
    let start = Instant::now();
    spawn_then_join_all(count).await;
    each(start, count)
}

async fn yields(tasks: usize, count: usize) -> Value {
    let times = (count / tasks).max(1);
    let race = Arc::new((Barrier::new(tasks), Race::new(tasks)));
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let race = race.clone();
            tokio::spawn(async move {
                let (barrier, race) = &*race;
                let is_leader = barrier.wait().await.is_leader();
                // Behind those that it has woken.
                yield_now().await;
                if is_leader {
                    race.start();
                }
                for _ in 0..times {
                    yield_now().await;
                }
                race.finish();
            })
        })
        .collect();
    for task in handles {
        task.await.unwrap();
    }
    race.1.each(times)
}

async fn ping_pong(count: usize) -> Value {
    let (to, mut from_other) = mpsc::channel(1);
    let (to_other, mut from) = mpsc::channel(1);
    let start = Instant::now();
    let other = tokio::spawn(async move {
        while let Some(n) = from.recv().await {
            to.send(n).await.unwrap();
        }
    });
    for n in 0..count {
        to_other.send(n).await.unwrap();
        assert_eq!(from_other.recv().await, Some(n));
    }
    drop(to_other);
    other.await.unwrap();
    each(start, count)
}

async fn unix_ping_pong(count: usize) -> Value {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let start = Instant::now();
    let other = tokio::spawn(async move {
        let mut byte = [0];
        while far.read(&mut byte).await.unwrap() > 0 {
            far.write_all(&byte).await.unwrap();
        }
    });
    for n in 0..count {
        near.write_all(&[n as u8]).await.unwrap();
        let mut byte = [0];
        near.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte[0], n as u8);
    }
    drop(near);
    other.await.unwrap();
    each(start, count)
}

async fn many_to_one(count: usize) -> Value {
    let (sender, mut receiver) = mpsc::channel(CAPACITY);
    let start = Instant::now();
    for _ in 0..SENDERS {
        let sender = sender.clone();
        tokio::spawn(async move {
            for n in 0..count / SENDERS {
                sender.send(n).await.unwrap();
            }
        });
    }
    drop(sender);
    let mut received = 0;
    while receiver.recv().await.is_some() {
        received += 1;
    }
    assert_eq!(received, count / SENDERS * SENDERS);
    each(start, count)
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

async fn skynet(count: usize) -> Value {
    fn node(first: usize, size: usize) -> Boxed<usize> {
        Box::pin(async move {
            let (sender, mut receiver) = mpsc::channel(10);
            let size = size / 10;
            for child in 0..10 {
                let sender = sender.clone();
                let first = first + child * size;
                tokio::spawn(async move {
                    // A leaf needs no future in a box.
                    let sum = match size {
                        1 => first,
                        _ => node(first, size).await,
                    };
                    sender.send(sum).await.unwrap();
                });
            }
            drop(sender);
            let mut sum = 0;
            while let Some(part) = receiver.recv().await {
                sum += part;
            }
            sum
        })
    }
    assert_eq!(node(0, count).await, count * (count - 1) / 2);
    let start = Instant::now();
    assert_eq!(node(0, count).await, count * (count - 1) / 2);
    each(start, count)
}

async fn mutex(count: usize) -> Value {
    let number = Arc::new(std::sync::Mutex::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..CONTENDERS)
        .map(|_| {
            let number = number.clone();
            tokio::spawn(async move {
                for _ in 0..count / CONTENDERS {
                    *number.lock().unwrap() += 1;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let figures = each(start, count);
    assert_eq!(*number.lock().unwrap(), count / CONTENDERS * CONTENDERS);
    figures
}

async fn mutex_held(count: usize) -> Value {
    let number = Arc::new(Mutex::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..CONTENDERS)
        .map(|_| {
            let number = number.clone();
            tokio::spawn(async move {
                for _ in 0..count / CONTENDERS {
                    let mut number = number.lock().await;
                    *number += 1;
                    yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let figures = each(start, count);
    assert_eq!(*number.lock().await, count / CONTENDERS * CONTENDERS);
    figures
}

async fn tree(count: usize) -> Value {
    fn node(first: usize, size: usize) -> Boxed<u64> {
        Box::pin(async move {
            if size == 1 {
                return common::spin(first, LEAF);
            }
            let half = size / 2;
            let left = tokio::spawn(node(first, half));
            let right = node(first + half, half).await;
            left.await.unwrap().wrapping_add(right)
        })
    }
    let whole = (0..count).fold(0, |sum: u64, n| sum.wrapping_add(common::spin(n, LEAF)));
    let start = Instant::now();
    assert_eq!(node(0, count).await, whole);
    each(start, count)
}

async fn unbalanced(count: usize) -> Value {
    let part = |n| common::spin(n, common::unbalanced_steps(n));
    let whole = (0..count).fold(0, |sum: u64, n| sum.wrapping_add(part(n)));
    let start = Instant::now();
    let tasks: Vec<_> = (0..count)
        .map(|n| tokio::spawn(async move { part(n) }))
        .collect();
    let mut sum = 0u64;
    for task in tasks {
        sum = sum.wrapping_add(task.await.unwrap());
    }
    assert_eq!(sum, whole);
    each(start, count)
}

async fn wake_unpark(count: usize) -> Value {
    let wakes = Arc::new(Wakes::new());
    let causes = wakes.clone();
    let notify = Arc::new(Notify::new());
    let notifier = notify.clone();
    let waker = std::thread::spawn(move || causes.cause(count, || notifier.notify_one()));
    let mut latencies = Vec::with_capacity(count);
    for _ in 0..count {
        notify.notified().await;
        latencies.push(wakes.see());
    }
    waker.join().unwrap();
    percentiles(latencies)
}

async fn wake_timer(count: usize) -> Value {
    let notes = Notes::new(count);
    for n in 0..count {
        let start = Instant::now();
        tokio::time::sleep(PAUSE).await;
        notes.note(n, start, PAUSE);
    }
    percentiles(notes.latencies())
}

async fn wake_socket(count: usize) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let wakes = Arc::new(Wakes::new());
    let causes = wakes.clone();
    let waker = std::thread::spawn(move || {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        causes.cause(count, || socket.write_all(&[1]).unwrap());
    });
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut latencies = Vec::with_capacity(count);
    for _ in 0..count {
        socket.read_exact(&mut [0]).await.unwrap();
        latencies.push(wakes.see());
    }
    waker.join().unwrap();
    percentiles(latencies)
}

async fn udp_echo(count: usize) -> Value {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let serves = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (len, client) = server.recv_from(&mut buffer).await.unwrap();
            if len == 0 {
                return;
            }
            server.send_to(&buffer[..len], client).await.unwrap();
        }
    });
    let times = count / CLIENTS;
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            tokio::spawn(async move {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                socket.connect(address).await.unwrap();
                let mut answer = [0; 1500];
                for _ in 0..times {
                    socket.send(&[7; 64]).await.unwrap();
                    assert_eq!(socket.recv(&mut answer).await.unwrap(), 64);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let figures = each(start, times * CLIENTS);
    let last = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    last.send_to(&[], address).await.unwrap();
    serves.await.unwrap();
    figures
}

async fn timers(count: usize) -> Value {
    let notes = Arc::new(Notes::new(count));
    let cpu_before = common::cpu_time();
    let tasks: Vec<_> = (0..count)
        .map(|n| {
            let notes = notes.clone();
            tokio::spawn(async move {
                let start = Instant::now();
                tokio::time::sleep(common::nap(n)).await;
                notes.note(n, start, common::nap(n));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    common::timer_figures(&notes, cpu_before)
}

/// The tasks are left to the end of the process.
async fn sleepers(count: usize) -> Value {
    let before = common::memory();
    for _ in 0..count {
        tokio::spawn(async {
            ASLEEP.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(3600)).await;
        });
    }
    while ASLEEP.load(Ordering::Relaxed) < count as u64 {
        tokio::time::sleep(10 * PAUSE).await;
    }
    tokio::time::sleep(common::SETTLE).await;
    common::bytes_of_sleepers(count, before)
}

async fn slow_neighbour(count: usize, compute: fn()) -> Value {
    let others = NEIGHBOURS - 1;
    let barrier = Arc::new(Barrier::new(NEIGHBOURS));
    let measuring = Arc::new(AtomicUsize::new(others));
    let notes = Arc::new(Notes::new(others * count));
    let mut tasks: Vec<_> = (0..others)
        .map(|neighbour| {
            let (barrier, measuring, notes) = (barrier.clone(), measuring.clone(), notes.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                for n in 0..count {
                    let start = Instant::now();
                    tokio::time::sleep(PAUSE).await;
                    notes.note(neighbour * count + n, start, PAUSE);
                }
                measuring.fetch_sub(1, Ordering::Relaxed);
            })
        })
        .collect();
    tasks.push(tokio::spawn(async move {
        barrier.wait().await;
        while measuring.load(Ordering::Relaxed) > 0 {
            compute();
            yield_now().await;
        }
    }));
    for task in tasks {
        task.await.unwrap();
    }
    percentiles(notes.latencies())
}
