//! The mask of signals that a green thread has set, and the signals that are pending for it alone.
//!
//! The kernel keeps both for OS threads, and knows nothing of green ones. While such a thread runs, they are those of its OS thread, and
//! all that the kernel does with them it does for the thread. When it is suspended it [takes them along](while_suspended), and its
//! OS thread has the mask of its runtime again, as all [workers](begin_worker) of that have; when it goes on, it brings them.
//!
//! A green thread is [marked](super::own_stack::OwnStack::keep_signals) if that may be so for it. Others pay nothing: the mark is a
//! bit, which is looked at where a thread is suspended, and taken away there if nothing differs.
//!
//! # Whose mask, on whose stack
//!
//! A handler finds whatever it has interrupted: the stack, the thread-locals. So no mask is ever in force where it is not meant. Who goes to
//! the other stack has all [held back](hold_back) before, and who is there then sets the mask that is its own:
//!
//! | from                 | to                         | held back by | set by     |
//! |----------------------|----------------------------|--------------|------------|
//! | a thread that waits  | its worker                 | the thread   | the worker |
//! | a worker             | a thread that goes on      | the worker   | the thread |
//! | a worker             | a thread with another mask from its beginning | the worker | the thread, first of all |
//! | a thread that [ends](end) | its worker            | the thread   | the worker |
//!
//! That it is so with a thread, a [bit](super::own_stack::OwnStack::set_held_back) says: to its worker before it goes there, and after it has come
//! back. The thread takes the bit away when it sets its mask.
//!
//! # What is pending
//!
//! What is pending for the process stays where it is. The kernel tells one from the other in `/proc` alone, so that is asked where
//! anything is pending. Where that cannot be read, for lack of descriptors say, another OS thread is asked for what it finds pending: it is
//! sent nothing itself.

use std::fs;
use std::mem;
use std::ptr;
use std::thread::Builder;

use libc::{c_int, siginfo_t, timespec};

use crate::protocol::lock::Inside;
use crate::protocol::passage::Passage;
use crate::run::signal_handler::FAULTS;
use crate::run::{context, deep, processor};

/// A set of signals as the kernel has it: that with the number `n` is bit `n - 1`.
pub type Signals = u64;

/// The set of one.
const fn only(signal: c_int) -> Signals {
    1 << (signal - 1)
}

/// All that may be blocked for a while: not what a thread causes itself, and not that with which the C library has all threads change their
/// credentials.
const MAY_WAIT: Signals = {
    const OF_C_LIBRARY: c_int = 33;
    let mut open = only(OF_C_LIBRARY);
    let mut n = 0;
    while n < FAULTS.len() {
        open |= only(FAULTS[n]);
        n += 1;
    }
    !open
};

/// The signals that the current OS thread has blocked.
pub fn blocked() -> Signals {
    let mut blocked = 0;
    change(libc::SIG_BLOCK, ptr::null(), &mut blocked);
    blocked
}

/// From now on the current OS thread, which is one of the runtime's own, has all blocked that may be.
pub fn block_all() {
    block(MAY_WAIT);
}

/// From now on the current OS thread has all blocked that may be, beside what it has blocked already. Gives what that was.
pub(crate) fn hold_back() -> Signals {
    let mut before = 0;
    change(libc::SIG_BLOCK, &MAY_WAIT, &mut before);
    before
}

/// Lets these come to the current OS thread.
pub fn let_come(signals: Signals) {
    block(blocked() & !signals);
}

/// From now on the current OS thread has these blocked. Gives which it has had.
pub(crate) fn block(signals: Signals) -> Signals {
    let mut before = 0;
    change(libc::SIG_SETMASK, &raw const signals, &mut before);
    before
}

fn change(how: c_int, new: *const Signals, before: &mut Signals) {
    // In a program that is adopted, it is no change of the program's.
    let _inside = Inside::enter();
    // SAFETY: null, or a set, and there is room for another; they are as large as it is said.
    unsafe {
        let size = size_of::<Signals>();
        let call = libc::SYS_rt_sigprocmask;
        libc::syscall(call, how, new, ptr::from_mut(before), size);
    }
}

/// The current OS thread is a worker of a runtime whose workers have these blocked. It may have been started by a green thread with a
/// mask of its own.
pub(crate) fn begin_worker(signals: Signals) {
    block(signals);
}

