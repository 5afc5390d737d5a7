//! The traits of hyper.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::hyper::rt::{Read, ReadBufCursor, Write};

use super::{Async, Lends};
use crate::io::{ByteSink, ByteSource};

impl<T: ByteSource> Read for Async<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: nothing takes away what is initialised there: it is only read into.
        let room = unsafe { buf.as_mut() };
        let read = ready!(
            self.for_read(|stream, pending| stream.poll_read_uninit(pending, context, room))
        )?;
        // SAFETY: so many bytes at the beginning have been read into.
        unsafe { buf.advance(read) };
        Poll::Ready(Ok(()))
    }
}

implement_write!(Write for Async<T>, poll_shutdown, is_write_vectored);
