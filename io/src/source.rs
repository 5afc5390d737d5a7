//! One descriptor, and the loop that every operation on it goes through.
//!
//! A descriptor is registered with a runtime's driver when a green thread of that runtime first
//! finds it not ready; one that is always ready, or only used on plain OS threads, never is.
//! Registrations with several runtimes know nothing of each other: each has its own edges. A driver belongs to its
//! runtime alone, and ends with whoever knows that, whatever is registered.
//!
//! A plain OS thread waits with `poll` on the one descriptor, or, if a deadline or a cancellation
//! may end that, with the driver of the global runtime.
//!
//! Futures wait with a driver too, by the same steps: see [`polled`](crate::polled).
//!
//! Operations borrow the source, so it is not closed while one waits. It is taken out of every
//! driver before its descriptor is closed or given away: another descriptor may share its open file
//! description and keep it, and its edges, alive. The system need not be told where none can share it: that
//! is so for a descriptor that was made here, and that nobody has [seen](Source::lend) nor forked.

use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use roving_scheduler::lock::Mutex;
use roving_scheduler::wait::Why;
use roving_scheduler::{Handle, Process, RuntimeId, is_green, wait};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::close::close;
use crate::driver::Driver;
use crate::error::{while_trying, would_block};
use crate::mode;
use crate::readiness::{Direction, Glance, Registration, Tick, Woken};
use crate::why::Operation;
use crate::yielding::Operations;

/// See the [module](self).
pub struct Source {
    /// There until the source is taken apart.
    fd: Option<OwnedFd>,
    /// The registration with the first runtime, and for nearly all sources the only one.
    first: OnceLock<Registered>,
    /// Those with other runtimes. The lock is held while a registration is made.
    others: Mutex<Vec<Registered>>,
    operations: Operations,
    /// Nobody but this has had the descriptor.
    is_private: AtomicBool,
}

// An operation that unwinds leaves nothing half done: what a source knows changes in single steps.
impl UnwindSafe for Source {}
impl RefUnwindSafe for Source {}

#[derive(Debug)]
struct Registered {
    runtime: RuntimeId,
    /// The runtime's. If that has ended, there is nothing to take out.
    driver: Weak<Driver>,
    registration: Arc<Registration>,
}

/// How a try went.
pub(crate) enum Attempt<T> {
    Done(T),
    /// Done, and the next try would block unless something comes meanwhile.
    Drained(T),
    WouldBlock,
    /// It would block, and so would any other until the next edge.
    Empty,
}

impl<T> Attempt<T> {
    /// Sorts out the result of a system call. Never says that the descriptor was drained.
    pub(crate) fn of(result: Result<T, Errno>) -> io::Result<Self> {
        match result {
            Ok(value) => Ok(Self::Done(value)),
            Err(Errno::AGAIN) => Ok(Self::WouldBlock),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Attempt<U> {
        match self {
            Self::Done(value) => Attempt::Done(f(value)),
            Self::Drained(value) => Attempt::Drained(f(value)),
            Self::WouldBlock => Attempt::WouldBlock,
            Self::Empty => Attempt::Empty,
        }
    }

    /// What was done, if it was. That it has drained the descriptor is noted with the registration
    /// that was looked at before.
    #[inline]
    pub(crate) fn done(
        self,
        direction: Direction,
        looked: Option<(&Arc<Registration>, Glance)>,
    ) -> Option<T> {
        let (value, is_drained) = match self {
            Self::Done(value) => (Some(value), false),
            Self::Drained(value) => (Some(value), true),
            Self::WouldBlock => (None, false),
            Self::Empty => (None, true),
        };
        if is_drained && let Some((registration, glance)) = looked {
            registration.mark_drained(direction, glance.tick);
        }
        value
    }
}

/// What is known of the connection when an operation is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signs {
    /// It has come to its end in both directions, or has failed.
    pub(crate) hung_up: bool,
    /// There may have been something else than data or room: an end, an error, urgent data. If not, then there has
    /// been none that will not come with another edge.
    pub(crate) irregular: bool,
}

/// How long an operation may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: the socket is in non-blocking mode.
    None,
    Until(Instant),
    Forever,
}

