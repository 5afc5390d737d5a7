//! How a runtime is configured: by a [`Builder`], and by the [environment] where the builder is
//! silent.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::asleep::{self, AllAsleep};
use super::deadlock::Deadlocks;
use super::dump::{self, signal};
use super::{Runtime, console, cpus, debugger, environment, stuck};
use crate::protocol::passage::Passage;
use crate::protocol::timer;
use crate::run::context;
use crate::run::first_destructor;
use crate::run::os_thread;
use crate::run::overflow;
use crate::run::overlong::Patience;
use crate::run::panicking;
use crate::run::queue::{self, Local};
use crate::run::reclaim;
use crate::run::shared::{Plan, Shared};
use crate::run::spares;
use crate::run::stack_use;
use crate::run::ticks;
use crate::run::worker::Worker;
use crate::stack::compact;
use crate::stack::mode::{Mode, ThreadLocals};
use crate::stack::{self, Class, Guards, room, tls};

const MAX_WORKERS: usize = 1024;
const MAX_SPARES: usize = 1 << 16;
/// How long a green thread may keep its worker where nothing else is set.
const STUCK_AFTER: Duration = Duration::from_millis(10);
/// How long it may before it is told, where nothing else is set. In builds that are slow, for development, that is
/// on; a test computes or waits for as long only if something is wrong.
const WARN_STUCK: Option<Duration> = if cfg!(debug_assertions) {
    Some(Duration::from_secs(1))
} else {
    None
};
const SHORTEST_STUCK: Duration = Duration::from_millis(1);
/// The most events of a worker that are kept: 64 MiB.
const MAX_RECORD: usize = 1 << 20;
const LONGEST_STUCK: Duration = Duration::from_secs(3600);

/// Configures a [`Runtime`].
///
/// Settings that are not set come from the environment, or otherwise from the machine. A variable that cannot be parsed is reported on standard
/// error, once, and ignored.
///
/// | Setting | Variable | Default |
/// |---------|----------|---------|
/// | [`workers`](Self::workers) | `ROVING_WORKERS` | the CPUs that this process may use |
/// | [`stack_size`](Self::stack_size) | `ROVING_STACK_SIZE` | 256 KiB of address space; 1 MiB in debug builds |
/// | [`compact_stacks`](Self::compact_stacks) | `ROVING_COMPACT_STACKS` = 1 | off |
/// | [`thread_name`](Self::thread_name) |  | `roving` |
/// | [`own_thread_locals`](Self::own_thread_locals), [`pinned_thread_locals`](Self::pinned_thread_locals) | `ROVING_THREAD_LOCALS` = `own` or `pinned` | own where the platform supports it, otherwise pinned |
/// | [`stuck_after`](Self::stuck_after) | `ROVING_STUCK_AFTER` = `20ms`, `1s` or `0` | 10 ms |
/// | [`max_spares`](Self::max_spares) | `ROVING_MAX_SPARES` | 512 |
/// | [`warn_stuck`](Self::warn_stuck) | `ROVING_WARN_STUCK` = `100ms`, `1s`, `0` or `off` | 1 s in debug builds, otherwise off |
/// | [`dump_on_signal`](Self::dump_on_signal) | `ROVING_DUMP` = `quit` or a file | off |
/// | [`record`](Self::record) | `ROVING_RECORD` | off |
/// | `console`, with the feature `console` | `ROVING_CONSOLE` = a path | off |
/// | [`all_asleep`](Self::all_asleep) | `ROVING_ALL_ASLEEP` = `off`, `report` or `abort` | report |
/// | [`deadlocks`](Self::deadlocks) | `ROVING_DEADLOCKS` = `off`, `report`, `panic` or `abort` | report |
/// | [`migrate_always`](Self::migrate_always) | `ROVING_MIGRATE_ALWAYS` = 1 | off |
///
/// Three more variables apply to the whole process:
///
/// - `ROVING_STACK_GUARDS` is the first method of [guards](crate::Guards) to try: `madvise`,
///   `poison`, `write-protect`, `memfd` or `mprotect`. Those before it are not tried; if the system refuses
///   it, those after it are. It is read once, when the first runtime or [coroutine](crate::coroutine) is made.
///   [`stacks`](crate::stacks) reports which one is in use.
/// - `ROVING_STACK_REPORT=1` prints a table of how much green threads have used of their stacks, by
///   place of spawn, when the process exits.
/// - `ROVING_RECLAIM_SECONDS` is how long a green thread must be parked before the unused pages of its
///   stack are given back to the system: 5 by default, 0 for never.
///
/// # Examples
///
/// ```
/// let runtime = roving::Builder::new().workers(2).build()?;
/// assert_eq!(runtime.run(|| 6 * 7), 42);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Builder {
    workers: Option<usize>,
    stack_size: Option<usize>,
    compact_stacks: Option<bool>,
    thread_name: Option<String>,
    thread_locals: Option<ThreadLocals>,
    migrate_always: Option<bool>,
    stuck_after: Option<Duration>,
    warn_stuck: Option<Duration>,
    max_spares: Option<usize>,
    dump_to: Option<signal::Target>,
    record: Option<usize>,
    #[cfg(feature = "console")]
    console: Option<PathBuf>,
    all_asleep: Option<AllAsleep>,
    deadlocks: Option<Deadlocks>,
}

