//! The IO driver of Roving, and the blocking types on it: sockets, files, pipes, processes.
//!
//! [`net`] mirrors `std::net`, and [`os`] parts of `std::os`. A call that would block parks the green thread that made it, and the
//! others of its worker run; on a plain OS thread the same call blocks that OS thread. The facade
//! crate `roving` re-exports what users need; there is no reason to depend on this crate directly.
//!
//! From the top down; a file imports from those below it:
//!
//! - `adopt`: foreign descriptors, by number, for adopted programs.
//! - `io::splice`: copies inside the kernel from one descriptor to another.
//! - `fs`: files. A read of cached data does not block; a call that may wait for a disk waits in the system.
//! - `net`, `os`: what users see. An operation is a system call that does not block, with what to do when
//!   it would have.
//! - `process`: children, and the pipes to them.
//! - `signal`: signals that the program listens to.
//! - `settings`: how long an operation may wait, shared by the clones of a socket.
//! - `hyper`: what hyper requires of a runtime.
//! - `io`: pipes, standard streams, any descriptor that can be polled, and descriptors in futures.
//! - `end`: one end of a pipe, whose open file description other processes may have too.
//! - `looking`: writes that periodically check whether a reader is left.
//! - `ready`: the readiness of a descriptor, for a select.
//! - `unannounced`: conditions that the kernel reports to no poller.
//! - `polled`: the loop of `source` for futures.
//! - `source`: one descriptor, and the loop that every operation goes through: try, wait for an
//!   edge, try again.
//! - `yielding`: operations that never wait yield now and then.
//! - `close`: closing, which may block.
//! - `driver`: one poller for each runtime, which turns events into the tickets of those who waited
//!   for them.
//! - `why`: what an operation waits for, for dumps.
//! - `readiness`: what is known of a descriptor from the edges seen so far, and who waits for the
//!   next one.
//! - `mode`: how calls on sockets are kept from blocking.
//! - `nowait`: system calls that do not block, whatever the mode of the descriptor.
//! - `event`: what the kernel reports of a descriptor.
//! - `buffers`, `by_reference`, `conversions`, `error`, `unix_addr`: what many of these have in common.
//!
//! What the rest relies on:
//!
//! - A descriptor is registered once with each runtime that waits for it, edge-triggered, and never
//!   modified. Where the system reports no edges, who is to wait asks for one first.
//! - A waiter looks at the edge counter before it tries, and only waits if the counter still stands
//!   there, so no edge is lost.
//! - A descriptor leaves the driver before it is closed, and an event that comes late is recognised
//!   by its generation. It is also removed from the poller, unless nobody can share the descriptor: then the close does that.
//! - No system call on a green thread blocks its worker: every one is made non-blocking by a flag
//!   of its own, or, where there is no such flag, on a descriptor that is non-blocking; and what cannot
//!   be, such as the look-up of a name, a close that lingers, what asks a disk, the start of a child, and a try at a descriptor
//!   in blocking mode, is made with the worker's place handed over.

#![cfg_attr(docsrs, feature(doc_cfg))]
// Some of what all have alike is for what there is on Unix only.
#![cfg_attr(windows, allow(dead_code, unreachable_pub))]

#[cfg(feature = "adopt")]
#[doc(hidden)]
pub mod adopt;
mod buffers;
mod by_reference;
mod close;
mod conversions;
mod driver;
#[cfg(unix)]
mod end;
mod error;
mod event;
pub mod fs;
#[cfg(windows)]
mod handed_over;
#[cfg(feature = "hyper")]
pub mod hyper;
pub mod io;
#[cfg(feature = "adopt")]
mod kept;
mod looking;
mod mode;
pub mod net;
#[cfg(unix)]
mod nowait;
#[cfg(unix)]
pub mod os;
mod polled;
pub mod process;
mod readiness;
mod ready;
mod settings;
#[cfg(unix)]
pub mod signal;
mod source;
#[cfg(unix)]
mod unannounced;
#[cfg(unix)]
mod unix_addr;
mod why;
mod yielding;
