//! Blocking code inside a future: [`greenly`], and [`await_`] for futures in that.
//!
//! A [`Greenly`] is the owner of a [guest], and its `&mut` the right to run it.
//! Whoever drops one that has not ended cancels it and polls it to its end, so that the destructors on
//! its stack run; where nothing can be unwound, or it must not be run here, its stack is left as it is,
//! for ever.
//!
//! One without thread-locals of its own has those of its [home](Home): the OS thread on which it was first polled, and only that
//! runs it. It may have lent them, so the home [ends](unended) it if nobody else has.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::panic::{self, AssertUnwindSafe, Location};
use std::pin::{Pin, pin};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread::{self as os_thread, ThreadId};

use super::block_on;
use crate::protocol::process::{PerProcess, Process};
use crate::protocol::say::say;
use crate::run::given_name::GivenName;
use crate::run::green::{Kind, Waiter};
use crate::run::guest::{self, Guest};
use crate::run::own_stack::OwnStack;
use crate::run::unended::{self, Entry, Unended};
use crate::run::{context, panicking, thread_end};
use crate::runtime::{self, builder};
use crate::stack::coroutine::Suspender;
use crate::stack::errand::Errand;
use crate::stack::tls::MovesWithThreadLocals;
use crate::stack::{Class, Promise};
use crate::thread::{self, Builder};
use crate::wait::{self, cancel::shield};

/// Creates a future that runs blocking code.
///
/// The closure runs on a stack of its own when the future is polled, in any executor.
/// While it blocks, in an operation of Roving or in [`await_`], the future is pending, and its task is
/// woken when it can continue. So blocking code can be called from `async` code without blocking an
/// OS thread, and call `async` code in turn.
///
/// To the closure it is a thread of its own: it has its own [`thread::current`], and where green
/// threads have [thread-locals of their own](crate::ThreadLocals::Own), it has them too, and the future moves
/// between OS threads with them. Otherwise it shares those of the OS thread that polls it, and must always be
/// polled on the OS thread that polled it first, which ends it before its thread-locals are destroyed. In a process that was forked from the one in which it was made it cannot be
/// polled, and dropping it does nothing. No runtime of Roving need be running; the timers of the global
/// one are used, which starts by itself at the first wait with a limit.
///
/// Dropping the future before it has ended cancels the closure: it unwinds, and its destructors run. What
/// blocks in them blocks the thread that drops, which no cancellation and no deadline interrupts meanwhile.
///
/// # Panics
///
/// Panics if the system refuses a stack; [`Builder::greenly`](crate::thread::Builder::greenly) returns an
/// error instead. A panic of the closure goes on in whoever polls. Polling panics if it is done on another OS
/// thread than first and the thread-locals do not move, in a forked process, or after the future was ready.
///
/// # Examples
///
/// ```
/// use roving::{await_, channel, greenly};
///
/// /// Knows nothing of futures.
/// fn sum(numbers: &channel::Receiver<u32>) -> u32 {
///     numbers.iter().sum()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (sender, receiver) = channel::bounded(1);
/// let sums = greenly(move || sum(&receiver));
/// let sends = greenly(move || {
///     for n in 0..10 {
///         await_(tokio::task::yield_now());
///         sender.send(n).unwrap();
///     }
/// });
/// assert_eq!(tokio::join!(sums, sends).0, 45);
/// # }
/// ```
#[track_caller]
pub fn greenly<F, T>(f: F) -> Greenly<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match Builder::new().greenly(f) {
        Ok(greenly) => greenly,
        Err(error) => panic!("failed to make a future of a closure: {error}"),
    }
}

impl Builder {
    /// Creates a future of code that blocks, as [`greenly`] does.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) that are about stacks and settings.
    ///
    /// # Panics
    ///
    /// Panics if the name has a null byte in it.
    #[track_caller]
    pub fn greenly<F, T>(self, f: F) -> io::Result<Greenly<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let site = Location::caller();
        let (name, stack_size) = self.into_parts();
        let class = match stack_size {
            None => class()?,
            Some(bytes) => class()?.resized(bytes)?,
        };
        let promise = Promise::new(class)?;
        let result = Arc::new(Slot(UnsafeCell::new(None)));
        let slot = result.clone();
        // SAFETY: nothing is borrowed.
        let errand = unsafe { Errand::new(move |suspender| live(suspender, f, &slot)) };
        let own_stack = OwnStack::new(errand, promise, site);
        let guest = Kind::Guest(Guest::new(own_stack, runtime::global));
        Ok(Greenly {
            waiter: Arc::new(Waiter::new(GivenName::new(name), guest)),
            result,
            owns_thread_locals: class.has_thread_locals(),
            process: Process::current(),
            state: State::Fresh,
            home: None,
            moves: PhantomData,
        })
    }
}

