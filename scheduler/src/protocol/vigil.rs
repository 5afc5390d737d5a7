//! Who looks whether anybody is left who could wake the others.
//!
//! An OS thread that waits in the runtime and has waited for long *awaits* that somebody looks: it says so, and
//! looks itself. As long as a worker is awake there is nothing to see. Then the worker that falls asleep last
//! looks later.
//!
//! ```text
//!     waiting:                          falling asleep (see `idle`):
//!     1. count itself                   1. set the own bit
//!     2. fence (W)                      2. fence (S)
//!     3. look who is asleep             3. if all others are asleep, see whether somebody is counted: then
//!                                          keep vigil, that is, look before long
//! ```
//!
//! **Somebody looks when all are asleep.** Fences are totally ordered. Of two workers that fall asleep, the one
//! whose S is later sees the bit of the other; so the last of all sees all bits. If W comes before its S, it
//! sees the count, and keeps vigil. If its S comes before W, whoever waits sees all asleep in step 3.

use crate::protocol::primitive::{AtomicUsize, Ordering, fence};

/// How many await that somebody looks. See the [module](self).
#[derive(Debug)]
pub(crate) struct Vigil(AtomicUsize);

impl Vigil {
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Steps 1 and 2 of waiting. The caller goes on with step 3.
    pub(crate) fn begin(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Step 3 of falling asleep. The caller has [announced](crate::protocol::idle::Idle::announce_sleep) it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

#[cfg(all(test, roving_loom))]
mod models {
    use super::*;
    use crate::protocol::idle::Idle;
    use loom::sync::Arc;
    use loom::thread;

    /// Two workers fall asleep while an OS thread begins to wait.
    #[test]
    fn one_of_those_who_wait_and_those_who_fall_asleep_looks() {
        loom::model(|| {
            let shared = Arc::new((Vigil::new(), Idle::new(2, 0, false)));
            let worker = |index: usize| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (vigil, idle) = &*shared;
                    idle.announce_sleep(index, false);
                    idle.is_asleep(0) && idle.is_asleep(1) && vigil.is_awaited()
                })
            };
            let workers = [worker(0), worker(1)];
            let (vigil, idle) = &*shared;
            vigil.begin();
            let mut looks = idle.is_asleep(0) && idle.is_asleep(1);
            for worker in workers {
                looks |= worker.join().unwrap();
            }
            assert!(looks, "nobody looks");
        });
    }
}
