//! What is said when a green thread or a coroutine overflows its stack.
//!
//! The guard below a stack turns an overflow into SIGSEGV or SIGBUS, by the kind of guard. The handler
//! here runs on the worker's [alternate stack](super::signal_stack). If the
//! address lies in the guard of the green thread that this OS thread runs, and the stack pointer on its
//! stack, or on the one that it has been lent, it says whose stack it was and how to get a larger one, and aborts, as std does for its own
//! threads. So it does for a coroutine, of which it knows by the [plate] of the
//! stack, also on an OS thread that runs no green thread. Every other fault goes to the handler that was there before, so a plain OS thread's
//! overflow gets std's message, and that of another stack which a green thread runs on is whoever's
//! who made it.
//!
//! In an adopted program, it is the other way round: whoever handles faults there may know how to go on after an overflow, and is asked first. So who
//! adopts the program takes what was there before (`replaced`) as the program's, and asks here (`end_if_overflow`) where the system would do its default.
//!
//! The handler is async-signal-safe: it reads memory that nobody changes meanwhile, formats into a
//! buffer on its stack, and calls `write` and `abort`.

use std::fmt::{self, Write};
use std::panic::Location;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::run::context;
use crate::run::green::Waiter;
use crate::run::own_stack::OwnStack;
use crate::run::signal_handler::{self, Action, Left};
use crate::stack::plate;

struct Handlers {
    segv: Action,
    bus: Action,
}

impl Handlers {
    fn of(&self, signal: libc::c_int) -> Option<&Action> {
        match signal {
            libc::SIGSEGV => Some(&self.segv),
            libc::SIGBUS => Some(&self.bus),
            _ => None,
        }
    }
}

static PREVIOUS: OnceLock<Handlers> = OnceLock::new();

/// In a forked child, the green thread that has forked it and goes on there, on its stack, as a plain OS
/// thread. The process ends with it.
static FORKED: AtomicPtr<Waiter> = AtomicPtr::new(ptr::null_mut());

/// Installs the handler, once for the process.
pub(crate) fn install_handler() {
    PREVIOUS.get_or_init(|| Handlers {
        segv: signal_handler::install(libc::SIGSEGV, handle, 0),
        bus: signal_handler::install(libc::SIGBUS, handle, 0),
    });
}

/// What was there before, if what is done with a signal `now` is to call the handler here.
#[cfg(all(feature = "adopt", target_os = "linux", target_env = "gnu"))]
pub(crate) fn replaced(signal: libc::c_int, now: &libc::sigaction) -> Option<libc::sigaction> {
    let is_ours = now.sa_sigaction == handle as *const () as usize;
    let previous = PREVIOUS.get().filter(|_| is_ours)?.of(signal)?;
    Some(*previous.in_library())
}

/// In a forked child, within `fork`: watches over the stack of the green thread that has forked it, whose
/// worker is not there any more.
pub(crate) fn watch_in_child(waiter: &Waiter, own_stack: &OwnStack) {
    // SAFETY: it is the current thread, and whoever runs it has started it before.
    let stacks = unsafe { own_stack.stacks() };
    stacks.for_each(|stack| stack.guard_in_child());
    FORKED.store(ptr::from_ref(waiter).cast_mut(), Ordering::Relaxed);
}

extern "C-unwind" fn handle(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: so the system calls it.
    if unsafe { is_sent(info) } {
        return pass_on_sent(signal, info, context);
    }
    // SAFETY: the same.
    unsafe { end_if_overflow(info, context) };
    let left = call_previous(signal, info, context);
    if left != Left::Nothing || Action::of(signal).is_default() {
        // The instruction faults again after the return, and then the system does its default.
        set_default(signal);
    }
}

/// Whether somebody has sent the signal: then it has another code than a fault, and no address.
///
/// # Safety
///
/// The system has given that to a handler.
pub(crate) unsafe fn is_sent(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (*info).si_code <= 0 }
}

