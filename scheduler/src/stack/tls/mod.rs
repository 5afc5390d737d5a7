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
//! | `model`          | a thread that never ran                                             |
//! | `pattern`        | two of them: what a block of a new thread looks like                |
//! | `block`          | one block: made, linked, renewed                                    |
//! | `surplus`        | the room in a block for libraries that are loaded later             |
//! | `claim`          | that room, claimed for frames                                       |
//! | `image`          | a library that has nothing but thread-locals                        |
//! | `end`            | what a thread does with its thread-locals at its end                |
//! | `keys`           | the values of pthread keys                                          |
//! | `tid`            | the numbers of threads                                              |
//! | `attributes`     | the bounds of a green thread's stack, for who asks the C library     |
//! | `resolver`       | the state of the C library's resolver of names                      |
//! | `random`         | the state from which the C library draws random numbers             |
//! | `rseq`           | what a thread shares with the kernel for restartable sequences      |
//! | `everybody`      | the C library's signal to all threads                               |
//! | `unsignalled`    | calls during which no handler of a signal runs                      |
//! | `glibc`          | all the above together                                              |
//! | `unsupported`    | the same names where none of it can be had                          |
//!
//! # Other versions of the C library
//!
//! It was built to be asked none of this, and what it is asked differs from version to version. So nothing is decided by
//! a version: each thing is found where it is, or is not as it is known, and then there are no thread-locals of one's own,
//! with a reason, and the same one in every run. Nothing waits for the C library without a bound, and what other threads of
//! the program happen to do meanwhile changes nothing: what they can disturb is asked again.
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

use crate::protocol::lock::Mutex;

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
/// What is found out is found out once, by one thread at a time.
static FINDING: PerProcess<Mutex<()>> = PerProcess::new();

/// What it takes for green threads to have their own thread-locals, or why they cannot. Finds out once
/// for the process, so that whoever comes first decides whether blocks shall be compact.
pub(crate) fn find(
    own_pointer: OwnPointer,
    wants_compact: bool,
) -> Result<&'static Own, &'static NoOwnThreadLocals> {
    let find = || Own::new(own_pointer, wants_compact).map_err(NoOwnThreadLocals::because);
    let found = OWN.get().unwrap_or_else(|| {
        let _alone = FINDING.get_or_make(Mutex::default).lock();
        OWN.get_or_make(find)
    });
    found.as_ref()
}

/// In a forked child, within `fork`: what goes on is not the OS thread with this pointer, if that is not loaded.
/// Then the kernel shares nothing with it any more: its memory is the C library's, for other threads.
pub(crate) fn leave_os_thread(thread_pointer: usize) {
    if self::thread_pointer() != thread_pointer
        && let Some(Ok(own)) = OWN.get_or_inherited()
    {
        own.unregister_in_child(thread_pointer);
    }
}

/// What has been [found](find), if green threads can have their own thread-locals.
pub(crate) fn own() -> Option<&'static Own> {
    OWN.get()?.as_ref().ok()
}
