//! TCP.

mod listener;
mod stream;

pub(super) use listener::BACKLOG;
pub use listener::{Incoming, TcpListener};
pub use stream::TcpStream;

use crate::net::conversions::conversions;
use crate::net::stream::read_and_write;

conversions!(TcpListener, std::net::TcpListener);
conversions!(TcpStream, std::net::TcpStream);
read_and_write!(TcpStream);

#[cfg(test)]
mod tests;
