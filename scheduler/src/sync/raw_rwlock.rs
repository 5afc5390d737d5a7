//! The lock of a [`RwLock`](super::RwLock): one word.
//!
//! The word has a bit for a writer, a bit that says that somebody waits, and a count of readers; or in its
//! place, while there is a writer, the [address](super::holder) of that one.
//! While the second bit is set nobody takes the lock past those who wait: it is handed to them.
//!
//! - The writer that unlocks hands the lock to all readers who wait, or else to the first writer.
//! - The last reader that unlocks hands it to the first writer, or else to all readers.
//!
//! So phases of readers and of one writer alternate while both wait (a *phase-fair* lock,
//! Brandenburg and Anderson 2009): **a writer waits for at most one phase of readers for each
//! writer before it, and a reader for at most one writer.** Neither starves.
//!
//! # Invariants
//!
//! - Whoever is parked has set `WAITING` before, and looked again under the lock of the waiting
//!   list.
//! - `WAITING` is taken away under that lock only, when nobody is parked.
//! - While it is set only the one who hands over adds readers or a writer, under that lock, before
//!   it wakes them: they may unlock as soon as they run.

use std::fmt;
use std::mem;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::holder::{Holder, here};
use super::parking::{self, End, For, Kind, Left, ParkedTask, Patience, Place, Queue};
use crate::protocol::primitive::{AtomicUsize, Ordering};
use crate::thread;
use crate::wait::{Needs, Why};

const WRITER: usize = 1;
const WAITING: usize = 2;
const READER: usize = 4;
/// No address is as large.
const MOST_READERS: usize = usize::MAX - 2 * READER;

/// The address of no thread.
const TASK: usize = 0;

pub(super) const READS: Kind = 0;
pub(super) const WRITES: Kind = 1;

/// As with a mutex.
const SPINS: u32 = if cfg!(roving_loom) { 0 } else { 60 };
/// How often one lets others run before one parks. Once somebody is parked the lock goes from hand to
/// hand, which is dear: better not to begin with it while a lock is held for a moment at a time.
const YIELDS: u32 = if cfg!(roving_loom) { 0 } else { 3 };

/// See the [module](self). Debuggers read it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct RawRwLock {
    state: AtomicUsize,
    writer: Holder,
}

impl RawRwLock {
    #[cfg(not(roving_loom))]
    pub(super) const fn new() -> Self {
        Self {
            state: AtomicUsize::new(0),
            writer: Holder::new(),
        }
    }

    #[cfg(roving_loom)]
    pub(super) fn new() -> Self {
        Self {
            state: AtomicUsize::new(0),
            writer: Holder::new(),
        }
    }

    fn key(&self) -> usize {
        (&raw const *self).addr()
    }

    /// Changes the state as `change` says, unless it says no.
    fn update(&self, success: Ordering, change: impl FnMut(usize) -> Option<usize>) -> bool {
        self.state
            .fetch_update(success, Ordering::Relaxed, change)
            .is_ok()
    }

    #[inline]
    #[track_caller]
    pub(super) fn try_read(&self) -> bool {
        let mut is_full = false;
        let locked = self.update(Ordering::Acquire, |state| {
            is_full = state >= MOST_READERS;
            (!is_full && state & (WRITER | WAITING) == 0).then(|| state + READER)
        });
        assert!(!is_full, "too many active read locks on RwLock");
        locked
    }

