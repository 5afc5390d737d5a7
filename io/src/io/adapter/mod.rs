//! [`Async`]: a stream that is polled by the traits of others.

/// Implements a trait for writing, which is the same for all but for the names of its methods.
macro_rules! implement_write {
    ($Write:ident for $Lends:ty, $close:ident $(, $is_write_vectored:ident)?) => {
        impl<T: ByteSink> $Write for $Lends {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.for_write(|stream, pending| stream.poll_write(pending, context, buf))
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.for_write(|stream, pending| stream.poll_write_vectored(pending, context, bufs))
            }

            $(fn $is_write_vectored(&self) -> bool {
                true
            })?

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn $close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.stream.end())
            }
        }
    };
}

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "tokio-io")]
mod tokio_io;

use std::fmt;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};

use roving_scheduler::lock::Mutex;

use super::byte_stream::ByteStream;
use crate::conversions::lends_that_of;
use crate::polled::Pending;

/// A stream that is read and written in futures: see the [module](crate::io).
///
/// One task may read while another writes. Of several tasks that poll for the same direction, the one that
/// has polled last is woken, as with all of these traits; any number may wait at once in
/// [`read_async`](crate::net::TcpStream::read_async) and
/// [`write_async`](crate::net::TcpStream::write_async). An [`Arc`](std::sync::Arc) of a stream is a
/// stream too, so there may be several of these for one.
///
/// A write may write a part. Closing ends the direction of writing of a socket, as
/// [`Shutdown::Write`](std::net::Shutdown::Write) does, and does nothing if the connection is gone, or if it is no socket: the end of
/// a pipe comes when its writers are dropped.
///
/// # Examples
///
#[cfg_attr(feature = "futures-io", doc = "```")]
#[cfg_attr(not(feature = "futures-io"), doc = "```ignore")]
/// use futures::io::{AsyncReadExt, AsyncWriteExt, copy};
/// use roving::io::Async;
/// use roving::net::{TcpListener, TcpStream};
/// use roving::{block_on, go};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// go!(move || {
///     block_on(async {
///         let (stream, _) = listener.accept_async().await?;
///         let stream = Async::from(stream);
///         copy(&stream, &mut &stream).await
///     })
/// });
///
/// let answer = futures::executor::block_on(async {
///     let mut stream = Async::from(TcpStream::connect_async(&address).await?);
///     stream.write_all(b"hello").await?;
///     stream.close().await?;
///     let mut answer = String::new();
///     stream.read_to_string(&mut answer).await?;
///     Ok::<_, std::io::Error>(answer)
/// });
/// assert_eq!(answer?, "hello");
/// # Ok(())
/// # }
/// ```
pub struct Async<T> {
    read: Slot,
    write: Slot,
    // After those who wait for it.
    stream: T,
}

impl<T: ByteStream> Async<T> {
    /// Makes a stream one that can be polled. Makes no system call.
    pub fn new(stream: T) -> Self {
        Self {
            read: Slot::default(),
            write: Slot::default(),
            stream,
        }
    }
}

impl<T> Async<T> {
    /// Returns the stream, for its options and for blocking calls.
    pub fn get_ref(&self) -> &T {
        &self.stream
    }

    /// Returns the stream.
    pub fn into_inner(self) -> T {
        self.stream
    }
}

impl<T: ByteStream> From<T> for Async<T> {
    fn from(stream: T) -> Self {
        Self::new(stream)
    }
}

// The stream is never pinned.
impl<T> Unpin for Async<T> {}

// A poll that unwinds leaves nothing half done.
impl<T: UnwindSafe> UnwindSafe for Async<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for Async<T> {}

lends_that_of!(Async<T>, stream);

impl<T: fmt::Debug> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Async").field(&self.stream).finish()
    }
}

/// The wait of the polls for one direction.
///
/// Who only shares it takes it out, since wakers, which may be anybody's code, are cloned while it is used.
#[derive(Default)]
struct Slot(Mutex<Pending>);

/// Lends a stream and the wait for a direction of it.
trait Lends<T> {
    fn for_read<R>(&mut self, f: impl FnOnce(&T, &mut Pending) -> R) -> R;

    fn for_write<R>(&mut self, f: impl FnOnce(&T, &mut Pending) -> R) -> R;
}

impl<T> Lends<T> for Async<T> {
    fn for_read<R>(&mut self, f: impl FnOnce(&T, &mut Pending) -> R) -> R {
        f(&self.stream, self.read.0.get_mut())
    }

    fn for_write<R>(&mut self, f: impl FnOnce(&T, &mut Pending) -> R) -> R {
        f(&self.stream, self.write.0.get_mut())
    }
}

impl<T> Lends<T> for &Async<T> {
    fn for_read<R>(&mut self, f: impl FnOnce(&T, &mut Pending) -> R) -> R {
        self.read.lend(|pending| f(&self.stream, pending))
    }

    fn for_write<R>(&mut self, f: impl FnOnce(&T, &mut Pending) -> R) -> R {
        self.write.lend(|pending| f(&self.stream, pending))
    }
}

impl Slot {
    fn lend<R>(&self, f: impl FnOnce(&mut Pending) -> R) -> R {
        let mut pending = mem::take(&mut *self.0.lock());
        let result = f(&mut pending);
        // Of another task that has polled meanwhile.
        let other = mem::replace(&mut *self.0.lock(), pending);
        drop(other);
        result
    }
}
