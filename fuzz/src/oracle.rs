//! What must be true of every program, whatever it does.
//!
//! - Every value that was made is dropped, once. Values are messages, results, payloads of panics,
//!   what closures capture, what destructors wait for.
//! - A message whose send has succeeded is received, by one, or is there when its channel is drained at
//!   the end. Those that one thread receives of another come in the order of their sending, unless
//!   somebody else has given one back.
//! - Every closure that was spawned has run once, or was dropped.
//! - A join gives what the thread gave.
//! - Nobody panics but those who are meant to.
//! - When all is over, no lock is held, and no stack in use.
//!
//! What does not hold is noted as a violation; nothing here panics, since a panic is a thing that
//! programs do.

use std::any::Any;
use std::collections::HashSet;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roving::{Cancelled, DeadlineElapsed};

use crate::program::Program;
use crate::value::{Item, ItemState, Payload};

/// What is known of a program that runs.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    violations: Mutex<Vec<String>>,
    items: Mutex<Vec<Arc<ItemState>>>,
    threads: Mutex<Vec<Arc<Status>>>,
    numbers: AtomicU64,
    /// Whether a runtime of the program has begun to end.
    pub(crate) closing: AtomicBool,
    /// Whether an operation that was selected was forgotten: what was promised to it stays where it is.
    pub(crate) forgets_promises: AtomicBool,
    /// Whether one was dropped: a message that it had received is back, behind its time.
    pub(crate) gives_back: AtomicBool,
    /// What destructors lock.
    pub(crate) lock: roving::sync::Mutex<()>,
}

impl Oracle {
    /// A number that nothing else has.
    pub(crate) fn number(&self) -> u64 {
        1 + self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes that something is not as it must be.
    pub(crate) fn violated(&self, what: impl Display) {
        lock(&self.violations).push(what.to_string());
    }

    /// Notes it if it is not `true`.
    pub(crate) fn check(&self, holds: bool, what: impl Display) {
        if !holds {
            self.violated(what);
        }
    }

    pub(crate) fn add_item(&self, state: &Arc<ItemState>) {
        lock(&self.items).push(state.clone());
    }

    pub(crate) fn add_thread(&self, kind: &'static str, spawned_at: usize) -> Arc<Status> {
        let status = Arc::new(Status {
            number: self.number(),
            kind,
            spawned_at,
            at: AtomicUsize::new(0),
            life: AtomicU8::new(Life::Spawned as u8),
            runs: AtomicUsize::new(0),
            closures_dropped: AtomicUsize::new(0),
            result: AtomicU64::new(0),
            is_forgotten: AtomicBool::new(false),
        });
        lock(&self.threads).push(status.clone());
        status
    }

    /// Looks at the payload of a panic that was caught.
    pub(crate) fn caught(&self, payload: Box<dyn Any + Send>) -> Caught {
        if payload.is::<Cancelled>() || payload.is::<DeadlineElapsed>() {
            return Caught::Interrupt(payload);
        }
        let message = match payload.downcast::<Payload>() {
            Ok(_) => return Caught::Panic,
            Err(payload) => message(&*payload).unwrap_or_else(|| "no text".to_owned()),
        };
        let is_closing = self.closing.load(Ordering::SeqCst);
        let is_meant = is_expected(&message) && (is_closing || !message.contains(SHUT_DOWN));
        self.check(is_meant, format_args!("a panic: {message}"));
        Caught::Panic
    }

    /// Looks at what a join gave of the thread that has this status.
    pub(crate) fn joined(&self, of: &Status, result: roving::thread::Result<Item>) {
        let life = of.life();
        match result {
            Ok(item) => {
                self.check(
                    life == Life::Returned && of.result.load(Ordering::SeqCst) == item.number(),
                    format_args!(
                        "the join of thread {} gave value {} of another",
                        of.number,
                        item.number()
                    ),
                );
            }
            Err(payload) => {
                self.check(
                    life != Life::Returned,
                    format_args!("thread {} has returned, its join gave a panic", of.number),
                );
                self.check(
                    life != Life::Running,
                    format_args!("thread {} was joined while it ran", of.number),
                );
                self.caught(payload);
            }
        }
    }

    /// What must be true when all is over. Gives the violations.
    pub(crate) fn end(&self) -> Vec<String> {
        let threads = lock(&self.threads);
        let mut forgotten = HashSet::new();
        for thread in threads.iter() {
            let (runs, closures) = (
                thread.runs.load(Ordering::SeqCst),
                thread.closures_dropped.load(Ordering::SeqCst),
            );
            self.check(
                runs <= 1 && closures == 1,
                format_args!(
                    "{}: it ran {runs} times, its closure was dropped {closures} times",
                    thread.name()
                ),
            );
            self.check(
                thread.life() != Life::Running,
                format_args!("{} has not ended", thread.name()),
            );
            if thread.is_forgotten.load(Ordering::SeqCst) {
                forgotten.insert(thread.number);
            }
        }
        for item in lock(&self.items).iter() {
            // What ended a thread whose handle was forgotten stays in it: its result, or the payload of a
            // panic, which may have come from its members.
            let stays = forgotten.contains(&item.owner)
                || !forgotten.is_empty() && item.what == Payload::WHAT;
            if !item.is_dropped() && !stays {
                self.violated(format_args!("{item} was never dropped"));
            }
            self.check(
                !item.is_lost() || self.forgets_promises.load(Ordering::SeqCst),
                format_args!("{item} was sent, and nobody received it"),
            );
        }
        std::mem::take(&mut *lock(&self.violations))
    }

    /// Who has not ended, and what each of them does.
    pub(crate) fn alive(&self, program: &Program) -> Vec<String> {
        let lines = program.lines();
        let line_of = |address: usize| {
            let found = lines.iter().position(|(op, _)| *op == Some(address));
            found.map_or_else(|| "the beginning".to_owned(), |line| format!("line {line}"))
        };
        let threads = lock(&self.threads);
        let alive = threads
            .iter()
            .filter(|thread| thread.closures_dropped.load(Ordering::SeqCst) == 0);
        alive
            .map(|thread| {
                let at = thread.at.load(Ordering::SeqCst);
                format!(
                    "{}, {:?}, spawned at {}, is at {}",
                    thread.name(),
                    thread.life(),
                    line_of(thread.spawned_at),
                    line_of(at)
                )
            })
            .collect()
    }

    /// What has been noted so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }
}

/// What was caught.
#[derive(Debug)]
pub(crate) enum Caught {
    /// The thread was interrupted.
    Interrupt(Box<dyn Any + Send>),
    /// It panicked.
    Panic,
}

/// What a thread does in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Life {
    Spawned,
    Running,
    Returned,
    Unwound,
}

