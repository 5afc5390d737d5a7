//! All asleep: what is said when nothing is left that could wake anybody.
//!
//! Somebody [looks](crate::run::silence) when all have slept for a while. He reports if
//!
//! - all workers and spares of all runtimes sleep, and there is nothing for them: no queued thread, no timer, no
//!   wait that a driver could end, no look for deadlocks, which might end one;
//! - every other OS thread of the process waits in the runtime for as long as it takes, or is a
//!   [bystander](crate::run::silence::Bystander): there are as many OS threads as are known, and so none that is not;
//! - no signal has a handler but the runtime's own, which wake nobody. Those of SIGSEGV and SIGBUS do not
//!   count, which the thread itself causes that would have to run.
//!
//! **There is no false alarm.** He looks at who sleeps twice, and at all else in between. Who has slept at both looks
//! and has not run meanwhile, by his [pace](crate::protocol::pace), has slept all the time; so has an OS thread whose
//! wait has not ended by the second look, if none has come since the first. One that leads in the driver sleeps if it
//! has not taken tickets there ([`Driver::sleeps`](crate::driver::Driver::sleeps)) and nobody else fires what he has
//! taken. So at the moment at which the system counted its threads, all slept but the one who looks. Nobody has
//! woken or made anybody since, and nobody is left to do so.
//!
//! What is not known wakes: a driver that does not say, a system without `/proc`. Whoever looks in vain since an OS
//! thread was there that is not known does not look again when that has ended; the next who begins to wait does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::deadlock;
use super::dump::{self, dump};
use crate::protocol::say::say;
use crate::run::shared::Shared;
use crate::run::silence::{self, Outside, Seen};

#[cfg_attr(target_os = "linux", path = "asleep/proc.rs")]
#[cfg_attr(not(target_os = "linux"), path = "asleep/unknown.rs")]
mod process;

/// What happens when all threads wait, and nothing is left that could wake one: see
/// [`Builder::all_asleep`](crate::Builder::all_asleep).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AllAsleep {
    /// Nothing: the process waits for ever, or for a debugger.
    Ignore,
    /// It is told on standard error, with a [dump](crate::dump), once.
    Report,
    /// It is told, and the process aborts.
    Abort,
}

impl AllAsleep {
    pub(super) const ALL: [Self; 3] = [Self::Ignore, Self::Report, Self::Abort];

    /// As the variable of the environment calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ignore => "off",
            Self::Report => "report",
            Self::Abort => "abort",
        }
    }
}

/// The number in [`AllAsleep::ALL`] of what was asked for, and `UNSET` before that.
static ASKED: AtomicU8 = AtomicU8::new(UNSET);
const UNSET: u8 = u8::MAX;

/// Looks from now on. What the first has `asked` for who asks for anything is done.
pub(super) fn watch(asked: Option<AllAsleep>) {
    if let Some(asked) = asked {
        let number = AllAsleep::ALL.iter().position(|what| *what == asked);
        let number = number.map_or(UNSET, |number| number as u8);
        let _first = ASKED.compare_exchange(UNSET, number, Ordering::Relaxed, Ordering::Relaxed);
    }
    if cfg!(target_os = "linux") {
        silence::look_with(look);
    }
}

fn asked() -> AllAsleep {
    let number = ASKED.load(Ordering::Relaxed);
    let asked = AllAsleep::ALL.get(usize::from(number));
    asked.copied().unwrap_or(AllAsleep::Report)
}

