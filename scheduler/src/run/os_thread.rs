//! How the runtime starts an OS thread.
//!
//! One that lacks memory as it starts ends the process, so it is started only where there is [room].

use std::convert::identity;
use std::io;
use std::thread::{Builder, JoinHandle};

use crate::run::signal_stack::SignalStack;
use crate::stack::room;

/// Starts an OS thread of that name.
///
/// # Errors
///
/// The system refuses it. The error says which limits there are.
pub(crate) fn start(
    name: String,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let body = move || {
        let _signal_stack = SignalStack::of_this_thread();
        body();
    };
    let started = room::is_left().and_then(|()| Builder::new().name(name).spawn(body));
    started.map_err(|error| {
        let threads = room::limit("ulimit -u", libc::RLIMIT_NPROC, identity);
        let kernel = room::sysctl("kernel.threads-max").unwrap_or_default();
        let memory = room::limits();
        io::Error::new(
            error.kind(),
            format!("{error} (limits: {threads}, {kernel}, {memory}; a cgroup has pids.max)"),
        )
    })
}
