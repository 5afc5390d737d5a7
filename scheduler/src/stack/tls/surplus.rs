//! The room in every block for libraries that are loaded later.
//!
//! The C library keeps a *surplus* beside the static thread-locals of what was loaded with the
//! program, for libraries whose code wants theirs there too. Hardly a program loads one. To give the
//! whole surplus its initial values back between two green threads would cost more than all else at
//! a thread's end, so it is done only if some of it is in use:
//!
//! - The C library gives the surplus away from the end that is next to the other thread-locals. No
//!   thread-locals are aligned to more than [`WATCHED`] bytes ([`Layout::find`] has seen to it), so
//!   the first that get a place there come to within so many bytes of that end.
//! - When a library is loaded, they get their initial values in the block of every thread, the models
//!   included. The watched bytes are zeroes in the first model and [`MARK`]s in the second, and
//!   whatever is written to both, one of them changes.
//!
//! Where all of it has been [claimed](super::claim) there is none, and nothing to watch.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::libc_layout::{Layout, modules_with_locals};
use super::pattern::word;
use super::pointer;

const WATCHED: isize = 64;
const MARK: usize = 0xa5a5_a5a5_a5a5_a5a5;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Surplus {
    models: [usize; 2],
    /// `None` if some of it was in use from the start, or that is not known.
    watched: Option<Range<isize>>,
}

impl Surplus {
    /// Begins to watch the surplus of two models that have not been changed.
    ///
    /// `modules` are those that have static thread-locals in a model.
    pub(super) fn watch(layout: &Layout, models: [usize; 2], modules: &[usize]) -> Self {
        let surplus = &layout.surplus;
        if layout.claim.is_some() {
            return Self {
                models,
                watched: Some(surplus.clone()),
            };
        }
        let watched = if pointer::STRUCT_IS_ABOVE {
            surplus.start.max(surplus.end - WATCHED)..surplus.end
        } else {
            surplus.start..surplus.end.min(surplus.start + WATCHED)
        };
        let mut this = Self {
            models,
            watched: Some(watched.clone()),
        };
        for offset in watched.step_by(8) {
            word(models[1], offset).store(MARK, Ordering::SeqCst);
        }
        // What is loaded from now on overwrites marks. What was loaded before, and after the layout
        // was looked at, is seen here, and so is what the C library does not tell of.
        let is_known = layout.has_clear_surplus
            && layout.modules == modules
            && layout.modules == modules_with_locals();
        if !is_known || !this.is_unused() {
            this.watched = None;
        }
        this
    }

    /// Whether no library has thread-locals there.
    pub(super) fn is_unused(&self) -> bool {
        let [first, second] = self.models;
        self.watched.clone().is_some_and(|watched| {
            let changed = watched.step_by(8).fold(0, |changed, offset| {
                let unmarked = word(first, offset).load(Ordering::Relaxed);
                let marked = word(second, offset).load(Ordering::Relaxed);
                changed | unmarked | (marked ^ MARK)
            });
            changed == 0
        })
    }
}
