//! What is known of one descriptor from the edges seen so far, and who waits for the next one.
//!
//! Each direction counts its edges; the count is its *tick*. An operation goes:
//!
//! 1. look at the tick;
//! 2. try the system call;
//! 3. if it would block, lock the direction; if the tick has moved, go to 1; else leave a ticket,
//!    unlock, and block.
//!
//! The driver, for each edge, locks the direction, moves the tick, and takes all the tickets.
//!
//! No edge is lost. What makes the descriptor ready after the system call of step 2 found it not
//! ready causes an edge. The driver either has reported that edge before the lock of step 3, and
//! then the tick has moved since step 1; or it reports it later, and then it finds the ticket. An
//! edge of before step 1 does not matter, since the system call came after it.
//!
//! All who wait for a direction are woken by an edge: the system reports many arrivals as one edge,
//! and who is woken may be satisfied with a part, or may have been cancelled. Those who find
//! nothing wait again. The end of the runtime counts as an edge, the last one: futures that wait then find
//! nothing and wait with another runtime.
//!
//! # Drained
//!
//! A system call that moved some bytes, but fewer than it was given room for, has told that the
//! next one would block; so has one that found no connection to accept, or no datagram. It *marks* the tick of its step 1 as
//! drained, and an operation that finds its own tick marked goes straight to step 3: of many who are woken for one connection,
//! one accepts it, one finds no other, and the rest do not ask. That is right whoever else reads meanwhile, since
//! the mark tells of the descriptor and not of the reader: after that tick was seen, the descriptor
//! was found empty, and whatever came later moves the tick.
//!
//! It is right only as long as being ready always means that something has come since. Three things
//! are ready without: the end of the stream, an error, and data that lie behind a mark of urgent
//! data, where a read stops short. Each may share its edge with data that came before. Once an edge
//! has told of one, the descriptor is *irregular* for good, and no try is skipped any more. Of descriptors whose
//! system calls move a part for other reasons too, none is marked: see `Raw::a_part_drains`.

use std::fmt;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use roving_scheduler::lock::Mutex;
use roving_scheduler::wait::{self, Interrupt, Outcome, Ticket, Wait, Why};
use rustix::event::PollFlags;

use crate::event::{Event, Key};

/// What an operation waits for. Debuggers read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// Data, a connection to accept, or the end of the stream.
    Read,
    /// Room for data, or the end of an attempt to connect.
    Write,
    /// What is of priority, such as urgent data. Its edges are some of those of [`Read`](Self::Read), and counted there.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "only epoll tells of it")
    )]
    Priority,
}

impl Direction {
    /// What `poll` is asked for.
    pub(crate) fn events(self) -> PollFlags {
        match self {
            Self::Read => PollFlags::IN,
            Self::Write => PollFlags::OUT,
            Self::Priority => PollFlags::PRI,
        }
    }
}

/// How many edges a direction has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tick(u64);

impl Tick {
    /// No edge yet. Registering makes the first edge if the descriptor is ready at that time, so
    /// this is what to wait with if the system call was tried before there was a registration.
    pub(crate) const START: Self = Self(0);

    const NEVER: u64 = u64::MAX;
}

/// A look at a direction before a try.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glance {
    pub(crate) tick: Tick,
    /// Trying is known to be of no use until the next edge.
    pub(crate) drained: bool,
    /// An edge so far has told of something else than data or room.
    pub(crate) irregular: bool,
}

/// How a wait for an edge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// There may be something to do.
    Ready {
        /// The connection has come to its end in both directions, or has failed.
        hung_up: bool,
    },
    TimedOut,
}

const IRREGULAR: u8 = 1;
const HUNG_UP: u8 = 2;

/// One descriptor in one driver. See the [module](self).
pub(crate) struct Registration {
    key: Key,
    read: Side,
    write: Side,
    /// The bits `IRREGULAR` and `HUNG_UP`. They are only ever set, and before the tick moves that
    /// tells of them.
    marks: AtomicU8,
}

