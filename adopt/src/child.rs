//! Waiting for children.
//!
//! Who waits for one child asks first whether it has ended, by the function that the caller has called, so that it does not wait. If
//! it has not, a descriptor of the child says when it has: the caller is parked until then, and asks again. The state of a
//! child is always taken by the function that the caller has called, so that it is what that gives: of several who wait for the same
//! child, one is told of it, and the others that there is none.
//!
//! Who waits for any child, for a group of them, or for one that stops or goes on, waits on an OS thread, with its worker
//! handed over. No descriptor tells of that, but only a signal, SIGCHLD. A handler of it would interrupt calls on OS
//! threads that nothing interrupts otherwise, and none would run in a program that ignores the signal, or blocks it to take it in
//! its own way.
//!
//! A child that the program traces stops, and that is told too, though nobody has asked for it. So whoever is parked looks
//! now and then whether it is so; from then on the program is one that traces, and all its waits are handed over.

use std::ffi::c_int;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libc::{id_t, idtype_t, pid_t, rusage, siginfo_t};
use roving_io::adopt::Direction;

use crate::descriptor::close_at_no_point;
use crate::hand_over::{hand_over, hand_over_at_point};
use crate::next::next;
use crate::slot::{Generation, Slot};
use crate::thread::{Heeded, Point, heed};
use crate::waiting::{blocks, is_ready};
use crate::{errno, memory, parks};

/// After how long it is asked first whether a child has stopped. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether a child has stopped for the program as its tracer.
static TRACES: AtomicBool = AtomicBool::new(false);

/// One child.
#[derive(Clone, Copy)]
enum Child {
    Numbered(pid_t),
    /// By a descriptor of the program's.
    Of(c_int),
}

impl Child {
    /// A descriptor that tells when it has ended.
    fn open(self) -> Option<c_int> {
        let opened = match self {
            // SAFETY: it opens a descriptor, if anything.
            Self::Numbered(pid) => unsafe {
                libc::syscall(libc::SYS_pidfd_open, pid, 0usize) as c_int
            },
            // The program may close its own while it waits, which ends no wait.
            // SAFETY: as above.
            Self::Of(fd) => unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) },
        };
        (opened >= 0).then_some(opened)
    }

    /// Whether it has stopped for its tracer, which this process is.
    fn is_trapped(self) -> bool {
        let (kind, id) = match self {
            Self::Numbered(pid) => (libc::P_PID, pid.cast_unsigned()),
            Self::Of(fd) => (libc::P_PIDFD, fd.cast_unsigned()),
        };
        let options = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: zeroes are a valid answer, and there is room for one.
        unsafe {
            let mut found: siginfo_t = mem::zeroed();
            let result = next!(waitid: WaitId)(kind, id, &raw mut found, options);
            result == 0 && found.si_code == libc::CLD_TRAPPED
        }
    }
}

/// A descriptor that tells when a child has ended.
struct Tells {
    fd: c_int,
    slot: &'static Slot,
    generation: Generation,
}

enum Woken {
    HasEnded,
    Late,
    /// The program has closed the descriptor, which it has not opened.
    Gone,
    Failed(c_int),
    CannotWait,
}

impl Tells {
    /// `None` if there is no room for another descriptor, the system has none of this kind, or no such child is there.
    fn of(child: Child) -> Option<Self> {
        let fd = child.open()?;
        let Some(slot) = Slot::of(fd) else {
            // SAFETY: it was opened here.
            unsafe { close_at_no_point(fd) };
            return None;
        };
        Some(Self {
            fd,
            slot,
            generation: slot.generation(),
        })
    }

    fn is_gone(&self) -> bool {
        self.slot.generation() != self.generation
    }

    fn wait(&self, until: Instant) -> Woken {
        let Ok(watch) = self.slot.watch_or_make() else {
            return Woken::CannotWait;
        };
        let seen = watch.glance(Direction::Read);
        if self.slot.arm(self.fd, watch).is_err() && !self.is_gone() {
            return Woken::CannotWait;
        }
        let woken = if is_ready(self.fd, libc::POLLIN) {
            Ok(true)
        } else {
            watch.wait(self.fd, Direction::Read, seen, Some(until))
        };
        match woken {
            _ if self.is_gone() => Woken::Gone,
            Ok(_) if is_ready(self.fd, libc::POLLIN) => Woken::HasEnded,
            Ok(false) if heed(true) == Heeded::Ends => Woken::Failed(libc::EINTR),
            Ok(_) => Woken::Late,
            Err(_) => Woken::Failed(libc::ECANCELED),
        }
    }
}

impl Drop for Tells {
    fn drop(&mut self) {
        if self.is_gone() {
            return;
        }
        // SAFETY: it was opened here, and nobody has closed it since.
        errno::kept(|| unsafe { close_at_no_point(self.fd) });
    }
}

/// Why nobody was told of a child.
enum NotTold {
    /// The call is to be made as it is, which may block.
    Call,
    Failed(c_int),
}

/// Waits until `is_told`, which asks for the child, has got an answer.
#[inline(never)]
fn until_told(child: Child, is_told: &mut dyn FnMut() -> bool) -> Result<(), NotTold> {
    if TRACES.load(Ordering::Relaxed) {
        return Err(NotTold::Call);
    }
    let mut pause = FIRST_PAUSE;
    loop {
        let tells = Tells::of(child).ok_or(NotTold::Call)?;
        // Before there was the descriptor it may have ended, and another process have its number.
        if is_told() {
            return Ok(());
        }
        loop {
            let woken = tells.wait(Instant::now() + pause);
            if matches!(woken, Woken::Late) && child.is_trapped() {
                TRACES.store(true, Ordering::Relaxed);
            }
            if is_told() {
                return Ok(());
            }
            match woken {
                Woken::Failed(error) => return Err(NotTold::Failed(error)),
                Woken::Late => pause = (2 * pause).min(LONGEST_PAUSE),
                Woken::Gone => break,
                // Who traces it is told first.
                _ => return Err(NotTold::Call),
            }
        }
    }
}

