//! Interrupting the call that a thread is in on an OS thread of its own.
//!
//! The system ends such a call for the handler of a signal, and for nothing else. So whoever cancels the thread, be it by the C library's function or by Roving,
//! has its OS thread sent one that the program can neither use nor block, with a [handler](handle) that does nothing. It may come just before
//! the thread is in the system, and then the call would wait nevertheless: so it comes again and again, by a timer of the system, until
//! the thread has left the call.
//!
//! Whoever is in such a call is [listed](Interruptible), and then looks whether it has been cancelled. Who cancels it says so, and then looks for it in the
//! list. Of the two, the one who has the list later sees what the other has done. No signal comes when the thread has left: the timer is gone
//! by then, and what it has sent has been delivered.
//!
//! The C library cancels OS threads by that signal, and gives it a handler when it first does. That handler is back when nobody is interrupted any more, and
//! is given meanwhile what the C library sends.

use std::collections::HashMap;
use std::ffi::{c_int, c_long, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::{itimerspec, pid_t, sigevent, sighandler_t, siginfo_t, timespec};
use roving_scheduler::PerProcess;
use roving_scheduler::adopt;
use roving_scheduler::lock::Mutex;
use roving_scheduler::thread::Thread;
use roving_scheduler::wait::may_be_interrupted;

use super::{cancel, kernel, news};
use crate::next::next;
use crate::system_action::SystemAction;

/// While there is one, the current thread is in a call in which it may be interrupted.
pub(crate) struct Interruptible(());

/// One that is listed.
struct Call {
    os_thread: pid_t,
    /// Whether the thread allows the C library's function to cancel it.
    allows: bool,
    /// Whether Roving may interrupt it.
    is_open: bool,
    interruption: Option<Interruption>,
}

/// By thread.
type List = HashMap<usize, Call>;

static CALLS: PerProcess<Mutex<List>> = PerProcess::new();

fn calls() -> &'static Mutex<List> {
    CALLS.get_or_make(Mutex::default)
}

impl Interruptible {
    /// The current thread stays on its OS thread for as long, and is not yet sent signals [there](super::OnOsThread): a handler that
    /// comes while the list is locked, and jumps, would leave it locked.
    pub(crate) fn begin() -> Self {
        if let Some(thread) = adopt::current_identity() {
            let call = Call {
                os_thread: kernel::os_thread(),
                allows: cancel::is_allowed(),
                is_open: may_be_interrupted(),
                interruption: None,
            };
            calls().lock().insert(thread, call);
        }
        Self(())
    }

    /// Whether the thread has been cancelled before.
    pub(crate) fn is_interrupted(&self) -> bool {
        cancel::is_requested() || adopt::is_cancelled()
    }

    /// The current thread is no more, though there may be one, whose frame has been jumped over.
    pub(crate) fn leave() {
        drop(Self(()));
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        let remove = |thread| calls().lock().remove(&thread);
        let left = adopt::current_identity().and_then(remove);
        if left.is_some_and(|call| call.interruption.is_some()) {
            // Any system call: what has been sent is delivered by the time that this returns.
            kernel::os_thread();
        }
    }
}

/// Sees to it that those are interrupted whom Roving cancels.
pub(crate) fn begin() {
    adopt::call_at_cancellation(|thread| interrupt_if(thread, |call| call.is_open));
}

/// Interrupts a thread that has been cancelled by the C library's function.
pub(super) fn interrupt(thread: &Thread) {
    interrupt_if(adopt::identity(thread), |call| call.allows);
}

fn interrupt_if(thread: usize, is_to_be: impl FnOnce(&Call) -> bool) {
    if let Some(call) = calls().lock().get_mut(&thread)
        && call.interruption.is_none()
        && is_to_be(call)
    {
        call.interruption = Some(Interruption::begin(call.os_thread));
    }
}

/// The one by which the C library cancels.
const SIGNAL: c_int = 32;

