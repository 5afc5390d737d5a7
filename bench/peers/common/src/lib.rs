//! What the programs share: the command line, the arithmetic of the work, and the figures.

mod http;

use serde_json::{Value, json};
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use http::Responder;

/// Messages that the bounded channel of `mpsc` holds.
pub const CAPACITY: usize = 1024;
/// Threads that send to it.
pub const SENDERS: usize = 4;
/// Threads that take one mutex.
pub const CONTENDERS: usize = 8;
/// Threads that `spawn_1000` spawns before it joins them.
pub const BATCH: usize = 1000;
/// Steps of `spin` at a leaf of `tree`.
pub const LEAF: u32 = 2000;
/// Threads of `slow_neighbour`.
pub const NEIGHBOURS: usize = 32;
/// How long the slow one computes at a time.
pub const SLOW: Duration = Duration::from_millis(5);
/// The pause in which a runtime gets idle, and what `wake_timer` sleeps.
pub const PAUSE: Duration = Duration::from_millis(1);
/// Clients of `udp_echo`.
pub const CLIENTS: usize = 64;
/// The buffer of a connection.
pub const BUFFER: usize = 4096;

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Echo,
    Http,
    /// HTTP by a framework.
    Framework,
}

/// A program: what it works at, and how it serves. `serve` does not return before the address has
/// been told by [`listening`], or that there is no such server by [`serves_no`].
pub fn main(
    work: impl FnOnce(&str, usize, usize) -> Value,
    serve: impl FnOnce(Protocol, usize),
) -> ExitCode {
    raise_descriptor_limit();
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build, whose figures say nothing");
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["run", name, count, workers] => {
            let [count, workers] = [count, workers].map(|n| n.parse().expect("a number"));
            println!("{}", work(name, count, workers));
            ExitCode::SUCCESS
        }
        ["serve", protocol, workers] => {
            let protocol = match protocol {
                "echo" => Protocol::Echo,
                "http" => Protocol::Http,
                "framework" => Protocol::Framework,
                _ => panic!("there is no protocol {protocol:?}: one of echo, http and framework"),
            };
            serve(protocol, workers.parse().expect("a number"));
            answer_until_stdin_ends();
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!(
                "usage: PROGRAM run WORK COUNT WORKERS | PROGRAM serve echo|http|framework WORKERS"
            );
            ExitCode::from(2)
        }
    }
}

/// A work that the peer has no means for.
pub fn absent(why: &str) -> Value {
    json!({ "absent": why })
}

/// Figures of a work that the peer does in another form than the others.
pub fn noted(mut figures: Value, note: &str) -> Value {
    figures["note"] = note.into();
    figures
}

/// Figures of other work, the nearest that the peer has the means for.
pub fn other_work(figures: Value, note: &str) -> Value {
    let mut figures = noted(figures, note);
    figures["other"] = true.into();
    figures
}

/// How many threads there are at a time in a work, beside a few.
pub fn most_at_a_time(name: &str, count: usize) -> usize {
    match name {
        "spawn_1000" => BATCH,
        "spawn_all" | "tree" | "unbalanced" | "timers" | "sleepers" => count,
        // Breadth first, the nodes above the leaves are there too.
        "skynet" => count + count / 9,
        _ => yielders(name).unwrap_or(CLIENTS),
    }
}

/// Why there cannot be so many at a time, each with a stack that the system maps apart from the guard below it.
pub fn too_many_mappings(threads: usize) -> Option<Value> {
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count");
    let limit = limit.ok().and_then(|limit| limit.trim().parse().ok());
    // The process has some other mappings too.
    let room = limit.unwrap_or(65_530_usize).saturating_sub(1_000) / 2;
    (threads > room).then(|| {
        absent(&format!(
            "each of its stacks is two mappings of memory, and vm.max_map_count has room for {room}"
        ))
    })
}

