//! What a select can wait for: any number of threads watch one thing, each takes back what is its own,
//! and safe code cannot do worse than be woken for nothing.

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{each_worker_count, on_each_worker_count, watchdog};
use roving_scheduler::channel::{
    Registration, Select, Selectable, Ticket, Watchers, ready_async, unbounded,
};
use roving_scheduler::{CancelToken, block_on, select, sync, thread, wait};

/// A type as a user would write it.
#[derive(Default)]
struct Gate {
    is_open: AtomicBool,
    watchers: Watchers,
}

impl Gate {
    fn open(&self) {
        self.is_open.store(true, Ordering::Release);
        self.watchers.fire();
    }
}

impl Selectable for Gate {
    fn is_ready(&self) -> io::Result<bool> {
        Ok(self.is_open.load(Ordering::Acquire))
    }

    fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>> {
        let registration = self.watchers.watch(ticket);
        Ok((!self.is_ready()?).then_some(registration))
    }
}

fn tells_all(
    waiting: usize,
    thing: impl Selectable + Send + Sync + 'static,
    make_ready: impl FnOnce(),
) {
    let thing = Arc::new(thing);
    let (begins, begun) = unbounded();
    let waiting: Vec<_> = (0..waiting)
        .map(|n| {
            let (thing, begins) = (thing.clone(), begins.clone());
            let waits = move || {
                begins.send(()).unwrap();
                select! { ready(*thing) => {} }
            };
            if n % 2 == 0 {
                Ok(thread::spawn(waits))
            } else {
                Err(std::thread::spawn(waits))
            }
        })
        .collect();
    waiting.iter().for_each(|_| begun.recv().unwrap());
    make_ready();
    for thread in waiting {
        match thread {
            Ok(green) => green.join().unwrap(),
            Err(os) => os.join().unwrap(),
        }
    }
}

#[test]
fn all_who_wait_for_one_thing_are_told() {
    on_each_worker_count(|| {
        for _ in 0..20 {
            let (release, released) = unbounded::<()>();
            let thread = thread::spawn(move || _ = released.recv());
            tells_all(6, thread, || drop(release));

            let token = CancelToken::new();
            tells_all(6, token.clone(), || token.cancel());

            let gate = Arc::new(Gate::default());
            tells_all(6, Shared(gate.clone()), || gate.open());
        }
    });
}

struct Shared(Arc<Gate>);

impl Selectable for Shared {
    fn is_ready(&self) -> io::Result<bool> {
        self.0.is_ready()
    }

    fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>> {
        self.0.watch(ticket)
    }
}

/// Watches and changes its mind as often as it can, until `done`.
fn flicker(thing: &impl Selectable, done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        let wait = wait::begin();
        let registration = thing.watch(wait.ticket()).unwrap();
        // The ticket outlives the registration, or the wait does, by turns.
        drop(wait);
        drop(registration);
        let wait = wait::begin();
        drop(thing.watch(wait.ticket()).unwrap());
        thread::yield_now();
    }
}

#[test]
fn those_who_change_their_mind_take_nobody_else_along() {
    each_worker_count(|runtime| {
        for _ in 0..20 {
            let (release, released) = unbounded::<()>();
            let handle = Arc::new(runtime.spawn(move || _ = released.recv()));
            let done = Arc::new(AtomicBool::new(false));
            let flickering: Vec<_> = (0..2)
                .map(|_| {
                    let (handle, done) = (handle.clone(), done.clone());
                    std::thread::spawn(move || flicker(&*handle, &done))
                })
                .collect();
            let waits = {
                let handle = handle.clone();
                runtime.spawn(move || {
                    for _ in 0..200 {
                        let mut select = Select::new();
                        select.ready_of(&*handle);
                        let _ = select.ready_timeout(Duration::from_nanos(1));
                    }
                    select! { ready(*handle) => {} }
                })
            };
            drop(release);
            waits.join().unwrap();
            done.store(true, Ordering::Release);
            flickering.into_iter().for_each(|t| t.join().unwrap());
            Arc::into_inner(handle).unwrap().join().unwrap();
        }
    });
}

