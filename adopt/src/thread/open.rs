//! Signals to the process that only green threads let come.
//!
//! The system gives a signal to the process to one of its OS threads that has not blocked it. Where the program has it blocked in all of them
//! but for a green thread that waits for it to come, as a server does that has one thread for its signals, no OS thread has it open while
//! that one is parked: the workers have the mask of who has made them. So those signals are listed that a green thread has open and the
//! workers have blocked, and an OS thread takes them, and sends them to a thread that has, with all that the system has told.
//!
//! What was sent is held back by nobody meanwhile, and ends a wait as what is sent to the thread itself. But it is for the process: if the thread
//! blocks it before it heeds it, or ends, it goes to another one that has it open, or else back to the process.
//!
//! What was sent before a thread blocks it, or ends, is handled before: nobody else may have it open, and the system would not lose it either.
//! But the taker may have it in hand. So such a thread [settles](settle) that first: the system delivers what it still has, and the taker says
//! when it has passed on what it had.
//!
//! A thread in a call that has its worker handed over is not listed meanwhile: it is on an OS thread of its own, which has the signal open, and
//! the system finds that.
//!
//! What a change of a mask costs does not depend on how many threads are listed. The taker looks again when a signal comes to be open in any of
//! them, or in none any more, and it is not told twice before it has looked.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{c_int, c_long};
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libc::{pthread_t, siginfo_t};
use roving_scheduler::PerProcess;
use roving_scheduler::adopt::{self, Awaited, Signals};
use roving_scheduler::lock::Mutex;

use super::records::Shared;
use super::{Known, current, kernel, news};
use crate::mask;
use crate::next::next;

/// A thread that is listed.
struct Listed {
    known: Shared,
    open: Signals,
}

/// The hash of an id, which the program has not chosen.
#[derive(Default)]
struct OfId(u64);

impl Hasher for OfId {
    fn write(&mut self, _: &[u8]) {
        unreachable!("an id is written as a number");
    }

    fn write_u64(&mut self, id: u64) {
        // Fibonacci hashing.
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Who has which open.
#[derive(Default)]
struct Open {
    threads: HashMap<pthread_t, Listed, BuildHasherDefault<OfId>>,
    /// How many have each open, by its bit.
    counts: Counts,
    /// Those that any has open.
    all: Signals,
}

struct Counts([u32; Signals::BITS as usize]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Signals::BITS as usize])
    }
}

impl Open {
    /// Lists a thread anew. Whether there is another set for the taker.
    fn set(&mut self, id: pthread_t, known: Shared, open: Signals) -> bool {
        self.threads.entry(id).or_insert(Listed { known, open: 0 });
        self.change(id, |_| open)
    }

    /// The same for one that is listed.
    fn change(&mut self, id: pthread_t, change: impl FnOnce(&Listed) -> Signals) -> bool {
        let Some(listed) = self.threads.get_mut(&id) else {
            return false;
        };
        let open = change(listed);
        let before = mem::replace(&mut listed.open, open);
        self.count(before, open)
    }

    fn remove(&mut self, id: pthread_t) -> (Option<Listed>, bool) {
        let removed = self.threads.remove(&id);
        let before = removed.as_ref().map_or(0, |listed| listed.open);
        (removed, self.count(before, 0))
    }

    fn count(&mut self, before: Signals, after: Signals) -> bool {
        let all_before = self.all;
        let mut differ = before ^ after;
        while differ != 0 {
            let bit = differ.trailing_zeros();
            let one = 1 << bit;
            let count = &mut self.counts.0[bit as usize];
            if after & one != 0 {
                *count += 1;
                self.all |= one;
            } else {
                *count -= 1;
                if *count == 0 {
                    self.all &= !one;
                }
            }
            differ &= !one;
        }
        self.all != all_before
    }

    /// A thread that has the signal open.
    fn find(&self, signal: c_int) -> Option<(pthread_t, Shared)> {
        if !mask::is_in(self.all, signal) {
            return None;
        }
        let mut threads = self.threads.iter();
        let found = threads.find(|(_, listed)| mask::is_in(listed.open, signal));
        found.map(|(&id, listed)| (id, listed.known.clone()))
    }
}

static OPEN: PerProcess<Mutex<Open>> = PerProcess::new();

/// The OS thread that takes them.
#[derive(Default)]
struct Taker {
    /// Whether it has been started.
    has_begun: Mutex<bool>,
    /// Its number, once it is there, and else 0.
    number: AtomicI32,
    /// Whether it has been told to look, and has not begun to.
    is_told: AtomicBool,
    /// How often it was asked whether it has passed on all that it has taken.
    asked: AtomicU32,
    /// How many of these it has answered: it has.
    answered: AtomicU32,
}

