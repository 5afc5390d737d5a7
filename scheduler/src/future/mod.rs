//! Futures on threads that block, and what blocks as a future.
//!
//! [`block_on()`] polls a future on the thread that wants its value, green or not. Where it is pending that
//! thread blocks through the [one door](crate::wait) as in any other operation. So a future needs
//! nothing but somebody who wakes it.
//!
//! The other way round, most of what blocks has a future by the same name with `_async` at its end, and
//! a [`JoinHandle`](crate::thread::JoinHandle) can be awaited as it is. They wait by the same
//! [door](crate::wait) too, with the waker of whoever polls them, and work in any executor. Dropping one
//! leaves nothing behind, and loses nothing that it had been given.

mod block_on;
mod greenly;
#[cfg(all(test, roving_loom))]
mod models;
mod on_warm_stack;
mod ready;
mod selectable;
mod sleep;

pub use block_on::block_on;
pub use greenly::{Greenly, await_, greenly};
pub use on_warm_stack::{OnWarmStack, on_warm_stack};
pub use ready::{Ready, ready_async};
pub use selectable::SelectFuture;
pub use sleep::{Sleep, sleep_async, sleep_until_async};
