//! What an adopted program's functions of the C library are made of: `roving-adopt` uses it, and nobody else.
//!
//! Such a function may be called by anybody at any time: by OS threads, by green ones, and by the runtime itself, on the stacks
//! of both. It parks its caller only if that [may be parked](may_park), and is otherwise the C library's. No function here
//! but [`spawn`] unwinds.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use std::ffi::c_void;
use std::io;
use std::mem;
use std::time::Instant;

use crate::blocking;
pub use crate::protocol::lock::Inside;
use crate::run::context;
use crate::run::green::Waiter;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use crate::run::overflow;
use crate::run::own_stack::OwnStack;
use crate::run::wake::AT_CANCELLATION;
use crate::stack::tls;
pub use crate::sync::address::{Awaited, wait, wake as wake_midway};
pub use crate::sync::announced::{announce, barrier, is_announced};
pub use crate::sync::noted::{Chore, wake};
use crate::sync::{announced, noted};
use crate::thread::{self, Builder, JoinHandle, Thread};
use crate::wait::{self, Wait};

/// Whether the caller is a green thread with thread-locals of its own that is not [`Inside`] of the runtime.
pub fn may_park() -> bool {
    !Inside::is_current()
        && context::with_running(|waiter| {
            waiter.green().is_some_and(|green| {
                // SAFETY: it is the current thread.
                unsafe { green.own_stack.started() }
                    .thread_pointer
                    .is_some()
            })
        })
        .unwrap_or(false)
}

/// Whether the caller is a green thread in a [call](crate::blocking::run) for which it has handed its worker over.
pub fn is_handed_over() -> bool {
    context::with_running(|waiter| waiter.own_stack().is_some_and(OwnStack::is_calling))
        .unwrap_or(false)
}

/// Ends the current thread's [call](crate::blocking::run) whose frames have been jumped over.
pub fn end_abandoned_call() {
    drop(blocking::Call);
}

/// Begins again a call that has been ended so, and that its frame is about to end.
pub fn begin_call_again() {
    mem::forget(blocking::Call::begin());
}

/// Begins what [`wake`] and [`Chore`] need inside of the runtime, and what [`barrier`] needs.
///
/// # Errors
///
/// The system refuses an OS thread for it.
pub fn begin() -> io::Result<()> {
    announced::begin();
    noted::begin()
}

/// What is done with a fault but for the handler by which the runtime tells of overflows, if that is what is done with it `now`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn but_for_overflows(fault: libc::c_int, now: &libc::sigaction) -> Option<libc::sigaction> {
    overflow::replaced(fault, now)
}

/// Whether somebody has sent the signal of a fault, and no thread has caused it.
///
/// # Safety
///
/// The system has given that to a handler with `SA_SIGINFO`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub unsafe fn is_sent(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe { overflow::is_sent(info) }
}

/// Tells of the overflow of a stack of the runtime's, and ends the process, if that is what a fault is. Safe in a signal handler.
///
/// # Safety
///
/// The system has given these to a handler of `SIGSEGV` or `SIGBUS` with `SA_SIGINFO`, which the current thread is in.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub unsafe fn end_if_overflow(info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { overflow::end_if_overflow(info, context) };
}

/// Begins a wait that nothing interrupts.
#[track_caller]
pub fn begin_masked() -> Wait<'static> {
    wait::begin_masked()
}

/// Spawns a thread, and has what joins it kept before it may run. `keep` does not unwind; this may, as [`Builder::spawn`] may.
///
/// If it is to have other signals `blocked` than its worker has, given as the kernel has the set, it begins with all of them held back, and
/// sets its mask first of all.
///
/// # Errors
///
/// Those of [`Builder::spawn`].
#[track_caller]
pub fn spawn<T: Send + 'static>(
    builder: Builder,
    f: impl FnOnce() -> T + Send + 'static,
    blocked: Option<u64>,
    keep: impl FnOnce(JoinHandle<T>),
) -> io::Result<()> {
    thread::spawn_kept(builder, f, blocked, keep)
}

/// Waits until a thread has ended, whatever interrupts the caller. `Err` if it panicked.
#[track_caller]
pub fn join<T>(thread: JoinHandle<T>) -> crate::thread::Result<T> {
    thread.join_masked()
}

/// Waits until a thread has ended, but not beyond a deadline or a [nudge], whatever interrupts the caller. Whether it has.
#[track_caller]
pub fn ends_by<T>(thread: &mut JoinHandle<T>, deadline: Option<Instant>) -> bool {
    thread.ends_by(deadline)
}

/// Makes a thread look up if it is in a wait that may be [nudged](Wait::nudgeable), or else in its next one: that ends as if its time
/// had come. The caller is not inside of the runtime.
pub fn nudge(thread: &Thread) {
    thread.waiter().nudge();
}

/// By what a thread is known while it is there.
pub fn identity(thread: &Thread) -> usize {
    thread.waiter().identity()
}

/// The same of the current thread, if it is a green one. Safe in a signal handler.
pub fn current_identity() -> Option<usize> {
    context::with_running(Waiter::identity)
}

