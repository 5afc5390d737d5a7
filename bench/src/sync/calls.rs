//! What it costs to call what may block: the shortest call there is, and how each lets others run meanwhile.

use super::work::each;
use rustix::process::getppid;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::task;

/// Those that wait for the worker meanwhile.
const OTHERS: usize = 8;

fn call() {
    black_box(getppid());
}

fn measured(count: usize, mut one: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        one();
    }
    each(start, count)
}

pub(crate) fn bare(count: usize) -> f64 {
    measured(count, call)
}

pub(crate) fn roving(count: usize) -> f64 {
    measured(count, || roving::blocking(call))
}

pub(crate) fn roving_beside_others(count: usize) -> f64 {
    let ends = Arc::new(AtomicBool::new(false));
    for _ in 0..OTHERS {
        let ends = ends.clone();
        roving::go!(move || {
            while !ends.load(Ordering::Relaxed) {
                roving::thread::yield_now();
            }
        });
    }
    let nanos = roving(count);
    ends.store(true, Ordering::Relaxed);
    nanos
}

pub(crate) async fn block_in_place(count: usize) -> f64 {
    measured(count, || task::block_in_place(call))
}

pub(crate) async fn block_in_place_beside_others(count: usize) -> f64 {
    let ends = Arc::new(AtomicBool::new(false));
    for _ in 0..OTHERS {
        let ends = ends.clone();
        tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                task::yield_now().await;
            }
        });
    }
    let nanos = block_in_place(count).await;
    ends.store(true, Ordering::Relaxed);
    nanos
}

pub(crate) async fn spawn_blocking(count: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        task::spawn_blocking(call).await.unwrap();
    }
    each(start, count)
}
