//! Signals to the process that only green threads let come.
//!
//! The system gives a signal to the process to one of its OS threads that has not blocked it. Where the program has it blocked in all of them
//! but for a green thread that waits for it to come, as a server does that has one thread for its signals, no OS thread has it open while
//! that one is parked: the workers have the mask of who has made them. So those signals are listed that a green thread has open and the
//! workers have blocked, and an OS thread takes them, and sends them to a thread that has.
//!
//! What was sent is held back by nobody meanwhile, and ends a wait as what is sent to the thread itself.

use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::mem;
use std::sync::atomic::{AtomicI32, Ordering};

use libc::{pthread_t, siginfo_t};
use roving_scheduler::PerProcess;
use roving_scheduler::adopt::{self, Signals};
use roving_scheduler::lock::Mutex;

use super::{Whose, current, kernel, news, whose};
use crate::mask;
use crate::next::next;

/// Who has which open.
type Open = Vec<(pthread_t, Signals)>;

static OPEN: PerProcess<Mutex<Open>> = PerProcess::new();

/// Whether an OS thread has been started that takes them.
static HAS_BEGUN: PerProcess<Mutex<bool>> = PerProcess::new();

/// Its number, once it is there, and else 0.
static TAKER: PerProcess<AtomicI32> = PerProcess::new();

thread_local! {
    /// What the current thread is listed with.
    static LISTED: Cell<Signals> = const { Cell::new(0) };
}

// Not inlined: a compiler may keep the address of a thread-local for as long as a function runs.
#[inline(never)]
fn list(signals: Signals) -> Signals {
    LISTED.replace(signals)
}

fn open() -> &'static Mutex<Open> {
    OPEN.get_or_make(Mutex::default)
}

/// The current thread has these blocked from now on.
pub(super) fn note(blocked: Signals) {
    if let Some(of_worker) = adopt::blocked_by_worker() {
        set(of_worker & !blocked);
    }
}

/// The current thread ends.
pub(super) fn end() {
    set(0);
}

/// In a forked child, whose only thread is an OS thread.
pub(super) fn in_child() {
    list(0);
}

fn set(signals: Signals) {
    let before = list(signals);
    if before == signals {
        return;
    }
    let Some(id) = current::id() else { return };
    {
        let mut open = open().lock();
        open.retain(|&(other, _)| other != id);
        if signals != 0 {
            open.push((id, signals));
        }
    }
    look_again();
}

fn taker() -> &'static AtomicI32 {
    TAKER.get_or_make(AtomicI32::default)
}

/// Has the taker look at what is listed. While the system refuses an OS thread, signals come when their threads run.
fn look_again() {
    let mut has_begun = HAS_BEGUN.get_or_make(Mutex::default).lock();
    if !*has_begun {
        // It looks first.
        let begun = roving_scheduler::start_os_thread("roving-signals".to_owned(), take_all);
        *has_begun = begun.is_ok();
        return;
    }
    let taker = taker().load(Ordering::SeqCst);
    if taker != 0 {
        system(
            libc::SYS_tgkill,
            [process(), taker as usize, LOOK as usize, 0],
        );
    }
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
    taker().store(kernel::os_thread(), Ordering::SeqCst);
    loop {
        // After it can be told to look again.
        let listed = open().lock().iter().fold(0, |all, (_, some)| all | some);
        let set = listed | bit(LOOK);
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
            signal if signal > 0 => pass_on(signal, &info),
            _ => {}
        }
    }
}

/// Passes on what the taker has taken.
fn pass_on(signal: c_int, info: &siginfo_t) {
    let has_open = |&&(_, signals): &&(pthread_t, Signals)| mask::is_in(signals, signal);
    let thread = open().lock().iter().find(has_open).map(|&(id, _)| id);
    match news::action(signal).sa_sigaction {
        libc::SIG_IGN => {}
        // What the system does with the process, it does where it finds the signal.
        libc::SIG_DFL => {
            let taker = kernel::os_thread() as usize;
            system(libc::SYS_tgkill, [process(), taker, signal as usize, 0]);
            adopt::let_come(bit(signal));
            adopt::block_all();
        }
        _ => {
            if let Some(Whose::Green(known)) = thread.map(whose) {
                news::pass_on(&known, info);
            } else {
                // It has blocked it since, as have all.
                system(libc::SYS_kill, [process(), signal as usize, 0, 0]);
            }
        }
    }
}
