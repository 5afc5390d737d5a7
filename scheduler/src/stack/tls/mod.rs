//! Thread-locals of a green thread's own.
//!
//! A compiler takes it for granted that the address of a thread-local does not change while
//! a function runs, and safe code may borrow a thread-local across a call that blocks. So a green
//! thread that moves to another OS thread must take its thread-locals along. What makes a thread's
//! thread-locals its own is one register, the *thread pointer*: they lie at fixed distances from
//! it. Each green thread therefore has a [`Block`], which is what the C library makes for a thread
//! (its thread-locals and its `struct pthread`), at the top of its stack, and a worker that resumes
//! it loads the block's thread pointer and puts its own back afterwards.
//!
//! | file             | what it is                                                          |
//! |------------------|---------------------------------------------------------------------|
//! | `pointer`        | the thread pointer of the processor, and where a block lies around it |
//! | `libc_layout`    | what the C library tells of itself                                  |
//! | `pattern`        | two threads that never ran: what a block of a new thread looks like |
//! | `block`          | one block: made, linked, renewed                                    |
//! | `surplus`        | the room in a block for libraries that are loaded later             |
//! | `end`            | what a thread does with its thread-locals at its end                |
//! | `keys`           | the values of pthread keys                                          |
//! | `attributes`     | the bounds of a green thread's stack, for who asks the C library     |
//! | `resolver`       | the state of the C library's resolver of names                      |
//! | `everybody`      | the C library's signal to all threads                               |
//! | `glibc`          | all the above together                                              |
//! | `unsupported`    | the same names where none of it can be had                          |
//!
//! # Invariants
//!
//! - A block is loaded by at most one OS thread at a time: by the worker that holds the right to
//!   run its green thread, from just before the switch in until just after the switch out. In
//!   between nothing of the runtime runs on the worker's stack.
//! - A function that loads a thread pointer uses no thread-local itself, and nothing that does is
//!   inlined into it.
//! - Every block that may be loaded is in the C library's list of threads, so that what the library
//!   does for all threads (the initial values of a library that is loaded later, waiting for
//!   threads that resolve symbols) is done for it.

use crate::protocol::process::PerProcess;
use crate::stack::mode::NoOwnThreadLocals;

#[cfg_attr(
    all(
        target_os = "linux",
        target_env = "gnu",
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(target_feature = "crt-static"),
        not(roving_loom)
    ),
    path = "glibc.rs"
)]
#[cfg_attr(
    not(all(
        target_os = "linux",
        target_env = "gnu",
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(target_feature = "crt-static"),
        not(roving_loom)
    )),
    path = "unsupported.rs"
)]
mod platform;

pub(crate) use platform::*;

/// Tells the thread pointer of the current OS thread, if it is one that runs green threads. Called in a signal
/// handler, under whichever pointer is loaded.
pub(crate) type OwnPointer = fn() -> Option<usize>;

/// The C library's list of threads is made anew in a forked child, and the models must be in it.
static OWN: PerProcess<Result<Own, NoOwnThreadLocals>> = PerProcess::new();

/// What it takes for green threads to have their own thread-locals, or why they cannot. Finds out once
/// for the process.
pub(crate) fn find(own_pointer: OwnPointer) -> Result<&'static Own, &'static NoOwnThreadLocals> {
    OWN.get_or_make(|| Own::new(own_pointer).map_err(NoOwnThreadLocals::because))
        .as_ref()
}

/// What has been [found](find), if green threads can have their own thread-locals.
pub(crate) fn own() -> Option<&'static Own> {
    OWN.get()?.as_ref().ok()
}
