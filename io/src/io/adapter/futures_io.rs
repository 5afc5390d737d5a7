//! The traits of `futures`.

use std::io::{self, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use ::futures_io::{AsyncRead, AsyncWrite};

use super::{Async, Lends};
use crate::io::{ByteSink, ByteSource};

macro_rules! implement {
    ($Lends:ty) => {
        impl<T: ByteSource> AsyncRead for $Lends {
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

        implement_write!(AsyncWrite for $Lends, poll_close);
    };
}

implement!(Async<T>);
implement!(&Async<T>);
