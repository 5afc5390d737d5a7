//! [`splice`]: bytes from one descriptor to another, without a way through this process.
//!
//! The system moves bytes between a pipe and anything else. Where neither side is one, they go through a pipe of our own, that
//! is empty between two steps. Each step waits until the side that is no pipe, or the one that is somebody else's, is ready:
//!
//! - The flag by which a step does not block is about the pipe only. A socket is asked by `poll` before, and is not given more than
//!   it has room for then. The mode of its description, which other processes may share, is not changed.
//! - A step from or to a file is handed over.
//!
//! What the system refuses is read and written; so is what came as an end of a pipe and is something else, such as a terminal: that
//! takes a step to the end, however little room it has.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use roving_scheduler::blocking;

use crate::fs::File;
use crate::io::{PipeReader, PipeWriter, Raw};
use crate::net::TcpStream;
use crate::net::stream::Stream;
use crate::os::unix::net::UnixStream;
use crate::readiness::Direction;
use crate::source::{Patience, Source};

/// Moves all bytes from one descriptor to another until the end, and returns their number.
///
/// On Linux they do not go through this process: that takes fewer system calls than [`copy`](io::copy), and no copying. Elsewhere,
/// and between descriptors for which the system does not do that, it is the same as `copy`. It reads and writes as the types
/// themselves do: only the green thread waits, timeouts and modes count, deadlines and cancellations end it.
///
/// Nobody else should read `from` or write `to` meanwhile: a worker might wait for what another thread has taken away. Pages
/// of a file are moved as they are, so what is written to it before they have arrived may arrive too.
///
/// # Errors
///
/// Those of reading and writing. Some bytes may have been read and not written then.
///
/// # Examples
///
/// ```
/// use roving::go;
/// use roving::io::{self, Read, Write};
/// use roving::net::{Shutdown, TcpListener, TcpStream};
///
/// # fn main() -> io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// // Sends all back.
/// go!(move || -> io::Result<u64> {
///     let (stream, _) = listener.accept()?;
///     io::splice(&stream, &stream)
/// });
/// let mut stream = TcpStream::connect(address)?;
/// stream.write_all(b"hello")?;
/// stream.shutdown(Shutdown::Write)?;
/// assert_eq!(io::read_to_string(stream)?, "hello");
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn splice<R, W>(from: &R, to: &W) -> io::Result<u64>
where
    R: SpliceFrom + ?Sized,
    W: SpliceTo + ?Sized,
{
    splice_up_to(from, to, u64::MAX)
}

/// Moves bytes from one descriptor to another until the end or until there have been `limit`, and returns their number: see
/// [`splice`].
///
/// # Errors
///
/// As for `splice`.
#[track_caller]
pub fn splice_up_to<R, W>(from: &R, to: &W, limit: u64) -> io::Result<u64>
where
    R: SpliceFrom + ?Sized,
    W: SpliceTo + ?Sized,
{
    let moved = system::splice(from, to, limit)?;
    if moved.all {
        return Ok(moved.bytes);
    }
    let mut rest = Reads(from).take(limit - moved.bytes);
    let copied = io::copy(&mut rest, &mut Writes(to))?;
    Ok(moved.bytes + copied)
}

/// What [`splice`] can take bytes from: [`TcpStream`], [`UnixStream`], [`PipeReader`], [`File`] and std's. Others cannot implement it.
pub trait SpliceFrom: From {}

impl<T: From + ?Sized> SpliceFrom for T {}

/// What [`splice`] can move bytes to: [`TcpStream`], [`UnixStream`], [`PipeWriter`], [`File`] and std's. Others cannot implement it.
pub trait SpliceTo: To {}

impl<T: To + ?Sized> SpliceTo for T {}

/// One side.
pub trait Side {
    fn fd(&self) -> BorrowedFd<'_>;

    /// By what it is waited for; a file is not.
    fn source(&self) -> Option<&Source>;

    fn patience(&self, direction: Direction) -> io::Result<Patience>;
}

pub trait From: Side {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;
}

pub trait To: Side {
    fn write(&self, buf: &[u8]) -> io::Result<usize>;
}

struct Reads<'a, T: ?Sized>(&'a T);

impl<T: From + ?Sized> Read for Reads<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

struct Writes<'a, T: ?Sized>(&'a T);

