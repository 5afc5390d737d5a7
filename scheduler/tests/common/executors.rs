//! Executors in which futures are polled, and a task that only counts its wake-ups.

// Each program of tests uses a part of this.
#![allow(dead_code)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use roving_scheduler::{block_on, thread};

use crate::common::{on_each_mode, uses_global_runtime};

/// Runs what `make` makes in each executor, on threads that are green and that are not.
pub(crate) fn in_each_executor<F: Future<Output = ()> + Send + 'static>(
    make: impl Fn() -> F + Sync,
) {
    uses_global_runtime();
    block_on(make());
    futures::executor::block_on(make());
    futures::executor::block_on_stream(futures::stream::once(Box::pin(make()))).for_each(drop);
    let mut local = futures::executor::LocalPool::new();
    local.run_until(make());
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(make());
    let multi = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    multi.block_on(async { tokio::spawn(make()).await.unwrap() });
    on_smol(3, &make);
    on_each_mode(|| block_on(make()));
}

/// Runs it in the executor of smol, on so many OS threads.
fn on_smol<F: Future<Output = ()> + Send + 'static>(os_threads: usize, make: impl Fn() -> F) {
    let executor = async_executor::Executor::new();
    let (stop, stopped) = tokio::sync::watch::channel(());
    std::thread::scope(|scope| {
        for _ in 0..os_threads {
            let (executor, mut stopped) = (&executor, stopped.clone());
            scope.spawn(move || {
                let until = async { drop(stopped.changed().await) };
                futures::executor::block_on(executor.run(until));
            });
        }
        let tasks: Vec<_> = (0..2).map(|_| executor.spawn(make())).collect();
        for task in tasks {
            futures::executor::block_on(task);
        }
        drop(stop);
    });
}

/// Counts how often it is woken.
#[derive(Default)]
pub(crate) struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl Woken {
    pub(crate) fn times(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn wait_for(&self, times: usize) {
        while self.times() < times {
            thread::yield_now();
        }
    }
}

pub(crate) fn woken() -> (Arc<Woken>, Waker) {
    let woken = Arc::new(Woken::default());
    (woken.clone(), Waker::from(woken))
}
