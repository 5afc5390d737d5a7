//! The green-thread server: `roving::net` and `roving::thread`.

use super::Kind;
use roving::net::{TcpListener, TcpStream};
use roving::thread;
use std::io;
use std::net::SocketAddr;

/// Green threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Roving {
    stack_size: usize,
}

impl Roving {
    /// Configures the global runtime.
    pub(super) fn start(workers: usize, stack_size: usize) -> io::Result<Roving> {
        roving::Builder::new()
            .workers(workers)
            .stack_size(stack_size)
            .build_global()?;
        Ok(Roving { stack_size })
    }
}

impl Kind for Roving {
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
        roving::go!(accept_loop);
        Ok(())
    }

    fn spawn_connection(self, connection: impl FnOnce() + Send + 'static) -> io::Result<()> {
        // What `go!(stack_size = ..)` does, but with an error in place of a panic.
        thread::Builder::new()
            .stack_size(self.stack_size)
            .spawn(connection)
            .map(drop)
    }
}