fn look(looker: Option<(&Arc<Shared>, usize)>) -> Seen {
    let asked = asked();
    if asked == AllAsleep::Ignore {
        return Seen::Asleep;
    }
    let runtimes = dump::runtimes();
    let Some(before) = Sleepers::look(&runtimes, looker) else {
        return Seen::Awake;
    };
    if runtimes.iter().any(|runtime| looks_for_deadlocks(runtime)) {
        // Whoever does that wakes, and looks when it has slept for a while again.
        return Seen::Awake;
    }
    let nothing_wakes = process::nothing_wakes(before.os_threads())
        && runtimes.iter().all(|runtime| has_nothing_to_do(runtime));
    if !nothing_wakes {
        return Seen::Asleep;
    }
    if Sleepers::look(&runtimes, looker).as_ref() != Some(&before) {
        return Seen::Awake;
    }
    // Two may look at the same time.
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        report(&before.outside);
        if asked == AllAsleep::Abort {
            say("the process aborts, as it is set to (Builder::all_asleep, ROVING_ALL_ASLEEP)\n");
            std::process::abort();
        }
    }
    Seen::Asleep
}

fn report(outside: &Outside) {
    let waiting = outside.waiting();
    let plural = if waiting == 1 { "" } else { "s" };
    let asleep =
        format!("roving: all green threads are asleep, and {waiting} OS thread{plural} with them");
    if deadlock::told_account_for_all() {
        say(&format!(
            "{asleep}: each is in a deadlock that was told, or waits for one that is\n"
        ));
        return;
    }
    // A dump takes its time.
    say(&format!(
        "{asleep}, and nothing is left that could wake one: \
         no timer, no socket, no child, no signal, no call that blocks, no other OS thread\n",
    ));
    say(&format!("{}\n", dump().brief()));
}

/// Whether a runtime looks for deadlocks, or will before long.
fn looks_for_deadlocks(runtime: &Shared) -> bool {
    !runtime.is_stopping() && runtime.lookout.is_scheduled()
}

/// Who sleeps.
#[derive(PartialEq, Eq)]
struct Sleepers {
    /// The workers and spares of each runtime, and what they have written last.
    rested: Vec<Vec<(usize, u64)>>,
    outside: Outside,
}

impl Sleepers {
    /// `None` if anybody does not who is known, but for the looker.
    fn look(runtimes: &[Arc<Shared>], looker: Option<(&Arc<Shared>, usize)>) -> Option<Self> {
        let rested = runtimes.iter().map(|runtime| {
            let me = looker.filter(|(of, _)| Arc::ptr_eq(of, runtime));
            rested(runtime, me.map(|(_, worker)| worker))
        });
        Some(Self {
            rested: rested.collect::<Option<_>>()?,
            outside: silence::outside()?,
        })
    }

    fn os_threads(&self) -> usize {
        self.rested.iter().map(Vec::len).sum::<usize>() + self.outside.threads()
    }
}

fn rested(runtime: &Shared, looker: Option<usize>) -> Option<Vec<(usize, u64)>> {
    if runtime.is_stopping() {
        // Those of its workers that are left are not known.
        return Some(Vec::new());
    }
    let seated = runtime.seated();
    let mut rested = Vec::with_capacity(seated.len());
    for worker in seated {
        if looker != Some(worker) && !runtime.idle.is_asleep(worker) {
            return None;
        }
        rested.push((worker, runtime.remote(worker).pace.rested()));
    }
    Some(rested)
}

/// Whether nothing waits for the workers of a runtime, and nothing will come by itself.
fn has_nothing_to_do(runtime: &Shared) -> bool {
    !runtime.has_work_for_any(true)
        && runtime.everybody().all(|worker| worker.inbox.is_empty())
        && runtime.timers.iter().all(|timers| timers.next().is_none())
        && driver_wakes_nobody(runtime)
}

fn driver_wakes_nobody(runtime: &Shared) -> bool {
    let Some(driver) = runtime.driver() else {
        return true;
    };
    // In this order: who has taken tickets before, and not fired them yet, attends.
    driver.has_no_tickets() && {
        let sleeps = driver.sleeps();
        match runtime
            .everybody()
            .filter(|worker| worker.attends())
            .count()
        {
            0 => true,
            1 => sleeps,
            _ => false,
        }
    }
}
