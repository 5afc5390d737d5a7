//! What the current thread is to the runtime. All of the runtime's thread-locals are in this file and the one below it, but those that are
//! about [thread-locals themselves](crate::run::first_destructor).
//!
//! A green thread with [thread-locals of its own](crate::stack::tls) finds its worker there, one without
//! finds it in those of its OS thread: the accessors are the same. A compiler may keep the address
//! of a thread-local for as long as a function runs, and in that time the thread pointer may change
//! ([`with_thread_locals`]) or, with shared thread-locals, the OS thread. Therefore every access is
//! in a function that is never inlined, and no reference to what a thread-local leads to lives
//! across a suspension: [`with_worker`] lends the worker to closures that do not suspend.

#[cfg_attr(all(unix, not(roving_loom)), path = "context/by_key.rs")]
#[cfg_attr(not(all(unix, not(roving_loom))), path = "context/by_destructor.rs")]
mod of_os_thread;

use std::cell::Cell;
use std::hint;
use std::num::NonZeroUsize;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::protocol::parker::Parker;
use crate::protocol::process;
use crate::run::given_name::GivenName;
use crate::run::green::{Kind, Waiter};
use crate::run::guest::Guest;
use crate::run::overflow;
use crate::run::own_stack::OwnStack;
use crate::run::panic_state;
use crate::run::shared::{RuntimeId, Shared};
use crate::run::signals;
#[cfg(feature = "tracing")]
use crate::run::spans;
use crate::run::unended::List;
use crate::run::worker::Worker;
use crate::stack::coroutine::Suspend;
use crate::stack::tls;

/// What each wait asks for lies together, in one cache line.
#[repr(align(16))]
struct Here {
    /// The worker that this OS thread is. What has thread-locals of its own has the worker that runs it, or
    /// its host, here.
    worker: Cell<*const Worker>,
    /// What runs here on a stack of its own, a green thread or a guest. If it has thread-locals of its own, it
    /// has itself here.
    running: Cell<*const Waiter>,
}

thread_local! {
    static HERE: Here = const {
        Here {
            worker: Cell::new(ptr::null()),
            running: Cell::new(ptr::null()),
        }
    };
}

thread_local! {
    /// What has been begun with these thread-locals, but for what green threads have that [share](OwnStack::unended) them.
    static UNENDED: List = const { List::new() };

    /// In a forked child, what has forked it here and goes on as a plain OS thread.
    static FORMERLY: Cell<*const Waiter> = const { Cell::new(ptr::null()) };
}

/// Whether anything has ever run on a stack of its own without thread-locals of its own.
static SOME_SHARE: AtomicBool = AtomicBool::new(false);

#[cfg(feature = "tracing")]
thread_local! {
    /// Whether what runs here counts as a plain OS thread.
    static COUNTS_AS_OS_THREAD: Cell<bool> = const { Cell::new(false) };
}

fn os_waiter() -> Arc<Waiter> {
    watch_forks();
    let name = std::thread::current().name().map(Box::from);
    Arc::new(Waiter::new(GivenName::new(name), Kind::Os(Parker::new())))
}

/// Lets a forked child know that it is one. A green thread that forks goes on in the child on its
/// stack and with its thread-locals, but as a plain OS thread: there is no worker below it any more. With
/// thread-locals of its own it is, to the C library, not the OS thread that forked, whose stack goes to others
/// then.
pub(crate) fn watch_forks() {
    extern "C" fn in_child() {
        with_running(|waiter| {
            let of_guest = waiter.guest().and_then(Guest::os_thread_pointer);
            let of_worker = || with_worker(|worker| worker.map(Worker::thread_pointer));
            if let Some(pointer) = of_guest.or_else(of_worker) {
                tls::leave_os_thread(pointer);
            }
            if let Some(own_stack) = waiter.own_stack() {
                own_stack.cut_off_in_child();
                overflow::watch_in_child(waiter, own_stack);
            }
            goes_on_as_os_thread(waiter);
        });
        set_running(ptr::null());
        set_worker(ptr::null());
    }
    process::watch_forks(in_child);
}

/// The OS thread has what the current thread has begun from now on.
#[inline(never)]
fn goes_on_as_os_thread(current: &Waiter) {
    FORMERLY.set(current);
    if let Some(own_stack) = current.own_stack() {
        UNENDED.with(|list| list.take_over(&own_stack.unended));
    }
}

#[inline(never)]
fn worker() -> *const Worker {
    HERE.with(|here| here.worker.get())
}

#[inline(never)]
fn set_worker(worker: *const Worker) {
    HERE.with(|here| here.worker.set(worker));
}

