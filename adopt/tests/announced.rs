//! Who announces that it waits sees what was released before, or is seen by who releases: whoever comes first.

use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use roving_scheduler::adopt::{self, announce, is_announced};

const ROUNDS: u32 = 5000;

/// One that is nobody's.
fn address(round: u32) -> usize {
    (1 << 60) + 64 * round as usize
}

#[test]
fn who_announces_sees_the_release_or_is_seen() {
    assert!(is_announced(0), "nothing is known without barriers");
    adopt::begin().unwrap();
    assert!(!is_announced(0));
    let words: Vec<AtomicU32> = (0..ROUNDS).map(|_| AtomicU32::new(1)).collect();
    let arrived = AtomicU32::new(0);
    let meet = |round: u32| {
        arrived.fetch_add(1, Ordering::SeqCst);
        // Who spins is on a processor when the other arrives, if there is one for each.
        let mut spins = 0;
        while arrived.load(Ordering::SeqCst) < 2 * (round + 1) {
            spins += 1;
            if spins < 1000 {
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    };
    let (released, announced) = thread::scope(|scope| {
        let releases = scope.spawn(|| {
            let release = |(round, word): (u32, &AtomicU32)| {
                meet(round);
                word.store(0, Ordering::Relaxed);
                is_announced(address(round))
            };
            (0..).zip(&words).map(release).collect::<Vec<bool>>()
        });
        let look = |(round, word): (u32, &AtomicU32)| {
            meet(round);
            announce(address(round));
            word.load(Ordering::Relaxed) == 0
        };
        let released: Vec<bool> = (0..).zip(&words).map(look).collect();
        (released, releases.join().unwrap())
    });
    for (released, announced) in released.into_iter().zip(announced) {
        assert!(released || announced);
    }
}
