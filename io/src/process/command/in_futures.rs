//! Commands in futures.

use std::io;
use std::process::{ExitStatus, Output};

use super::{Command, Streams};

impl Command {
    /// Starts the child and waits for it: [`output`](Self::output) as a future, in any executor.
    ///
    /// To start the child takes as long as it takes, and is done by the first poll.
    ///
    /// # Errors
    ///
    /// As [`output`](Self::output). `Unsupported` if the command comes from std.
    pub async fn output_async(&mut self) -> io::Result<Output> {
        if let Streams::Unknown = self.streams {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "cannot collect the output of a command that comes from std, as it does not tell where its streams go: spawn it",
            ));
        }
        self.spawn_collected()?.wait_with_output_async().await
    }

    /// Starts the child and waits for it: [`status`](Self::status) as a future, in any executor.
    ///
    /// To start the child takes as long as it takes, and is done by the first poll.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::process::Command;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(block_on(Command::new("true").status_async())?.success());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn status_async(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait_async().await
    }
}
