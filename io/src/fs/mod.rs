//! Files that block green threads and not their workers. Mirrors [`std::fs`].
//!
//! The types and functions have the names, signatures and errors of their counterparts in std; a program moves over by
//! changing its `use` lines. What does not block is std's own: [`Metadata`], [`Permissions`], [`FileType`],
//! [`FileTimes`], [`TryLockError`]. The traits of [`std::os::unix::fs`] are implemented for the types here.
//!
//! # What waits, and how
//!
//! A disk cannot be polled. So a call that may have to ask it waits in the system, on the OS thread of the worker, whose
//! place is handed over meanwhile: the other green threads go on at once, but with
//! [pinned](roving_scheduler::ThreadLocals::Pinned) thread-locals those that have begun on that worker wait. That is what
//! [`blocking`](fn@roving_scheduler::blocking::run) does, and it has its limits: it takes an OS thread for each call that
//! is under way, of which there are [as many as spares](roving_scheduler::Builder::max_spares) at the most; and nothing ends such
//! a call, neither a cancellation nor a deadline nor a shutdown, which waits for it.
//!
//! - A **read** of what is in the page cache is done in place. Only what is not there is read as above. tmpfs is
//!   always in memory. Where the system does not say whether a read would wait (network file systems, `/proc`), each is
//!   taken to.
//! - A **FIFO, a terminal, a socket or another device** that is opened by its path is waited for with the IO driver, as a
//!   connection is, and cancellations and deadlines end that. Its opening waits in the system.
//! - **All else**, from `open` to `rename`, waits in the system; on Windows reads and devices do too.
//! - **Locks** of files wait in the system: see [`File::lock`].
//!
//! A read is short at the end of a file only, as in std. One file may be used by many threads at once, green and not.
//! They share its cursor, at which one of them is at a time, until all that it reads or writes is done; the trait
//! [`FileExt`](std::os::unix::fs::FileExt) reads and writes at places of its own.
//!
//! There is no `async` side: no system call reads a file without the chance that it blocks whoever polls. In a future,
//! [`greenly`](roving_scheduler::greenly) runs what is here, and blocks its executor's thread, as std would, where that is not
//! one of this runtime's workers.
//!
//! # Examples
//!
//! ```
//! use roving::{fs, thread};
//!
//! # fn main() -> std::io::Result<()> {
//! let folder = std::env::temp_dir().join(format!("roving-fs-{}", std::process::id()));
//! fs::create_dir_all(&folder)?;
//! thread::scope(|scope| {
//!     for n in 0..100 {
//!         let path = folder.join(n.to_string());
//!         scope.spawn(move || fs::write(path, format!("file {n}")));
//!     }
//! });
//! let mut bytes = 0;
//! for entry in fs::read_dir(&folder)? {
//!     bytes += entry?.metadata()?.len();
//! }
//! assert_eq!(bytes, 10 * 6 + 90 * 7);
//! fs::remove_dir_all(folder)
//! # }
//! ```

mod dir;
#[cfg_attr(windows, path = "file/windows.rs")]
mod file;
#[cfg(unix)]
mod nature;
#[cfg(unix)]
mod on_unix;
mod open_options;
mod whole_file;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use roving_scheduler::blocking;
use roving_scheduler::blocking::run as hand_over;

pub use std::fs::{FileTimes, FileType, Metadata, Permissions, TryLockError};

pub use self::dir::{DirBuilder, DirEntry, ReadDir};
pub use self::file::File;
pub use self::open_options::OpenOptions;

/// Reads a whole file.
///
/// # Errors
///
/// As [`OpenOptions::open`] and a read; `OutOfMemory` if there is none for it.
#[track_caller]
pub fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a whole file that is text.
///
/// # Errors
///
/// As [`read`]; `InvalidData` if it is not UTF-8.
#[track_caller]
pub fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a whole file: creates it, or replaces its contents.
///
/// # Errors
///
/// As [`OpenOptions::open`] and a write.
#[track_caller]
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    File::create(path)?.write_all(contents.as_ref())
}

