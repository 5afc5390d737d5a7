//! What comes for a green thread while it does something else: signals that another thread sends it, and cancellation.
//!
//! The kernel knows nothing of these. So they are noted in the thread's record, and the thread is [nudged](adopt::nudge): the wait that it
//! is in ends, or else its next one, and there it [heeds](heed) them, on its own stack, or as it [begins](look_up) a call that might wait. Each signal it sends to the OS thread that it
//! runs on, and so the system calls the handler as it does always, there and then: with the mask, the alternate
//! stack and what else was asked for. What waits until then tells of it as the system would: by `EINTR`, or it goes on. What the thread has
//! [blocked](crate::mask) the system has pending from then on, and the thread takes it along.
//!
//! A thread in a call that has its worker [handed over](crate::hand_over) is on an OS thread of its own, to which the signal goes at once. That
//! is so until it says that it leaves. Who sends says so meanwhile, and whoever leaves waits for that; so it has had the signal before it goes on, since
//! the system delivers what was sent before it returns from any call.
//!
//! Whoever comes to its end, by returning or by exiting, heeds first what has come until then: it may never have waited.
//!
//! A signal without a handler is for the whole process, and is sent to that, unless the thread has it blocked.

use std::ffi::{c_int, c_long, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::Ordering;

use libc::{pid_t, sigaction as Action, siginfo_t};
use roving_scheduler::adopt::{self, Inside, Signals};

use super::{Known, cancel, coming, current, kernel, open, survivor};
use crate::next::next;
use crate::{errno, mask};

/// One signal that was sent.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    signal: c_int,
    /// What the system is to tell of it, unless the thread was just killed by it.
    info: Option<siginfo_t>,
    /// Whether it was sent to the process, of whose threads this one was to take it.
    is_for_process: bool,
}

// SAFETY: what is told of it is passed on, and used by nobody here.
unsafe impl Send for Sent {}

impl Sent {
    fn by_thread(signal: c_int, value: Option<*mut c_void>) -> Self {
        Self {
            signal,
            info: value.map(|value| queued(signal, value)),
            is_for_process: false,
        }
    }
}

/// What is told of a signal that this process has queued.
fn queued(signal: c_int, value: *mut c_void) -> siginfo_t {
    /// That part of a `siginfo_t`, as the kernel has it.
    #[repr(C)]
    struct Queued {
        signal: c_int,
        error: c_int,
        code: c_int,
        padding: c_int,
        pid: pid_t,
        user: libc::uid_t,
        value: *mut c_void,
    }
    const { assert!(size_of::<Queued>() <= size_of::<siginfo_t>()) };
    const { assert!(align_of::<Queued>() <= align_of::<siginfo_t>()) };
    // SAFETY: zeroes are valid for what is told of a signal, of which that is the beginning; the functions have no preconditions.
    unsafe {
        let mut info: siginfo_t = mem::zeroed();
        (&raw mut info).cast::<Queued>().write(Queued {
            signal,
            error: 0,
            code: libc::SI_QUEUE,
            padding: 0,
            pid: libc::getpid(),
            user: libc::getuid(),
            value,
        });
        info
    }
}

/// As many as wait for a thread, at most.
const MOST: usize = 1024;

/// What is to become of a call in which news were heeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heeded {
    /// There were none.
    Nothing,
    /// A handler has run that lets calls go on.
    GoesOn,
    /// The call ends with `EINTR`.
    Ends,
}

/// Heeds what has come, in a wait that a nudge has ended. In one that is a point of cancellation, the thread is to be cancelled at the end of
/// the call.
#[cold]
#[inline(never)]
pub(crate) fn heed(is_point: bool) -> Heeded {
    if !adopt::take_nudge() {
        return Heeded::Nothing;
    }
    let heeded = current::with_known(run_handlers).unwrap_or(Heeded::Nothing);
    if is_point && cancel::is_due() {
        Heeded::Ends
    } else {
        heeded
    }
}

/// Heeds signals as the current thread begins a call of the program's that is no [point](super::Point) of cancellation.
#[inline]
pub(crate) fn look_up() {
    if coming::is_signal() {
        look();
    }
}

