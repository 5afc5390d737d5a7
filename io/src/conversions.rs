//! What types have alike that own a descriptor: conversions to and from descriptors and std's types, and reads and writes
//! by value, which are those by reference.

/// Implements the conversions of a type with the methods `lend`, `from_fd` and `into_fd`, whose counterpart in std is `$Std`.
macro_rules! conversions {
    ($Type:ident, $Std:ty) => {
        const _: () = {
            use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

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

            impl From<OwnedFd> for $Type {
                fn from(fd: OwnedFd) -> Self {
                    Self::from_fd(fd)
                }
            }

            impl From<$Type> for OwnedFd {
                fn from(ours: $Type) -> Self {
                    ours.into_fd()
                }
            }

            impl From<$Std> for $Type {
                fn from(std: $Std) -> Self {
                    Self::from_fd(std.into())
                }
            }

            impl From<$Type> for $Std {
                fn from(ours: $Type) -> Self {
                    ours.into_fd().into()
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

/// Implements `Read` for a type, whose references implement it.
macro_rules! read_by_reference {
    ($Type:ident) => {
        const _: () = {
            use std::io::{IoSliceMut, Read, Result};

            impl Read for $Type {
                #[track_caller]
                fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
                    (&*self).read(buf)
                }

                #[track_caller]
                fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
                    (&*self).read_vectored(bufs)
                }

                #[track_caller]
                fn read_to_end(&mut self, buf: &mut Vec<u8>) -> Result<usize> {
                    (&*self).read_to_end(buf)
                }

                #[track_caller]
                fn read_to_string(&mut self, buf: &mut String) -> Result<usize> {
                    (&*self).read_to_string(buf)
                }
            }
        };
    };
}

/// Implements `Write` for a type, whose references implement it.
macro_rules! write_by_reference {
    ($Type:ident) => {
        const _: () = {
            use std::io::{IoSlice, Result, Write};

            impl Write for $Type {
                #[track_caller]
                fn write(&mut self, buf: &[u8]) -> Result<usize> {
                    (&*self).write(buf)
                }

                #[track_caller]
                fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize> {
                    (&*self).write_vectored(bufs)
                }

                fn flush(&mut self) -> Result<()> {
                    (&*self).flush()
                }
            }
        };
    };
}

pub(crate) use {conversions, from_raw_fd, into_stdio, read_by_reference, write_by_reference};
