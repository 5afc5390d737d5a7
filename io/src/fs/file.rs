//! Open files.
//!
//! A file on a disk is always ready for whoever polls it, and a read of it may still take as long as the disk takes. So
//! there is nothing to wait for with the driver. A read first asks for what is in the page cache; only if that is not
//! there, the worker's place is handed over, and the read waits in the system. If the cache has the beginning, what
//! is missing is read after it: as from std, a read is short at the end of the file only.
//!
//! One operation at a time is at the cursor of an open file: the system sees to that, and the others wait in it. But a read of which a part is in
//! the cache is made of two. So whoever wants the cursor waits for its [turn](Cursor::take_turn), which it has until all of it is done: nobody reads
//! what is between, nor has to wait in the system for one that takes long.
//!
//! A FIFO, a socket, a terminal or another device is an [end](crate::end) of something, and waited for with the driver.
//!
//! All else is std's, with the place handed over.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::mem::{self, ManuallyDrop};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError, TryLockError};

use roving_scheduler::blocking::run as hand_over;
use roving_scheduler::sync::{Mutex, MutexGuard};
use roving_scheduler::{Process, shield};
use rustix::io::Errno;

use crate::by_reference::{read_by_reference, write_by_reference};
use crate::conversions::{conversions, from_raw_fd, into_stdio};
use crate::end::End;
use crate::fs::nature::{Instead, Kind, Nature, is_refusal};

/// An open file. Mirrors [`std::fs::File`].
///
/// A read of what is in the page cache is done in place. Everything else may take as long as the disk or the network
/// behind it takes: the green thread that does it waits in the system, and the others of its worker [go
/// on](mod@crate::fs). A FIFO, a terminal or a socket is waited for as a connection is, and that ends with a deadline
/// or a cancellation.
///
/// Reading, writing and seeking need only a shared reference: `&File` is `Read`, `Write` and `Seek` too. All who
/// share a file share its cursor; [`FileExt`] reads and writes without it.
///
/// The file is closed when the value is dropped, and errors of that are ignored: see
/// [`sync_all`](Self::sync_all).
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// use roving::fs::{self, File};
/// use roving::go;
///
/// # fn main() -> std::io::Result<()> {
/// let path = std::env::temp_dir().join(format!("roving-file-{}", std::process::id()));
/// let written = path.clone();
/// go!(move || File::create(written)?.write_all(b"once")).join().unwrap()?;
///
/// let mut text = String::new();
/// File::open(&path)?.read_to_string(&mut text)?;
/// assert_eq!(text, "once");
/// fs::remove_file(path)
/// # }
/// ```
pub struct File {
    end: End,
    nature: Nature,
    /// A clone has the same.
    cursor: Arc<Cursor>,
}

/// Where the system reads and writes next.
struct Cursor {
    process: Process,
    turn: Mutex<Turn>,
}

/// Whose turn it is at a cursor.
struct Turn;

impl Cursor {
    fn new() -> Self {
        Self {
            process: Process::current(),
            turn: Mutex::new(Turn),
        }
    }

    /// Waits until nobody else is at the cursor, whatever would interrupt that. In a forked child nobody waits, since who was there may be a thread of
    /// its parent's.
    fn take_turn(&self) -> Option<MutexGuard<'_, Turn>> {
        if !self.process.is_current() {
            return None;
        }
        Some(match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => {
                shield(|| self.turn.lock()).unwrap_or_else(PoisonError::into_inner)
            }
        })
    }
}

/// Where in a file something is read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    AtCursor,
    At(u64),
}

impl Place {
    /// At an offset from the beginning of the file.
    ///
    /// # Errors
    ///
    /// As for the system, no file has such a place.
    fn at(offset: u64) -> io::Result<Self> {
        match i64::try_from(offset) {
            Ok(_) => Ok(Self::At(offset)),
            Err(_) => Err(Errno::INVAL.into()),
        }
    }

    /// So many bytes further on. The cursor has been moved by whoever has read them.
    fn after(self, bytes: usize) -> Self {
        match self {
            Self::AtCursor => Self::AtCursor,
            Self::At(offset) => Self::At(offset.saturating_add(bytes as u64)),
        }
    }
}