/// How often it comes.
const INTERVAL: timespec = timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// While there is one, an OS thread is interrupted.
struct Interruption {
    timer: Option<c_int>,
}

impl Interruption {
    /// Of an OS thread of this process. Where the system refuses a timer, it is interrupted once.
    fn begin(os_thread: pid_t) -> Self {
        {
            let mut handling = handling().lock();
            handling.interruptions += 1;
            handling.take();
        }
        let timer = timer_for(os_thread);
        if timer.is_none() {
            news::give_uncounted(os_thread, SIGNAL);
        }
        Self { timer }
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            // SAFETY: it is this one's.
            unsafe { next!(syscall: Delete)(libc::SYS_timer_delete, timer) };
        }
        let mut handling = handling().lock();
        handling.interruptions -= 1;
        if handling.interruptions == 0 {
            handling.give_back();
        }
    }
}

type Create = unsafe extern "C" fn(c_long, c_int, *const sigevent, *mut c_int) -> c_long;
type SetTime =
    unsafe extern "C" fn(c_long, c_int, c_int, *const itimerspec, *mut itimerspec) -> c_long;
type Delete = unsafe extern "C" fn(c_long, c_int) -> c_long;

/// A timer that sends the signal to an OS thread, from now on.
fn timer_for(os_thread: pid_t) -> Option<c_int> {
    let times = itimerspec {
        it_value: timespec {
            tv_sec: 0,
            tv_nsec: 1,
        },
        it_interval: INTERVAL,
    };
    let mut timer = 0;
    // SAFETY: zeroes are an event; there is room for the timer, which is there if that succeeds, and the times are there.
    unsafe {
        let mut event: sigevent = mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = SIGNAL;
        event.sigev_notify_thread_id = os_thread;
        let number = libc::SYS_timer_create;
        let clock = libc::CLOCK_MONOTONIC;
        if next!(syscall: Create)(number, clock, &raw const event, &raw mut timer) != 0 {
            return None;
        }
        let number = libc::SYS_timer_settime;
        next!(syscall: SetTime)(number, timer, 0, &raw const times, ptr::null_mut());
    }
    Some(timer)
}

/// Who has the signal.
#[derive(Default)]
struct Handling {
    interruptions: usize,
    /// What the C library has had for it.
    of_library: Option<SystemAction>,
}

static HANDLING: PerProcess<Mutex<Handling>> = PerProcess::new();

/// The handler of the C library, if it has one.
static OF_LIBRARY: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

fn handling() -> &'static Mutex<Handling> {
    HANDLING.get_or_make(Mutex::default)
}

impl Handling {
    fn take(&mut self) {
        let now = SystemAction::of(SIGNAL);
        if now.handler == ours() {
            return;
        }
        if now.handler != libc::SIG_DFL {
            OF_LIBRARY.store(now.handler, Ordering::SeqCst);
            self.of_library = Some(now);
        }
        SystemAction::interrupting(handle).set(SIGNAL);
    }

    /// If it has had none, ours stays: it does what none would do.
    fn give_back(&mut self) {
        if let Some(of_library) = &self.of_library
            && SystemAction::of(SIGNAL).handler == ours()
        {
            of_library.set(SIGNAL);
        }
    }
}

/// The C library may have given the signal its handler.
pub(super) fn library_has_cancelled() {
    let mut handling = handling().lock();
    if handling.interruptions > 0 {
        handling.take();
    }
}

fn ours() -> sighandler_t {
    handle as *const () as sighandler_t
}

/// What the system calls.
extern "C-unwind" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    type Handler = extern "C-unwind" fn(c_int, *mut siginfo_t, *mut c_void);
    // SAFETY: the system tells of the signal.
    let is_of_library = unsafe { (*info).si_code } == libc::SI_TKILL;
    let handler = OF_LIBRARY.load(Ordering::SeqCst);
    if is_of_library && handler != libc::SIG_DFL {
        // SAFETY: it is a handler that is called so.
        let handler: Handler = unsafe { mem::transmute(handler) };
        handler(signal, info, context);
    }
}
