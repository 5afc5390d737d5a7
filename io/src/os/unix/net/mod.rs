//! Unix sockets, which block green threads and not their workers. Mirrors [`std::os::unix::net`].
//!
//! All that the module [`net`](crate::net) says of TCP holds here: names, signatures and errors are std's; sockets
//! can be shared, cloned, converted to std's and back, waited for in a select, polled in futures; timeouts and modes are
//! those of the open file description. [`SocketAddr`] is std's, and so are its abstract names
//! (`std::os::linux::net::SocketAddrExt`, also under [`os::linux::net`](crate::os::linux::net)).
//!
//! Some waits have an end that Linux tells only those who block in the call, and none who poll:
//!
//! - A [connect](UnixStream::connect) to a listener whose backlog is full waits until there is room, and so does a
//!   [`send_to`](UnixDatagram::send_to) to a socket whose queue is full. A green thread tries again: after others have run, and then after
//!   pauses of 50 microseconds to 10 milliseconds, longer where hundreds wait. Connect a datagram socket for which that matters, and
//!   [`send`](UnixDatagram::send): its room is told at once.
//! - A write to a stream without room waits until the peer reads. That the peer has shut down its reading is noticed within half a
//!   second by green and plain threads that write, also where the stream is an end of a pipe, a standard stream, the target of a
//!   [`splice`](crate::io::splice) or [`Watched`](crate::io::Watched); and by futures, and who only waits for room, when the peer reads or
//!   closes. The same goes for a [`shutdown`](UnixStream::shutdown) of writing by another process or by a clone; one by the same value
//!   is told at once.
//!
//! # Examples
//!
//! ```
//! use std::io::{self, Read, Write};
//!
//! use roving::go;
//! use roving::os::unix::net::{UnixListener, UnixStream};
//!
//! # fn main() -> io::Result<()> {
//! let path = std::env::temp_dir().join(format!("greeter-{}", std::process::id()));
//! let listener = UnixListener::bind(&path)?;
//! let greeter = go!(move || -> io::Result<()> {
//!     let (mut stream, _) = listener.accept()?;
//!     let mut name = String::new();
//!     stream.read_to_string(&mut name)?;
//!     write!(stream, "hello, {name}")
//! });
//!
//! let mut stream = UnixStream::connect(&path)?;
//! stream.write_all(b"world")?;
//! stream.shutdown(std::net::Shutdown::Write)?;
//! assert_eq!(io::read_to_string(stream)?, "hello, world");
//! greeter.join().unwrap()?;
//! std::fs::remove_file(path)
//! # }
//! ```

mod datagram;
#[cfg(target_os = "linux")]
mod descriptors;
mod listener;
mod stream;

use std::io;
use std::os::fd::OwnedFd;
pub use std::os::unix::net::SocketAddr;

use rustix::net::{AddressFamily, SocketType};

pub use self::datagram::UnixDatagram;
pub use self::listener::{Incoming, UnixListener};
pub use self::stream::UnixStream;
use crate::conversions::{conversions, from_raw_fd};
use crate::net::making::{self, Mode};
use crate::net::stream::read_and_write;

conversions!(UnixDatagram, std::os::unix::net::UnixDatagram);
conversions!(UnixListener, std::os::unix::net::UnixListener);
conversions!(UnixStream, std::os::unix::net::UnixStream);
from_raw_fd!(UnixDatagram);
from_raw_fd!(UnixListener);
from_raw_fd!(UnixStream);
read_and_write!(UnixStream);

fn open(kind: SocketType, mode: Mode) -> io::Result<OwnedFd> {
    Ok(making::socket(AddressFamily::UNIX, kind, mode)?)
}

/// Opens two that are connected.
fn open_pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(making::pair(AddressFamily::UNIX, kind)?)
}