impl File {
    /// Makes another handle to the same open file. The two share the cursor, and locks.
    ///
    /// # Errors
    ///
    /// Those of `dup`.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clone = self.with_std(|file| file.try_clone())?;
        Ok(Self {
            cursor: self.cursor.clone(),
            ..Self::from(clone)
        })
    }

    /// Lends the file as one of std.
    fn with_std<T>(&self, f: impl FnOnce(&std::fs::File) -> T) -> T {
        // SAFETY: the descriptor is open for as long as `self` is borrowed. What owns it meanwhile is only lent, and
        // never dropped, so the descriptor is not closed.
        let file = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(self.as_raw_fd()) });
        f(&file)
    }

    /// Does with the file of std what may wait in the system.
    pub(super) fn hand_over<T>(&self, f: impl FnOnce(&std::fs::File) -> T) -> T {
        hand_over(|| self.with_std(f))
    }

    fn lend(&self) -> BorrowedFd<'_> {
        self.end.fd()
    }

    fn from_fd(fd: OwnedFd) -> Self {
        Self {
            end: End::new(fd),
            nature: Nature::default(),
            cursor: Arc::new(Cursor::new()),
        }
    }

    fn into_fd(self) -> OwnedFd {
        self.end.into_fd()
    }

    fn kind(&self) -> io::Result<Kind> {
        self.nature.kind(self.as_fd())
    }

    /// The turn of who does something at a place of what is stored.
    fn turn_at(&self, place: Place) -> Option<MutexGuard<'_, Turn>> {
        match place {
            Place::AtCursor => self.cursor.take_turn(),
            Place::At(_) => None,
        }
    }

    /// Does with the file of std what may wait in the system at a place of what is stored.
    fn hand_over_at<T>(&self, place: Place, f: impl FnOnce(&std::fs::File) -> T) -> T {
        let _turn = self.turn_at(place);
        self.hand_over(f)
    }

    /// Reads once what is stored: by `glance` what is there without a wait, else by `read`. Tells which it was. The caller has its turn.
    fn read_once<B: ?Sized>(
        &self,
        buf: &mut B,
        glance: impl FnOnce(BorrowedFd<'_>, &mut B) -> Result<usize, Errno>,
        read: impl FnOnce(&std::fs::File, &mut B) -> io::Result<usize>,
    ) -> io::Result<Part> {
        let fd = self.as_fd();
        if self.nature.instead().is_none() {
            match glance(fd, buf) {
                Ok(read) => return Ok(Part::Glanced(read)),
                Err(Errno::AGAIN) => {}
                Err(error) if is_refusal(error) => self.nature.does_not_say(fd),
                Err(error) => return Err(error.into()),
            }
        }
        let read = |file: &_| read(file, buf);
        let result = match self.nature.instead() {
            Some(Instead::InPlace) => self.with_std(read),
            _ => self.hand_over(read),
        };
        result.map(Part::Whole)
    }

    /// Reads what is stored until `buf` is full, or as much as one read of the system gives.
    fn read_into(&self, buf: &mut [u8], place: Place) -> io::Result<usize> {
        self.end.source().operations().take_turn();
        let _turn = self.turn_at(place);
        self.read_parts(buf, place)
    }

    /// The same for who has its turn.
    fn read_parts(&self, buf: &mut [u8], place: Place) -> io::Result<usize> {
        let mut done = 0;
        loop {
            let place = place.after(done);
            let part = self.read_once(
                &mut buf[done..],
                |fd, buf| glance(fd, &mut [IoSliceMut::new(buf)], place),
                |mut file, buf| match place {
                    Place::AtCursor => file.read(buf),
                    Place::At(offset) => file.read_at(buf, offset),
                },
            );
            match part {
                Ok(Part::Whole(more)) => return Ok(done + more),
                Ok(Part::Glanced(more)) => {
                    done += more;
                    if more == 0 || done == buf.len() {
                        return Ok(done);
                    }
                }
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error),
            }
        }
    }

    /// How many bytes there seem to be from the cursor to the end.
    fn bytes_left(&self) -> usize {
        let end = self.with_std(|file| file.metadata().map(|known| known.len()));
        let (Ok(end), Ok(here)) = (end, (&*self).stream_position()) else {
            return 0;
        };
        usize::try_from(end.saturating_sub(here)).unwrap_or(usize::MAX)
    }
}

/// What a read has given.
enum Part {
    /// What the cache had of it. There may be more.
    Glanced(usize),
    /// All that one read gives.
    Whole(usize),
}