/// The threads of a work `yield_N`.
pub fn yielders(name: &str) -> Option<usize> {
    name.strip_prefix("yield_")?.parse().ok()
}

/// Nanoseconds of one, of `count` that were begun at `start`.
pub fn each(start: Instant, count: usize) -> Value {
    json!({ "ns": start.elapsed().as_nanos() as f64 / count as f64 })
}

/// From when the first of many threads is let go until the last has come in.
#[derive(Debug)]
pub struct Race {
    threads: usize,
    finished: AtomicUsize,
    start: OnceLock<Instant>,
    end: OnceLock<Instant>,
}

impl Race {
    pub fn new(threads: usize) -> Self {
        Self {
            threads,
            finished: AtomicUsize::new(0),
            start: OnceLock::new(),
            end: OnceLock::new(),
        }
    }

    /// On the thread that has let all go.
    pub fn start(&self) {
        self.start.set(Instant::now()).expect("one lets all go");
    }

    /// On each thread.
    pub fn finish(&self) {
        if self.finished.fetch_add(1, Ordering::Relaxed) + 1 == self.threads {
            self.end.set(Instant::now()).expect("one is the last");
        }
    }

    /// Nanoseconds of one, of `times` on each thread, when all have been joined.
    pub fn each(&self, times: usize) -> Value {
        let at = |moment: &OnceLock<Instant>| *moment.get().expect("all have been joined");
        let took = at(&self.end).saturating_duration_since(at(&self.start));
        json!({ "ns": took.as_nanos() as f64 / (self.threads * times) as f64 })
    }
}

/// Connections being served.
pub static OPEN: AtomicU64 = AtomicU64::new(0);

/// Tells where the server listens.
pub fn listening(address: SocketAddr) {
    say(&json!({ "Listening": address }));
}

/// Tells that the peer has no server for a protocol.
pub fn serves_no(protocol: Protocol) {
    say(&absent(&format!("it has no server for {protocol:?}")));
}

fn answer_until_stdin_ends() {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        if line.contains("Count") {
            let open = OPEN.load(Ordering::Relaxed);
            say(&json!({ "Count": { "open": open, "failed_accepts": 0 } }));
        }
    }
}

fn say(report: &Value) {
    let mut stdout = io::stdout().lock();
    // Nobody listens any more when that fails, and standard input ends too.
    let _ = writeln!(stdout, "{report}").and_then(|()| stdout.flush());
}

/// Steps of Marsaglia's xorshift, which the compiler cannot leave out.
pub fn spin(n: usize, times: u32) -> u64 {
    let mut x = n as u64 * 2 + 1;
    for _ in 0..times {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    x
}

/// Steps that thread `n` of `unbalanced` takes.
pub fn unbalanced_steps(n: usize) -> u32 {
    if n.is_multiple_of(64) { 256_000 } else { 1_000 }
}

/// How long thread `n` of `timers` sleeps.
pub fn nap(n: usize) -> Duration {
    Duration::from_micros(50_000 + spin(n, 3) % 100_000)
}

/// Computes for [`SLOW`].
pub fn compute_slowly() {
    let start = Instant::now();
    let mut n = 0;
    while start.elapsed() < SLOW {
        n = std::hint::black_box(spin(n, 100) as usize);
    }
}

/// The figures of waking.
pub fn percentiles(mut latencies: Vec<Duration>) -> Value {
    latencies.sort_unstable();
    let at = |q: usize| latencies[(latencies.len() - 1) * q / 100].as_nanos() as f64 / 1e3;
    json!({ "p50_us": at(50), "p99_us": at(99) })
}

/// Latenesses that many threads note, each its own.
#[derive(Debug)]
pub struct Notes(Vec<AtomicU32>);

impl Notes {
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicU32::new(0)).collect())
    }

    /// Notes how much longer than `asked` it has taken since `start`.
    pub fn note(&self, n: usize, start: Instant, asked: Duration) {
        let late = start.elapsed().saturating_sub(asked);
        self.0[n].store(late.as_nanos() as u32, Ordering::Relaxed);
    }

    pub fn latencies(&self) -> Vec<Duration> {
        let nanos = self.0.iter().map(|note| note.load(Ordering::Relaxed));
        nanos.map(|n| Duration::from_nanos(n.into())).collect()
    }
}

