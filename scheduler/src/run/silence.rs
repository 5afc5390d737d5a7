//! Silence: when all sleep, somebody looks whether anybody is left who could wake them.
//!
//! What there is to see, and what is then said, is the business of those above, who leave a [`Look`] here. Here is
//! who looks, and when: an OS thread that has waited in the runtime for a [while](PATIENCE), and a worker
//! that keeps [vigil](crate::protocol::vigil), for as long. Each looks once and sleeps then for good; a worker
//! may look again when it has run something. So there is no thread for it, and a runtime that is idle uses no time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::protocol::lock::Mutex;
use slab::Slab;

use crate::protocol::process::PerProcess;
use crate::protocol::vigil::Vigil;
use crate::run::green::Waiter;
use crate::run::shared::Shared;

/// How long all must have slept.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Looks whether anybody could wake those who sleep, on behalf of a worker of that number, or of an OS thread
/// that waits.
pub(crate) type Look = fn(Option<(&Arc<Shared>, usize)>) -> Seen;

/// What one has seen who looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Somebody was awake, and may look when it falls asleep.
    Awake,
    /// All sleep. There is nothing more to see before something runs.
    Asleep,
}

static LOOK: OnceLock<Look> = OnceLock::new();
static WAITING: PerProcess<Waiting> = PerProcess::new();

/// The OS threads that wait, and those that may be there while all sleep.
struct Waiting {
    vigil: Vigil,
    threads: Mutex<Slab<Arc<Waiter>>>,
    /// How many have ever come.
    came: AtomicU64,
    bystanders: AtomicUsize,
}

impl Waiting {
    fn new() -> Self {
        Self {
            vigil: Vigil::new(),
            threads: Mutex::default(),
            came: AtomicU64::new(0),
            bystanders: AtomicUsize::new(0),
        }
    }
}

fn waiting() -> &'static Waiting {
    WAITING.get_or_make(Waiting::new)
}

/// Has `look` called from now on when all have slept for a while.
pub(crate) fn look_with(look: Look) {
    LOOK.get_or_init(|| look);
}

/// When an OS thread that begins to wait, for as long as it takes, must say that it [endures](Enduring).
pub(crate) fn patience() -> Option<Instant> {
    let looks = cfg!(not(roving_loom)) && LOOK.get().is_some();
    looks.then(|| Instant::now() + PATIENCE)
}

/// Whether a worker that falls asleep as the last one must look before long.
pub(crate) fn is_awaited() -> bool {
    WAITING
        .get()
        .is_some_and(|waiting| waiting.vigil.is_awaited())
}

pub(crate) fn look(on_behalf_of: Option<(&Arc<Shared>, usize)>) -> Seen {
    LOOK.get().map_or(Seen::Asleep, |look| look(on_behalf_of))
}

/// An OS thread has waited for long, and does so until this is dropped.
pub(crate) struct Enduring(usize);

impl Enduring {
    /// The thread is parked in a wait that no deadline ends. The caller looks next.
    pub(crate) fn new(waiter: &Arc<Waiter>) -> Self {
        let waiting = waiting();
        let key = waiting.threads.lock().insert(waiter.clone());
        waiting.came.fetch_add(1, Ordering::Relaxed);
        waiting.vigil.begin();
        Self(key)
    }
}

impl Drop for Enduring {
    fn drop(&mut self) {
        let waiting = waiting();
        waiting.vigil.end();
        let waiter = waiting.threads.lock().remove(self.0);
        drop(waiter);
    }
}

/// What the OS threads outside of the runtimes do that are known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outside {
    waiting: usize,
    bystanders: usize,
    /// Changes whenever one comes.
    came: u64,
}

impl Outside {
    /// How many wait for as long as it takes.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many are known.
    pub(crate) fn threads(&self) -> usize {
        self.waiting + self.bystanders
    }
}

/// The OS threads that wait for as long as it takes, and the bystanders. `None` if the wait of one has ended,
/// which is about to go on.
pub(crate) fn outside() -> Option<Outside> {
    let waiting = waiting();
    let threads = waiting.threads.lock();
    let all_wait = threads
        .iter()
        .all(|(_, waiter)| waiter.word.parked().is_some());
    all_wait.then(|| Outside {
        waiting: threads.len(),
        bystanders: waiting.bystanders.load(Ordering::Acquire),
        came: waiting.came.load(Ordering::Relaxed),
    })
}

/// That the current OS thread wakes nobody, whatever it does, for as long as this is there.
pub(crate) struct Bystander(());

impl Bystander {
    pub(crate) fn new() -> Self {
        waiting().bystanders.fetch_add(1, Ordering::AcqRel);
        Self(())
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        waiting().bystanders.fetch_sub(1, Ordering::AcqRel);
    }
}
