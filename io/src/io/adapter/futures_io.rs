//! The traits of `futures`.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use ::futures_io::{AsyncRead, AsyncWrite};

use super::{Async, Lends};
use crate::io::ByteStream;

macro_rules! implement {
    ($Lends:ty) => {
        impl<T: ByteStream> AsyncRead for $Lends {
            fn poll_read(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.for_read(|stream, pending| stream.poll_read(pending, context, buf))
            }

            fn poll_read_vectored(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                self.for_read(|stream, pending| stream.poll_read_vectored(pending, context, bufs))
            }
        }

        impl<T: ByteStream> AsyncWrite for $Lends {
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

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.stream.close())
            }
        }
    };
}

implement!(Async<T>);
implement!(&Async<T>);
