//! Networking that blocks green threads and not their workers. Mirrors [`std::net`].
//!
//! The types and functions have the names, signatures and errors of their counterparts in std; a
//! program moves over by changing its `use` lines. Where a call of std blocks the OS thread, a call
//! from a green thread parks that green thread until the system says that the socket is ready. The
//! same call on a plain OS thread blocks that OS thread.
//!
//! - One socket can be used by many threads at once, green and not: share it by reference, in an
//!   [`Arc`](std::sync::Arc), or [clone](TcpStream::try_clone) it. Several may wait in
//!   [`TcpListener::accept`] or [`UdpSocket::recv_from`]; each connection, and each datagram, goes to one
//!   of them.
//! - Sockets come from std and go back to it, with their timeouts: `From` is there both ways.
//! - A timeout that passes gives [`ErrorKind::WouldBlock`](std::io::ErrorKind::WouldBlock), as
//!   std's do on Unix.
//! - While a name is looked up, the other green threads go on, and a deadline or a cancellation ends the wait: use this
//!   module's [`ToSocketAddrs`].
//! - The close of a socket with `SO_LINGER` waits for the peer; on a green thread only that one waits. Nothing ends
//!   that: a cancellation or a deadline takes effect after it. Once a socket is converted to std's, its close blocks the
//!   worker.
//! - A socket that has to wait for the first time is registered with its runtime's IO driver. If
//!   the system refuses that, because there are no descriptors left for the driver or too many are
//!   registered, the operation that wanted to wait fails with an error that says so.
//!
//! # Examples
//!
//! An echo server and its client:
//!
//! ```
//! use std::io::{self, Read, Write};
//! use std::time::Duration;
//!
//! use roving::net::{Shutdown, TcpListener, TcpStream};
//! use roving::{go, thread};
//!
//! # fn main() -> io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//!
//! go!(move || {
//!     for stream in listener.incoming() {
//!         let Ok(mut stream) = stream.inspect_err(|error| eprintln!("cannot accept: {error}")) else {
//!             // Perhaps there are no descriptors left: some will be free again.
//!             thread::sleep(Duration::from_millis(50));
//!             continue;
//!         };
//!         go!(move || -> io::Result<()> {
//!             let mut buffer = [0; 1024];
//!             loop {
//!                 match stream.read(&mut buffer)? {
//!                     0 => return Ok(()),
//!                     n => stream.write_all(&buffer[..n])?,
//!                 }
//!             }
//!         });
//!     }
//! });
//!
//! let client = go!(move || -> io::Result<String> {
//!     let mut stream = TcpStream::connect(address)?;
//!     stream.write_all(b"hello")?;
//!     stream.shutdown(Shutdown::Write)?;
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer)?;
//!     Ok(answer)
//! });
//! assert_eq!(client.join().unwrap()?, "hello");
//! # Ok(())
//! # }
//! ```

pub(crate) mod accept;
mod addr;
mod look_up;
pub(crate) mod making;
mod options;
pub(crate) mod receive;
pub(crate) mod socket;
pub(crate) mod stream;
mod tcp;
mod udp;

pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};

pub use self::addr::ToSocketAddrs;
pub use self::options::SocketOptions;
pub use self::tcp::{Incoming, TcpListener, TcpStream};
pub use self::udp::UdpSocket;
pub use crate::ready::Ready;
