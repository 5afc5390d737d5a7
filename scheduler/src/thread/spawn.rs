//! The life of a green thread, from the closure to the result.

use std::any::Any;
use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::Arc;

use super::handle::drop_untaken;
use super::scope::Admitted;
use super::{JoinHandle, Scope, ScopedJoinHandle, Thread};
use crate::protocol::process::Process;
use crate::run::context;
use crate::run::event::{self, End, Event, Told};
use crate::run::given_name::GivenName;
use crate::run::green::{Green, Kind, Runnable, Waiter};
use crate::run::own_stack::OwnStack;
use crate::run::registry::Closed;
use crate::run::shared::Shared;
#[cfg(feature = "adopt")]
use crate::run::signals;
use crate::run::unended;
use crate::run::wake;
use crate::runtime;
use crate::stack::coroutine::Suspender;
use crate::stack::errand::{Errand, Packed, fits};
use crate::stack::{Class, Promise};
use crate::wait;
use crate::wait::ambient::Inheritance;

/// Spawns a green thread.
///
/// It belongs to the runtime of the green thread that spawns it; on a plain OS thread, to the
/// global runtime, which starts by itself. It runs when a worker gets to it; an idle worker steals
/// it before that. Dropping the handle detaches it. When `main` returns, green threads that
/// are alive end with the process, as OS threads do.
///
/// # Panics
///
/// Panics if the system refuses a stack, or the global runtime cannot be started.
/// [`Builder::spawn`] returns an error instead.
///
/// # Examples
///
/// ```
/// let handle = roving::thread::spawn(|| "done");
/// assert_eq!(handle.join().unwrap(), "done");
/// ```
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn_with(Builder::new(), f)
}

/// What `go!` with options expands to.
#[doc(hidden)]
#[track_caller]
pub fn spawn_with<F, T>(builder: Builder, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    or_panic(builder.spawn(f))
}

#[track_caller]
pub(crate) fn or_panic<T>(spawned: io::Result<JoinHandle<T>>) -> JoinHandle<T> {
    match spawned {
        Ok(handle) => handle,
        Err(error) => panic!("failed to spawn a green thread: {error}"),
    }
}

/// Configures a green thread, as [`std::thread::Builder`] does an OS thread.
///
/// # Examples
///
/// ```
/// use roving::thread::Builder;
///
/// let handle = Builder::new()
///     .name("deep".to_owned())
///     .stack_size(4 << 20)
///     .spawn(|| 1 + 1)?;
/// assert_eq!(handle.thread().name(), Some("deep"));
/// # handle.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
}

impl Builder {
    /// Starts without a name and with the runtime's stack size.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the thread.
    ///
    /// # Panics
    ///
    /// [`spawn`](Self::spawn) panics if the name contains a null byte, as std's does.
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the size of the thread's stack, in bytes of address space: rounded up to a power of
    /// two, from 16 KiB to 1 GiB.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Spawns the thread.
    ///
    /// # Errors
    ///
    /// - [`OutOfMemory`](io::ErrorKind::OutOfMemory): the system refuses a stack or its guard. The
    ///   message names the limit.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the stack is too large.
    /// - [`Other`](io::ErrorKind::Other): the runtime has been shut down.
    /// - The system's error if it refuses the global runtime's OS threads.
    ///
    /// # Panics
    ///
    /// Panics if the name has a null byte in it.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let site = Location::caller();
        let (name, stack_size) = self.into_parts();
        runtime::with_current(|runtime| spawn_in(runtime, site, name, stack_size, f))
    }

    /// Spawns a thread that does not outlive a [`scope`](super::scope()), and may borrow from
    /// outside of it.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// Panics if the name has a null byte in it.
    #[track_caller]
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let site = Location::caller();
        let (name, stack_size) = self.into_parts();
        let spawned = runtime::with_current(|runtime| {
            scope.check_process()?;
            let belonging = scope.admit();
            // SAFETY: the scope has counted the thread, and ends after it; `'scope` is what it borrows.
            unsafe { spawn_unchecked(runtime, site, name, stack_size, belonging, f) }
        });
        spawned.map(ScopedJoinHandle::new)
    }

    #[inline]
    #[track_caller]
    pub(crate) fn into_parts(self) -> (Option<Box<str>>, Option<usize>) {
        let has_null = self.name.as_ref().is_some_and(|name| name.contains('\0'));
        assert!(!has_null, "thread name may not contain interior null bytes");
        (self.name.map(String::into_boxed_str), self.stack_size)
    }
}

