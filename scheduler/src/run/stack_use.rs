//! How much of their stacks green threads and coroutines use: the current thread, and all of them, in a
//! table by the place where they were spawned or made, at the exit of the process.
//!
//! Where the table is asked for, each stack is wiped between two users, so that its mark is that of one.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::protocol::lock::Mutex;

use crate::protocol::process::PerProcess;
use crate::protocol::say::say;
use crate::run::context;
use crate::run::registry::Cursor;
use crate::run::shared::Shared;
use crate::stack::usage::StackUsage;
use crate::stack::{MIN_SIZE, Stack};

/// Returns how much of its stack the current green thread has used so far; `None` on a plain OS thread.
///
/// # Examples
///
/// ```
/// use roving::thread;
///
/// let usage = thread::spawn(thread::stack_usage).join().unwrap().unwrap();
/// assert!((1..usage.size).contains(&usage.high_water));
/// ```
pub fn stack_usage() -> Option<StackUsage> {
    context::with_running(|waiter| {
        let own_stack = waiter.own_stack()?;
        // SAFETY: it is the current one.
        let stack = unsafe { own_stack.started() }.coroutine.stack();
        Some(StackUsage::of(stack))
    })?
}

/// What the green threads or coroutines that come from one place have used.
#[derive(Debug, Default, Clone, Copy)]
struct Site {
    threads: usize,
    size: usize,
    most: usize,
    sum: usize,
}

impl Site {
    fn add(&mut self, usage: StackUsage) {
        self.threads += 1;
        self.size = self.size.max(usage.size);
        self.most = self.most.max(usage.high_water);
        self.sum += usage.high_water;
    }

    /// Twice what was needed, as a size that there is.
    fn suggested(&self) -> usize {
        (2 * self.most).next_power_of_two().max(MIN_SIZE)
    }
}

type Sites = HashMap<&'static Location<'static>, Site>;

/// What has ended. A forked child tells of its own.
static ENDED: PerProcess<Mutex<Sites>> = PerProcess::new();
static RUNTIMES: PerProcess<Mutex<Vec<Weak<Shared>>>> = PerProcess::new();

/// Whether somebody has asked for the table.
static ASKED_FOR: AtomicBool = AtomicBool::new(false);

/// Does with the stack of a coroutine that was made at `site`, and has ended, what is to be done before
/// somebody else has it.
pub(crate) fn coroutine_ended(site: &'static Location<'static>, stack: &Stack) {
    if ASKED_FOR.load(Ordering::Relaxed) {
        let usage = StackUsage::of(stack.bounds());
        record(site, usage);
        // SAFETY: nobody runs on it any more.
        unsafe { stack.wipe(usage.high_water) };
    }
}

/// Records what a green thread or coroutine that has ended, and comes from `site`, has used.
pub(crate) fn record(site: &'static Location<'static>, usage: StackUsage) {
    let ended = ENDED.get_or_make(Mutex::default);
    ended.lock().entry(site).or_default().add(usage);
}

/// Prints the table when the process exits, with the green threads of `runtime` that are alive then
/// and have ever waited.
pub(crate) fn report_at_exit(runtime: &Arc<Shared>) {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    ASKED_FOR.store(true, Ordering::Relaxed);
    let runtimes = RUNTIMES.get_or_make(Mutex::default);
    runtimes.lock().push(Arc::downgrade(runtime));
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        // SAFETY: the function has the right type and does not unwind.
        unsafe { libc::atexit(report) };
    }
}

extern "C" fn report() {
    let mut sites = ENDED.get_or_make(Mutex::default).lock().clone();
    let runtimes = RUNTIMES.get_or_make(Mutex::default).lock();
    for runtime in runtimes.iter().filter_map(Weak::upgrade) {
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            let (threads, next) = runtime.registry.some_from(from, 1024);
            for green in threads.iter().filter_map(|waiter| waiter.green()) {
                // SAFETY: it was found in the registry.
                let stack = unsafe { green.own_stack.started() }.coroutine.stack();
                let site = sites.entry(green.own_stack.site).or_default();
                site.add(StackUsage::of(stack));
            }
            cursor = next;
        }
    }
    say(&table(&sites));
}

fn table(sites: &Sites) -> String {
    let mut rows: Vec<_> = sites
        .iter()
        .map(|(location, site)| (format!("{}:{}", location.file(), location.line()), site))
        .collect();
    rows.sort_by(|(a, x), (b, y)| y.most.cmp(&x.most).then_with(|| a.cmp(b)));
    let width = rows
        .iter()
        .map(|(place, _)| place.len())
        .max()
        .unwrap_or(0)
        .max(10);
    let mut text = format!(
        "\nstacks of green threads and coroutines, by the place where they were spawned or made; bytes\n{:width$} {:>10} {:>10} {:>10} {:>10} {:>10}\n",
        "from", "number", "size", "most used", "mean used", "suggested"
    );
    for (place, site) in rows {
        let mean = site.sum / site.threads.max(1);
        let _ = writeln!(
            text,
            "{place:width$} {:>10} {:>10} {:>10} {mean:>10} {:>10}",
            site.threads,
            site.size,
            site.most,
            site.suggested()
        );
    }
    text
}