impl Builder {
    /// Starts with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of worker OS threads, from 1 to 1024.
    ///
    /// The default is the number of CPUs that the process may use when it starts its first runtime: those of the affinity
    /// mask (`taskset`, a cpuset), or the CPU quota of its cgroup or of one above it, rounded up, if that is less. A
    /// runtime keeps its number of workers. If the quota changes, the kernel enforces the new one, and the workers share it.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Sets the stack size of green threads that ask for none, in bytes.
    ///
    /// It is rounded up to a power of two, from 16 KiB to 1 GiB. This is address space: only the
    /// pages that a green thread touches use memory.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Makes stacks *compact*: a parked green thread with thread-locals of its own takes one page of memory instead of two.
    /// This is for programs with very many of them, and has a price:
    ///
    /// **From then on no library can be loaded that needs static thread-locals.** `dlopen` fails with the C library's error:
    /// "cannot allocate memory in static TLS block". Few libraries need them: OpenMP's (libgomp), allocators
    /// (libjemalloc), drivers of Mesa, sanitizers, and the C library when `dlmopen` loads it once more. `readelf -d` shows
    /// the flag `STATIC_TLS` for them. They can be loaded earlier: linked to the program, preloaded, or by `dlopen` before
    /// the first runtime starts.
    ///
    /// **While the first runtime starts, no other thread may change the credentials of the process** (`setuid`, `setgroups` and related
    /// functions) while a third one starts threads: Roving then loads a library with static thread-locals, and the C library may hang if the
    /// three coincide, with any such library, also without Roving.
    ///
    /// It applies to the whole process and its forked children, and the first runtime with
    /// [own thread-locals](ThreadLocals::Own) decides. If it is not available, stacks are as usual, and
    /// [`stacks`](crate::stacks()) says why. It uses a file descriptor, for as long as the process lives.
    pub fn compact_stacks(mut self, compact: bool) -> Self {
        self.compact_stacks = Some(compact);
        self
    }

    /// Sets the name of the worker OS threads, to which a number is appended.
    pub fn thread_name(mut self, prefix: impl Into<String>) -> Self {
        self.thread_name = Some(prefix.into());
        self
    }

    /// Requires that each green thread has thread-locals of its own: if that is not available,
    /// [`build`](Self::build) fails. See [`ThreadLocals::Own`].
    pub fn own_thread_locals(mut self) -> Self {
        self.thread_locals = Some(ThreadLocals::Own);
        self
    }

    /// Lets green threads use the thread-locals of the worker on which they start, and keeps them
    /// there. See [`ThreadLocals::Pinned`].
    pub fn pinned_thread_locals(mut self) -> Self {
        self.thread_locals = Some(ThreadLocals::Pinned);
        self
    }