impl<T: To + ?Sized> Write for Writes<'_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a stream a side, by the one who knows its source and its patience; and what is read or written of it.
macro_rules! side {
    ($Stream:ident by $Knows:ident, $Waits:ident: $($Way:ident $call:ident $buf:ty),*) => {
        impl Side for $Stream {
            fn fd(&self) -> BorrowedFd<'_> {
                self.as_fd()
            }

            fn source(&self) -> Option<&Source> {
                Some($Knows::source(self))
            }

            fn patience(&self, direction: Direction) -> io::Result<Patience> {
                $Waits::patience(self, direction)
            }
        }

        $(impl $Way for $Stream {
            #[track_caller]
            fn $call(&self, buf: $buf) -> io::Result<usize> {
                (&mut &*self).$call(buf)
            }
        })*
    };
}

side!(TcpStream by Raw, Stream: From read &mut [u8], To write &[u8]);
side!(UnixStream by Raw, Stream: From read &mut [u8], To write &[u8]);
side!(PipeReader by PipeReader, PipeReader: From read &mut [u8]);
side!(PipeWriter by PipeWriter, PipeWriter: To write &[u8]);

/// Makes a file a side. Each call on it is handed over.
macro_rules! file {
    ($File:ty) => {
        impl Side for $File {
            fn fd(&self) -> BorrowedFd<'_> {
                self.as_fd()
            }

            fn source(&self) -> Option<&Source> {
                None
            }

            fn patience(&self, _: Direction) -> io::Result<Patience> {
                Ok(Patience::Forever)
            }
        }

        impl From for $File {
            fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
                blocking::run(|| (&mut &*self).read(buf))
            }
        }

        impl To for $File {
            fn write(&self, buf: &[u8]) -> io::Result<usize> {
                blocking::run(|| (&mut &*self).write(buf))
            }
        }
    };
}

file!(File);
file!(std::fs::File);

/// How far the system has gone along.
#[derive(Default)]
struct Moved {
    bytes: u64,
    /// Whether that is all. Else it does not do this, or not any more.
    all: bool,
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::*;

    pub(super) fn splice(
        _: &(impl From + ?Sized),
        _: &(impl To + ?Sized),
        _: u64,
    ) -> io::Result<Moved> {
        Ok(Moved::default())
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::OwnedFd;

    use rustix::fs::FileType;
    use rustix::io::{Errno, read};
    use rustix::net::sockopt::socket_send_buffer_size;
    use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with};

    use super::*;
    use crate::event::is_ready;
    use crate::looking::{is_unix, look, operate_looking};
    use crate::nowait::kind;
    use crate::source::Attempt;

    /// As much as a pipe keeps, unless somebody has changed that.
    const STEP: usize = 1 << 16;

    #[track_caller]
    pub(super) fn splice(
        from: &(impl From + ?Sized),
        to: &(impl To + ?Sized),
        limit: u64,
    ) -> io::Result<Moved> {
        // A side that is not waited for must not be waited for with the other.
        let kind = |side: Option<&Source>| side.map(|source| kind(source.fd())).transpose();
        let (from_kind, to_kind) = (kind(from.source())?, kind(to.source())?);
        let is_refused =
            |kind| !matches!(kind, None | Some(FileType::Fifo) | Some(FileType::Socket));
        if is_refused(from_kind) || is_refused(to_kind) {
            return Ok(Moved::default());
        }
        if from_kind == Some(FileType::Fifo) {
            return repeat(limit, |most| {
                let moves = || move_once(from.fd(), to.fd(), room(to, most));
                beside_a_pipe((from, Direction::Read), (to, Direction::Write), moves)
            });
        }
        if to_kind == Some(FileType::Fifo) {
            return repeat(limit, |most| {
                let moves = || move_once(from.fd(), to.fd(), most);
                beside_a_pipe((to, Direction::Write), (from, Direction::Read), moves)
            });
        }
        let mut moved = 0;
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        while moved < limit {
            let filled = match fill(from, &writer, step(limit - moved))? {
                Some(0) => break,
                Some(filled) => filled,
                None => {
                    return Ok(Moved {
                        bytes: moved,
                        all: false,
                    });
                }
            };
            let mut left = filled;
            while left > 0 {
                match drain(&reader, to, left)? {
                    Some(drained) => left -= drained,
                    None => {
                        write_rest(&reader, to, left)?;
                        return Ok(Moved {
                            bytes: moved + filled as u64,
                            all: false,
                        });
                    }
                }
            }
            moved += filled as u64;
        }
        Ok(Moved {
            bytes: moved,
            all: true,
        })
    }

