//! The seam to IO, with a driver of the tests' own.
//!
//! - events that it reports end the waits they belong to, on idle and on busy runtimes
//! - it is woken for work and for the end; timers and spawns go on while it waits
//! - when the runtime ends, so do the waits of futures
//! - it is made once, is called by one worker at a time, and one of another type is refused
//! - a driver that cannot be made is an error, and may be made later

mod common;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use common::{
    WORKER_COUNTS, beside_some_that_yield, compute_until, each_plural_worker_count,
    each_worker_count, runtime, stacks_returned, watchdog,
};
use roving_scheduler::driver::Driver;
use roving_scheduler::wait::{self, Cancelled, Outcome, Polled, Ticket};
use roving_scheduler::{Handle, Runtime, block_on, thread};

/// Events are tickets that somebody posts.
#[derive(Default)]
struct Mailbox {
    state: Mutex<State>,
    changed: Condvar,
    inside: AtomicBool,
    waits: AtomicUsize,
}

#[derive(Default)]
struct State {
    posted: Vec<Ticket>,
    /// Those whose event never comes.
    kept: Vec<Ticket>,
    woken: bool,
}

impl Mailbox {
    fn post(&self, ticket: Ticket) {
        self.state.lock().unwrap().posted.push(ticket);
        self.changed.notify_all();
    }
}

impl Driver for Mailbox {
    fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Ticket>) -> io::Result<()> {
        assert!(!self.inside.swap(true, Ordering::AcqRel), "one at a time");
        self.waits.fetch_add(1, Ordering::AcqRel);
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.state.lock().unwrap();
        while state.posted.is_empty() && !state.woken {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => break,
                Some(left) => self.changed.wait_timeout(state, left).unwrap().0,
                None => self.changed.wait(state).unwrap(),
            };
        }
        state.woken = false;
        ready.append(&mut state.posted);
        drop(state);
        self.inside.store(false, Ordering::Release);
        Ok(())
    }

    fn wake(&self) {
        self.state.lock().unwrap().woken = true;
        self.changed.notify_all();
    }

    fn end(&self, ready: &mut Vec<Ticket>) {
        ready.append(&mut self.state.lock().unwrap().kept);
    }
}

fn mailbox(runtime: &Runtime) -> Arc<Mailbox> {
    runtime
        .handle()
        .driver(|| Ok(Mailbox::default()))
        .expect("a mailbox can be had")
}

/// Waits for an event that an OS thread posts.
fn wait_for_post(mailbox: &Arc<Mailbox>, deadline: Option<Instant>) -> Outcome {
    let wait = wait::begin();
    let (mailbox, ticket) = (mailbox.clone(), wait.ticket());
    let poster = std::thread::spawn(move || mailbox.post(ticket));
    let outcome = wait.block(deadline);
    poster.join().unwrap();
    outcome
}

#[test]
fn events_end_waits() {
    each_worker_count(|runtime| {
        let mailbox = mailbox(runtime);
        for _ in 0..100 {
            let mailbox = mailbox.clone();
            let waits = runtime.spawn(move || wait_for_post(&mailbox, None));
            assert_eq!(waits.join().unwrap(), Outcome::Fired);
        }
        assert!(mailbox.waits.load(Ordering::Acquire) > 0);
    });
}

#[test]
fn many_events_come_at_once() {
    each_worker_count(|runtime| {
        let mailbox = mailbox(runtime);
        let tickets = Arc::new(Mutex::new(Vec::new()));
        let handles: Vec<_> = (0..500)
            .map(|_| {
                let tickets = tickets.clone();
                runtime.spawn(move || {
                    let wait = wait::begin();
                    tickets.lock().unwrap().push(wait.ticket());
                    wait.block(None)
                })
            })
            .collect();
        let mut posted = 0;
        while posted < 500 {
            for ticket in tickets.lock().unwrap().drain(..) {
                mailbox.post(ticket);
                posted += 1;
            }
            std::thread::yield_now();
        }
        for handle in handles {
            assert_eq!(handle.join().unwrap(), Outcome::Fired);
        }
    });
}

#[test]
fn events_are_served_while_the_queues_are_full() {
    each_worker_count(|runtime| {
        let mailbox = mailbox(runtime);
        beside_some_that_yield(runtime, || {
            for _ in 0..20 {
                let mailbox = mailbox.clone();
                let waits = runtime.spawn(move || wait_for_post(&mailbox, None));
                assert_eq!(waits.join().unwrap(), Outcome::Fired);
            }
        });
    });
}

/// The worker that saw the last events computes for as long as it takes another one to see the
/// next.
#[test]
fn events_are_served_while_the_leader_computes() {
    each_plural_worker_count(|runtime| {
        let mailbox = mailbox(runtime);
        for _ in 0..10 {
            let (fired, computing) = (
                Arc::new(AtomicBool::new(false)),
                Arc::new(AtomicBool::new(false)),
            );
            let (seen, busy, events) = (fired.clone(), computing.clone(), mailbox.clone());
            let computes = runtime.spawn(move || {
                assert_eq!(wait_for_post(&events, None), Outcome::Fired);
                busy.store(true, Ordering::Release);
                compute_until(&seen);
            });
            while !computing.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            let events = mailbox.clone();
            let waits = runtime.spawn(move || wait_for_post(&events, None));
            assert_eq!(waits.join().unwrap(), Outcome::Fired);
            fired.store(true, Ordering::Release);
            computes.join().unwrap();
        }
    });
}