/// The default stacks.
fn class() -> io::Result<Class> {
    static CLASS: PerProcess<Class> = PerProcess::new();
    if let Some(class) = CLASS.get() {
        return Ok(*class);
    }
    let (_, class) = builder::Builder::new().ground()?;
    Ok(*CLASS.get_or_make(|| class))
}

/// What a guest does in its life. It runs on its own stack.
fn live<F, T>(suspender: Suspender, f: F, slot: &Slot<T>)
where
    F: FnOnce() -> T,
{
    context::with_running(|waiter| {
        let own_stack = waiter.own_stack().expect("it runs on one");
        own_stack.set_suspender(suspender);
    });
    let home = Process::current();
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    home.end_child();
    let has_frames = thread::begin_to_end();
    debug_assert!(!has_frames, "it has begun with none");
    unended::end_own();
    // SAFETY: the guest has not ended, and this is it.
    unsafe { *slot.0.get() = Some(result) };
}

/// Where a guest leaves its result: it has the slot until it has ended, and then its future.
struct Slot<T>(UnsafeCell<Option<thread::Result<T>>>);

// SAFETY: the slot is only touched by its owner of the moment, so a result is moved between threads and
// never shared.
unsafe impl<T: Send> Send for Slot<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Slot<T> {}

/// Code that blocks, as a future: see [`greenly`].
#[must_use = "futures do nothing unless they are polled"]
pub struct Greenly<T> {
    waiter: Arc<Waiter>,
    result: Arc<Slot<T>>,
    owns_thread_locals: bool,
    /// That of its stack and its thread-locals.
    process: Process,
    state: State,
    /// If it has run, and has no thread-locals of its own.
    home: Option<Arc<Home>>,
    moves: PhantomData<MovesWithThreadLocals>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Runs,
    Ended,
}

/// What a guest without thread-locals of its own has to do with the OS thread whose it has.
struct Home {
    thread: ThreadId,
    process: Process,
    guest: Arc<Waiter>,
    entry: Entry,
    runs: Cell<bool>,
    has_ended: AtomicBool,
}

// SAFETY: the entry and `runs` are touched on the OS thread only which has made it.
unsafe impl Send for Home {}
// SAFETY: as above.
unsafe impl Sync for Home {}

impl Home {
    /// Makes the current OS thread the home of a guest that is about to run first. That keeps it until the guest has ended.
    fn new(guest: Arc<Waiter>, process: Process) -> Arc<Self> {
        let home = Arc::new(Self {
            thread: os_thread::current().id(),
            process,
            guest,
            entry: Entry::of_thread_locals(),
            runs: Cell::new(false),
            has_ended: AtomicBool::new(false),
        });
        let kept: *const Self = Arc::into_raw(home.clone());
        let kept = NonNull::new(kept.cast_mut()).expect("an `Arc` is somewhere");
        // SAFETY: it has just been made, and is kept until it has left. The guest's closure is `'static`.
        unsafe { home.entry.enter(kept) };
        home
    }

    fn is_here(&self) -> bool {
        self.thread == os_thread::current().id()
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Runs the guest.
    ///
    /// # Safety
    ///
    /// It is here, and the caller has the right to run the guest, which has not ended.
    unsafe fn run(&self, context: &mut Context<'_>) -> Poll<()> {
        struct Runs<'a>(&'a Cell<bool>);

        impl Drop for Runs<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }

        self.runs.set(true);
        let _runs = Runs(&self.runs);
        // SAFETY: the caller's promise.
        let polled = unsafe { guest::poll(&self.guest, context) };
        if polled.is_ready() {
            self.leave();
        }
        polled
    }

    /// The guest has ended, or never goes on.
    fn leave(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
        if self.entry.leave() {
            // SAFETY: it was kept when it entered; whoever calls this has another.
            unsafe { Arc::decrement_strong_count(self) };
        }
    }
}

impl Unended for Home {
    fn rests(&self) -> bool {
        !self.runs.get()
    }

    fn end(&self) {
        // SAFETY: it is in a list, and so kept.
        let kept = unsafe {
            Arc::increment_strong_count(self);
            Arc::from_raw(self)
        };
        if cfg!(panic = "unwind") && self.process.is_current() {
            // SAFETY: this is its home, where nobody polls it now, and nobody does elsewhere.
            let run = |context: &mut Context<'_>| unsafe { kept.run(context) };
            panicking::contain(|| unwind(&self.guest, run));
        } else {
            self.leave();
        }
    }
}

