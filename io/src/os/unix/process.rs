//! What processes have on Unix only. Mirrors `std::os::unix::process`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as StdCommandExt;

use roving_scheduler::blocking;

use crate::process::Command;

pub use std::os::unix::process::{ExitStatusExt, parent_id};

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::process::Command {}
}

/// What a [`Command`] has on Unix. Mirrors [`std::os::unix::process::CommandExt`].
///
/// # Examples
///
/// ```
/// use roving::os::unix::process::CommandExt;
/// use roving::process::Command;
///
/// # fn main() -> std::io::Result<()> {
/// // Ctrl-C at the terminal does not reach this one.
/// let mut child = Command::new("true").process_group(0).spawn()?;
/// assert!(child.wait()?.success());
/// # Ok(())
/// # }
/// ```
pub trait CommandExt: sealed::Sealed {
    /// Sets the child's user. It leaves the supplementary groups of this process if it may.
    fn uid(&mut self, id: u32) -> &mut Command;

    /// Sets the child's group.
    fn gid(&mut self, id: u32) -> &mut Command;

    /// Has `f` called in the child before it executes its program, after what was given before. If `f` gives an
    /// error, so does the spawn.
    ///
    /// # Safety
    ///
    /// `f` is called in a forked child, that has a copy of this thread alone. It must not do what needs others: allocate,
    /// lock, use Roving; what is async-signal-safe may be done. It runs on what is left of the caller's stack, or
    /// 128 KiB. See [std's](std::os::unix::process::CommandExt::pre_exec).
    unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static;

    /// Executes the program in this process instead of a child. It returns only if that fails; then this process may
    /// have been changed: its working directory, its standard streams, its user.
    ///
    /// No destructor runs, of no thread, green or not.
    #[must_use]
    fn exec(&mut self) -> io::Error;

    /// Sets the first argument, which is the program's name if it is not set.
    fn arg0<S>(&mut self, arg: S) -> &mut Command
    where
        S: AsRef<OsStr>;

    /// Sets the child's process group; 0 is one of its own.
    fn process_group(&mut self, pgroup: i32) -> &mut Command;
}

impl CommandExt for Command {
    fn uid(&mut self, id: u32) -> &mut Command {
        self.std.uid(id);
        self
    }

    fn gid(&mut self, id: u32) -> &mut Command {
        self.std.gid(id);
        self
    }

    unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller's promise.
        unsafe { self.std.pre_exec(f) };
        self
    }

    fn exec(&mut self) -> io::Error {
        blocking::run_deep(|| self.std.exec()).unwrap_or_else(|error| error)
    }

    fn arg0<S>(&mut self, arg: S) -> &mut Command
    where
        S: AsRef<OsStr>,
    {
        self.std.arg0(arg);
        self
    }

    fn process_group(&mut self, pgroup: i32) -> &mut Command {
        self.std.process_group(pgroup);
        self
    }
}