/// Returns what is in a directory.
///
/// # Errors
///
/// Those of `opendir`. Those of reading it come from the iterator.
pub fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    ReadDir::open(path.as_ref())
}

/// Removes a directory and all that is in it. Symbolic links are removed and not followed.
///
/// # Errors
///
/// Those of `rmdir`, `unlink` and of opening directories, at the first of which it stops. That something has been removed meanwhile
/// by somebody else is none, unless it is `path` itself.
pub fn remove_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    let path = path.as_ref();
    // Each directory in another takes some of the stack.
    blocking::run_as_deep_as_std(|| std::fs::remove_dir_all(path))?
}

/// Removes a file: its name, and the file itself once it is open under no name any more.
///
/// # Errors
///
/// Those of `unlink`.
pub fn remove_file<P: AsRef<Path>>(path: P) -> io::Result<()> {
    hand_over(|| std::fs::remove_file(path))
}

/// Returns what is known about the file, or whatever is at that path. Symbolic links are followed.
///
/// # Errors
///
/// Those of `stat`.
pub fn metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    hand_over(|| std::fs::metadata(path))
}

/// Returns what is known about whatever is at that path. A symbolic link is not followed.
///
/// # Errors
///
/// Those of `lstat`.
pub fn symlink_metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    hand_over(|| std::fs::symlink_metadata(path))
}

/// Renames a file, within a file system. A file of that name is replaced atomically.
///
/// # Errors
///
/// Those of `rename`.
pub fn rename<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<()> {
    hand_over(|| std::fs::rename(from, to))
}

/// Copies a file, with its permissions, over another one. Gives the number of bytes.
///
/// # Errors
///
/// Those of opening, reading and writing; `InvalidInput` if `from` is none that has an end.
pub fn copy<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<u64> {
    hand_over(|| std::fs::copy(from, to))
}

/// Creates a hard link: another name for a file, in the same file system.
///
/// # Errors
///
/// Those of `link`.
pub fn hard_link<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    hand_over(|| std::fs::hard_link(original, link))
}

/// Creates a symbolic link.
///
/// # Errors
///
/// Those of `symlink`.
#[deprecated(note = "use `roving::os::unix::fs::symlink`, as std says of its own")]
pub fn soft_link<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    #[expect(deprecated, reason = "it is what is mirrored")]
    let make = || std::fs::soft_link(original, link);
    hand_over(make)
}

/// Returns where a symbolic link leads to.
///
/// # Errors
///
/// Those of `readlink`.
pub fn read_link<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    hand_over(|| std::fs::read_link(path))
}

/// Returns the absolute path, without symbolic links, `.` and `..`.
///
/// # Errors
///
/// Those of `realpath`: there must be something at each of its parts.
pub fn canonicalize<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    hand_over(|| std::fs::canonicalize(path))
}

/// Creates a directory.
///
/// # Errors
///
/// Those of `mkdir`.
pub fn create_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    hand_over(|| std::fs::create_dir(path))
}

/// Creates a directory, and those above it that are missing. That there is such a directory is no error.
///
/// # Errors
///
/// Those of `mkdir`. What has been made until then stays.
pub fn create_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    hand_over(|| std::fs::create_dir_all(path))
}

/// Removes an empty directory.
///
/// # Errors
///
/// Those of `rmdir`.
pub fn remove_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    hand_over(|| std::fs::remove_dir(path))
}

/// Returns whether there is anything at that path. Symbolic links are followed.
///
/// # Errors
///
/// Those of `stat`, except `NotFound`.
pub fn exists<P: AsRef<Path>>(path: P) -> io::Result<bool> {
    hand_over(|| std::fs::exists(path))
}

/// Changes the permissions of a file or a directory. Symbolic links are followed.
///
/// # Errors
///
/// Those of `chmod`.
pub fn set_permissions<P: AsRef<Path>>(path: P, perm: Permissions) -> io::Result<()> {
    hand_over(|| std::fs::set_permissions(path, perm))
}
