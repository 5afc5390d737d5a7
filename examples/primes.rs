//! Counts prime numbers on all cores: the range is cut into segments, and each segment is sieved by
//! a green thread.
//!
//! ```text
//! cargo run --release --example primes 1000000000     counts the primes below a billion
//! cargo run --release --example primes                below a hundred million, and checks the count
//! ```
//!
//! Idle workers steal segments that nobody has started, so the cores stay busy although segments
//! differ in cost.

use std::env;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use roving::{go, thread};

const LIMIT: u64 = 100_000_000;
const PRIMES_BELOW_LIMIT: usize = 5_761_455;

/// Numbers a segment: the sieve of one fits a second-level cache.
const SEGMENT: u64 = 1 << 18;

fn main() -> io::Result<()> {
    let limit = match env::args().nth(1) {
        Some(limit) => limit.parse().map_err(io::Error::other)?,
        None => LIMIT,
    };
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: a release build takes less time");
    }
    let start = Instant::now();
    let count = count_primes(limit);
    let time = start.elapsed();
    // On a green thread this is how many workers its runtime has.
    let workers = go!(thread::available_parallelism);
    let workers = workers.join().expect("the question panicked")?;
    println!("{count} primes below {limit}, found in {time:.0?} by {workers} workers");
    if limit == LIMIT {
        assert_eq!(count, PRIMES_BELOW_LIMIT);
    }
    Ok(())
}

fn count_primes(limit: u64) -> usize {
    // A composite number below the limit has a factor up to the limit's root.
    let factors: Arc<[u64]> = small_primes(limit.isqrt()).into();
    let segments: Vec<_> = (0..limit)
        .step_by(SEGMENT as usize)
        .map(|first| {
            let factors = factors.clone();
            go!(move || count_segment(first, limit.min(first + SEGMENT), &factors))
        })
        .collect();
    segments
        .into_iter()
        .map(|segment| segment.join().expect("a segment panicked"))
        .sum()
}

/// Counts the primes from `first` up to, but not including, `end`.
fn count_segment(first: u64, end: u64, factors: &[u64]) -> usize {
    let mut is_prime = vec![true; (end - first) as usize];
    for &factor in factors {
        let multiple = first.next_multiple_of(factor).max(factor * factor);
        for number in (multiple..end).step_by(factor as usize) {
            is_prime[(number - first) as usize] = false;
        }
    }
    let found = is_prime.iter().filter(|&&is_prime| is_prime).count();
    let not_primes = (first..end).take_while(|&number| number < 2).count();
    found - not_primes
}

/// The primes up to and including `last`.
fn small_primes(last: u64) -> Vec<u64> {
    let mut primes: Vec<u64> = Vec::new();
    for number in 2..=last {
        let mut factors = primes.iter().take_while(|&&prime| prime * prime <= number);
        if factors.all(|prime| number % prime != 0) {
            primes.push(number);
        }
    }
    primes
}
