//! What is done with each global allocator.

use std::sync::Mutex;

use roving_soundness::{ROUNDS, THREADS, many, migrate, on_moving_threads};

/// Threads allocate, move, free what others have allocated, and check every byte.
pub(crate) fn storm() {
    static LEFT: Mutex<Vec<(u8, Vec<u8>)>> = Mutex::new(Vec::new());
    on_moving_threads(|runtime| {
        many(runtime, |number| {
            for round in 0..ROUNDS {
                let byte = (number * ROUNDS + round) as u8;
                let size = 1 + (number * 7919 + round * 104_729) % 5000;
                let mine = vec![byte; size];
                migrate(number + round);
                assert!(mine.iter().all(|&b| b == byte));
                let other = {
                    let mut left = LEFT.lock().unwrap();
                    left.push((byte, mine));
                    let at = (number + round) % left.len();
                    left.swap_remove(at)
                };
                migrate(round);
                assert!(other.1.iter().all(|&b| b == other.0));
            }
        });
    });
}

/// More threads than may each keep a heap.
pub(crate) fn threads_come_and_go() {
    on_moving_threads(|runtime| {
        for _ in 0..20_000 / THREADS {
            many(runtime, |number| {
                let kept: Vec<_> = (1..20).map(|n| vec![number as u8; n * 16]).collect();
                migrate(0);
                assert!(kept.iter().flatten().all(|&b| b == number as u8));
            });
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .unwrap();
        let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kib < 300 << 10, "{} MiB resident", kib >> 10);
    });
}
