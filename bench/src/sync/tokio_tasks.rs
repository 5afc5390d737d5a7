//! tokio: tasks of its multi-threaded runtime, with its own primitives.

use super::work::{CAPACITY, CONTENDERS, SCOPE, SENDERS, SLEEPERS, each, nap, quantile};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Barrier, Mutex, RwLock, mpsc};
use tokio::task::JoinSet;

pub(crate) async fn ping_pong(count: usize) -> f64 {
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

pub(crate) async fn ping_pong_with_timeouts(count: usize) -> f64 {
    const LONG: Duration = Duration::from_secs(100);
    let (to, mut from_other) = mpsc::channel(1);
    let (to_other, mut from) = mpsc::channel(1);
    let start = Instant::now();
    let other = tokio::spawn(async move {
        while let Ok(Some(n)) = tokio::time::timeout(LONG, from.recv()).await {
            to.send(n).await.unwrap();
        }
    });
    for n in 0..count {
        to_other.send(n).await.unwrap();
        let answer = tokio::time::timeout(LONG, from_other.recv()).await;
        assert_eq!(answer, Ok(Some(n)));
    }
    drop(to_other);
    other.await.unwrap();
    each(start, count)
}

pub(crate) async fn mpsc_bounded(count: usize) -> f64 {
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

pub(crate) async fn mpsc_unbounded(count: usize) -> f64 {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let start = Instant::now();
    for _ in 0..SENDERS {
        let sender = sender.clone();
        tokio::spawn(async move {
            for n in 0..count / SENDERS {
                sender.send(n).unwrap();
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

pub(crate) async fn select_over_eight(count: usize) -> f64 {
    let mut receivers = Vec::new();
    let start = Instant::now();
    for _ in 0..8 {
        let (sender, receiver) = mpsc::channel(1);
        receivers.push(receiver);
        tokio::spawn(async move {
            for n in 0..count / 8 {
                sender.send(n).await.unwrap();
            }
        });
    }
    let [a, b, c, d, e, f, g, h] = receivers
        .get_disjoint_mut([0, 1, 2, 3, 4, 5, 6, 7])
        .unwrap();
    for _ in 0..count / 8 * 8 {
        tokio::select! {
            Some(_) = a.recv() => {}
            Some(_) = b.recv() => {}
            Some(_) = c.recv() => {}
            Some(_) = d.recv() => {}
            Some(_) = e.recv() => {}
            Some(_) = f.recv() => {}
            Some(_) = g.recv() => {}
            Some(_) = h.recv() => {}
            else => unreachable!(),
        }
    }
    each(start, count)
}

pub(crate) async fn mutex_uncontended(count: usize) -> f64 {
    let mutex = Mutex::new(0);
    let start = Instant::now();
    for _ in 0..count {
        *std::hint::black_box(&mutex).lock().await += 1;
    }
    each(start, count)
}

pub(crate) async fn mutex_contended(count: usize) -> f64 {
    let mutex = Arc::new(Mutex::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CONTENDERS {
        let mutex = mutex.clone();
        tasks.spawn(async move {
            for _ in 0..count / CONTENDERS {
                *mutex.lock().await += 1;
            }
        });
    }
    tasks.join_all().await;
    each(start, count)
}

pub(crate) async fn rwlock(count: usize) -> f64 {
    let lock = Arc::new(RwLock::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CONTENDERS {
        let lock = lock.clone();
        tasks.spawn(async move {
            for n in 0..count / CONTENDERS {
                if n % 10 == 0 {
                    *lock.write().await += 1;
                } else {
                    std::hint::black_box(*lock.read().await);
                }
            }
        });
    }
    tasks.join_all().await;
    each(start, count)
}

pub(crate) async fn barrier(count: usize) -> f64 {
    let barrier = Arc::new(Barrier::new(CONTENDERS));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CONTENDERS {
        let barrier = barrier.clone();
        tasks.spawn(async move {
            for _ in 0..count {
                barrier.wait().await;
            }
        });
    }
    tasks.join_all().await;
    each(start, count)
}

pub(crate) async fn spawn_join(count: usize) -> f64 {
    let start = Instant::now();
    for n in 0..count {
        assert_eq!(tokio::spawn(async move { n }).await.unwrap(), n);
    }
    each(start, count)
}

pub(crate) async fn scope(count: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        let mut tasks = JoinSet::new();
        for n in 0..SCOPE {
            tasks.spawn(async move { std::hint::black_box(n) });
        }
        while tasks.join_next().await.is_some() {}
    }
    each(start, count)
}

pub(crate) async fn lateness(share: f64) -> f64 {
    let mut sleepers = JoinSet::new();
    for sleeper in 0..SLEEPERS {
        sleepers.spawn(async move {
            let due = Instant::now() + nap(sleeper);
            tokio::time::sleep(nap(sleeper)).await;
            due.elapsed().as_nanos() as f64
        });
    }
    quantile(sleepers.join_all().await, share)
}

pub(crate) async fn skynet(count: usize) -> f64 {
    fn node(first: usize, size: usize) -> std::pin::Pin<Box<dyn Future<Output = usize> + Send>> {
        Box::pin(async move {
            if size == 1 {
                return first;
            }
            let (sender, mut receiver) = mpsc::channel(10);
            for child in 0..10 {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let sum = node(first + child * (size / 10), size / 10).await;
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
    let whole = count * (count - 1) / 2;
    // The first tree gets the memory from the system.
    assert_eq!(node(0, count).await, whole);
    let start = Instant::now();
    assert_eq!(node(0, count).await, whole);
    each(start, count)
}