    /// Lets green threads move between workers after they have started, with the thread-locals of
    /// whichever worker runs them. See [`ThreadLocals::Shared`].
    ///
    /// # Safety
    ///
    /// No code that runs on a green thread of this runtime may block, yield, or call anything that
    /// does,
    ///
    /// - while it holds a reference to, a borrow of, or a guard from a thread-local
    ///   (`LocalKey::with` around a blocking call);
    /// - while it holds a value that is not `Send` (an `Rc`, a `std::sync::MutexGuard`);
    /// - in a function in which it, or what the compiler inlines into it, uses a thread-local both
    ///   before and after: the compiler may keep its address.
    pub unsafe fn shared_thread_locals(mut self) -> Self {
        self.thread_locals = Some(ThreadLocals::Shared);
        self
    }

    /// Makes every green thread that may move resume on another worker after each suspension: a tool
    /// for tests, which reveals code that depends on where it runs. The thread waits for that worker, even
    /// if another one is idle, unless that worker is [stuck](Self::stuck_after).
    pub fn migrate_always(mut self, always: bool) -> Self {
        self.migrate_always = Some(always);
        self
    }

    /// Sets how long a green thread may keep its worker from the others, from a millisecond to an hour. If it does
    /// so for longer, whether it computes or waits in the system, in foreign code or for a lock of
    /// `std`, a *spare* OS thread takes over that worker and runs the others, after up to twice this time. Zero turns
    /// that off: then only [`blocking`](crate::blocking::run) hands a worker over.
    ///
    /// A runtime has one more OS thread than workers, a spare that sleeps, so that
    /// this is noticed. With zero it has none.
    pub fn stuck_after(mut self, time: Duration) -> Self {
        self.stuck_after = Some(time);
        self
    }

    /// Sets after which time a green thread that keeps its worker is reported on standard error, from a millisecond to an
    /// hour: which thread it is, where it was spawned, for how long it has run, and what it does, with its stack. Zero turns that off.
    /// The default is a second in debug builds, and off in others.
    ///
    /// It is reported once per place of spawn, and at most one per second. Calls within
    /// [`blocking`](crate::blocking::run) are not reported, nor are threads that only wait for a processor.
    ///
    /// It is noticed by the spare that hands workers over, or by other workers that sleep: with a single
    /// worker, and [`stuck_after`](Self::stuck_after) or [`max_spares`](Self::max_spares) set to 0, it is not noticed.
    pub fn warn_stuck(mut self, time: Duration) -> Self {
        self.warn_stuck = Some(time);
        self
    }

    /// Sets the maximum number of spare OS threads, up to 65,536: that many green threads may block in
    /// the system or compute for long, while as many others run as there are workers. At the limit runnable green threads may
    /// have to wait for them, and a line on standard error says so. With 0 no worker is ever handed over.
    pub fn max_spares(mut self, spares: usize) -> Self {
        self.max_spares = Some(spares);
        self
    }

    /// Prints a [`dump`](crate::dump) on each signal SIGQUIT, as sent by Ctrl-\ and
    /// `kill -QUIT`, and continues: appended to a file, or with `None` to
    /// standard error. Without this the signal ends the process.
    ///
    /// It applies to the whole process, and the first runtime that sets it decides. It uses an OS thread,
    /// which sleeps. An earlier handler of the signal is called too. If the file cannot be written,
    /// a message on standard error says so, and the dump goes there.
    pub fn dump_on_signal(mut self, file: Option<PathBuf>) -> Self {
        self.dump_to = Some(match file {
            Some(file) => signal::Target::File(file),
            None => signal::Target::StandardError,
        });
        self
    }

