//! Blocking until a future is ready.
//!
//! A call has a [`Signal`], which is what its wakers are: a park token of its own, and the thread that
//! waits for it. The token is taken before each wait, so that a wake-up which comes while the future is
//! polled is not lost, any number of them are one, and one that comes late ends nobody else's wait. A
//! call within a call, in the poll of the outer one's future, has another signal: neither takes what
//! is meant for the other.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::protocol::token::Token;
use crate::protocol::word::{By, Fire};
use crate::run::context;
use crate::run::green::Waiter;
use crate::thread;
use crate::wait::{self, Why};

/// Blocks the current thread, green or not, until `future` is ready, and returns its value.
///
/// The future is polled here, on the current thread, and need not be `Send` or `'static`. While it is
/// pending a green thread is parked and its worker runs others; the future may be woken from any
/// thread. If a future wakes itself while it is polled, others run before it is polled again.
///
/// The future may block as any code may: that blocks only this thread. It may call
/// `block_on` again.
///
/// Futures that need the runtime of another library, such as tokio's sockets, need it here too.
///
/// # Panics
///
/// A panic of the future propagates to the caller. If the thread is cancelled, or a
/// [deadline](crate::deadline()) that it is subject to comes, it unwinds, and drops the future, whose
/// destructor may block.
///
/// # Examples
///
/// ```
/// use roving::{block_on, go};
///
/// async fn sum(of: &[u32]) -> u32 {
///     of.iter().sum()
/// }
///
/// let numbers = [1, 2, 3];
/// assert_eq!(block_on(sum(&numbers)), 6);
/// let on_a_green_thread = go!(|| block_on(async { "green" }));
/// assert_eq!(on_a_green_thread.join().unwrap(), "green");
/// ```
#[track_caller]
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    let signal = Arc::new(Signal::of_current());
    let waker = Waker::from(signal.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => signal.wait(),
        }
    }
}

/// See the [module](self).
struct Signal {
    token: Token,
    waiter: Arc<Waiter>,
}

impl Signal {
    fn of_current() -> Self {
        Self {
            token: Token::new(),
            waiter: context::current(),
        }
    }

    /// Blocks the thread, which is the current one, until it has been woken since it was last.
    #[track_caller]
    fn wait(self: &Arc<Self>) {
        let wait = wait::begin();
        let epoch = wait.epoch();
        if self.token.wait_for(epoch) {
            match wait.why(&Woken(self)).try_block(None) {
                Ok(_) => self.token.take(),
                Err(interrupt) => {
                    self.token.give_up(epoch);
                    interrupt.unwind();
                }
            }
        } else {
            drop(wait);
            thread::yield_now();
        }
    }
}

/// Why one waits: for a waker to be called.
struct Woken<'a>(&'a Arc<Signal>);

impl Woken<'_> {
    /// The references of [`block_on`] to its signal: the signal and its waker.
    const OWN: usize = 2;
}

impl Why for Woken<'_> {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.in_short())
    }

    fn in_short(&self) -> &'static str {
        "block_on of a future"
    }

    fn own_references(&self) -> Option<usize> {
        // If nobody has a waker, the signal's reference is of no use.
        (Arc::strong_count(self.0) == Self::OWN).then_some(1)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(epoch) = self.token.unpark()
            && self.waiter.fire(epoch, By::Ticket) == Fire::Parked
        {
            self.waiter.run_again();
        }
    }
}