#[test]
fn timers_and_spawns_go_on_while_the_driver_waits() {
    each_worker_count(|runtime| {
        mailbox(runtime);
        for n in 0..50 {
            let start = Instant::now();
            let length = Duration::from_micros(n * 20);
            let sleeps = runtime.spawn(move || thread::sleep(length));
            sleeps.join().unwrap();
            assert!(start.elapsed() >= length);
            let parked = runtime.spawn(thread::park);
            parked.thread().unpark();
            parked.join().unwrap();
        }
    });
}

#[test]
fn an_event_races_a_deadline() {
    each_worker_count(|runtime| {
        let mailbox = mailbox(runtime);
        runtime.run(|| {
            for n in 0..200u64 {
                let deadline = Instant::now() + Duration::from_micros(n % 100);
                match wait_for_post(&mailbox, Some(deadline)) {
                    Outcome::Fired => {}
                    Outcome::TimedOut => assert!(Instant::now() >= deadline),
                }
                // A ticket that came too late ends nothing else.
                let start = Instant::now();
                thread::sleep(Duration::from_micros(50));
                assert!(start.elapsed() >= Duration::from_micros(50));
            }
        });
    });
}

#[test]
fn a_driver_comes_while_everybody_sleeps() {
    each_worker_count(|runtime| {
        let parked = runtime.spawn(thread::park);
        runtime.run(|| thread::sleep(Duration::from_millis(1)));
        // From an OS thread: no worker is awake to see it.
        let mailbox = mailbox(runtime);
        let (ask, asked) = std::sync::mpsc::channel();
        let waits = runtime.spawn(move || {
            let wait = wait::begin();
            ask.send(wait.ticket()).unwrap();
            wait.block(None)
        });
        mailbox.post(asked.recv().unwrap());
        assert_eq!(waits.join().unwrap(), Outcome::Fired);
        parked.thread().unpark();
        parked.join().unwrap();
    });
}

#[test]
fn the_waits_of_futures_end_with_the_runtime() {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let runtime = runtime(workers);
        let mailbox = mailbox(&runtime);
        let mut polled = runtime.run(|| {
            let mut polled = Polled::new();
            mailbox.state.lock().unwrap().kept.push(polled.begin());
            polled
        });
        let waits = std::thread::spawn(move || block_on(polled.ended()));
        runtime.shutdown();
        waits.join().unwrap();
    }
}

#[test]
fn a_runtime_has_one_driver() {
    struct Other;
    impl Driver for Other {
        fn wait(&self, _: Option<Duration>, _: &mut Vec<Ticket>) -> io::Result<()> {
            unreachable!("it is never installed")
        }
        fn wake(&self) {}
        fn end(&self, _: &mut Vec<Ticket>) {}
    }
    each_worker_count(|runtime| {
        let makes = AtomicUsize::new(0);
        let drivers: Vec<_> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        runtime.handle().driver(|| {
                            makes.fetch_add(1, Ordering::AcqRel);
                            Ok(Mailbox::default())
                        })
                    })
                })
                .collect();
            asking
                .into_iter()
                .map(|asks| asks.join().unwrap().unwrap())
                .collect()
        });
        assert_eq!(makes.load(Ordering::Acquire), 1);
        assert!(
            drivers
                .iter()
                .all(|driver| Arc::ptr_eq(driver, &drivers[0]))
        );
        assert!(runtime.handle().driver(|| Ok(Other)).is_err());
        let from_within =
            runtime.run(|| Handle::try_current().unwrap().driver(|| Ok(Other)).is_err());
        assert!(from_within);
        assert!(Arc::ptr_eq(&mailbox(runtime), &drivers[0]));
    });
}

#[test]
fn a_driver_that_cannot_be_made_may_be_made_later() {
    each_worker_count(|runtime| {
        let refused = runtime
            .handle()
            .driver(|| Err::<Mailbox, _>(io::ErrorKind::StorageFull.into()));
        assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::StorageFull);
        let mailbox = mailbox(runtime);
        let waits = runtime.spawn(move || wait_for_post(&mailbox, None));
        assert_eq!(waits.join().unwrap(), Outcome::Fired);
    });
}

#[test]
fn a_shutdown_ends_waits_for_events() {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let mailbox = mailbox(&runtime);
        let kept = Arc::new(Mutex::new(Vec::new()));
        let handles: Vec<_> = (0..20)
            .map(|_| {
                let kept = kept.clone();
                runtime.spawn(move || {
                    let wait = wait::begin();
                    kept.lock().unwrap().push(wait.ticket());
                    wait.block(None)
                })
            })
            .collect();
        while kept.lock().unwrap().len() < 20 {
            std::thread::yield_now();
        }
        drop(runtime);
        for handle in handles {
            assert!(handle.join().unwrap_err().is::<Cancelled>());
        }
        for ticket in kept.lock().unwrap().drain(..) {
            assert!(ticket.is_stale());
            assert!(!ticket.clone().fire());
            mailbox.post(ticket);
        }
    }
}
