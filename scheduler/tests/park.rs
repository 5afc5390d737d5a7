//! Parking: one token a thread.
//!
//! - an unpark that comes first is kept, and is one token however often it comes
//! - no unpark is lost, whoever parks and whoever unparks: green threads, OS threads, of any
//!   runtime
//! - `park_timeout` ends by the token or by the time
//! - the token waits for a park and ends no other wait

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{each_worker_count, on_each_worker_count};
use roving_scheduler::thread::{self, Thread};

#[test]
fn an_unpark_that_comes_first_is_kept() {
    on_each_worker_count(|| {
        for _ in 0..100 {
            thread::current().unpark();
            thread::park();
        }
    });
}

#[test]
fn there_is_one_token() {
    on_each_worker_count(|| {
        thread::current().unpark();
        thread::current().unpark();
        thread::park();
        let start = Instant::now();
        thread::park_timeout(Duration::from_millis(2));
        assert!(start.elapsed() >= Duration::from_millis(2));
    });
}

#[test]
fn a_park_with_a_timeout_ends_by_itself() {
    on_each_worker_count(|| {
        for timeout in [
            Duration::ZERO,
            Duration::from_micros(50),
            Duration::from_millis(3),
        ] {
            let start = Instant::now();
            thread::park_timeout(timeout);
            assert!(start.elapsed() >= timeout);
        }
        // What came too late for the last park is there for the next.
        thread::current().unpark();
        thread::park();
    });
}

#[test]
fn a_park_with_the_longest_timeout_ends_by_the_token() {
    on_each_worker_count(|| {
        let parked = thread::spawn(|| thread::park_timeout(Duration::MAX));
        thread::yield_now();
        parked.thread().unpark();
        parked.join().unwrap();
    });
}

#[test]
fn a_token_ends_no_other_wait() {
    on_each_worker_count(|| {
        let sleeper = thread::spawn(|| {
            let start = Instant::now();
            thread::sleep(Duration::from_millis(5));
            assert!(start.elapsed() >= Duration::from_millis(5));
            let child = thread::spawn(|| thread::sleep(Duration::from_millis(1)));
            child.join().unwrap();
            // The token is still there.
            thread::park();
        });
        sleeper.thread().unpark();
        thread::sleep(Duration::from_millis(1));
        sleeper.thread().unpark();
        sleeper.join().unwrap();
    });
}

#[test]
fn unparking_what_has_ended_does_nothing() {
    on_each_worker_count(|| {
        let ended = thread::spawn(thread::current).join().unwrap();
        ended.unpark();
        let os = std::thread::spawn(thread::current).join().unwrap();
        os.unpark();
    });
}

/// Passes a ball `rounds` times to and fro with whoever `partner` is told of.
fn play(rounds: usize, ball: &AtomicUsize, mine: usize, partner: &Thread) {
    for _ in 0..rounds {
        while ball.load(Ordering::Acquire) % 2 != mine {
            thread::park();
        }
        ball.fetch_add(1, Ordering::AcqRel);
        partner.unpark();
    }
}

fn ping_pong(rounds: usize) {
    let ball = Arc::new(AtomicUsize::new(0));
    let (mine, main) = (ball.clone(), thread::current());
    let partner = thread::spawn(move || play(rounds, &mine, 1, &main));
    play(rounds, &ball, 0, partner.thread());
    partner.join().unwrap();
    assert_eq!(ball.load(Ordering::Relaxed), 2 * rounds);
}

#[test]
fn pairs_of_green_threads_pass_a_ball() {
    on_each_worker_count(|| {
        let pairs: Vec<_> = (0..10).map(|_| thread::spawn(|| ping_pong(500))).collect();
        pairs.into_iter().for_each(|pair| pair.join().unwrap());
    });
}

