//! The surplus of static thread-locals, claimed for the frames of green threads.
//!
//! The frames of a green thread begin below its block, of which the outer part is [room](super::surplus) for libraries that are
//! loaded later: 1,664 bytes that hardly a program uses, between the thread-locals and the frames. Without them a thread that is
//! parked takes one page of memory, and with them two. So where it is [asked for](crate::Builder::compact_stacks) we load
//! [a library](super::image) that wants just so many bytes of thread-locals. Then this part of every block is ours, and none of
//! our code keeps thread-locals there: a block of a green thread ends where it begins, and frames lie in its place.
//!
//! # Why nothing else gets in there
//!
//! - What the C library gives away it gives in one direction, from the thread-locals of what was loaded with the program to the end
//!   of the block, and never more than there is up to that end. That is so on every processor; the end is the same for all threads, and
//!   is told ([`Layout::locals`](super::libc_layout::Layout)).
//! - The claim reaches from its beginning, whatever lies before that, to that end: the loader has written into our library where
//!   it is, and we know its size. So nothing is left beyond, and what comes later has no place at all. Of less than the whole, a small
//!   library would get a part, among frames; so it is all or nothing.
//! - It is a library that is loaded, whose bytes the C library gives to nobody else until it is taken out. That needs its handle,
//!   which nobody has. What was loaded before it can be taken out, but the room of that is given anew only if it is the
//!   outermost.
//! - What lies before the claim is part of the block as before, whether somebody uses it or not, and whoever was loaded
//!   meanwhile is there.
//! - The C library writes to this part of a block when the library is loaded, when there are no blocks of ours, and when
//!   it makes one by itself, for an OS thread. A library that is loaded is given its values once.
//! - All this is process-wide and goes to a forked child: [`CLAIMED`] does, too.
//!
//! How much is left is found by a library of one byte, which is taken out again. Other threads may load libraries at any time between:
//! then the size is wrong, or the place, and it is done again. In the end one more byte must be refused.
//!
//! Who needs static thread-locals later gets an error of the loader's, as where a surplus is used up.

use std::ops::Range;
use std::sync::OnceLock;

use super::image::Library;
use super::libc_layout::Refusal;
use super::pointer;

/// So often it is tried while other threads load libraries and take them out.
const ATTEMPTS: u32 = 20;

/// What was claimed, from the thread pointer. It is not made anew in a forked child.
static CLAIMED: OnceLock<Range<isize>> = OnceLock::new();

/// What has been claimed.
pub(super) fn claimed() -> Option<&'static Range<isize>> {
    CLAIMED.get()
}

/// Claims all that is left of the static thread-locals, which are `locals`. One thread at a time, and none that has a block of ours
/// without a surplus.
pub(super) fn claim(locals: &Range<isize>) -> Result<&'static Range<isize>, Refusal> {
    let mut why = Refusal::from("");
    for _ in 0..ATTEMPTS {
        match attempt(locals) {
            Ok(claim) => return Ok(CLAIMED.get_or_init(|| claim)),
            Err(refusal) => why = refusal,
        }
    }
    Err(why)
}

fn attempt(locals: &Range<isize>) -> Result<Range<isize>, Refusal> {
    let free = {
        let probe = Library::load(1)?;
        let first = probe.start..probe.start + 1;
        probe.unload();
        if pointer::STRUCT_IS_ABOVE {
            locals.start..first.end
        } else {
            first.start..locals.end
        }
    };
    if !free.contains(&free.start) || free.len() > locals.len() {
        return Err("the C library gives thread-locals a place outside of a block".into());
    }
    let claim = Library::load(free.len())?;
    if claim.start != free.start {
        claim.unload();
        return Err("other threads load libraries all the time".into());
    }
    match Library::load(1) {
        Err(_) => {
            claim.keep();
            Ok(free)
        }
        Ok(another) => {
            another.unload();
            claim.unload();
            Err("the C library has more room for thread-locals than it tells of".into())
        }
    }
}
