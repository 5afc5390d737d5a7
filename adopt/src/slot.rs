//! What is known of each descriptor, by its number.
//!
//! Descriptors come and go by many ways, of which some are not seen here. So what is known is only what makes a call cheaper, or
//! lets its caller wait, and each piece says since when it holds:
//!
//! - A number has a *generation*, which changes whenever a descriptor of that number is seen to be closed or replaced. Who waits
//!   compares it with that at the beginning of its call, and finds its descriptor gone.
//! - The [nature](Nature) of a descriptor is that of a generation. Of a number of which nothing is known, nor asked, nobody can know the
//!   generation, and none begins. So who asks says so before, and then looks whether anybody is taking the number; who takes it says so before,
//!   and then looks whether anything is known or asked. At least one of the two sees the other.
//! - Whether it is *plain*, in blocking mode and without timeouts, is a property of the open file description, which several
//!   descriptors may share, of other processes too. It holds in a generation and an *epoch*, of which a new one begins whenever any of
//!   those settings is changed here.
//! - The [watch](Watch) of a number is for good, and told of what has it before a wait: there a descriptor is found out that was
//!   closed and replaced unseen, and what was known is forgotten. Once it has been told in a generation, that is
//!   [relied on](relied) for a moment.
//!
//! The slots lie in chunks that are mapped when a number is first waited for, and never freed: a slot is found without a lock.
//! A number beyond the last chunk has none, and calls on it are made with the worker's place handed over.

mod nature;
mod relied;
mod replacing;
mod turn;

pub(crate) use self::nature::{Nature, is_fifo, option};
pub(crate) use self::relied::note_shared;
pub(crate) use self::replacing::{replacing, replacing_all};
pub(crate) use self::turn::{Turn, leave_turn};

use std::ffi::c_int;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering,
};

use roving_io::adopt::Watch;
use roving_scheduler::Handle;

const CHUNK: usize = 1 << 10;
const CHUNKS: usize = 1 << 10;

/// The slots by number. A chunk that is there stays there.
static SLOTS: [AtomicPtr<Slot>; CHUNKS] = [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS];

/// Changes whenever the mode or the timeouts of any descriptor do.
static EPOCH: AtomicU64 = AtomicU64::new(1);

/// With whose driver all numbers are registered.
static RUNTIME: OnceLock<Handle> = OnceLock::new();

/// It was armed by several at once, or while somebody was taking the number.
const UNSURE: u64 = u64::MAX;
/// One that has begun to arm it, in the count of those.
const BEGUN: u64 = 1 << 32;

/// The nature of a number of which somebody has asked what it is. It is none of those that are [known](Nature::code).
const ASKED: u64 = 0xff;

/// Whether this is a process that was forked by one that was adopted.
static IS_FORKED: AtomicBool = AtomicBool::new(false);

/// Whose descriptors these are. A child of `vfork` has its own, and the memory of its parent.
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// From now on there is somebody to wait with.
pub(crate) fn wait_with(runtime: Handle) {
    if RUNTIME.set(runtime).is_ok() {
        // SAFETY: the functions stay, and do not unwind. Without memory for it, a forked child waits in vain.
        unsafe { libc::pthread_atfork(Some(before_fork), None, Some(in_child)) };
    }
    // SAFETY: it has no preconditions.
    PROCESS.store(unsafe { libc::getpid() }, Ordering::Relaxed);
}

/// What a forked child has it shares with its parent.
extern "C" fn before_fork() {
    note_shared();
}

