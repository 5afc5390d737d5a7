//! The watcher: no event waits for long because the one worker that looked for events is busy.
//!
//! A leader that comes back from the driver runs what became ready itself, and looks again only
//! when it has nothing to do or after some runs. If what it runs computes for a second, nobody
//! looks, though other workers may be asleep. Waking one of them at each return of the leader would
//! cost a system call an event. Instead, this helper thread looks every [`PERIOD`] whether the
//! driver has been attended to, and wakes a sleeping worker if not (as Go's sysmon polls the
//! network).
//!
//! An idle runtime must use no CPU, so the monitor itself sleeps once the leader has sat in the
//! driver for a whole period. It is woken by the leader's next return, which looks at
//! [`Monitor::asleep`] behind a fence; the monitor sets it, and then looks at the leader's lock
//! behind a fence of its own. One of the two sees the other.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::shared::Shared;

/// How long events may go unattended.
const PERIOD: Duration = Duration::from_millis(10);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Monitor {
    polls: AtomicU64,
    asleep: AtomicBool,
    lock: Mutex<()>,
    woken: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Monitor {
    pub(crate) fn new() -> Self {
        Self {
            polls: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            lock: Mutex::new(()),
            woken: Condvar::new(),
            thread: Mutex::new(None),
        }
    }

    /// Starts the helper thread of a runtime that has just got a driver.
    pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<()> {
        let watched = Arc::downgrade(shared);
        let thread = thread::Builder::new()
            .name("roving-monitor".to_owned())
            .spawn(move || watch(&watched))
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("no OS thread for the monitor of the IO driver: {error}"),
                )
            })?;
        *shared.monitor.thread.lock() = Some(thread);
        Ok(())
    }

    /// A worker has looked for events, and does not lead any more.
    pub(crate) fn driver_polled(&self) {
        self.polls.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Ends the helper thread of a runtime that is stopping.
    pub(crate) fn stop(&self) {
        self.wake();
        if let Some(thread) = self.thread.lock().take() {
            // It can only have ended.
            let _ = thread.join();
        }
    }

    fn wake(&self) {
        let guard = self.lock.lock();
        self.asleep.store(false, Ordering::Relaxed);
        drop(guard);
        self.woken.notify_one();
    }
}

fn watch(shared: &Weak<Shared>) {
    let mut polls_seen = 0;
    loop {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if shared.is_stopping() {
            return;
        }
        let monitor = &shared.monitor;
        let polls = monitor.polls.load(Ordering::Relaxed);
        let attended = shared.leader.is_locked();
        if polls == polls_seen && attended {
            let mut guard = monitor.lock.lock();
            monitor.asleep.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            while monitor.asleep.load(Ordering::Relaxed)
                && shared.leader.is_locked()
                && !shared.is_stopping()
            {
                monitor.woken.wait(&mut guard);
            }
            monitor.asleep.store(false, Ordering::Relaxed);
        } else if polls == polls_seen {
            shared.wake_any();
        }
        polls_seen = polls;
        let mut guard = monitor.lock.lock();
        monitor.woken.wait_for(&mut guard, PERIOD);
    }
}
