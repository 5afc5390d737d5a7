//! TCP.

mod listener;
mod stream;

use crate::net::conversions::conversions;

pub(super) use listener::BACKLOG;
pub use listener::{Incoming, TcpListener};
pub use stream::TcpStream;

conversions!(TcpListener, std::net::TcpListener);
conversions!(TcpStream, std::net::TcpStream);

#[cfg(test)]
mod tests;
