//! What is known of one descriptor from the edges seen so far, and who waits for the next one.
//!
//! Each direction counts its edges; the count is its *tick*. An operation goes:
//!
//! 1. look at the tick;
//! 2. try the system call;
//! 3. if it would block, lock the registration; if the tick has moved, go to 1; else leave a ticket,
//!    unlock, and block.
//!
//! The driver, for each event, locks the registration, moves the ticks of the directions that have had an edge, and takes
//! all their tickets. Each event of a socket tells that there is room to write, too, so both directions have one lock.
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
    fn side(self) -> Side {
        match self {
            Self::Read | Self::Priority => Side::Read,
            Self::Write => Side::Write,
        }
    }

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
///
/// What an event and a wait to read touch lies together: for one of thousands of descriptors, each cache line comes from
/// memory each time.
#[repr(C)]
pub(crate) struct Registration {
    key: Key,
    /// The bits `IRREGULAR` and `HUNG_UP`. They are only ever set, and before the tick moves that
    /// tells of them.
    marks: AtomicU8,
    waiters: Mutex<Waiters>,
    read: Edges,
    write: Edges,
}

impl Registration {
    /// Whether the driver's events tell of irregularities is `sees_irregularities`. If they do not, any
    /// descriptor may be irregular.
    pub(crate) fn new(key: Key, sees_irregularities: bool) -> Self {
        let marks = if sees_irregularities { 0 } else { IRREGULAR };
        Self {
            key,
            marks: AtomicU8::new(marks),
            waiters: Mutex::default(),
            read: Edges::new(),
            write: Edges::new(),
        }
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    fn edges(&self, side: Side) -> &Edges {
        match side {
            Side::Read => &self.read,
            Side::Write => &self.write,
        }
    }

    fn has(&self, mark: u8) -> bool {
        self.marks.load(Ordering::Acquire) & mark != 0
    }

    /// Step 1.
    pub(crate) fn glance(&self, direction: Direction) -> Glance {
        let edges = self.edges(direction.side());
        // Acquire: the try that follows stays behind it, and the marks are at least those that came
        // with this tick.
        let tick = edges.tick.load(Ordering::Acquire);
        let irregular = self.has(IRREGULAR);
        Glance {
            tick: Tick(tick),
            drained: edges.drained.load(Ordering::Relaxed) == tick && !irregular,
            irregular,
        }
    }

    /// Notes that a try that was made after `tick` was seen left nothing.
    pub(crate) fn mark_drained(&self, direction: Direction, tick: Tick) {
        // Relaxed: it publishes nothing. A reader that misses it tries in vain.
        let edges = self.edges(direction.side());
        edges.drained.store(tick.0, Ordering::Relaxed);
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
        let side = direction.side();
        let mut waiters = self.waiters.lock();
        if self.edges(side).is_at(seen) {
            let wait = adapt(wait::begin_interruptible()).why(why);
            let stale = waiters.push(side, wait.ticket());
            drop(waiters);
            drop(stale);
            let outcome = wait.try_block(deadline);
            if outcome != Ok(Outcome::Fired) {
                let stale = self.waiters.lock().take_stale();
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
        let side = direction.side();
        let mut waiters = self.waiters.lock();
        if !self.edges(side).is_at(seen) {
            return false;
        }
        let stale = waiters.push(side, ticket);
        drop(waiters);
        drop(stale);
        true
    }

    /// Takes a ticket back, unless an edge has fired it.
    pub(crate) fn unwatch(&self, direction: Direction, ticket: &Ticket) {
        let taken = self.waiters.lock().take(direction.side(), ticket);
        drop(taken);
    }

    /// Whether anybody waits who has not been woken otherwise.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiters.lock().has_fresh()
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
        self.on_edges(event.readable, event.writable, ready);
    }

    fn on_edges(&self, readable: bool, writable: bool, ready: &mut Vec<Ticket>) {
        let mut waiters = self.waiters.lock();
        if readable {
            self.read.has_another();
        }
        if writable {
            self.write.has_another();
        }
        waiters.take_all(readable, writable, ready);
    }

    /// Forgets what edges have told of the descriptor: from now on it is another one. Who waits is to be told, as by
    /// [`on_end`](Self::on_end), which takes the marks of drained directions away too.
    #[cfg(feature = "adopt")]
    pub(crate) fn forget_marks(&self) {
        self.marks.store(0, Ordering::Release);
    }

    /// Hands out the tickets of all who wait, for what no event will tell of.
    pub(crate) fn on_end(&self, ready: &mut Vec<Ticket>) {
        self.on_edges(true, true, ready);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("key", &self.key)
            .field("read", &self.read)
            .field("write", &self.write)
            .field("waiters", &self.waiters)
            .field("irregular", &self.has(IRREGULAR))
            .field("hung_up", &self.has(HUNG_UP))
            .finish_non_exhaustive()
    }
}

/// Whose edges and tickets are those of a [`Direction`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Read,
    Write,
}

/// The edges of one side. The tick changes under the lock of the waiters.
#[derive(Debug)]
#[repr(C)]
struct Edges {
    tick: AtomicU64,
    /// The tick that is marked as drained.
    drained: AtomicU64,
}

impl Edges {
    fn new() -> Self {
        Self {
            tick: AtomicU64::new(Tick::START.0),
            drained: AtomicU64::new(Tick::NEVER),
        }
    }