    /// Keeps the last `events` events of each worker, 1,048,576 at most: what it ran and for how long, why that
    /// ended, who woke whom, what was stolen and handed over. [`record`](crate::record()) returns them, and a
    /// [`dump`](crate::dump()) has them too. A dump on [a signal](Self::dump_on_signal) also writes a trace that
    /// Perfetto opens: next to the file of dumps, with `.trace.json` added to its name, or otherwise `roving-PID.trace.json` in
    /// the current directory. 0, the default, keeps no events.
    ///
    /// An event takes 64 bytes and some ten nanoseconds. The number is rounded up to a power of two.
    pub fn record(mut self, events: usize) -> Self {
        self.record = Some(events);
        self
    }

    /// Sets what happens when all threads wait and nothing is left that could wake one: no timer, no socket,
    /// child or signal that is waited for, no [`blocking`](crate::blocking::run) call, no OS thread but those that wait in the
    /// runtime, and no handler of a signal but the runtime's own. By default it is reported on standard error within a second or two,
    /// with a [dump](crate::dump).
    ///
    /// It applies to the whole process, and the first runtime that sets it decides. It is never reported while an OS
    /// thread does something else, whatever that is, nor on systems other than Linux.
    pub fn all_asleep(mut self, what: AllAsleep) -> Self {
        self.all_asleep = Some(what);
        self
    }

    /// Opens a *console*, a Unix socket at that path, at which programs of the same user, such as `roving-top`, can query what this
    /// one does. Requires the feature `console`. The chapter `watching` lists the queries.
    ///
    /// It applies to the whole process, and the first runtime that sets it decides. It uses an OS thread,
    /// which sleeps until it is queried. The process removes the file at its exit. If the socket cannot be created, because
    /// another process listens there or the directory does not exist, a message on standard error says so, and there is no console.
    #[cfg(feature = "console")]
    pub fn console(mut self, path: impl Into<PathBuf>) -> Self {
        self.console = Some(path.into());
        self
    }

    /// Sets what happens when green threads wait for one another in a cycle: each for a
    /// [`Mutex`](crate::sync::Mutex), for writers of an [`RwLock`](crate::sync::RwLock) or for the closure of a
    /// [`Once`](crate::sync::Once) (also within `OnceLock` and `LazyLock`), which the next one has or runs, or
    /// by `join` for the end of the next one, or at its end for a scope to which that belongs. By default
    /// it is reported on standard error within some seconds, with names, places and stacks.
    ///
    /// There are no false alarms. A wait with a deadline ends by itself and is not part of a deadlock; one that may be
    /// cancelled is, since that would take action from outside. Not detected are cycles with anything other than
    /// green threads, or over readers of a lock, permits, messages or a `select`.
    ///
    /// If the threads are of several runtimes, the one whose thread was the last to wait decides.
    pub fn deadlocks(mut self, what: Deadlocks) -> Self {
        self.deadlocks = Some(what);
        self
    }