#[inline(never)]
fn running() -> *const Waiter {
    HERE.with(|here| here.running.get())
}

/// The same, unless it counts as a plain OS thread.
#[cfg(not(feature = "tracing"))]
#[inline]
fn who_blocks() -> *const Waiter {
    running()
}

#[cfg(feature = "tracing")]
#[inline(never)]
fn who_blocks() -> *const Waiter {
    if COUNTS_AS_OS_THREAD.get() {
        ptr::null()
    } else {
        HERE.with(|here| here.running.get())
    }
}

/// Calls `f` while the current thread counts as a plain OS thread, whose waits are waits of that and whose blocking calls
/// block it; does nothing if it does so already. `f` does not unwind, and so does not suspend.
#[cfg(feature = "tracing")]
pub(super) fn as_os_thread(f: impl FnOnce()) {
    if !set_counts_as_os_thread(true) {
        f();
        set_counts_as_os_thread(false);
    }
}

/// Gives what it was.
#[cfg(feature = "tracing")]
#[inline(never)]
fn set_counts_as_os_thread(counts: bool) -> bool {
    COUNTS_AS_OS_THREAD.replace(counts)
}

#[inline(never)]
fn set_running(running: *const Waiter) {
    HERE.with(|here| here.running.set(running));
}

/// An address among the thread-locals of the current thread.
#[inline(never)]
pub(crate) fn anchor() -> usize {
    HERE.with(|here| ptr::from_ref(here).expose_provenance())
}

/// Makes this OS thread `worker` while `run` runs.
pub(crate) fn enter_worker(worker: &Worker, run: impl FnOnce()) {
    set_worker(worker);
    run();
    set_worker(ptr::null());
}

/// Calls `run`, which switches to the green thread `running` and back, with the worker's thread-locals.
#[inline]
pub(crate) fn with_workers_thread_locals<R>(running: *const Waiter, run: impl FnOnce() -> R) -> R {
    set_running(running);
    let result = run();
    set_running(ptr::null());
    result
}

/// Calls `run`, which switches to the green thread `running` and back, with the green thread's thread-locals
/// instead of the worker's. If it `arrives` on this worker, they are told so.
///
/// # Safety
///
/// `pointer` is the thread pointer of a block that nobody else has loaded, and `run` uses no
/// thread-local outside of the green thread.
#[inline(never)]
pub(crate) unsafe fn with_thread_locals<R>(
    pointer: NonZeroUsize,
    worker: &Worker,
    running: *const Waiter,
    arrives: bool,
    run: impl FnOnce() -> R,
) -> R {
    let own = worker.thread_pointer();
    // SAFETY: the caller's promise; a block exists only where thread pointers may be loaded; the
    // accesses to thread-locals are in functions of their own.
    unsafe { tls::load_thread_pointer(pointer.get()) };
    if arrives {
        set_worker(worker);
        set_running(running);
    }
    debug_assert!(ptr::eq(self::worker(), worker), "it knows who runs it");
    let result = run();
    // SAFETY: this OS thread's own pointer.
    unsafe { tls::load_thread_pointer(own) };
    result
}

/// Calls `run`, which switches to a guest and back, as that guest: with its thread-locals, if it has
/// any of its own, and on the worker that this OS thread is, if it is one.
///
/// # Safety
///
/// `pointer` is the thread pointer of the guest's block, if it has one, which nobody else has loaded, and
/// `run` uses no thread-local outside of the guest.
#[inline(never)]
pub(crate) unsafe fn run_guest<R>(
    waiter: &Arc<Waiter>,
    pointer: Option<NonZeroUsize>,
    run: impl FnOnce() -> R,
) -> R {
    let guest = Arc::as_ptr(waiter);
    let Some(pointer) = pointer else {
        let outer = running();
        set_running(guest);
        let result = run();
        set_running(outer);
        return result;
    };
    let worker = worker();
    let host = tls::thread_pointer();
    prepare_guest(waiter, pointer, host);
    // SAFETY: the caller's promise; a block exists only where thread pointers may be loaded; the
    // accesses to thread-locals are in functions of their own.
    unsafe { tls::load_thread_pointer(pointer.get()) };
    set_worker(worker);
    set_running(guest);
    let result = run();
    // When it runs again, that worker may be gone.
    set_worker(ptr::null());
    set_running(ptr::null());
    // SAFETY: the pointer that was loaded.
    unsafe { tls::load_thread_pointer(host) };
    result
}

