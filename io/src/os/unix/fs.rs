//! Files. Mirrors [`std::os::unix::fs`].
//!
//! The traits are std's own, and the types of [`fs`](crate::fs) implement them. What is done by path or descriptor waits
//! in the system, with the worker's place handed over.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use roving_scheduler::blocking::run as hand_over;

pub use std::os::unix::fs::{
    DirBuilderExt, DirEntryExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt,
};

/// Creates a symbolic link at `link`, which leads to `original`.
///
/// # Errors
///
/// Those of `symlink`.
pub fn symlink<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    hand_over(|| std::os::unix::fs::symlink(original, link))
}

/// Changes the owner of a file or a directory. Symbolic links are followed.
///
/// # Errors
///
/// Those of `chown`.
pub fn chown<P: AsRef<Path>>(dir: P, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    hand_over(|| std::os::unix::fs::chown(dir, uid, gid))
}

/// Changes the owner of an open file.
///
/// # Errors
///
/// Those of `fchown`.
pub fn fchown<F: AsFd>(fd: F, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    hand_over(|| std::os::unix::fs::fchown(fd, uid, gid))
}

/// Changes the owner of the entry at a path. A symbolic link is not followed.
///
/// # Errors
///
/// Those of `lchown`.
pub fn lchown<P: AsRef<Path>>(dir: P, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    hand_over(|| std::os::unix::fs::lchown(dir, uid, gid))
}

/// Changes what the whole process sees as the root directory.
///
/// # Errors
///
/// Those of `chroot`.
pub fn chroot<P: AsRef<Path>>(dir: P) -> io::Result<()> {
    hand_over(|| std::os::unix::fs::chroot(dir))
}