    /// Starts a separate runtime.
    ///
    /// # Errors
    ///
    /// A setting is out of its range, the system refuses an OS thread or has no room for one, or green threads cannot have
    /// their own thread-locals though they were asked for ([`Unsupported`](io::ErrorKind::Unsupported)).
    pub fn build(self) -> io::Result<Runtime> {
        let workers = match self.workers {
            Some(workers) => set("workers", workers, in_range)?,
            None => environment::WORKERS
                .number(in_range)
                .unwrap_or_else(|| cpus::usable().clamp(1, MAX_WORKERS)),
        };
        let max_spares = match self.max_spares {
            Some(spares) => set("max_spares", spares, spares_in_range)?,
            None => environment::MAX_SPARES
                .number(spares_in_range)
                .unwrap_or(spares::DEFAULT_BOUND),
        };
        let stuck_after = match self.stuck_after {
            Some(time) => set("stuck_after", time, limit_in_range)?,
            None => environment::STUCK_AFTER
                .read(|text| limit_in_range(environment::time(text)?))
                .unwrap_or(Some(STUCK_AFTER)),
        };
        let warn_stuck = match self.warn_stuck {
            Some(time) => set("warn_stuck", time, limit_in_range)?,
            None => environment::WARN_STUCK
                .read(|text| match text {
                    "off" => Ok(None),
                    text => limit_in_range(environment::time(text)?),
                })
                .unwrap_or(WARN_STUCK),
        };
        let name = self.thread_name.as_deref().unwrap_or("roving");
        if name.contains('\0') {
            return Err(invalid(format!(
                "the thread name {name:?} has a null byte in it"
            )));
        }
        let name = name.to_owned();
        let (mode, stack_class) = self.ground()?;
        if let Some(path) = self.console_path() {
            console::open(&path);
        }
        let dump_to = self.dump_to.or_else(|| {
            let path = environment::DUMP.path()?;
            Some(match path.as_os_str() == "quit" {
                true => signal::Target::StandardError,
                false => signal::Target::File(path),
            })
        });
        if let Some(target) = dump_to {
            signal::watch(target)?;
        }
        let record = match self.record {
            Some(events) => set("record", events, record_in_range)?,
            None => environment::RECORD.number(record_in_range).flatten(),
        };
        let all_asleep = self
            .all_asleep
            .or_else(|| environment::ALL_ASLEEP.one_of(&AllAsleep::ALL, AllAsleep::name));
        asleep::watch(all_asleep);
        let deadlocks = self
            .deadlocks
            .or_else(|| environment::DEADLOCKS.one_of(&Deadlocks::ALL, Deadlocks::name))
            .unwrap_or(Deadlocks::Report);
        let plan = Plan {
            mode,
            stack_class,
            name,
            max_spares,
            stuck_after,
            warn_stuck: warn_stuck.map(|limit| Patience {
                limit,
                tell: stuck::tell,
            }),
            record,
            look: deadlocks.look(),
        };
        start(plan, workers)
    }

    /// Where a console is wanted.
    fn console_path(&self) -> Option<PathBuf> {
        #[cfg(feature = "console")]
        if let Some(path) = &self.console {
            return Some(path.clone());
        }
        environment::CONSOLE.path()
    }

    /// What threads with stacks of their own stand on. Prepares the process for them.
    pub(crate) fn ground(&self) -> io::Result<(Mode, Class)> {
        let stack_size = match self.stack_size {
            Some(bytes) => bytes,
            None => environment::STACK_SIZE
                .number(|bytes| match Class::of(bytes) {
                    Ok(_) => Ok(bytes),
                    Err(error) => Err(error.to_string()),
                })
                .unwrap_or(stack::DEFAULT_SIZE),
        };
        room::is_left().map_err(|error| {
            let advice = room::advice();
            io::Error::new(
                error.kind(),
                format!("no room for a runtime: {error} {advice}"),
            )
        })?;
        context::watch_forks();
        // Nor does a child find half of it made, or locked what of the loader it takes to find it out.
        let passage = Passage::enter();
        let mode = self.mode()?;
        let class = Class::of(stack_size)?;
        let class = match mode.thread_locals {
            ThreadLocals::Own => class.with_thread_locals(),
            ThreadLocals::Pinned | ThreadLocals::Shared => class,
        };
        if let Some(period) = environment::RECLAIM_SECONDS.read(environment::seconds) {
            reclaim::set_period(period);
        }
        prepare_stacks();
        panicking::prepare(&passage);
        // Nor do workers make what a child could find half made.
        ticks::begin();
        timer::begin();
        queue::prepare();
        first_destructor::prepare();
        Ok((mode, class))
    }

