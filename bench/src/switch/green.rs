//! Switches through the scheduler.

use anyhow::Result;
use roving::{Builder, Runtime, ThreadLocals, thread};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const YIELDS: u32 = 100_000;
const ROUND_TRIPS: u32 = 20_000;

/// A runtime in that mode, or why it cannot be had.
pub(super) fn runtime(mode: ThreadLocals, workers: usize) -> std::io::Result<Runtime> {
    let builder = Builder::new().workers(workers);
    let builder = match mode {
        ThreadLocals::Own => builder.own_thread_locals(),
        ThreadLocals::Pinned => builder.pinned_thread_locals(),
        // SAFETY: the green threads of this file hold nothing of a thread-local, nor anything that
        // is not `Send`, across a suspension.
        _ => unsafe { builder.shared_thread_locals() },
    };
    builder.build()
}

/// Two green threads of one worker that yield in turn: each yield is a pair.
pub(super) fn yields(mode: ThreadLocals) -> Result<f64> {
    let runtime = runtime(mode, 1)?;
    let nanoseconds = runtime.run(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let partner = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        });
        thread::yield_now();
        let start = Instant::now();
        for _ in 0..YIELDS {
            thread::yield_now();
        }
        let elapsed = start.elapsed();
        stop.store(true, Ordering::Relaxed);
        partner.join().expect("it does not panic");
        elapsed.as_nanos() as f64
    });
    // The partner yields as often.
    Ok(nanoseconds / f64::from(2 * YIELDS))
}

/// Two green threads that wake each other in turn.
pub(super) fn ping_pong(mode: ThreadLocals, workers: usize) -> Result<f64> {
    let runtime = runtime(mode, workers)?;
    let nanoseconds = runtime.run(|| {
        let ping = thread::current();
        let turn = Arc::new(AtomicBool::new(false));
        let its_turn = turn.clone();
        let pong = thread::spawn(move || {
            for _ in 0..ROUND_TRIPS {
                while !its_turn.load(Ordering::Acquire) {
                    thread::park();
                }
                its_turn.store(false, Ordering::Release);
                ping.unpark();
            }
        });
        let start = Instant::now();
        for _ in 0..ROUND_TRIPS {
            turn.store(true, Ordering::Release);
            pong.thread().unpark();
            while turn.load(Ordering::Acquire) {
                thread::park();
            }
        }
        let elapsed = start.elapsed();
        pong.join().expect("it does not panic");
        elapsed.as_nanos() as f64
    });
    Ok(nanoseconds / f64::from(ROUND_TRIPS))
}
