//! How the calls on a socket are kept from blocking, and what becomes of the mode that its user has set.
//!
//! | file             | what it is                                                                                     |
//! |------------------|------------------------------------------------------------------------------------------------|
//! | `by_flag`        | each call carries a flag; the description is in its user's mode, but that of a listener and of what connects |
//! | `by_description` | there is no such flag: all descriptions are non-blocking, and their users' modes are remembered |

#[cfg_attr(unix, path = "mode/by_flag.rs")]
#[cfg_attr(windows, path = "mode/by_description.rs")]
mod system;

pub(crate) use self::system::*;
