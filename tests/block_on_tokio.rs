//! Futures of tokio on green threads, with a runtime of tokio beside.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roving::{Builder, ThreadLocals, block_on, deadline, thread};

/// As many OS threads as there are in this process.
fn os_threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count())
}

#[test]
fn a_thousand_green_threads_await_what_needs_tokio() {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let runtime = Builder::new().workers(2).build().unwrap();
    let owns = runtime.thread_locals() == ThreadLocals::Own;
    let (most, handle) = (AtomicUsize::new(0), tokio.handle());
    runtime.run(|| {
        thread::scope(|scope| {
            for number in 0..1_000 {
                let most = &most;
                scope.spawn(move || {
                    // Its own thread-local, for as long as it lives; shared ones it may not keep set.
                    let entered = owns.then(|| handle.enter());
                    for _ in 0..3 {
                        let slept = async { tokio::time::sleep(Duration::from_millis(1)).await };
                        match entered {
                            Some(_) => block_on(slept),
                            None => block_on(handle.spawn(slept)).unwrap(),
                        }
                        most.fetch_max(os_threads(), Ordering::Relaxed);
                    }
                    let spawned = block_on(handle.spawn(async move { number }));
                    assert_eq!(spawned.unwrap(), number);
                    let never = async { tokio::time::sleep(Duration::MAX).await };
                    let ends = deadline(Duration::from_millis(1), || match entered {
                        Some(_) => block_on(never),
                        None => block_on(std::future::pending()),
                    });
                    assert!(ends.is_err());
                });
            }
        });
    });
    // The test's own threads, two workers, one of tokio, and what other tests have.
    assert!(most.into_inner() < 20);
    runtime.shutdown();
}
