//! Handlers of signals.
//!
//! A handler interrupts anything: the runtime with a lock of its own, a green thread halfway into a wait. What it calls must not park
//! whom it has interrupted. So a handler of the program's runs inside of the runtime. What may be called in a handler does there what
//! the C library's does; what wakes is done, or noted for another thread.
//!
//! The system is given one [handler](handle) for all, which calls that of the program, and whoever asks is told of the program's. Those that
//! were there when the program was adopted are [taken over](take_over). A program that handles no faults has the runtime [tell of overflows](fault)
//! where the system would do its default, and sees that default. A handler that is jumped out of is left by that, and with it those that have
//! interrupted it; one that jumps within itself is not: its [`place`] tells.

mod fault;
mod place;

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_void};
use std::mem::{self, ManuallyDrop};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libc::{sigaction as Action, sighandler_t, siginfo_t};
use roving_scheduler::adopt::{self, Inside, Signals};

use self::place::{Place, Places};

use crate::next::next;
use crate::system_action::SystemAction;
use crate::thread::OnOsThread;
use crate::{errno, hand_over, is_adopted, lock, mask, memory, slot};

/// Signals have numbers up to this.
const LAST: usize = 64;

/// The handlers of the program by signal, for those of which the system has been given [ours](handle).
static HANDLERS: [AtomicUsize; LAST + 1] = [const { AtomicUsize::new(libc::SIG_DFL) }; LAST + 1];

/// Whether the system gives every handler a context, asked for or not.
const ALL_HAVE_CONTEXT: bool = cfg!(target_arch = "x86_64");

/// By signal, whether the system was asked to give the handler a context, where that matters.
static HAVE_CONTEXT: [AtomicBool; LAST + 1] = [const { AtomicBool::new(false) }; LAST + 1];

thread_local! {
    /// How many handlers run on the current thread, each in the one before.
    static RUNNING: Cell<u32> = const { Cell::new(0) };
    /// Whether one of them has said that the thread is on an OS thread to itself.
    static ON_OS_THREAD: Cell<bool> = const { Cell::new(false) };
}

// Not inlined: a compiler may keep the address of a thread-local for as long as a function runs.
#[inline(never)]
pub(crate) fn running() -> u32 {
    RUNNING.get()
}

/// Whether the current thread is in a handler.
pub(crate) fn is_running() -> bool {
    running() != 0
}

#[inline(never)]
fn count(running: u32) -> u32 {
    RUNNING.replace(running)
}

/// As many run as it was before. If they are others, nobody knows where.
pub(crate) fn return_to(running: u32) {
    if count(running) != running {
        place::forget();
    }
}

/// What it was before.
#[inline(never)]
fn set_on_os_thread(on_os_thread: bool) -> bool {
    ON_OS_THREAD.replace(on_os_thread)
}

/// A handler that runs on the current thread.
///
/// The thread is on an OS thread to itself for as long: what it is sent meanwhile it may wait for in the handler. So it says if the handler has
/// interrupted the program; the runtime may have what tells of it locked.
struct Run {
    before: u32,
    places_before: Places,
    inside: ManuallyDrop<Inside>,
    has_returned: bool,
}

impl Run {
    /// It is at this place.
    fn begin(place: Place) -> Self {
        let is_of_program = !Inside::is_current();
        let inside = ManuallyDrop::new(Inside::enter());
        let before = running();
        count(before + 1);
        let places_before = place::enter(place);
        if is_of_program {
            set_on_os_thread(true);
            mem::forget(OnOsThread::begin());
        }
        Self {
            before,
            places_before,
            inside,
            has_returned: false,
        }
    }

    /// Whether it has not been left by a jump.
    fn goes_on(&self) -> bool {
        running() == self.before + 1
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.goes_on() {
            return;
        }
        count(self.before);
        place::return_to(self.places_before);
        leave_os_thread();
        // SAFETY: it is dropped once.
        unsafe { ManuallyDrop::drop(&mut self.inside) };
        if !self.has_returned {
            // An exception leaves it as a jump does.
            mask::is_left();
            lock::return_to_made_up();
            slot::leave_turn();
        }
    }
}

/// The current thread has an OS thread to itself no more, if a handler has said so, as those do that interrupt the program. Whether one has.
fn leave_os_thread() -> bool {
    let said_so = set_on_os_thread(false);
    if said_so {
        OnOsThread::leave();
    }
    said_so
}