pub(crate) fn spawn_in<F, T>(
    runtime: &Arc<Shared>,
    site: &'static Location<'static>,
    name: Option<Box<str>>,
    stack_size: Option<usize>,
    f: F,
) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let belonging = Belonging::of_nothing_lent();
    // SAFETY: nothing is borrowed.
    unsafe { spawn_unchecked(runtime, site, name, stack_size, belonging, f) }
}

/// Spawns a thread, but has its handle kept before that may run. `keep` does not unwind. If `f` is to block other signals than its worker does,
/// it begins with all [held back](crate::run::signals), and sets its mask first.
#[cfg(feature = "adopt")]
#[track_caller]
pub(crate) fn spawn_kept<F, T>(
    builder: Builder,
    f: F,
    blocked: Option<u64>,
    keep: impl FnOnce(JoinHandle<T>),
) -> io::Result<()>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let site = Location::caller();
    let (name, stack_size) = builder.into_parts();
    let belonging = Belonging::of_nothing_lent();
    runtime::with_current(|runtime| {
        // SAFETY: nothing is borrowed.
        let errand = unsafe { errand(f) };
        let waiter = make(runtime, site, name, stack_size, belonging, errand)?;
        if let Some(own_stack) = waiter.own_stack()
            && blocked.is_some_and(|blocked| signals::differ(runtime.blocked, blocked))
        {
            own_stack.set_held_back(true);
        }
        let runnable = Runnable(waiter.clone());
        // SAFETY: of its errand, and there is no other handle.
        keep(unsafe { JoinHandle::new(Thread::new(waiter)) });
        wake::schedule(runnable);
        Ok(())
    })
}

/// What ties a thread to the one that spawns it.
pub(super) struct Belonging {
    pub(super) inheritance: Inheritance,
    pub(super) scope: Option<Admitted>,
}

impl Belonging {
    /// That of a thread to which nothing is lent.
    fn of_nothing_lent() -> Self {
        Self {
            inheritance: Inheritance::values(),
            scope: None,
        }
    }
}

/// That a thread is counted as alive which does not exist yet. Dropping this counts it off.
struct Counted<'a> {
    runtime: &'a Shared,
    shard: usize,
}

impl<'a> Counted<'a> {
    fn new(runtime: &'a Shared) -> Result<Self, Closed> {
        let shard = context::home_shard(runtime);
        let counted = Self { runtime, shard };
        runtime.registry.count(shard)?;
        Ok(counted)
    }

    /// The thread is about to exist: from now on its end counts it off.
    fn hand_over(self) {
        mem::forget(self);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        for ticket in self.runtime.thread_ended(self.shard) {
            ticket.fire();
        }
    }
}

/// # Safety
///
/// What `f` and `T` borrow must stay borrowed until the thread has ended.
unsafe fn spawn_unchecked<F, T>(
    runtime: &Arc<Shared>,
    site: &'static Location<'static>,
    name: Option<Box<str>>,
    stack_size: Option<usize>,
    belonging: Belonging,
    f: F,
) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    // SAFETY: the caller's promise.
    let errand = unsafe { errand(f) };
    let waiter = make(runtime, site, name, stack_size, belonging, errand)?;
    wake::schedule(Runnable(waiter.clone()));
    // SAFETY: of its errand, and there is no other handle.
    Ok(unsafe { JoinHandle::new(Thread::new(waiter)) })
}

