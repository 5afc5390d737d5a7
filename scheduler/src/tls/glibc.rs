//! Thread-locals of one's own with glibc.

mod block;
mod end;
mod libc_layout;
mod pattern;
mod pointer;

pub(crate) use block::{Block, forget};
pub(crate) use end::end_thread;
pub(crate) use pattern::Own;
pub(crate) use pointer::{current as thread_pointer, load as load_thread_pointer};
