//! Futures on threads that block: [`block_on`].
//!
//! A future is polled by the thread that wants its value, green or not, and where it is pending that
//! thread blocks through the [one door](crate::wait) as in any other operation. So a future needs
//! nothing but somebody who wakes it.

mod block_on;

pub use block_on::block_on;
