//! Directories: what is in them, and how they are made.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use roving_scheduler::blocking::run as hand_over;

use crate::fs::{FileType, Metadata};

/// How many entries are read at once: a worker's place is handed over for that, which is too dear for one.
const AT_ONCE: usize = 128;

/// What is in a directory, without `.` and `..`. Mirrors [`std::fs::ReadDir`].
///
/// [`read_dir`](crate::fs::read_dir) gives one. Entries are read ahead, some at a time.
pub struct ReadDir {
    dir: std::fs::ReadDir,
    has_ended: bool,
    ahead: VecDeque<io::Result<std::fs::DirEntry>>,
}

impl ReadDir {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        hand_over(|| {
            let mut opened = Self {
                dir: std::fs::read_dir(path)?,
                has_ended: false,
                ahead: VecDeque::new(),
            };
            opened.read_ahead();
            Ok(opened)
        })
    }

    fn read_ahead(&mut self) {
        self.ahead.extend(self.dir.by_ref().take(AT_ONCE));
        self.has_ended = self.ahead.len() < AT_ONCE;
    }
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if self.ahead.is_empty() && !self.has_ended {
            hand_over(|| self.read_ahead());
        }
        Some(self.ahead.pop_front()?.map(DirEntry))
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dir.fmt(f)
    }
}

/// What a [`ReadDir`] gives: one entry of a directory. Mirrors [`std::fs::DirEntry`].
pub struct DirEntry(pub(super) std::fs::DirEntry);

impl DirEntry {
    /// Returns the path of the entry: that of the directory, as it was given to [`read_dir`](crate::fs::read_dir), and the
    /// entry's name.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// Returns what is known about the entry. A symbolic link is not followed.
    ///
    /// # Errors
    ///
    /// Those of `fstatat`.
    pub fn metadata(&self) -> io::Result<Metadata> {
        hand_over(|| self.0.metadata())
    }

    /// Of what kind the entry is. A symbolic link is not followed. Most file systems have told that with the name, so it
    /// takes no system call.
    ///
    /// # Errors
    ///
    /// Those of `fstatat`.
    pub fn file_type(&self) -> io::Result<FileType> {
        self.0.file_type()
    }

    /// Returns the name of the entry, without that of the directory.
    #[must_use]
    pub fn file_name(&self) -> OsString {
        self.0.file_name()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a directory is made. Mirrors [`std::fs::DirBuilder`].
///
/// # Examples
///
/// ```
/// use roving::fs::{self, DirBuilder};
///
/// # fn main() -> std::io::Result<()> {
/// let path = std::env::temp_dir().join(format!("roving-dir-{}", std::process::id()));
/// DirBuilder::new().recursive(true).create(path.join("a/b"))?;
/// assert!(fs::metadata(path.join("a"))?.is_dir());
/// fs::remove_dir_all(path)
/// # }
/// ```
pub struct DirBuilder(pub(super) std::fs::DirBuilder);

impl DirBuilder {
    /// One that makes one directory, which everybody may use as far as the process's mask allows.
    #[expect(clippy::new_without_default, reason = "std's has none")]
    #[must_use]
    pub fn new() -> Self {
        Self(std::fs::DirBuilder::new())
    }

    /// Sets whether those above it are made too, and it is no error if it exists.
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.0.recursive(recursive);
        self
    }

    /// Makes the directory.
    ///
    /// # Errors
    ///
    /// Those of `mkdir`.
    pub fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let path = path.as_ref();
        hand_over(|| self.0.create(path))
    }
}

impl fmt::Debug for DirBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
