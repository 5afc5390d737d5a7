//! The algorithm: waiting for several operations at once, of which one is done.
//!
//! 1. Try the operations, from a random one on: what is possible is claimed.
//! 2. Let others run once, and try again.
//! 3. Begin a wait, and register one ticket of it with all of them.
//! 4. Block. Whoever makes an operation possible gives a claim, or lets this one look again, and
//!    fires the ticket; only one can.
//! 5. Take back all registrations. The one that has a claim is the operation that was selected; if
//!    none has, one of them may have become possible otherwise: go to 1.
//!
//! The registrations are taken back also when the wait unwinds, so losers leave nothing behind.
//!
//! # Finding nothing
//!
//! A select says that no operation was possible only if there was a moment at which none was. One
//! that times out in step 4 has had such a moment, since each operation would have fired its ticket;
//! unless one is impossible only because of a promise to another select, which nobody knows yet to be
//! kept: then it waits until that is settled, and goes on as one that does not wait. Such a one
//! has looked at its operations one after the other, so it makes sure:
//!
//! - Channels count what happens in them, and clocks have one next time: if nothing has happened to
//!   any of them when all have been looked at, that was the moment. Otherwise it looks again, and
//!   somebody else has done something meanwhile.
//! - A [`Selectable`](crate::channel::Selectable) can be asked, which does not tell what happens
//!   between two questions. So a ticket is registered with all, as in step 3: if nobody has fired it
//!   when the last one has it, and nothing has happened to the channels since they were looked at, that was
//!   the moment. (What happens may be a promise to another, which fires nobody's ticket.) Who has found
//!   no such moment in some rounds goes by the ticket alone.

use std::cell::Cell;
use std::fmt;
use std::mem;
use std::time::Instant;

use super::Select;
use super::operation::{Arm, Claimed, Operation, Unready};
use crate::channel::core::{Impossible, Role};
use crate::thread;
use crate::wait::{self, Why};

/// So many rounds in a row a select goes on at once, if something that is not ready may be.
const ROUNDS: u32 = 16;

/// How long a select waits.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    Now,
    Until(Option<Instant>),
    Never,
}

impl Limit {
    fn is_now(self) -> bool {
        match self {
            Self::Now => true,
            Self::Until(deadline) => deadline.is_some_and(|deadline| deadline <= Instant::now()),
            Self::Never => false,
        }
    }
}

/// Why the first few operations are not possible.
struct Reasons([Unready; Self::NOTED]);

impl Reasons {
    const NOTED: usize = 8;

    fn note(&mut self, place: usize, why: Unready) {
        if let Some(reason) = self.0.get_mut(place) {
            *reason = why;
        }
    }
}

impl Default for Reasons {
    fn default() -> Self {
        Self([Unready::Asked; Self::NOTED])
    }
}

/// Whether there was a moment at which no operation was possible, after none was found that is.
enum Nothing {
    AtOneMoment,
    /// Something has happened since the first look.
    Perhaps,
    /// This operation is not possible because of what will be over at any moment.
    Unsettled(usize),
    /// It cannot be known from looking.
    Unknown,
}

impl<'a> Select<'a> {
    pub(super) fn wait(
        &mut self,
        limit: Limit,
        role: Role,
        attempt: impl Fn(&dyn Operation) -> Result<Claimed, Unready>,
    ) -> Option<(Arm<'a>, Claimed)> {
        let mut is_over = false;
        let mut has_timed_out = false;
        let mut rounds_for_nothing = 0;
        // Only one that does not wait, or not any more, asks for them.
        let mut reasons = limit.is_now().then(Reasons::default);
        let mut has_yielded = reasons.is_some();
        loop {
            if !self.biased {
                shuffle(&mut self.arms);
            }
            if let Some((arm, claimed)) = self.try_each(&attempt, reasons.as_mut()) {
                match arm.handle.operation().complete(claimed) {
                    Some(claimed) => return Some((arm, claimed)),
                    None => continue,
                }
            }
            if let Some(reasons) = &reasons
                && !is_over
            {
                match self.nothing(reasons) {
                    Nothing::Unsettled(place) => {
                        has_timed_out = false;
                        if self.arms[place].handle.operation().settle() {
                            continue;
                        }
                        is_over = true;
                    }
                    // The moment was when its time was over.
                    _ if has_timed_out => is_over = true,
                    Nothing::AtOneMoment => is_over = true,
                    Nothing::Perhaps => continue,
                    Nothing::Unknown => {}
                }
            }
            if is_over {
                thread::polled_in_vain();
                return None;
            }
            // To register with all is dear, and those who run meanwhile often bring something.
            if !mem::replace(&mut has_yielded, true) {
                thread::let_others_run();
                continue;
            }
            // One that does not block is not interrupted either.
            let wait = if reasons.is_some() {
                wait::begin_masked()
            } else {
                wait::begin()
            };
            let mut registered = Vec::with_capacity(self.arms.len());
            let mut may_be_ready = false;
            for arm in &self.arms {
                match arm.handle.operation().register(wait.ticket(), role) {
                    Some(registration) => registered.push((arm, registration)),
                    None => {
                        may_be_ready = true;
                        break;
                    }
                }
            }
            if may_be_ready {
                drop(wait);
            } else if let Some(reasons) = &reasons {
                let was_still = || rounds_for_nothing >= ROUNDS || self.is_still(reasons);
                // What was asked may have blocked, and then there is no such moment to be had.
                is_over = wait.is_overtaken() || !wait.is_fired() && was_still();
                may_be_ready = !is_over;
                drop(wait);
            } else if wait.is_overtaken() {
                drop(wait);
            } else if self.block(wait, limit) {
                has_timed_out = true;
                reasons = Some(Reasons::default());
            }
            let mut selected = None;
            for (arm, registration) in registered {
                if let Some(claimed) = registration.end() {
                    selected = Some((*arm, claimed));
                }
            }
            if let Some((arm, claimed)) = selected
                && let Some(claimed) = arm.handle.operation().complete(claimed)
            {
                return Some((arm, claimed));
            }
            // What cannot be waited for and says that it may be ready is asked again and again.
            rounds_for_nothing = if may_be_ready {
                rounds_for_nothing + 1
            } else {
                0
            };
            if rounds_for_nothing > ROUNDS {
                wait::cancellation_point();
                thread::let_others_run();
                is_over = limit.is_now();
            }
        }
    }

