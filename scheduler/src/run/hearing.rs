//! Signals that the program listens to.
//!
//! The handler counts what comes, by signal, and rings a *bell*: a descriptor on which those wait who listen. Both may
//! be done in a handler, and it touches nothing that is ever freed: neither a list of listeners nor a descriptor that
//! is closed. The bell is not silenced. Whoever waits for the edges of it looks at the counts, and what was counted
//! before it rang is seen by whoever has heard it.
//!
//! A signal is handled while somebody listens to it. Then what was done with it before is done again, unless somebody
//! has installed a handler since, which may call this one: that stays, and this one does nothing. A forked child has
//! inherited the handler and none of those who listen: there it does what was done before.

use std::ffi::{c_int, c_void};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};

use crate::protocol::lock::Mutex;
use libc::siginfo_t;

use crate::protocol::process::{PerProcess, Process};
use crate::run::context;
use crate::run::signal_handler::{self, Action, Left, SIGNALS};

#[cfg_attr(target_os = "linux", path = "hearing/eventfd.rs")]
#[cfg_attr(not(target_os = "linux"), path = "hearing/pipe.rs")]
mod bell;

use self::bell::Bell;

/// Those that cannot be handled, and those with which a thread that goes on after them causes them again.
const FORBIDDEN: [c_int; 6] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
];

/// Those that the system ignores where nothing is said of them; to go on after a stop is not left to handlers.
const IGNORED: &[c_int] = &[
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGWINCH,
    #[cfg(not(target_os = "linux"))]
    libc::SIGIO,
    #[cfg(not(target_os = "linux"))]
    libc::SIGINFO,
];

/// What this process hears.
static EARS: PerProcess<Ears> = PerProcess::new();

/// By signal, what was done before the handler was installed. It changes under the lock of the ears.
static BEFORE: [AtomicPtr<Action>; SIGNALS] = [const { AtomicPtr::new(ptr::null_mut()) }; SIGNALS];

/// By signal, whether the handler has been installed and not been taken away again: it is called by the system, or
/// perhaps by another handler.
static INSTALLED: [AtomicBool; SIGNALS] = [const { AtomicBool::new(false) }; SIGNALS];

struct Ears {
    bell: Bell,
    /// By signal, how many listen to it.
    listeners: [AtomicUsize; SIGNALS],
    /// By signal, how many have come while somebody listened.
    heard: [AtomicU64; SIGNALS],
    /// Held while handlers come and go.
    changes: Mutex<()>,
}

impl Ears {
    /// Those of this process.
    fn current() -> io::Result<&'static Self> {
        if let Some(ears) = EARS.get() {
            return Ok(ears);
        }
        // A forked child has ears of its own.
        context::watch_forks();
        let ears = Self {
            bell: Bell::new()?,
            listeners: [const { AtomicUsize::new(0) }; SIGNALS],
            heard: [const { AtomicU64::new(0) }; SIGNALS],
            changes: Mutex::new(()),
        };
        match EARS.set(ears) {
            Ok(ears) => Ok(ears),
            Err(_) => Ok(EARS.get().expect("somebody else has made them")),
        }
    }

    /// A signal has come. `false` if nobody listens to it.
    fn hear(&self, signal: usize) -> bool {
        if self.listeners[signal].load(Ordering::Acquire) == 0 {
            return false;
        }
        // Release: whoever sees this one sees what was done before it was sent.
        self.heard[signal].fetch_add(1, Ordering::Release);
        self.bell.ring();
        true
    }
}

impl fmt::Debug for Ears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ears").finish_non_exhaustive()
    }
}

/// One who listens to a signal, from the beginning to the drop of this.
#[derive(Debug)]
pub struct Hearing {
    signal: c_int,
    /// How many have come that it knows of.
    known: AtomicU64,
    ears: &'static Ears,
    process: Process,
}

impl Hearing {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is no such signal, or it is one of those that cannot be listened to; there is no
    /// descriptor for the bell.
    pub fn begin(signal: c_int) -> io::Result<Self> {
        let number = usize::try_from(signal).ok().filter(|it| *it < SIGNALS);
        let (false, Some(number)) = (FORBIDDEN.contains(&signal), number) else {
            return Err(refused(signal));
        };
        let ears = Ears::current()?;
        let _changes = ears.changes.lock();
        let known = AtomicU64::new(ears.heard[number].load(Ordering::Acquire));
        // First the ears: what comes when the handler is there is heard.
        let is_first = ears.listeners[number].fetch_add(1, Ordering::AcqRel) == 0;
        fence(Ordering::SeqCst);
        if is_first && let Err(error) = install(signal, number) {
            ears.listeners[number].fetch_sub(1, Ordering::AcqRel);
            return Err(error);
        }
        Ok(Self {
            signal,
            known,
            ears,
            process: Process::current(),
        })
    }

    /// The signal.
    pub fn signal(&self) -> c_int {
        self.signal
    }

