//! [`Child`]: a child that has been started.

use std::fmt;
use std::future;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::pin::pin;
use std::process::{self, ExitStatus, Output};
use std::task::Poll;

use roving_scheduler::channel::{Registration, Selectable, Ticket};
use roving_scheduler::wait::Why;
use roving_scheduler::{block_on, blocking, thread};

use super::ended::Ended;
use super::pipes::{ChildStderr, ChildStdin, ChildStdout};
use crate::readiness::Direction;
use crate::source::{Attempt, Patience, waits_alone};
use crate::yielding::Operations;

/// A child that has been started. Mirrors [`std::process::Child`].
///
/// To drop it neither ends the child nor waits for it: one that has ended and was not waited for stays in the system's
/// table until this process ends. So [`wait`](Self::wait).
///
/// As an arm of [`select!`](roving_scheduler::select!), `ready(child)` waits until it has ended, and `wait` does not
/// block then.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// use roving::process::{Command, Stdio};
///
/// # fn main() -> std::io::Result<()> {
/// let mut command = Command::new("sort");
/// let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// child.stdin.take().unwrap().write_all(b"b\na\n")?;
/// let mut sorted = String::new();
/// child.stdout.take().unwrap().read_to_string(&mut sorted)?;
/// assert_eq!(sorted, "a\nb\n");
/// assert!(child.wait()?.success());
/// # Ok(())
/// # }
/// ```
pub struct Child {
    /// Has no pipes.
    std: process::Child,
    ended: Ended,
    /// It has been waited for to its end.
    is_known: bool,
    /// Those that do not wait.
    operations: Operations,
    /// Where to write what the child reads, if that was [piped](process::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// Where to read what the child writes, if that was [piped](process::Stdio::piped).
    pub stdout: Option<ChildStdout>,
    /// Where to read what the child writes to its standard error, if that was [piped](process::Stdio::piped).
    pub stderr: Option<ChildStderr>,
}

impl Child {
    /// Ends the child (SIGKILL). Does nothing if it is known to have ended.
    ///
    /// # Errors
    ///
    /// Those of `kill`.
    pub fn kill(&mut self) -> io::Result<()> {
        self.std.kill()
    }

    /// Returns the number of the process.
    pub fn id(&self) -> u32 {
        self.std.id()
    }

    /// Waits until the child has ended, and returns its exit status. Later calls return the same status.
    ///
    /// The child's standard input is closed first, if it is still in [`stdin`](Self::stdin), so that neither waits for the
    /// other.
    ///
    /// # Errors
    ///
    /// Those of `waitpid`. The thread is cancelled, or a deadline comes; the child goes on then. If there are no
    /// descriptors left, an OS thread waits, and nothing else ends that.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::go;
    /// use roving::process::Command;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn()?;
    /// let waits = go!(move || child.wait());
    /// assert_eq!(waits.join().unwrap()?.code(), Some(3));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        if let Some(status) = self.try_wait()? {
            return Ok(status);
        }
        let child = self.std.id();
        let ended = self.ended.source(child);
        let status = match ended.and_then(|source| source.prepare().map(|()| source)) {
            Ok(source) => {
                let why = || EndOf(child);
                let patience = || Ok(Patience::Forever);
                source.operate_for(why, Direction::Read, patience, |_| attempt(&mut self.std))?
            }
            Err(_) => blocking::run(|| self.std.wait())?,
        };
        self.has_ended();
        Ok(status)
    }

    /// Waits until the child has ended: [`wait`](Self::wait) as a future, in any executor. If it is dropped before it is
    /// ready, the child has not been waited for.
    ///
    /// # Errors
    ///
    /// Those of `waitpid`, and of `pidfd_open` if there are no descriptors left.
    pub async fn wait_async(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        if let Some(status) = self.try_wait()? {
            return Ok(status);
        }
        let source = self.ended.source(self.std.id())?;
        let attempt = |_| attempt(&mut self.std);
        let status = source.operate_async(Direction::Read, attempt).await?;
        self.has_ended();
        Ok(status)
    }

    /// Returns how the child has ended, if it has. Does not close its standard input.
    ///
    /// # Errors
    ///
    /// Those of `waitpid`.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.std.try_wait()?;
        if status.is_none() {
            self.operations.take_turn();
        } else if !self.is_known {
            self.has_ended();
        }
        Ok(status)
    }

    /// Waits until the child has ended, and collects what it writes meanwhile to its standard output and its standard
    /// error, so far as these were [piped](process::Stdio::piped) and have not been taken. Both are read at once,
    /// so it does not matter how much it writes to which.
    ///
    /// The child's standard input is closed first.
    ///
    /// # Errors
    ///
    /// Those of a read, and of [`wait`](Self::wait). What has been read until then is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::process::{Command, Stdio};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo out; echo err >&2"]);
    /// let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    /// let output = child.wait_with_output()?;
    /// assert_eq!(output.stdout, b"out\n");
    /// assert_eq!(output.stderr, b"err\n");
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        if waits_alone()? {
            return process::Child::from(self).wait_with_output();
        }
        drop(self.stdin.take());
        let (stdout, stderr) = match (self.stdout.take(), self.stderr.take()) {
            (Some(stdout), Some(stderr)) => all_of_both(stdout, stderr)?,
            (mut stdout, mut stderr) => (all_of(stdout.as_mut())?, all_of(stderr.as_mut())?),
        };
        let status = self.wait()?;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }

    /// Waits until the child has ended, and collects what it writes: [`wait_with_output`](Self::wait_with_output) as a
    /// future, in any executor.
    ///
    /// # Errors
    ///
    /// Those of a read, and of [`wait_async`](Self::wait_async).
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::process::{Command, Stdio};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// let output = block_on(child.wait_with_output_async())?;
    /// assert_eq!(output.stdout, b"hello\n");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_with_output_async(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let stdout = async {
            match &stdout {
                Some(stdout) => stdout.read_to_end_async().await,
                None => Ok(Vec::new()),
            }
        };
        let stderr = async {
            match &stderr {
                Some(stderr) => stderr.read_to_end_async().await,
                None => Ok(Vec::new()),
            }
        };
        let (stdout, stderr) = both(stdout, stderr).await?;
        let status = self.wait_async().await?;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }

    fn new(mut std: process::Child, is_known: bool) -> Self {
        Self {
            stdin: std.stdin.take().map(ChildStdin::from),
            stdout: std.stdout.take().map(ChildStdout::from),
            stderr: std.stderr.take().map(ChildStderr::from),
            std,
            ended: Ended::default(),
            is_known,
            operations: Operations::new(),
        }
    }

    /// One that has just been started.
    pub(super) fn started(std: process::Child) -> Self {
        Self::new(std, false)
    }

    /// How it has ended is known from now on, and its number may be another's.
    fn has_ended(&mut self) {
        self.is_known = true;
        self.ended = Ended::default();
    }
}