impl Registration {
    /// Whether the driver's events tell of irregularities is `sees_irregularities`. If they do not, any
    /// descriptor may be irregular.
    pub(crate) fn new(key: Key, sees_irregularities: bool) -> Self {
        let marks = if sees_irregularities { 0 } else { IRREGULAR };
        Self {
            key,
            read: Side::new(),
            write: Side::new(),
            marks: AtomicU8::new(marks),
        }
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Read | Direction::Priority => &self.read,
            Direction::Write => &self.write,
        }
    }

    fn has(&self, mark: u8) -> bool {
        self.marks.load(Ordering::Acquire) & mark != 0
    }

    /// Step 1.
    pub(crate) fn glance(&self, direction: Direction) -> Glance {
        let side = self.side(direction);
        // Acquire: the try that follows stays behind it, and the marks are at least those that came
        // with this tick.
        let tick = side.tick.load(Ordering::Acquire);
        let irregular = self.has(IRREGULAR);
        Glance {
            tick: Tick(tick),
            drained: side.drained.load(Ordering::Relaxed) == tick && !irregular,
            irregular,
        }
    }

    /// Notes that a try that was made after `tick` was seen left nothing.
    pub(crate) fn mark_drained(&self, direction: Direction, tick: Tick) {
        // Relaxed: it publishes nothing. A reader that misses it tries in vain.
        self.side(direction)
            .drained
            .store(tick.0, Ordering::Relaxed);
    }

    /// Step 3: blocks the current green thread until there has been an edge since `seen`, or until
    /// the deadline.
    ///
    /// # Errors
    ///
    /// The thread was cancelled, or a deadline that it is subject to came.
    #[inline]
    #[track_caller]
    pub(crate) fn wait(
        &self,
        direction: Direction,
        seen: Tick,
        deadline: Option<Instant>,
        why: &dyn Why,
    ) -> io::Result<Woken> {
        self.try_wait(direction, seen, deadline, why)
            .map_err(Interrupt::into_error)
    }

    /// The same for whoever has an error of its own for an interrupt.
    ///
    /// # Errors
    ///
    /// What interrupted the thread.
    #[track_caller]
    pub(crate) fn try_wait(
        &self,
        direction: Direction,
        seen: Tick,
        deadline: Option<Instant>,
        why: &dyn Why,
    ) -> Result<Woken, Interrupt> {
        self.try_wait_as(direction, seen, deadline, why, |wait| wait)
    }

    /// The same in what `adapt` makes of the wait.
    #[track_caller]
    pub(crate) fn try_wait_as(
        &self,
        direction: Direction,
        seen: Tick,
        deadline: Option<Instant>,
        why: &dyn Why,
        adapt: impl FnOnce(Wait<'static>) -> Wait<'static>,
    ) -> Result<Woken, Interrupt> {
        let side = self.side(direction);
        let mut waiters = side.waiters.lock();
        if side.tick.load(Ordering::Relaxed) == seen.0 {
            let wait = adapt(wait::begin_interruptible()).why(why);
            let stale = waiters.push(wait.ticket());
            drop(waiters);
            drop(stale);
            let outcome = wait.try_block(deadline);
            if outcome != Ok(Outcome::Fired) {
                let stale = side.waiters.lock().take_stale();
                drop(stale);
            }
            if outcome? == Outcome::TimedOut {
                return Ok(Woken::TimedOut);
            }
        }
        Ok(Woken::Ready {
            hung_up: self.hung_up(),
        })
    }

    /// Whether an edge has told that the connection has come to its end in both directions, or has
    /// failed.
    pub(crate) fn hung_up(&self) -> bool {
        self.has(HUNG_UP)
    }

    /// Leaves a ticket for an edge since `seen`. `false` if there has been one.
    pub(crate) fn watch(&self, direction: Direction, seen: Tick, ticket: Ticket) -> bool {
        let side = self.side(direction);
        let mut waiters = side.waiters.lock();
        if side.tick.load(Ordering::Relaxed) != seen.0 {
            return false;
        }
        let stale = waiters.push(ticket);
        drop(waiters);
        drop(stale);
        true
    }

    /// Takes a ticket back, unless an edge has fired it.
    pub(crate) fn unwatch(&self, direction: Direction, ticket: &Ticket) {
        let taken = self.side(direction).waiters.lock().take(ticket);
        drop(taken);
    }

    /// Whether anybody waits who has not been woken otherwise.
    pub(crate) fn is_awaited(&self) -> bool {
        let has_fresh = |side: &Side| side.waiters.lock().has_fresh();
        has_fresh(&self.read) || has_fresh(&self.write)
    }

    /// Takes in what the driver saw, and hands out the tickets of those who waited for it.
    pub(crate) fn on_event(&self, event: Event, ready: &mut Vec<Ticket>) {
        let mut marks = 0;
        if event.irregular {
            marks |= IRREGULAR;
        }
        if event.hung_up {
            marks |= HUNG_UP;
        }
        if marks != 0 {
            self.marks.fetch_or(marks, Ordering::Release);
        }
        if event.readable {
            self.read.on_edge(ready);
        }
        if event.writable {
            self.write.on_edge(ready);
        }
    }

    /// Forgets what edges have told of the descriptor: from now on it is another one. Who waits is to be told, as by
    /// [`on_end`](Self::on_end), which takes the marks of drained directions away too.
    #[cfg(feature = "adopt")]
    pub(crate) fn forget_marks(&self) {
        self.marks.store(0, Ordering::Release);
    }

    /// Hands out the tickets of all who wait, for what no event will tell of.
    pub(crate) fn on_end(&self, ready: &mut Vec<Ticket>) {
        self.read.on_edge(ready);
        self.write.on_edge(ready);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("key", &self.key)
            .field("read", &self.read)
            .field("write", &self.write)
            .field("irregular", &self.has(IRREGULAR))
            .field("hung_up", &self.has(HUNG_UP))
            .finish_non_exhaustive()
    }
}

