//! How a file is opened.

use std::fmt;
use std::io;
use std::path::Path;

use roving_scheduler::blocking::run as hand_over;

use crate::fs::File;

/// How a file is opened. Mirrors [`std::fs::OpenOptions`].
///
/// # Examples
///
/// ```
/// use std::io::Write;
///
/// use roving::fs::{self, OpenOptions};
///
/// # fn main() -> std::io::Result<()> {
/// let path = std::env::temp_dir().join(format!("roving-log-{}", std::process::id()));
/// for line in ["one\n", "two\n"] {
///     let mut log = OpenOptions::new().append(true).create(true).open(&path)?;
///     log.write_all(line.as_bytes())?;
/// }
/// assert_eq!(fs::read_to_string(&path)?, "one\ntwo\n");
/// fs::remove_file(path)
/// # }
/// ```
#[derive(Clone)]
pub struct OpenOptions(pub(super) std::fs::OpenOptions);

impl OpenOptions {
    /// No options yet: all are `false`.
    #[expect(clippy::new_without_default, reason = "std's has none")]
    #[must_use]
    pub fn new() -> Self {
        Self(std::fs::OpenOptions::new())
    }

    /// Sets whether it may be read.
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.0.read(read);
        self
    }

    /// Sets whether it may be written to. What there is stays and is written over, unless it is
    /// [truncated](Self::truncate).
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.0.write(write);
        self
    }

    /// Sets whether each write goes to the end of the file, whoever else writes.
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.0.append(append);
        self
    }

    /// Sets whether it is made empty. That needs [`write`](Self::write).
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.0.truncate(truncate);
        self
    }

    /// Sets whether it is created if it does not exist. That needs [`write`](Self::write) or
    /// [`append`](Self::append).
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.0.create(create);
        self
    }

    /// Sets whether it is created, and must not exist: one step for the system. [`create`](Self::create) and
    /// [`truncate`](Self::truncate) then do not count.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.0.create_new(create_new);
        self
    }

    /// Opens the file at `path`.
    ///
    /// A FIFO is open once its other end has been opened. That wait is in the system, and neither a deadline nor a
    /// cancellation ends it. With [pinned](roving_scheduler::ThreadLocals::Pinned) thread-locals, green threads that have
    /// begun on the same worker wait too, and if one of them is to open the other end, for ever.
    ///
    /// # Errors
    ///
    /// Those of `open`: `NotFound`, `PermissionDenied`, `AlreadyExists` and others; `InvalidInput` for options that
    /// do not go together.
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let path = path.as_ref();
        hand_over(|| self.0.open(path)).map(File::from)
    }
}

impl From<std::fs::OpenOptions> for OpenOptions {
    fn from(options: std::fs::OpenOptions) -> Self {
        Self(options)
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