    #[inline]
    fn take_to_write(&self, by: usize) -> bool {
        self.state
            .compare_exchange(0, by | WRITER, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    #[track_caller]
    pub(super) fn try_write(&self) -> bool {
        let locked = self.take_to_write(here());
        if locked {
            self.writer.note();
        }
        locked
    }

    #[inline]
    #[track_caller]
    pub(super) fn read(&self, of: &'static str) {
        if !self.try_read() {
            self.lock_contended(of, READS, Patience::Forever);
        }
    }

    #[inline]
    #[track_caller]
    pub(super) fn write(&self, of: &'static str) {
        if !self.try_write() {
            self.lock_contended(of, WRITES, Patience::Forever);
        }
    }

    #[track_caller]
    pub(super) fn read_until(&self, of: &'static str, deadline: Option<Instant>) -> bool {
        let patience = Patience::Until(deadline);
        self.try_read() || self.lock_contended(of, READS, patience)
    }

    #[track_caller]
    pub(super) fn write_until(&self, of: &'static str, deadline: Option<Instant>) -> bool {
        let patience = Patience::Until(deadline);
        self.try_write() || self.lock_contended(of, WRITES, patience)
    }

    #[track_caller]
    fn try_lock(&self, kind: Kind) -> bool {
        if kind == READS {
            self.try_read()
        } else {
            self.try_write()
        }
    }

    #[cold]
    #[track_caller]
    fn lock_contended(&self, of: &'static str, kind: Kind, patience: Patience) -> bool {
        if patience == Patience::Forever {
            self.writer.panic_if_me("holds the lock for writing");
        }
        for _ in 0..SPINS {
            if self.state.load(Ordering::Relaxed) & WAITING != 0 {
                break;
            }
            std::hint::spin_loop();
            if self.try_lock(kind) {
                return true;
            }
        }
        for _ in 0..YIELDS {
            thread::let_others_run();
            if self.try_lock(kind) {
                return true;
            }
        }
        loop {
            if self.try_lock(kind) {
                return true;
            }
            if !self.mark(kind) {
                continue;
            }
            let gives_up = GivesUp(self);
            let why = &LockOf {
                lock: self,
                kind,
                of,
            };
            let is_waiting = || self.is_waiting();
            let wish = (kind, Place::Back);
            let end = parking::park(
                For::Holder(why),
                self.key(),
                wish,
                patience,
                is_waiting,
                || (),
            );
            match end {
                End::Woken(_) => {
                    mem::forget(gives_up);
                    // Pairs with the release of whoever unlocked before the hand-over.
                    self.state.load(Ordering::Acquire);
                    if kind == WRITES {
                        self.state.fetch_or(here(), Ordering::Relaxed);
                        self.writer.note();
                    }
                    return true;
                }
                End::TimedOut => return false,
                End::Invalid => mem::forget(gives_up),
            }
        }
    }

    /// Notes that somebody waits, unless the lock can be had.
    fn mark(&self, kind: Kind) -> bool {
        self.update(Ordering::Relaxed, |state| {
            let is_held = if kind == READS {
                state & (WRITER | WAITING) != 0
            } else {
                state != 0
            };
            is_held.then_some(state | WAITING)
        })
    }

    fn is_waiting(&self) -> bool {
        self.state.load(Ordering::Relaxed) & WAITING != 0
    }

    /// Locks in a future, whose place `waits` is. No thread is noted as the writer: the task may go on
    /// on another.
    pub(super) fn poll_lock(
        &self,
        kind: Kind,
        waits: &mut ParkedTask,
        context: &Context<'_>,
    ) -> Poll<()> {
        loop {
            if waits.is_parked() {
                ready!(waits.poll(context));
                // As in `lock_contended`.
                self.state.load(Ordering::Acquire);
                self.note_task(kind);
                return Poll::Ready(());
            }
            let taken = match kind {
                READS => self.try_read(),
                _ => self.take_to_write(TASK),
            };
            if taken {
                self.note_task(kind);
                return Poll::Ready(());
            }
            if self.mark(kind) {
                waits.park(self.key(), (kind, Place::Back), || self.is_waiting());
            }
        }
    }

    fn note_task(&self, kind: Kind) {
        if kind == WRITES {
            self.writer.forget();
        }
    }

    /// Gives up the place of a future that is dropped.
    pub(super) fn leave(&self, kind: Kind, waits: &mut ParkedTask) {
        match waits.leave() {
            Left::Nothing => {}
            Left::Waiting => self.settle(),
            Left::Woken(_) if kind == READS => {
                // SAFETY: whoever woke the future has let it in to read.
                unsafe { self.unlock_read() };
            }
            Left::Woken(_) => {
                // SAFETY: whoever woke the future has given it the lock.
                unsafe { self.unlock_write() };
            }
        }
    }

    /// After one who waited has given up, others may have waited behind it for nothing.
    fn settle(&self) {
        parking::with_parked(self.key(), |parked| {
            let state = self.state.load(Ordering::Relaxed);
            if state == WAITING || parked.is_empty() {
                self.hand_over(parked, READS);
            } else if state & WRITER == 0 && parked.first() == Some(READS) {
                // Readers have the lock, and the first who waits is one.
                self.admit_readers(parked);
                self.hand_over(parked, WRITES);
            }
        });
    }

    /// # Safety
    ///
    /// The caller holds a read lock.
    #[inline]
    pub(super) unsafe fn unlock_read(&self) {
        if self.state.fetch_sub(READER, Ordering::Release) - READER == WAITING {
            self.unlock_read_contended();
        }
    }

    #[cold]
    fn unlock_read_contended(&self) {
        parking::with_parked(self.key(), |parked| {
            self.hand_over(parked, WRITES);
        });
    }

    /// # Safety
    ///
    /// The caller holds the write lock.
    #[inline]
    pub(super) unsafe fn unlock_write(&self) {
        self.writer.forget();
        // Others only add that mark.
        let held = self.state.load(Ordering::Relaxed) & !WAITING;
        if self
            .state
            .compare_exchange(held, 0, Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            self.unlock_write_contended();
        }
    }

    #[cold]
    fn unlock_write_contended(&self) {
        parking::with_parked(self.key(), |parked| {
            self.state.fetch_and(WAITING, Ordering::Release);
            self.hand_over(parked, READS);
        });
    }

    /// Makes a write lock a read lock, and lets readers who wait in.
    ///
    /// # Safety
    ///
    /// The caller holds the write lock.
    pub(super) unsafe fn downgrade(&self) {
        self.writer.forget();
        let mut waits = 0;
        self.update(Ordering::Release, |state| {
            waits = state & WAITING;
            Some(READER | waits)
        });
        if waits != 0 {
            parking::with_parked(self.key(), |parked| {
                // The caller reads, so readers may.
                self.admit_readers(parked);
                self.hand_over(parked, WRITES);
            });
        }
    }

    /// Hands the lock to those who wait if nobody holds it, and first to those of a kind.
    fn hand_over(&self, parked: &mut Queue<'_>, first: Kind) {
        // Readers who have been admitted may be gone again at the end of a round.
        while !parked.is_empty() {
            if self.state.load(Ordering::Relaxed) != WAITING {
                return;
            }
            let readers_first = first == READS && self.admit_readers(parked);
            if !readers_first && !self.admit_writer(parked) {
                self.admit_readers(parked);
            }
        }
        self.state.fetch_and(!WAITING, Ordering::Relaxed);
    }

    /// Lets all readers in who wait. `false` if there are none.
    fn admit_readers(&self, parked: &mut Queue<'_>) -> bool {
        let mut admitted = false;
        loop {
            self.state.fetch_add(READER, Ordering::Relaxed);
            let woken = parked.wake(|kind| kind == READS, 0);
            if woken != Some(true) {
                self.state.fetch_sub(READER, Ordering::Relaxed);
            }
            match woken {
                Some(woken) => admitted |= woken,
                None => return admitted,
            }
        }
    }

    /// Gives the lock, which nobody holds, to the first writer who waits. `false` if there is none.
    fn admit_writer(&self, parked: &mut Queue<'_>) -> bool {
        self.state.fetch_or(WRITER, Ordering::Relaxed);
        let admitted = parked.wake_one(|kind| kind == WRITES, 0);
        if !admitted {
            self.state.fetch_and(!WRITER, Ordering::Relaxed);
        }
        admitted
    }
}

impl Drop for RawRwLock {
    #[inline]
    fn drop(&mut self) {
        parking::abandon(self.key());
    }
}

/// One who waits, and settles the lock when it gives up, also when it unwinds.
struct GivesUp<'a>(&'a RawRwLock);

impl Drop for GivesUp<'_> {
    fn drop(&mut self) {
        self.0.settle();
    }
}

/// Why one waits who is parked. Debuggers read it.
#[repr(C)]
struct LockOf<'a> {
    lock: &'a RawRwLock,
    kind: Kind,
    /// What the lock is called.
    of: &'static str,
}

impl Why for LockOf<'_> {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, of, key) = (self.in_short(), self.of, self.lock.key());
        write!(f, "{what}<{of}> at {key:#x}")?;
        let state = self.lock.state.load(Ordering::Relaxed);
        match state / READER {
            _ if state & WRITER != 0 => Ok(()),
            0 => Ok(()),
            1 => f.write_str(", which one reads"),
            readers => write!(f, ", which {readers} read"),
        }
    }

    fn in_short(&self) -> &'static str {
        if self.kind == READS {
            "read lock of RwLock"
        } else {
            "write lock of RwLock"
        }
    }

    fn needs(&self) -> Option<Needs<'_>> {
        let state = self.lock.state.load(Ordering::Relaxed);
        let is_written = state & WRITER != 0;
        is_written.then(|| self.lock.writer.in_word(state))?
    }
}