/// One direction of a registration.
#[derive(Debug)]
struct Side {
    /// Changes under the lock of `waiters`.
    tick: AtomicU64,
    /// The tick that is marked as drained.
    drained: AtomicU64,
    waiters: Mutex<Waiters>,
}

impl Side {
    fn new() -> Self {
        Self {
            tick: AtomicU64::new(Tick::START.0),
            drained: AtomicU64::new(Tick::NEVER),
            waiters: Mutex::new(Waiters::None),
        }
    }

    fn on_edge(&self, ready: &mut Vec<Ticket>) {
        let mut waiters = self.waiters.lock();
        let tick = self.tick.load(Ordering::Relaxed);
        self.tick.store(tick + 1, Ordering::Release);
        match mem::take(&mut *waiters) {
            Waiters::None => {}
            Waiters::One(ticket) => ready.push(ticket),
            Waiters::Many(mut tickets) => ready.append(&mut tickets),
        }
    }
}

/// The tickets of those who wait. One is the usual case and takes no memory of its own.
///
/// Tickets that have become stale are handed out to be dropped once the lock is released: dropping
/// the last one of a green thread that has ended can drop anything.
#[derive(Debug, Default)]
enum Waiters {
    #[default]
    None,
    One(Ticket),
    Many(Vec<Ticket>),
}

impl Waiters {
    /// Adds a ticket. Gives back those that are worth nothing, before it grows.
    #[must_use]
    fn push(&mut self, ticket: Ticket) -> Vec<Ticket> {
        let must_grow = match self {
            Self::None => false,
            Self::One(_) => true,
            Self::Many(tickets) => tickets.len() == tickets.capacity(),
        };
        let stale = if must_grow {
            self.take_stale()
        } else {
            Vec::new()
        };
        *self = match mem::take(self) {
            Self::None => Self::One(ticket),
            Self::One(first) => Self::Many(vec![first, ticket]),
            Self::Many(mut tickets) => {
                tickets.push(ticket);
                Self::Many(tickets)
            }
        };
        stale
    }

    #[must_use]
    fn take(&mut self, wanted: &Ticket) -> Option<Ticket> {
        match mem::take(self) {
            Self::One(ticket) if ticket == *wanted => Some(ticket),
            Self::Many(mut tickets) => {
                let place = tickets.iter().position(|ticket| ticket == wanted);
                let taken = place.map(|place| tickets.remove(place));
                if !tickets.is_empty() {
                    *self = Self::Many(tickets);
                }
                taken
            }
            others => {
                *self = others;
                None
            }
        }
    }

    /// Whether there is a ticket that is worth something.
    fn has_fresh(&self) -> bool {
        match self {
            Self::None => false,
            Self::One(ticket) => !ticket.is_stale(),
            Self::Many(tickets) => tickets.iter().any(|ticket| !ticket.is_stale()),
        }
    }

    #[must_use]
    fn take_stale(&mut self) -> Vec<Ticket> {
        match mem::take(self) {
            Self::One(ticket) if ticket.is_stale() => vec![ticket],
            Self::Many(mut tickets) => {
                let stale = tickets.extract_if(.., |ticket| ticket.is_stale()).collect();
                if !tickets.is_empty() {
                    *self = Self::Many(tickets);
                }
                stale
            }
            others => {
                *self = others;
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Registration {
        /// How many wait for a direction.
        pub(crate) fn waiting(&self, direction: Direction) -> usize {
            self.side(direction).waiters.lock().len()
        }
    }

    impl Waiters {
        fn len(&self) -> usize {
            match self {
                Self::None => 0,
                Self::One(_) => 1,
                Self::Many(tickets) => tickets.len(),
            }
        }
    }

    #[test]
    fn waiters_do_not_pile_up() {
        let mut waiters = Waiters::None;
        for _ in 0..1000 {
            let wait = wait::begin();
            drop(waiters.push(wait.ticket()));
        }
        assert!(waiters.len() <= 8, "{} tickets kept", waiters.len());
    }

    #[test]
    fn only_stale_tickets_are_given_up() {
        let mut waiters = Waiters::None;
        let old = wait::begin();
        let old_ticket = old.ticket();
        assert!(waiters.push(old_ticket).is_empty());
        drop(old);
        let new = wait::begin();
        let stale = waiters.push(new.ticket());
        assert_eq!(stale.len(), 1);
        for _ in 0..20 {
            assert!(waiters.push(new.ticket()).is_empty());
        }
        assert_eq!(waiters.len(), 21);
        drop(new);
        assert_eq!(waiters.take_stale().len(), 21);
        assert_eq!(waiters.len(), 0);
    }
}
