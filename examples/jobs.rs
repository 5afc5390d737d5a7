//! A job pool: so many jobs at once, each with a deadline, the results in order.
//!
//! ```text
//! cargo run --release --example jobs
//! ```

use roving::{Group, deadline, thread};
use std::time::Duration;

const JOBS: u64 = 40;
const AT_ONCE: usize = 8;
const LIMIT: Duration = Duration::from_millis(50);

/// Some jobs hang.
fn job(n: u64) -> u64 {
    if n % 10 == 7 {
        thread::sleep(Duration::MAX);
    }
    thread::sleep(Duration::from_millis(n % 5));
    n * n
}

fn main() {
    let results = Group::new().limit(AT_ONCE).map(0..JOBS, |n| {
        // That a job is late is no failure of the pool.
        Ok::<_, String>((n, deadline(LIMIT, || job(n))))
    });
    let mut late = 0;
    for (n, result) in results.expect("no job fails") {
        match result {
            Ok(square) => assert_eq!(square, n * n),
            Err(elapsed) => {
                late += 1;
                println!("job {n}: {elapsed}");
            }
        }
    }
    assert!(late >= JOBS / 10);
    println!("{JOBS} jobs, {AT_ONCE} at once, {late} of them late");
}