    /// Whether it has come since it was last taken.
    pub fn is_pending(&self) -> bool {
        self.known.load(Ordering::Acquire) < self.heard()
    }

    /// Takes what has come: `true` if something has, and nobody else has taken it.
    pub fn take(&self) -> bool {
        let heard = self.heard();
        self.known.fetch_max(heard, Ordering::AcqRel) < heard
    }

    fn heard(&self) -> u64 {
        self.ears.heard[self.number()].load(Ordering::Acquire)
    }

    fn number(&self) -> usize {
        usize::try_from(self.signal).expect("it was checked at the beginning")
    }

    /// # Errors
    ///
    /// This is a forked child, and what it has is a copy of one who listens in its parent.
    pub fn check(&self) -> io::Result<()> {
        self.process.check("who listens to this signal")
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        let number = self.number();
        let _changes = self.ears.changes.lock();
        if self.ears.listeners[number].fetch_sub(1, Ordering::AcqRel) == 1 {
            take_away(self.signal, number);
        }
    }
}

/// What rings whenever a signal comes to which anybody in this process listens: each time is an edge. It is never
/// closed.
///
/// # Errors
///
/// There is no descriptor for it.
pub fn bell() -> io::Result<BorrowedFd<'static>> {
    Ears::current().map(|ears| ears.bell.rung.as_fd())
}

fn refused(signal: c_int) -> io::Error {
    let why = if FORBIDDEN.contains(&signal) {
        "it cannot be handled, or comes again at once"
    } else {
        "there is none of this number that programs may handle"
    };
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("cannot listen to signal {signal}: {why}"),
    )
}

fn install(signal: c_int, number: usize) -> io::Result<()> {
    if !signal_handler::exists(signal) {
        return Err(refused(signal));
    }
    let current = Action::of(signal);
    let is_there = current.is(handle);
    // Whoever has installed another one since may call this one; were it installed again, they would call each other.
    let may_be_called = INSTALLED[number].load(Ordering::Relaxed) && !current.is_none();
    if is_there || may_be_called {
        return Ok(());
    }
    // A signal may come at once.
    keep(number, current);
    keep(
        number,
        signal_handler::install(signal, handle, libc::SA_RESTART),
    );
    INSTALLED[number].store(true, Ordering::Relaxed);
    Ok(())
}

/// Keeps what was done before for the handler, which may be about to look at what was kept before: that is leaked,
/// unless it is the same.
fn keep(number: usize, before: Action) {
    if self::before(number).is_none_or(|kept| !kept.is_same(&before)) {
        let before = Box::into_raw(Box::new(before));
        BEFORE[number].store(before, Ordering::Release);
    }
}

fn before(number: usize) -> Option<&'static Action> {
    // SAFETY: null, or what `keep` has leaked. Acquire: it is there whole.
    unsafe { BEFORE[number].load(Ordering::Acquire).as_ref() }
}

/// Has done what was done before, if the handler is the one that the system calls.
fn take_away(signal: c_int, number: usize) {
    let Some(before) = before(number).filter(|_| Action::of(signal).is(handle)) else {
        return;
    };
    let replaced = before.set(signal);
    if replaced.is(handle) {
        INSTALLED[number].store(false, Ordering::Relaxed);
    } else {
        // Somebody has installed it just now.
        replaced.set(signal);
    }
}

/// Only what may be done in a handler: it leaves `errno` as it was.
extern "C-unwind" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(number) = usize::try_from(signal).ok().filter(|it| *it < SIGNALS) else {
        return;
    };
    signal_handler::keep_errno(|| {
        // Who has heard it may install another handler, which is not to be called for it.
        let before = before(number);
        let is_heard = EARS.get().is_some_and(|ears| ears.hear(number));
        let left = before.map_or(Left::Nothing, |before| before.call(signal, info, context));
        // Nothing is to be done for one that is ignored; and to take the handler away would be at the cost of whoever
        // has begun to listen since.
        let is_left = !is_heard && left == Left::Default && !IGNORED.contains(&signal);
        if is_left && leave_to_the_system(signal, number) {
            // SAFETY: it may be called in a handler; it is delivered when this one returns.
            unsafe { libc::raise(signal) };
        }
    });
}

/// Has the system do its default, if nobody has installed another handler or has begun to listen: who has hears it. In a
/// handler.
fn leave_to_the_system(signal: c_int, number: usize) -> bool {
    let hears = || EARS.get().is_some_and(|ears| ears.hear(number));
    let current = Action::of(signal);
    if hears() || !(current.is(handle) || current.is_default()) {
        return false;
    }
    // SAFETY: it may be called in a handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // Who begins to listen is counted first and then finds the handler gone, or has found it there and is heard of here.
    fence(Ordering::SeqCst);
    if hears() {
        signal_handler::install(signal, handle, libc::SA_RESTART);
        return false;
    }
    true
}
