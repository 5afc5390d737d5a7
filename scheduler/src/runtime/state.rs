//! What a thread does: [`State`].

use std::fmt::{self, Write};
use std::mem;
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::dump;
use crate::run::green::Waiter;
use crate::run::hold::Held;
use crate::run::reason::{Holder, Needs, Whom, Why};
use crate::run::ticks;

/// What a thread does at one moment: see [`Thread::state`](crate::thread::Thread::state).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It runs, on the worker of this number, for about so long.
    Running(usize, Duration),
    /// It waits for a worker to run it.
    Runnable,
    /// It waits.
    Parked(Parked),
    /// It has ended.
    Ended,
}

/// How and why a thread waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    pub(crate) why: String,
    pub(crate) place: Option<&'static Location<'static>>,
    pub(crate) elapsed: Option<Duration>,
    pub(crate) left: Option<Duration>,
    pub(crate) holder: Option<Holder>,
}

impl Parked {
    /// Returns what it waits for, for people: `recv on a channel with 3 senders`.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Returns where it has begun to wait: the call in the source, of the program if what it calls is Roving's own.
    /// `None` if that is not known.
    pub fn place(&self) -> Option<&'static Location<'static>> {
        self.place
    }

    /// Returns for about how long it has waited; `None` if that is not known.
    pub fn elapsed(&self) -> Option<Duration> {
        self.elapsed
    }

    /// Returns how long it is until its wait ends by itself, if it does.
    pub fn left(&self) -> Option<Duration> {
        self.left
    }

    /// Returns where the lock was taken that it waits for, if it is one and that is known.
    pub fn taken_at(&self) -> Option<&'static Location<'static>> {
        self.holder.map(|holder| holder.place)
    }

    /// Of a thread that is held.
    pub(crate) fn of(held: &Held<'_>) -> Self {
        let reason = held.reason();
        Self {
            why: told(reason.why),
            place: Some(reason.place),
            elapsed: ticks::elapsed_since(held.since()),
            left: reason
                .deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now())),
            holder: match reason.why.needs() {
                Some(Needs(Whom::Holder(holder))) => Some(holder),
                _ => None,
            },
        }
    }
}

/// What a [`Why`] writes. It may be the program's, and whoever asks wants to know of the other threads too: so if it
/// fails, what it has written until then is kept, and if it panics, that is told.
fn told(why: &dyn Why) -> String {
    struct Told<'a>(&'a dyn Why);

    impl fmt::Display for Told<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.describe(f)
        }
    }

    let mut text = String::new();
    let write = AssertUnwindSafe(|| write!(text, "{}", Told(why)));
    match panic::catch_unwind(write) {
        Ok(_) => text,
        Err(payload) => {
            // What its destructor does is the program's, too.
            mem::forget(payload);
            "a wait whose reason panics".to_owned()
        }
    }
}

impl State {
    pub(crate) fn of(waiter: &Arc<Waiter>) -> Self {
        if let Some(epoch) = waiter.word.parked() {
            if waiter.green().is_none() {
                return Self::Parked(Parked {
                    why: "a wait".to_owned(),
                    place: None,
                    elapsed: None,
                    left: None,
                    holder: None,
                });
            }
            if let Some(held) = Held::take(waiter, epoch) {
                return Self::Parked(Parked::of(&held));
            }
        }
        let Some(green) = waiter.green() else {
            return Self::Running(0, Duration::ZERO);
        };
        if green.completion.is_done() {
            return Self::Ended;
        }
        // It may end meanwhile, and its runtime with it.
        let runtimes = dump::runtimes();
        let runtime = runtimes
            .iter()
            .find(|runtime| green.runtime.is_to(Arc::as_ptr(runtime)));
        let workers = runtime.into_iter().flat_map(|runtime| runtime.everybody());
        let mut workers = workers.enumerate();
        let worker = workers.find(|(_, worker)| worker.running.thread.shows(waiter));
        worker.map_or(Self::Runnable, |(index, worker)| {
            let since = worker.running.since.load(Ordering::Relaxed);
            Self::Running(index, ticks::elapsed_since(since).unwrap_or_default())
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(worker, elapsed) => {
                write!(f, "running on worker {worker} for {elapsed:.1?}")
            }
            Self::Runnable => f.write_str("runnable"),
            Self::Parked(parked) => parked.fmt(f),
            Self::Ended => f.write_str("ended"),
        }
    }
}

impl fmt::Display for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        if let Some(place) = self.taken_at() {
            write!(f, ", taken at {place}")?;
        }
        if let Some(left) = self.left {
            write!(f, ", {left:.1?} left")?;
        }
        self.elapsed
            .map_or(Ok(()), |elapsed| write!(f, ", for {elapsed:.1?}"))?;
        self.place.map_or(Ok(()), |place| write!(f, ", at {place}"))
    }
}
