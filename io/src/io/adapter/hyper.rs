//! The traits of hyper.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::hyper::rt::{Read, ReadBufCursor, Write};

use super::{Async, Lends};
use crate::io::ByteStream;

impl<T: ByteStream> Read for Async<T> {
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

impl<T: ByteStream> Write for Async<T> {
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
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.for_write(|stream, pending| stream.poll_write_vectored(pending, context, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.close())
    }
}
