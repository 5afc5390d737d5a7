//! That a descriptor was armed is relied on for a moment, without asking the system again before each wait.
//!
//! All that closes or replaces a descriptor by way of the C library begins a generation, and then nothing is relied on. What does so
//! unseen, by a system call of its own, would have whoever waits afterwards wait for a descriptor that is there no more; and another
//! process that sets the mode of one that it shares with this one would have him wait where he is not to. So who
//! relies leaves a mark, and a little later somebody [looks](look) at all numbers that have one and arms them: each wait is
//! looked after once, if it lasts so long. One that has been replaced or changed unseen is found out there, or before by who arms it; who waits looks again, and
//! **from then on nothing is relied on** in this process, since it is one that does such things. So who waits for one that was
//! replaced unseen is late once, by the time until that look, and then never.
//!
//! A mark is set before its chunk's, and that before the look is asked for; who looks takes them back in the other order, and arms last.
//! So who finds his mark set already is looked after by a look that has yet to arm.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use roving_scheduler::PerProcess;
use roving_scheduler::adopt::Chore;

use super::{CHUNK, CHUNKS, Generation, SLOTS, Slot, is_ours};
use crate::waiting::blocks;

/// Whether no descriptor has been found that was replaced unseen, or had its mode changed.
static ARE_RELIABLE: AtomicBool = AtomicBool::new(true);

/// Whether other processes may have descriptors of this one, beside those that every program begins with.
static ARE_SHARED: AtomicBool = AtomicBool::new(false);

pub(crate) fn are_reliable() -> bool {
    ARE_RELIABLE.load(Ordering::Relaxed)
}

/// Notes that another process may have descriptors of this one.
pub(crate) fn note_shared() {
    ARE_SHARED.store(true, Ordering::Relaxed);
}

/// Whether another process may have set the mode of what has this number.
fn may_be_shared(fd: c_int) -> bool {
    fd <= libc::STDERR_FILENO || ARE_SHARED.load(Ordering::Relaxed)
}

/// Which chunks have slots that are relied on.
static CHUNKS_RELIED_ON: [AtomicBool; CHUNKS] = [const { AtomicBool::new(false) }; CHUNKS];

static LOOK: PerProcess<Chore> = PerProcess::new();

/// Sees to it that somebody looks in this process. Where the system refuses that, nothing is relied on.
#[cold]
pub(super) fn begin() {
    if LOOK.get().is_none()
        && let Ok(looks) = Chore::new(look)
    {
        let _ = LOOK.set(looks);
    }
}

impl Slot {
    /// Whether the number `fd` is known to be armed as what it was at the beginning of `generation`. Then that is looked after.
    pub(crate) fn relies(&self, fd: c_int, generation: Generation) -> bool {
        let is_known = self.is_armed(generation) && self.is_settled() && are_reliable();
        is_known && (self.is_relied_on.load(Ordering::Acquire) || self.have_looked_after(fd))
    }

    #[inline(never)]
    fn have_looked_after(&self, fd: c_int) -> bool {
        let Some(look) = LOOK.get() else {
            return false;
        };
        self.is_relied_on.store(true, Ordering::Release);
        CHUNKS_RELIED_ON[fd as usize / CHUNK].store(true, Ordering::Release);
        look.run_later();
        true
    }

    fn is_armed(&self, generation: Generation) -> bool {
        self.armed.load(Ordering::Acquire) == generation.0 + 1
    }

    /// Arms the number again, and finds out whether it was, and whether it is still plain.
    fn look_after(&self, fd: c_int) {
        let generation = self.generation();
        let Some(watch) = self.watch().filter(|_| self.is_armed(generation)) else {
            return;
        };
        let was_armed = self.arm(fd, watch) == Ok(false);
        let was_plain = may_be_shared(fd) && self.is_plain();
        let is_as_known = was_armed && (!was_plain || blocks(fd));
        if !is_as_known && self.is_settled() && self.generation() == generation {
            self.was_changed_unseen();
        }
    }

    /// From now on nothing is relied on.
    #[cold]
    pub(super) fn was_changed_unseen(&self) {
        ARE_RELIABLE.store(false, Ordering::Relaxed);
        self.forget();
        if let Some(watch) = self.watch() {
            watch.rouse();
        }
    }
}

/// Looks after all numbers that are relied on.
fn look() {
    if !is_ours() {
        return;
    }
    for (chunk, (is_relied_on, slots)) in CHUNKS_RELIED_ON.iter().zip(&SLOTS).enumerate() {
        if !is_relied_on.load(Ordering::Relaxed) || !is_relied_on.swap(false, Ordering::AcqRel) {
            continue;
        }
        let slots = slots.load(Ordering::Acquire);
        // SAFETY: a chunk of which somebody relies on a slot is there, has so many, and stays.
        let slots = unsafe { std::slice::from_raw_parts(slots, CHUNK) };
        for (number, slot) in slots.iter().enumerate() {
            let is_relied_on = &slot.is_relied_on;
            if is_relied_on.load(Ordering::Relaxed) && is_relied_on.swap(false, Ordering::AcqRel) {
                slot.look_after((chunk * CHUNK + number) as c_int);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::next::next;

    #[test]
    fn what_was_armed_is_relied_on_until_it_may_be_another() {
        crate::adopt().unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let fd = one.as_raw_fd();
        let slot = Slot::of(fd).unwrap();
        let watch = slot.watch_or_make().unwrap();
        let relies = || slot.relies(fd, slot.generation());
        assert!(!relies());
        assert_eq!(slot.arm(fd, watch), Ok(true));
        assert!(relies());
        slot.look_after(fd);
        assert!(relies());

        let before = slot.generation();
        let is_told = slot.begin_replacing(fd);
        assert!(is_told && !relies() && !slot.relies(fd, before));
        // Of what is about to lose the number.
        assert_eq!(slot.arm(fd, watch), Ok(true));
        assert!(!relies());
        slot.end_replacing(is_told);
        assert!(!relies());
        assert_eq!(slot.arm(fd, watch), Ok(false));
        assert!(relies());

        // Replaced unseen, which is found out by who looks after it, or who arms it.
        type Dup = unsafe extern "C" fn(c_int, c_int, c_int) -> c_int;
        let replace_unseen = |by: &UnixStream| {
            // SAFETY: both are descriptors of this test's own.
            assert_eq!(unsafe { next!(dup3: Dup)(by.as_raw_fd(), fd, 0) }, fd);
        };
        let (third, _fourth) = UnixStream::pair().unwrap();
        for (by, looks) in [(&other, true), (&third, false)] {
            assert!(relies());
            replace_unseen(by);
            assert!(relies());
            if looks {
                slot.look_after(fd);
            } else {
                assert_eq!(slot.arm(fd, watch), Ok(true));
            }
            assert!(!relies());
            assert_eq!(slot.arm(fd, watch), Ok(false));
            assert!(!relies());
            ARE_RELIABLE.store(true, Ordering::Relaxed);
        }
    }
}