/// What the system calls.
extern "C-unwind" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    type Handler = extern "C-unwind" fn(c_int, *mut siginfo_t, *mut c_void);
    let handler = of(signal).map_or(libc::SIG_DFL, |handler| handler.load(Ordering::Acquire));
    let has_context = has_context(signal);
    // SAFETY: then the system gives one.
    let interrupted = has_context.then(|| unsafe { place::of_context(context) });
    let mut run = Run::begin(Place {
        handler: (&raw const context).addr(),
        interrupted: interrupted.unwrap_or_default(),
    });
    // SAFETY: it is what the program has given as a handler. One that takes the signal alone ignores the rest, which is in registers
    // that are its own.
    let handler: Handler = unsafe { mem::transmute(handler) };
    // SAFETY: the same.
    let mask = || has_context.then(|| unsafe { mask::of_context(context) });
    let mask_before = mask();
    handler(signal, info, context);
    run.has_returned = true;
    let goes_on = run.goes_on();
    drop(run);
    if goes_on && let Some(mask) = mask().filter(|_| mask() != mask_before) {
        mask::is_changed_by_handler(mask);
    }
}

fn has_context(signal: c_int) -> bool {
    let asked = HAVE_CONTEXT.get(usize::try_from(signal).unwrap_or_default());
    ALL_HAVE_CONTEXT || asked.is_some_and(|asked| asked.load(Ordering::SeqCst))
}

/// The system is given an action with these flags by `set`. One without a context is known before the system has it, and one
/// with a context only when it does.
fn with_flags<T>(signal: c_int, flags: c_int, set: impl FnOnce() -> T) -> T {
    if ALL_HAVE_CONTEXT {
        return set();
    }
    let place = HAVE_CONTEXT.get(usize::try_from(signal).unwrap_or_default());
    let asks = flags & libc::SA_SIGINFO != 0;
    let note = |asks| {
        if let Some(place) = place {
            place.store(asks, Ordering::SeqCst);
        }
    };
    if !asks {
        note(false);
    }
    let result = set();
    if asks {
        note(true);
        // Somebody may have given it another one meanwhile.
        // SAFETY: zeroes are an action, and there is room for the answer.
        let now = unsafe {
            let mut now: Action = mem::zeroed();
            next_action(signal, ptr::null(), &raw mut now);
            now
        };
        if now.sa_flags & libc::SA_SIGINFO == 0 {
            note(false);
        }
    }
    result
}

fn ours() -> sighandler_t {
    handle as *const () as sighandler_t
}

fn of(signal: c_int) -> Option<&'static AtomicUsize> {
    HANDLERS.get(usize::try_from(signal).ok()?)
}

/// To hold a signal back, or that it was held back.
const HOLD: sighandler_t = 2;

/// Whether it is the address of a function, and none of the numbers that stand for something else.
fn is_function(handler: sighandler_t) -> bool {
    !matches!(
        handler,
        libc::SIG_DFL | libc::SIG_IGN | HOLD | libc::SIG_ERR
    )
}

/// Sets the handler of a signal by `set`, which is given what the system is to have, and gives what it has had, or `None` if it
/// fails. Gives what the program has had.
fn exchange(
    signal: c_int,
    handler: sighandler_t,
    set: impl FnOnce(sighandler_t) -> Option<sighandler_t>,
) -> Option<sighandler_t> {
    let Some(place) = of(signal) else {
        return set(handler);
    };
    let before = place.load(Ordering::Acquire);
    let as_program = |had| {
        if had == ours() {
            fault::as_program(before)
        } else {
            had
        }
    };
    // Those of a child that has its parent's memory are called as they are.
    if !is_function(handler) || handler == ours() || !slot::is_ours() {
        return set(handler).map(as_program);
    }
    // Before: from the moment on when the system has ours, it calls this one.
    place.store(handler, Ordering::Release);
    let had = set(ours());
    if had.is_none() {
        place.store(before, Ordering::Release);
    }
    had.map(as_program)
}