/// The errand of a thread that calls `f`.
///
/// # Safety
///
/// That of [`spawn_unchecked`].
#[inline]
unsafe fn errand<F, T>(f: F) -> Errand
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    // SAFETY: it is run or dropped, and its result dropped or handed over, before the thread has ended; until then our
    // caller keeps borrowed what it borrows.
    unsafe {
        if const { fits::<F>() } {
            Errand::new(move |suspender| live(suspender, f))
        } else {
            // Taken out of its box where it is called, it lies on the stack once.
            let f = Box::new(f);
            Errand::new(move |suspender| live(suspender, || unboxed(f)()))
        }
    }
}

/// What was in the box, of which nothing is left.
#[allow(
    clippy::boxed_local,
    reason = "the box goes before the closure is called"
)]
#[inline(always)]
fn unboxed<F>(f: Box<F>) -> F {
    *f
}

/// Makes a thread, which runs when it is scheduled. That is to be done before its runtime ends.
#[inline(never)]
fn make(
    runtime: &Arc<Shared>,
    site: &'static Location<'static>,
    name: Option<Box<str>>,
    stack_size: Option<usize>,
    Belonging { inheritance, scope }: Belonging,
    errand: Errand,
) -> io::Result<Arc<Waiter>> {
    runtime.process.check("the runtime")?;
    let class = match stack_size {
        Some(bytes) => runtime.stack_class.resized(bytes)?,
        None => runtime.stack_class,
    };
    let stack = promise_stack(class)?;
    let Ok(counted) = Counted::new(runtime) else {
        // A green thread that spawns while its own runtime ends need not be told so by an error, also
        // if whoever ends it has not come to this one yet.
        context::with_current(|current| {
            let is_of_it = |green: &Green| green.runtime.is_to(Arc::as_ptr(runtime));
            if current.green().is_some_and(is_of_it) && cfg!(panic = "unwind") {
                current.cancel_running();
            }
        });
        wait::cancellation_point();
        return Err(io::Error::other(
            "the runtime has been shut down; spawn before that, or on another runtime",
        ));
    };
    // Nothing unwinds from here until the thread is queued: of user code, only what listens to us runs.
    counted.hand_over();
    let scope = scope.and_then(Admitted::hand_over);
    // What takes memory is made before: the rest is made where it will be.
    let name = GivenName::new(name);
    let waiter = Waiter::new_in_place(|| {
        let own_stack = OwnStack::new(errand, stack, site);
        let green = Green::new(runtime, own_stack, scope);
        Waiter::new(name, Kind::Green(green))
    });
    inheritance.give_to(&waiter);
    runtime.note(|| Event::Spawned(&waiter));
    event::tell(|| Told::Spawned(&waiter));
    Ok(waiter)
}

fn promise_stack(class: Class) -> io::Result<Promise> {
    context::with_worker(|worker| match worker {
        Some(worker) => worker.promise_stack(class),
        None => Promise::new(class),
    })
}

/// What a green thread does in its life. It runs on its own stack, of which this takes a part for as long.
#[inline(always)]
fn live<F, T>(suspender: Suspender, f: F)
where
    F: FnOnce() -> T,
{
    let is_cancelled = begin(suspender);
    let home = Process::current();
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        if is_cancelled {
            drop(f);
            wait::unwind_cancelled();
        }
        f()
    }));
    home.end_child();
    end(home, result);
}

