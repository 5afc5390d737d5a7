//! A signal that comes only while a thread computes, in whose handler it copies its stack.
//!
//! # Why it interrupts no call into the system
//!
//! A signal that is sent to a thread may find it in a call, or get there just when one begins, and some
//! calls then fail with `EINTR`, whatever was asked for with `SA_RESTART`: `nanosleep`, `poll`, `epoll_wait`. So
//! the kernel is asked for one as it ticks: by a timer on the clock of the time that the thread spends outside of
//! the kernel. That clock is set forward when the tick of a processor interrupts such a thread, and only then. The
//! timer is looked at in the same interrupt, and the signal comes before the thread has executed another
//! instruction: where it was interrupted, in code of the program.
//!
//! So it is where the kernel accounts by ticks, as all do but those that were booted with `nohz_full`: these are asked
//! for nothing.
//!
//! The signal must not be left pending, since a call that lets it in for as long as it lasts (`ppoll`) would then be
//! interrupted. So a thread that blocks it is not asked; what is left is one that begins to block it in the
//! milliseconds until the tick, and lets it in by such a call. It is SIGURG, which the system ignores where nobody handles it,
//! so it does no harm if it comes when nobody wants it any more. Where the program has a handler of its own for it,
//! nobody is asked either.
//!
//! # What the handler does
//!
//! One thread is asked at a time. Each request has a number, which comes with the signal, and whoever has
//! taken the number away, the handler or the one that asks, has what is filled in.

use std::ffi::{c_int, c_void};
use std::fs::{self, File};
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

use super::read;
use crate::run::signal_handler::{self, Action};
use crate::stack::Bounds;
use crate::stack::copied::{Copied, Registers};

const SIGNAL: c_int = libc::SIGURG;

/// Ticks are some milliseconds apart.
const POLL: Duration = Duration::from_micros(500);

/// The number of the request that nobody has answered; 0 if there is none.
static ASKED: AtomicUsize = AtomicUsize::new(0);
/// What is to be filled in, for as long as that number is there, and then by whoever has taken it.
static WANTED: AtomicPtr<Wanted> = AtomicPtr::new(ptr::null_mut());

struct Wanted {
    copied: *mut Copied,
    own: Bounds,
    memory: RawFd,
    done: AtomicBool,
}

/// Has an OS thread that computes copy its stack, of which `own` is that of its green thread. `false` if that
/// `is_over` before. There is one caller at a time.
///
/// # Errors
///
/// It cannot be asked for it.
pub(super) fn copy(
    os_thread: u32,
    copied: &mut Copied,
    own: Bounds,
    memory: &File,
    is_over: impl Fn() -> bool,
) -> Result<bool, &'static str> {
    static NUMBERS: AtomicUsize = AtomicUsize::new(1);
    prepare(os_thread)?;
    let wanted = Wanted {
        copied: ptr::from_mut(copied),
        own,
        memory: memory.as_raw_fd(),
        done: AtomicBool::new(false),
    };
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    WANTED.store((&raw const wanted).cast_mut(), Ordering::Relaxed);
    // Release: with what is wanted.
    ASKED.store(number, Ordering::Release);
    let timer = Timer::start(os_thread, number);
    while timer.is_some() && !wanted.done.load(Ordering::Acquire) && !is_over() {
        std::thread::sleep(POLL);
    }
    let is_taken_back = ASKED
        .compare_exchange(number, 0, Ordering::Acquire, Ordering::Relaxed)
        .is_ok();
    // Else the handler is at it.
    while !is_taken_back && !wanted.done.load(Ordering::Acquire) {
        std::thread::sleep(POLL);
    }
    match timer {
        None => Err("the system has no timer for it"),
        Some(_) => Ok(!is_taken_back),
    }
}

