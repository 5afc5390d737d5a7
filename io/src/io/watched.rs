//! [`Watched`]: any descriptor that tells when it is ready.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll};

use roving_scheduler::blocking;
use rustix::fs::{FileType, OFlags, fcntl_getfl};

use crate::event::is_ready;
use crate::io::{PollRead, PollWrite, Sealed};
use crate::looking::{is_unix, look, operate_looking};
use crate::nowait::kind;
use crate::polled::Pending;
use crate::readiness::Direction;
use crate::ready::Ready;
use crate::source::{Attempt, Patience, Source};

/// Any descriptor that tells when it is ready, and with it what this crate knows nothing of: an eventfd, a timer, inotify,
/// netlink, a terminal, a serial line, the epoll instance of another library, the socket of a database's client.
///
/// Green threads, futures and a [`select!`](roving_scheduler::select!) wait for it, and so do plain OS threads. What is done
/// when it is ready is a closure, which fails with [`WouldBlock`](ErrorKind::WouldBlock) if there was nothing to do: then it is
/// waited for the next time. Several threads may wait at once.
///
/// It waits with a duplicate of the descriptor, which is its own. So whatever happens to that in `T` (a [`get_mut`](Self::get_mut),
/// a library that closes its socket) nobody else's descriptor is waited for by mistake; and what was watched stays open for
/// as long as it is.
///
/// # Blocking mode
///
/// The descriptor is best in non-blocking mode, which its maker has a flag for. It is never changed here, since other processes
/// may share it. If it is in blocking mode when it comes, each try is made after the system has said that it would not block. If
/// somebody else has been faster the try blocks after all; another OS thread runs the other green threads then, but nothing ends it,
/// and in [pinned mode](roving_scheduler::ThreadLocals::Pinned) those that have begun on the same worker wait for it.
///
/// # Examples
///
#[cfg_attr(target_os = "linux", doc = "```")]
#[cfg_attr(not(target_os = "linux"), doc = "```ignore")]
/// use roving::io::Watched;
/// use rustix::event::{EventfdFlags, eventfd};
///
/// # fn main() -> std::io::Result<()> {
/// let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
/// let events = std::sync::Arc::new(Watched::new(eventfd(0, flags)?)?);
/// let told = events.clone();
/// let waits = roving::go!(move || {
///     let mut count = [0; 8];
///     told.read_with(|fd| Ok(rustix::io::read(fd, &mut count)?))?;
///     Ok::<_, std::io::Error>(u64::from_ne_bytes(count))
/// });
/// rustix::io::write(&*events, &3u64.to_ne_bytes())?;
/// assert_eq!(waits.join().unwrap()?, 3);
/// # Ok(())
/// # }
/// ```
pub struct Watched<T> {
    // Closed first, so that a close that lingers is that of the source.
    inner: T,
    source: Source,
    /// The description was in blocking mode when it came.
    blocks: bool,
}

impl<T: AsFd> Watched<T> {
    /// Makes a descriptor one that can be waited for.
    ///
    /// # Errors
    ///
    /// Those of `dup`, `fstat` and `fcntl`; [`InvalidInput`](ErrorKind::InvalidInput) for a file or a folder on a disk and whatever
    /// else is always ready, and therefore cannot be waited for. What blocks there is called with
    /// [`blocking`](roving_scheduler::blocking::run).
    pub fn new(inner: T) -> io::Result<Self> {
        let fd = inner.as_fd();
        if !can_be_watched(fd)? {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "cannot watch a descriptor that is always ready, as files are: use roving::fs or roving::blocking",
            ));
        }
        let blocks = !fcntl_getfl(fd)?.contains(OFlags::NONBLOCK);
        let source = Source::new(fd.try_clone_to_owned()?);
        Ok(Self {
            inner,
            source,
            blocks,
        })
    }
}

