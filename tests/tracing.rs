//! Spans of `tracing` stay with their green threads, and green threads tell subscribers what they do.
//!
//! There is one global subscriber, which keeps what it is told of this program's tests; they take turns.

mod common;

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use common::{on_each_mode, watchdog};
use roving::channel::bounded;
use roving::{Builder, thread};
use tracing::field::{Field, Visit};
use tracing::{Event, Id, Subscriber, info_span};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// What somebody was told: the message, the other fields, and the span in which it was told.
#[derive(Debug, Clone, Default)]
struct Told {
    message: String,
    fields: String,
    span: Option<String>,
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields += &format!("{}={value:?} ", field.name());
        }
    }
}

static TOLD: Mutex<Vec<Told>> = Mutex::new(Vec::new());

/// What the subscriber does besides.
static DOES: Mutex<Option<fn()>> = Mutex::new(None);

struct Listens;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Listens {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != "roving" {
            return;
        }
        let mut told = Told::default();
        event.record(&mut told);
        told.span = context.event_span(event).map(|span| span.name().to_owned());
        locked(&TOLD).push(told);
        let does = *locked(&DOES);
        if let Some(does) = does {
            does();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The turn of a test whose subscriber does `also` when it is told something.
fn listening(also: Option<fn()>) -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    static LISTENS: Once = Once::new();
    let turn = locked(&TURN);
    LISTENS.call_once(|| {
        tracing::subscriber::set_global_default(Registry::default().with(Listens)).unwrap();
    });
    *locked(&DOES) = also;
    locked(&TOLD).clear();
    turn
}

/// What was told of the threads of that name.
fn told_of(name: &str) -> Vec<Told> {
    let name = format!("name={name:?} ");
    let told = locked(&TOLD);
    let of_it = told.iter().filter(|told| told.fields.contains(&name));
    of_it.cloned().collect()
}

fn messages(told: &[Told]) -> Vec<&str> {
    told.iter().map(|told| &*told.message).collect()
}

fn current_span() -> Option<Id> {
    tracing::Span::current().id()
}

/// Enters spans and does what may suspend: each span is the current one when it comes back.
fn keeps_its_spans(lock: &roving::sync::Mutex<u32>) {
    let outer = info_span!("outer");
    let entered = outer.enter();
    for _ in 0..20 {
        thread::yield_now();
        assert_eq!(current_span(), outer.id());
        let inner = info_span!("inner");
        inner.in_scope(|| {
            thread::sleep(Duration::from_micros(50));
            assert_eq!(current_span(), inner.id());
            *lock.lock().unwrap() += 1;
            assert_eq!(current_span(), inner.id());
            let (sender, receiver) = bounded(0);
            let sends = thread::spawn(move || {
                assert_eq!(current_span(), None);
                sender.send(()).unwrap();
            });
            receiver.recv().unwrap();
            sends.join().unwrap();
            assert_eq!(current_span(), inner.id());
        });
        assert_eq!(current_span(), outer.id());
    }
    drop(entered);
    assert_eq!(current_span(), None);
}

#[test]
fn a_span_stays_with_its_thread_over_suspensions() {
    let _turn = listening(None);
    on_each_mode(|| {
        let lock = Arc::new(roving::sync::Mutex::new(0));
        let threads = (0..20).map(|_| {
            let lock = lock.clone();
            thread::spawn(move || keeps_its_spans(&lock))
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().for_each(|one| one.join().unwrap());
    });
}

#[test]
fn a_span_goes_along_to_another_worker() {
    let _turn = listening(None);
    let builder = || Builder::new().workers(8).migrate_always(true);
    // SAFETY: what a span's guard holds belongs to no OS thread, and nothing else here is kept over a suspension.
    let shared = unsafe { builder().shared_thread_locals() };
    for builder in [builder(), shared] {
        let _watchdog = watchdog(format_args!("{builder:?}"));
        let runtime = builder.build().unwrap();
        let lock = Arc::new(roving::sync::Mutex::new(0));
        let spawn = |_| {
            let lock = lock.clone();
            runtime.spawn(move || keeps_its_spans(&lock))
        };
        let threads: Vec<_> = (0..20).map(spawn).collect();
        threads.into_iter().for_each(|one| one.join().unwrap());
        runtime.shutdown();
    }
}

#[test]
fn a_thread_tells_of_its_life() {
    let _turn = listening(None);
    on_each_mode(|| {
        locked(&TOLD).clear();
        let (sender, receiver) = bounded(0);
        let waits = roving::go!(name = "waits", move || {
            info_span!("request").in_scope(|| receiver.recv().unwrap())
        });
        while !matches!(waits.thread().state(), thread::State::Parked(_)) {
            thread::yield_now();
        }
        sender.send(7).unwrap();
        assert_eq!(waits.join().unwrap(), 7);
        let told = told_of("waits");
        assert_eq!(messages(&told), ["spawn", "park", "wake", "end"]);
        assert!(
            told[0].fields.contains("spawned_at=tests/tracing.rs:"),
            "{told:?}"
        );
        assert!(
            told[1]
                .fields
                .contains("why=recv on a channel with 1 sender "),
            "{told:?}"
        );
        assert!(
            told[1].fields.contains("waits_at=tests/tracing.rs:"),
            "{told:?}"
        );
        assert!(told[2].fields.contains("by=\"a ticket\""), "{told:?}");
        assert!(told[3].fields.contains("how=\"returns\""), "{told:?}");
        let spans: Vec<_> = told.iter().map(|told| told.span.as_deref()).collect();
        assert_eq!(spans, [None, Some("request"), Some("request"), None]);
    });
}

#[test]
fn the_end_of_a_thread_tells_how_it_came() {
    let _turn = listening(None);
    on_each_mode(|| {
        locked(&TOLD).clear();
        let cancelled = roving::go!(name = "cancelled", thread::park);
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        let panics = roving::go!(name = "panics", || std::panic::resume_unwind(Box::new(())));
        assert!(panics.join().is_err());
        let how = |name| told_of(name).pop().unwrap().fields;
        assert!(how("cancelled").contains("how=\"is interrupted\""));
        assert!(how("panics").contains("how=\"panics\""));
    });
}

#[test]
fn a_subscriber_may_block_park_and_spawn() {
    thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
    }
    static LOCK: roving::sync::Mutex<u32> = roving::sync::Mutex::new(0);
    let does = || {
        assert_eq!(DEPTH.replace(1), 0, "it is told nothing meanwhile");
        *LOCK.lock().unwrap() += 1;
        thread::yield_now();
        thread::sleep(Duration::from_micros(10));
        let this = thread::current();
        // A thread of its own, so that what is spawned spawns no more.
        let unparks = std::thread::spawn(move || this.unpark());
        thread::park();
        unparks.join().unwrap();
        DEPTH.set(0);
    };
    let _turn = listening(Some(does));
    on_each_mode(|| {
        let (sender, receiver) = bounded(0);
        let sends = thread::spawn(move || (0..5).for_each(|n| sender.send(n).unwrap()));
        assert!(receiver.iter().eq(0..5));
        sends.join().unwrap();
        *LOCK.lock().unwrap() += 1;
    });
    *locked(&DOES) = None;
}

#[test]
fn what_a_subscriber_spawns_runs() {
    static SPAWNS: AtomicBool = AtomicBool::new(false);
    let does = || {
        if SPAWNS.swap(false, Ordering::AcqRel) {
            let (sender, receiver) = bounded(1);
            let sends = roving::go!(name = "of a subscriber", move || sender.send(7).unwrap());
            assert_eq!(receiver.recv().unwrap(), 7);
            sends.join().unwrap();
        }
    };
    let _turn = listening(Some(does));
    on_each_mode(|| {
        locked(&TOLD).clear();
        for _ in 0..5 {
            SPAWNS.store(true, Ordering::Release);
            while SPAWNS.load(Ordering::Acquire) {
                thread::sleep(Duration::from_micros(10));
            }
        }
        let told = told_of("of a subscriber");
        assert!(!messages(&told).contains(&"spawn"), "{told:?}");
        let ends = told.iter().filter(|told| told.message == "end");
        assert_eq!(ends.count(), 5);
    });
    *locked(&DOES) = None;
}

#[test]
fn a_panic_in_a_subscriber_does_not_go_on() {
    let does = || std::panic::resume_unwind(Box::new("from a subscriber"));
    let _turn = listening(Some(does));
    on_each_mode(|| {
        let sum = thread::scope(|s| {
            let one = s.spawn(|| {
                thread::sleep(Duration::from_micros(10));
                1
            });
            one.join().unwrap() + 1
        });
        assert_eq!(sum, 2);
        assert!(!thread::panicking());
    });
    *locked(&DOES) = None;
}

#[test]
fn a_deadline_that_a_subscriber_sets_ends_its_wait() {
    let does = || {
        let late = roving::deadline(Duration::from_micros(10), || thread::sleep(Duration::MAX));
        assert!(late.is_err());
    };
    let _turn = listening(Some(does));
    on_each_mode(|| thread::sleep(Duration::from_micros(10)));
    *locked(&DOES) = None;
}
