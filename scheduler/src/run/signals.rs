//! The mask of signals that a green thread has set, and the signals that are pending for it alone.
//!
//! The kernel keeps both for OS threads, and knows nothing of green ones. While such a thread runs, they are those of its OS thread, and
//! all that the kernel does with them it does for the thread. When it is suspended it [takes them along](while_suspended), and its
//! OS thread has the mask of its runtime again, as all [workers](begin_worker) of that have; when it goes on, it brings them.
//!
//! A green thread is [marked](super::own_stack::OwnStack::keep_signals) if that may be so for it. Others pay nothing: the mark is a
//! bit, which is looked at where a thread is suspended, and taken away there if nothing differs.
//!
//! What is pending for the process stays where it is. The kernel tells one from the other in `/proc` alone, so that is asked where
//! anything is pending; where there is no `/proc`, nothing is taken along.

use std::fs;
use std::mem;
use std::ptr;

use libc::{c_int, siginfo_t, timespec};

use crate::protocol::lock::Inside;
use crate::run::processor;
use crate::run::signal_handler::FAULTS;

/// A set of signals as the kernel has it: that with the number `n` is bit `n - 1`.
pub type Signals = u64;

/// The signals that the current OS thread has blocked.
pub fn blocked() -> Signals {
    let mut blocked = 0;
    change(ptr::null(), &mut blocked);
    blocked
}

/// From now on the current OS thread, which is one of the runtime's own, has all blocked that may be: not what it causes itself, and not
/// that with which the C library has all threads change their credentials.
pub fn block_all() {
    const OF_C_LIBRARY: c_int = 33;
    let open = FAULTS.iter().chain(&[OF_C_LIBRARY]);
    block(!open.fold(0, |set, signal| set | 1 << (signal - 1)));
}

/// Lets these come to the current OS thread.
pub fn let_come(signals: Signals) {
    block(blocked() & !signals);
}

/// From now on the current OS thread has these blocked. Gives which it has had.
pub(crate) fn block(signals: Signals) -> Signals {
    let mut before = 0;
    change(&raw const signals, &mut before);
    before
}

fn change(new: *const Signals, before: &mut Signals) {
    // In a program that is adopted, it is no change of the program's.
    let _inside = Inside::enter();
    // SAFETY: null, or a set, and there is room for another; they are as large as it is said.
    unsafe {
        let size = size_of::<Signals>();
        let call = libc::SYS_rt_sigprocmask;
        libc::syscall(call, libc::SIG_SETMASK, new, ptr::from_mut(before), size);
    }
}

/// The current OS thread is a worker of a runtime whose workers have these blocked. It may have been started by a green thread with a
/// mask of its own.
pub(crate) fn begin_worker(signals: Signals) {
    block(signals);
}

/// While there is one, the current OS thread has all blocked that may be.
pub(crate) struct HeldBack(Signals);

impl HeldBack {
    pub(crate) fn begin() -> Self {
        let before = blocked();
        block_all();
        Self(before)
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        block(self.0);
    }
}

/// Whether any signal is pending for the current OS thread or its process, which one of the two has blocked.
fn is_any_pending() -> bool {
    let mut pending: Signals = 0;
    // SAFETY: there is room for a set of that size.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigpending,
            &raw mut pending,
            size_of::<Signals>(),
        );
    }
    pending != 0
}

/// Those that are pending for the current OS thread alone.
fn own_pending() -> Signals {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let of_thread = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
    of_thread.map_or(0, |set| {
        Signals::from_str_radix(set.trim(), 16).unwrap_or(0)
    })
}

/// Takes one of them.
fn take(signal: u32) -> Option<siginfo_t> {
    let set: Signals = 1 << (signal - 1);
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
    /// Takes it from the OS thread, which is to have the mask of a worker.
    fn take(of_worker: Signals) -> Self {
        let _inside = Inside::enter();
        let mut pending = Vec::new();
        // Before the mask is changed: they would be delivered.
        if is_any_pending() {
            loop {
                // One that is about to be delivered is told of, too.
                let left = own_pending() & blocked();
                let next = (left != 0).then(|| take(left.trailing_zeros() + 1));
                match next.flatten() {
                    Some(info) => pending.push(info),
                    None => break,
                }
            }
        }
        Self {
            blocked: block(of_worker),
            pending,
        }
    }

    /// Brings it to the OS thread that is here now.
    fn bring(self) {
        let _inside = Inside::enter();
        block(self.blocked);
        self.pending.iter().for_each(give);
    }
}

/// Suspends the current green thread, which is marked, by `suspend`; its OS thread has the mask `of_worker` meanwhile. Whether
/// there is anything for which it is to stay marked.
// Not inlined: others need no room for this on their stacks.
#[cold]
#[inline(never)]
pub(crate) fn while_suspended(of_worker: Signals, suspend: impl FnOnce()) -> bool {
    let kept = Kept::take(of_worker);
    let is_any = kept.blocked != of_worker || !kept.pending.is_empty();
    suspend();
    if is_any {
        kept.bring();
    }
    is_any
}

/// A green thread that was marked has ended on the current OS thread: what it has had of signals ends with it.
#[cold]
pub(crate) fn end(of_worker: Signals) {
    drop(Kept::take(of_worker));
}