/// Has `is_cancelled` called with each thread when it has been cancelled, or something that it does; it may be in no wait. The first is called.
pub fn call_at_cancellation(is_cancelled: fn(usize)) {
    let _ = AT_CANCELLATION.set(is_cancelled);
}

/// Whether waits of the current thread that can be interrupted are, since it has been cancelled.
pub fn is_cancelled() -> bool {
    context::with_running(|waiter| waiter.word.cancel_requested() && wait::is_interruptible(waiter))
        .unwrap_or(false)
}

/// Whether the current thread has been [nudged](nudge). From now on it has not.
pub fn take_nudge() -> bool {
    context::with_running(|waiter| waiter.nudge.take()).unwrap_or(false)
}

/// Whether a thread has ended. The caller goes on at once.
pub fn has_ended<T>(thread: &JoinHandle<T>) -> bool {
    thread.has_ended()
}

/// Lets other threads run.
pub fn yield_now() {
    thread::let_others_run();
}

/// The signals that the current OS thread has blocked, as the kernel has the set.
#[cfg(target_os = "linux")]
pub use crate::run::signals::{Signals, block_all, blocked, let_come};

/// The signals that the worker of the current thread has blocked, if that is a green one. Safe in a signal handler.
#[cfg(target_os = "linux")]
pub fn blocked_by_worker() -> Option<Signals> {
    context::blocked_by_worker()
}

/// Has the current thread, if it is a green one, take its mask of signals along from now on, and what is pending for it. Whether it is one.
/// Safe in a signal handler.
#[cfg(target_os = "linux")]
pub fn keep_signals() -> bool {
    let is_green = context::blocked_by_worker().is_some();
    if is_green {
        context::set_marked(true);
    }
    is_green
}

/// The current thread, which has [begun](spawn) with all signals held back, is about to set its mask. It takes that along from now on.
#[cfg(target_os = "linux")]
pub fn begin_signals() {
    if keep_signals() {
        context::set_held_back(false);
    }
}

/// The current thread, if it is a green one, has come to its end, and nothing of the program's runs there any more: its mask and what is
/// pending for it end here.
pub fn end_signals() {
    context::end_signals();
}

/// Whether the current thread takes its signals along, as far as there may be any that differ from its worker's.
#[cfg(target_os = "linux")]
pub fn keeps_signals() -> bool {
    context::keeps_signals()
}

/// A number that is the current thread's while it lives, if it is a green one with thread-locals of its own, and none of the
/// system's.
pub fn thread_number() -> Option<u32> {
    tls::own()?.tid_of_green()
}

/// Has the current thread, a green one with a number, go by another one among mutexes. The caller sees to it that the first one is back when the
/// thread ends.
pub fn set_thread_number(number: u32) {
    if let Some(own) = tls::own() {
        own.set_tid_of_green(number);
    }
}

/// Lets the runtime know by which id the C library knows a thread that goes by another one; `None` if by none. The first is asked.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn ask_for_ids(real_id: fn(libc::pthread_t) -> Option<libc::pthread_t>) {
    let _ = tls::REAL_ID.set(real_id);
}

/// Lets the attributes of a thread that goes by another id be told of by `tell`. They are initialised, and it is given the stack that the thread
/// has. The first tells.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn tell_attributes(
    tell: unsafe fn(libc::pthread_t, *mut libc::pthread_attr_t, *mut c_void, usize),
) {
    let _ = tls::TELL.set(tell);
}

/// Has `at_end` called on each green thread with thread-locals of its own when the destructors of these have run, and those of its keys.
/// The first is called.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn call_at_end(at_end: fn()) {
    let _ = tls::AT_END.set(at_end);
}

/// Has `destroys` run the destructors of each green thread with thread-locals of its own: it is given what runs all that are left, which it calls again
/// if the thread exits in one of them. The first does it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn destroy_by(destroys: fn(Destroy)) {
    let _ = tls::DESTROYS.set(destroys);
}

/// Runs all destructors of the current thread that are left. It is given null, and gives it.
///
/// # Safety
///
/// It is called by what [`destroy_by`] was given, as that is called, on the same thread.
pub type Destroy = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// Has the current thread, a green one with thread-locals of its own, destroy none of them at its end, nor values of keys.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn leave_values() {
    tls::leave_values();
}

/// Ends the thread-locals of the current thread, which was green in the process that this one was forked from: their destructors run, those of its
/// keys, and what is [called at the end](call_at_end).
///
/// # Safety
///
/// They are its own, nothing of the program's uses them any more, and this is done once.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub unsafe fn end_thread_locals() {
    // SAFETY: the caller's promise.
    unsafe { tls::end_thread() };
}

/// Whether the caller is green, or is on an OS thread that is a worker. Safe in a signal handler.
pub fn is_on_worker() -> bool {
    context::is_green() || context::with_worker(|worker| worker.is_some())
}

/// Names the current thread, if it is green and has no name, where the runtime shows threads.
pub fn name_current(name: &str) {
    context::with_running(|waiter| waiter.give_name(name));
}