impl<T> Watched<T> {
    /// Returns what is watched.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Returns what is watched. If its descriptor is exchanged for another, that is not watched.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// Returns what was watched.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// What a [`select!`](roving_scheduler::select!) waits for until there is something to read, or the end.
    ///
    #[cfg_attr(target_os = "linux", doc = "```")]
    #[cfg_attr(not(target_os = "linux"), doc = "```ignore")]
    /// # use rustix::event::{EventfdFlags, eventfd};
    /// # use roving::{channel::after, io::Watched};
    /// # use std::time::Duration;
    /// # fn main() -> std::io::Result<()> {
    /// let events = Watched::new(eventfd(0, EventfdFlags::NONBLOCK)?)?;
    /// roving::select! {
    ///     readable(events) => println!("an event"),
    ///     recv(after(Duration::from_millis(1))) -> _ => println!("none yet"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn readable(&self) -> Ready<'_> {
        Ready::new(&self.source, Direction::Read)
    }

    /// Returns what a [`select!`](roving_scheduler::select!) waits for until something can be written, or there is an error.
    pub fn writable(&self) -> Ready<'_> {
        Ready::new(&self.source, Direction::Write)
    }

    /// Returns what a [`select!`](roving_scheduler::select!) waits for, in an arm `ready(watched.priority())`, until there is something
    /// of priority: urgent data of a TCP connection, a change on the other side of a terminal, of a file in `/sys` or of
    /// `/proc/mounts`.
    #[cfg(target_os = "linux")]
    pub fn priority(&self) -> Ready<'_> {
        Ready::new(&self.source, Direction::Priority)
    }

    /// Does what `f` does, as soon as there is something to read: tries, and while that fails with
    /// [`WouldBlock`](ErrorKind::WouldBlock), waits and tries again.
    ///
    /// # Errors
    ///
    /// Those of `f`; those of a wait: the thread was cancelled, or a [deadline](roving_scheduler::deadline()) came.
    #[track_caller]
    pub fn read_with<R>(&self, f: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.with(Direction::Read, f)
    }

    /// Does what `f` does, as soon as something can be written: see [`read_with`](Self::read_with).
    ///
    /// # Errors
    ///
    /// As those of `read_with`.
    #[track_caller]
    pub fn write_with<R>(&self, f: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.with(Direction::Write, f)
    }

    /// Waits until there is something to read, or the end.
    ///
    /// # Errors
    ///
    /// Those of a wait: the thread was cancelled, or a [deadline](roving_scheduler::deadline()) came.
    #[track_caller]
    pub fn wait_readable(&self) -> io::Result<()> {
        self.wait(Direction::Read)
    }

    /// Waits until something can be written, or there is an error.
    ///
    /// # Errors
    ///
    /// As those of [`wait_readable`](Self::wait_readable).
    #[track_caller]
    pub fn wait_writable(&self) -> io::Result<()> {
        self.wait(Direction::Write)
    }

    /// Waits until there is something of priority: see [`priority`](Self::priority).
    ///
    /// # Errors
    ///
    /// As those of [`wait_readable`](Self::wait_readable).
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub fn wait_priority(&self) -> io::Result<()> {
        self.wait(Direction::Priority)
    }

    /// [`read_with`](Self::read_with) as a future, in any executor. It calls `f` when it is polled, first to try, and no more once it
    /// has been dropped: if `f` takes something only where it does not fail, nothing is lost then.
    ///
    /// # Errors
    ///
    /// Those of `f`; those of the IO driver, if there are no descriptors left for it.
    pub async fn read_with_async<R>(&self, f: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.with_async(Direction::Read, f).await
    }

    /// [`write_with`](Self::write_with) as a future, in any executor. See [`read_with_async`](Self::read_with_async).
    ///
    /// # Errors
    ///
    /// As those of `read_with_async`.
    pub async fn write_with_async<R>(&self, f: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.with_async(Direction::Write, f).await
    }

    /// Waits until there is something to read, or the end: [`wait_readable`](Self::wait_readable) as a future, in any executor.
    ///
    /// It takes nothing, so it may be dropped at any time.
    ///
    /// # Errors
    ///
    /// Those of the IO driver, if there are no descriptors left for it.
    ///
    /// # Examples
    ///
    #[cfg_attr(target_os = "linux", doc = "```")]
    #[cfg_attr(not(target_os = "linux"), doc = "```ignore")]
    /// use roving::block_on;
    /// use roving::io::Watched;
    /// use rustix::event::{EventfdFlags, eventfd};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let events = Watched::new(eventfd(0, EventfdFlags::NONBLOCK)?)?;
    /// block_on(async {
    ///     events.wait_writable_async().await?;
    ///     rustix::io::write(events.get_ref(), &3u64.to_ne_bytes())?;
    ///     events.wait_readable_async().await
    /// })
    /// # }
    /// ```
    pub async fn wait_readable_async(&self) -> io::Result<()> {
        self.wait_async(Direction::Read).await
    }

    /// Waits until something can be written, or there is an error: [`wait_writable`](Self::wait_writable) as a future. See
    /// [`wait_readable_async`](Self::wait_readable_async).
    ///
    /// # Errors
    ///
    /// As those of `wait_readable_async`.
    pub async fn wait_writable_async(&self) -> io::Result<()> {
        self.wait_async(Direction::Write).await
    }

    /// Waits until there is something of [priority](Self::priority): [`wait_priority`](Self::wait_priority) as a future. See
    /// [`wait_readable_async`](Self::wait_readable_async).
    ///
    /// # Errors
    ///
    /// As those of `wait_readable_async`.
    #[cfg(target_os = "linux")]
    pub async fn wait_priority_async(&self) -> io::Result<()> {
        self.wait_async(Direction::Priority).await
    }

    #[track_caller]
    fn with<R>(
        &self,
        direction: Direction,
        mut f: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let patience = || Ok(Patience::Forever);
        let must_look = || direction == Direction::Write && is_unix(self.source.fd());
        let attempt = |_| self.attempt(direction, &mut f);
        let (source, why) = (&self.source, self.source.why(direction));
        operate_looking(source, why, direction, must_look, patience, attempt)
    }

    async fn with_async<R>(
        &self,
        direction: Direction,
        mut f: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let attempt = |_| self.attempt(direction, &mut f);
        self.source.operate_async(direction, attempt).await
    }

    fn poll_with<R>(
        &self,
        direction: Direction,
        pending: &mut Pending,
        context: &Context<'_>,
        mut f: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let source = &self.source;
        source.poll_operate(pending, direction, context, |_| {
            self.attempt(direction, &mut f)
        })
    }

    fn attempt<R>(
        &self,
        direction: Direction,
        f: &mut impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<Attempt<R>> {
        let result = if !self.blocks {
            f(&self.inner)
        } else if is_ready(self.source.fd(), direction.events())? {
            blocking::run(|| f(&self.inner))
        } else {
            if direction == Direction::Write {
                look(self.source.fd())?;
            }
            return Ok(Attempt::WouldBlock);
        };
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Attempt::WouldBlock),
            result => Ok(Attempt::Done(result?)),
        }
    }

    #[track_caller]
    fn wait(&self, direction: Direction) -> io::Result<()> {
        let patience = || Ok(Patience::Forever);
        self.source
            .operate(direction, patience, |_| self.try_ready(direction))
    }

    async fn wait_async(&self, direction: Direction) -> io::Result<()> {
        let attempt = |_| self.try_ready(direction);
        self.source.operate_async(direction, attempt).await
    }

    /// Whether it is ready.
    fn try_ready(&self, direction: Direction) -> io::Result<Attempt<()>> {
        Ok(if self.source.is_ready(direction)? {
            Attempt::Done(())
        } else {
            Attempt::WouldBlock
        })
    }
}

