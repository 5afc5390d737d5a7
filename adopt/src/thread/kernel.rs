//! What the kernel knows of an OS thread, and not of a green one: signals that are sent to it, its policy and priority, its
//! affinity, its clock; and cancellation, which interrupts what a thread does in the kernel. Signals and cancellation a green thread
//! [heeds](super::news) by itself.
//!
//! A green thread is told what it has, as its workers have it: the ordinary policy, and the CPUs of its process. To set it to
//! what it is succeeds, and what the system would refuse is refused so. The rest fails:
//!
//! | function                                | for a green thread                                               |
//! |-----------------------------------------|------------------------------------------------------------------|
//! | `pthread_setschedparam`, `setschedprio` | `EPERM` for another policy, `EINVAL` for a wrong priority         |
//! | `pthread_setaffinity_np`                | `ENOSYS` for fewer CPUs than it has                              |
//! | `pthread_getcpuclockid`                 | `ENOENT`: there is none                                          |
//!
//! What names the calling thread by a zero or by its number, `sched_setaffinity` and its like, does the same: it would change the
//! worker.

use std::ffi::{c_int, c_long, c_void};
use std::iter;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libc::{clockid_t, cpu_set_t, pid_t, pthread_t, sched_param, timespec};

use roving_scheduler::adopt::{self, Inside};

use super::later::{self, Asked};
use super::records::Shared;
use super::{Whose, cancel, current, interrupt, is_green, news, whose};
use crate::next::next;
use crate::{errno, memory};

/// Whether a thread is the current one, if it is green.
enum Which {
    Current(pthread_t),
    Other(Shared),
    /// The system has nothing of it any more. It can be joined, and what is sent to it is lost.
    Ended,
    Nobody,
    Real,
}

fn which(id: pthread_t) -> Which {
    // Without a look at the list, which the handler of a signal may have interrupted.
    if current::id() == Some(id) {
        return Which::Current(current::real_id());
    }
    match whose(id) {
        Whose::Green(known) if known.lock().is_at_end => Which::Ended,
        Whose::Green(known) => Which::Other(known),
        Whose::Nobody => Which::Nobody,
        Whose::Real => Which::Real,
    }
}

/// Whether the program may send it: the C library keeps two for itself.
fn is_signal(signal: c_int) -> bool {
    (0..32).contains(&signal) || (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&signal)
}

/// Whether the caller is inside of the runtime, as a handler is, and the thread a green one that is not the current one.
fn is_other_from_inside(id: pthread_t) -> bool {
    Inside::is_current() && is_green(id) && current::id() != Some(id)
}