/// What one waits for who waits for the child of this number. Debuggers read it.
#[repr(C)]
struct EndOf(u32);

impl Why for EndOf {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "end of child {}", self.0)
    }

    fn in_short(&self) -> &'static str {
        "end of a child"
    }
}

pub(super) fn attempt(child: &mut process::Child) -> io::Result<Attempt<ExitStatus>> {
    let status = child.try_wait()?;
    Ok(status.map_or(Attempt::WouldBlock, Attempt::Done))
}

/// What is read from a pipe until its end.
fn all_of(pipe: Option<&mut impl Read>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(pipe) = pipe {
        pipe.read_to_end(&mut all)?;
    }
    Ok(all)
}

/// Another green thread reads one of them, if there can be one: not while the runtime ends, as in a destructor.
fn all_of_both(mut stdout: ChildStdout, mut stderr: ChildStderr) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let by_two = thread::scope(|scope| {
        let of_stderr = || all_of(Some(&mut stderr));
        let reads = thread::Builder::new().spawn_scoped(scope, of_stderr).ok()?;
        let of_stdout = all_of(Some(&mut stdout));
        let of_stderr = reads.join().unwrap_or_else(|panic| resume_unwind(panic));
        Some(of_stdout.and_then(|stdout| Ok((stdout, of_stderr?))))
    });
    by_two.unwrap_or_else(|| block_on(both(stdout.read_to_end_async(), stderr.read_to_end_async())))
}

/// What two futures give that are polled together, or the first error.
async fn both<T>(
    one: impl Future<Output = io::Result<T>>,
    other: impl Future<Output = io::Result<T>>,
) -> io::Result<(T, T)> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut of_one, mut of_other) = (None, None);
    future::poll_fn(|context| {
        if of_one.is_none()
            && let Poll::Ready(value) = one.as_mut().poll(context)
        {
            of_one = Some(value?);
        }
        if of_other.is_none()
            && let Poll::Ready(value) = other.as_mut().poll(context)
        {
            of_other = Some(value?);
        }
        match (of_one.take(), of_other.take()) {
            (Some(one), Some(other)) => Poll::Ready(Ok((one, other))),
            (one, other) => {
                (of_one, of_other) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

impl Selectable for Child {
    fn is_ready(&self) -> io::Result<bool> {
        if self.is_known {
            return Ok(true);
        }
        self.ended.source(self.std.id())?.is_ready(Direction::Read)
    }

    fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>> {
        if self.is_known {
            return Ok(None);
        }
        let source = self.ended.source(self.std.id())?;
        source.watch(Direction::Read, ticket, || self.is_ready())
    }
}

impl From<process::Child> for Child {
    fn from(mut std: process::Child) -> Self {
        let is_known = matches!(std.try_wait(), Ok(Some(_)));
        Self::new(std, is_known)
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
