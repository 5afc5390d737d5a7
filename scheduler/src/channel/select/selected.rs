//! [`SelectedOperation`].

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ptr;

use super::operation::{Arm, Claimed};
use crate::channel::core::Claim;
use crate::channel::receiver::Source;
use crate::channel::{Receiver, RecvError, SendError, Sender};

/// An operation that was selected and must now be done, with the end of the channel that was given
/// for it.
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
    /// The index that the operation has.
    pub fn index(&self) -> usize {
        self.arm.index
    }

    /// Sends the message.
    ///
    /// # Errors
    ///
    /// The receivers are gone.
    ///
    /// # Panics
    ///
    /// Panics if another operation was selected.
    pub fn send<T>(self, sender: &Sender<T>, message: T) -> Result<(), SendError<T>> {
        assert!(
            ptr::from_ref(sender).cast() == self.arm.address,
            "passed a sender that wasn't selected"
        );
        let claimed = self.finish();
        match claimed {
            Claimed::Channel(Claim::Promise) => {
                sender.chan.send_promised(message).map_err(SendError)
            }
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
    pub fn recv<T>(self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        assert!(
            ptr::from_ref(receiver).cast() == self.arm.address,
            "passed a receiver that wasn't selected"
        );
        let claimed = self.finish();
        match (&receiver.source, claimed) {
            (Source::Chan(chan), Claimed::Channel(Claim::Promise)) => match chan.await_promised() {
                Some(message) => Ok(message),
                None => receiver.recv(),
            },
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