/// Whether the signal interrupts nothing: see the module.
fn prepare(os_thread: u32) -> Result<(), &'static str> {
    // Like a list of processors; where there are none, it is empty, or says so in brackets.
    let tickless = fs::read_to_string("/sys/devices/system/cpu/nohz_full").unwrap_or_default();
    if tickless
        .trim()
        .starts_with(|first: char| first.is_ascii_digit())
    {
        return Err("the kernel was booted with nohz_full, and its stack is left alone");
    }
    match Action::of(SIGNAL) {
        action if action.is(handle) => {}
        action if action.is_none() => {
            signal_handler::install(SIGNAL, handle, libc::SA_RESTART);
        }
        _ => return Err("the program handles SIGURG itself, and its stack is left alone"),
    }
    match blocks(os_thread) {
        Some(false) => Ok(()),
        Some(true) => Err("it blocks SIGURG, and its stack is left alone"),
        None => Err("the system does not tell which signals it blocks"),
    }
}

fn blocks(os_thread: u32) -> Option<bool> {
    let status = fs::read_to_string(format!("/proc/self/task/{os_thread}/status")).ok()?;
    let blocked = status
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:"))?;
    let blocked = u64::from_str_radix(blocked.trim(), 16).ok()?;
    Some(blocked & 1 << (SIGNAL - 1) != 0)
}

extern "C-unwind" fn handle(_: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system gives a valid `siginfo_t`.
    let (code, number) = unsafe { ((*info).si_code, (*info).si_value().sival_ptr.addr()) };
    // Acquire: what is wanted.
    let is_wanted = || {
        ASKED
            .compare_exchange(number, 0, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    };
    if code == libc::SI_TIMER && number != 0 && is_wanted() {
        signal_handler::keep_errno(|| {
            // SAFETY: this has taken the number, so whoever asks waits until it is done; and the system has
            // given the registers.
            unsafe {
                let wanted = WANTED.load(Ordering::Relaxed);
                (*wanted).fill_in(registers(context));
            }
        });
    }
}

impl Wanted {
    /// # Safety
    ///
    /// Nobody else does, and what is copied to is there.
    unsafe fn fill_in(&self, registers: Registers) {
        let read = |from, to, bytes| {
            // SAFETY: `take` gives room.
            unsafe { read(self.memory, from, to, bytes) }
        };
        // SAFETY: the caller's promise.
        unsafe { &mut *self.copied }.take(registers, self.own, read);
        // Release: with the copy. Whoever asks goes on, and this may be gone.
        self.done.store(true, Ordering::Release);
    }
}

/// # Safety
///
/// `context` is what a handler with SA_SIGINFO was given.
unsafe fn registers(context: *mut c_void) -> Registers {
    // SAFETY: the caller's promise.
    let saved = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let in_order = [
        libc::REG_RAX,
        libc::REG_RDX,
        libc::REG_RCX,
        libc::REG_RBX,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_RBP,
        libc::REG_RSP,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
        libc::REG_RIP,
    ];
    in_order.map(|register| saved[register as usize] as usize)
}

/// A timer on the time that an OS thread spends outside of the kernel, which goes off at once.
struct Timer(c_int);

impl Timer {
    fn start(os_thread: u32, number: usize) -> Option<Self> {
        // As in the kernel's `posix-timers.h`: the clock of one thread.
        const PER_THREAD: libc::clockid_t = 4;
        const OUTSIDE: libc::clockid_t = 1;
        let clock = (!os_thread.cast_signed() << 3) | PER_THREAD | OUTSIDE;
        let mut id: c_int = 0;
        // SAFETY: zeroes are valid for both; the system reads them, and writes the number of the timer. The bare call
        // is the same with every C library.
        unsafe {
            let mut event: libc::sigevent = mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_notify_thread_id = os_thread.cast_signed();
            event.sigev_signo = SIGNAL;
            event.sigev_value.sival_ptr = ptr::without_provenance_mut(number);
            if libc::syscall(libc::SYS_timer_create, clock, &raw mut event, &raw mut id) != 0 {
                return None;
            }
            let timer = Self(id);
            let mut soon: libc::itimerspec = mem::zeroed();
            soon.it_value.tv_nsec = 1;
            let none = ptr::null_mut::<libc::itimerspec>();
            let set = libc::syscall(libc::SYS_timer_settime, id, 0, &raw const soon, none);
            (set == 0).then_some(timer)
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: it is this one's.
        unsafe { libc::syscall(libc::SYS_timer_delete, self.0) };
    }
}