/// Says so and aborts, if a fault is an overflow of the stack of a green thread or of a coroutine. Safe in a signal handler.
///
/// # Safety
///
/// The system has given these to a handler with SA_SIGINFO, which the current thread is in.
pub(crate) unsafe fn end_if_overflow(info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the caller's promise.
    let (address, stack_pointer) = unsafe { ((*info).si_addr().addr(), stack_pointer(context)) };
    let stack_pointer = stack_pointer.unwrap_or(address);
    let check = |waiter: &Waiter| abort_if_overflow(waiter, address, stack_pointer);
    context::with_running(check);
    // SAFETY: null, or that of a thread which does not end before the process.
    unsafe { FORKED.load(Ordering::Relaxed).as_ref() }.map(check);
    if let Some((site, size)) = plate::overflown(address, stack_pointer) {
        report_coroutine(site, size);
        // SAFETY: abort may be called in a signal handler.
        unsafe { libc::abort() };
    }
}

/// Says so and aborts, if a fault is an overflow of the stack of a green thread that has started.
fn abort_if_overflow(waiter: &Waiter, address: usize, stack_pointer: usize) {
    let Some(own_stack) = waiter.own_stack() else {
        return;
    };
    // SAFETY: it is the current thread, and whoever runs it has started it before.
    let mut stacks = unsafe { own_stack.stacks() };
    if let Some(stack) = stacks.find(|stack| stack.is_overflow(address, stack_pointer)) {
        report(waiter, own_stack, stack.size());
        // SAFETY: abort may be called in a signal handler.
        unsafe { libc::abort() };
    }
}

/// The stack pointer of whoever faulted; `None` where it is not known how to find it.
///
/// # Safety
///
/// `context` is what a handler with SA_SIGINFO was given.
unsafe fn stack_pointer(context: *mut libc::c_void) -> Option<usize> {
    #[cfg(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ))]
    {
        // SAFETY: the caller's promise.
        let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
        #[cfg(target_arch = "x86_64")]
        let stack_pointer = registers.gregs[libc::REG_RSP as usize];
        #[cfg(target_arch = "aarch64")]
        let stack_pointer = registers.sp;
        Some(stack_pointer as usize)
    }
    #[cfg(not(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )))]
    {
        let _ = context;
        None
    }
}

/// Calls the handler that was there before.
fn call_previous(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) -> Left {
    let previous = PREVIOUS.get().and_then(|previous| previous.of(signal));
    previous.map_or(Left::Default, |previous| {
        previous.call(signal, info, context)
    })
}

/// Does what would have been done without our handler with a signal that somebody has sent.
fn pass_on_sent(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if call_previous(signal, info, context) == Left::Default {
        set_default(signal);
        // It comes when this returns, and has it held back no more.
        // SAFETY: raise may be called in a signal handler.
        unsafe { libc::raise(signal) };
    }
}

/// From now on the system does its default.
fn set_default(signal: libc::c_int) {
    // SAFETY: zeroes with SIG_DFL are a valid action; sigaction may be called in a handler.
    unsafe {
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &default, ptr::null_mut());
    }
}

fn report(waiter: &Waiter, own_stack: &OwnStack, stack_size: usize) {
    let mut line = Line::new();
    let name = waiter.name().unwrap_or("<unnamed>");
    let _ = writeln!(line, "\ngreen thread '{name}' has overflowed its stack");
    let _ = writeln!(
        line,
        "it was spawned at {} with a stack of {} KiB",
        own_stack.site,
        stack_size >> 10
    );
    let _ = writeln!(
        line,
        "help: give it more: go!(stack_size = .., ..) for this one, roving::Builder::stack_size or ROVING_STACK_SIZE for all"
    );
    line.print();
}

fn report_coroutine(site: &Location<'_>, stack_size: usize) {
    let mut line = Line::new();
    let _ = writeln!(line, "\na coroutine has overflowed its stack");
    let _ = writeln!(
        line,
        "it was made at {site} with a stack of {} KiB",
        stack_size >> 10
    );
    context::with_running(|waiter| {
        let name = waiter.name().unwrap_or("<unnamed>");
        let _ = writeln!(line, "it ran on green thread '{name}'");
    });
    let _ = writeln!(
        line,
        "help: give it more: roving::coroutine::Builder::stack_size"
    );
    line.print();
}

/// A text of bounded length on the stack.
struct Line {
    bytes: [u8; 1024],
    len: usize,
}

impl Line {
    fn new() -> Self {
        Self {
            bytes: [0; 1024],
            len: 0,
        }
    }

    fn print(&self) {
        // SAFETY: the buffer holds `len` bytes; write may be called in a signal handler.
        unsafe { libc::write(libc::STDERR_FILENO, self.bytes.as_ptr().cast(), self.len) };
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let taken = text.len().min(room.len());
        room[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}