    fn mode(&self) -> io::Result<Mode> {
        let asked = self.thread_locals.or_else(|| {
            let both = [(ThreadLocals::Own, "own"), (ThreadLocals::Pinned, "pinned")];
            environment::THREAD_LOCALS
                .one_of(&both, |(_, name)| name)
                .map(|(asked, _)| asked)
        });
        let migrate_always = self
            .migrate_always
            .unwrap_or_else(|| environment::MIGRATE_ALWAYS.flag());
        let wants_compact = self
            .compact_stacks
            .unwrap_or_else(|| environment::COMPACT_STACKS.flag());
        if wants_compact {
            compact::ask();
        }
        let find = || tls::find(context::own_thread_pointer, wants_compact);
        let mut refused = None;
        let thread_locals = match asked {
            Some(ThreadLocals::Own) => match find() {
                Ok(_) => ThreadLocals::Own,
                Err(why) => return Err(io::Error::new(io::ErrorKind::Unsupported, why.clone())),
            },
            Some(asked) => asked,
            None if cfg!(roving_shared) => ThreadLocals::Shared,
            None => match find() {
                Ok(_) => ThreadLocals::Own,
                Err(why) => {
                    refused = Some(why.clone());
                    ThreadLocals::Pinned
                }
            },
        };
        Ok(Mode {
            thread_locals,
            refused,
            migrate_always,
            report_stacks: environment::STACK_REPORT.flag(),
        })
    }
}

fn start(plan: Plan, workers: usize) -> io::Result<Runtime> {
    let locals: Vec<Local> = (0..workers).map(|_| Local::new()).collect();
    let stealable = locals.iter().map(Local::stealable).collect();
    let name = plan.name.clone();
    let shared = Arc::new(Shared::new(plan, stealable));
    if shared.mode.report_stacks {
        stack_use::report_at_exit(&shared);
    }
    dump::enter(&shared);
    debugger::prepare();
    let mut runtime = Runtime::new(shared.clone());
    for (index, local) in locals.into_iter().enumerate() {
        let shared = shared.clone();
        let body = move || {
            let worker = Worker::new(shared, index, 0, local);
            worker.shared().has_watcher();
            worker.run();
        };
        let worker = os_thread::start(format!("{name}-{index}"), body).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "no OS thread for worker {} of {workers}: {error}",
                    index + 1
                ),
            )
        })?;
        runtime.add_worker(worker);
    }
    if shared.watch.is_on() {
        spares::start(&shared);
    }
    Ok(runtime)
}

/// Prepares the process for stacks of green threads and of coroutines.
pub(crate) fn prepare_stacks() {
    static KNOWS_GUARDS: AtomicBool = AtomicBool::new(false);
    // Those who come at once find the same.
    if !KNOWS_GUARDS.load(Ordering::Acquire) {
        if let Some(guards) = environment::STACK_GUARDS.one_of(Guards::LADDER, Guards::name) {
            stack::begin_with_guards(guards);
        }
        KNOWS_GUARDS.store(true, Ordering::Release);
    }
    overflow::install_handler();
}

/// What `check` makes of a value that the setting `name` was given.
fn set<V: Copy + fmt::Debug, T>(
    name: &str,
    value: V,
    check: impl FnOnce(V) -> Result<T, String>,
) -> io::Result<T> {
    check(value).map_err(|why| invalid(format!("{name} = {value:?}: {why}")))
}

fn in_range(workers: usize) -> Result<usize, String> {
    if (1..=MAX_WORKERS).contains(&workers) {
        Ok(workers)
    } else {
        Err(format!("a runtime has from 1 to {MAX_WORKERS} workers"))
    }
}

fn spares_in_range(spares: usize) -> Result<usize, String> {
    if spares <= MAX_SPARES {
        Ok(spares)
    } else {
        Err(format!("a runtime has up to {MAX_SPARES} spares"))
    }
}

/// How long a green thread may keep its worker; `None` if for ever.
fn limit_in_range(time: Duration) -> Result<Option<Duration>, String> {
    if time.is_zero() {
        Ok(None)
    } else if (SHORTEST_STUCK..=LONGEST_STUCK).contains(&time) {
        Ok(Some(time))
    } else {
        Err("a worker is stuck after 1 ms to 1 h, or never: 0".to_owned())
    }
}

/// How many events of each worker are kept; `None` if none.
fn record_in_range(events: usize) -> Result<Option<usize>, String> {
    if events <= MAX_RECORD {
        Ok((events > 0).then_some(events))
    } else {
        Err(format!("up to {MAX_RECORD} events of a worker are kept"))
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
