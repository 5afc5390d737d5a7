//! Memory that is not used goes back to the system: of long-parked green threads what lies below
//! their frames, and the pages of free stacks that nobody has needed for a while
//! ([`Cooling`]). A worker that wakes for a scan also gives back what it keeps itself.
//!
//! What lies below the stack pointer of a suspended thread is dead, but its pages stay: a thread
//! that was deep in its stack once would pay for it as long as it is parked. So a worker that has
//! nothing else to do looks through the green threads. One that it finds parked in the same wait as
//! a period before is [held](crate::run::hold), which gives the worker its stack; the dead pages are given back to the system; and it is committed to its wait
//! again. If the wait has ended meanwhile, it is queued. One that parks often is never held, and so
//! pays nothing. One that has parked on a stack that is not its own keeps all of its own.
//!
//! A scan is scheduled when a worker goes to sleep after it has run something or while it keeps stacks, and again as long as
//! it has seen waits that were new, or many free stacks. An idle runtime is scanned two or three
//! times and then left in peace. A scan is done in slices, between which the worker looks for work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::protocol::lock::Mutex;

use crate::run::green::{Green, Waiter};
use crate::run::hold::Held;
use crate::run::registry::{Cursor, Registry};
use crate::stack::Cooling;

/// Green threads that are looked at between two looks for work.
const SLICE: usize = 256;

/// How long a wait must last, in nanoseconds, for the whole process: five seconds if nothing else is set.
static PERIOD: AtomicU64 = AtomicU64::new(5_000_000_000);

/// Sets how long a wait must last. With zero, nothing is given back.
pub(crate) fn set_period(period: Duration) {
    let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    PERIOD.store(nanos, Ordering::Relaxed);
}

/// The period between two scans; `None` if there are none.
fn period() -> Option<Duration> {
    let nanos = PERIOD.load(Ordering::Relaxed);
    (nanos != 0).then(|| Duration::from_nanos(nanos))
}

/// When the green threads of a runtime are looked through.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// Whether `scan.next` is set, to be read without the lock.
    is_scheduled: AtomicBool,
    scan: Mutex<Scan>,
}

#[derive(Debug, Default)]
struct Scan {
    next: Option<Instant>,
    /// Where the next slice begins.
    cursor: Cursor,
    /// Whether all threads have been looked at, and free stacks are next.
    is_cooling: bool,
    cooling: Cooling,
    /// Whether this scan has seen waits that were new, or many free stacks.
    again: bool,
}

impl Reclaim {
    /// There is something to look at, or to give back: schedules a scan, unless one is. `None` if there are none; else when a worker must
    /// be awake for it, and whether nobody else who sleeps knows of it.
    ///
    /// Whoever does that while one is done waits for its end, since that may have looked before.
    pub(crate) fn schedule(&self) -> Option<(Instant, bool)> {
        let period = period()?;
        let mut scan = self.scan.lock();
        let is_new = scan.next.is_none();
        let next = *scan.next.get_or_insert_with(|| Instant::now() + period);
        self.is_scheduled.store(true, Ordering::Relaxed);
        Some((next, is_new))
    }

    /// When a worker must be awake to scan.
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.is_scheduled.load(Ordering::Relaxed) {
            self.scan.lock().next
        } else {
            None
        }
    }

    /// Does a slice of a scan if one is due. `true` if there is more to do at once.
    pub(crate) fn slice(&self, registry: &Registry) -> bool {
        if self.next().is_none_or(|next| Instant::now() < next) {
            return false;
        }
        let Some(mut scan) = self.scan.try_lock() else {
            return false;
        };
        if !scan.is_cooling {
            let (threads, cursor) = registry.some_from(scan.cursor, SLICE);
            for waiter in &threads {
                scan.again |= visit(waiter);
            }
            scan.cursor = cursor.unwrap_or_default();
            if cursor.is_some() {
                return true;
            }
            scan.is_cooling = true;
            scan.again |= scan.cooling.look();
        }
        if scan.cooling.slice() {
            return true;
        }
        scan.is_cooling = false;
        let again = std::mem::take(&mut scan.again);
        scan.next = period()
            .filter(|_| again)
            .map(|period| Instant::now() + period);
        self.is_scheduled
            .store(scan.next.is_some(), Ordering::Relaxed);
        false
    }
}

/// Looks at one green thread. `true` if it is in a wait that was not known.
fn visit(waiter: &Arc<Waiter>) -> bool {
    let (Some(green), Some(epoch)) = (waiter.green(), waiter.word.parked()) else {
        return false;
    };
    let (seen, done) = (epoch.short(), epoch.short() | Green::RECLAIMED);
    match green.scanned.load(Ordering::Relaxed) {
        known if known == done => return false,
        known if known != seen => {
            green.scanned.store(seen, Ordering::Relaxed);
            return true;
        }
        _ => green.scanned.store(done, Ordering::Relaxed),
    }
    if let Some(held) = Held::take(waiter, epoch) {
        // SAFETY: it has suspended, and is held.
        unsafe { held.coroutine().give_back_unused() };
    }
    false
}