/// What `wait4` tells of a child, for all functions of its kind. `next` is that of the C library, with options, which is made by `hand_over` if it
/// waits.
fn wait_for(
    pid: pid_t,
    options: c_int,
    mut next: impl FnMut(c_int) -> pid_t,
    hand_over: impl FnOnce(&mut dyn FnMut() -> pid_t) -> pid_t,
) -> pid_t {
    errno::kept_by_success(|| {
        if options & libc::WNOHANG != 0 || !parks() {
            return next(options);
        }
        let mut told = next(options | libc::WNOHANG);
        if told != 0 {
            return told;
        }
        let until_told = if pid > 0 && options & !libc::__WALL == 0 {
            until_told(Child::Numbered(pid), &mut || {
                told = next(options | libc::WNOHANG);
                told != 0
            })
        } else {
            Err(NotTold::Call)
        };
        match until_told {
            Ok(()) => told,
            Err(NotTold::Call) => hand_over(&mut || next(options)),
            Err(NotTold::Failed(error)) => errno::fail::<i8>(error).into(),
        }
    })
}

/// Any child.
const ANY: pid_t = -1;

/// Waits for a child of the caller's own, at no point of cancellation.
pub(crate) fn await_child(pid: pid_t, status: &mut c_int) -> pid_t {
    let next = |options| {
        // SAFETY: there is room for the answer.
        unsafe { next!(waitpid: WaitPid)(pid, status, options) }
    };
    wait_for(pid, 0, next, |call| hand_over(call))
}

type WaitPid = unsafe extern "C-unwind" fn(pid_t, *mut c_int, c_int) -> pid_t;

/// Defines functions that wait for children and take options.
macro_rules! waits {
    ($(
        fn $name:ident($($before:ident: $before_type:ty),*; options $(, $after:ident: $after_type:ty)?) of $child:expr;
    )*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(
            $($before: $before_type,)*
            options: c_int
            $(, $after: $after_type)?
        ) -> pid_t {
            let _point = $crate::thread::Point::begin();
            type Next = unsafe extern "C-unwind" fn($($before_type,)* c_int $(, $after_type)?) -> pid_t;
            let next = |options| {
                // SAFETY: the caller's promise.
                unsafe { next!($name: Next)($($before,)* options $(, $after)?) }
            };
            wait_for($child, options, next, |call| hand_over_at_point(call))
        }
    )*};
}

waits! {
    fn waitpid(pid: pid_t, status: *mut c_int; options) of pid;
    fn __waitpid(pid: pid_t, status: *mut c_int; options) of pid;
    fn wait3(status: *mut c_int; options, usage: *mut rusage) of ANY;
    fn wait4(pid: pid_t, status: *mut c_int; options, usage: *mut rusage) of pid;
}

/// Defines `wait` by its two names.
macro_rules! waits_for_any {
    ($($name:ident)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(status: *mut c_int) -> pid_t {
            // SAFETY: the caller's promise.
            unsafe { waitpid(ANY, status, 0) }
        }
    )*};
}

waits_for_any!(wait __wait);

type WaitId = unsafe extern "C-unwind" fn(idtype_t, id_t, *mut siginfo_t, c_int) -> c_int;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn waitid(
    kind: idtype_t,
    id: id_t,
    info: *mut siginfo_t,
    options: c_int,
) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise, or there is room for an answer.
    let next = |info, options| unsafe { next!(waitid: WaitId)(kind, id, info, options) };
    if options & libc::WNOHANG != 0 || !parks() {
        return next(info, options);
    }
    errno::kept_by_success(|| {
        // SAFETY: zeroes are a valid answer.
        let mut found: siginfo_t = unsafe { mem::zeroed() };
        let mut result = 0;
        let mut is_told = || {
            result = next(&raw mut found, options | libc::WNOHANG);
            // SAFETY: the answer is one about a child, or zeroes.
            result != 0 || unsafe { found.si_pid() } != 0
        };
        let only_ends = options & !libc::WNOWAIT == libc::WEXITED;
        let has_room = info.is_null() || memory::is_there(info.cast(), size_of::<siginfo_t>());
        let until_told = if !has_room {
            Err(NotTold::Call)
        } else if is_told() {
            Ok(())
        } else if let Some(child) = one(kind, id).filter(|_| only_ends) {
            until_told(child, &mut is_told)
        } else {
            Err(NotTold::Call)
        };
        match until_told {
            Ok(()) => {
                if result != 0 || info.is_null() {
                    return result;
                }
                // SAFETY: the caller's promise.
                errno::or_fail(unsafe { memory::tell(info, found) })
            }
            Err(NotTold::Call) => hand_over_at_point(|| next(info, options)),
            Err(NotTold::Failed(error)) => errno::fail(error),
        }
    })
}

/// The child that `waitid` is to wait for, if it is one.
fn one(kind: idtype_t, id: id_t) -> Option<Child> {
    match kind {
        libc::P_PID => Some(Child::Numbered(id.cast_signed())),
        // A descriptor in non-blocking mode does not wait.
        libc::P_PIDFD => Some(Child::Of(id.cast_signed())).filter(|_| blocks(id.cast_signed())),
        _ => None,
    }
}