impl Taker {
    /// Whether a question is not answered, of which there were so many.
    fn owes(&self, asked: u32) -> bool {
        let answered = self.answered.load(Ordering::SeqCst);
        (asked.wrapping_sub(answered) as i32) > 0
    }

    /// It has passed on all that it has taken.
    fn answer(&self) {
        let asked = self.asked.load(Ordering::SeqCst);
        if self.owes(asked) {
            self.answered.store(asked, Ordering::SeqCst);
            adopt::wake(self.place(), !0, usize::MAX);
        }
    }

    /// Where those wait who have asked.
    fn place(&self) -> usize {
        &raw const self.answered as usize
    }
}

static TAKER: PerProcess<Taker> = PerProcess::new();

thread_local! {
    static IS_LISTED: Cell<bool> = const { Cell::new(false) };
}

// Not inlined: a compiler may keep the address of a thread-local for as long as a function runs.
#[inline(never)]
fn is_listed() -> bool {
    IS_LISTED.get()
}

#[inline(never)]
fn set_listed(is_listed: bool) {
    IS_LISTED.set(is_listed);
}

fn open() -> &'static Mutex<Open> {
    OPEN.get_or_make(Mutex::default)
}

/// The current thread has these blocked from now on.
pub(super) fn note(blocked: Signals) {
    let Some(of_worker) = adopt::blocked_by_worker() else {
        return;
    };
    let signals = of_worker & !blocked;
    if signals == 0 {
        return end();
    }
    let Some((id, known)) = current::shared() else {
        return;
    };
    let is_to_look = open().lock().set(id, known, signals);
    set_listed(true);
    look_again_if(is_to_look);
}

/// The current thread has nothing open any more that its worker has not; or it ends.
pub(super) fn end() {
    if !is_listed() {
        return;
    }
    set_listed(false);
    let Some(id) = current::id() else { return };
    let (_removed, is_to_look) = open().lock().remove(id);
    look_again_if(is_to_look);
}

/// The current thread is on an OS thread of its own, or is no more. It may be in the handler of a signal.
pub(super) fn change_place(is_on_os_thread: bool) {
    if !is_listed() {
        return;
    }
    let Some((id, of_worker)) = current::id().zip(adopt::blocked_by_worker()) else {
        return;
    };
    let open_now = |listed: &Listed| match is_on_os_thread {
        true => 0,
        false => of_worker & !listed.known.blocked(),
    };
    let is_to_look = open().lock().change(id, open_now);
    look_again_if(is_to_look);
}

/// How long after it was told the taker is told again.
const AGAIN: Duration = Duration::from_millis(10);

/// Sees to it that what was sent to the process until now, of what the current thread has open, is with a thread that handles it. This one is about
/// to block it, or to end; and a handler may end it here.
pub(super) fn settle() {
    if !is_listed() {
        return;
    }
    let Some((of_worker, blocked)) =
        adopt::blocked_by_worker().zip(current::with_known(Known::blocked))
    else {
        return;
    };
    // First: what is left to the taker now, it may take when it has answered.
    let_pending_come(of_worker & !blocked);
    let taker = taker();
    let asked = taker.asked.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
    let waits = || taker.owes(asked);
    while waits() && look_again() {
        let again = Some(Instant::now() + AGAIN);
        let why = &"signals to the process";
        if adopt::wait(taker.place(), !0, again, why, waits, || ()) == Awaited::TimedOut {
            news::heed(false);
        }
    }
}

/// Has the system deliver what is pending for the process, of these that the current thread has open. It may have woken another thread for it, and
/// looks again where a mask changes.
fn let_pending_come(open: Signals) {
    type Syscall =
        unsafe extern "C-unwind" fn(c_long, c_int, *const Signals, usize, usize) -> c_long;
    for how in [libc::SIG_BLOCK, libc::SIG_UNBLOCK] {
        let (number, size) = (libc::SYS_rt_sigprocmask, size_of::<Signals>());
        // SAFETY: it is a set of that size, and nothing is told of the mask before.
        unsafe { next!(syscall: Syscall)(number, how, &raw const open, 0, size) };
    }
}

/// In a forked child, whose only thread is an OS thread.
pub(super) fn in_child() {
    set_listed(false);
}

fn taker() -> &'static Taker {
    TAKER.get_or_make(Taker::default)
}

fn look_again_if(is_to_look: bool) {
    if is_to_look {
        look_again();
    }
}

