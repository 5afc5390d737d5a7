//! Conversions of types that own a descriptor, to and from descriptors and std's types.
//!
//! | file          | what it is                                                       |
//! |---------------|------------------------------------------------------------------|
//! | `descriptors` | Unix                                                             |
//! | `sockets`     | Windows, where a socket is something else than a file            |
//! | `handles`     | what else there is on Windows                                    |

#[cfg_attr(unix, path = "conversions/descriptors.rs")]
#[cfg_attr(windows, path = "conversions/sockets.rs")]
mod system;

#[cfg(windows)]
mod handles;

#[cfg(windows)]
pub(crate) use self::handles::*;
pub(crate) use self::system::*;

/// Implements the conversions of a type with the methods `lend`, `from_fd` and `into_fd`, whose counterpart in std is `$Std`.
macro_rules! conversions {
    ($Type:ident, $Std:ty) => {
        $crate::conversions::lends!($Type);

        const _: () = {
            use rustix::fd::OwnedFd;

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

pub(crate) use conversions;