#[test]
fn a_green_thread_and_an_os_thread_pass_a_ball() {
    each_worker_count(|runtime| {
        let rounds = 1000;
        let ball = Arc::new(AtomicUsize::new(0));
        let (mine, main) = (ball.clone(), thread::current());
        let partner = runtime.spawn(move || play(rounds, &mine, 1, &main));
        play(rounds, &ball, 0, partner.thread());
        partner.join().unwrap();
    });
}

#[test]
fn two_os_threads_pass_a_ball() {
    let _watchdog = common::watchdog("");
    let rounds = 1000;
    let ball = Arc::new(AtomicUsize::new(0));
    let (mine, main) = (ball.clone(), thread::current());
    let (tell, told) = std::sync::mpsc::channel();
    let partner = std::thread::spawn(move || {
        tell.send(thread::current()).unwrap();
        play(rounds, &mine, 1, &main);
    });
    play(rounds, &ball, 0, &told.recv().unwrap());
    partner.join().unwrap();
}

#[test]
fn green_threads_of_two_runtimes_pass_a_ball() {
    each_worker_count(|first| {
        let second = common::runtime(2);
        let rounds = 1000;
        let ball = Arc::new(AtomicUsize::new(0));
        let theirs = ball.clone();
        first.run(|| {
            let main = thread::current();
            let partner = second.spawn(move || play(rounds, &theirs, 1, &main));
            play(rounds, &ball, 0, partner.thread());
            partner.join().unwrap();
        });
    });
}

/// Many unpark one, which must see all that they did before.
#[test]
fn no_unpark_is_lost() {
    each_worker_count(|runtime| {
        let total = 4000;
        let count = Arc::new(AtomicUsize::new(0));
        let seen = count.clone();
        let parker = runtime.spawn(move || {
            while seen.load(Ordering::Acquire) < total {
                thread::park();
            }
        });
        let unparkers: Vec<_> = (0..8)
            .map(|n| {
                let (count, parker) = (count.clone(), parker.thread().clone());
                let unpark = move || {
                    for _ in 0..total / 8 {
                        count.fetch_add(1, Ordering::AcqRel);
                        parker.unpark();
                        if n % 3 == 0 {
                            thread::yield_now();
                        }
                    }
                };
                match n % 2 {
                    0 => runtime.spawn(unpark),
                    _ => runtime.spawn(move || {
                        roving_scheduler::blocking::run(unpark);
                    }),
                }
            })
            .collect();
        unparkers.into_iter().for_each(|u| u.join().unwrap());
        parker.join().unwrap();
    });
}

/// A token races the timeout. Whoever wins, the next park is ended by a token of its own.
#[test]
fn a_token_races_a_timeout() {
    on_each_worker_count(|| {
        let turn = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(AtomicBool::new(false));
        let (mine, over) = (turn.clone(), ended.clone());
        let parker = thread::spawn(move || {
            for round in 1..=300 {
                thread::park_timeout(Duration::from_micros(round as u64 % 60));
                mine.store(round, Ordering::Release);
                while mine.load(Ordering::Acquire) == round {
                    thread::park();
                }
            }
            over.store(true, Ordering::Release);
        });
        while !ended.load(Ordering::Acquire) {
            let seen = turn.load(Ordering::Acquire);
            if seen > 0 {
                let _ = turn.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Relaxed);
            }
            parker.thread().unpark();
            thread::yield_now();
        }
        parker.join().unwrap();
    });
}

#[test]
fn an_os_thread_is_one_thread_to_its_last_destructor() {
    struct Parks;

    impl Drop for Parks {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), thread::current().id());
            let this = thread::current();
            std::thread::spawn(move || this.unpark());
            thread::park();
        }
    }

    std::thread_local! {
        static LAST: Parks = const { Parks };
    }

    let ends = std::thread::spawn(|| {
        // What is registered first is dropped last.
        LAST.with(|_| ());
        thread::sleep(Duration::from_micros(1));
    });
    ends.join().unwrap();
}
