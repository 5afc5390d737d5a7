//! [`SelectedOperation`].

use std::fmt;
use std::marker::PhantomData;
use std::mem;

use super::operation::{Arm, Claimed, Operation};
use crate::channel::core::Claim;
use crate::channel::receiver::Source;
use crate::channel::{Receiver, RecvError, SendError, Sender};

/// An operation that was selected and must now be done, with the end of the channel that was given
/// for it.
///
/// A message that is received is out of the channel already. One that is sent is not in it before
/// [`send`](Self::send), and until then others may wait for it for 100 ms: those that it would meet
/// without capacity, and those that would be told that there is no room.
///
/// # Panics
///
/// Dropping it instead panics, and gives back what was promised.
#[must_use = "the operation that was selected must be done"]
pub struct SelectedOperation<'a> {
    pub(super) arm: Arm<'a>,
    pub(super) claimed: Claimed,
    pub(super) _operation: PhantomData<&'a ()>,
}

impl SelectedOperation<'_> {
    /// Returns the index that the operation has.
    pub fn index(&self) -> usize {
        self.arm.index
    }

    /// Sends the message. It blocks only if the one who would have received it without capacity has
    /// waited for too long: then until another receives it.
    ///
    /// # Errors
    ///
    /// The receivers are gone.
    ///
    /// # Panics
    ///
    /// Panics if another operation was selected.
    #[track_caller]
    pub fn send<T>(self, sender: &Sender<T>, message: T) -> Result<(), SendError<T>> {
        assert!(
            self.arm.handle.operation().end() == sender.end(),
            "passed a sender that wasn't selected"
        );
        match self.finish() {
            Claimed::Channel(Claim::Room) => sender.chan.send_promised(message).map_err(SendError),
            Claimed::Channel(Claim::Meeting(key)) => match sender.chan.bring(key, message) {
                None => Ok(()),
                Some(back) => sender.send(back),
            },
            _ => Err(SendError(message)),
        }
    }

    /// Receives the message.
    ///
    /// # Errors
    ///
    /// The senders are gone.
    ///
    /// # Panics
    ///
    /// Panics if another operation was selected.
    #[track_caller]
    pub fn recv<T>(self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        assert!(
            self.arm.handle.operation().end() == receiver.end(),
            "passed a receiver that wasn't selected"
        );
        match (&receiver.source, self.finish()) {
            (Source::Chan(chan), Claimed::Channel(Claim::Message(key))) => {
                Ok(chan.take_promised(key))
            }
            (Source::Clock(clock), Claimed::Time(time)) => Ok(clock.message(time)),
            _ => Err(RecvError),
        }
    }

    /// Goes on with what is ready.
    pub fn done(self) {
        self.finish();
    }

    fn finish(self) -> Claimed {
        let claimed = self.claimed;
        mem::forget(self);
        claimed
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        self.arm.handle.operation().give_back(self.claimed);
        if self.claimed != Claimed::Ready && !std::thread::panicking() {
            panic!("dropped `SelectedOperation` without completing the operation");
        }
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SelectedOperation { .. }")
    }
}
