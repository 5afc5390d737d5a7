//! Robust mutexes whose owner ends without having released them.
//!
//! The C library promises that whoever locks such a mutex next is told, by `EOWNERDEAD`. It keeps a list of those that a thread has locked,
//! and the system goes through that of an OS thread as the thread ends. Of the list of a green thread the system knows nothing. So the
//! thread goes through it itself, as the last that it does, in the way of the system: the word of a mutex that has the number of its owner
//! comes to have the mark of one who has ended, and one of those who wait in the system is woken.
//!
//! A process that is killed has no time for that: what its green threads have locked of what other processes have too stays locked.

use std::ffi::c_int;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::memory;
use crate::thread::current_real_id;

/// The head of such a list, as the system knows it. An entry is the address of the next one, and so is the head.
#[derive(Clone, Copy)]
#[repr(C)]
struct Head {
    first: usize,
    /// From an entry to the word of its mutex.
    distance: isize,
    pending: usize,
}

/// Where the head is, from what the id of a thread is the address of.
static OFFSET: OnceLock<usize> = OnceLock::new();

/// As many as the system looks at.
const MOST: usize = 2048;

/// Asks the system which list it has been told of, if this is an OS thread.
pub(super) fn ask() {
    let (mut head, mut size) = (0_usize, 0_usize);
    // SAFETY: there is room for the answers.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_get_robust_list,
            0_usize,
            &raw mut head,
            &raw mut size,
        )
    };
    // More than the C library has of a thread.
    const FAR: usize = 1 << 14;
    let offset = head.wrapping_sub(current_real_id() as usize);
    if failed == 0 && size == size_of::<Head>() && offset < FAR {
        let _ = OFFSET.set(offset);
    }
}

/// Gives up all that the current thread, which is green and ends, has locked by the number that is made up for it, or by its own. Gives how
/// many it had by its own alone.
pub(super) fn give_up(made_up: u32, own: u32) -> usize {
    let Some(offset) = OFFSET.get() else {
        return 0;
    };
    let mut by_own = 0;
    let head = (current_real_id() as usize).wrapping_add(*offset);
    // SAFETY: it is a part of what the C library has of this thread.
    let Head {
        first, distance, ..
    } = unsafe { *(head as *const Head) };
    let mut entry = first;
    for _ in 0..MOST {
        // The lowest bit is of those that inherit priority.
        let place = entry & !1;
        let word = place.wrapping_add_signed(distance);
        // It may have been unmapped, as long as it was locked.
        let is_there = |at: usize| memory::is_there(at as *const _, size_of::<u32>());
        if place == head || place == 0 || !is_there(place) || !is_there(word) {
            break;
        }
        // SAFETY: it is there. Who has it next puts it into another list.
        entry = unsafe { *(place as *const usize) };
        // SAFETY: it is there, and changed as one.
        let word = unsafe { &*(word as *const AtomicU32) };
        let owner = word.load(Ordering::Relaxed) & libc::FUTEX_TID_MASK;
        if owner != 0 && (owner == made_up || owner == own) {
            leave(word, owner);
            by_own += usize::from(owner != made_up);
        }
    }
    by_own
}

/// The owner of the mutex of this word has ended.
fn leave(word: &AtomicU32, owner: u32) {
    let to_dead = |seen: u32| {
        let is_own = seen & libc::FUTEX_TID_MASK == owner;
        is_own.then_some(seen & libc::FUTEX_WAITERS | libc::FUTEX_OWNER_DIED)
    };
    // Release: whoever has it next sees what was done.
    let left = word.fetch_update(Ordering::Release, Ordering::Relaxed, to_dead);
    if left.is_ok_and(|seen| seen & libc::FUTEX_WAITERS != 0) {
        let one: c_int = 1;
        // SAFETY: it wakes one of those who wait there, who wait as if other processes had it.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, one) };
    }
}