/// A forked child has descriptors of its own, and none of them is registered with the driver that it will have.
extern "C" fn in_child() {
    // SAFETY: it has no preconditions.
    PROCESS.store(unsafe { libc::getpid() }, Ordering::Relaxed);
    IS_FORKED.store(true, Ordering::Relaxed);
    roving_io::adopt::forget_kept();
    let chunks = SLOTS.iter().map(|chunk| chunk.load(Ordering::Relaxed));
    for chunk in chunks.filter(|chunk| !chunk.is_null()) {
        // SAFETY: a chunk has so many, and stays.
        for slot in unsafe { std::slice::from_raw_parts(chunk, CHUNK) } {
            slot.watch.store(ptr::null_mut(), Ordering::Relaxed);
            slot.armed.store(0, Ordering::Relaxed);
            slot.arming.store(0, Ordering::Relaxed);
            slot.replacing.store(0, Ordering::Relaxed);
            slot.is_relied_on.store(false, Ordering::Relaxed);
            slot.turn.store(0, Ordering::Relaxed);
        }
    }
}

/// The runtime that all wait with: in a forked child one of its own.
fn runtime() -> Result<Handle, c_int> {
    if IS_FORKED.load(Ordering::Relaxed) {
        return Handle::current().map_err(|error| number_of(&error));
    }
    RUNTIME.get().cloned().ok_or(libc::ENOSYS)
}

/// Whether this is not a child that runs in the memory of its parent.
pub(crate) fn is_ours() -> bool {
    // SAFETY: it has no preconditions.
    unsafe { libc::getpid() == PROCESS.load(Ordering::Relaxed) }
}

/// Notes that the mode or a timeout of some descriptor may have changed.
pub(crate) fn settings_changed() {
    EPOCH.fetch_add(1, Ordering::AcqRel);
}

/// Whether any socket has been given a low-water mark.
static ARE_LOW_WATER_MARKS: AtomicBool = AtomicBool::new(false);

/// Notes that some socket may have a low-water mark.
pub(crate) fn note_low_water_mark() {
    ARE_LOW_WATER_MARKS.store(true, Ordering::Relaxed);
}

/// Whether to receive from a socket may wait though there is something.
pub(crate) fn has_low_water_mark(fd: c_int) -> bool {
    ARE_LOW_WATER_MARKS.load(Ordering::Relaxed)
        && option(fd, libc::SO_RCVLOWAT).is_some_and(|mark| mark > 1)
}

/// A number of descriptors. See the [module](self). All zero is one that has never been seen.
#[derive(Debug)]
pub(crate) struct Slot {
    generation: AtomicU64,
    /// In which generation, and which.
    nature: AtomicU64,
    /// In which generation and epoch it was last plain.
    plain: AtomicU64,
    /// In which generation, and one more, it was armed last, by one alone and while nobody was taking the number; or [`UNSURE`]. While somebody
    /// arms it, it is not known.
    armed: AtomicU64,
    /// How many are arming it, and above that, in units of [`BEGUN`], how many have begun to.
    arming: AtomicU64,
    /// How many are taking the number from what has it.
    replacing: AtomicU32,
    /// Whether somebody has waited who has [relied] on its being armed, and nobody has looked since.
    is_relied_on: AtomicBool,
    /// Of those who read from a file: see [`Turn`].
    turn: AtomicU8,
    /// Made when it is first waited for.
    watch: AtomicPtr<Watch>,
}