/// Reads what can be had without a wait.
#[cfg(target_os = "linux")]
fn glance(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>], place: Place) -> Result<usize, Errno> {
    let offset = match place {
        // So system calls are told.
        Place::AtCursor => u64::MAX,
        Place::At(offset) => offset,
    };
    let bufs = crate::buffers::taken_mut(bufs);
    rustix::io::preadv2(fd, bufs, offset, rustix::io::ReadWriteFlags::NOWAIT)
}

#[cfg(not(target_os = "linux"))]
fn glance(_: BorrowedFd<'_>, _: &mut [IoSliceMut<'_>], _: Place) -> Result<usize, Errno> {
    Err(Errno::OPNOTSUPP)
}

impl Read for &File {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.kind()? {
            Kind::Stored => self.read_into(buf, Place::AtCursor),
            Kind::Stream => self.end.read(&mut [IoSliceMut::new(buf)]),
        }
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.kind()? == Kind::Stream {
            return self.end.read(bufs);
        }
        self.end.source().operations().take_turn();
        let _turn = self.cursor.take_turn();
        let part = self.read_once(
            bufs,
            |fd, bufs| glance(fd, bufs, Place::AtCursor),
            |mut file, bufs| file.read_vectored(bufs),
        )?;
        let mut done = match part {
            Part::Whole(read) | Part::Glanced(read @ 0) => return Ok(read),
            Part::Glanced(read) => read,
        };
        let mut ahead = done;
        for buf in bufs {
            let filled = ahead.min(buf.len());
            ahead -= filled;
            let rest = &mut buf[filled..];
            if !rest.is_empty() {
                let room = rest.len();
                let read = self.read_parts(rest, Place::AtCursor).unwrap_or(0);
                done += read;
                if read < room {
                    break;
                }
            }
        }
        Ok(done)
    }

    #[track_caller]
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        /// A file may be larger than what can be read of it.
        const MOST_AT_ONCE: usize = 1 << 20;

        let start = buf.len();
        let mut expected = self.bytes_left();
        buf.try_reserve(expected)?;
        while expected > 0 {
            let before = buf.len();
            let most = expected.min(MOST_AT_ONCE);
            buf.resize(before + most, 0);
            let result = self.read(&mut buf[before..]);
            let read = *result.as_ref().unwrap_or(&0);
            buf.truncate(before + read);
            match result {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(read) if read < most => break,
                Ok(read) => expected -= read,
                Err(_) => {}
            }
        }
        // It may have grown, and of many nobody knows how much there is.
        self.take(u64::MAX).read_to_end(buf)?;
        Ok(buf.len() - start)
    }

    #[track_caller]
    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        // What the caller has stays with it, should this unwind.
        let mut bytes = Vec::new();
        if buf.is_empty() {
            bytes = mem::take(buf).into_bytes();
        }
        let result = self.read_to_end(&mut bytes);
        match String::from_utf8(bytes) {
            Ok(text) if buf.is_empty() => {
                *buf = text;
                result
            }
            Ok(text) => {
                buf.push_str(&text);
                result
            }
            Err(_) => result.and(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "stream did not contain valid UTF-8",
            ))),
        }
    }
}

impl Write for &File {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.kind()? {
            Kind::Stored => self.hand_over_at(Place::AtCursor, |mut file| file.write(buf)),
            Kind::Stream => self.end.write(&[IoSlice::new(buf)]),
        }
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.kind()? {
            Kind::Stored => {
                self.hand_over_at(Place::AtCursor, |mut file| file.write_vectored(bufs))
            }
            Kind::Stream => self.end.write(bufs),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        let _turn = self.cursor.take_turn();
        self.with_std(|mut file| file.seek(pos))
    }
}

read_by_reference!(File);
write_by_reference!(File);

impl FileExt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let place = Place::at(offset)?;
        match self.kind()? {
            Kind::Stored => self.read_into(buf, place),
            // Of few there is more than one place.
            Kind::Stream => self.hand_over(|file| file.read_at(buf, offset)),
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.hand_over_at(Place::at(offset)?, |file| file.write_at(buf, offset))
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_std(|file| file.fmt(f))
    }
}

conversions!(File, std::fs::File);
from_raw_fd!(File);
into_stdio!(File);
