//! The conversions that all sockets have: to and from descriptors, and std's sockets.

/// Implements them for a socket that has a `source`, and the methods `from_fd` and `into_fd`.
macro_rules! conversions {
    ($Socket:ident, $Std:ty) => {
        const _: () = {
            use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

            impl AsFd for $Socket {
                fn as_fd(&self) -> BorrowedFd<'_> {
                    self.source.lend()
                }
            }

            impl AsRawFd for $Socket {
                fn as_raw_fd(&self) -> RawFd {
                    self.source.lend().as_raw_fd()
                }
            }

            impl IntoRawFd for $Socket {
                fn into_raw_fd(self) -> RawFd {
                    self.into_fd().into_raw_fd()
                }
            }

            impl FromRawFd for $Socket {
                unsafe fn from_raw_fd(fd: RawFd) -> Self {
                    // SAFETY: the caller owns the descriptor and gives it away, as this function's
                    // contract asks.
                    Self::from_fd(unsafe { OwnedFd::from_raw_fd(fd) })
                }
            }

            impl From<OwnedFd> for $Socket {
                fn from(fd: OwnedFd) -> Self {
                    Self::from_fd(fd)
                }
            }

            impl From<$Socket> for OwnedFd {
                fn from(socket: $Socket) -> Self {
                    socket.into_fd()
                }
            }

            impl From<$Std> for $Socket {
                fn from(socket: $Std) -> Self {
                    Self::from_fd(socket.into())
                }
            }

            impl From<$Socket> for $Std {
                fn from(socket: $Socket) -> Self {
                    socket.into_fd().into()
                }
            }
        };
    };
}

pub(crate) use conversions;
