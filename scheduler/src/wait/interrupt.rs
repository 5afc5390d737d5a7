//! What ends a wait before what was waited for has come, and how a thread learns of it.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic;

use crate::run::ambient::FrameId;
use crate::run::context;

/// Whether a thread that unwinds with `payload` does so because it was interrupted.
pub(crate) fn is_interrupt(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Cancelled>() || payload.is::<DeadlineElapsed>()
}

/// Whether the current thread, which unwinds with `payload` or has, does so because it was interrupted
/// itself. An interrupt of another thread that is thrown on is a panic like any other.
pub(crate) fn interrupts_current(payload: &(dyn Any + Send)) -> bool {
    let cancelled = payload.downcast_ref().map(|Cancelled { frame }| *frame);
    let elapsed = payload
        .downcast_ref()
        .map(|DeadlineElapsed { frame }| *frame);
    cancelled
        .or(elapsed)
        .is_some_and(|frame| context::with_current(|current| current.ambient.is_subject_to(frame)))
}

/// Why a wait ended before what was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// The thread, or what it is doing, has been cancelled.
    Cancelled(Cancelled),
    /// A [deadline](crate::deadline()) that the thread is subject to has come.
    Deadline(DeadlineElapsed),
    /// The thread has waited for others that wait for it, and is to [panic](crate::Deadlocks::Panic).
    Deadlock,
}

impl Interrupt {
    /// Unwinds the current thread, without the panic hook unless it is for a deadlock.
    #[track_caller]
    pub fn unwind(self) -> ! {
        match self {
            Self::Cancelled(cancelled) => panic::resume_unwind(Box::new(cancelled)),
            Self::Deadline(elapsed) => panic::resume_unwind(Box::new(elapsed)),
            Self::Deadlock => panic!("deadlock: this thread waits for others that wait for it"),
        }
    }

    /// The error for an operation that has one to give:
    /// [`TimedOut`](io::ErrorKind::TimedOut) with a [`DeadlineElapsed`] in it, or
    /// [`Other`](io::ErrorKind::Other) with a [`Cancelled`], or [`Deadlock`](io::ErrorKind::Deadlock). It is no
    /// [`Interrupted`](io::ErrorKind::Interrupted), after which callers try again.
    ///
    /// # Panics
    ///
    /// Unwinds the current thread if it has had such an error for the same reason before, so that
    /// a loop which ignores errors ends.
    #[track_caller]
    pub fn into_error(self) -> io::Error {
        if !self.tell() && cfg!(panic = "unwind") {
            self.unwind();
        }
        match self {
            Self::Cancelled(cancelled) => io::Error::other(cancelled),
            Self::Deadline(elapsed) => io::Error::new(io::ErrorKind::TimedOut, elapsed),
            Self::Deadlock => io::ErrorKind::Deadlock.into(),
        }
    }

    /// Whether it is a deadline, and the current thread is now told of it by an error for the first
    /// time.
    pub(crate) fn is_told_timeout(self) -> bool {
        matches!(self, Self::Deadline(_)) && self.tell()
    }

    /// Notes that the current thread is told by an error. `false` if it has been before.
    fn tell(self) -> bool {
        let frame = match self {
            Self::Cancelled(cancelled) => cancelled.frame,
            Self::Deadline(elapsed) => elapsed.frame,
            Self::Deadlock => return true,
        };
        context::current().ambient.tell(frame)
    }
}

/// A thread was cancelled: the payload with which it unwinds, and the error that joining it returns.
///
/// [`JoinHandle::cancel`](crate::thread::JoinHandle::cancel), a
/// [`CancelToken`](crate::CancelToken), a [`Group`](crate::Group) and the shutdown of a runtime
/// cancel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cancelled {
    /// What was cancelled.
    pub(crate) frame: FrameId,
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancelled")
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the green thread was cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// A [`deadline()`](crate::deadline()) came while the thread was blocked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DeadlineElapsed {
    /// Which deadline.
    pub(crate) frame: FrameId,
}

impl fmt::Debug for DeadlineElapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeadlineElapsed")
    }
}

impl fmt::Display for DeadlineElapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline came while the thread was blocked")
    }
}

impl std::error::Error for DeadlineElapsed {}
