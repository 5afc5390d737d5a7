//! What is nested in a thread: unwindings, and the frames of deadlines, tokens, shields and inherited
//! values.
//!
//! Both are the thread's, and what is begun last is to end first. A coroutine that yielded in the middle of
//! one it has begun would leave it to whoever resumed it, who would seem to panic, or be subject to a
//! deadline that it never heard of. So it must be as deep when it yields as when it was resumed.

use std::thread;

use crate::run::panic_state;
use crate::wait::ambient;

/// See the [module](self): how deep the current thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nesting {
    unwindings: usize,
    frames: usize,
}

impl Nesting {
    pub(super) const NONE: Self = Self {
        unwindings: 0,
        frames: 0,
    };

    #[inline]
    pub(super) fn current() -> Self {
        Self {
            unwindings: if thread::panicking() { unwindings() } else { 0 },
            frames: ambient::height(),
        }
    }

    /// Why the current thread is not as deep as that.
    #[cold]
    pub(super) fn obstacle(self) -> &'static str {
        if Self::current().frames == self.frames {
            "it unwinds"
        } else {
            "it is inside of a deadline, a token, a shield or a local's value, which belong to the thread"
        }
    }
}

/// How many unwindings the current thread is in, its panic hook among them. Where that is unknown, one
/// that has begun is not told from another.
#[cold]
fn unwindings() -> usize {
    panic_state::get().map_or(1, |(unwindings, is_in_hook)| {
        2 * unwindings + usize::from(is_in_hook)
    })
}
