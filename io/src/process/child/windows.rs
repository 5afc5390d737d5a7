//! [`Child`] on Windows: std's, with the worker's place handed over for what waits.

use std::fmt;
use std::io;
use std::process::{self, ExitStatus, Output};

use roving_scheduler::blocking::run as hand_over;

use super::pipes::{ChildStderr, ChildStdin, ChildStdout};

/// A child that has been started. Mirrors [`std::process::Child`].
///
/// When it is dropped, nothing happens to the child. Whoever waits does so in the system, and neither a deadline nor a cancellation
/// ends that.
pub struct Child {
    std: process::Child,
    /// What the child reads, if it was [asked for](super::Command::stdin).
    pub stdin: Option<ChildStdin>,
    /// What the child writes, if it was [asked for](super::Command::stdout).
    pub stdout: Option<ChildStdout>,
    /// What the child writes as errors, if it was [asked for](super::Command::stderr).
    pub stderr: Option<ChildStderr>,
}

impl Child {
    /// Ends the child, if it has not ended.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn kill(&mut self) -> io::Result<()> {
        self.std.kill()
    }

    /// The number of the child.
    pub fn id(&self) -> u32 {
        self.std.id()
    }

    /// Waits for the end of the child. Its standard input is closed first.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        hand_over(|| self.std.wait())
    }

    /// How the child has ended, or nothing if it has not.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.std.try_wait()
    }

    /// Waits for the end of the child, and collects what it writes. Its standard input is closed first.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), and of reads.
    pub fn wait_with_output(self) -> io::Result<Output> {
        let std = process::Child::from(self);
        hand_over(|| std.wait_with_output())
    }

    pub(super) fn started(std: process::Child) -> Self {
        Self::from(std)
    }
}

impl From<process::Child> for Child {
    fn from(mut std: process::Child) -> Self {
        Self {
            stdin: std.stdin.take().map(ChildStdin::from),
            stdout: std.stdout.take().map(ChildStdout::from),
            stderr: std.stderr.take().map(ChildStderr::from),
            std,
        }
    }
}

impl From<Child> for process::Child {
    fn from(mut child: Child) -> Self {
        child.std.stdin = child.stdin.take().map(Into::into);
        child.std.stdout = child.stdout.take().map(Into::into);
        child.std.stderr = child.stderr.take().map(Into::into);
        child.std
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .finish_non_exhaustive()
    }
}