/// Has the taker look at what is listed, and at what it is asked. Whether it will. While the system refuses an OS thread, signals come when their
/// threads run.
#[cold]
fn look_again() -> bool {
    let taker = taker();
    {
        let mut has_begun = taker.has_begun.lock();
        if !*has_begun {
            // It looks first.
            let begun = roving_scheduler::start_os_thread("roving-signals".to_owned(), take_all);
            *has_begun = begun.is_ok();
            return *has_begun;
        }
    }
    let number = taker.number.load(Ordering::SeqCst);
    // One that is not there yet looks when it is.
    if number != 0 && !taker.is_told.swap(true, Ordering::SeqCst) {
        let told = system(
            libc::SYS_tgkill,
            [process(), number as usize, LOOK as usize, 0],
        );
        // There is no room for another signal: the next one who lists something tells it.
        if told != 0 {
            taker.is_told.store(false, Ordering::SeqCst);
            return false;
        }
    }
    true
}

/// What tells the taker to look. The program cannot use it, and the C library sends it to threads alone that it cancels.
const LOOK: c_int = 32;

fn bit(signal: c_int) -> Signals {
    1 << (signal - 1)
}

fn process() -> usize {
    // SAFETY: it has no preconditions.
    unsafe { libc::getpid() as usize }
}

/// A system call with what it takes.
fn system(number: c_long, [a, b, c, d]: [usize; 4]) -> c_long {
    type Syscall = unsafe extern "C" fn(c_long, usize, usize, usize, usize) -> c_long;
    // SAFETY: the callers give it what it takes.
    unsafe { next!(syscall: Syscall)(number, a, b, c, d) }
}

/// What the taker does.
fn take_all() {
    adopt::block_all();
    let taker = taker();
    taker.number.store(kernel::os_thread(), Ordering::SeqCst);
    loop {
        // Before it looks: who lists something or asks from then on tells it again.
        taker.is_told.store(false, Ordering::SeqCst);
        taker.answer();
        let set = open().lock().all | bit(LOOK);
        // SAFETY: zeroes are valid for what is told of a signal.
        let mut info: siginfo_t = unsafe { mem::zeroed() };
        let place = (&raw mut info).expose_provenance();
        let set = (&raw const set).expose_provenance();
        let taken = system(
            libc::SYS_rt_sigtimedwait,
            [set, place, 0, size_of::<Signals>()],
        );
        match taken as c_int {
            LOOK => {}
            signal if signal > 0 => take(signal, &info),
            _ => {}
        }
    }
}

/// What becomes of a signal that the taker has taken.
fn take(signal: c_int, info: &siginfo_t) {
    match news::action(signal).sa_sigaction {
        libc::SIG_IGN => {}
        // What the system does with the process, it does where it finds the signal.
        libc::SIG_DFL => {
            let taker = kernel::os_thread() as usize;
            system(libc::SYS_tgkill, [process(), taker, signal as usize, 0]);
            adopt::let_come(bit(signal));
            adopt::block_all();
        }
        _ => pass_on(signal, info),
    }
}

/// Passes one that the process was sent on to a thread that has it open, or back to the process. The caller has it blocked.
pub(super) fn pass_on(signal: c_int, info: &siginfo_t) {
    // Not while the list is locked.
    let find = || open().lock().find(signal);
    while let Some((id, known)) = find() {
        if news::pass_on(&known, signal, info) {
            return;
        }
        // The handler of a signal has changed its mask, or it is about to be listed anew.
        open()
            .lock()
            .change(id, |listed| listed.open & !listed.known.blocked());
    }
    // What another process has sent, or the system itself, only the system may tell so.
    let place = ptr::from_ref(info).expose_provenance();
    let queued = system(
        libc::SYS_rt_sigqueueinfo,
        [process(), signal as usize, place, 0],
    );
    if queued != 0 {
        system(libc::SYS_kill, [process(), signal as usize, 0, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_taker_looks_when_another_set_is_open() {
        let mut open = Open::default();
        let known = || Shared::two(Known::default).unwrap().0;
        let (one, two) = (bit(10), bit(12));
        assert!(open.set(1, known(), one));
        assert!(!open.set(2, known(), one));
        assert!(!open.set(2, known(), one));
        assert!(open.set(3, known(), one | two));
        assert_eq!(open.all, one | two);
        assert!(!open.change(1, |_| 0));
        assert!(!open.change(7, |_| two));
        assert_eq!(open.find(12).map(|(id, _)| id), Some(3));
        assert!(open.find(11).is_none());
        assert!(open.change(3, |listed| listed.open & !two));
        assert!(!open.remove(3).1 && open.remove(2).1);
        assert_eq!((open.all, open.threads.len()), (0, 1));
        assert!(open.find(10).is_none());
        assert!(open.change(1, |_| one) && open.find(10).is_some());
    }
}
