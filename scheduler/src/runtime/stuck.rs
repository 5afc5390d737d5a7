//! What is said of a green thread that keeps its worker for too long.
//!
//! It goes to standard error, once for each place that spawns such threads, and one in a second: what comes in between
//! is told afterwards, if it lasts. Who watches has other things to do than to look for the names of functions,
//! or to wait for a terminal, so an OS thread is started for it, which ends then.

use std::collections::HashSet;
use std::fmt::Write;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::protocol::lock::Mutex;

use super::dump;
use crate::protocol::process::PerProcess;
use crate::protocol::say::say;
use crate::run::os_thread;
use crate::run::overlong::Overlong;

/// There is no more than one report in this time.
const PAUSE: Duration = Duration::from_secs(1);

/// A thread that has no processor is looked at so often, each time for a while.
const TRIES: u32 = 20;

#[derive(Default)]
struct Told {
    sites: HashSet<&'static Location<'static>>,
    last: Option<Instant>,
}

static TOLD: PerProcess<Mutex<Told>> = PerProcess::new();

/// Tells of one, if none of its kind has been told of. `false` if it is too early for that.
pub(super) fn tell(overlong: Overlong) -> bool {
    let own_stack = overlong.thread.own_stack();
    let site = own_stack.expect("green threads have stacks").site;
    let mut told = TOLD.get_or_make(Mutex::default).lock();
    if told.sites.contains(site) {
        return true;
    }
    let now = Instant::now();
    if told.last.is_some_and(|last| now < last + PAUSE) {
        return false;
    }
    told.last = Some(now);
    told.sites.insert(site);
    drop(told);
    let mut text = String::new();
    let Overlong {
        thread,
        worker,
        elapsed,
    } = overlong;
    let _ = writeln!(
        text,
        "roving: {}, spawned at {site}, has kept its worker for {elapsed:.1?}",
        dump::name_of(&thread)
    );
    let without_stack = text.clone();
    let started = os_thread::start("roving-stuck".to_owned(), move || {
        let mut tries = 1;
        let mut does = dump::what_it_does(&worker, &thread);
        while !does.is_known() && tries < TRIES {
            does = dump::what_it_does(&worker, &thread);
            tries += 1;
        }
        let _ = write!(text, "{does}");
        text.push_str(
            "  (told once for each place that spawns; ROVING_WARN_STUCK and Builder::warn_stuck set after which time)\n",
        );
        say(&text);
    });
    if started.is_err() {
        say(&without_stack);
    }
    true
}