/// Heeds signals if the current thread has been nudged, as it begins a call of the program's.
#[cold]
#[inline(never)]
pub(super) fn look() {
    if !Inside::is_current() && adopt::take_nudge() {
        errno::kept(take_in);
    }
}

/// Whether the current thread is to end, in the call that it is in, which is a point of cancellation.
#[inline]
pub(crate) fn is_ending() -> bool {
    coming::is_cancellation() && cancel::is_due()
}

/// Gives the system what was sent: it runs the handlers, but for what the thread has blocked.
fn run_handlers(known: &Known) -> Heeded {
    let mut heeded = Heeded::Nothing;
    loop {
        let next = {
            let mut record = known.lock();
            (!record.sent.is_empty()).then(|| {
                coming::less(1);
                record.sent.remove(0)
            })
        };
        let Some(sent) = next else {
            return heeded;
        };
        let is_blocked = mask::is_in(known.blocked(), sent.signal);
        if is_blocked && leave(&sent) {
            continue;
        }
        let goes_on = is_blocked || action(sent.signal).sa_flags & libc::SA_RESTART != 0;
        if is_blocked {
            adopt::keep_signals();
        }
        give(kernel::os_thread(), &sent);
        if !goes_on {
            heeded = Heeded::Ends;
        } else if heeded == Heeded::Nothing && !is_blocked {
            heeded = Heeded::GoesOn;
        }
    }
}

/// Leaves one that was sent to the process to others. Whether it was.
fn leave(sent: &Sent) -> bool {
    let info = sent.info.filter(|_| sent.is_for_process);
    if let Some(info) = &info {
        open::pass_on(sent.signal, info);
    }
    info.is_some()
}

/// What a thread has not heeded that is at its end, which has all blocked. What was sent to itself ends with it.
pub(super) fn leave_all(sent: Vec<Sent>) {
    for sent in &sent {
        leave(sent);
    }
}

/// Gives the system what was sent to the current thread.
pub(crate) fn take_in() {
    current::with_known(run_handlers);
}

/// The current thread, which `pthread_create` has made, has done what it was made for, or is about to exit.
pub(super) extern "C-unwind" fn comes_to_end() {
    if Inside::is_current() {
        return;
    }
    open::settle();
    if adopt::take_nudge() {
        take_in();
    }
}

/// Gives the system what was sent to the current thread, or to the process for it: it is about to change its mask.
pub(crate) fn take_in_all() {
    open::settle();
    take_in();
}

/// The current thread has changed its mask.
pub(crate) fn note_mask() {
    let blocked = adopt::blocked();
    current::with_known(|known| known.set_blocked(blocked));
    if !Inside::is_current() {
        open::note(blocked);
    }
}

/// The current thread goes on with this mask.
pub(crate) fn note_mask_as(mask: Signals) {
    current::with_known(|known| known.set_blocked(mask));
}

/// What is done with a signal.
pub(super) fn action(signal: c_int) -> Action {
    // SAFETY: zeroes are an action, and there is room for the answer.
    unsafe {
        let mut action: Action = mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut action);
        action
    }
}

/// Gives a signal to an OS thread, and gives an error or 0.
fn give(os_thread: pid_t, sent: &Sent) -> c_int {
    type TgKill = unsafe extern "C-unwind" fn(pid_t, pid_t, c_int) -> c_int;
    type Syscall =
        unsafe extern "C-unwind" fn(c_long, pid_t, pid_t, c_int, *const siginfo_t) -> c_long;
    // SAFETY: it sends a signal, to this process, with what is told of it.
    let failed = unsafe {
        let process = libc::getpid();
        let queue = |info: &siginfo_t| {
            let number = libc::SYS_rt_tgsigqueueinfo;
            next!(syscall: Syscall)(number, process, os_thread, sent.signal, info) != 0
        };
        match &sent.info {
            Some(info) if !queue(info) => false,
            // What comes from elsewhere nobody may pass on but the thread itself.
            Some(_) if errno::get() != libc::EPERM => true,
            _ => next!(tgkill: TgKill)(process, os_thread, sent.signal) != 0,
        }
    };
    if failed { errno::get() } else { 0 }
}

