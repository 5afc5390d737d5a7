//! What the current thread is to the runtime. All of the runtime's thread-locals are in this file.
//!
//! A green thread with [thread-locals of its own](crate::stack::tls) finds its worker there, one without
//! finds it in those of its OS thread: the accessors are the same. A compiler may keep the address
//! of a thread-local for as long as a function runs, and in that time the thread pointer may change
//! ([`with_thread_locals`]) or, with shared thread-locals, the OS thread. Therefore every access is
//! in a function that is never inlined, and no reference to what a thread-local leads to lives
//! across a suspension: [`with_worker`] lends the worker to closures that do not suspend.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::ptr;
use std::sync::Arc;

use crate::protocol::parker::Parker;
use crate::protocol::{primitive, process};
use crate::run::green::{Kind, Waiter};
use crate::run::overflow;
use crate::run::panic_state;
use crate::run::shared::{RuntimeId, Shared};
use crate::run::worker::Worker;
use crate::stack::coroutine::Suspend;
use crate::stack::tls;

thread_local! {
    /// The worker that this OS thread is. A green thread with its own thread-locals has the worker
    /// that runs it here.
    static WORKER: Cell<*const Worker> = const { Cell::new(ptr::null()) };
}

primitive::thread_local! {
    /// This OS thread as a waiter, once it has blocked.
    static OS_THREAD: Arc<Waiter> = os_waiter();
}

thread_local! {
    /// The same for an OS thread that blocks so late in its end that the other one is gone. It needs no
    /// destructor, so it is there as long as the OS thread; what it refers to stays for ever.
    static LATE_OS_THREAD: Cell<Option<&'static Arc<Waiter>>> = const { Cell::new(None) };
}

fn os_waiter() -> Arc<Waiter> {
    watch_forks();
    let name = std::thread::current().name().map(Box::from);
    Arc::new(Waiter::new(name, Kind::Os(Parker::new())))
}

/// Lets a forked child know that it is one. A green thread that forks goes on in the child on its
/// stack and with its thread-locals, but as a plain OS thread: there is no worker below it any more.
pub(crate) fn watch_forks() {
    extern "C" fn in_child() {
        with_running_green(overflow::watch_in_child);
        set_worker(ptr::null());
    }
    process::watch_forks(in_child);
}

#[inline(never)]
fn worker() -> *const Worker {
    WORKER.get()
}

/// An address among the thread-locals of the current thread.
#[inline(never)]
pub(crate) fn anchor() -> usize {
    WORKER.with(|worker| ptr::from_ref(worker).expose_provenance())
}

/// Makes this OS thread `worker` while `run` runs.
pub(crate) fn enter_worker(worker: &Worker, run: impl FnOnce()) {
    set_worker(worker);
    run();
    set_worker(ptr::null());
}

/// Calls `run`, which switches to a green thread and back, with the green thread's thread-locals
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
    arrives: bool,
    run: impl FnOnce() -> R,
) -> R {
    let own = worker.thread_pointer();
    // SAFETY: the caller's promise; a block exists only where thread pointers may be loaded; the
    // accesses to thread-locals are in functions of their own.
    unsafe { tls::load_thread_pointer(pointer.get()) };
    if arrives {
        set_worker(worker);
    }
    let result = run();
    // SAFETY: this OS thread's own pointer.
    unsafe { tls::load_thread_pointer(own) };
    result
}

#[inline(never)]
fn set_worker(worker: *const Worker) {
    WORKER.set(worker);
}

/// Lends the current worker, if this OS thread is one. `f` must not suspend.
#[inline]
pub(crate) fn with_worker<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    // SAFETY: `enter_worker` set the pointer on this OS thread and will reset it before the worker
    // is gone; and `f`, which does not suspend, ends on this OS thread.
    f(unsafe { worker().as_ref() })
}

/// The thread pointer of this OS thread, if it is a worker. Safe in a signal handler, which may run
/// under a green thread's pointer, and so early that this has another worker still.
pub(crate) fn own_thread_pointer() -> Option<usize> {
    with_worker(|worker| worker.and_then(Worker::thread_pointer_here))
}

/// Whether the caller is a green thread.
pub fn is_green() -> bool {
    with_worker(|worker| worker.is_some_and(|worker| worker.running().is_some()))
}

/// The current thread, green or not.
pub(crate) fn current() -> Arc<Waiter> {
    current_green().unwrap_or_else(os_thread)
}

/// Lends the current thread, green or not. `f` must not suspend.
pub(crate) fn with_current<R>(f: impl FnOnce(&Waiter) -> R) -> R {
    with_worker(|worker| match worker.and_then(Worker::running) {
        Some(waiter) => f(waiter),
        None => f(&os_thread()),
    })
}

/// The current green thread.
pub(crate) fn current_green() -> Option<Arc<Waiter>> {
    with_worker(|worker| worker?.current())
}

/// Lends the runtime of the current green thread, if this is one. `f` must not suspend.
pub(crate) fn with_runtime<R>(f: impl FnOnce(&Arc<Shared>) -> R) -> Option<R> {
    with_worker(|worker| {
        let worker = worker.filter(|worker| worker.running().is_some())?;
        Some(f(worker.shared()))
    })
}

impl RuntimeId {
    /// The runtime of the current green thread; `None` on a plain OS thread.
    pub fn current() -> Option<Self> {
        with_runtime(|runtime| runtime.id)
    }
}

/// The shard of the registry of `runtime` for threads that are spawned here.
pub(crate) fn home_shard(runtime: &Shared) -> usize {
    with_worker(|worker| match worker {
        Some(worker) if worker.shared().id == runtime.id => worker.index(),
        _ => 0,
    })
}

#[inline(never)]
fn os_thread() -> Arc<Waiter> {
    OS_THREAD.try_with(Arc::clone).unwrap_or_else(|_| {
        // In the destructor of another thread-local, when this one is gone, it is one thread still.
        let waiter = LATE_OS_THREAD.get().unwrap_or_else(|| {
            let waiter = Box::leak(Box::new(os_waiter()));
            LATE_OS_THREAD.set(Some(waiter));
            waiter
        });
        waiter.clone()
    })
}

/// Switches from the current green thread to its worker.
pub(crate) fn suspend(why: Suspend) {
    let (suspender, shares_panics) = with_worker(|worker| {
        let worker = worker.expect("green threads run on workers");
        let green = worker
            .running()
            .and_then(Waiter::green)
            .expect("only green threads suspend");
        (green.suspender(), !green.owns_thread_locals())
    });
    let panics = shares_panics.then(panic_state::take).flatten();
    // SAFETY: on the coroutine of the current green thread, whose suspender this is.
    unsafe { suspender.suspend(why) };
    if let Some(panics) = panics {
        panic_state::put_back(panics);
    }
}

/// Lends the green thread that this OS thread runs, if it runs one. Safe in a signal handler. `f`
/// must not suspend.
pub(crate) fn with_running_green<R>(f: impl FnOnce(&Waiter) -> R) -> Option<R> {
    with_worker(|worker| worker.and_then(Worker::running).map(f))
}