/// Has all handlers that there are run so.
pub(crate) fn take_over() {
    for signal in 1..=LAST as c_int {
        // SAFETY: zeroes are a valid action; the system tells of one, and gets it back, or what was there before ours.
        unsafe {
            let mut now: Action = mem::zeroed();
            if next_action(signal, ptr::null(), &raw mut now) != 0 || now.sa_sigaction == ours() {
                continue;
            }
            let action = adopt::but_for_overflows(signal, &now).unwrap_or(now);
            let changes = action.sa_sigaction != now.sa_sigaction;
            if changes
                || is_function(action.sa_sigaction)
                || fault::is_default(signal, action.sa_sigaction)
            {
                sigaction(signal, &raw const action, ptr::null_mut());
            }
        }
    }
}

/// The C library's.
///
/// # Safety
///
/// That of `sigaction`.
unsafe fn next_action(signal: c_int, action: *const Action, before: *mut Action) -> c_int {
    type Next = unsafe extern "C" fn(c_int, *const Action, *mut Action) -> c_int;
    // SAFETY: the caller's promise.
    unsafe { next!(sigaction: Next)(signal, action, before) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigaction(signal: c_int, action: *const Action, before: *mut Action) -> c_int {
    if !is_adopted() {
        // SAFETY: the caller's promise.
        return unsafe { next_action(signal, action, before) };
    }
    // SAFETY: the caller's promise: null, or actions; zeroes are one.
    unsafe {
        let mut had: Action = mem::zeroed();
        let Some(&action) = action.as_ref() else {
            let result = next_action(signal, ptr::null(), &raw mut had);
            if result == 0 && !before.is_null() {
                before.write(with_handler(had, as_program(signal, had.sa_sigaction)));
            }
            return result;
        };
        if fault::is_default(signal, action.sa_sigaction) {
            let Some(had) = fault::set_default(signal) else {
                return -1;
            };
            if !before.is_null() {
                before.write(had);
            }
            return 0;
        }
        let program_had = exchange(signal, action.sa_sigaction, |handler| {
            let mut action = action;
            action.sa_sigaction = handler;
            let set = || next_action(signal, &raw const action, &raw mut had);
            (with_flags(signal, action.sa_flags, set) == 0).then_some(had.sa_sigaction)
        });
        let Some(program_had) = program_had else {
            return -1;
        };
        if !before.is_null() {
            before.write(with_handler(had, program_had));
        }
        0
    }
}

/// What the program has set, if this is what the system has.
fn as_program(signal: c_int, has: sighandler_t) -> sighandler_t {
    match of(signal) {
        Some(place) if has == ours() => fault::as_program(place.load(Ordering::Acquire)),
        _ => has,
    }
}

/// What the system has had, with the handler that the program had then.
fn with_handler(had: Action, handler: sighandler_t) -> Action {
    if had.sa_sigaction == ours() && handler == libc::SIG_DFL {
        // SAFETY: zeroes are an action.
        return unsafe { mem::zeroed() };
    }
    Action {
        sa_sigaction: handler,
        ..had
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sigaction(
    signal: c_int,
    action: *const Action,
    before: *mut Action,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { sigaction(signal, action, before) }
}

/// The system call, which `call` makes with an action and a place for the one before.
///
/// # Safety
///
/// That of the system call.
pub(crate) unsafe fn by_number(
    signal: c_int,
    action: usize,
    before: usize,
    size: usize,
    call: impl Fn(usize, usize) -> c_long,
) -> c_long {
    let is_there = |place: usize| {
        place == 0
            || memory::is_there(
                ptr::with_exposed_provenance(place),
                size_of::<SystemAction>(),
            )
    };
    if !is_adopted() || size != size_of::<Signals>() || !is_there(action) {
        return call(action, before);
    }
    let mut had = SystemAction::default();
    let told = &raw mut had;
    let place = told.expose_provenance();
    // SAFETY: it is there, and the system writes to it within the call alone.
    let system_had = || unsafe { (*told).handler };
    let program_had = if action == 0 {
        (call(0, place) == 0).then(|| as_program(signal, system_had()))
    } else {
        // SAFETY: the caller's promise: it is an action, and it is there.
        let action =
            unsafe { ptr::with_exposed_provenance::<SystemAction>(action).read_unaligned() };
        if fault::is_default(signal, action.handler) {
            let had = (call(0, place) == 0).then(|| fault::set_default(signal));
            had.flatten().map(|had| had.sa_sigaction)
        } else {
            exchange(signal, action.handler, |handler| {
                let mut action = action;
                action.handler = handler;
                let set = || call((&raw const action).expose_provenance(), place);
                let is_set = with_flags(signal, action.flags as c_int, set) == 0;
                is_set.then(system_had)
            })
        }
    };
    let Some(program_had) = program_had else {
        return -1;
    };
    if before == 0 {
        return 0;
    }
    // SAFETY: the caller's promise: there is room for an action. The one that was told is there.
    let is_told = unsafe {
        if system_had() == ours() && program_had == libc::SIG_DFL {
            *told = SystemAction::default();
        }
        (*told).handler = program_had;
        memory::tell(ptr::with_exposed_provenance_mut(before), *told)
    };
    errno::or_fail(is_told)
}

/// Defines functions that set a handler, and nothing else of it, which may change the mask or do not.
macro_rules! sets_handler {
    ($change:path, $default:path: $($name:ident)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(signal: c_int, handler: sighandler_t) -> sighandler_t {
            type Next = unsafe extern "C" fn(c_int, sighandler_t) -> sighandler_t;
            // SAFETY: the caller's promise.
            let next = |handler| unsafe { next!($name: Next)(signal, handler) };
            let set = |handler| $change(|| next(handler));
            if !is_adopted() {
                return set(handler);
            }
            if fault::is_default(signal, handler) {
                return $default(signal, || set(handler));
            }
            let had = exchange(signal, handler, |handler| {
                let had = with_flags(signal, 0, || set(handler));
                Some(had).filter(|&had| had != libc::SIG_ERR)
            });
            had.unwrap_or(libc::SIG_ERR)
        }
    )*};
}

fn as_it_is<T>(change: impl FnOnce() -> T) -> T {
    change()
}

/// Has the default done with a fault.
fn set_default(signal: c_int, _: impl FnOnce() -> sighandler_t) -> sighandler_t {
    fault::set_default(signal).map_or(libc::SIG_ERR, |had| had.sa_sigaction)
}

/// The same by a function that lets the signal come, too, and tells if it was held back.
fn set_default_after(signal: c_int, set: impl FnOnce() -> sighandler_t) -> sighandler_t {
    let before = set_default(signal, || libc::SIG_ERR);
    let told = set();
    set_default(signal, || libc::SIG_ERR);
    if [HOLD, libc::SIG_ERR].contains(&told) {
        told
    } else {
        before
    }
}

sets_handler!(as_it_is, set_default: signal bsd_signal ssignal sysv_signal __sysv_signal);
sets_handler!(mask::may_change, set_default_after: sigset);

/// Who jumps out of handlers, or ends in one, leaves them. Whether there were any.
#[inline(never)]
pub(crate) fn leave() -> bool {
    let left = running();
    if left != 0 {
        count(0);
        if leave_os_thread() {
            // As deep as the program is. Another one may have come as something else was just entered or left.
            Inside::return_to(0);
        } else {
            Inside::leave_abandoned(left);
        }
        mask::is_left();
        lock::return_to_made_up();
        slot::leave_turn();
    }
    left != 0
}

/// Who jumps to a place leaves the handlers that are below it.
///
/// # Safety
///
/// It is one that `sigsetjmp` has written.
// Not inlined: its frame is below that of whoever jumps.
#[inline(never)]
unsafe fn leave_for(jump: *const c_void) {
    let running = running();
    if running == 0 {
        return;
    }
    // SAFETY: the caller's promise.
    match unsafe { place::handlers_below(jump, running) } {
        0 => {}
        left if left < running => {
            let places = place::outer();
            count(running - left);
            place::return_to(places);
            Inside::leave_abandoned(left);
        }
        _ => {
            leave();
            hand_over::leave();
        }
    }
}

/// Defines functions that jump.
macro_rules! jumps {
    ($($name:ident)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(place: *mut c_void, value: c_int) -> ! {
            type Next = unsafe extern "C-unwind" fn(*mut c_void, c_int) -> !;
            // SAFETY: the caller's promise.
            unsafe { leave_for(place) };
            // SAFETY: the caller's promise.
            unsafe { mask::is_restored_by_jump(place) };
            // SAFETY: the caller's promise; there is nothing to drop here.
            unsafe { next!($name: Next)(place, value) }
        }
    )*};
}

jumps!(longjmp _longjmp siglongjmp __longjmp_chk);
