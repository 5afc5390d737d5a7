//! Dining philosophers: each needs two forks, which it shares with its neighbours.
//!
//! ```text
//! cargo run --release --example philosophers
//! ```
//!
//! A fork is a `Mutex` that is held while a philosopher eats, which blocks: that costs no OS
//! thread. All take the fork with the lower number first, so there is no circle in which each waits
//! for the next.

use roving::sync::Mutex;
use roving::thread;
use std::time::Duration;

const PHILOSOPHERS: usize = 1000;
const MEALS: u32 = 5;

fn main() {
    let forks: Vec<_> = (0..PHILOSOPHERS).map(|_| Mutex::new(0u32)).collect();
    thread::scope(|scope| {
        for philosopher in 0..PHILOSOPHERS {
            let (left, right) = (philosopher, (philosopher + 1) % PHILOSOPHERS);
            let (first, second) = (&forks[left.min(right)], &forks[left.max(right)]);
            scope.spawn(move || {
                for _ in 0..MEALS {
                    let mut first = first.lock().unwrap();
                    let mut second = second.lock().unwrap();
                    thread::sleep(Duration::from_millis(1));
                    *first += 1;
                    *second += 1;
                }
            });
        }
    });
    let mut uses = forks.into_iter().map(|fork| fork.into_inner().unwrap());
    assert!(uses.all(|uses| uses == 2 * MEALS));
    println!(
        "{PHILOSOPHERS} philosophers had {MEALS} meals each; every fork was used {} times",
        2 * MEALS
    );
}
