//! Parks a great many green threads and says what they cost.
//!
//! ```text
//! cargo run --release --example million 1000000       a million
//! cargo run --release --example million               a hundred thousand
//! ```
//!
//! A plain OS thread would cost its kernel stack and a page or two of its own one, and a
//! system-wide limit would stop them early. Green threads cost the pages of stack that they have
//! touched, and no OS threads at all. Reads `/proc`, so this is for Linux.

use std::env;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use roving::thread;

const DEFAULT_COUNT: usize = 100_000;

static ARRIVED: AtomicUsize = AtomicUsize::new(0);
static WAKE: AtomicBool = AtomicBool::new(false);

fn main() -> io::Result<()> {
    let count = match env::args().nth(1) {
        Some(count) => count.parse().map_err(io::Error::other)?,
        None => DEFAULT_COUNT,
    };
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: a release build takes less time and memory");
    }
    let before = Usage::now()?;
    let start = Instant::now();
    let mut sleepers = Vec::with_capacity(count);
    for _ in 0..count {
        let main = thread::current();
        sleepers.push(thread::Builder::new().spawn(move || {
            if ARRIVED.fetch_add(1, Ordering::AcqRel) + 1 == count {
                main.unpark();
            }
            while !WAKE.load(Ordering::Acquire) {
                thread::park();
            }
        })?);
    }
    while ARRIVED.load(Ordering::Acquire) < count {
        thread::park();
    }
    let spawned = start.elapsed();
    let parked = Usage::now()?;

    let start = Instant::now();
    WAKE.store(true, Ordering::Release);
    for sleeper in &sleepers {
        sleeper.thread().unpark();
    }
    for sleeper in sleepers {
        sleeper.join().expect("a sleeper panicked");
    }
    let joined = start.elapsed();

    let bytes = parked.memory.saturating_sub(before.memory);
    println!("green threads parked:  {count}");
    println!("OS threads:            {}", parked.os_threads);
    println!("memory:                {} MiB", bytes >> 20);
    if let Some(guards) = roving::stacks().guards {
        println!("guards of stacks:      {guards}");
    }
    println!("memory each:           {} bytes", bytes / count.max(1));
    println!("spawned and parked in: {spawned:.2?}");
    println!("woken and joined in:   {joined:.2?}");
    Ok(())
}

/// What this process takes of the machine.
struct Usage {
    /// Bytes that are resident, and the page tables for them.
    memory: usize,
    os_threads: usize,
}

impl Usage {
    fn now() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let number = |key: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(key)?.split_whitespace().next())
                .and_then(|number| number.parse::<usize>().ok())
                .ok_or_else(|| io::Error::other(format!("/proc/self/status has no {key}")))
        };
        Ok(Self {
            memory: (number("VmRSS:")? + number("VmPTE:")?) << 10,
            os_threads: number("Threads:")?,
        })
    }
}
