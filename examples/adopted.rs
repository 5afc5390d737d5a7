//! Ten thousand threads of `std` that whisper a word to one another, on as many OS threads as there are workers and few more.
//!
//! ```text
//! cargo run --release --features adopt --example adopted
//! ```
//!
//! But for `roving::adopt!()` it is a program like any other: it would run without.

use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const THREADS: usize = 10_000;

fn main() {
    roving::adopt!();
    let start = Instant::now();
    let understood = Arc::new(Mutex::new(BTreeMap::new()));
    let (first, mut heard) = mpsc::channel();
    let mut threads = Vec::new();
    for n in 0..THREADS {
        let (thread, next) = whisperer(n, heard, understood.clone());
        threads.push(thread);
        heard = next;
    }
    let os_threads = os_threads();
    first
        .send("it blocks and costs no thread".to_owned())
        .unwrap();
    let last = heard.recv().unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
    println!("the last of {THREADS} threads has understood: {last}");
    for (word, threads) in &*understood.lock().unwrap() {
        println!("{threads:6} have understood: {word}");
    }
    println!("{os_threads} OS threads, {:.0?}", start.elapsed());
}

/// A thread that passes on what it hears, and what the next one hears.
fn whisperer(
    n: usize,
    heard: Receiver<String>,
    understood: Arc<Mutex<BTreeMap<String, usize>>>,
) -> (JoinHandle<()>, Receiver<String>) {
    let (sender, next) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut word = heard.recv().unwrap();
        // Some miss the end, and think about it.
        if n % 2_500 == 2_499 {
            thread::sleep(Duration::from_millis(20));
            word.truncate(word.rfind(' ').unwrap_or(0));
        }
        *understood.lock().unwrap().entry(word.clone()).or_default() += 1;
        sender.send(word).unwrap();
    });
    (thread, next)
}

/// How many the kernel knows of this process, where it tells.
fn os_threads() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let threads = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"));
    threads.map_or_else(|| "unknown".to_owned(), |number| number.trim().to_owned())
}