    /// Steps 1 and 2: the first operation that can be claimed. Of the others it may be noted why not.
    fn try_each(
        &self,
        attempt: &impl Fn(&dyn Operation) -> Result<Claimed, Unready>,
        mut reasons: Option<&mut Reasons>,
    ) -> Option<(Arm<'a>, Claimed)> {
        for (place, arm) in self.arms.iter().enumerate() {
            match attempt(arm.handle.operation()) {
                Ok(claimed) => return Some((*arm, claimed)),
                Err(why) => {
                    if let Some(reasons) = &mut reasons {
                        reasons.note(place, why);
                    }
                }
            }
        }
        None
    }

    /// What it means that `try_each` has found nothing.
    fn nothing(&self, reasons: &Reasons) -> Nothing {
        let reasons = &reasons.0[..self.arms.len().min(Reasons::NOTED)];
        let unsettled = Unready::Channel(Impossible::Unsettled);
        if let Some(place) = reasons.iter().position(|why| *why == unsettled) {
            return Nothing::Unsettled(place);
        }
        if self.arms.len() < 2 {
            return Nothing::AtOneMoment;
        }
        if self.arms.len() > reasons.len() || reasons.contains(&Unready::Asked) {
            return Nothing::Unknown;
        }
        // The moment is when the last one was looked at.
        let mut before = self.arms.iter().zip(reasons).rev().skip(1);
        if before.all(|(arm, why)| arm.handle.operation().is_still(*why)) {
            Nothing::AtOneMoment
        } else {
            Nothing::Perhaps
        }
    }

    /// Whether nothing has happened to the channels and clocks since they were looked at.
    fn is_still(&self, reasons: &Reasons) -> bool {
        let mut arms = self.arms.iter().zip(&reasons.0);
        arms.all(|(arm, why)| *why == Unready::Asked || arm.handle.operation().is_still(*why))
    }

    /// Step 4: `true` if the time is over.
    fn block(&self, wait: wait::Wait<'_>, limit: Limit) -> bool {
        let dues = self.arms.iter().map(|arm| arm.handle.operation().due());
        let due = dues.flatten().min();
        let why = ArmsOf(self.arms.len());
        let wait = wait.why(&why);
        let outcome = match limit {
            Limit::Until(Some(deadline)) if due.is_none_or(|due| deadline <= due) => {
                wait.block_timed(Some(deadline))
            }
            Limit::Until(None) if due.is_none() => wait.block_timed(None),
            _ => {
                wait.block(due);
                return false;
            }
        };
        outcome == wait::Outcome::TimedOut
    }
}

/// Why one waits. Debuggers read it.
#[repr(C)]
struct ArmsOf(usize);

impl Why for ArmsOf {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "select over {} operations", self.0)
    }

    fn in_short(&self) -> &'static str {
        "select"
    }
}

/// Puts arms into a random order (Fisher and Yates).
fn shuffle(arms: &mut [Arm<'_>]) {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0) };
    }
    if arms.len() < 2 {
        return;
    }
    let mut x = STATE.get();
    if x == 0 {
        x = 0x9e37_79b9_7f4a_7c15 ^ arms.as_ptr().addr() as u64;
    }
    for place in (1..arms.len()).rev() {
        // Marsaglia's xorshift64.
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        arms.swap(place, (x % (place as u64 + 1)) as usize);
    }
    STATE.set(x);
}