/// Sends a signal to a green thread that is not the current one, by `send`.
fn send_to_other(signal: c_int, send: impl FnOnce() -> c_int) -> c_int {
    match signal {
        _ if !is_signal(signal) => libc::EINVAL,
        0 => 0,
        _ => send(),
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_kill(id: pthread_t, signal: c_int) -> c_int {
    type Next = unsafe extern "C-unwind" fn(pthread_t, c_int) -> c_int;
    news::look_up();
    if is_other_from_inside(id) {
        return send_to_other(signal, || later::ask(id, Asked::Signal(signal, None)));
    }
    match which(id) {
        Which::Current(id) => {
            adopt::keep_signals();
            // SAFETY: the caller's promise. To the current thread it is sent by what the kernel knows it by.
            unsafe { next!(pthread_kill: Next)(id, signal) }
        }
        Which::Other(known) => send_to_other(signal, || news::send(&known, signal, None)),
        Which::Ended => send_to_other(signal, || 0),
        Which::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Which::Real => unsafe { next!(pthread_kill: Next)(id, signal) },
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_sigqueue(
    id: pthread_t,
    signal: c_int,
    value: *mut c_void,
) -> c_int {
    type Next = unsafe extern "C-unwind" fn(pthread_t, c_int, *mut c_void) -> c_int;
    news::look_up();
    if is_other_from_inside(id) {
        return send_to_other(signal, || {
            later::ask(id, Asked::Signal(signal, Some(value)))
        });
    }
    match which(id) {
        Which::Current(_) if !is_signal(signal) => libc::EINVAL,
        Which::Current(_) => news::give_current(signal, Some(value)),
        Which::Other(known) => send_to_other(signal, || news::send(&known, signal, Some(value))),
        Which::Ended => send_to_other(signal, || 0),
        Which::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Which::Real => unsafe { next!(pthread_sigqueue: Next)(id, signal, value) },
    }
}

/// Cancels a thread that the C library knows by this id, and an OS thread runs.
///
/// # Safety
///
/// That of the C library's.
pub(super) unsafe fn cancel_real(id: pthread_t) -> c_int {
    type Next = unsafe extern "C-unwind" fn(pthread_t) -> c_int;
    // SAFETY: the caller's promise.
    let result = unsafe { next!(pthread_cancel: Next)(id) };
    if crate::is_adopted() {
        interrupt::library_has_cancelled();
    }
    result
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_cancel(id: pthread_t) -> c_int {
    if is_other_from_inside(id) {
        return later::ask(id, Asked::Cancel);
    }
    match which(id) {
        Which::Current(_) => {
            current::with_known(cancel::request_of_current);
            if cancel::is_asynchronous() {
                cancel::look();
            }
            0
        }
        Which::Other(known) => cancel::request(&known),
        Which::Ended => 0,
        Which::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Which::Real => unsafe { cancel_real(id) },
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getschedparam(
    id: pthread_t,
    policy: *mut c_int,
    parameters: *mut sched_param,
) -> c_int {
    type Next = unsafe extern "C" fn(pthread_t, *mut c_int, *mut sched_param) -> c_int;
    match which(id) {
        // SAFETY: the caller's promise: there is room for the answers.
        Which::Current(_) | Which::Other(_) => unsafe {
            policy.write(libc::SCHED_OTHER);
            (*parameters).sched_priority = 0;
            0
        },
        Which::Ended | Which::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Which::Real => unsafe { next!(pthread_getschedparam: Next)(id, policy, parameters) },
    }
}

/// What it gives to set the policy and the priority of a green thread.
fn set_policy(policy: c_int, priority: c_int) -> c_int {
    // The system tells it of what is no policy too.
    let (least, most) = bounds(policy);
    match policy {
        _ if least < 0 || !(least..=most).contains(&priority) => libc::EINVAL,
        libc::SCHED_OTHER => 0,
        _ => libc::EPERM,
    }
}

/// The least and the highest priority of a policy; negative if there is none.
fn bounds(policy: c_int) -> (c_int, c_int) {
    // SAFETY: they have no preconditions.
    unsafe {
        (
            libc::sched_get_priority_min(policy),
            libc::sched_get_priority_max(policy),
        )
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setschedparam(
    id: pthread_t,
    policy: c_int,
    parameters: *const sched_param,
) -> c_int {
    type Next = unsafe extern "C" fn(pthread_t, c_int, *const sched_param) -> c_int;
    match which(id) {
        Which::Current(_) | Which::Other(_) => {
            // SAFETY: the caller's promise.
            set_policy(policy, unsafe { (*parameters).sched_priority })
        }
        Which::Ended | Which::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Which::Real => noted(unsafe { next!(pthread_setschedparam: Next)(id, policy, parameters) }),
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setschedprio(id: pthread_t, priority: c_int) -> c_int {
    type Next = unsafe extern "C" fn(pthread_t, c_int) -> c_int;
    match which(id) {
        Which::Current(_) | Which::Other(_) => set_policy(libc::SCHED_OTHER, priority),
        Which::Ended | Which::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Which::Real => unsafe { next!(pthread_setschedprio: Next)(id, priority) },
    }
}

/// What it gives to set the affinity of a green thread.
///
/// # Safety
///
/// There are so many bytes.
unsafe fn set_affinity(size: usize, wanted: *const cpu_set_t) -> c_int {
    let mut has = MaybeUninit::<Cpus>::zeroed();
    // SAFETY: there is room for the answer, which is some numbers.
    let has = unsafe {
        if libc::sched_getaffinity(0, size_of::<cpu_set_t>(), has.as_mut_ptr().cast()) != 0 {
            return errno::get();
        }
        has.assume_init()
    };
    // SAFETY: the caller's promise.
    let wanted = unsafe { std::slice::from_raw_parts(wanted.cast::<u8>(), size) };
    let wanted = wanted.iter().copied().chain(iter::repeat(0));
    let both: Vec<u8> = has
        .iter()
        .zip(wanted)
        .map(|(has, wanted)| has & wanted)
        .collect();
    if both == has {
        0
    } else if both.iter().all(|&cpus| cpus == 0) {
        libc::EINVAL
    } else {
        libc::ENOSYS
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setaffinity_np(
    id: pthread_t,
    size: usize,
    cpus: *const cpu_set_t,
) -> c_int {
    type Next = unsafe extern "C" fn(pthread_t, usize, *const cpu_set_t) -> c_int;
    match which(id) {
        // SAFETY: the caller's promise.
        Which::Current(_) | Which::Other(_) => unsafe { set_affinity(size, cpus) },
        Which::Ended | Which::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Which::Real => noted(unsafe { next!(pthread_setaffinity_np: Next)(id, size, cpus) }),
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getaffinity_np(
    id: pthread_t,
    size: usize,
    cpus: *mut cpu_set_t,
) -> c_int {
    type Next = unsafe extern "C" fn(pthread_t, usize, *mut cpu_set_t) -> c_int;
    match which(id) {
        Which::Current(_) | Which::Other(_) => {
            // SAFETY: the caller's promise.
            match unsafe { libc::sched_getaffinity(0, size, cpus) } {
                0 => 0,
                _ => errno::get(),
            }
        }
        Which::Ended | Which::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Which::Real => unsafe { next!(pthread_getaffinity_np: Next)(id, size, cpus) },
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getcpuclockid(id: pthread_t, clock: *mut clockid_t) -> c_int {
    type Next = unsafe extern "C" fn(pthread_t, *mut clockid_t) -> c_int;
    match which(id) {
        Which::Current(_) | Which::Other(_) => libc::ENOENT,
        Which::Ended | Which::Nobody => libc::ESRCH,
        // SAFETY: the caller's promise.
        Which::Real => unsafe { next!(pthread_getcpuclockid: Next)(id, clock) },
    }
}

/// Whether any OS thread has been given an affinity or a policy.
static ARE_SET: AtomicBool = AtomicBool::new(false);

/// The affinity of whoever has adopted the program, which the workers have.
static OF_WORKERS: OnceLock<Cpus> = OnceLock::new();

pub(super) type Cpus = [u8; size_of::<cpu_set_t>()];

/// The affinity of the OS thread that runs the caller; no CPUs if it cannot be told.
pub(super) fn affinity() -> Cpus {
    let mut cpus = [0; size_of::<cpu_set_t>()];
    // SAFETY: there is room for the answer.
    unsafe { libc::sched_getaffinity(0, size_of::<Cpus>(), cpus.as_mut_ptr().cast()) };
    cpus
}

/// The caller adopts the program.
pub(crate) fn note_affinity() {
    OF_WORKERS.get_or_init(affinity);
}

/// Notes that an OS thread has been given an affinity or a policy, if that has not failed.
fn noted(error: c_int) -> c_int {
    if error == 0 {
        ARE_SET.store(true, Ordering::Relaxed);
    }
    error
}

/// Whether a thread that the caller makes has an affinity or a policy by that.
pub(super) fn are_inherited() -> bool {
    let differs = || {
        // SAFETY: it asks for that of the caller.
        let policy = unsafe { libc::sched_getscheduler(0) };
        policy != libc::SCHED_OTHER || OF_WORKERS.get().is_some_and(|cpus| *cpus != affinity())
    };
    ARE_SET.load(Ordering::Relaxed)
        && current::id().is_none()
        && !adopt::may_park()
        && errno::kept(differs)
}

/// Whether it means a green thread, which is the caller.
fn is_caller(thread: pid_t) -> bool {
    let number = adopt::thread_number().filter(|_| crate::is_adopted());
    number.is_some_and(|number| thread == 0 || thread == number.cast_signed())
}

/// The same number, but for that of a green thread which is the caller: that of the OS thread which runs it.
fn known_to_kernel(number: pid_t) -> pid_t {
    let is_caller = adopt::thread_number().is_some_and(|own| own.cast_signed() == number);
    if is_caller { os_thread() } else { number }
}

/// The number of a thread to which the caller sends a signal, as the kernel knows it. It may be the caller's own, who may have blocked it.
pub(crate) fn sent_to(thread: pid_t) -> pid_t {
    if crate::is_adopted() {
        adopt::keep_signals();
    }
    known_to_kernel(thread)
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn tgkill(process: pid_t, thread: pid_t, signal: c_int) -> c_int {
    type Next = unsafe extern "C-unwind" fn(pid_t, pid_t, c_int) -> c_int;
    // SAFETY: the caller's promise.
    unsafe { next!(tgkill: Next)(process, sent_to(thread), signal) }
}

/// A moment in the system, a second at most, for whoever waits for another thread that is about to do something. It is no point of cancellation.
pub(crate) fn nap(moment: Duration) {
    type Syscall = unsafe extern "C-unwind" fn(c_long, *const timespec, *mut timespec) -> c_long;
    let moment = timespec {
        tv_sec: 0,
        tv_nsec: moment.subsec_nanos().into(),
    };
    errno::kept(|| {
        // SAFETY: a time, and nothing is told of the rest.
        unsafe { next!(syscall: Syscall)(libc::SYS_nanosleep, &raw const moment, ptr::null_mut()) }
    });
}

/// The number by which the kernel knows the OS thread that runs the caller.
pub(crate) fn os_thread() -> pid_t {
    // SAFETY: it has no preconditions.
    unsafe { next!(gettid: unsafe extern "C" fn() -> pid_t)() }
}

/// Whether the OS thread that runs the caller is the process's first.
pub(super) fn is_main() -> bool {
    // SAFETY: it has no preconditions.
    os_thread() == unsafe { libc::getpid() }
}

/// A green thread has a number that no thread of the system has, by which nobody but itself is known.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn gettid() -> pid_t {
    match adopt::thread_number() {
        Some(number) if crate::is_adopted() => number.cast_signed(),
        _ => os_thread(),
    }
}

/// What a system call gives for an error that another function gives as its result.
fn as_call(error: c_int) -> c_int {
    if error == 0 { 0 } else { errno::fail(error) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sched_setaffinity(
    thread: pid_t,
    size: usize,
    cpus: *const cpu_set_t,
) -> c_int {
    type Next = unsafe extern "C" fn(pid_t, usize, *const cpu_set_t) -> c_int;
    if is_caller(thread) && memory::is_there(cpus.cast(), size) {
        // SAFETY: the caller's promise.
        return as_call(unsafe { set_affinity(size, cpus) });
    }
    // SAFETY: the caller's promise.
    noted(unsafe { next!(sched_setaffinity: Next)(thread, size, cpus) })
}

/// Whether they are there. What the system tells if not, it tells before it changes anything.
fn is_there(parameters: *const sched_param) -> bool {
    memory::is_there(parameters.cast(), size_of::<sched_param>())
}

/// The priority, wherever the parameters are: the system takes them at any address.
///
/// # Safety
///
/// They are there.
unsafe fn priority(parameters: *const sched_param) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { parameters.read_unaligned().sched_priority }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sched_setscheduler(
    thread: pid_t,
    policy: c_int,
    parameters: *const sched_param,
) -> c_int {
    type Next = unsafe extern "C" fn(pid_t, c_int, *const sched_param) -> c_int;
    if is_caller(thread) && is_there(parameters) {
        // SAFETY: the caller's promise.
        return as_call(set_policy(policy, unsafe { priority(parameters) }));
    }
    // SAFETY: the caller's promise.
    noted(unsafe { next!(sched_setscheduler: Next)(thread, policy, parameters) })
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sched_setparam(
    thread: pid_t,
    parameters: *const sched_param,
) -> c_int {
    type Next = unsafe extern "C" fn(pid_t, *const sched_param) -> c_int;
    if is_caller(thread) && is_there(parameters) {
        // SAFETY: the caller's promise.
        return as_call(set_policy(libc::SCHED_OTHER, unsafe {
            priority(parameters)
        }));
    }
    // SAFETY: the caller's promise.
    unsafe { next!(sched_setparam: Next)(thread, parameters) }
}