/// What a green thread that has begun in the process `home` does when its closure has ended.
#[inline(never)]
fn end<T>(home: Process, result: super::Result<T>) {
    let is_interrupt = |payload: &Box<dyn Any + Send>| wait::interrupts_current(&**payload);
    let was_interrupted = result.as_ref().is_err_and(is_interrupt);
    event::tell(|| {
        Told::Ends(match &result {
            Ok(_) => End::Returns,
            Err(payload) if wait::is_interrupt(&**payload) => End::IsInterrupted,
            Err(_) => End::Panics,
        })
    });
    // Whoever listens may have forked, and so may a destructor.
    home.end_child();
    let has_frames = begin_to_end();
    let result = if has_frames {
        leave_frames(result)
    } else {
        result
    };
    home.end_child();
    let result = Packed::new(result);
    let untaken = context::with_running(|waiter| {
        let green = waiter.green().expect("a green thread is one");
        let errand = &green.own_stack.errand;
        // SAFETY: the thread has not ended, and this is it.
        unsafe { errand.leave(result) };
        if green.completion.leave(was_interrupted) {
            return None;
        }
        // SAFETY: it has just been left, and nobody else will take it.
        let result = unsafe { errand.take::<super::Result<T>>() };
        Some((result, green.scope.clone()))
    });
    if let Some((result, scope)) = untaken.expect("a green thread runs this") {
        // Its destructor may block.
        drop_untaken(result, scope.as_deref(), was_interrupted);
    }
    unended::end_own();
}

/// The first thing that a green thread does. `true` if it has been cancelled.
fn begin(suspender: Suspender) -> bool {
    let is_cancelled = context::with_running(|waiter| {
        let green = waiter.green().expect("a green thread is one");
        green.own_stack.set_suspender(suspender);
        // SAFETY: it is the current thread.
        let runtime = unsafe { green.runtime.of_living() };
        if runtime.registry.is_closed() && cfg!(panic = "unwind") {
            waiter.cancel_running();
        }
        waiter.word.cancel_requested() && cfg!(panic = "unwind")
    });
    is_cancelled.expect("a green thread runs this")
}

/// What a thread with a stack of its own does when its closure has ended. From now on nothing interrupts it.
/// `true` if it must leave frames that it began with.
pub(crate) fn begin_to_end() -> bool {
    let has_frames = context::with_running(|waiter| {
        let own_stack = waiter.own_stack().expect("it runs on one");
        own_stack.set_ending();
        waiter.ambient.any()
    });
    has_frames.expect("it runs here")
}

/// Leaves the frames that the thread began with. If the destructor of a value in them panics, so has
/// the thread, as if its closure had owned the value.
#[cold]
fn leave_frames<T>(mut result: super::Result<T>) -> super::Result<T> {
    let current = context::current();
    while current.ambient.any() {
        let popped = panic::catch_unwind(AssertUnwindSafe(|| current.ambient.pop(&current)));
        if let Err(payload) = popped {
            // The first panic is the thread's.
            let (first, other) = match result {
                Ok(value) => (Err(payload), Ok(value)),
                Err(first) => (Err(first), Err(payload)),
            };
            result = first;
            drop_untaken(other, None, false);
        }
    }
    result
}

/// Calls `f` on a green thread of `runtime` and waits for its result.
#[track_caller]
pub(crate) fn run_in<F, T>(runtime: &Arc<Shared>, f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let site = Location::caller();
    let belonging = Belonging {
        inheritance: Inheritance::everything(),
        scope: None,
    };
    // SAFETY: the join below returns after the thread has ended, also when its caller is interrupted,
    // and nothing between can panic.
    let spawned = unsafe { spawn_unchecked(runtime, site, None, None, belonging, f) };
    let (result, interrupted) = match spawned {
        Ok(handle) => handle.join_lent(),
        Err(error) => panic!("failed to run a green thread: {error}"),
    };
    match (result, interrupted) {
        // The caller, if it was interrupted, is so again at its next blocking call.
        (Ok(value), _) => value,
        // The thread was cancelled on behalf of the caller, who knows how far to unwind.
        (Err(payload), Some(interrupt)) if wait::is_interrupt(&*payload) => interrupt.unwind(),
        (Err(payload), _) => panic::resume_unwind(payload),
    }
}