/// Whether the system tells when `fd` is ready.
fn can_be_watched(fd: BorrowedFd<'_>) -> io::Result<bool> {
    match kind(fd)? {
        // Some files that are on no disk can be, and so can some devices: the driver would be refused the others.
        FileType::RegularFile
        | FileType::Directory
        | FileType::BlockDevice
        | FileType::CharacterDevice => takes(fd),
        _ => Ok(true),
    }
}

#[cfg(target_os = "linux")]
fn takes(fd: BorrowedFd<'_>) -> io::Result<bool> {
    use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create};

    let epoll = create(CreateFlags::CLOEXEC)?;
    match add(&epoll, fd, EventData::new_u64(0), EventFlags::IN) {
        Err(rustix::io::Errno::PERM) => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

#[cfg(not(target_os = "linux"))]
fn takes(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(kind(fd)? == FileType::CharacterDevice)
}

/// Not of references: from an implementation for those that asks the same of `T`, the compiler would go round in circles wherever
/// it does not know yet whose reference can be read. Who shares it calls [`read_with`](Watched::read_with).
impl<T> Read for Watched<T>
where
    for<'a> &'a T: Read,
{
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_with(|mut inner| inner.read(buf))
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_with(|mut inner| inner.read_vectored(bufs))
    }
}

/// A write may write a part. Who shares it calls [`write_with`](Watched::write_with).
impl<T> Write for Watched<T>
where
    for<'a> &'a T: Write,
{
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_with(|mut inner| inner.write(buf))
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_with(|mut inner| inner.write_vectored(bufs))
    }

    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        self.write_with(|mut inner| inner.flush())
    }
}

impl<T> Sealed for Watched<T> {}

impl<T> PollRead for Watched<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Read, pending, context, |mut inner| {
            inner.read(buf)
        })
    }

    fn poll_read_vectored(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Read, pending, context, |mut inner| {
            inner.read_vectored(bufs)
        })
    }
}

impl<T> PollWrite for Watched<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Write, pending, context, |mut inner| {
            inner.write(buf)
        })
    }

    fn poll_write_vectored(
        &self,
        pending: &mut Pending,
        context: &Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Write, pending, context, |mut inner| {
            inner.write_vectored(bufs)
        })
    }

    fn end(&self) -> io::Result<()> {
        Ok(())
    }
}

impl<T: AsFd> AsFd for Watched<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: AsRawFd> AsRawFd for Watched<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl<T: fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.inner).finish()
    }
}
