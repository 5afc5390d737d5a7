//! Thread-locals of one's own with glibc.

mod attributes;
mod block;
mod claim;
mod end;
mod everybody;
mod image;
mod keys;
mod libc_layout;
mod model;
mod pattern;
mod pointer;
mod random;
mod resolver;
mod rseq;
mod surplus;
mod tid;
mod unsignalled;

use super::OwnPointer;

#[cfg(feature = "adopt")]
pub(crate) use attributes::{REAL_ID, TELL};
pub(crate) use block::{Block, forget};
pub(crate) use end::end_thread;
#[cfg(feature = "adopt")]
pub(crate) use end::{AT_END, DESTROYS, leave_values};
pub(crate) use pattern::Own;
pub(crate) use pointer::{current as thread_pointer, load as load_thread_pointer};

/// That what has started can go on on another OS thread, since its thread-locals go along.
pub(crate) struct MovesWithThreadLocals;
