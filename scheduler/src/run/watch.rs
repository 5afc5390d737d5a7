//! Who is stuck: what a worker finds that [watches](crate::protocol::idle).
//!
//! It looks at the [pace](crate::protocol::pace) of those who are busy, and takes the time for which one has
//! been in the same run. That run is too long
//!
//! - if it has used as much time of a processor: it computes;
//! - if it has waited for as long, in the system or in foreign code. What waits for a processor only does not
//!   count. Else too many OS threads would be the reason for more.
//!
//! Where many wait in the system, one after the other, each would hold up the rest for that long. So once one
//! has been found whose place others can use, the next look comes sooner, and whoever then has waited from
//! one look to the next is stuck, if work waits. As long as every other look finds somebody, they come sooner and
//! sooner; as they do not, later and later, for a while after the last find not much later.
//!
//! Runs that last for much longer are [told of](crate::run::overlong).
//!
//! A look costs half a microsecond for each worker that is busy, and some twenty for each that seems to wait
//! for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::protocol::lock::Mutex;

use crate::protocol::pace::Seen;
use crate::run::overlong::{Overlongs, Patience};
use crate::run::processor;
use crate::run::shared::{Remote, Shared};

/// How much sooner looks come, for a while after a find, and at most.
const SOONER: u32 = 10;
const SOONEST: u32 = 64;
const WHILE: Duration = Duration::from_secs(1);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Watch {
    /// How long a run may be; `None` if for ever.
    limit: Option<Duration>,
    pub(crate) overlongs: Overlongs,
    /// The time from one look to the next, in nanoseconds.
    interval: AtomicU64,
    looks: Mutex<Looks>,
}

#[derive(Debug, Default)]
struct Looks {
    /// By the number of the worker.
    last: Vec<Option<Look>>,
    last_find: Option<Instant>,
    /// How many looks in a row have found nobody.
    vain: u32,
}

/// A run that was under way at a look.
#[derive(Debug)]
pub(crate) struct Look {
    run: Seen,
    since: Instant,
    /// The time that the worker had used by then.
    used: Duration,
}

impl Watch {
    pub(crate) fn new(limit: Option<Duration>, patience: Option<Patience>) -> Self {
        Self {
            limit,
            overlongs: Overlongs::new(patience),
            interval: AtomicU64::new(limit.map_or(u64::MAX, nanos)),
            looks: Mutex::default(),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.limit.is_some()
    }

    /// The longest time from one look to the next.
    pub(crate) fn longest_interval(&self) -> Option<Duration> {
        self.limit
            .into_iter()
            .chain(self.overlongs.interval())
            .min()
    }

    /// When to look next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let interval = Duration::from_nanos(self.interval.load(Ordering::Relaxed));
        let of_places = self.limit.map(|_| interval);
        let next = of_places.into_iter().chain(self.overlongs.interval()).min();
        next.map(|interval| Instant::now() + interval)
    }

    /// Looks who is stuck, and has their places taken, by the caller first.
    pub(crate) fn look(&self, shared: &Arc<Shared>, caller: usize) {
        let Some(mut looks) = self.looks.try_lock() else {
            return;
        };
        let now = Instant::now();
        if let Some(limit) = self.limit {
            self.look_for_places(&mut looks, now, limit, shared, caller);
        }
        self.overlongs.look(shared, now);
    }

    fn look_for_places(
        &self,
        looks: &mut Looks,
        now: Instant,
        limit: Duration,
        shared: &Arc<Shared>,
        caller: usize,
    ) {
        let interval = Duration::from_nanos(self.interval.load(Ordering::Relaxed));
        let patience = if shared.has_work_for_any(true) {
            interval
        } else {
            limit
        };
        let mut finds = false;
        for (worker, remote) in shared.everybody().enumerate() {
            if looks.last.len() <= worker {
                looks.last.resize_with(worker + 1, || None);
            }
            let last = &mut looks.last[worker];
            let run = remote.pace.seen();
            *last = match (last.take(), run) {
                (_, None) => None,
                (Some(look), Some(run)) if look.run == run => {
                    let stuck = look.is_too_long(remote, now, limit, patience);
                    if stuck {
                        finds = true;
                        shared.is_found_stuck(worker, run, caller);
                    }
                    (!stuck).then_some(look)
                }
                (_, Some(run)) => Some(Look::at(remote, run, now)),
            };
        }
        if finds {
            looks.last_find = Some(now);
        }
        looks.vain = if finds { 0 } else { looks.vain + 1 };
        let lately = looks.last_find.is_some_and(|find| now - find < WHILE);
        let next = if finds {
            (limit / SOONEST).max(interval / 4)
        } else if looks.vain == 1 {
            // Whoever has come to a place that was handed over has only just been seen.
            interval
        } else {
            let longest = if lately { limit / SOONER } else { limit };
            longest.min(2 * interval)
        };
        self.interval.store(nanos(next), Ordering::Relaxed);
    }
}

impl Look {
    /// A look at what a worker does now.
    pub(super) fn at(remote: &Remote, run: Seen, now: Instant) -> Self {
        Self {
            run,
            since: now,
            used: processor::time_of(remote.os_thread()),
        }
    }

    pub(super) fn run(&self) -> Seen {
        self.run
    }

    /// Whether the run has computed for so long, or waited for longer than there is `patience`.
    pub(super) fn is_too_long(
        &self,
        remote: &Remote,
        now: Instant,
        limit: Duration,
        patience: Duration,
    ) -> bool {
        if now - self.since < limit.min(patience) {
            return false;
        }
        let used = processor::time_of(remote.os_thread()).saturating_sub(self.used);
        let waited = (now - self.since).saturating_sub(used);
        used >= limit || waited >= patience && processor::waits(remote.os_thread())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
