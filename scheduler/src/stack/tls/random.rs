//! The state from which the C library draws random numbers, since glibc 2.41.
//!
//! A thread takes one with its first `getrandom` out of a stock, and the end of a thread puts it back. A green thread leaves it to
//! the next one in its block, as it would to any other thread. When the block's memory goes, the state is kept for
//! a block that is made later: only the C library could put it back.

use std::sync::atomic::Ordering;

use crate::protocol::lock::Mutex;

use super::libc_layout::{Layout, Refusal};
use super::pattern::{is_marked_by_others, word};

/// Set while a thread draws from its state.
const IN_USE: usize = 1;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Random {
    /// The field of `struct pthread` with the pointer to the state. `None` if the C library has none, as before 2.41 and on
    /// kernels that do not help with it.
    field: Option<isize>,
    /// States whose blocks are gone.
    spare: Mutex<Vec<usize>>,
}

impl Random {
    /// Draws, for the field to be found.
    pub(super) fn draw() {
        let mut byte = 0_u8;
        // SAFETY: writes one byte, at most.
        unsafe { libc::getrandom((&raw mut byte).cast(), 1, libc::GRND_NONBLOCK) };
    }

    /// The field is what a thread's first [draw](Self::draw) has written to its `struct pthread`.
    pub(super) fn find(layout: &Layout, mut written: Vec<isize>) -> Result<Self, Refusal> {
        written.retain(|&offset| !is_marked_by_others(layout, offset));
        match *written {
            [] | [_] => Ok(Self {
                field: written.pop(),
                spare: Mutex::default(),
            }),
            _ => Err("the C library draws random numbers in an unknown way".into()),
        }
    }

    /// Gives a new block a state whose own is gone, if there is one.
    pub(super) fn give(&self, thread_pointer: usize) {
        if let Some(field) = self.field
            && let Some(state) = self.spare.lock().pop()
        {
            word(thread_pointer, field).store(state, Ordering::Relaxed);
        }
    }

    /// Keeps the state of a block that goes.
    pub(super) fn keep(&self, thread_pointer: usize) {
        if let Some(field) = self.field {
            let state = word(thread_pointer, field).swap(0, Ordering::Relaxed) & !IN_USE;
            if state != 0 {
                self.spare.lock().push(state);
            }
        }
    }
}