/// The one who joins has a place of its own, which no registration of an earlier time takes away.
#[test]
fn a_registration_that_was_kept_leaves_the_one_who_joins_alone() {
    on_each_worker_count(|| {
        let (release, released) = unbounded::<()>();
        let handle = thread::spawn(move || released.recv().is_err());
        {
            let wait = wait::begin();
            std::mem::forget(handle.watch(wait.ticket()).unwrap());
        }
        let joins = thread::spawn(move || handle.join().unwrap());
        thread::yield_now();
        drop(release);
        assert!(joins.join().unwrap());
    });
}

/// Blocks while it is asked for.
struct Slow(Gate);

impl Selectable for Slow {
    fn is_ready(&self) -> io::Result<bool> {
        thread::sleep(Duration::from_micros(100));
        self.0.is_ready()
    }

    fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>> {
        let registration = self.0.watchers.watch(ticket);
        Ok((!self.is_ready()?).then_some(registration))
    }
}

#[test]
fn a_selectable_that_blocks_is_waited_for_all_the_same() {
    on_each_worker_count(|| {
        let slow = Arc::new(Slow(Gate::default()));
        let opens = slow.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(2));
            opens.0.open();
        });
        select! { ready(*slow) => {} }
    });
}

#[test]
fn a_wait_inside_of_which_another_was_begun_does_not_block() {
    let _watchdog = watchdog("with waits in waits");
    on_each_worker_count(|| {
        let outer = wait::begin();
        let ticket = outer.ticket();
        thread::sleep(Duration::from_micros(10));
        assert!(ticket.is_stale());
        let blocks = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| outer.block(None)));
        let message = common::message(&*blocks.unwrap_err());
        assert!(message.contains("another was begun"), "{message}");

        let outer = wait::begin();
        let inner = wait::begin();
        let ticket = inner.ticket();
        drop(outer);
        thread::spawn(move || ticket.fire());
        assert_eq!(inner.block(None), wait::Outcome::Fired);

        std::mem::forget(wait::begin());
        let lock = sync::Mutex::new(1);
        assert_eq!(*lock.lock().unwrap(), 1);
        thread::sleep(Duration::from_micros(10));
    });
}

/// It may always be ready, so it keeps no ticket.
#[derive(Default)]
struct KeepsNone(AtomicBool);

impl Selectable for KeepsNone {
    fn is_ready(&self) -> io::Result<bool> {
        Ok(self.0.load(Ordering::Acquire))
    }

    fn watch(&self, _: Ticket) -> io::Result<Option<Registration<'_>>> {
        Ok(None)
    }
}

#[test]
fn what_keeps_no_ticket_leaves_the_worker_to_others() {
    on_each_worker_count(|| {
        let flag = Arc::new(KeepsNone::default());
        let sets = {
            let flag = flag.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(5));
                flag.0.store(true, Ordering::Release);
            })
        };
        select! { ready(*flag) => {} }
        sets.join().unwrap();
        let never = KeepsNone::default();
        select! {
            ready(never) => panic!("it is not"),
            default(Duration::from_millis(2)) => {}
        }
        select! {
            ready(never) => panic!("it is not"),
            default => {}
        }
        let waits = thread::spawn(move || select! { ready(never) => {} });
        waits.cancel();
        assert!(waits.join().unwrap_err().is::<wait::Cancelled>());
    });
}

/// As a future, on the only thread of its executor.
#[test]
fn what_keeps_no_ticket_leaves_the_executor_to_other_tasks() {
    let _watchdog = watchdog("in an executor of one thread");
    let flag = KeepsNone::default();
    let sets = async { flag.0.store(true, Ordering::Release) };
    let both = futures::future::join(ready_async(&flag), sets);
    assert!(futures::executor::block_on(both).0.is_ok());
    each_worker_count(|runtime| {
        let waits = runtime.spawn(|| block_on(ready_async(&KeepsNone::default())));
        waits.cancel();
        assert!(waits.join().unwrap_err().is::<wait::Cancelled>());
    });
}
