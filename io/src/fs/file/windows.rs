//! Open files on Windows: std's, with the worker's place handed over for each call.

use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::windows::fs::FileExt;
use std::os::windows::io::{FromRawHandle, RawHandle};
use std::path::Path;
use std::time::SystemTime;

use roving_scheduler::blocking::run as hand_over;

use crate::by_reference::{read_by_reference, write_by_reference};
use crate::conversions::handle_conversions;
use crate::fs::{FileTimes, Metadata, OpenOptions, Permissions, TryLockError};

/// An open file. Mirrors [`std::fs::File`].
///
/// Each call may take as long as the disk or the network behind it takes: the green thread that does it waits in the system, and
/// the others of its worker that have not begun [go on](mod@crate::fs).
///
/// Reading, writing and seeking need only a shared reference: `&File` is `Read`, `Write` and `Seek` too. All who share a file
/// share its cursor; [`FileExt`] reads and writes at places of its own, and moves the cursor there.
///
/// The file is closed when the value is dropped, and errors of that are ignored: see [`sync_all`](Self::sync_all).
pub struct File(std::fs::File);

impl File {
    /// Opens a file to read it.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file to write it. It is made if it is not there, and emptied if it is.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
    }

    /// Makes a file, to read and write it.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`]; `AlreadyExists` if there is something already.
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
    }

    /// How a file is to be opened.
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Waits until the disk has all that was written, and what is known of the file.
    ///
    /// # Errors
    ///
    /// Those of the system, also of earlier writes.
    pub fn sync_all(&self) -> io::Result<()> {
        hand_over(|| self.0.sync_all())
    }

    /// Waits until the disk has all that was written.
    ///
    /// # Errors
    ///
    /// As [`sync_all`](Self::sync_all).
    pub fn sync_data(&self) -> io::Result<()> {
        hand_over(|| self.0.sync_data())
    }

    /// Waits for the lock of the file, and takes it alone.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn lock(&self) -> io::Result<()> {
        hand_over(|| self.0.lock())
    }

    /// Waits for the lock of the file, and shares it with others who do so.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn lock_shared(&self) -> io::Result<()> {
        hand_over(|| self.0.lock_shared())
    }

    /// Takes the lock of the file alone, if nobody has it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody has it; those of the system.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        hand_over(|| self.0.try_lock())
    }

    /// Shares the lock of the file, if nobody has it alone.
    ///
    /// # Errors
    ///
    /// As [`try_lock`](Self::try_lock).
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        hand_over(|| self.0.try_lock_shared())
    }

    /// Gives the lock of the file back.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn unlock(&self) -> io::Result<()> {
        hand_over(|| self.0.unlock())
    }

    /// Makes the file this long: cuts it off, or appends zeroes.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        hand_over(|| self.0.set_len(size))
    }

    /// What is known of the file.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn metadata(&self) -> io::Result<Metadata> {
        hand_over(|| self.0.metadata())
    }

    /// Makes another handle to the same open file, which has the same cursor and the same lock.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Changes who may do what with the file.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_permissions(&self, perm: Permissions) -> io::Result<()> {
        hand_over(|| self.0.set_permissions(perm))
    }

    /// Changes the times of the file.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        hand_over(|| self.0.set_times(times))
    }

    /// Changes the time at which the file was written last.
    ///
    /// # Errors
    ///
    /// As [`set_times`](Self::set_times).
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time))
    }
}

impl Read for &File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        hand_over(|| (&self.0).read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        hand_over(|| (&self.0).read_vectored(bufs))
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        hand_over(|| (&self.0).read_to_end(buf))
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        hand_over(|| (&self.0).read_to_string(buf))
    }
}

impl Write for &File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        hand_over(|| (&self.0).write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        hand_over(|| (&self.0).write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        hand_over(|| (&self.0).seek(pos))
    }
}

read_by_reference!(File);
write_by_reference!(File);

impl Seek for File {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        (&*self).seek(pos)
    }
}

impl FileExt for File {
    fn seek_read(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        hand_over(|| self.0.seek_read(buf, offset))
    }

    fn seek_write(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        hand_over(|| self.0.seek_write(buf, offset))
    }
}

impl FromRawHandle for File {
    unsafe fn from_raw_handle(handle: RawHandle) -> Self {
        // SAFETY: the caller owns the handle and gives it away, as this function's contract asks.
        Self(unsafe { std::fs::File::from_raw_handle(handle) })
    }
}

handle_conversions!(File, std::fs::File);
