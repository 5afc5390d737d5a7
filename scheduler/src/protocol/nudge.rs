//! Nudges: what makes a thread look up from its wait since there is news for it, of which the wait knows nothing.
//!
//! A wait that may be nudged says so when it has [begun](Nudge::opens). It then ends as if its time had come, and the thread asks
//! whether it [was nudged](Nudge::take). So it does if it was nudged before: that lasts until it asks.
//!
//! Who nudges says so, and then ends the wait that is open; the thread says which is open, and then looks whether it is to look up.
//! Between the two each has a fence, and of two fences one comes first: either the one sees the wait, or the other the nudge.
//! An epoch never comes back, so a wait that is open no more, and a later one that has not said that it may be nudged, are left
//! alone.

use crate::protocol::primitive::{AtomicU32, AtomicU64, Ordering, fence};
use crate::protocol::word::{By, Epoch, Fire, WaitWord};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Nudge {
    /// 0 or 1.
    is_asked: AtomicU32,
    /// The last wait that may be nudged.
    open: AtomicU64,
}

impl Nudge {
    pub(crate) fn new() -> Self {
        Self {
            is_asked: AtomicU32::new(0),
            open: AtomicU64::new(0),
        }
    }

    /// The wait `epoch` of the caller's, which has begun on `word`, may be nudged.
    pub(crate) fn opens(&self, epoch: Epoch, word: &WaitWord) {
        self.open.store(epoch.to_token(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.is_asked.load(Ordering::Relaxed) != 0 {
            // It has not parked, and finds out by itself.
            let _: Fire = word.fire(epoch, By::Timer);
        }
    }

    /// Whether it is the last wait that may be nudged.
    pub(crate) fn is_open(&self, epoch: Epoch) -> bool {
        self.open.load(Ordering::Relaxed) == epoch.to_token()
    }

    /// Asks the thread to look up, and gives the wait that is to be ended for it.
    pub(crate) fn ask(&self) -> Option<Epoch> {
        // Release: what the news are was written before.
        self.is_asked.store(1, Ordering::Release);
        fence(Ordering::SeqCst);
        Epoch::from_token(self.open.load(Ordering::Relaxed))
    }

    /// Whether the caller has been nudged. From now on it has not.
    pub(crate) fn take(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed) != 0 && self.is_asked.swap(0, Ordering::Acquire) != 0
    }
}

#[cfg(all(test, roving_loom))]
mod models {
    use super::*;
    use crate::protocol::word::Commit;
    use loom::sync::Arc;
    use loom::thread;

    /// Whoever is nudged does not stay parked, whenever that happens.
    #[test]
    fn a_nudge_is_not_lost() {
        loom::model(|| {
            let thread = Arc::new((Nudge::new(), WaitWord::new()));
            let nudges = {
                let thread = thread.clone();
                thread::spawn(move || {
                    let (nudge, word) = &*thread;
                    nudge
                        .ask()
                        .is_some_and(|epoch| word.fire(epoch, By::Timer) == Fire::Parked)
                })
            };
            let (nudge, word) = &*thread;
            let epoch = word.begin(true);
            nudge.opens(epoch, word);
            let parked = word.commit() == Commit::Parked;
            let is_woken = nudges.join().unwrap();
            assert_eq!(parked, is_woken);
            assert_eq!(word.finish(), Some(By::Timer));
            assert!(nudge.take() && !nudge.take());
        });
    }

    /// One that may not be nudged is left alone, also by a nudge for the one before.
    #[test]
    fn others_are_left_alone() {
        loom::model(|| {
            let thread = Arc::new((Nudge::new(), WaitWord::new()));
            let nudges = {
                let thread = thread.clone();
                thread::spawn(move || {
                    let (nudge, word) = &*thread;
                    if let Some(epoch) = nudge.ask() {
                        let _: Fire = word.fire(epoch, By::Timer);
                    }
                })
            };
            let (nudge, word) = &*thread;
            nudge.opens(word.begin(true), word);
            word.finish();
            let _ = word.begin(true);
            nudges.join().unwrap();
            assert!(!word.has_ended());
        });
    }
}
