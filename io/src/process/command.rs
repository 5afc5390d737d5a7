//! [`Command`]: a child to be.

#[cfg(unix)]
mod in_futures;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{self, CommandArgs, CommandEnvs, ExitStatus, Output, Stdio};

use roving_scheduler::blocking;

use super::child::Child;
use super::turns::in_turn;

/// A program to be started as a child, with what it is started with. Mirrors [`std::process::Command`].
///
/// What is of Unix alone (its user, its group, what is called in it before its program) is in
/// [`CommandExt`](crate::os::unix::process::CommandExt).
///
/// # Examples
///
/// ```
/// use roving::process::Command;
///
/// # fn main() -> std::io::Result<()> {
/// let output = Command::new("echo").arg("hello").output()?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok(())
/// # }
/// ```
pub struct Command {
    pub(crate) std: process::Command,
    streams: Streams,
}

/// Which of the standard streams have been set, so that others can be what they are for
/// [`output`](Command::output), which is not to be asked of std's command.
#[derive(Debug, Clone, Copy)]
enum Streams {
    Known {
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// The command comes from std.
    Unknown,
}

impl Command {
    /// Makes a command of a program, without arguments, with this process's environment, working directory and
    /// standard streams. If the name has no slash, it is looked for in `PATH`.
    pub fn new<S: AsRef<OsStr>>(program: S) -> Self {
        Self {
            std: process::Command::new(program),
            streams: Streams::Known {
                stdin: false,
                stdout: false,
                stderr: false,
            },
        }
    }

    /// Adds an argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Self {
        self.std.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.std.args(args);
        self
    }

    /// Sets a variable of the environment.
    pub fn env<K, V>(&mut self, key: K, val: V) -> &mut Self
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.std.env(key, val);
        self
    }

    /// Sets variables of the environment.
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.std.envs(vars);
        self
    }

    /// Takes a variable out of the environment, which the child does not inherit then.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Self {
        self.std.env_remove(key);
        self
    }

    /// Empties the environment: the child inherits no variable.
    pub fn env_clear(&mut self) -> &mut Self {
        self.std.env_clear();
        self
    }

    /// Sets the working directory. Whether a relative path of the program is relative to it is up to the system.
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Self {
        self.std.current_dir(dir);
        self
    }

    /// Sets the standard input. It is [inherited](Stdio::inherit) if it is not set, but by
    /// [`output`](Self::output) nothing.
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Self {
        self.std.stdin(cfg);
        if let Streams::Known { stdin, .. } = &mut self.streams {
            *stdin = true;
        }
        self
    }

    /// Sets the standard output. It is [inherited](Stdio::inherit) if it is not set, but by
    /// [`output`](Self::output) collected.
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Self {
        self.std.stdout(cfg);
        if let Streams::Known { stdout, .. } = &mut self.streams {
            *stdout = true;
        }
        self
    }

    /// Sets the standard error. It is [inherited](Stdio::inherit) if it is not set, but by
    /// [`output`](Self::output) collected.
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Self {
        self.std.stderr(cfg);
        if let Streams::Known { stderr, .. } = &mut self.streams {
            *stderr = true;
        }
        self
    }

    /// Starts the child.
    ///
    /// It returns when the child executes its program, or could not. Nothing ends it before, neither a deadline nor a
    /// cancellation.
    ///
    /// # Errors
    ///
    /// Those of `pipe`, `fork`, `posix_spawn` and `execvp`, and of whatever the child does before that. `InvalidInput`
    /// if a string has a zero in it.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::process::Command;
    ///
    /// let error = Command::new("/no/such/program").spawn().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// ```
    pub fn spawn(&mut self) -> io::Result<Child> {
        let spawned = in_turn(|| blocking::run_deep(|| self.std.spawn()));
        Ok(Child::started(spawned??))
    }

    /// Starts the child, waits for it, and collects what it writes to its standard output and its standard error,
    /// unless these have been set to something else. Its standard input is empty if it has not been set.
    ///
    /// Of a command that comes from std it is not known what has been set; for that, an OS thread waits. The other way round, std's command takes what
    /// was not set here for set to be inherited, if it is made of this one after `output`: its own `output` does not collect that.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and [`Child::wait_with_output`].
    #[track_caller]
    pub fn output(&mut self) -> io::Result<Output> {
        match self.streams {
            Streams::Known { .. } => self.spawn_collected()?.wait_with_output(),
            Streams::Unknown => blocking::run(|| self.std.output()),
        }
    }

    /// Starts the child and waits for it.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and [`Child::wait`].
    #[track_caller]
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Starts a child whose output is collected, unless it has been set to something else. What has not been set is so
    /// for the next child too.
    fn spawn_collected(&mut self) -> io::Result<Child> {
        let Streams::Known {
            stdin,
            stdout,
            stderr,
        } = self.streams
        else {
            return self.spawn();
        };
        let set_others =
            |std: &mut process::Command, input: fn() -> Stdio, output: fn() -> Stdio| {
                if !stdin {
                    std.stdin(input());
                }
                if !stdout {
                    std.stdout(output());
                }
                if !stderr {
                    std.stderr(output());
                }
            };
        set_others(&mut self.std, Stdio::null, Stdio::piped);
        let child = self.spawn();
        set_others(&mut self.std, Stdio::inherit, Stdio::inherit);
        child
    }

    /// Returns the program.
    pub fn get_program(&self) -> &OsStr {
        self.std.get_program()
    }

    /// Returns the arguments, without the program.
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.std.get_args()
    }

    /// Returns the variables that are set, with their values, and those that are taken out, with `None`.
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.std.get_envs()
    }

    /// Returns the working directory, if it has been set.
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.std.get_current_dir()
    }
}

impl From<process::Command> for Command {
    fn from(std: process::Command) -> Self {
        Self {
            std,
            streams: Streams::Unknown,
        }
    }
}

/// What was not set is inherited by all children of std's command if [`output`](Command::output) has started one before.
impl From<Command> for process::Command {
    fn from(command: Command) -> Self {
        command.std
    }
}

/// As a shell would have it, for people to read; with `{:#?}` all that there is to tell.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std.fmt(f)
    }
}
