//! Descriptors that are closed, or replaced by others of their numbers.
//!
//! Who waits is told before, so that it does not take what comes next for its own; and again afterwards, since it may have
//! begun to wait in between. Where the handler of a signal does it, another thread tells.

use std::array;
use std::ffi::c_int;
use std::sync::atomic::Ordering;

use super::{CHUNK, CHUNKS, SLOTS, Slot, is_ours};
use crate::errno;

impl Slot {
    /// Whether it matters that the descriptor is closed or replaced.
    fn is_to_be_told(&self) -> bool {
        let is_known = self.watch().is_some() || self.nature.load(Ordering::SeqCst) != 0;
        is_known && is_ours()
    }

    /// Whether nobody is taking the number from what has it. If a generation that has been looked at before had begun with that, it is
    /// done: what has the number now is of that generation, or of a later one.
    pub(super) fn is_settled(&self) -> bool {
        self.replacing.load(Ordering::SeqCst) == 0
    }

    /// The descriptor is about to be closed or replaced. If anything is known of it, a new generation begins, and who waits finds out.
    /// Whether it is so.
    pub(super) fn begin_replacing(&self, fd: c_int) -> bool {
        self.replacing.fetch_add(1, Ordering::SeqCst);
        let is_told = self.is_to_be_told();
        if is_told {
            self.generation.fetch_add(1, Ordering::AcqRel);
            if let Some(watch) = self.watch() {
                watch.dismiss(fd);
            }
        }
        is_told
    }

    /// It has been closed or replaced. Who has begun to wait meanwhile looks again.
    pub(super) fn end_replacing(&self, was_told: bool) {
        // That of a forked child has not counted who began.
        let one_less = |replacing: u32| replacing.checked_sub(1);
        let _ = self
            .replacing
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, one_less);
        if let Some(watch) = self.watch()
            && (was_told || is_ours())
        {
            watch.rouse();
        }
    }
}

/// Does what `replace` does: it takes the number from whatever has it.
pub(crate) fn replacing<T>(fd: c_int, replace: impl FnOnce() -> T) -> T {
    let slot = Slot::seen(fd).filter(|_| crate::is_adopted());
    let Some(slot) = slot else {
        return replace();
    };
    let _ends = EndsReplacing {
        slot,
        is_told: slot.begin_replacing(fd),
    };
    replace()
}

/// When it is dropped, a number has been taken from what had it, or its taker has been cancelled.
struct EndsReplacing {
    slot: &'static Slot,
    is_told: bool,
}

impl Drop for EndsReplacing {
    fn drop(&mut self) {
        errno::kept(|| self.slot.end_replacing(self.is_told));
    }
}

/// The same for all from the first number to the last.
pub(crate) fn replacing_all<T>(first: u32, last: u32, replace: impl FnOnce() -> T) -> T {
    if !crate::is_adopted() || !is_ours() {
        return replace();
    }
    // What is mapped meanwhile does not count who begins here, and so not who ends.
    let are_mapped: [bool; CHUNKS] =
        array::from_fn(|chunk| !SLOTS[chunk].load(Ordering::Relaxed).is_null());
    let for_all = |f: &dyn Fn(&'static Slot, c_int)| {
        let beyond = (CHUNK * CHUNKS) as u32;
        let mut number = first;
        while number <= last && number < beyond {
            let is_mapped = are_mapped[number as usize / CHUNK];
            match Slot::seen(number as c_int).filter(|_| is_mapped) {
                Some(slot) => {
                    f(slot, number as c_int);
                    number += 1;
                }
                // On to the next chunk.
                None => number = (number / CHUNK as u32 + 1) * CHUNK as u32,
            }
        }
    };
    for_all(&|slot, fd| {
        slot.begin_replacing(fd);
    });
    let replaced = replace();
    errno::kept(|| for_all(&|slot, _| slot.end_replacing(true)));
    replaced
}
