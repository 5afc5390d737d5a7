//! Wake-ups by those who must not do them: by the handler of a signal, which may have interrupted whoever does the same, and by
//! the runtime, whose allocator may be one with locks.
//!
//! They [note](note) the address, which takes no lock and no memory, and an OS thread, which is there [from the beginning](begin), wakes
//! all who wait there. They had been counted when the address was noted, so they are in the list when the thread looks, or
//! look themselves at what was changed before.
//!
//! The thread also does what is to be done a [little later](Chore::run_later), once for all who ask for it until then.
//!
//! A forked child has not the thread of its parent. It has one [before](begin_in_child) anybody waits there: until then there is
//! nobody to wake.
//!
//! There is room for many addresses at once. Who finds none waits for the thread to take some.

use std::fmt;
use std::hint;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::futex::{self, Flags, Timespec};

use super::address;
use crate::protocol::lock::{Inside, Mutex};
use crate::protocol::process::PerProcess;
use crate::run::{context, os_thread, signals};

/// The addresses, where there are any.
static NOTED: [AtomicUsize; 1024] = [const { AtomicUsize::new(0) }; 1024];
/// The chore that was noted last. The others follow it.
static CHORES: AtomicPtr<Chore> = AtomicPtr::new(ptr::null_mut());
/// The same of those that are done a little later.
static LATER: AtomicPtr<Chore> = AtomicPtr::new(ptr::null_mut());
/// Changes after each note.
static NOTES: AtomicU32 = AtomicU32::new(0);

/// How much later.
const LITTLE: Duration = Duration::from_millis(100);

/// Set once the thread is there.
static HAS_BEGUN: PerProcess<()> = PerProcess::new();

/// Sees to it that what is noted in this process is done.
///
/// # Errors
///
/// The system refuses the OS thread that does it.
pub(crate) fn begin() -> io::Result<()> {
    static BEGINNING: PerProcess<Mutex<()>> = PerProcess::new();
    let _one_at_a_time = BEGINNING.get_or_make(Mutex::default).lock();
    if HAS_BEGUN.get().is_none() {
        os_thread::start("roving-noted".into(), work)?;
        HAS_BEGUN.get_or_make(|| ());
    }
    Ok(())
}

/// The same in a process that was forked from one where it has begun, and nothing in others.
///
/// # Errors
///
/// As [`begin`].
#[inline]
pub(crate) fn begin_in_child() -> io::Result<()> {
    if HAS_BEGUN.get().is_none() && HAS_BEGUN.get_or_inherited().is_some() {
        begin()
    } else {
        Ok(())
    }
}

/// Wakes as many as that of those who wait at `address` for one of `bits`, the first first, and tells how many. Inside of the
/// runtime it has all of them woken a little later, and tells of none.
#[inline]
pub fn wake(address: usize, bits: u32, at_most: usize) -> usize {
    if !address::is_awaited(address) {
        0
    } else if is_in_runtime() {
        note(address);
        0
    } else {
        address::wake_awaited(address, bits, at_most)
    }
}

/// Whether the caller is the runtime, which may be about to do anything.
#[cold]
fn is_in_runtime() -> bool {
    Inside::is_current()
        || context::with_worker(|worker| worker.is_some_and(|worker| worker.running().is_none()))
}

/// Has all woken who wait at `address`.
#[cold]
fn note(address: usize) {
    let here = |slot: &AtomicUsize| {
        // Release: the thread is to see what was changed before.
        let noted = slot.compare_exchange(0, address, Ordering::Release, Ordering::Relaxed);
        noted.is_ok()
    };
    let start = address / size_of::<usize>();
    while !(0..NOTED.len()).any(|n| here(&NOTED[start.wrapping_add(n) % NOTED.len()])) {
        // Before there is the thread, nobody waits in this process, and what is counted is the parent's.
        if HAS_BEGUN.get().is_none() {
            return;
        }
        hint::spin_loop();
    }
    tell();
}

/// Lets the thread look.
fn tell() {
    NOTES.fetch_add(1, Ordering::Release);
    // It fails if nobody sleeps there. It leaves `errno` as it is.
    let _ = futex::wake(&NOTES, Flags::PRIVATE, 1);
}

/// Something that wakes, and that may be done once more than it was asked for.
pub struct Chore {
    act: Box<dyn Fn() + Send + Sync>,
    /// Whether it is in a list, or about to be.
    is_noted: AtomicBool,
    /// The one that was noted before. It is changed by who has set `is_noted` alone.
    before: AtomicPtr<Chore>,
}

impl Chore {
    /// What `act` does, which does not unwind. There is somebody to do it in this process, which has [begun](begin) or was forked from
    /// one that has.
    ///
    /// # Errors
    ///
    /// As [`begin`].
    pub fn new(act: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        begin_in_child()?;
        Ok(Self {
            act: Box::new(act),
            is_noted: AtomicBool::new(false),
            before: AtomicPtr::new(ptr::null_mut()),
        })
    }

    /// Does it; inside of the runtime, has it done a little later.
    pub fn run(&'static self) {
        if is_in_runtime() {
            self.note_in(&CHORES);
            tell();
        } else {
            (self.act)();
        }
    }

    /// Has it done a little later, if that is not to happen anyway. A chore that is run so is not run otherwise.
    pub fn run_later(&'static self) {
        if self.note_in(&LATER) {
            tell();
        }
    }

    /// Takes no lock and no memory. Whether it was noted nowhere.
    #[cold]
    fn note_in(&'static self, list: &AtomicPtr<Self>) -> bool {
        // Release: the thread is to see what was changed before, also if another note is what it finds.
        let is_new = !self.is_noted.swap(true, Ordering::AcqRel);
        if is_new {
            let _ = list.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| {
                self.before.store(last, Ordering::Relaxed);
                Some(ptr::from_ref(self).cast_mut())
            });
        }
        is_new
    }
}

impl fmt::Debug for Chore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chore").finish_non_exhaustive()
    }
}

/// Does all chores of a list.
fn do_chores(list: &AtomicPtr<Chore>) {
    let mut next = list.swap(ptr::null_mut(), Ordering::Acquire);
    // SAFETY: what is noted is there for ever.
    while let Some(chore) = unsafe { next.as_ref() } {
        // Before it may be noted anew.
        next = chore.before.load(Ordering::Relaxed);
        // Before it is done: who notes it from now on has it done once more. Acquire: with a note comes what was changed before.
        chore.is_noted.swap(false, Ordering::AcqRel);
        (chore.act)();
    }
}

fn work() {
    // No handler of the program's runs here: one that notes more than there is room for, or that does not return, would wait for itself.
    signals::block_all();
    let mut later = None;
    loop {
        // Acquire: with a note comes its address.
        let seen = NOTES.load(Ordering::Acquire);
        for slot in &NOTED {
            if slot.load(Ordering::Relaxed) != 0 {
                let address = slot.swap(0, Ordering::Acquire);
                address::wake_awaited(address, u32::MAX, usize::MAX);
            }
        }
        do_chores(&CHORES);
        if later.is_some_and(|later| later <= Instant::now()) {
            later = None;
            do_chores(&LATER);
        }
        if later.is_none() && !LATER.load(Ordering::Relaxed).is_null() {
            later = Some(Instant::now() + LITTLE);
        }
        let left = later.map(|later| later.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        // What is noted after it has looked wakes it, or changes what it has seen.
        let _ = futex::wait(&NOTES, Flags::PRIVATE, seen, left.as_ref());
    }
}