/// The figures of `timers`.
pub fn timer_figures(notes: &Notes, cpu_before: Duration) -> Value {
    let mut figures = percentiles(notes.latencies());
    let used = cpu_time() - cpu_before;
    json!({
        "ns": used.as_nanos() as f64 / notes.0.len() as f64,
        "late_p50_us": figures["p50_us"].take(),
        "late_p99_us": figures["p99_us"].take(),
    })
}

/// The CPU time that this process has used.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock exists and the pointer is to a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// KiB that Linux has as the kernel's stack of each OS thread, on x86-64 and on aarch64.
const KERNEL_STACK: u64 = 16;

/// Bytes of memory that this process has: resident, page tables, and the kernel's stacks.
pub fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is readable");
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let field = line.and_then(|line| line.split_whitespace().next());
        field.and_then(|n| n.parse::<u64>().ok()).expect("a number")
    };
    (number("VmRSS:") + number("VmPTE:") + KERNEL_STACK * number("Threads:")) << 10
}

/// Lets this process run on `count` of the processors that it may use, if there are so many.
pub fn bind_to_processors(count: usize) {
    // SAFETY: a set of processors is plain data.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let mut chosen = allowed;
    let size = size_of_val(&allowed);
    // SAFETY: the pointer is to a set of that size.
    unsafe { libc::sched_getaffinity(0, size, &mut allowed) };
    let processors = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: the processors are within the set.
    let allowed = processors.filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &allowed) });
    for cpu in allowed.take(count) {
        // SAFETY: it is within the set.
        unsafe { libc::CPU_SET(cpu, &mut chosen) };
    }
    // SAFETY: the pointer is to a set of that size.
    let bound = unsafe { libc::sched_setaffinity(0, size, &chosen) };
    assert_eq!(bound, 0, "{}", io::Error::last_os_error());
}

/// Threads of `sleepers` that have begun to sleep.
pub static ASLEEP: AtomicU64 = AtomicU64::new(0);
/// After the last has begun.
pub const SETTLE: Duration = Duration::from_millis(200);

/// The figures of `sleepers`, when all sleep.
pub fn bytes_of_sleepers(count: usize, before: u64) -> Value {
    json!({ "bytes": memory().saturating_sub(before) as f64 / count as f64 })
}

/// Causes that an OS thread brings about while the runtime is idle, and when they were seen.
#[derive(Debug)]
pub struct Wakes {
    origin: Instant,
    caused: AtomicU64,
    seen: AtomicU64,
}

impl Wakes {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            caused: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        }
    }

    /// On the OS thread: brings it about `count` times.
    pub fn cause(&self, count: usize, mut wake: impl FnMut()) {
        for done in 1..=count as u64 {
            std::thread::sleep(PAUSE);
            let now = self.origin.elapsed().as_nanos() as u64;
            self.caused.store(now, Ordering::SeqCst);
            wake();
            while self.seen.load(Ordering::SeqCst) < done {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }

    /// Whether the next has been caused.
    pub fn is_caused(&self) -> bool {
        self.caused.load(Ordering::SeqCst) != 0
    }

    /// On the thread that was woken: how long that took.
    pub fn see(&self) -> Duration {
        let now = self.origin.elapsed().as_nanos() as u64;
        let late = now - self.caused.swap(0, Ordering::SeqCst);
        self.seen.fetch_add(1, Ordering::SeqCst);
        Duration::from_nanos(late)
    }
}

fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointers are to a limit. Where it cannot be raised, fewer connections are served.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}
