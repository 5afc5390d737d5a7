//! TCP.

mod listener;
mod stream;

pub(super) use listener::BACKLOG;
pub use listener::{Incoming, TcpListener};
pub use stream::TcpStream;

use crate::conversions::{conversions, from_raw_fd};
use crate::net::stream::read_and_write;

conversions!(TcpListener, std::net::TcpListener);
conversions!(TcpStream, std::net::TcpStream);
from_raw_fd!(TcpListener);
from_raw_fd!(TcpStream);
read_and_write!(TcpStream);

#[cfg(test)]
mod tests;
