//! What a select does with a channel: it claims, and does or gives back what it has claimed.

use std::time::Instant;

use super::promise::{Claim, Key};
use super::state::Received;
use super::waiter::{Role, Side, Waiter};
use super::{Chan, GRACE};
use crate::wait::{self, Outcome, Ticket};

/// Why an operation is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::channel) enum Impossible {
    /// Since the channel has changed for so many times.
    Since(u64),
    /// Because of a promise that will be kept or given back at any moment.
    Unsettled,
}

impl<T> Chan<T> {
    /// What a select gets that would send or receive now.
    pub(in crate::channel) fn claim(&self, side: Side) -> Result<Claim, Impossible> {
        let mut locked = self.lock();
        if side == Side::Send {
            if locked.state.receivers_gone {
                return Ok(Claim::Disconnected);
            }
            if locked.state.is_rendezvous() {
                if let Some(key) = locked.meet_receiver() {
                    return Ok(Claim::Meeting(key));
                }
            } else if locked.state.has_room() {
                locked.promise_room();
                return Ok(Claim::Room);
            }
        } else {
            match locked.receive() {
                Received::Message(message) => return Ok(Claim::Message(locked.promise(message))),
                Received::Meeting(key) => return Ok(Claim::Meeting(key)),
                Received::Disconnected => return Ok(Claim::Disconnected),
                Received::Nothing => {}
            }
        }
        Err(locked.state.why_impossible(side))
    }

    /// Whether an operation would go on at once.
    pub(in crate::channel) fn look(&self, side: Side) -> Result<(), Impossible> {
        let locked = self.lock();
        if locked.state.is_possible(side, None) {
            Ok(())
        } else {
            Err(locked.state.why_impossible(side))
        }
    }

    /// Whether an operation that was impossible for this reason has not been possible since.
    pub(in crate::channel) fn is_still(&self, why: Impossible) -> bool {
        why == Impossible::Since(self.lock().state.changes)
    }

    /// Waits until a promise of room is kept or given back, if that is why there is none. `false` if
    /// it takes too long.
    pub(in crate::channel) fn settle(&self) -> bool {
        let mut locked = self.lock();
        if !locked.state.is_unsettled() {
            return true;
        }
        let wait = wait::begin();
        let node = Waiter::node(wait.ticket(), Role::Observer, None);
        // SAFETY: `waiting` takes it out before it goes.
        unsafe { locked.push_waiting(Side::Settle, &node) };
        drop(locked);
        let waiting = self.leave_with(&node, Side::Settle);
        let outcome = wait
            .why(&"a select that was told of room")
            .try_block(Some(Instant::now() + GRACE));
        drop(waiting);
        if outcome == Ok(Outcome::TimedOut) {
            self.lock().state.give_up_settling();
        }
        // Who is interrupted has no time, and will be told at its next wait.
        outcome == Ok(Outcome::Fired)
    }

    /// Waits for the message of a meeting, for the one who receives. `true` if it is there; otherwise
    /// the other side has left, or this one has, and the meeting is over.
    ///
    /// The other side is a select that has been told, and it is for its thread to bring the message:
    /// so nothing depends on that it ever does. Nor is this interrupted, as it takes no longer than
    /// [`GRACE`]: if the one who receives left at once, the other would bring its message to nobody, and
    /// have to wait for another.
    pub(in crate::channel) fn meet(&self, key: Key) -> bool {
        let mut deadline = None;
        loop {
            let mut locked = self.lock();
            let mut wait = None;
            let come = locked.has_come(key, || wait.insert(wait::begin_masked()).ticket());
            drop(locked);
            let Some(wait) = wait else {
                return come == Some(true);
            };
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + GRACE);
            if wait
                .why(&"a select that was told of a receiver")
                .try_block(Some(deadline))
                != Ok(Outcome::Fired)
            {
                let message = self.lock().leave_meeting(key);
                debug_assert!(message.is_none(), "a message comes with a ticket");
                return false;
            }
        }
    }

    /// Whether the message of a meeting has come; `None` if the other side has left, and then the meeting
    /// is over. Otherwise the ticket is kept until it comes.
    pub(in crate::channel) fn has_come(
        &self,
        key: Key,
        ticket: impl FnOnce() -> Ticket,
    ) -> Option<bool> {
        self.lock().has_come(key, ticket)
    }

    /// Leaves a meeting, for the one who receives. The message, if it has come.
    pub(in crate::channel) fn leave_meeting(&self, key: Key) -> Option<T> {
        self.lock().leave_meeting(key)
    }

    /// Takes a message that was promised.
    pub(in crate::channel) fn take_promised(&self, key: Key) -> T {
        self.lock().take_promised(key)
    }

    /// Sends a message for which room was promised.
    pub(in crate::channel) fn send_promised(&self, message: T) -> Result<(), T> {
        let mut locked = self.lock();
        locked.end_promise_of_room();
        if locked.state.receivers_gone {
            return Err(message);
        }
        locked.deliver(message);
        // If one who waits has it, the room is another's.
        locked.refill();
        Ok(())
    }

    /// Brings the message of a meeting; gives it back if the one who would receive it has left.
    pub(in crate::channel) fn bring(&self, key: Key, message: T) -> Option<T> {
        self.lock().bring(key, message)
    }

    /// Takes back what a select has claimed and does not use.
    pub(in crate::channel) fn give_back(&self, claim: Claim) {
        let mut locked = self.lock();
        match claim {
            Claim::Message(key) => {
                let message = locked.take_promised(key);
                locked.put_back(message);
            }
            Claim::Meeting(key) => {
                if let Some(message) = locked.leave_meeting(key) {
                    locked.put_back(message);
                }
            }
            Claim::Room => {
                locked.end_promise_of_room();
                locked.refill();
            }
            Claim::Disconnected => {}
        }
    }
}
