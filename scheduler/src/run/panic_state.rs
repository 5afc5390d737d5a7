//! What std knows of a thread's panics: how many unwind it, and whether it is in the panic hook.
//!
//! std keeps both in a thread-local, a cell of a [`State`], and tells only whether the count is zero.
//! More is wanted here:
//!
//! - How many: one who waits in a destructor must know whether an unwinding has begun since a
//!   deadline was set up (see [`panicking`](crate::run::panicking)).
//! - Green threads without thread-locals of their own have one such cell a worker. If one of them
//!   suspends in the middle of an unwinding, its neighbours would seem to panic; if it does in
//!   the panic hook, a panic of a neighbour would abort the process. So it takes its state along, and
//!   the next one finds the cell as new.
//!
//! # Where it is
//!
//! That is not guessed but [learnt](learn): an OS thread looks at all thread-locals of its module
//! while it panics. The count is the one word that goes with the number of unwindings, and from
//! a thread-local of our own it is as far on every thread. The flag lies beside it, as in any
//! `State`. Before a state is taken away, that is [tried](learn_flag): the flag is set in the panic
//! hook and at no other time. Where nothing behaves so, or more than one word does, the state is
//! unknown, and whoever seems to panic does.

use std::mem::offset_of;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::{Arc, OnceLock};
use std::thread::{self, Builder};

use crate::protocol::lock::Mutex;

use crate::protocol::passage::Passage;
use crate::run::context;

/// The count of panics, and whether the thread is in the panic hook.
type State = (usize, bool);

const WORD: usize = size_of::<usize>();
/// How far the flag is from the count.
const FLAG: isize = offset_of!(State, 1).cast_signed() - offset_of!(State, 0).cast_signed();

/// How far the count is from the [anchor](context::anchor).
static COUNT: OnceLock<Option<isize>> = OnceLock::new();
/// Whether the flag is where it should be.
static FLAG_IS_THERE: OnceLock<bool> = OnceLock::new();

/// Makes sure that green threads take their state along when they suspend, if that can be had. It waits
/// for panic hooks that run, so nothing may be locked that one may want.
pub(crate) fn find(passage: &Passage) {
    // Where a panic aborts, nobody unwinds. While it panics, a thread may not wait for the hooks, one of
    // which it may be in; another runtime will.
    if cfg!(panic = "unwind") && distance(passage).is_some() && !thread::panicking() {
        FLAG_IS_THERE.get_or_init(|| {
            let learnt = passage.on_an_os_thread(Builder::new(), learn_flag);
            learnt.unwrap_or(false)
        });
    }
}

/// Whether green threads that suspend take their state along.
pub(crate) fn goes_along() -> bool {
    FLAG_IS_THERE.get() == Some(&true)
}

/// The state of the current thread. `None` if it is unknown.
pub(crate) fn get() -> Option<State> {
    // SAFETY: what a place is.
    place().map(|place| unsafe { place.get() })
}

/// What a thread that suspends takes along.
pub(crate) struct Taken(State);

/// Takes the state of the current thread away, if it is in the middle of a panic.
pub(crate) fn take() -> Option<Taken> {
    if !goes_along() {
        return None;
    }
    let place = place()?;
    // SAFETY: what a place is.
    unsafe {
        let state = place.get();
        (state != State::default()).then(|| {
            place.set(State::default());
            Taken(state)
        })
    }
}

/// Gives it back, to the same thread, on whichever OS thread it goes on.
pub(crate) fn put_back(Taken(state): Taken) {
    if let Some(place) = place() {
        // SAFETY: what a place is.
        unsafe { place.set(state) };
    }
}

/// The address of std's count of the panics of the current thread, which only the current thread
/// reaches, and which std lends to nobody. It is worth nothing after a suspension.
#[derive(Clone, Copy)]
struct Place(usize);

impl Place {
    fn count(self) -> *mut usize {
        ptr::with_exposed_provenance_mut(self.0)
    }

    fn flag(self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.0.wrapping_add_signed(FLAG))
    }

    /// # Safety
    ///
    /// It is the current thread's.
    unsafe fn get(self) -> State {
        // SAFETY: the count is there, with room for a whole state around it; see the type.
        unsafe {
            let flag = self.flag().read_volatile();
            (self.count().read_volatile(), flag != 0)
        }
    }

    /// # Safety
    ///
    /// It is the current thread's, and the flag is there.
    unsafe fn set(self, (count, flag): State) {
        // SAFETY: both are there; see the type.
        unsafe {
            self.count().write_volatile(count);
            self.flag().write_volatile(u8::from(flag));
        }
    }
}

#[inline(never)]
fn place() -> Option<Place> {
    let distance = match COUNT.get() {
        Some(distance) => *distance,
        None => distance(&Passage::enter()),
    };
    distance.map(|distance| Place(context::anchor().wrapping_add_signed(distance)))
}

/// How far the count is from the anchor.
fn distance(passage: &Passage) -> Option<isize> {
    // Nothing has happened to a new thread.
    *COUNT.get_or_init(|| passage.on_an_os_thread(Builder::new(), learn).flatten())
}

