//! Waiting for a time of the system's clock, which may be set meanwhile.
//!
//! A parked thread waits for a span of time. If the clock is set, that is another one, so all who wait look again. The system tells of
//! that by a timer: one that is to be cancelled when the clock is set. A green thread of the runtime's own reads it, which fails
//! then; it is there from the first on who waits so, for each process.
//!
//! Who waits has seen how often the clock was set before he has looked at it, and waits if it has not been set again.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use roving_io::adopt::Kept;
use roving_scheduler::lock::Mutex;
use roving_scheduler::thread::Builder;
use roving_scheduler::{PerProcess, adopt};

use crate::descriptor::close_at_no_point;

/// How often the clock was set.
static TIMES: AtomicUsize = AtomicUsize::new(0);

/// Whether somebody is told of it, in this process.
static IS_TOLD_OF: PerProcess<()> = PerProcess::new();

/// Those who wait do so at several places, so that none has to look through all of them to leave.
static PLACES: [u8; 1 << 10] = [0; 1 << 10];

fn place(number: usize) -> usize {
    &raw const PLACES[number % PLACES.len()] as usize
}

/// How often the clock was set.
pub(crate) fn times() -> usize {
    TIMES.load(Ordering::SeqCst)
}

/// Parks the caller until then, or until it has heeded news or the clock is set. It does not if that has been `seen` to be set less often.
/// It may go on without a reason.
pub(crate) fn wait(seen: usize, deadline: Option<Instant>) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let place = place(NEXT.fetch_add(1, Ordering::Relaxed));
    let is_as_seen = || times() == seen;
    adopt::wait(
        place,
        !0,
        deadline,
        &"a time of the clock",
        is_as_seen,
        || (),
    );
}

/// The clock has been set.
fn is_set() {
    TIMES.fetch_add(1, Ordering::SeqCst);
    for number in 0..PLACES.len() {
        adopt::wake(place(number), !0, usize::MAX);
    }
}

/// Whether those who wait are told when the clock is set.
pub(crate) fn is_told_of() -> bool {
    if IS_TOLD_OF.get().is_some() {
        return true;
    }
    static BEGINNING: PerProcess<Mutex<()>> = PerProcess::new();
    let _one_at_a_time = BEGINNING.get_or_make(Mutex::default).lock();
    let is_told_of = IS_TOLD_OF.get().is_some() || begin().is_some();
    if is_told_of {
        IS_TOLD_OF.get_or_make(|| ());
    }
    is_told_of
}

/// `None` if the system refuses the timer or the thread.
#[cold]
fn begin() -> Option<()> {
    let flags = libc::TFD_CLOEXEC;
    // SAFETY: it makes a descriptor.
    let timer = unsafe { libc::timerfd_create(libc::CLOCK_REALTIME, flags) };
    if timer < 0 {
        return None;
    }
    let kept = Kept::new([timer]);
    let reads = Builder::new().name("roving-clock".into()).spawn(move || {
        let _kept = kept;
        while arm(timer) {
            let mut expired = 0_u64;
            // SAFETY: there is room for the answer.
            unsafe { libc::read(timer, (&raw mut expired).cast(), size_of::<u64>()) };
            is_set();
        }
    });
    if reads.is_err() {
        // SAFETY: it is ours.
        unsafe { close_at_no_point(timer) };
    }
    reads.ok().map(drop)
}

/// Has the timer cancelled when the clock is set.
fn arm(timer: c_int) -> bool {
    // SAFETY: zeroes are a time.
    let mut time: libc::itimerspec = unsafe { MaybeUninit::zeroed().assume_init() };
    // It does not come.
    time.it_value.tv_sec = libc::time_t::MAX / 1_000_000_000;
    let flags = libc::TFD_TIMER_ABSTIME | libc::TFD_TIMER_CANCEL_ON_SET;
    // SAFETY: it is a time, and that before is not asked for.
    unsafe { libc::timerfd_settime(timer, flags, &raw const time, ptr::null_mut()) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn who_waits_looks_again_when_the_clock_is_set() {
        roving_scheduler::adopt::begin().unwrap();
        let (sender, receiver) = mpsc::channel();
        let waits = roving_scheduler::thread::spawn(move || {
            for _ in 0..3 {
                let seen = times();
                sender.send(()).unwrap();
                while times() == seen {
                    wait(seen, None);
                }
            }
        });
        for () in receiver {
            is_set();
        }
        waits.join().unwrap();
        // It has been set since.
        wait(times() - 1, None);
        let later = Instant::now() + Duration::from_millis(1);
        while Instant::now() < later {
            wait(times(), Some(later));
        }
        assert!(is_told_of() && is_told_of());
    }
}