/// Lets a guest, which has run and not ended, unwind. Nothing ends that before its time: what would
/// interrupt the caller does so after it.
fn unwind(guest: &Arc<Waiter>, run: impl FnMut(&mut Context<'_>) -> Poll<()>) {
    guest.cancel(true);
    shield(|| block_on(std::future::poll_fn(run)));
}

impl<T> Greenly<T> {
    /// Runs the guest.
    fn run(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `&mut` is the right to run it, and whoever calls this has seen that it has not ended, and that it is at home.
        let polled = unsafe {
            match &self.home {
                Some(home) => home.run(context),
                None => guest::poll(&self.waiter, context),
            }
        };
        if polled.is_ready() {
            self.state = State::Ended;
        }
        polled
    }
}

impl<T> Future for Greenly<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let this = self.get_mut();
        this.process.insist("what `greenly` runs");
        match this.state {
            State::Fresh => {
                if !this.owns_thread_locals {
                    this.home = Some(Home::new(this.waiter.clone(), this.process));
                }
                this.state = State::Runs;
            }
            State::Runs => {
                if let Some(home) = &this.home {
                    assert!(
                        home.is_here(),
                        "what `greenly` runs has no thread-locals of its own here, and must be polled by the OS thread that has polled it first"
                    );
                    assert!(
                        !home.has_ended(),
                        "polled after its OS thread has ended it, whose thread-locals it has"
                    );
                }
            }
            State::Ended => panic!("polled after it was ready"),
        }
        if this.run(context).is_pending() {
            return Poll::Pending;
        }
        // SAFETY: the guest has ended.
        let result = unsafe { (*this.result.0.get()).take() };
        match result.expect("a guest leaves its result before it ends") {
            Ok(value) => Poll::Ready(value),
            Err(payload) => panic::resume_unwind(payload),
        }
    }
}

impl<T> Drop for Greenly<T> {
    fn drop(&mut self) {
        if !self.process.is_current() {
            // Neither its stack nor the promise of one can be given back here.
            mem::forget(self.waiter.clone());
            return;
        }
        if self.state != State::Runs {
            return;
        }
        if let Some(home) = &self.home {
            if home.has_ended() {
                return;
            }
            if !home.is_here() {
                say(
                    "roving: what `greenly` runs was dropped by another OS thread than has polled it; it has no \
                     thread-locals of its own here, so it is left as it is until that one ends\n",
                );
                return;
            }
            // It is dropped below `exit`, or may have borrowed a thread-local that is gone.
            if home.runs.get() || thread_end::may_be_too_late() {
                return;
            }
        }
        if cfg!(panic = "unwind") {
            let waiter = self.waiter.clone();
            unwind(&waiter, |context| self.run(context));
        }
    }
}

impl<T> fmt::Debug for Greenly<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Greenly")
            .field("name", &self.waiter.name())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Waits for a future: in what [`greenly`] runs, by the task around it.
///
/// The task's executor polls the future, on its own stack and with its thread-locals, so what a future
/// needs of its runtime, it finds. Some want that already when they are made, such as the timers of tokio:
/// an `async` block around them makes them when it is polled. Anywhere else this is [`block_on()`].
///
/// # Panics
///
/// A panic of the future propagates to the caller. If the thread is cancelled, as when the future around it is
/// dropped, or a [deadline](crate::deadline()) that it is subject to comes, it unwinds, and drops the
/// future.
///
/// # Examples
///
/// ```
/// use roving::{await_, greenly};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let slept = greenly(|| {
///     await_(async { tokio::time::sleep(Duration::from_millis(1)).await });
///     "slept"
/// });
/// assert_eq!(slept.await, "slept");
/// # }
/// ```
pub fn await_<F>(future: F) -> F::Output
where
    F: IntoFuture,
    F::IntoFuture: Send,
    F::Output: Send,
{
    let current = context::current_on_stack();
    let Some(guest) = current.as_ref().and_then(|waiter| waiter.guest()) else {
        return block_on(future);
    };
    let mut future = pin!(future.into_future());
    let mut output = None;
    let mut question = |context: &mut Context<'_>| {
        if output.is_some() {
            return Poll::Ready(());
        }
        // A panic belongs to the guest, and not to whoever polls on its behalf.
        let polled = panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => output = Some(Ok(value)),
            Err(payload) => output = Some(Err(payload)),
        }
        Poll::Ready(())
    };
    let wait = wait::begin();
    // SAFETY: this is the guest.
    let outcome = unsafe { guest.ask(&mut question, || wait.why(&"a future").try_block(None)) };
    match (output, outcome) {
        (Some(Ok(value)), _) => value,
        (Some(Err(payload)), _) => panic::resume_unwind(payload),
        (None, Err(interrupt)) => interrupt.unwind(),
        (None, Ok(_)) => unreachable!("nothing else ends the wait"),
    }
}
