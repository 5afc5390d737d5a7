//! The thread-per-connection server: `std::net` and `std::thread`.

use super::Kind;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// OS threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Threads {
    /// Bytes of stack of each.
    pub(super) stack_size: usize,
}

impl Kind for Threads {
    type Listener = TcpListener;
    type Stream = TcpStream;

    fn listen(self, address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(address)
    }

    fn address(self, listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    fn accept(self, listener: &TcpListener) -> io::Result<TcpStream> {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn spawn_accept_loop(self, accept_loop: impl FnOnce() + Send + 'static) -> io::Result<()> {
        thread::Builder::new().spawn(accept_loop).map(drop)
    }

    fn spawn_connection(self, connection: impl FnOnce() + Send + 'static) -> io::Result<()> {
        thread::Builder::new()
            .stack_size(self.stack_size)
            .spawn(connection)
            .map(drop)
    }
}
