//! The one door: waits and tickets.
//!
//! - of all the tickets of a wait, and its deadline, one wins, on green and on OS threads
//! - a ticket of an earlier wait never ends a later one
//! - a ticket that is fired before the wait blocks is not lost

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::on_each_worker_count;
use roving_scheduler::thread;
use roving_scheduler::wait::{self, Outcome, Ticket};

/// Runs `test` on green threads and on an OS thread.
fn on_every_kind(test: impl Fn() + Send + Sync) {
    test();
    on_each_worker_count(test);
}

#[test]
fn a_ticket_fired_before_the_block_is_not_lost() {
    on_every_kind(|| {
        let wait = wait::begin();
        let ticket = wait.ticket();
        assert!(!ticket.is_stale());
        assert!(ticket.clone().fire());
        assert!(ticket.is_stale());
        assert_eq!(wait.block(None), Outcome::Fired);
        assert!(!ticket.fire());
    });
}

#[test]
fn one_ticket_wins() {
    on_every_kind(|| {
        let wait = wait::begin();
        let tickets = [wait.ticket(), wait.ticket(), wait.ticket().clone()];
        let won = tickets.map(Ticket::fire);
        let won = won.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1);
        assert_eq!(wait.block(None), Outcome::Fired);
    });
}

#[test]
fn a_stale_ticket_ends_nothing() {
    on_every_kind(|| {
        let abandoned = wait::begin();
        let first = abandoned.ticket();
        drop(abandoned);
        let timed_out = wait::begin();
        let second = timed_out.ticket();
        assert_eq!(timed_out.block(Some(Instant::now())), Outcome::TimedOut);
        let wait = wait::begin();
        for stale in [first, second] {
            assert!(stale.is_stale());
            assert!(!stale.fire());
        }
        let deadline = Instant::now() + Duration::from_millis(1);
        assert_eq!(wait.block(Some(deadline)), Outcome::TimedOut);
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn a_past_deadline_does_not_block() {
    on_every_kind(|| {
        let past = Instant::now();
        for _ in 0..100 {
            assert_eq!(wait::begin().block(Some(past)), Outcome::TimedOut);
        }
    });
}

/// Fires the tickets that come, and counts those that won.
fn fire_all(tickets: &std::sync::mpsc::Receiver<Ticket>, wins: &AtomicUsize) {
    while let Ok(ticket) = tickets.recv() {
        wins.fetch_add(usize::from(ticket.fire()), Ordering::AcqRel);
    }
}

#[test]
fn firing_races_deadlines_and_other_firing() {
    on_every_kind(|| {
        let wins = Arc::new(AtomicUsize::new(0));
        let firers: Vec<_> = (0..2)
            .map(|_| {
                let (give, tickets) = std::sync::mpsc::channel();
                let wins = wins.clone();
                (give, std::thread::spawn(move || fire_all(&tickets, &wins)))
            })
            .collect();
        let mut fired = 0;
        for n in 0..500u64 {
            let wait = wait::begin();
            for (give, _) in &firers {
                give.send(wait.ticket()).unwrap();
            }
            let deadline = (n % 2 == 0).then(|| Instant::now() + Duration::from_micros(n % 50));
            match wait.block(deadline) {
                Outcome::Fired => fired += 1,
                Outcome::TimedOut => assert!(Instant::now() >= deadline.unwrap()),
            }
        }
        for (give, firer) in firers {
            drop(give);
            firer.join().unwrap();
        }
        assert_eq!(wins.load(Ordering::Acquire), fired);
        assert!(fired >= 250);
    });
}

#[test]
fn what_was_done_before_firing_is_seen() {
    on_every_kind(|| {
        for _ in 0..200 {
            let done = Arc::new(AtomicBool::new(false));
            let wait = wait::begin();
            let (ticket, does) = (wait.ticket(), done.clone());
            let fires = move || {
                does.store(true, Ordering::Relaxed);
                ticket.fire();
            };
            if roving_scheduler::is_green() {
                // A wait is open, so this thread must not spawn in a way that waits; spawning never
                // does.
                thread::spawn(fires);
            } else {
                std::thread::spawn(fires);
            }
            assert_eq!(wait.block(None), Outcome::Fired);
            assert!(done.load(Ordering::Relaxed));
        }
    });
}
