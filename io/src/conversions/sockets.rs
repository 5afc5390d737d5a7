//! Windows, where they have sockets.

/// Implements the traits that lend what a type owns, and give it away, by its methods `lend` and `into_fd`.
macro_rules! lends {
    ($Type:ident) => {
        const _: () = {
            use std::os::windows::io::{
                AsRawSocket, AsSocket, BorrowedSocket, IntoRawSocket, RawSocket,
            };

            impl AsSocket for $Type {
                fn as_socket(&self) -> BorrowedSocket<'_> {
                    self.lend()
                }
            }

            impl AsRawSocket for $Type {
                fn as_raw_socket(&self) -> RawSocket {
                    self.lend().as_raw_socket()
                }
            }

            impl IntoRawSocket for $Type {
                fn into_raw_socket(self) -> RawSocket {
                    self.into_fd().into_raw_socket()
                }
            }
        };
    };
}

/// The same from a number.
macro_rules! from_raw_fd {
    ($Type:ident) => {
        const _: () = {
            use std::os::windows::io::{FromRawSocket, OwnedSocket, RawSocket};

            impl FromRawSocket for $Type {
                unsafe fn from_raw_socket(socket: RawSocket) -> Self {
                    // SAFETY: the caller owns the socket and gives it away, as this function's contract asks.
                    Self::from_fd(unsafe { OwnedSocket::from_raw_socket(socket) })
                }
            }
        };
    };
}

/// Lends the socket of what is in a field.
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
macro_rules! lends_that_of {
    ($Type:ident<$T:ident>, $field:ident) => {
        impl<$T: std::os::windows::io::AsSocket> std::os::windows::io::AsSocket for $Type<$T> {
            fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
                self.$field.as_socket()
            }
        }
    };
}

#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
pub(crate) use lends_that_of;
pub(crate) use {from_raw_fd, lends};