/// Which of the descriptors of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Slot {
    /// That of a number. `None` if there is none.
    pub(crate) fn of(fd: c_int) -> Option<&'static Self> {
        match Self::seen(fd) {
            None => Self::map(fd),
            slot => slot,
        }
    }

    /// That of a number, if there has ever been a call on one of its chunk.
    pub(crate) fn seen(fd: c_int) -> Option<&'static Self> {
        let number = usize::try_from(fd).ok()?;
        let chunk = SLOTS.get(number / CHUNK)?.load(Ordering::Acquire);
        // SAFETY: a chunk that is there has so many slots, and stays.
        (!chunk.is_null()).then(|| unsafe { &*chunk.add(number % CHUNK) })
    }

    #[cold]
    #[inline(never)]
    fn map(fd: c_int) -> Option<&'static Self> {
        let chunk = SLOTS.get(usize::try_from(fd).ok()? / CHUNK)?;
        let size = CHUNK * size_of::<Self>();
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: where nothing is.
        let made = unsafe { libc::mmap(ptr::null_mut(), size, access, kind, -1, 0) };
        if made == libc::MAP_FAILED {
            return None;
        }
        let put = chunk.compare_exchange(
            ptr::null_mut(),
            made.cast(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if put.is_err() {
            // Another thread has made one.
            // SAFETY: nobody has seen this one.
            unsafe { libc::munmap(made, size) };
        }
        // All zero are slots, and a page begins where one may.
        Self::seen(fd)
    }

    pub(crate) fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    /// What kind of thing the descriptor is of, asking the system if that is not known. `None` if it is closed.
    pub(crate) fn nature(&self, fd: c_int) -> Option<Nature> {
        let known = self.nature.load(Ordering::Relaxed);
        let generation = self.generation();
        if known >> 8 == generation.0
            && let Some(nature) = Nature::from_code(known & 0xff)
        {
            return Some(nature);
        }
        // SeqCst, as all that tells who asks and who takes the number of each other.
        self.nature.store(ASKED, Ordering::SeqCst);
        let is_settled = self.is_settled();
        let nature = Nature::ask(fd)?;
        if is_settled {
            self.set_nature(generation, nature);
        }
        Some(nature)
    }

    pub(crate) fn set_nature(&self, generation: Generation, nature: Nature) {
        // Relaxed: it is all in one word.
        let known = generation.0 << 8 | nature.code();
        self.nature.store(known, Ordering::Relaxed);
    }

    /// Whether the descriptor is known to be in blocking mode and without timeouts.
    pub(crate) fn is_plain(&self) -> bool {
        let now = mixed(self.generation(), EPOCH.load(Ordering::Acquire));
        self.plain.load(Ordering::Relaxed) == now && relied::are_reliable()
    }

    /// Does what `ask` does, which tells whether the descriptor is plain, and notes it.
    pub(crate) fn learn_plain<T>(&self, ask: impl FnOnce() -> (bool, T)) -> T {
        // Before it asks: if it is told what is true no more, an epoch or a generation has begun.
        let now = mixed(self.generation(), EPOCH.load(Ordering::Acquire));
        let is_settled = self.is_settled();
        let (is_plain, told) = ask();
        if is_plain && is_settled {
            self.plain.store(now, Ordering::Relaxed);
        }
        told
    }

    /// Sees to it that the edges of the descriptor reach its watch. Whether they have not before: then there is one at once if it is
    /// ready.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl`: `EBADF` if it is closed, others if it cannot be waited for. `EEXIST` if its edges go to a socket of the runtime's
    /// own.
    pub(crate) fn arm(&self, fd: c_int, watch: &Watch) -> Result<bool, c_int> {
        let begun = self.arming.fetch_add(BEGUN + 1, Ordering::SeqCst);
        let others = !begun.is_multiple_of(BEGUN);
        // Who begins from now on finds this one arming, and is not alone either.
        let is_alone = || {
            let begun_since = self.arming.load(Ordering::SeqCst).wrapping_sub(begun) / BEGUN;
            !others && begun_since == 1
        };
        let now = self.generation().0 + 1;
        let known = self.armed.load(Ordering::SeqCst);
        // Which of several is the first, nobody knows.
        let was_armed = others || [now, UNSURE].contains(&known);
        // If not, it may be registered still as what it was, until it is dismissed.
        let is_settled = self.is_settled();
        let is_new = watch.arm(fd).map_err(|error| number_of(&error));
        let is_armed = is_new.is_ok_and(|is_new| is_new || was_armed);
        let is_of_now = is_settled && self.generation().0 + 1 == now;
        let after = match is_armed {
            true if is_of_now && is_alone() => now,
            // Of which of two it is the registration, nobody knows.
            true => UNSURE,
            false => 0,
        };
        self.armed.store(after, Ordering::SeqCst);
        // What one has noted who has begun and ended since is overwritten.
        let is_alone = is_alone();
        if !is_alone {
            self.armed.store(UNSURE, Ordering::SeqCst);
        }
        // A child that was forked meanwhile has not counted this one.
        let one_less = |arming: u64| (!arming.is_multiple_of(BEGUN)).then(|| arming - 1);
        let _ = self
            .arming
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        match (was_armed, is_new?) {
            (true, true) if known == now && is_alone && is_of_now => self.was_changed_unseen(),
            // It may have been.
            (true, true) => self.forget(),
            (false, false) if is_alone && is_settled => return Err(libc::EEXIST),
            _ => {}
        }
        is_new
    }

    /// Forgets what was known, since the descriptor may have been replaced unseen.
    pub(crate) fn forget(&self) {
        self.nature.store(ASKED, Ordering::SeqCst);
        self.plain.store(0, Ordering::Relaxed);
    }

    /// What is waited with, if the number has been waited for.
    pub(crate) fn watch(&self) -> Option<&'static Watch> {
        // SAFETY: what is there is leaked.
        unsafe { self.watch.load(Ordering::SeqCst).as_ref() }
    }

    /// What is waited with.
    ///
    /// # Errors
    ///
    /// The runtime has no driver and gets none.
    pub(crate) fn watch_or_make(&self) -> Result<&'static Watch, c_int> {
        if let Some(watch) = self.watch() {
            return Ok(watch);
        }
        let made = Watch::new(&runtime()?).map_err(|error| number_of(&error))?;
        relied::begin();
        let made = Box::into_raw(Box::new(made));
        let put =
            self.watch
                .compare_exchange(ptr::null_mut(), made, Ordering::SeqCst, Ordering::SeqCst);
        // Another thread has made one, and this one is lost: its place in the driver is kept, as that of any number.
        let watch = put.map_or_else(|other| other, |_| made);
        // SAFETY: both are leaked.
        Ok(unsafe { &*watch })
    }
}

