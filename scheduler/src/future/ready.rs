//! Waiting in a future for whatever a select can wait for.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::wait::polled::Polled;
use crate::wait::selectable::{Registration, Selectable};

/// So many rounds in a row it goes on at once, if what is not ready may be.
const ROUNDS: u32 = 16;

/// Waits until a [`Selectable`] is ready: see [`ready_async`].
#[must_use = "futures do nothing unless they are polled"]
pub struct Ready<'a, S: ?Sized> {
    selectable: &'a S,
    /// Of the wait that has begun.
    registration: Option<Registration<'a>>,
    polled: Polled,
}

/// Waits until `selectable` is ready, as a select does: in a future, in any executor.
///
/// Dropping it leaves nothing behind.
///
/// # Errors
///
/// Those of the selectable.
///
/// # Examples
///
/// ```
/// use roving::channel::ready_async;
/// use roving::{CancelToken, block_on, thread};
///
/// let token = CancelToken::new();
/// let cancels = token.clone();
/// thread::spawn(move || cancels.cancel());
/// block_on(ready_async(&token)).unwrap();
/// assert!(token.is_cancelled());
/// ```
pub fn ready_async<S: Selectable + ?Sized>(selectable: &S) -> Ready<'_, S> {
    Ready {
        selectable,
        registration: None,
        polled: Polled::default(),
    }
}

impl<S: Selectable + ?Sized> Future for Ready<'_, S> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        for _ in 0..ROUNDS {
            if this.registration.is_some() {
                ready!(this.polled.poll(context));
                this.registration = None;
            }
            if this.selectable.is_ready()? {
                return Poll::Ready(Ok(()));
            }
            this.registration = this.selectable.watch(this.polled.begin())?;
        }
        // What makes it ready may be for another task of the executor to do.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: ?Sized> fmt::Debug for Ready<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Ready { .. }")
    }
}
