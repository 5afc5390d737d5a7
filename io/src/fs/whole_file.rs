//! What is done with a file as a whole, by std's, with the worker's place handed over where that may wait.

use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use super::{File, FileTimes, Metadata, OpenOptions, Permissions, TryLockError};

impl File {
    /// Opens a file for reading.
    ///
    /// Opening a FIFO waits for a writer, and the wait cannot be interrupted.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing. It is created if it does not exist, else made empty.
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

    /// Creates a file, and opens it for reading and writing.
    ///
    /// The check that it does not exist and its creation are one atomic step.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`]; `AlreadyExists` if there is anything at that path.
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
    }

    /// The same as [`OpenOptions::new`].
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Waits until the file and what is known about it are on the disk.
    ///
    /// Errors in writing that are detected when the file is closed are lost. Call this first to see them.
    ///
    /// # Errors
    ///
    /// Those of `fsync`.
    pub fn sync_all(&self) -> io::Result<()> {
        self.hand_over(|file| file.sync_all())
    }

    /// Waits until the data of the file are on the disk, and what is needed to find them.
    ///
    /// # Errors
    ///
    /// Those of `fdatasync`.
    pub fn sync_data(&self) -> io::Result<()> {
        self.hand_over(|file| file.sync_data())
    }

    /// Acquires an exclusive lock on the file. Waits until that is possible.
    ///
    /// The lock is between processes, and is that of the open file: a [clone](Self::try_clone) has it too, and a
    /// second lock by the same file replaces the first. It is let go by [`unlock`](Self::unlock) or when the last clone is
    /// closed. It keeps out who asks for a lock, and nobody else.
    ///
    /// **The wait is in the system.** Neither a cancellation nor a deadline nor a shutdown ends it, and it takes one of the
    /// [spares](roving_scheduler::Builder::max_spares). If more wait like that than there are, whoever has the lock may get no
    /// worker to let it go: among many threads of one process, use a [`Mutex`](roving_scheduler::sync::Mutex)
    /// around the lock, or [`try_lock`](Self::try_lock) now and then. With [pinned](roving_scheduler::ThreadLocals::Pinned)
    /// thread-locals, green threads that have begun on the same worker wait too, and if one of them has the lock, for ever.
    ///
    /// # Errors
    ///
    /// Those of `flock`.
    pub fn lock(&self) -> io::Result<()> {
        self.hand_over(|file| file.lock())
    }

    /// Acquires a shared lock on the file, which excludes exclusive locks. Waits until that can
    /// be done, as [`lock`](Self::lock) does.
    ///
    /// # Errors
    ///
    /// Those of `flock`.
    pub fn lock_shared(&self) -> io::Result<()> {
        self.hand_over(|file| file.lock_shared())
    }

    /// [Locks](Self::lock) the file if no other handle holds a lock on it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another handle holds one; otherwise those of `flock`.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        self.hand_over(|file| file.try_lock())
    }

    /// [Locks](Self::lock_shared) the file shared if no other handle holds an exclusive lock.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another handle holds one; otherwise those of `flock`.
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.hand_over(|file| file.try_lock_shared())
    }

    /// Lets go of the lock of the file, if there is one.
    ///
    /// # Errors
    ///
    /// Those of `flock`.
    pub fn unlock(&self) -> io::Result<()> {
        self.hand_over(|file| file.unlock())
    }

    /// Cuts the file to `size` bytes, or extends it with zeros to that. The cursor stays where it is.
    ///
    /// # Errors
    ///
    /// Those of `ftruncate`; `InvalidInput` if there are no files of that size.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        self.hand_over(|file| file.set_len(size))
    }

    /// Returns what is known about the file.
    ///
    /// # Errors
    ///
    /// Those of `fstat`.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.hand_over(|file| file.metadata())
    }

    /// Changes the permissions of the file.
    ///
    /// # Errors
    ///
    /// Those of `fchmod`.
    pub fn set_permissions(&self, perm: Permissions) -> io::Result<()> {
        self.hand_over(|file| file.set_permissions(perm))
    }

    /// Changes the times of the file.
    ///
    /// # Errors
    ///
    /// Those of `futimens`.
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        self.hand_over(|file| file.set_times(times))
    }

    /// Changes the time at which the file was last written to.
    ///
    /// # Errors
    ///
    /// Those of `futimens`.
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time))
    }
}

impl Seek for File {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        (&*self).seek(pos)
    }
}
