//! Threads: what `pthread_create` makes is a green thread.
//!
//! The C library promises a thread with a stack of so many bytes, that runs beside its maker, has thread-locals and an id of its
//! own, and can be joined once or detached. A green thread has all that. What it has not, since these are the kernel's, are a
//! scheduling class, an affinity and a stack of the caller's: who asks for one of these
//! [when it is made](attributes) gets an OS thread, and who asks a green thread for one later is [refused](kernel).
//!
//! The id of a green thread leads to its [record](records), and is odd, as no id of the C library's is, which are addresses. So
//! each function that takes an id sees at once whose it is. The records of green threads are listed until they are joined, or
//! are detached and have ended; an id whose record is not listed is of no thread. In a forked child only its only thread is, if
//! that was a green one.

mod attributes;
mod c11;
mod call;
mod cancel;
mod coming;
mod current;
mod interrupt;
mod join;
mod kernel;
mod later;
mod name;
mod news;
mod open;
mod records;
mod survivor;

use std::ffi::{c_int, c_void};
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use libc::{pid_t, pthread_attr_t, pthread_t};
use roving_scheduler::adopt::{self, Awaited, Inside, Signals};
use roving_scheduler::lock::{Mutex, MutexGuard};
use roving_scheduler::thread::{Builder, JoinHandle, Thread};

use self::attributes::Wanted;
pub(crate) use self::attributes::{except, tell_attributes};
use self::call::Start;
pub(crate) use self::call::{destroy_by, exit_at_once};
pub(crate) use self::cancel::Point;
pub(crate) use self::current::real_id as current_real_id;
pub(crate) use self::interrupt::{Interruptible, begin as begin_to_interrupt};
pub(crate) use self::kernel::{
    gettid, nap, note_affinity, os_thread, sched_setaffinity, sched_setparam, sched_setscheduler,
    sent_to,
};
pub(crate) use self::name::prctl;
use self::name::{Given, Name};
use self::news::Sent;
pub(crate) use self::news::{
    Heeded, OnOsThread, heed, is_ending, look_up, note_mask, note_mask_as, take_in, take_in_all,
};
use self::records::Shared;

use crate::next::next;
use crate::{first, hand_over, is_adopted, lock, mask};

/// What a thread leaves to whoever joins it: a pointer that means nothing here.
#[derive(Clone, Copy)]
struct Left(*mut c_void);

impl Left {
    fn into_inner(self) -> *mut c_void {
        self.0
    }
}

// SAFETY: it is passed on, and not used.
unsafe impl Send for Left {}

/// What is known of a green thread until it is joined, or has been detached and is at its end.
#[derive(Default)]
struct Known {
    /// By which id the C library knows it; 0 before it has begun.
    real_id: AtomicU64,
    /// The OS thread that it has to itself; 0 if it has none. It gets one while the record is locked.
    os_thread: AtomicI32,
    /// Whether somebody is about to [give](Self::give_by) something to that.
    is_giving: AtomicBool,
    was_given: AtomicBool,
    is_cancelled: AtomicBool,
    /// Who joins it; 0 if nobody does. This and the next change while the record is locked.
    joiner: AtomicU64,
    is_detached: AtomicBool,
    /// The signals that it has not [blocked](Self::blocked).
    let_through: AtomicU64,
    name: Given,
    asked: Wanted,
    record: Mutex<Record>,
}

