//! Child processes: this program again with a hidden subcommand, or that of a peer.
//!
//! None outlives the benchmark. A child is killed when its [`Child`] is dropped; it asks the kernel
//! to be killed when its parent dies ([`bind_to_parent`]); and it ends when its standard input
//! does. Children are in a process group of their own, so that a Ctrl-C at the terminal reaches the
//! benchmark alone, which then ends them in order.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// A running child process.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
}

/// What a child said, or that it will say no more.
#[derive(Debug)]
pub(crate) enum Said<R> {
    Report(R),
    Gone,
}

impl Child {
    /// Starts `command`; what it says goes to `messages`, as `message` puts it.
    ///
    /// Call it from the main thread only: a child dies with the thread that started it.
    pub(crate) fn start<R, M>(
        mut command: Command,
        messages: Sender<M>,
        message: impl Fn(Said<R>) -> M + Send + 'static,
    ) -> Result<Child>
    where
        R: DeserializeOwned,
        M: Send + 'static,
    {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start a child process")?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().expect("standard output is piped");
        let child = Child { process, stdin };
        std::thread::Builder::new()
            .name("reports".into())
            .spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let Ok(report) = serde_json::from_str(&line) else {
                        break;
                    };
                    if messages.send(message(Said::Report(report))).is_err() {
                        return;
                    }
                }
                let _ = messages.send(message(Said::Gone));
            })
            .context("cannot start a thread to read what a child process reports")?;
        Ok(child)
    }

    /// The process identifier.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Tells the child a command. A child that is gone shows by [`Said::Gone`].
    pub(crate) fn tell(&mut self, command: &impl Serialize) {
        let mut line = serde_json::to_vec(command).expect("commands are plain data");
        line.push(b'\n');
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(&line);
        }
    }

    /// Lets the child end by itself, and kills it if it has not by `deadline`.
    pub(crate) fn end(mut self, deadline: Instant) -> Option<ExitStatus> {
        self.stdin = None;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// How the child ended, if it has.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// This program with `arguments`.
pub(crate) fn own(arguments: &[String]) -> Result<Command> {
    let program = std::env::current_exe().context("cannot find the own program file")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("ROVING_BENCH_PARENT", std::process::id().to_string());
    Ok(command)
}

/// Some of the CPUs that this process may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpus(CpuSet);

impl Cpus {
    /// All of them.
    pub(crate) fn all() -> Cpus {
        Cpus(sched_getaffinity(Pid::from_raw(0)).unwrap_or_default())
    }

    /// The first half and the second, which are the same where there is but one.
    pub(crate) fn halves() -> [Cpus; 2] {
        let Cpus(all) = Cpus::all();
        let cpus: Vec<usize> = (0..CpuSet::count())
            .filter(|&cpu| all.is_set(cpu).unwrap_or(false))
            .collect();
        let (first, second) = cpus.split_at(cpus.len() / 2);
        [if first.is_empty() { second } else { first }, second].map(|half| {
            let mut set = CpuSet::new();
            for &cpu in half {
                // It was a member of the set of all.
                let _ = set.set(cpu);
            }
            Cpus(set)
        })
    }

    /// Lets `command` run on these only.
    pub(crate) fn bind(&self, command: &mut Command) {
        let Cpus(set) = *self;
        let bind = move || Ok(sched_setaffinity(Pid::from_raw(0), &set)?);
        // SAFETY: between fork and exec there is but one system call, and no allocation.
        unsafe { command.pre_exec(bind) };
    }
}

/// Called by a child as it starts: it is killed when its parent dies, and ends now if the parent is
/// dead already.
pub(crate) fn bind_to_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let expected = std::env::var("ROVING_BENCH_PARENT")
        .context("this subcommand is for the program's own use")?;
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    anyhow::ensure!(expected == parent.to_string(), "the parent process is gone");
    Ok(())
}