    /// Whether there has been none since `seen`, for whoever has the lock.
    fn is_at(&self, seen: Tick) -> bool {
        self.tick.load(Ordering::Relaxed) == seen.0
    }

    /// There has been another one. For whoever has the lock.
    fn has_another(&self) {
        let tick = self.tick.load(Ordering::Relaxed);
        self.tick.store(tick + 1, Ordering::Release);
    }
}

/// The tickets of those who wait. One is the usual case and takes no memory of its own.
///
/// Tickets that have become stale are handed out to be dropped once the lock is released: dropping
/// the last one of a green thread that has ended can drop anything.
#[derive(Debug, Default)]
struct Waiters {
    one: Option<(Side, Ticket)>,
    others: Option<Box<Others>>,
}

/// Those beside one.
#[derive(Debug, Default)]
struct Others(Vec<(Side, Ticket)>);

impl Waiters {
    /// Adds a ticket. Gives back those that are worth nothing, before it grows.
    #[must_use]
    fn push(&mut self, side: Side, ticket: Ticket) -> Vec<Ticket> {
        let must_grow = match (&self.one, &self.others) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(_), Some(others)) => others.0.len() == others.0.capacity(),
        };
        let stale = if must_grow {
            self.take_stale()
        } else {
            Vec::new()
        };
        if self.one.is_none() {
            self.one = Some((side, ticket));
        } else {
            let others = self.others.get_or_insert_default();
            others.0.push((side, ticket));
        }
        stale
    }

    /// Hands out all that wait for a side that is ready.
    #[inline]
    fn take_all(&mut self, readable: bool, writable: bool, ready: &mut Vec<Ticket>) {
        let is_ready = |(side, _): &(Side, Ticket)| match side {
            Side::Read => readable,
            Side::Write => writable,
        };
        let one = self.one.take_if(|one| is_ready(one));
        ready.extend(one.map(|(_, ticket)| ticket));
        if self.others.is_some() {
            ready.append(&mut self.take_others(is_ready));
        }
    }

    #[must_use]
    fn take(&mut self, side: Side, wanted: &Ticket) -> Option<Ticket> {
        let is_it = |(other, ticket): &(Side, Ticket)| *other == side && ticket == wanted;
        match self.one.take_if(|one| is_it(one)) {
            Some((_, ticket)) => Some(ticket),
            None => self.take_others(is_it).pop(),
        }
    }

    /// Whether there is a ticket that is worth something.
    fn has_fresh(&self) -> bool {
        let others = self.others.iter().flat_map(|others| &others.0);
        let mut all = self.one.iter().chain(others);
        all.any(|(_, ticket)| !ticket.is_stale())
    }

    #[must_use]
    fn take_stale(&mut self) -> Vec<Ticket> {
        let is_stale = |(_, ticket): &(Side, Ticket)| ticket.is_stale();
        let mut stale = self.take_others(is_stale);
        let one = self.one.take_if(|one| is_stale(one));
        stale.extend(one.map(|(_, ticket)| ticket));
        stale
    }

    /// Takes those beside the one that are `wanted`.
    #[cold]
    #[inline(never)]
    fn take_others(&mut self, mut wanted: impl FnMut(&(Side, Ticket)) -> bool) -> Vec<Ticket> {
        let Some(others) = &mut self.others else {
            return Vec::new();
        };
        let taken = others.0.extract_if(.., |other| wanted(other));
        let taken = taken.map(|(_, ticket)| ticket).collect();
        if others.0.is_empty() {
            self.others = None;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Registration {
        /// How many wait for a direction.
        pub(crate) fn waiting(&self, direction: Direction) -> usize {
            self.waiters.lock().len(direction.side())
        }
    }

    impl Waiters {
        fn len(&self, side: Side) -> usize {
            let others = self.others.iter().flat_map(|others| &others.0);
            let all = self.one.iter().chain(others);
            all.filter(|(other, _)| *other == side).count()
        }
    }

    #[test]
    fn waiters_do_not_pile_up() {
        let mut waiters = Waiters::default();
        for _ in 0..1000 {
            let wait = wait::begin();
            drop(waiters.push(Side::Read, wait.ticket()));
        }
        let kept = waiters.len(Side::Read);
        assert!(kept <= 8, "{kept} tickets kept");
    }

    #[test]
    fn only_stale_tickets_are_given_up() {
        let mut waiters = Waiters::default();
        let old = wait::begin();
        let old_ticket = old.ticket();
        assert!(waiters.push(Side::Read, old_ticket).is_empty());
        drop(old);
        let new = wait::begin();
        let stale = waiters.push(Side::Read, new.ticket());
        assert_eq!(stale.len(), 1);
        for _ in 0..20 {
            assert!(waiters.push(Side::Write, new.ticket()).is_empty());
        }
        assert_eq!((waiters.len(Side::Read), waiters.len(Side::Write)), (1, 20));
        drop(new);
        assert_eq!(waiters.take_stale().len(), 21);
        assert_eq!((waiters.len(Side::Read), waiters.len(Side::Write)), (0, 0));
        assert!(waiters.others.is_none());
    }

    #[test]
    fn an_edge_wakes_those_of_its_direction() {
        for first in [Side::Read, Side::Write] {
            let mut waiters = Waiters::default();
            let wait = wait::begin();
            for side in [first, Side::Write, Side::Read, Side::Write] {
                assert!(waiters.push(side, wait.ticket()).is_empty());
            }
            let (readers, mut ready) = (waiters.len(Side::Read), Vec::new());
            waiters.take_all(true, false, &mut ready);
            assert_eq!(ready.len(), readers);
            assert_eq!(
                (waiters.len(Side::Read), waiters.len(Side::Write)),
                (0, 4 - readers)
            );
            // One that comes then is not confused with the others.
            assert!(waiters.push(Side::Read, wait.ticket()).is_empty());
            waiters.take_all(false, true, &mut ready);
            assert_eq!(ready.len(), 4);
            assert_eq!((waiters.len(Side::Read), waiters.len(Side::Write)), (1, 0));
            assert!(waiters.take(Side::Write, &wait.ticket()).is_none());
            assert!(waiters.take(Side::Read, &wait.ticket()).is_some());
            assert!(waiters.take(Side::Read, &wait.ticket()).is_none());
            assert_eq!(waiters.len(Side::Read), 0);
        }
    }
}