impl Source {
    /// Of a descriptor whose open file description others may have.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self::with_privacy(fd, false)
    }

    /// Of a descriptor that the system has just made, with an open file description of its own.
    pub(crate) fn fresh(fd: OwnedFd) -> Self {
        Self::with_privacy(fd, true)
    }

    /// Of a connection that this listener has accepted. It is fresh, but has inherited what others may have set.
    pub(crate) fn accepted(&self, fd: OwnedFd) -> Self {
        Self::with_privacy(fd, !self.may_be_shared())
    }

    /// Of a duplicate of the descriptor.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::new(self.lend().try_clone_to_owned()?))
    }

    fn with_privacy(fd: OwnedFd, is_private: bool) -> Self {
        Self {
            fd: Some(mode::take_in(fd)),
            first: OnceLock::new(),
            others: Mutex::new(Vec::new()),
            operations: Operations::new(),
            is_private: AtomicBool::new(is_private),
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd
            .as_ref()
            .expect("a source that can be borrowed has not been taken apart")
            .as_fd()
    }

    /// The descriptor for somebody who may duplicate it, or change what it stands for.
    pub(crate) fn lend(&self) -> BorrowedFd<'_> {
        // Relaxed: who drops the source comes after all who have used it.
        self.is_private.store(false, Ordering::Relaxed);
        self.fd()
    }

    /// Whether somebody else may have, or may have had, a descriptor of the same open file description.
    pub(crate) fn may_be_shared(&self) -> bool {
        !self.is_private.load(Ordering::Relaxed) || Process::has_forked()
    }

    /// Gives the descriptor away.
    pub(crate) fn into_fd(mut self) -> OwnedFd {
        self.deregister(Driver::deregister);
        self.fd.take().expect("a source is taken apart once")
    }

    /// Does what `attempt` does, as often as it takes, waiting in between.
    ///
    /// `attempt` must not block. `patience` is asked at most once, before the first wait.
    ///
    /// # Errors
    ///
    /// Those of both closures; `WouldBlock` if there is no patience, or no more; `TimedOut` or
    /// `Other` if the thread is interrupted; and the driver's, if it cannot be made or does not
    /// take another descriptor.
    #[inline]
    #[track_caller]
    pub(crate) fn operate<T>(
        &self,
        direction: Direction,
        patience: impl Fn() -> io::Result<Patience>,
        attempt: impl FnMut(Signs) -> io::Result<Attempt<T>>,
    ) -> io::Result<T> {
        self.operate_for(self.why(direction), direction, patience, attempt)
    }

    /// What a wait for a direction of the descriptor is for.
    pub(crate) fn why<'a>(&'a self, direction: Direction) -> impl Fn() -> Operation<'a> {
        move || Operation {
            direction,
            fd: self.fd(),
        }
    }

    /// The same for something that is more than the descriptor: `why` tells those who ask what is waited for.
    ///
    /// # Errors
    ///
    /// As [`operate`](Self::operate).
    #[inline]
    #[track_caller]
    pub(crate) fn operate_for<T, W: Why>(
        &self,
        why: impl Fn() -> W,
        direction: Direction,
        patience: impl Fn() -> io::Result<Patience>,
        mut attempt: impl FnMut(Signs) -> io::Result<Attempt<T>>,
    ) -> io::Result<T> {
        self.operations.take_turn();
        let mut known_patience = None;
        let mut patience = || match known_patience {
            Some(patience) => Ok(patience),
            None => patience().inspect(|patience| known_patience = Some(*patience)),
        };
        let mut hung_up = false;
        let mut has_waited = false;
        let mut time_is_up = false;
        // Whether what is known of edges may not be all.
        let mut must_try = false;
        // The registration to wait with, if it is not the first.
        let mut other: Option<Arc<Registration>> = None;
        loop {
            let registration = other.as_ref().or_else(|| self.first());
            let looked =
                registration.map(|registration| (registration, registration.glance(direction)));
            // Only an edge takes the mark of a drained one away, and not every wait ends with one that is looked at.
            let in_vain = !must_try
                && looked.is_some_and(|(_, glance)| glance.drained)
                && patience()? != Patience::None;
            let signs = Signs {
                hung_up,
                irregular: has_waited || looked.is_some_and(|(_, glance)| glance.irregular),
            };
            if !in_vain && let Some(value) = attempt(signs)?.done(direction, looked) {
                return Ok(value);
            }
            if time_is_up {
                return Err(would_block());
            }
            let deadline = match patience()? {
                Patience::None => return Err(would_block()),
                Patience::Until(deadline) => Some(deadline),
                Patience::Forever => None,
            };
            let woken = match runtime_to_wait_with()? {
                None => {
                    must_try = true;
                    wait_alone(self.fd(), direction, deadline)?
                }
                Some(runtime) => {
                    let why = why();
                    let of_first = looked.filter(|(looked, _)| self.is_first(looked, runtime));
                    if let Some((first, glance)) = of_first {
                        self.ask(first, direction)?;
                        first.wait(direction, glance.tick, deadline, &why)?
                    } else {
                        let mine = self.registration(runtime)?;
                        self.ask(&mine, direction)?;
                        let of_mine = looked.filter(|(looked, _)| Arc::ptr_eq(looked, &mine));
                        // If the try was made without a look at this registration, and it has had an edge, try again
                        // with one.
                        let seen = of_mine.map_or(Tick::START, |(_, glance)| glance.tick);
                        let woken = mine.wait(direction, seen, deadline, &why)?;
                        other = Some(mine);
                        woken
                    }
                }
            };
            match woken {
                Woken::Ready { hung_up: now } => hung_up = now,
                // What has come in time may not have been told of yet.
                Woken::TimedOut => (time_is_up, must_try) = (true, true),
            }
            has_waited = true;
        }
    }

    /// Its operations, which let others run now and then.
    pub(crate) fn operations(&self) -> &Operations {
        &self.operations
    }

    pub(crate) fn first(&self) -> Option<&Arc<Registration>> {
        self.first.get().map(|first| &first.registration)
    }

    /// Whether a registration is the first, and with that runtime: whoever waits with that need not count.
    #[inline]
    fn is_first(&self, registration: &Arc<Registration>, runtime: RuntimeId) -> bool {
        self.first.get().is_some_and(|first| {
            first.runtime == runtime && Arc::ptr_eq(&first.registration, registration)
        })
    }

    /// The registration with the runtime of the current green thread; on a plain OS thread, with
    /// the global one.
    pub(crate) fn current_registration(&self) -> io::Result<Arc<Registration>> {
        let runtime = match RuntimeId::current() {
            Some(runtime) => runtime,
            None => Handle::current()?.id(),
        };
        self.registration(runtime)
    }

    /// The registration with the current runtime, which is `id`. It is made if there is none.
    fn registration(&self, id: RuntimeId) -> io::Result<Arc<Registration>> {
        let is_its = |registered: &&Registered| registered.runtime == id;
        if let Some(first) = self.first.get().filter(is_its) {
            return Ok(first.registration.clone());
        }
        let mut others = self.others.lock();
        let made = self.first.get().into_iter().chain(&*others).find(is_its);
        if let Some(registered) = made {
            return Ok(registered.registration.clone());
        }
        let runtime = Handle::current()?;
        let driver = runtime
            .driver(Driver::new)
            .map_err(|error| while_trying("start the IO driver of the runtime", error))?;
        let registration = driver
            .register(self.fd())
            .map_err(|error| while_trying("register a descriptor with the IO driver", error))?;
        let registered = Registered {
            runtime: id,
            driver: Arc::downgrade(&driver),
            registration: registration.clone(),
        };
        if let Err(registered) = self.first.set(registered) {
            others.retain(|other| other.driver.strong_count() > 0);
            others.push(registered);
        }
        Ok(registration)
    }

    /// Has the driver of a registration of this tell of an edge, before somebody leaves a ticket for one, where it does not by itself.
    pub(crate) fn ask(
        &self,
        registration: &Arc<Registration>,
        direction: Direction,
    ) -> io::Result<()> {
        if Driver::REPORTS_EDGES {
            return Ok(());
        }
        let is_its = |registered: &&Registered| Arc::ptr_eq(&registered.registration, registration);
        let driver_of = |registered: &Registered| registered.driver.upgrade();
        let driver = match self.first.get().filter(is_its) {
            Some(first) => driver_of(first),
            None => self.others.lock().iter().find(is_its).and_then(driver_of),
        };
        driver.map_or(Ok(()), |driver| driver.ask(registration, direction))
    }

    /// Lets all who wait try again, as an edge would: for what ends their wait and the system does not tell of.
    pub(crate) fn rouse(&self) {
        let mut waiting = Vec::new();
        for registered in self.first.get().into_iter().chain(&*self.others.lock()) {
            registered.registration.on_end(&mut waiting);
        }
        for ticket in waiting {
            ticket.fire();
        }
    }

    /// Sees to it that the current thread has something to wait with.
    ///
    /// # Errors
    ///
    /// The driver's, if it cannot be made or does not take another descriptor.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        if let Some(runtime) = runtime_to_wait_with()? {
            self.registration(runtime)?;
        }
        Ok(())
    }

    fn deregister(&mut self, take_out: fn(&Driver, &Registration, BorrowedFd<'_>)) {
        let first = self.first.take();
        let others = std::mem::take(self.others.get_mut());
        for registered in first.into_iter().chain(others) {
            if let Some(driver) = registered.driver.upgrade() {
                take_out(&driver, &registered.registration, self.fd());
            }
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.may_be_shared() {
            self.deregister(Driver::deregister);
            if let Some(fd) = self.fd.take() {
                close(fd);
            }
        } else {
            self.deregister(Driver::forget);
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("fd", &self.fd)
            .field("first", &self.first)
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}

/// The runtime whose driver the current thread waits with. A plain OS thread does so if a deadline
/// or a cancellation may end the wait, else alone. What a `greenly` runs may be on such a thread, and must
/// not block it.
fn runtime_to_wait_with() -> io::Result<Option<RuntimeId>> {
    match RuntimeId::current() {
        None if wait::may_be_interrupted() || is_green() => Ok(Some(Handle::current()?.id())),
        runtime => Ok(runtime),
    }
}

/// Whether the current thread waits without a runtime: nothing else may end its waits, and nothing else runs on its OS
/// thread.
pub(crate) fn waits_alone() -> io::Result<bool> {
    Ok(runtime_to_wait_with()?.is_none())
}

/// Blocks this OS thread until `fd` is ready or the deadline comes.
fn wait_alone(
    fd: BorrowedFd<'_>,
    direction: Direction,
    deadline: Option<Instant>,
) -> io::Result<Woken> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // A timeout that cannot be told to the kernel is longer than anybody will wait.
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [PollFd::from_borrowed_fd(fd, direction.events())];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(Woken::TimedOut),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => {
                let hung_up = fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR);
                return Ok(Woken::Ready { hung_up });
            }
            Err(error) => return Err(error.into()),
        }
    }
}