impl Known {
    fn new(name: Option<Name>, asked: Wanted, record: Record) -> Self {
        Self {
            name: Given::new(name),
            asked,
            record: Mutex::new(record),
            ..Self::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock()
    }

    fn joiner(&self) -> Option<pthread_t> {
        Some(self.joiner.load(Ordering::Relaxed)).filter(|&id| id != 0)
    }

    fn is_detached(&self) -> bool {
        self.is_detached.load(Ordering::Relaxed)
    }

    /// The current thread is this one, and has these signals blocked.
    fn begin(&self, blocked: Signals) {
        self.real_id.store(current::real_id(), Ordering::Release);
        // It does not look into the record now: whoever has sent it something before has nudged it.
        self.let_through.store(!blocked, Ordering::Release);
    }

    /// The signals that it has blocked; all before it has begun. Who sends it one has the record locked while he asks; so the thread itself
    /// finds in the record, after it has changed this, what was sent to it as it was.
    fn blocked(&self) -> Signals {
        !self.let_through.load(Ordering::SeqCst)
    }

    fn set_blocked(&self, blocked: Signals) {
        self.let_through.store(!blocked, Ordering::SeqCst);
    }

    /// Calls `give` with the OS thread that it has to itself, where it stays meanwhile. `None` if it has none.
    fn give_by<T>(&self, _: &MutexGuard<'_, Record>, give: impl FnOnce(pid_t) -> T) -> Option<T> {
        // So whoever leaves waits for one at most: who comes later finds none.
        if self.os_thread.load(Ordering::SeqCst) == 0 {
            return None;
        }
        self.is_giving.store(true, Ordering::SeqCst);
        let os_thread = self.os_thread.load(Ordering::SeqCst);
        let given = (os_thread != 0).then(|| {
            self.was_given.store(true, Ordering::Relaxed);
            give(os_thread)
        });
        self.is_giving.store(false, Ordering::SeqCst);
        given
    }

    /// The thread itself has none to itself any more. Whether that was given anything.
    ///
    /// A signal may come all the while, whose handler jumps: so nothing is locked here. Each side writes before it reads what the other one
    /// writes, and so at least one sees the other.
    fn leave_os_thread(&self) -> bool {
        self.os_thread.store(0, Ordering::SeqCst);
        while self.is_giving.load(Ordering::SeqCst) {
            nap(Duration::from_micros(20));
        }
        self.was_given.swap(false, Ordering::Relaxed)
    }

    fn real_id(&self) -> Option<pthread_t> {
        Some(self.real_id.load(Ordering::Acquire)).filter(|&id| id != 0)
    }
}

#[derive(Default)]
struct Record {
    /// For whoever joins it.
    handle: Option<JoinHandle<Left>>,
    /// Which OS thread it joins.
    joins: Option<pthread_t>,
    is_at_end: bool,
    /// By which it is nudged.
    thread: Option<Thread>,
    /// What it was sent and has not heeded.
    sent: Vec<Sent>,
}

impl Record {
    /// Whether it is that of the [`survivor`] of a fork, which is no thread of the runtime's.
    fn is_survivors(&self) -> bool {
        self.thread.is_none()
    }
}

/// How many threads there are that have not come to their end.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// Whose an id is.
enum Whose {
    Green(Shared),
    /// That of a green thread that is there no more.
    Nobody,
    /// The C library's.
    Real,
}

/// Whether an id is that of a green thread, or was one.
fn is_green(id: pthread_t) -> bool {
    id & 1 != 0
}

fn whose(id: pthread_t) -> Whose {
    if !is_green(id) {
        return Whose::Real;
    }
    records::find(id).map_or(Whose::Nobody, Whose::Green)
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: extern "C-unwind" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> c_int {
    first::at_thread();
    let wanted = if is_adopted() && !Inside::is_current() {
        // SAFETY: the caller's promise.
        unsafe { Wanted::of(attributes, Start::Posix(start)) }
    } else {
        None
    };
    match wanted {
        // SAFETY: the caller's promise.
        Some(wanted) => unsafe { create(thread, &wanted, Start::Posix(start), Left(argument)) },
        None => {
            type Next = unsafe extern "C" fn(
                *mut pthread_t,
                *const pthread_attr_t,
                extern "C-unwind" fn(*mut c_void) -> *mut c_void,
                *mut c_void,
            ) -> c_int;
            // SAFETY: the caller's promise.
            unsafe { next!(pthread_create: Next)(thread, attributes, start, argument) }
        }
    }
}

/// Makes a green thread, and gives what `pthread_create` does: `EAGAIN` where the system refuses its stack, or its runtime ends.
///
/// # Safety
///
/// The id may be written to `thread`.
unsafe fn create(thread: *mut pthread_t, wanted: &Wanted, start: Start, argument: Left) -> c_int {
    later::begin();
    let asked = Wanted {
        blocked: wanted.blocked.or_else(mask::inherited),
        ..*wanted
    };
    let known = || Known {
        is_detached: AtomicBool::new(wanted.is_detached),
        ..Known::new(current::name(), asked, Record::default())
    };
    let Some((own, record)) = Shared::two(known) else {
        return libc::EAGAIN;
    };
    let keep = |handle: JoinHandle<Left>| {
        // SAFETY: nobody looks into it yet: the thread has not begun, and its id leads nowhere.
        let of_thread = unsafe { &mut *record.record.data_ptr() };
        of_thread.thread = Some(handle.thread().clone());
        of_thread.handle = Some(handle).filter(|_| !wanted.is_detached);
        let id = record.id();
        record.list();
        ALIVE.fetch_add(1, Ordering::Relaxed);
        // The thread, too, may look there.
        // SAFETY: the caller's promise.
        unsafe { thread.write(id) };
    };
    let builder = Builder::new().stack_size(wanted.stack_size);
    // Who spawns while its own runtime ends is unwound.
    let spawned = panic::catch_unwind(AssertUnwindSafe(|| match start {
        // What either closure has are three words, for which a green thread has room.
        Start::Posix(start) => {
            let live = move || call::call(own, Start::Posix(start), argument);
            adopt::spawn(builder, live, asked.blocked, keep)
        }
        Start::C11(start) => {
            let live = move || call::call(own, Start::C11(start), argument);
            adopt::spawn(builder, live, asked.blocked, keep)
        }
    }));
    match spawned {
        Ok(Ok(())) => 0,
        Ok(Err(_)) | Err(_) => libc::EAGAIN,
    }
}

/// The current thread begins. When it has its mask, the handler of a signal may exit: so there is nothing to drop here by then.
fn begin(record: Shared) {
    let (id, blocked) = (record.id(), record.asked.blocked);
    let of_worker = adopt::blocked_by_worker();
    let differs = blocked.filter(|&blocked| Some(blocked) != of_worker);
    record.begin(blocked.or(of_worker).unwrap_or_default());
    current::begin(id, record);
    if let Some(blocked) = differs {
        mask::begin(blocked);
        open::note(blocked);
    }
}

/// Ends the current thread when the last of its destructors has run.
pub(crate) fn end_current() {
    hand_over::end_left();
    lock::end_owner();
    open::end();
    match current::take() {
        Some(record) => end(&record),
        None => adopt::end_signals(),
    }
}

/// The current thread has come to its end, and calls nothing of the program's any more.
fn end(known: &Shared) {
    let (is_detached, sent) = {
        let mut record = known.lock();
        record.is_at_end = true;
        coming::less(record.sent.len());
        (known.is_detached(), mem::take(&mut record.sent))
    };
    adopt::end_signals();
    news::leave_all(sent);
    if is_detached {
        known.unlist();
    }
    one_less();
}

fn one_less() {
    if ALIVE.fetch_sub(1, Ordering::SeqCst) == 1 {
        adopt::wake(&raw const ALIVE as usize, !0, usize::MAX);
    }
}

/// Whether any green thread is alive that `pthread_create` has made.
fn is_any_alive() -> bool {
    ALIVE.load(Ordering::SeqCst) != 0
}

/// Waits until no green thread that `pthread_create` has made is alive.
fn wait_for_all() {
    let waits = is_any_alive;
    let address = &raw const ALIVE as usize;
    while waits() {
        let _: Awaited = adopt::wait(address, !0, None, &"the last thread", waits, || ());
    }
}

/// Sees to it that forked children know of their only thread.
pub(crate) fn watch_forks() {
    extern "C" fn in_child() {
        ALIVE.store(0, Ordering::SeqCst);
        coming::in_child();
        later::in_child();
        open::in_child();
        current::in_child();
        if current::id().is_some() {
            cancel::in_child();
        }
        lock::in_child();
    }
    // SAFETY: the function stays, and does not unwind.
    let refused = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    assert!(
        refused == 0,
        "cannot watch for forks: {}",
        std::io::Error::from_raw_os_error(refused)
    );
}

/// By which id the C library knows a thread. `None` if it knows it by none: a green one that has not begun, or is there no more.
pub(crate) fn real_id(id: pthread_t) -> Option<pthread_t> {
    if current::id() == Some(id) {
        return Some(current::real_id());
    }
    match whose(id) {
        Whose::Green(known) => known.real_id(),
        Whose::Nobody => None,
        Whose::Real => Some(id),
    }
}

#[unsafe(no_mangle)]
extern "C" fn pthread_self() -> pthread_t {
    current::id().unwrap_or_else(current::real_id)
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_detach(id: pthread_t) -> c_int {
    let known = match whose(id) {
        Whose::Green(known) => known,
        Whose::Nobody => return libc::ESRCH,
        // SAFETY: the caller's promise.
        Whose::Real => unsafe {
            return next!(pthread_detach: unsafe extern "C" fn(pthread_t) -> c_int)(id);
        },
    };
    let mut record = known.lock();
    if known.is_detached() {
        return libc::EINVAL;
    }
    if known.joiner().is_some() {
        // It ends with that.
        return 0;
    }
    known.is_detached.store(true, Ordering::Relaxed);
    let handle = record.handle.take();
    let is_at_end = record.is_at_end;
    drop(record);
    drop(handle);
    if is_at_end {
        known.unlist();
    }
    0
}
