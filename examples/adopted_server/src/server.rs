//! A server with a thread for each of its connections.

use std::io::{self, BufReader, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::http::{self, Answer, Request};

/// Bytes of the stack of a thread: where there may be many, they are small.
const STACK_SIZE: usize = 128 << 10;
/// Bytes that are received at once.
const BUFFER: usize = 512;

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

pub(crate) struct Server {
    handler: Box<Handler>,
    open: AtomicU64,
}

impl Server {
    /// Each request is answered with what `handler` gives.
    pub(crate) fn new(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            handler: Box::new(handler),
            open: AtomicU64::new(0),
        })
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Serves until no connection can be accepted, or given a thread, and gives the reason.
    pub(crate) fn serve(self: &Arc<Self>, listener: &TcpListener) -> io::Error {
        loop {
            let served = listener.accept().and_then(|(stream, _)| self.begin(stream));
            match served {
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return error,
                Ok(()) => {}
            }
        }
    }

    fn begin(self: &Arc<Self>, stream: TcpStream) -> io::Result<()> {
        let open = Open::of(self);
        let thread = thread::Builder::new().stack_size(STACK_SIZE);
        let serves = move || {
            // Who goes in the middle of a request has no answer.
            let _ = open.0.converse(&stream);
        };
        thread.spawn(serves).map(drop)
    }

    fn converse(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::with_capacity(BUFFER, stream);
        while let Some(request) = http::read(&mut reader)? {
            http::write(&mut stream, &(self.handler)(&request))?;
            if !request.keep_alive {
                break;
            }
        }
        Ok(())
    }
}

/// A connection that counts as long as this is there.
struct Open(Arc<Server>);

impl Open {
    fn of(server: &Arc<Server>) -> Self {
        server.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(server))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
