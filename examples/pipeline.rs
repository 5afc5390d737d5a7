//! A pipeline: stages that are connected by bounded channels, so that a fast one waits for a slow
//! one.
//!
//! ```text
//! cargo run --release --example pipeline
//! ```
//!
//! The stages are members of a group. When the last one has seen enough it returns; the channels
//! behind it are then disconnected, and one stage after the other ends. A stage that fails would
//! cancel all others.

use roving::Group;
use roving::channel::bounded;
use roving::thread;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const ROOM: usize = 4;
const WANTED: usize = 20;

fn main() {
    let made = AtomicU64::new(0);
    let (numbers, to_square) = bounded(ROOM);
    let (squares, to_filter) = bounded(ROOM);
    let (found, results) = bounded(ROOM);

    let stages = Group::new().run(|group| {
        group.spawn(|| {
            for n in 0u64.. {
                if numbers.send(n).is_err() {
                    break;
                }
                made.fetch_add(1, Ordering::Relaxed);
            }
            drop(numbers);
            Ok::<_, String>("source")
        });
        group.spawn(move || {
            for n in to_square {
                if squares.send(n * n).is_err() {
                    break;
                }
            }
            Ok("square")
        });
        group.spawn(move || {
            for square in to_filter {
                if square % 3 == 1 && found.send(square).is_err() {
                    break;
                }
            }
            Ok("filter")
        });
        group.spawn(move || {
            for square in results.iter().take(WANTED) {
                // A slow stage: those before it wait.
                thread::sleep(Duration::from_millis(1));
                println!("{square}");
            }
            Ok("sink")
        });
        Ok(())
    });
    assert_eq!(stages.unwrap(), ["source", "square", "filter", "sink"]);
    let made = made.into_inner();
    assert!(made < 100, "backpressure held the source back");
    println!("{WANTED} results of {made} numbers");
}
