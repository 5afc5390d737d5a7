//! Switches by the kernel: OS threads and processes that send each other one byte in turn.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::hint::black_box;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

const CALLS: u32 = 100_000;
const ROUND_TRIPS: u32 = 3_000;

/// The arguments of the partner process.
#[derive(Debug, clap::Args)]
pub(crate) struct EchoOptions {
    /// Runs on the first core only
    #[arg(long)]
    one_core: bool,
}

/// Answers each byte of standard input on standard output.
pub(crate) fn echo(options: EchoOptions) -> Result<()> {
    if options.one_core {
        stay_on_one_core()?;
    }
    answer(std::io::stdin().lock(), std::io::stdout())
}

pub(super) fn system_call() -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        black_box(rustix::process::getppid());
    }
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

pub(super) fn park_unpark() -> f64 {
    let ping = thread::current();
    let turn = Arc::new(AtomicBool::new(false));
    let its_turn = turn.clone();
    let pong = thread::spawn(move || {
        for _ in 0..ROUND_TRIPS {
            while !its_turn.load(Ordering::Acquire) {
                thread::park();
            }
            its_turn.store(false, Ordering::Release);
            ping.unpark();
        }
    });
    let start = Instant::now();
    for _ in 0..ROUND_TRIPS {
        turn.store(true, Ordering::Release);
        pong.thread().unpark();
        while turn.load(Ordering::Acquire) {
            thread::park();
        }
    }
    let elapsed = start.elapsed();
    pong.join().expect("it does not panic");
    elapsed.as_nanos() as f64 / f64::from(ROUND_TRIPS)
}

/// Two OS threads of one process.
pub(super) fn threads(one_core: bool) -> Result<f64> {
    let (from_ping, to_pong) = std::io::pipe()?;
    let (from_pong, to_ping) = std::io::pipe()?;
    let pong = thread::spawn(move || {
        if one_core {
            stay_on_one_core()?;
        }
        answer(from_ping, to_ping)
    });
    // A thread of its own, so that this one stays free to run anywhere.
    let ping = thread::spawn(move || {
        if one_core {
            stay_on_one_core()?;
        }
        ask(to_pong, from_pong)
    });
    let result = ping.join().expect("it does not panic");
    pong.join().expect("it does not panic")?;
    result
}

/// This process and another one.
pub(super) fn processes(one_core: bool) -> Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("echo").args(one_core.then_some("--one-core"));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the partner")?;
    let pipes = child.stdin.take().zip(child.stdout.take());
    let (to, from) = pipes.context("both are piped")?;
    let ping = thread::spawn(move || {
        if one_core {
            stay_on_one_core()?;
        }
        ask(to, from)
    });
    let result = ping.join().expect("it does not panic");
    child.wait()?;
    result
}

fn ask(mut to: impl Write, mut from: impl Read) -> Result<f64> {
    let mut byte = [0];
    let mut round_trip = || -> std::io::Result<()> {
        to.write_all(&byte)?;
        to.flush()?;
        from.read_exact(&mut byte)
    };
    // The partner may just be starting.
    round_trip()?;
    let start = Instant::now();
    for _ in 0..ROUND_TRIPS {
        round_trip()?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(ROUND_TRIPS))
}

fn answer(mut from: impl Read, mut to: impl Write) -> Result<()> {
    let mut byte = [0];
    while from.read(&mut byte)? == 1 {
        to.write_all(&byte)?;
        to.flush()?;
    }
    Ok(())
}

fn stay_on_one_core() -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &cores).context("staying on one core")
}
