//! The protocols of `word`, `completion`, `parker`, `idle`, `queue` and `timer` on real OS threads,
//! without any stack switch.
//!
//! The models prove the protocols in the small; these tests run them many times at full speed, for
//! ThreadSanitizer (which cannot follow a switch of stacks) and for machines with weaker memory
//! orders than the models' author had.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::protocol::completion::Completion;
use crate::protocol::idle::Idle;
use crate::protocol::parker::{Parker, Rouse};
use crate::protocol::process::Process;
use crate::protocol::timer::Shard;
use crate::protocol::word::{By, Commit, Epoch, Fire, WaitWord};

const ROUNDS: usize = 20_000;

/// A plain value that only the holder of some right touches; ThreadSanitizer looks at the accesses.
#[derive(Default)]
struct Guarded(UnsafeCell<usize>);

// SAFETY: what the tests check: the protocols give the right to touch it to one thread at a time.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn bump(&self) -> usize {
        // SAFETY: as above.
        unsafe {
            *self.0.get() += 1;
            *self.0.get()
        }
    }
}

#[test]
fn the_stack_passes_from_worker_to_firer_and_back() {
    struct Round {
        word: WaitWord,
        stack: Guarded,
        runs: AtomicUsize,
    }
    let round = Arc::new(Round {
        word: WaitWord::new(),
        stack: Guarded::default(),
        runs: AtomicUsize::new(0),
    });
    for n in 0..ROUNDS {
        let epoch: Epoch = round.word.begin(false);
        let firers: Vec<_> = if n % 100 == 0 {
            [By::Ticket, By::Timer]
                .map(|by| {
                    let round = round.clone();
                    thread::spawn(move || {
                        if round.word.fire(epoch, by) == Fire::Parked {
                            round.stack.bump();
                            round.runs.fetch_add(1, Ordering::Release);
                        }
                    })
                })
                .into()
        } else {
            let _: Fire = round.word.fire(epoch, By::Ticket);
            Vec::new()
        };
        round.stack.bump();
        if round.word.commit() == Commit::Ended {
            round.stack.bump();
            round.runs.fetch_add(1, Ordering::Release);
        }
        while round.runs.load(Ordering::Acquire) <= n {
            thread::yield_now();
        }
        assert!(round.word.finish().is_some());
        for firer in firers {
            firer.join().unwrap();
        }
    }
    assert_eq!(round.stack.bump(), 2 * ROUNDS + 1);
}

#[test]
fn a_result_passes_from_finisher_to_joiner() {
    for _ in 0..500 {
        let shared = Arc::new((
            Completion::<Arc<Parker>>::new(Process::current()),
            Guarded::default(),
        ));
        let finisher = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.1.bump();
                if let Some(joiner) = shared.0.complete().joiner {
                    assert_eq!(joiner.unpark(), Rouse::Done);
                }
            })
        };
        let parker = Arc::new(Parker::new());
        // SAFETY: the only joiner, once.
        if unsafe { shared.0.join(parker.clone()) } {
            assert!(parker.park(None));
        }
        assert!(shared.0.is_done());
        assert_eq!(shared.1.bump(), 2);
        finisher.join().unwrap();
    }
}

#[test]
fn workers_sleep_and_are_woken_until_all_is_done() {
    struct Pool {
        idle: Idle,
        parkers: Vec<Parker>,
        queued: AtomicUsize,
        done: AtomicUsize,
    }
    impl Pool {
        fn unpark(&self, worker: usize) {
            assert_eq!(self.parkers[worker].unpark(), Rouse::Done);
        }
        fn take(&self) -> bool {
            let one_less = |queued: usize| queued.checked_sub(1);
            self.queued
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less)
                .is_ok()
        }
        fn work(&self, worker: usize) {
            let mut searching = self.idle.start_search();
            while self.done.load(Ordering::Acquire) < ROUNDS {
                if self.take() {
                    if searching
                        && self.idle.search_found()
                        && self.queued.load(Ordering::Acquire) > 0
                    {
                        self.idle
                            .claim_any()
                            .into_iter()
                            .for_each(|other| self.unpark(other));
                    }
                    searching = false;
                    if self.done.fetch_add(1, Ordering::AcqRel) + 1 == ROUNDS {
                        (0..self.parkers.len())
                            .filter(|w| self.idle.claim(*w))
                            .for_each(|w| self.unpark(w));
                    }
                    continue;
                }
                self.idle.announce_sleep(worker, searching);
                let awake = self.queued.load(Ordering::Acquire) > 0
                    || self.done.load(Ordering::Acquire) == ROUNDS;
                if !awake {
                    assert!(self.parkers[worker].park(None));
                } else if self.idle.retract_sleep(worker) {
                    self.idle.resume_search();
                } else {
                    self.parkers[worker].absorb();
                }
                searching = true;
            }
        }
    }
    for workers in [1, 2, 8] {
        let pool = Arc::new(Pool {
            idle: Idle::new(workers, 0, false),
            parkers: (0..workers).map(|_| Parker::new()).collect(),
            queued: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
        });
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                let pool = pool.clone();
                thread::spawn(move || pool.work(worker))
            })
            .collect();
        for _ in 0..ROUNDS {
            pool.queued.fetch_add(1, Ordering::Release);
            pool.idle
                .claim_for_work(|| false)
                .into_iter()
                .for_each(|worker| pool.unpark(worker));
        }
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn timers_are_armed_cancelled_and_expired_from_all_sides() {
    let shard = Arc::new(Shard::new());
    let expired = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (shard, expired) = (shard.clone(), expired.clone());
            thread::spawn(move || {
                let mut cancelled = 0;
                let mut due = Vec::new();
                for n in 0..ROUNDS / 10 {
                    let key = shard
                        .arm(Instant::now() + Duration::from_nanos(n as u64), ())
                        .unwrap();
                    if n % 2 == 0 {
                        cancelled += usize::from(shard.cancel(key).is_some());
                    }
                    shard.expire(Instant::now(), &mut due);
                }
                expired.fetch_add(cancelled + due.len(), Ordering::Relaxed);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let mut rest = Vec::new();
    shard.expire(Instant::now() + Duration::from_secs(1), &mut rest);
    assert_eq!(
        expired.load(Ordering::Relaxed) + rest.len(),
        4 * (ROUNDS / 10)
    );
}
