//! Locks, conditions and what else threads wait for of each other.
//!
//! The objects are the C library's and stay so: its functions make them, try them, take them and release them, for green
//! threads as well, which are threads to it with an id each. What is done here is the waiting.
//!
//! - **Mutexes, read-write locks, semaphores, and what is done once.** A thread that may be parked tries, and while that fails waits in
//!   the [table](adopt::wait), at the object's address. It tries once more when nobody can wake in between. Any other thread waits as the
//!   C library lets it. Who releases does that first, which wakes those who wait in the system, and then looks into the table;
//!   so one of each kind may be woken, and they compete as any two do. Who is woken tries before it gives up for whatever
//!   reason: that which it was woken for is taken then, by it or by one who will release it in turn.
//! - **Condition variables and barriers.** What the C library does in these cannot be taken apart, so all threads wait in the
//!   table. Who is inside of the runtime [naps](wait) instead, and looks again.
//! - **What other processes have too, and robust mutexes**: the C library's functions, with the place of the worker handed over. Where it is noted
//!   who owns something that others have too, a green thread goes by a [number](owner) that no other process has. What a thread owns
//!   of robust mutexes when it ends it [gives up](robust).
//! - **Mutexes that inherit priority.** The system is to know the owner of such a one while others wait for it, and it knows no green
//!   thread. So nobody waits there: any thread waits in the table, and nothing is inherited. Where other processes wait, or are
//!   to be told that the owner has ended, a green thread [cannot have it](mutex::is_refused).
//!
//! An object may be gone as soon as it has been released, for another thread may take it, release it and free it. From then on
//! nothing but its address is used.
//!
//! What is to be known of an object to decide this, the C library has been [asked](layout) when the program was adopted.

mod barrier;
mod c11;
mod condition;
mod layout;
mod mutex;
mod old;
mod once;
mod owner;
mod robust;
mod rwlock;
mod semaphore;
mod spin;

pub(crate) use self::owner::{end as end_owner, return_to_made_up};

use std::ffi::c_int;
use std::io;
use std::time::{Duration, Instant};

use libc::{clockid_t, timespec};
use roving_scheduler::adopt::{self, Awaited, Inside};

use crate::clock;
use crate::thread::{Heeded, heed, nap};

/// Asks the C library for what is to be known of it before the program is adopted.
///
/// # Errors
///
/// It is not known.
pub(crate) fn begin() -> io::Result<()> {
    semaphore::next_post();
    robust::ask();
    layout::ask()
}

/// In a forked child, by its only thread.
pub(crate) fn in_child() {
    owner::in_child();
    once::ask();
}

/// The program has been adopted. Whoever is just releasing something has done so when this ends, or will know that somebody may be parked
/// for it.
pub(crate) fn have_begun() {
    // Where the system has no barrier, they are taken to have seen by the time that there is a green thread what was written before.
    adopt::barrier();
}

/// For whatever one waits.
const ANY: u32 = !0;
const ALL: usize = usize::MAX;

/// A time that has come on every clock. What the C library is told to try until then, it tries once, and tells why it never will
/// succeed, where it does not just fail.
static LONG_AGO: timespec = timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// Until when somebody waits.
#[derive(Clone, Copy)]
struct Until {
    clock: clockid_t,
    time: timespec,
}

impl Until {
    /// # Errors
    ///
    /// EINVAL: there is no such time.
    ///
    /// # Safety
    ///
    /// It is one that the C library has been given.
    unsafe fn new(clock: clockid_t, time: *const timespec) -> Result<Self, c_int> {
        // SAFETY: the caller's promise.
        let time = unsafe { *time };
        if (0..1_000_000_000).contains(&time.tv_nsec) {
            Ok(Self { clock, time })
        } else {
            Err(libc::EINVAL)
        }
    }

    fn left(self) -> Duration {
        clock::left(self.clock, self.time).unwrap_or_default()
    }

    fn has_come(self) -> bool {
        self.left().is_zero()
    }

    /// `None` if it is too far away to wait for.
    fn deadline(self) -> Option<Instant> {
        clock::after(self.left())
    }
}

/// Whether a clock is one of those by which the C library waits.
fn is_of_waits(clock: clockid_t) -> bool {
    matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC)
}

/// Tries until it succeeds or fails for good, and gives what the last attempt has given; or until a time, and gives ETIMEDOUT. In
/// between the thread is parked. An attempt neither blocks nor wakes who is parked. Handlers of signals run meanwhile, and end it with
/// EINTR if it `may_end` by that.
fn insist(
    address: usize,
    bits: u32,
    until: Option<Until>,
    why: &'static str,
    may_end: bool,
    mut attempt: impl FnMut() -> Option<c_int>,
) -> c_int {
    adopt::announce(address);
    let mut heeded = Heeded::Nothing;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        // None goes on that has a time.
        let ends = heeded == Heeded::Ends || heeded == Heeded::GoesOn && until.is_some();
        if ends && may_end {
            return libc::EINTR;
        }
        if until.is_some_and(Until::has_come) {
            return libc::ETIMEDOUT;
        }
        let mut result = None;
        let still_waits = || {
            result = attempt();
            result.is_none()
        };
        let deadline = until.and_then(Until::deadline);
        let awaited = adopt::wait(address, bits, deadline, &why, still_waits, || ());
        match awaited {
            Awaited::Changed => return result.expect("the attempt has told"),
            Awaited::TimedOut => heeded = heed(may_end),
            Awaited::Woken => {}
        }
    }
}

/// How long it is until who cannot wait in the table looks again.
const MOMENT: Duration = Duration::from_millis(1);

/// Waits at an address as [`adopt::wait`] does, where `still_waits` may release what one thread waits for at the address
/// `released`. Inside of the runtime it waits for a moment only, and then its time has come; so it has for who has heeded a signal.
fn wait(
    address: usize,
    deadline: Option<Instant>,
    why: &'static str,
    still_waits: impl FnOnce() -> bool,
    released: Option<usize>,
) -> Awaited {
    if !Inside::is_current() {
        let then = || {
            released.map(|released| adopt::wake_midway(released, ANY, 1));
        };
        adopt::announce(address);
        let awaited = adopt::wait(address, ANY, deadline, &why, still_waits, then);
        if awaited == Awaited::TimedOut {
            heed(false);
        }
        return awaited;
    }
    if !still_waits() {
        return Awaited::Changed;
    }
    if let Some(released) = released {
        wake(released, ANY, 1);
    }
    nap(MOMENT);
    Awaited::TimedOut
}

/// Wakes as many as that of those who [wait] or [insist] at `address` for one of `bits`, the first first. What they wait for has been
/// changed before. Mostly there is nobody.
#[inline]
fn wake(address: usize, bits: u32, at_most: usize) {
    if adopt::is_announced(address) {
        adopt::wake(address, bits, at_most);
    }
}