/// Gives a signal to the current thread.
pub(super) fn give_current(signal: c_int, value: Option<*mut c_void>) -> c_int {
    adopt::keep_signals();
    give(kernel::os_thread(), &Sent::by_thread(signal, value))
}

/// Gives a signal to an OS thread in such a way that nobody takes it for one that the C library sends.
pub(super) fn give_uncounted(os_thread: pid_t, signal: c_int) {
    give(os_thread, &Sent::by_thread(signal, Some(ptr::null_mut())));
}

/// Sends a signal to a green thread that is not the current one, and gives an error or 0. What is sent to one at its end is lost, as the system
/// loses it.
pub(super) fn send(known: &Known, signal: c_int, value: Option<*mut c_void>) -> c_int {
    send_as(known, Sent::by_thread(signal, value)).unwrap_or(0)
}

/// Sends one that the process was sent to a green thread. Whether it takes it.
pub(super) fn pass_on(known: &Known, signal: c_int, info: &siginfo_t) -> bool {
    let sent = Sent {
        signal,
        info: Some(*info),
        is_for_process: true,
    };
    // What there is no room for the system would lose, too.
    send_as(known, sent).is_some()
}

/// An error or 0; `None` if it is at its end, or is not to have it.
fn send_as(known: &Known, sent: Sent) -> Option<c_int> {
    let signal = sent.signal;
    let handler = action(signal).sa_sigaction;
    let thread = {
        let mut record = known.lock();
        let is_blocked = mask::is_in(known.blocked(), signal);
        if record.is_at_end || is_blocked && sent.is_for_process {
            return None;
        }
        let give = |os_thread| give(os_thread, &sent);
        if record.is_survivors() {
            // The system knows its mask.
            return known.give_by(&record, give);
        }
        match handler {
            _ if is_blocked => {}
            libc::SIG_IGN => return Some(0),
            libc::SIG_DFL => {
                drop(record);
                // SAFETY: it sends a signal.
                let failed = unsafe { libc::kill(libc::getpid(), signal) } != 0;
                return Some(if failed { errno::get() } else { 0 });
            }
            _ => {}
        }
        let given = known.give_by(&record, give);
        if given.is_some() {
            return given;
        }
        if record.sent.len() >= MOST {
            return Some(libc::EAGAIN);
        }
        // Those with the smaller numbers are not counted.
        let is_same =
            |other: &Sent| (other.signal, other.is_for_process) == (signal, sent.is_for_process);
        if signal >= libc::SIGRTMIN() || !record.sent.iter().any(is_same) {
            record.sent.push(sent);
            coming::one_more();
        }
        record.thread.clone()
    };
    if let Some(thread) = thread {
        adopt::nudge(&thread);
    }
    Some(0)
}

/// While there is one, the current thread is on an OS thread of its own.
pub(crate) struct OnOsThread(());

impl OnOsThread {
    pub(crate) fn begin() -> Self {
        current::with_known(|known| {
            let os_thread = kernel::os_thread();
            open::change_place(true);
            let has_news = {
                let record = known.lock();
                known.os_thread.store(os_thread, Ordering::SeqCst);
                !record.sent.is_empty()
            };
            // From now on a signal may come, whose handler jumps: nothing is locked where it can.
            if has_news {
                let blocked = adopt::blocked();
                adopt::block_all();
                run_handlers(known);
                adopt::let_come(!blocked);
            }
        });
        Self(())
    }

    /// The current thread is no more, though there may be one, whose frame has been jumped over or does the same again.
    pub(crate) fn leave() {
        drop(Self(()));
    }
}

impl Drop for OnOsThread {
    fn drop(&mut self) {
        if survivor::is_current() {
            return;
        }
        current::with_known(|known| {
            if known.leave_os_thread() {
                // It may be blocked.
                adopt::keep_signals();
                // Any system call: it is delivered by the time that this returns.
                kernel::os_thread();
            }
            open::change_place(false);
        });
    }
}
