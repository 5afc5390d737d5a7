//! Channels, as `crossbeam-channel` has them, for green threads and OS threads alike.
//!
//! [`bounded`] and [`unbounded`] make a channel with a [`Sender`] and a [`Receiver`], both of which
//! can be cloned; a channel of capacity 0 hands messages from thread to thread. [`select!`] and
//! [`Select`] wait for several operations at once. The clock is a channel too: [`after`], [`at`],
//! [`tick`] and, for what never happens, [`never()`].
//!
//! When the senders are gone, receivers get what is left and then an error; when the receivers are
//! gone, senders get their message back. A message that is being sent by a thread that is cancelled
//! is dropped, or has arrived.
//!
//! # Examples
//!
//! ```
//! use roving::channel::bounded;
//! use roving::thread;
//!
//! let (sender, receiver) = bounded(10);
//! for factor in 0..3 {
//!     let sender = sender.clone();
//!     thread::spawn(move || (0..100).for_each(|n| sender.send(factor * n).unwrap()));
//! }
//! drop(sender);
//! assert_eq!(receiver.iter().sum::<u32>(), 3 * 4950);
//! ```

// The floor of what users call. It may use all floors below, and `thread` beside it. `core` is the queue
// under a lock that every flavour is made of; `sender`, `receiver` and `timer` are its ends; `select` waits
// for several. A message is at any time in one place: with its sender, in the queue, or with its receiver.

mod core;
mod error;
mod future;
mod macros;
#[cfg(all(test, roving_loom))]
mod models;
mod receiver;
mod select;
mod sender;
mod timer;

use std::sync::Arc;

use self::core::Chan;

pub use crate::future::{Ready, SelectFuture, ready_async};
pub use crate::wait::Ticket;
pub use crate::wait::selectable::{Registration, Selectable, Watchers};
pub use crate::{select, select_biased};
pub use error::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError,
    SendTimeoutError, TryReadyError, TryRecvError, TrySelectError, TrySendError,
};
pub use future::{RecvFuture, SendFuture};
pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use select::{Select, SelectedOperation};
pub use sender::Sender;
pub use timer::{after, at, never, tick};

/// Creates a channel that holds any number of messages: sending never blocks.
///
/// # Examples
///
/// ```
/// use roving::channel::unbounded;
///
/// let (sender, receiver) = unbounded();
/// sender.send(1).unwrap();
/// drop(sender);
/// assert_eq!(receiver.recv(), Ok(1));
/// assert!(receiver.recv().is_err());
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    channel(None)
}

/// Creates a channel that holds `capacity` messages. With 0 each message is handed from sender to receiver, which
/// wait for each other.
///
/// # Examples
///
/// ```
/// use roving::channel::{TrySendError, bounded};
///
/// let (sender, receiver) = bounded(1);
/// sender.send('a').unwrap();
/// assert_eq!(sender.try_send('b'), Err(TrySendError::Full('b')));
/// assert_eq!(receiver.recv(), Ok('a'));
/// ```
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    channel(Some(capacity))
}

fn channel<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let chan = Arc::new(Chan::new(capacity));
    let sender = Sender { chan: chan.clone() };
    (sender, Receiver::of_chan(chan))
}