/// Both in one word. Each may come round, but not both while one call asks the system.
fn mixed(generation: Generation, epoch: u64) -> u64 {
    epoch << 24 | generation.0 & 0xff_ffff
}

/// The number of an error, as the C library tells it.
pub(crate) fn number_of(error: &std::io::Error) -> c_int {
    error.raw_os_error().unwrap_or(libc::ENOMEM)
}

#[cfg(test)]
mod tests {
    use std::io::PipeReader;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::next::next;

    /// Takes the number from what has it, by the system's own.
    fn take(from: &PipeReader, fd: c_int) {
        type Dup = unsafe extern "C" fn(c_int, c_int, c_int) -> c_int;
        // SAFETY: both are descriptors of the test's own.
        assert_eq!(unsafe { next!(dup3: Dup)(from.as_raw_fd(), fd, 0) }, fd);
    }

    /// Another thread asks about it for the first time when it has been found that nobody has.
    #[test]
    fn what_is_learnt_of_who_loses_the_number_is_not_said_of_who_gets_it() {
        crate::adopt().unwrap();
        let (reader, _writer) = std::io::pipe().unwrap();
        let (asked, waited_for) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());

        let fd = asked.0.as_raw_fd();
        let slot = Slot::of(fd).unwrap();
        replacing(fd, || {
            assert_eq!(slot.nature(fd), Some(Nature::Socket));
            take(&reader, fd);
        });
        assert_eq!(slot.nature(fd), Some(Nature::Flagged));

        let fd = waited_for.0.as_raw_fd();
        let slot = Slot::of(fd).unwrap();
        replacing(fd, || {
            let watch = slot.watch_or_make().unwrap();
            assert_eq!(slot.arm(fd, watch), Ok(true));
            slot.learn_plain(|| (true, ()));
            take(&reader, fd);
        });
        assert!(!slot.relies(fd, slot.generation()));
        assert!(!slot.is_plain());
    }
}
