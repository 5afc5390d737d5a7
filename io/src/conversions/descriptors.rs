//! Where they have descriptors.

/// Implements the traits that lend what a type owns, and give it away, by its methods `lend` and `into_fd`.
macro_rules! lends {
    ($Type:ident) => {
        const _: () = {
            use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};

            impl AsFd for $Type {
                fn as_fd(&self) -> BorrowedFd<'_> {
                    self.lend()
                }
            }

            impl AsRawFd for $Type {
                fn as_raw_fd(&self) -> RawFd {
                    self.lend().as_raw_fd()
                }
            }

            impl IntoRawFd for $Type {
                fn into_raw_fd(self) -> RawFd {
                    self.into_fd().into_raw_fd()
                }
            }
        };
    };
}

/// The same from a number, which std has for most of them.
macro_rules! from_raw_fd {
    ($Type:ident) => {
        const _: () = {
            use std::os::fd::{FromRawFd, OwnedFd, RawFd};

            impl FromRawFd for $Type {
                unsafe fn from_raw_fd(fd: RawFd) -> Self {
                    // SAFETY: the caller owns the descriptor and gives it away, as this function's
                    // contract asks.
                    Self::from_fd(unsafe { OwnedFd::from_raw_fd(fd) })
                }
            }
        };
    };
}

/// The same to what a child is given.
macro_rules! into_stdio {
    ($Type:ident) => {
        impl From<$Type> for std::process::Stdio {
            fn from(ours: $Type) -> Self {
                ours.into_fd().into()
            }
        }
    };
}

/// Lends the descriptor of what is in a field.
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
macro_rules! lends_that_of {
    ($Type:ident<$T:ident>, $field:ident) => {
        impl<$T: std::os::fd::AsFd> std::os::fd::AsFd for $Type<$T> {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.$field.as_fd()
            }
        }
    };
}

#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
pub(crate) use lends_that_of;
pub(crate) use {from_raw_fd, into_stdio, lends};
