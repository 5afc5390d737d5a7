//! What the handler of a signal asks of green threads, done a little later.
//!
//! A handler may have interrupted whoever has the list of threads locked, or a record in it. So what it sends to a thread other than the
//! one that it interrupts is noted, without a lock and without memory, and an OS thread of the runtime, which does the
//! [chores](Chore) of handlers, sends it. The handler is not told whether there is such a thread.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use libc::pthread_t;
use roving_scheduler::PerProcess;
use roving_scheduler::adopt::Chore;

use super::{Whose, cancel, news, whose};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    Signal(c_int, Option<*mut c_void>),
    Cancel,
}

/// Room for something that was asked for.
struct Note {
    state: AtomicU32,
    thread: AtomicU64,
    /// 0, which is none, asks to cancel the thread.
    signal: AtomicI32,
    has_value: AtomicBool,
    value: AtomicPtr<c_void>,
}

const FREE: u32 = 0;
const WRITTEN_NOW: u32 = 1;
const FULL: u32 = 2;

static NOTES: [Note; 256] = [const {
    Note {
        state: AtomicU32::new(FREE),
        thread: AtomicU64::new(0),
        signal: AtomicI32::new(0),
        has_value: AtomicBool::new(false),
        value: AtomicPtr::new(ptr::null_mut()),
    }
}; 256];

/// Sends what is noted.
static SENDS: PerProcess<Chore> = PerProcess::new();

/// Sees to it that what is noted in this process is sent, before there is a green thread. Where the system refuses the OS thread, nothing can be
/// asked for.
pub(super) fn begin() {
    if SENDS.get().is_none()
        && let Ok(sends) = Chore::new(send_all)
    {
        let _ = SENDS.set(sends);
    }
}

/// Asks for something. The result is an error, or 0.
pub(super) fn ask(thread: pthread_t, asked: Asked) -> c_int {
    let is_taken = |note: &&Note| {
        let (taken, failed) = (Ordering::Acquire, Ordering::Relaxed);
        let took = note
            .state
            .compare_exchange(FREE, WRITTEN_NOW, taken, failed);
        took.is_ok()
    };
    let Some(sends) = SENDS.get() else {
        return libc::EAGAIN;
    };
    let Some(note) = NOTES.iter().find(is_taken) else {
        return libc::EAGAIN;
    };
    let (signal, value) = match asked {
        Asked::Signal(signal, value) => (signal, value),
        Asked::Cancel => (0, None),
    };
    note.thread.store(thread, Ordering::Relaxed);
    note.signal.store(signal, Ordering::Relaxed);
    note.has_value.store(value.is_some(), Ordering::Relaxed);
    note.value
        .store(value.unwrap_or(ptr::null_mut()), Ordering::Relaxed);
    note.state.store(FULL, Ordering::Release);
    sends.run();
    0
}

fn send_all() {
    for note in &NOTES {
        if note.state.load(Ordering::Acquire) != FULL {
            continue;
        }
        let thread = note.thread.load(Ordering::Relaxed);
        let signal = note.signal.load(Ordering::Relaxed);
        let has_value = note.has_value.load(Ordering::Relaxed);
        let value = Some(note.value.load(Ordering::Relaxed)).filter(|_| has_value);
        note.state.store(FREE, Ordering::Release);
        if let Whose::Green(known) = whose(thread) {
            if signal == 0 {
                cancel::request(&known);
            } else {
                news::send(&known, signal, value);
            }
        }
    }
}

/// In a forked child: what was asked of the parent's threads is of no concern.
pub(super) fn in_child() {
    for note in &NOTES {
        note.state.store(FREE, Ordering::Relaxed);
    }
}