/// Learns how far the count is from the anchor.
fn learn() -> Option<isize> {
    let anchor = context::anchor();
    let locals = Locals::around(anchor)?;
    let calm = locals.look();
    let (mut once, mut twice, mut once_again) = (Vec::new(), Vec::new(), Vec::new());
    unwind(|| {
        once = locals.look();
        unwind(|| twice = locals.look());
        once_again = locals.look();
    });
    let calm_again = locals.look();
    let is_count = |word: &usize| {
        let looks = [&calm, &once, &twice, &once_again, &calm_again];
        looks.map(|look| look.get(*word)) == [0, 1, 2, 1, 0].each_ref().map(Some)
    };
    let mut found = (0..calm.len()).filter(is_count);
    let count = found.next().filter(|_| found.next().is_none())?;
    let count = locals.start + count * WORD;
    let flag = count.wrapping_add_signed(FLAG);
    let is_within = (locals.start..locals.start + locals.size).contains(&flag);
    is_within.then(|| count.wrapping_sub(anchor).cast_signed())
}

/// Calls `f` in a destructor, while the thread unwinds.
fn unwind(f: impl FnOnce()) {
    let _caught = panic::catch_unwind(AssertUnwindSafe(|| {
        let _in_drop = InDrop(Some(f));
        panic::resume_unwind(Box::new(()));
    }));
}

/// Learns whether the flag is where it should be.
fn learn_flag() -> bool {
    let (mut unwinds, mut unwinds_after_hook) = (None, None);
    let calm = get();
    unwind(|| unwinds = get());
    let in_hook = get_in_hook(|| unwinds_after_hook = get());
    let states = [calm, unwinds, in_hook, unwinds_after_hook, get()];
    states == [(0, false), (1, false), (1, true), (1, false), (0, false)].map(Some)
}

/// The state of the current thread in the panic hook, which it borrows for that: other threads that
/// panic meanwhile get to the program's. Calls `f` when it unwinds afterwards.
fn get_in_hook(f: impl FnOnce()) -> Option<State> {
    let programs = Arc::new(panic::take_hook());
    let seen = Arc::new(Mutex::new(None));
    let (me, for_others, sees) = (thread::current().id(), programs.clone(), seen.clone());
    panic::set_hook(Box::new(move |info| {
        if thread::current().id() == me {
            *sees.lock() = get();
        } else {
            for_others(info);
        }
    }));
    let _caught = panic::catch_unwind(AssertUnwindSafe(|| {
        let _after = InDrop(Some(f));
        panic::panic_any(());
    }));
    drop(panic::take_hook());
    if let Ok(programs) = Arc::try_unwrap(programs) {
        panic::set_hook(programs);
    }
    seen.lock().take()
}

/// Calls its function when it is dropped.
struct InDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for InDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

/// The thread-locals of one module, in the current thread.
struct Locals {
    start: usize,
    size: usize,
}

impl Locals {
    /// What is in them, by words.
    fn look(&self) -> Vec<usize> {
        let words = (0..self.size / WORD).map(|word| {
            let at = ptr::with_exposed_provenance::<usize>(self.start + word * WORD);
            // SAFETY: the system says that the current thread has its thread-locals there, and nobody
            // else changes them.
            unsafe { at.read_volatile() }
        });
        words.collect()
    }

    /// Those among which `anchor` is.
    #[cfg(target_os = "linux")]
    fn around(anchor: usize) -> Option<Self> {
        use std::ffi::{c_int, c_void};

        struct Search {
            anchor: usize,
            found: Option<Locals>,
        }

        unsafe extern "C" fn visit(
            module: *mut libc::dl_phdr_info,
            _: usize,
            search: *mut c_void,
        ) -> c_int {
            // SAFETY: dl_iterate_phdr passes a module, and what it was given.
            let (module, search) = unsafe { (&*module, &mut *search.cast::<Search>()) };
            let start = module.dlpi_tls_data.addr();
            for header in 0..usize::from(module.dlpi_phnum) {
                // SAFETY: the module has so many.
                let header = unsafe { &*module.dlpi_phdr.add(header) };
                let size = usize::try_from(header.p_memsz).unwrap_or(0);
                let is_around = start != 0 && (start..start + size).contains(&search.anchor);
                if header.p_type == libc::PT_TLS && is_around && start.is_multiple_of(WORD) {
                    search.found = Some(Locals { start, size });
                }
            }
            0
        }

        let mut search = Search {
            anchor,
            found: None,
        };
        // SAFETY: the callback is for what it is given.
        unsafe { libc::dl_iterate_phdr(Some(visit), ptr::from_mut(&mut search).cast()) };
        search.found
    }

    #[cfg(not(target_os = "linux"))]
    fn around(_: usize) -> Option<Self> {
        None
    }
}

#[cfg(all(test, not(roving_loom), target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_and_tells_how_many() {
        find(&Passage::enter());
        assert!(goes_along());
        let count = || get().map(|(count, _)| count);
        assert_eq!(get(), Some((0, false)));
        unwind(|| {
            assert_eq!(count(), Some(1));
            unwind(|| assert_eq!(count(), Some(2)));
            assert_eq!(count(), Some(1));
            let taken = take().expect("it panics");
            assert!(!thread::panicking());
            unwind(|| assert_eq!(count(), Some(1)));
            put_back(taken);
            assert!(thread::panicking());
        });
        assert!(take().is_none());
        assert_eq!(get(), Some((0, false)));
    }
}