/// Whether a thread that is to have these blocked is to have others than the workers of its runtime.
pub(crate) fn differ(of_workers: Signals, blocked: u64) -> bool {
    of_workers != blocked
}

/// While there is one, the current OS thread has all [held back](hold_back).
pub(crate) struct HeldBack(Signals);

impl HeldBack {
    pub(crate) fn begin() -> Self {
        Self(hold_back())
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        block(self.0);
    }
}

/// Those that are pending for the current OS thread or its process, and that it has blocked.
fn pending() -> Signals {
    let mut pending = 0;
    // SAFETY: there is room for a set of that size.
    unsafe {
        let size = size_of::<Signals>();
        libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, size);
    }
    pending
}

/// Those that are pending for the current OS thread alone, which has all held back.
fn own_pending() -> Signals {
    told_by_system().unwrap_or_else(|| pending() & !pending_elsewhere())
}

fn told_by_system() -> Option<Signals> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let of_thread = status
        .lines()
        .find_map(|line| line.strip_prefix("SigPnd:"))?;
    Signals::from_str_radix(of_thread.trim(), 16).ok()
}

/// What another OS thread finds pending, with the same mask: what is for the process. Everything if there is no such thread.
#[cold]
fn pending_elsewhere() -> Signals {
    let asks = || Passage::enter().on_an_os_thread(Builder::new().stack_size(64 << 10), pending);
    deep::call(asks).ok().flatten().unwrap_or(!0)
}

/// Takes one of them.
fn take(signal: c_int) -> Option<siginfo_t> {
    let set = only(signal);
    let now = timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: zeroes are valid for what is told of a signal; there is room for it, the set has that size, and the time is one.
    unsafe {
        let mut info: siginfo_t = mem::zeroed();
        let call = libc::SYS_rt_sigtimedwait;
        let size = size_of::<Signals>();
        let taken = libc::syscall(call, &raw const set, &raw mut info, &raw const now, size);
        (taken > 0).then_some(info)
    }
}

/// Has one of them pending for the current OS thread again.
fn give(info: &siginfo_t) {
    let thread = processor::os_thread().cast_signed();
    let signal: c_int = info.si_signo;
    // SAFETY: it sends this thread a signal, which it has blocked, with what the kernel has told of it.
    unsafe {
        let call = libc::SYS_rt_tgsigqueueinfo;
        libc::syscall(call, libc::getpid(), thread, signal, ptr::from_ref(info));
    }
}

/// What a green thread takes along.
struct Kept {
    blocked: Signals,
    pending: Vec<siginfo_t>,
}

impl Kept {
    /// Takes it from the OS thread, which has all held back from then on.
    fn take() -> Self {
        let _inside = Inside::enter();
        let blocked = hold_back();
        let mut pending = Vec::new();
        if self::pending() != 0 {
            // What it has not blocked was sent to the OS thread meanwhile, which gets it.
            while let left @ 1.. = own_pending() & blocked
                && let Some(info) = take(left.trailing_zeros().cast_signed() + 1)
            {
                pending.push(info);
            }
        }
        Self { blocked, pending }
    }

    /// Brings it to the OS thread that is here now, which has all held back.
    fn bring(self) {
        let _inside = Inside::enter();
        self.pending.iter().for_each(give);
        block(self.blocked);
    }
}

/// Suspends the current green thread, which is marked, by `suspend`. If there is nothing for which it is to stay marked, since its mask is
/// `of_worker` too, it is no more.
// Not inlined: others need no room for this on their stacks.
#[cold]
#[inline(never)]
pub(crate) fn while_suspended(of_worker: Signals, suspend: impl FnOnce()) {
    let kept = Kept::take();
    if kept.blocked == of_worker && kept.pending.is_empty() {
        // Before the handler of a signal may mark it anew.
        context::set_marked(false);
        block(of_worker);
        suspend();
    } else {
        context::set_held_back(true);
        suspend();
        context::set_held_back(false);
        kept.bring();
    }
}

/// A green thread that was marked has come to its end, on the current OS thread: what it has had of signals ends with it. All is held back
/// from now on.
#[cold]
pub(crate) fn end() {
    drop(Kept::take());
}
