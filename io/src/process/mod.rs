//! Processes that a program starts, waits for and ends. Mirrors [`std::process`].
//!
//! The types and functions have the names, signatures and errors of their counterparts in std; a program moves over by
//! changing its `use` lines. Where a call of std blocks the OS thread, a call from a green thread parks that green thread.
//! The same call on a plain OS thread blocks that OS thread.
//!
//! - To wait for a child takes no OS thread, however many children there are: on Linux it is a descriptor (a pidfd) with
//!   the IO driver. Where the system has none, an OS thread waits for each child that is waited for. On Windows whoever waits does so in the
//!   system, with the worker's place handed over, and so do reads and writes of pipes: no deadline and no cancellation ends these.
//! - [`Command::spawn`] returns when the child executes its program. Until then the worker's place is handed over. A few
//!   are started at a time, and the others wait for their turn.
//! - The pipes to a child are read and written as sockets are, and under the same deadlines and cancellations. The end
//!   that a child gets is in blocking mode, as from std.
//! - All descriptors of Roving are closed when a child executes its program; it keeps those that it was given.
//! - [`Child::wait`] under a deadline, or cancelled, gives an error, and can be called again. Nothing is done to the child
//!   then: [`Child::kill`] ends it.
//! - [`exit`] and [`abort`] end the process, whatever other threads do, green or not, and run no destructors.
//!
//! # Examples
//!
//! A child that must end in time:
//!
//! ```
//! use roving::deadline;
//! use roving::process::Command;
//! use std::time::Duration;
//!
//! # fn main() -> std::io::Result<()> {
//! let mut child = Command::new("sleep").arg("1000").spawn()?;
//! let status = match deadline(Duration::from_millis(10), || child.wait()) {
//!     Ok(Ok(status)) => status,
//!     _ => {
//!         child.kill()?;
//!         child.wait()?
//!     }
//! };
//! assert!(!status.success());
//! # Ok(())
//! # }
//! ```

#[cfg_attr(windows, path = "child/windows.rs")]
mod child;
mod command;
#[cfg(unix)]
mod ended;
#[cfg_attr(windows, path = "pipes/windows.rs")]
mod pipes;
mod turns;

pub use std::process::{
    CommandArgs, CommandEnvs, ExitCode, ExitStatus, Output, Stdio, Termination, abort, exit, id,
};

pub use self::child::Child;
pub use self::command::Command;
pub use self::pipes::{ChildStderr, ChildStdin, ChildStdout};