/// What is known of a thread.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) number: u64,
    kind: &'static str,
    spawned_at: usize,
    /// The operation that it is in.
    at: AtomicUsize,
    life: AtomicU8,
    runs: AtomicUsize,
    closures_dropped: AtomicUsize,
    /// The number of the value that it gave.
    result: AtomicU64,
    /// Whether its handle was forgotten.
    is_forgotten: AtomicBool,
}

impl Status {
    fn name(&self) -> String {
        format!("thread {} ({})", self.number, self.kind)
    }

    fn life(&self) -> Life {
        let lives = [Life::Spawned, Life::Running, Life::Returned, Life::Unwound];
        lives[usize::from(self.life.load(Ordering::SeqCst))]
    }

    pub(crate) fn is_at(&self, op: usize) {
        self.at.store(op, Ordering::Relaxed);
    }

    pub(crate) fn op(&self) -> usize {
        self.at.load(Ordering::Relaxed)
    }

    pub(crate) fn forget(&self) {
        self.is_forgotten.store(true, Ordering::SeqCst);
    }

    pub(crate) fn returns(&self, item: &Item) {
        self.result.store(item.number(), Ordering::SeqCst);
        self.life.store(Life::Returned as u8, Ordering::SeqCst);
    }
}

/// What the closure of a thread captures.
#[derive(Debug)]
pub(crate) struct Closure(pub(crate) Arc<Status>);

impl Closure {
    pub(crate) fn runs(&self) {
        self.0.runs.fetch_add(1, Ordering::SeqCst);
        self.0.life.store(Life::Running as u8, Ordering::SeqCst);
    }
}

impl Drop for Closure {
    fn drop(&mut self) {
        let running = Life::Running as u8;
        let unwound = Life::Unwound as u8;
        let _ = self
            .0
            .life
            .compare_exchange(running, unwound, Ordering::SeqCst, Ordering::SeqCst);
        self.0.closures_dropped.fetch_add(1, Ordering::SeqCst);
    }
}

const SHUT_DOWN: &str = "has been shut down";

/// The text of a panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> Option<String> {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
}

/// Whether a program can be the reason of a panic.
pub(crate) fn is_expected(message: &str) -> bool {
    let of_spawn =
        message.starts_with("failed to spawn a green thread") && message.contains(SHUT_DOWN);
    of_spawn
        || message == "a scoped thread panicked"
        || message == "dropped `SelectedOperation` without completing the operation"
}

/// The lock of one of the lists here, which no panic leaves half done.
fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Action;
    use crate::value::Message;

    #[test]
    fn what_is_never_dropped_or_never_received_is_told() {
        let oracle = Arc::new(Oracle::default());
        drop(Item::new(&oracle, "dropped", 1));
        std::mem::forget(Item::new(&oracle, "leaked", 1));
        for receives in [true, false] {
            let message = Message::new(&oracle, 1, 1, Action::Nothing, true);
            message.ticket().note();
            if receives {
                message.received();
            }
        }
        let told = oracle.end();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("leaked"));
        assert!(told[1].contains("nobody received it"));
    }

    #[test]
    fn a_closure_that_is_neither_run_nor_dropped_is_told() {
        let oracle = Oracle::default();
        drop(Closure(oracle.add_thread("dropped", 0)));
        let runs = Closure(oracle.add_thread("runs", 0));
        runs.runs();
        drop(runs);
        std::mem::forget(Closure(oracle.add_thread("leaked", 0)));
        let told = oracle.end();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("leaked"));
    }

    #[test]
    fn a_panic_that_nobody_meant_is_told() {
        let oracle = Oracle::default();
        oracle.caught(Box::new("a scoped thread panicked"));
        oracle.caught(Box::new("called `Option::unwrap()` on a `None` value"));
        assert_eq!(oracle.end().len(), 1);
    }
}
