//! Classes of stacks, which are what they are pooled by, and the layout of a slot.
//!
//! Sizes are powers of two, from 16 KiB to 1 GiB. Each size comes for threads, with thread-locals and without, and
//! for what runs as part of a thread, a coroutine or a call. The latter are never a thread's: locks name their holders by
//! their stacks, and one that was taken in a call may be held when another has the stack. A
//! *slot* has a guard at its low end and the usable stack above it:
//!
//! ```text
//!     bottom                                              base           top   next slot's bottom
//!       | guard | usable, grows down <----------------------| thread-locals |.....|
//!                                                                          stagger
//! ```
//!
//! - What a switch touches, which is the frames of a thread that does little and the thread-locals
//!   that lie next to them, is in one page if that has room for them, so that thousands of threads need
//!   few entries in the processor's buffers for translations. What lies above them and is hardly used
//!   (most of the C library's `struct pthread`) is then in the page above. If it has no room, nothing is
//!   between two slots.
//! - Tops are staggered by cache lines. If all stacks began at one offset within their pages, the
//!   hot top lines of thousands of them would compete for the same few sets of the first-level
//!   cache.

use std::io;

use super::guard;
use super::page::page;
use super::tls;

/// The stack size where none is asked for. Without optimisation frames are several times as large, and
/// code that fits in one build should in the other.
pub(crate) const DEFAULT_SIZE: usize = if cfg!(debug_assertions) {
    1 << 20
} else {
    256 << 10
};
pub(crate) const MIN_SIZE: usize = 16 << 10;
const MAX_SIZE: usize = 1 << 30;

const MIN_LOG: u32 = MIN_SIZE.ilog2();
const SIZES: usize = (MAX_SIZE.ilog2() - MIN_LOG) as usize + 1;
pub(super) const CLASSES: usize = KINDS * SIZES;

/// Of the free stacks of a class, so many bytes keep their pages, however much of them has been touched.
const WARM_BYTES: usize = 32 << 20;

/// Tops are staggered over at most so many places, so many bytes apart (two cache lines, which
/// prefetchers fetch in pairs).
const STAGGER_PLACES: usize = 16;
const STAGGER_BYTES: usize = 128;
/// What a green thread that does little uses of its stack beside its buffers. No stagger makes it need
/// another page.
const SHALLOW: usize = if cfg!(feature = "adopt") {
    // With the frames of std's threads and channels, and of the functions that are adopted.
    3072
} else {
    1344
};
/// What one that is parked uses of it at least.
const PARKED: usize = 700;

/// See the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    log: u8,
    kind: Kind,
}

/// Whom a stack is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Thread,
    ThreadWithLocals,
    Call,
}

const KINDS: usize = Kind::Call as usize + 1;