/// Tells a guest which OS thread runs it, and lets it use that one's cache of the allocator.
#[inline(never)]
fn prepare_guest(waiter: &Waiter, pointer: NonZeroUsize, host: usize) {
    let guest = waiter.guest().expect("a guest is run");
    let of_host = with_running(|host| host.guest()?.os_thread_pointer()).flatten();
    let of_worker = || with_worker(|worker| worker.map(Worker::thread_pointer));
    guest.set_os_thread_pointer(of_host.or_else(of_worker).unwrap_or(host));
    if let Some(own) = tls::own() {
        // The cache is there from the first allocation on, which must not be the guest's.
        drop(hint::black_box(Box::new(0_u8)));
        own.lend_allocator(host, pointer.get());
    }
}

/// Lends the current worker, if this OS thread is one. `f` must not suspend.
#[inline]
pub(crate) fn with_worker<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    // SAFETY: `enter_worker` set the pointer on this OS thread and will reset it before the worker
    // is gone; and `f`, which does not suspend, ends on this OS thread.
    f(unsafe { worker().as_ref() })
}

/// Lends the worker that runs the current green thread, or below the current guest, if there is one. `f` must
/// not suspend.
pub(crate) fn with_busy_worker<R>(f: impl FnOnce(&Worker) -> R) -> Option<R> {
    with_worker(|worker| worker.filter(|worker| worker.running().is_some()).map(f))
}

/// The thread pointer of this OS thread, if it is a worker or runs a guest. Safe in a signal handler, which
/// may run under a green thread's pointer or a guest's, and so early that this has another worker
/// still.
pub(crate) fn own_thread_pointer() -> Option<usize> {
    let of_guest = with_running(|waiter| waiter.guest()?.os_thread_pointer());
    of_guest
        .flatten()
        .or_else(|| with_worker(|worker| worker.and_then(Worker::thread_pointer_here)))
}

/// Returns whether the caller is a green thread, or what a [`greenly`](crate::greenly) runs: what blocks then
/// blocks no OS thread.
pub fn is_green() -> bool {
    !who_blocks().is_null()
}

/// The current thread, green or not.
pub(crate) fn current() -> Arc<Waiter> {
    current_on_stack().unwrap_or_else(of_os_thread::current)
}

/// The current thread, if it is a green one or a guest.
pub(crate) fn current_on_stack() -> Option<Arc<Waiter>> {
    let running = who_blocks();
    // SAFETY: not null, it came from an `Arc` that whoever runs it has.
    (!running.is_null()).then(|| unsafe {
        Arc::increment_strong_count(running);
        Arc::from_raw(running)
    })
}

/// Lends the current thread, green or not. `f` must not suspend.
pub(crate) fn with_current<R>(f: impl FnOnce(&Waiter) -> R) -> R {
    // SAFETY: as in `with_running`.
    match unsafe { who_blocks().as_ref() } {
        Some(waiter) => f(waiter),
        None => f(&of_os_thread::current()),
    }
}

/// Lends the runtime of the current green thread, if this is one. `f` must not suspend.
pub(crate) fn with_runtime<R>(f: impl FnOnce(&Arc<Shared>) -> R) -> Option<R> {
    with_worker(|worker| {
        let worker = worker.filter(|worker| worker.running().is_some())?;
        Some(f(worker.shared()))
    })
}

impl RuntimeId {
    /// Returns the runtime of the current green thread; `None` on a plain OS thread.
    pub fn current() -> Option<Self> {
        with_runtime(|runtime| runtime.id)
    }
}

/// The shard of the registry of `runtime` for threads that are spawned here.
pub(crate) fn home_shard(runtime: &Shared) -> usize {
    with_worker(|worker| match worker {
        Some(worker) if worker.shared().id == runtime.id => worker.shard(),
        _ => 0,
    })
}

/// Switches from the current green thread to its worker, or from the current guest to its host.
pub(crate) fn suspend(why: Suspend) {
    let on_stack = with_running(|waiter| {
        let own_stack = waiter.own_stack().expect("what runs has a stack");
        // SAFETY: it is the current thread.
        let shares = unsafe { own_stack.started() }.thread_pointer.is_none();
        (own_stack.suspender(), shares, own_stack.keeps_signals())
    });
    let (suspender, shares, keeps_signals) =
        on_stack.expect("only what has a stack of its own suspends");
    // What a thread has in thread-locals that it shares does not stay in them.
    #[cfg(feature = "tracing")]
    let spans = shares.then(spans::leave).flatten();
    let panics = shares.then(panic_state::take).flatten();
    // SAFETY: on the coroutine of the current thread, whose suspender this is.
    let switch = || unsafe { suspender.suspend(why) };
    match keeps_signals.then(blocked_by_worker).flatten() {
        None => switch(),
        Some(of_worker) => signals::while_suspended(of_worker, switch),
    }
    if let Some(panics) = panics {
        panic_state::put_back(panics);
    }
    #[cfg(feature = "tracing")]
    if let Some(spans) = spans {
        spans.enter();
    }
}

