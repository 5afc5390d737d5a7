//! The right to call the driver's [`wait`](super::driver::Driver::wait), which one worker has at a time, the leader.
//!
//! Nobody waits for it, and to look whether somebody has it takes it from nobody: a worker that fails to take it knows that
//! another one is in the driver, or was a moment ago and has not looked since for what there is to do.

use std::sync::atomic::{AtomicBool, Ordering};

/// See the [module](self).
pub(crate) struct Lead(AtomicBool);

/// The current worker has it.
pub(crate) struct Leading<'a>(&'a Lead);

impl Lead {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// `None` if another worker has it.
    #[inline]
    pub(crate) fn take(&self) -> Option<Leading<'_>> {
        // Acquire: what the last leader has done in the driver comes before.
        let is_new = !self.is_taken() && !self.0.swap(true, Ordering::Acquire);
        is_new.then(|| Leading(self))
    }

    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Leading<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: see `take`.
        self.0.0.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time_and_to_look_takes_it_from_nobody() {
        let lead = Lead::new();
        assert!(!lead.is_taken());
        let leading = lead.take();
        assert!(leading.is_some() && lead.is_taken() && lead.take().is_none());
        drop(leading);
        assert!(!lead.is_taken() && lead.take().is_some());
    }
}
