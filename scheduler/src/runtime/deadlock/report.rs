//! What is done about a deadlock.

use std::fmt::{self, Write};
use std::process;
use std::sync::Arc;
use std::thread as os_thread;

use super::{Deadlock, Deadlocks, Member};
use crate::protocol::say::say;
use crate::protocol::word::By;
use crate::run::green::Waiter;
use crate::run::hold::Held;
use crate::run::ticket::Ticket;
use crate::runtime::dump::{self, Thread, Visitor, write_stack};
use crate::runtime::state::Parked;

/// Of so many threads of a deadlock the stacks are shown.
const MOST_SHOWN: usize = 16;

pub(super) fn see_to(deadlock: &Deadlock, what: Deadlocks) {
    let victim = deadlock.victim();
    let mut report = Visitor::with(|visitor| deadlock.told(visitor));
    let told = match (what, victim) {
        (Deadlocks::Ignore | Deadlocks::Report, _) => Ok(()),
        (Deadlocks::Panic, Some(victim)) => {
            let thread = Thread::of(&victim.waiter);
            writeln!(
                report,
                "\n{thread} panics, as the runtime is set to have it (Builder::deadlocks, ROVING_DEADLOCKS)"
            )
        }
        (Deadlocks::Panic, None) => {
            writeln!(
                report,
                "\nnone of them panics, since nothing may interrupt them"
            )
        }
        (Deadlocks::Abort, _) => {
            writeln!(
                report,
                "\nthe process aborts, as the runtime is set to have it (Builder::deadlocks, ROVING_DEADLOCKS)"
            )
        }
    };
    told.expect("strings take all");
    say(&report);
    match (what, victim) {
        (Deadlocks::Panic, Some(Member { waiter, epoch, .. })) => {
            drop(Ticket::new(waiter.clone(), *epoch).end(By::Deadlock));
        }
        (Deadlocks::Abort, _) => process::abort(),
        _ => {}
    }
}

impl Deadlock {
    /// The report of it.
    fn told(&self, mut visitor: Visitor) -> String {
        let mut report = String::new();
        self.write(&mut visitor, &mut report)
            .expect("strings take all");
        report
    }

    fn write(&self, visitor: &mut Visitor, out: &mut String) -> fmt::Result {
        let threads = self.members.iter().map(|member| Thread::of(&member.waiter));
        let threads: Vec<_> = threads.collect();
        writeln!(out, "roving: deadlock: {}", dump::circle(&threads))?;
        let next = self.members.iter().cycle().skip(1);
        for (member, next) in self.members.iter().zip(next).take(MOST_SHOWN) {
            writeln!(out)?;
            member.write(&next.waiter, visitor, out)?;
        }
        if let Some(more @ 1..) = self.members.len().checked_sub(MOST_SHOWN) {
            writeln!(out, "\nand {more} more of them")?;
        }
        match self.behind {
            0 => Ok(()),
            1 => writeln!(out, "\n1 other thread waits for them"),
            others => writeln!(out, "\n{others} other threads wait for them"),
        }
    }
}

impl Member {
    /// Holds it, if it is in its wait still. If somebody else does so, that is for a moment.
    fn hold(&self) -> Option<Held<'_>> {
        while self.is_in_its_wait() {
            let held = Held::take(&self.waiter, self.epoch);
            if held.is_some() {
                return held;
            }
            os_thread::yield_now();
        }
        None
    }

    /// Writes what it waits for, which `next` has or is, and its stack.
    fn write(&self, next: &Arc<Waiter>, visitor: &mut Visitor, out: &mut String) -> fmt::Result {
        let Some(held) = self.hold() else {
            let thread = Thread::of(&self.waiter);
            return writeln!(out, "{thread} waits no more");
        };
        let parked = Parked::of(&held);
        let named = visitor.named(&held);
        drop(held);
        let holder = parked.holder;
        let mut thread = Thread::of(&self.waiter);
        thread.wait(&parked);
        if let Some(holder) = holder {
            thread = thread.held_up_by(&holder, next);
        }
        thread.write_why(out)?;
        write_stack(&named.map(|named| named.frames()), out)
    }
}
