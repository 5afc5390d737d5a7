//! A look of a runtime for deadlocks, in pieces: see [`lookout`](crate::run::lookout).
//!
//! It goes through the registries of all runtimes, as a deadlock may have threads of several, and notes
//! those that wait for what only others can do. If one of its own runtime has done so for long and has not been judged, it
//! [finds](super::find) what deadlocks there are, and sees to those that a thread of its runtime has closed. A thread is
//! judged once in each of its waits, so nothing is left to do when no new waits last.
//!
//! One who panics ends its deadlock, and perhaps not all that there are: of a scope several threads may wait for what its own
//! thread has. So then what is left is judged again, and other runtimes look again at their threads that have to do with it.
//!
//! What is judged was parked before the look began, so that all who have parked before it have been seen. Who is held by
//! somebody at that moment, as by the look of another runtime, cannot be: then nobody is judged, and there is another look.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::{Deadlock, Deadlocks, Found, Member, Suspect, find, report};
use crate::run::green::{Green, Waiter};
use crate::run::lookout::{LONG, Look, Progress};
use crate::run::registry::Cursor;
use crate::run::shared::Shared;
use crate::run::ticks;
use crate::runtime::dump;

/// See the [module](self).
struct Search {
    what: Deadlocks,
    own: Weak<Shared>,
    /// Those that are left, and how far the last one has been looked through.
    runtimes: Vec<Weak<Shared>>,
    cursor: Cursor,
    suspects: Vec<Suspect>,
    /// Whether one was in such a wait and was not seen parked.
    is_incomplete: bool,
    begin: Instant,
    /// Whether one of them has waited for long and has not been judged.
    has_old: bool,
    /// Whether one of them has waited for a short time.
    has_new: bool,
}

pub(super) fn begin(runtime: &Arc<Shared>, what: Deadlocks) -> Box<dyn Look> {
    Box::new(Search {
        what,
        own: Arc::downgrade(runtime),
        runtimes: dump::runtimes().iter().map(Arc::downgrade).collect(),
        cursor: Cursor::default(),
        suspects: Vec::new(),
        is_incomplete: false,
        begin: Instant::now(),
        has_old: false,
        has_new: false,
    })
}

impl Look for Search {
    fn go_on(&mut self) -> Progress {
        if let Some(runtime) = self.runtimes.last() {
            match runtime.upgrade() {
                Some(runtime) => self.look_through(&runtime),
                None => self.is_through(),
            }
            return Progress::More;
        }
        let judged = if self.has_old {
            self.judge()
        } else {
            Judged::All
        };
        match judged {
            Judged::Again => Progress::More,
            Judged::All => Progress::Done {
                again: self.has_new,
            },
            Judged::Some => Progress::Done { again: true },
        }
    }
}

/// Who has been judged.
enum Judged {
    All,
    /// There must be another look.
    Some,
    /// Some are to panic, and what is left without them is to be judged.
    Again,
}

impl Search {
    fn look_through(&mut self, runtime: &Arc<Shared>) {
        let (threads, next) = runtime.registry.some_from(self.cursor, dump::SLICE);
        for waiter in &threads {
            if let Some(suspect) = Suspect::of(waiter) {
                self.take_in(waiter, suspect);
            } else if waiter.word.open().is_some() && waiter.reason.needs_threads() {
                self.is_incomplete = true;
                self.has_new |= waiter.green().is_some_and(|green| self.is_own(green));
            }
        }
        match next {
            Some(next) => self.cursor = next,
            None => self.is_through(),
        }
    }

    fn is_through(&mut self) {
        self.runtimes.pop();
        self.cursor = Cursor::default();
    }

    fn take_in(&mut self, waiter: &Arc<Waiter>, suspect: Suspect) {
        let green = waiter.green().expect("only green threads are registered");
        let judged = green.judged.load(Ordering::Relaxed) & !Green::TOLD;
        if judged != suspect.epoch.short() && self.is_own(green) {
            let is_old = self.is_old(waiter.since.load(Ordering::Relaxed));
            self.has_old |= is_old;
            self.has_new |= !is_old;
        }
        self.suspects.push(suspect);
    }

