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