impl Class {
    /// The smallest class for threads of at least `size` bytes, without thread-locals of their own.
    pub(crate) fn of(size: usize) -> io::Result<Self> {
        if size > MAX_SIZE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a stack of {size} bytes is too large: at most {MAX_SIZE} bytes are possible"
                ),
            ));
        }
        let log = size.max(MIN_SIZE).next_power_of_two().ilog2();
        Ok(Self {
            log: (log - MIN_LOG) as u8,
            kind: Kind::Thread,
        })
    }

    /// The same for threads with thread-locals of their own, which have been [found](tls::find).
    pub(crate) fn with_thread_locals(self) -> Self {
        Self {
            kind: Kind::ThreadWithLocals,
            ..self
        }
    }

    /// The same with another size.
    pub(crate) fn resized(self, size: usize) -> io::Result<Self> {
        let Self { log, .. } = Self::of(size)?;
        Ok(Self { log, ..self })
    }

    /// The same for what runs as part of a thread, and with its thread-locals.
    pub(crate) fn for_calls(self) -> Self {
        Self {
            kind: Kind::Call,
            ..self
        }
    }

    /// Whether whoever runs on a stack has thread-locals of its own.
    pub(crate) fn has_thread_locals(self) -> bool {
        matches!(self.kind, Kind::ThreadWithLocals)
    }

    /// What its thread-locals are made by, if it has any.
    pub(super) fn own(self) -> Option<&'static tls::Own> {
        self.has_thread_locals()
            .then(|| tls::own().expect("they were found before there was such a class"))
    }

    /// The usable bytes of a stack.
    pub(crate) fn size(self) -> usize {
        MIN_SIZE << self.log
    }

    /// How many free stacks keep their pages, if nobody needs them, of the class with an index.
    pub(super) fn most_warm(index: usize) -> usize {
        WARM_BYTES / Self::size_of(index)
    }

    /// The usable bytes of a stack of the class with an index.
    pub(super) fn size_of(index: usize) -> usize {
        MIN_SIZE << (index % SIZES)
    }

    /// The address space of a slot.
    pub(super) fn slot_bytes(self) -> usize {
        // What lies above the stack is added, so that the promised size is usable at every stagger.
        let stagger = self.stagger_places() * STAGGER_BYTES;
        let above = self.lift() + self.block_bytes() + stagger;
        Self::guard_bytes() + self.size() + above.next_multiple_of(page())
    }

    /// The bytes of the guard at its low end.
    pub(super) fn guard_bytes() -> usize {
        guard::BYTES.next_multiple_of(page())
    }

    /// What thread-locals take of a stack, at most.
    fn block_bytes(self) -> usize {
        self.own().map_or(0, tls::Own::block_bytes)
    }

    /// What of the thread-locals lies above all that a switch touches, and is in a page of its own.
    fn cold_bytes(self) -> usize {
        match self.own() {
            Some(own) if !self.is_compact() => own.cold_bytes(),
            _ => 0,
        }
    }

    /// Whether all that a thread which does little needs is in one page: then there is no page for what is hardly used.
    fn is_compact(self) -> bool {
        let own = self.own().filter(|own| own.is_compact());
        own.is_some_and(|own| own.block_bytes() + PARKED <= page())
    }

    /// What a switch touches, at most.
    fn hot_bytes(self) -> usize {
        self.block_bytes() - self.cold_bytes() + SHALLOW
    }

    /// How far below the end of a slot the highest top is, so that what a switch touches ends with a
    /// page, and is in that.
    fn lift(self) -> usize {
        if self.hot_bytes() > page() {
            return 0;
        }
        self.cold_bytes().next_multiple_of(page()) - self.cold_bytes()
    }

    /// Over how many places tops are staggered.
    fn stagger_places(self) -> usize {
        let used = self.lift() + self.block_bytes() + SHALLOW;
        let slack = if self.is_compact() {
            page().saturating_sub(used)
        } else {
            used.next_multiple_of(page()) - used
        };
        (slack / STAGGER_BYTES + 1).min(STAGGER_PLACES)
    }

    /// Which of the places that tops are staggered over the `number`th stack has.
    pub(super) fn place(self, number: usize) -> u8 {
        (number % self.stagger_places()) as u8
    }

    /// The top of the stack in the slot that begins at `bottom` and has this [place](Self::place).
    pub(super) fn top(self, bottom: usize, place: u8) -> usize {
        let stagger = usize::from(place) * STAGGER_BYTES;
        bottom + self.slot_bytes() - self.lift() - stagger
    }

    /// Which of the [`CLASSES`] it is.
    pub(super) fn index(self) -> usize {
        usize::from(self.log) + self.kind as usize * SIZES
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up_and_bounded() {
        let size = |size| Class::of(size).map(Class::size);
        assert_eq!(size(0).unwrap(), MIN_SIZE);
        assert_eq!(size(MIN_SIZE + 1).unwrap(), 2 * MIN_SIZE);
        assert_eq!(size(DEFAULT_SIZE).unwrap(), DEFAULT_SIZE);
        assert_eq!(size(MAX_SIZE).unwrap(), MAX_SIZE);
        let error = size(MAX_SIZE + 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