/// [Marks](signals) the current thread, or takes its mark away. Safe in a signal handler.
#[cfg(feature = "adopt")]
#[inline(never)]
pub(crate) fn set_marked(is_marked: bool) {
    with_running(|waiter| waiter.own_stack().map(|own| own.keep_signals(is_marked)));
}

/// Says whether all signals are [held back](signals) where one comes to the current thread's stack, and from there.
#[cfg(feature = "adopt")]
#[inline(never)]
pub(crate) fn set_held_back(is_held_back: bool) {
    with_running(|waiter| {
        waiter
            .own_stack()
            .map(|own| own.set_held_back(is_held_back))
    });
}

/// The current thread comes to its end, with its signals.
#[cfg(feature = "adopt")]
pub(crate) fn end_signals() {
    if keeps_signals() && blocked_by_worker().is_some() {
        signals::end();
        set_marked(false);
        set_held_back(true);
    }
}

/// Whether the current thread is [marked](signals).
pub(crate) fn keeps_signals() -> bool {
    with_running(|waiter| waiter.own_stack().is_some_and(OwnStack::keeps_signals)) == Some(true)
}

/// The signals that the worker of the current thread has blocked, if that is a green one. Safe in a signal handler.
#[inline(never)]
pub(crate) fn blocked_by_worker() -> Option<signals::Signals> {
    let is_green = with_running(|waiter| waiter.green().is_some()) == Some(true);
    with_worker(|worker| {
        worker
            .filter(|_| is_green)
            .map(|worker| worker.shared().blocked)
    })
}

/// Lends what the current thread has begun and not ended, with what others have with the same thread-locals, unless it is a green
/// thread that shares them. `f` must not suspend.
pub(crate) fn with_unended<R>(f: impl FnOnce(&List) -> R) -> R {
    let of_sharer = with_running(|waiter| {
        let own_stack = &waiter.green()?.own_stack;
        // SAFETY: it is the current thread.
        let shares = unsafe { own_stack.started() }.thread_pointer.is_none();
        shares.then(|| ptr::from_ref(&own_stack.unended))
    });
    match of_sharer.flatten() {
        // SAFETY: as in `with_running`.
        Some(list) => f(unsafe { &*list }),
        None => with_unended_of_thread_locals(f),
    }
}

/// Lends what was begun with the current thread-locals. `f` must not suspend.
#[inline(never)]
pub(crate) fn with_unended_of_thread_locals<R>(f: impl FnOnce(&List) -> R) -> R {
    UNENDED.with(f)
}

/// One of those who may share thread-locals: an OS thread, what runs on it on a stack of its own.
#[derive(Clone, Copy)]
pub(crate) struct Neighbour(*const Waiter);

impl Neighbour {
    /// The current one.
    #[inline]
    pub(crate) fn current() -> Self {
        Self(running())
    }

    /// Whether it is a plain OS thread.
    #[inline]
    pub(crate) fn is_os_thread(self) -> bool {
        self.0.is_null()
    }

    /// Whether it is the current one.
    #[inline]
    pub(crate) fn is_current(self) -> bool {
        let running = running();
        ptr::eq(running, self.0) || running.is_null() && was_formerly(self.0)
    }
}

#[inline(never)]
fn was_formerly(waiter: *const Waiter) -> bool {
    ptr::eq(FORMERLY.get(), waiter)
}

/// Whether there may be others with the thread-locals of the current thread.
#[inline]
pub(crate) fn may_share() -> bool {
    // Relaxed: whoever shares the thread-locals of this OS thread was begun on it.
    SOME_SHARE.load(Ordering::Relaxed)
}

/// Whether `waiter` is a thread, and another one than the current one, with the same thread-locals.
#[inline]
pub(crate) fn is_neighbour(waiter: &Waiter) -> bool {
    may_share() && !with_current(|current| ptr::eq(current, waiter))
}

/// Something without thread-locals of its own is about to run on a stack of its own.
pub(crate) fn begins_to_share() {
    SOME_SHARE.store(true, Ordering::Relaxed);
}

/// Lends the guest or the green thread that this OS thread runs, if it runs one. Safe in a signal handler.
/// `f` must not suspend.
pub(crate) fn with_running<R>(f: impl FnOnce(&Waiter) -> R) -> Option<R> {
    // SAFETY: whoever switches to it sets the pointer and has it meanwhile, and resets the pointer, or has
    // set it where only the switch leads; and `f`, which does not suspend, ends on this OS thread.
    unsafe { running().as_ref() }.map(f)
}
