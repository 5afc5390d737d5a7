//! Runs a program once, from the making of its runtime to the last look at what is left.

use std::fs;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread as os_thread;
use std::time::{Duration, Instant};

use roving::{Builder, CancelToken, Cancelled, stacks, thread};

use crate::interpret::Start;
use crate::oracle::{Oracle, is_expected, message};
use crate::program::{End, Program};
use crate::value::{Item, Payload};
use crate::world::World;

/// What the OS threads of runtimes are called.
pub(crate) const WORKERS: &str = "fuzzed";

/// How long a program that does not end by itself may run before it is cancelled.
const GRACE: Duration = Duration::from_millis(8);

/// How long what ends a moment later than a shutdown is waited for.
const SETTLE: Duration = Duration::from_secs(10);

/// Address space for a green thread: the frames of an interpreter that was not optimised are large.
pub(crate) const STACK: usize = 2 << 20;

/// A root that was started.
enum Started {
    Green(thread::JoinHandle<Result<Item, Cancelled>>),
    Os(os_thread::JoinHandle<thread::Result<Result<Item, Cancelled>>>),
}

impl Started {
    fn is_finished(&self) -> bool {
        match self {
            Self::Green(handle) => handle.is_finished(),
            Self::Os(handle) => handle.is_finished(),
        }
    }
}

/// Keeps quiet about panics that programs mean, and tells of all others where they were.
pub(crate) fn install_hook() {
    panic::set_hook(Box::new(|info| {
        let message = message(info.payload());
        let is_meant =
            info.payload().is::<Payload>() || message.as_deref().is_some_and(is_expected);
        if !is_meant {
            let message = message.unwrap_or_default();
            let place = info.location().map(ToString::to_string);
            eprintln!("panicked at {}: {message}", place.unwrap_or_default());
        }
    }));
}

/// Runs a program. Gives what is not as it must be. If the program hangs, this does.
pub(crate) fn execute(program: &Arc<Program>, oracle: &Arc<Oracle>) -> Vec<String> {
    let mut builder = Builder::new()
        .workers(program.workers)
        .stack_size(STACK)
        .thread_name(WORKERS)
        .migrate_always(program.migrate);
    if program.pinned {
        builder = builder.pinned_thread_locals();
    }
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![format!("no runtime: {error}")],
    };
    let world = Arc::new(World::new(program.clone(), oracle.clone(), &runtime));
    let all = CancelToken::new();
    let ends = world.ends();
    let kept = ends.receivers.iter().zip(&program.channels);
    let kept: Vec<_> = kept
        .map(|(receiver, channel)| receiver.clone().filter(|_| channel.kept))
        .collect();
    let roots: Vec<_> = program
        .roots
        .iter()
        .map(|root| {
            let start = Start::root(&world, root.green, ends.clone(), &root.body);
            let (status, all) = (start.status(), all.clone());
            let live = move || all.run(move || start.live());
            let started = if root.green {
                Started::Green(runtime.spawn(live))
            } else {
                let live = panic::AssertUnwindSafe(live);
                Started::Os(os_thread::spawn(|| panic::catch_unwind(live)))
            };
            (started, status)
        })
        .collect();
    drop(ends);

    match program.end {
        End::Join if program.bounded => {
            wait_until(None, || {
                roots.iter().all(|(root, _)| root.is_finished()) && runtime.green_threads() == 0
            });
        }
        End::Join => {
            wait_until(Some(GRACE), || {
                roots.iter().all(|(root, _)| root.is_finished())
            });
        }
        End::Cancel(micros) => {
            os_thread::sleep(Duration::from_micros(micros));
            all.cancel();
            let is_over = || roots.iter().all(|(root, _)| root.is_finished());
            wait_until(Some(GRACE), is_over);
        }
        End::ShutDown(micros) => os_thread::sleep(Duration::from_micros(micros)),
    }
    oracle.closing.store(true, Ordering::SeqCst);
    // A runtime does not end OS threads.
    if program.roots.iter().any(|root| !root.green) {
        all.cancel();
    }
    runtime.shutdown();

    for (root, status) in roots {
        let result = match root {
            Started::Green(handle) => handle.join(),
            Started::Os(handle) => handle.join().and_then(|result| result),
        };
        match result {
            Ok(Ok(item)) => oracle.joined(&status, Ok(item)),
            Ok(Err(_)) => oracle.check(all.is_cancelled(), "a root was cancelled by nobody"),
            Err(payload) => oracle.joined(&status, Err(payload)),
        }
    }
    for receiver in kept.into_iter().flatten() {
        for message in receiver.try_iter() {
            message.received();
        }
    }
    world.is_free();
    oracle.check(
        Arc::strong_count(&world) == 1,
        "something keeps what the threads shared",
    );
    drop(world);
    wait_until(Some(SETTLE), || stacks().in_use == 0 && workers_left() == 0);
    oracle.check(
        stacks().in_use == 0,
        format_args!("{} stacks are in use", stacks().in_use),
    );
    oracle.check(
        workers_left() == 0,
        format_args!("{} workers are alive", workers_left()),
    );
    oracle.end()
}

/// Waits until something is true, or for ever, or until the limit.
fn wait_until(limit: Option<Duration>, is_true: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_true() && limit.is_none_or(|limit| start.elapsed() < limit) {
        os_thread::sleep(Duration::from_micros(100));
    }
}

/// How many worker OS threads there are, as far as the system tells.
fn workers_left() -> usize {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return 0;
    };
    let names = tasks.flatten().map(|task| task.path().join("comm"));
    names
        .filter(|name| fs::read_to_string(name).is_ok_and(|name| name.starts_with(WORKERS)))
        .count()
}
