//! The algorithm: waiting for several operations at once, of which one is done.
//!
//! 1. Try the operations, from a random one on: what is possible is claimed.
//! 2. Let others run once, and try again.
//! 3. Begin a wait, and register one ticket of it with all of them.
//! 4. Block. Whoever completes an operation gives a promise and fires the ticket; only one can.
//! 5. Take back all registrations. The one that has a promise is the operation that was selected;
//!    if none has, one of them may have become possible otherwise: go to 1.
//!
//! The registrations are taken back also when the wait unwinds, so losers leave nothing behind.

use std::cell::Cell;
use std::mem;
use std::time::Instant;

use super::Select;
use super::operation::{Arm, Claimed, Operation};
use crate::channel::core::Role;
use crate::thread;
use crate::wait;

/// How long a select waits.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    Now,
    Until(Option<Instant>),
    Never,
}

impl<'a> Select<'a> {
    pub(super) fn wait(
        &mut self,
        limit: Limit,
        role: Role,
        attempt: impl Fn(&dyn Operation) -> Option<Claimed>,
    ) -> Option<(Arm<'a>, Claimed)> {
        let mut timed_out = matches!(limit, Limit::Now);
        let mut has_yielded = false;
        loop {
            if !self.biased {
                shuffle(&mut self.arms);
            }
            for arm in &self.arms {
                if let Some(claimed) = attempt(arm.handle.operation()) {
                    return Some((*arm, claimed));
                }
            }
            if timed_out {
                thread::polled_in_vain();
                return None;
            }
            // To register with all is dear, and those who run meanwhile often bring something.
            if !mem::replace(&mut has_yielded, true) {
                thread::let_others_run();
                continue;
            }
            let wait = wait::begin();
            let mut registered = Vec::with_capacity(self.arms.len());
            let mut is_possible = false;
            for arm in &self.arms {
                match arm.handle.operation().register(wait.ticket(), role) {
                    Some(registration) => registered.push((arm, registration)),
                    None => {
                        is_possible = true;
                        break;
                    }
                }
            }
            // What was asked may have blocked, and begun a wait in this one.
            if is_possible || wait.is_overtaken() {
                drop(wait);
            } else {
                let due = self
                    .arms
                    .iter()
                    .filter_map(|arm| arm.handle.operation().due());
                let due = due.min();
                match limit {
                    Limit::Until(Some(deadline)) if due.is_none_or(|due| deadline <= due) => {
                        timed_out = wait.block_timed(Some(deadline)) == wait::Outcome::TimedOut;
                    }
                    Limit::Until(None) if due.is_none() => {
                        timed_out = wait.block_timed(None) == wait::Outcome::TimedOut;
                    }
                    _ => {
                        wait.block(due);
                    }
                }
            }
            let mut selected = None;
            for (arm, registration) in registered {
                if let Some(claimed) = registration.end() {
                    selected = Some((*arm, claimed));
                }
            }
            if selected.is_some() {
                return selected;
            }
        }
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