    /// Whether it is of the runtime that looks, which is there.
    fn is_own(&self, green: &Green) -> bool {
        green.runtime.is_to(self.own.as_ptr())
    }

    /// Whether one who waits since then had done so for long when the look began, as far as that is known.
    fn is_old(&self, since: u64) -> bool {
        let waited = ticks::elapsed_since(since);
        waited.is_none_or(|waited| waited >= self.begin.elapsed() + LONG)
    }

    /// Sees to what deadlocks there are.
    fn judge(&mut self) -> Judged {
        let one = dump::one_at_a_time();
        let found = find(&self.suspects);
        let is_new = |deadlock: &&Deadlock| {
            let last = &deadlock.members[0];
            self.is_own(last.green()) && !deadlock.is_told()
        };
        let new: Vec<_> = found.deadlocks.iter().filter(is_new).collect();
        let breaks =
            |deadlock: &Deadlock| self.what == Deadlocks::Panic && deadlock.victim().is_some();
        let lasting = new.iter().filter(|deadlock| !breaks(deadlock));
        let members = lasting.flat_map(|deadlock| &deadlock.members);
        members.for_each(|member| member.set_judged(true));
        let breaks = new.iter().any(|deadlock| breaks(deadlock));
        let is_incomplete = self.is_incomplete || found.is_incomplete;
        if !breaks && !is_incomplete {
            let is_to_judge =
                |member: &&Member| self.is_own(member.green()) && self.is_old(member.since);
            let others = found.others.iter().filter(is_to_judge);
            others.for_each(|member| member.set_judged(false));
        }
        // To write to standard error may take long.
        drop(one);
        new.iter()
            .for_each(|deadlock| report::see_to(deadlock, self.what));
        match (breaks, is_incomplete) {
            (true, _) => {
                self.has_other_runtimes_look(&found);
                Judged::Again
            }
            (false, true) => Judged::Some,
            (false, false) => Judged::All,
        }
    }

    /// What other runtimes have found out of their threads may have been so because of those who panic now.
    fn has_other_runtimes_look(&self, found: &Found) {
        let _one = dump::one_at_a_time();
        let in_deadlocks = found
            .deadlocks
            .iter()
            .flat_map(|deadlock| &deadlock.members);
        // Some may have ended, and their runtimes with them.
        let runtimes = dump::runtimes();
        for member in in_deadlocks.chain(&found.others) {
            let green = member.green();
            if !self.is_own(green) && !member.is_told() {
                member.set_unjudged();
                let runtime = runtimes
                    .iter()
                    .find(|runtime| green.runtime.is_to(Arc::as_ptr(runtime)));
                runtime
                    .into_iter()
                    .for_each(|runtime| runtime.lookout.somebody_waits());
            }
        }
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use std::fmt;
    use std::sync::mpsc;

    use super::*;
    use crate::run::hold::Held;
    use crate::run::reason::{Needs, Whom, Why};
    use crate::runtime::builder::Builder;
    use crate::wait;

    struct EndOf(Arc<Waiter>);

    impl Why for EndOf {
        fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("its own end")
        }

        fn needs(&self) -> Option<Needs<'_>> {
            Some(Needs(Whom::Thread(&self.0)))
        }
    }

    #[test]
    fn one_that_was_held_is_seen_in_the_next_look() {
        let builder = Builder::new().workers(1).deadlocks(Deadlocks::Panic);
        let runtime = builder.build().unwrap();
        let (sender, receiver) = mpsc::channel();
        let waits_for_itself = runtime.spawn(move || {
            let end = EndOf(receiver.recv().unwrap());
            wait::begin().needs_threads(&end).block(None)
        });
        let waiter = waits_for_itself.thread().waiter();
        sender.send(waiter.clone()).unwrap();
        let held = loop {
            if let Some(epoch) = waiter.word.parked()
                && let Some(held) = Held::take(waiter, epoch)
            {
                break held;
            }
            std::thread::yield_now();
        };
        // For longer than it takes until a runtime looks.
        std::thread::sleep(3 * LONG);
        drop(held);
        waits_for_itself.join().unwrap_err();
        runtime.shutdown();
    }
}