    /// Takes steps, each of which moves so many bytes at most, until nothing more comes or the limit is reached.
    #[track_caller]
    fn repeat(
        limit: u64,
        mut take: impl FnMut(usize) -> io::Result<Option<usize>>,
    ) -> io::Result<Moved> {
        let mut moved = 0;
        while moved < limit {
            match take(step(limit - moved))? {
                Some(0) => break,
                Some(more) => moved += more as u64,
                None => {
                    return Ok(Moved {
                        bytes: moved,
                        all: false,
                    });
                }
            }
        }
        Ok(Moved {
            bytes: moved,
            all: true,
        })
    }

    fn step(limit: u64) -> usize {
        usize::try_from(limit).unwrap_or(usize::MAX).min(STEP)
    }

    /// Moves bytes once, or tells that the system does not do that.
    fn move_once(
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        most: usize,
    ) -> Result<Option<usize>, Errno> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match rustix::pipe::splice(from, None, to, None, most, flags) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => Ok(None),
            result => result.map(Some),
        }
    }

    /// What came of a step. A file that would block is a pipe that came as one: it is not waited for, and left to reads and writes.
    fn or_refused(
        side: &(impl Side + ?Sized),
        result: Result<Option<usize>, Errno>,
    ) -> io::Result<Attempt<Option<usize>>> {
        match result {
            Err(Errno::AGAIN) if side.source().is_none() => Ok(Attempt::Done(None)),
            result => Attempt::of(result),
        }
    }

    /// From what is no pipe to a pipe of our own, which is empty.
    #[track_caller]
    fn fill(from: &(impl From + ?Sized), pipe: &OwnedFd, most: usize) -> io::Result<Option<usize>> {
        when_ready(from, Direction::Read, || {
            or_refused(from, move_once(from.fd(), pipe.as_fd(), most))
        })
    }

    /// From a pipe of our own, which has `most` bytes, to what is no pipe.
    #[track_caller]
    fn drain(pipe: &OwnedFd, to: &(impl To + ?Sized), most: usize) -> io::Result<Option<usize>> {
        when_ready(to, Direction::Write, || {
            or_refused(to, move_once(pipe.as_fd(), to.fd(), room(to, most)))
        })
    }

    /// With somebody else's pipe on one side: does what `moves` does, as soon as both sides are ready.
    #[track_caller]
    fn beside_a_pipe(
        (pipe, at_pipe): (&(impl Side + ?Sized), Direction),
        (other, at_other): (&(impl Side + ?Sized), Direction),
        mut moves: impl FnMut() -> Result<Option<usize>, Errno>,
    ) -> io::Result<Option<usize>> {
        loop {
            when_ready(pipe, at_pipe, || Ok(Attempt::Done(())))?;
            let mut overtaken = false;
            let moved = when_ready(other, at_other, || {
                let result = moves();
                overtaken = result == Err(Errno::AGAIN) && !is_ready(pipe.fd(), at_pipe.events())?;
                match overtaken {
                    // Somebody else was faster at the pipe.
                    true => Ok(Attempt::Done(None)),
                    false => or_refused(other, result),
                }
            })?;
            if !overtaken {
                return Ok(moved);
            }
        }
    }

    /// Does what `attempt` does, as soon as the side is ready. A file always is, and `attempt` is handed over.
    #[track_caller]
    fn when_ready<T>(
        side: &(impl Side + ?Sized),
        direction: Direction,
        mut attempt: impl FnMut() -> io::Result<Attempt<T>>,
    ) -> io::Result<T> {
        let Some(source) = side.source() else {
            return match blocking::run(attempt)?.done(direction, None) {
                Some(done) => Ok(done),
                None => Err(crate::error::would_block()),
            };
        };
        let patience = || side.patience(direction);
        let fd = side.fd();
        let writes = direction == Direction::Write;
        let must_look = || writes && is_unix(fd);
        let attempt = |_| {
            if is_ready(fd, direction.events())? {
                return attempt();
            }
            if writes {
                look(fd)?;
            }
            Ok(Attempt::WouldBlock)
        };
        let why = source.why(direction);
        operate_looking(source, why, direction, must_look, patience, attempt)
    }

    /// What a side that is ready has room for, at most `most`. A socket that is ready has a third of its buffer free; a pipe has
    /// what it has, and a file has room.
    fn room(to: &(impl To + ?Sized), most: usize) -> usize {
        match socket_send_buffer_size(to.fd()) {
            Ok(size) => most.min((size / 3).max(1)),
            Err(_) => most,
        }
    }

    /// Writes what the pipe still has.
    fn write_rest(pipe: &OwnedFd, to: &(impl To + ?Sized), bytes: usize) -> io::Result<()> {
        let mut rest = vec![0; bytes];
        let mut len = 0;
        while len < bytes {
            len += read(pipe, &mut rest[len..])?;
        }
        Writes(to).write_all(&rest)
    }
}
