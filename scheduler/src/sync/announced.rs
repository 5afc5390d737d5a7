//! Whether anybody has ever waited at an address: for who releases what is seldom waited for.
//!
//! Who wakes needs a [fence](super::address) between his change of the word and his look at the count, and that fence costs as much as a
//! lock and its release by themselves. So whoever waits for a lock *announces* it first, by a hash of its address and for good, and
//! who has released one looks, by a mere load, whether it was announced.
//!
//! That load may be done before the release is seen by others. But who announces sets the mark and has the system let all threads of
//! the process pass a barrier, and only then looks at the word. Of whoever releases, that barrier comes
//!
//! - before the load: then the mark is seen, and he looks at the count, with a fence;
//! - after the load, and so after the release: then that is seen by who waits, who does not wait.
//!
//! While one is about to announce, another who waits has the barrier too. Where the system has none, everything counts as announced.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, compiler_fence};
use std::time::Duration;

use rustix::thread::{MembarrierCommand, membarrier};

const MARKS_LOG: u32 = 14;
const NEVER: u8 = 0;
/// The mark is set, and the barrier under way.
const BEGUN: u8 = 1;
/// The barrier has been.
const DONE: u8 = 2;

static MARKS: [AtomicU8; 1 << MARKS_LOG] = [const { AtomicU8::new(NEVER) }; 1 << MARKS_LOG];

/// Whether the system has barriers for all threads of a process. It is set before anybody waits.
static HAS_BARRIERS: AtomicBool = AtomicBool::new(false);

/// Asks the system for barriers, before anybody announces anything.
pub(crate) fn begin() {
    let has_barriers = membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok();
    HAS_BARRIERS.store(has_barriers, Ordering::Relaxed);
}

/// Has all threads of the process pass a barrier: what each did before is seen by the caller afterwards, and what the caller did before
/// is seen by each. Without such barriers it does nothing.
pub fn barrier() {
    if !HAS_BARRIERS.load(Ordering::Relaxed) {
        return;
    }
    let barrier = || membarrier(MembarrierCommand::PrivateExpedited);
    // It may have to be asked for again by a forked child.
    let again = |_| {
        membarrier(MembarrierCommand::RegisterPrivateExpedited)?;
        barrier()
    };
    if barrier().or_else(again).is_err() {
        // The program has had it refused since. No processor keeps a store to itself for so long.
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn mark(address: usize) -> &'static AtomicU8 {
    // Fibonacci hashing.
    let hash = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &MARKS[(hash >> (u64::BITS - MARKS_LOG)) as usize]
}

/// To be called before a wait at `address`, where who wakes asks whether it [is announced](is_announced).
#[inline]
pub fn announce(address: usize) {
    let mark = mark(address);
    // Acquire: with the mark comes what the barrier has made seen.
    if mark.load(Ordering::Acquire) != DONE {
        announce_first(mark);
    }
}

#[cold]
#[inline(never)]
fn announce_first(mark: &AtomicU8) {
    mark.fetch_max(BEGUN, Ordering::SeqCst);
    barrier();
    mark.store(DONE, Ordering::Release);
}

/// Whether anybody may wait at `address` who has announced it. To be asked after the change for which he waits.
#[inline]
pub fn is_announced(address: usize) -> bool {
    // The processor is kept in order by the barrier of who announces.
    compiler_fence(Ordering::SeqCst);
    mark(address).load(Ordering::Relaxed) != NEVER || !HAS_BARRIERS.load(Ordering::Relaxed)
}
