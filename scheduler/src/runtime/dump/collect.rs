//! How a dump is taken.
//!
//! The green threads that have suspended are in the registry, which is looked through in slices. One that is
//! parked is held, asked why it waits, and [visited](crate::stack::coroutine): its stack is walked. What
//! else is in the registry runs, or waits to be run. Those that run are shown by their workers, and a
//! [glimpse](crate::run::glimpse) of each is taken; what is left of all that are alive waits to begin.
//!
//! Whoever takes a dump does so on a stack that was made for it, since a green thread may have little of its own.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::protocol::lock::{Mutex, MutexGuard};

use super::frames::{self, Addresses, Named};
use super::visit::{self, NO_MEMORY, Visitor};
use super::{Does, Dump, Group, HeldBy, Kind, Thread, Worker};
use crate::protocol::process::PerProcess;
use crate::run::glimpse::Glimpse;
use crate::run::green::Waiter;
use crate::run::hold::Held;
use crate::run::processor;
use crate::run::reason::Holder;
use crate::run::registry::Cursor;
use crate::run::shared::{Remote, Shared};
use crate::run::ticks;
use crate::runtime::deadlock::{self, Deadlock};
use crate::runtime::leaks::{self, Leak};
use crate::runtime::record::{self, Record};
use crate::runtime::state::Parked;
use crate::stack::coroutine;

/// How many groups a dump has, and how many threads are told of in each.
const MOST_GROUPS: usize = 500;
const EXAMPLES: usize = 5;

/// How many of those are told of that wait for what can never come.
const MOST_LEAKS: usize = 20;

/// Threads that are looked at in one go.
pub(in crate::runtime) const SLICE: usize = 256;

/// The runtimes of this process, those that are gone too.
pub(in crate::runtime) static RUNTIMES: PerProcess<Mutex<Vec<Weak<Shared>>>> = PerProcess::new();
static ONE_AT_A_TIME: PerProcess<Mutex<()>> = PerProcess::new();

/// A runtime has started.
pub(in crate::runtime) fn enter(runtime: &Arc<Shared>) {
    let mut runtimes = RUNTIMES.get_or_make(Mutex::default).lock();
    runtimes.retain(|runtime| runtime.strong_count() > 0);
    runtimes.push(Arc::downgrade(runtime));
}

/// Those that are there, in the order in which they have started.
pub(crate) fn runtimes() -> Vec<Arc<Shared>> {
    match RUNTIMES.get() {
        Some(runtimes) => runtimes.lock().iter().filter_map(Weak::upgrade).collect(),
        None => Vec::new(),
    }
}

/// Keeps others from looking while this is there.
pub(in crate::runtime) fn one_at_a_time() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.get_or_make(Mutex::default).lock()
}

/// All green threads of this process.
pub(super) fn everything() -> Dump {
    take(None)
}

/// The green thread of that number alone, if it has begun and is alive.
#[cfg(feature = "console")]
pub(in crate::runtime) fn of_thread(id: u64) -> Option<Dump> {
    let dump = take(Some(id));
    (dump.alive > 0).then_some(dump)
}

/// All green threads, or the one of a number.
fn take(only: Option<u64>) -> Dump {
    with_collector(only, Collector::collect)
}

/// What a thread does that a worker has shown.
pub(in crate::runtime) fn what_it_does(worker: &Remote, thread: &Arc<Waiter>) -> Does {
    with_collector(None, |mut collector| collector.look_closer(worker, thread))
}

fn with_collector<T>(only: Option<u64>, collect: impl FnOnce(Collector) -> T) -> T {
    let _one = one_at_a_time();
    Visitor::with(|visitor| collect(Collector::new(visitor, only)))
}

struct Collector {
    /// The only thread that is told of, if it is not all.
    only: Option<u64>,
    visitor: Visitor,
    addresses: Vec<usize>,
    known: HashMap<Doing, usize>,
    groups: Vec<Collected>,
    workers: Vec<Worker>,
    /// `None` if there can be none, and why.
    glimpse: Result<Glimpse, &'static str>,
    /// The stacks of those that run, with the number of a thread of each.
    running: HashMap<Addresses, u64>,
    counts: Counts,
    leaked: Vec<Leak>,
    left_out: usize,
}

#[derive(Default)]
struct Counts {
    alive: usize,
    running: usize,
    runnable: usize,
    parked: usize,
}

/// What threads of a group have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Doing {
    Runnable(&'static Location<'static>),
    Parked(Addresses),
    /// Nobody knows where.
    Waits(&'static Location<'static>, &'static str),
}

struct Collected {
    group: Group,
    named: Option<Named>,
    /// For each thread in it, who has what it waits for.
    holders: Vec<Option<Holder>>,
}

impl Collector {
    fn new(visitor: Visitor, only: Option<u64>) -> Self {
        let glimpse = if visitor.can_walk() {
            Glimpse::new().map_err(|_| "the system does not let its stack be copied")
        } else {
            Err(NO_MEMORY)
        };
        Self {
            only,
            visitor,
            addresses: Vec::with_capacity(frames::MOST_FRAMES),
            known: HashMap::new(),
            groups: Vec::new(),
            workers: Vec::new(),
            glimpse,
            running: HashMap::new(),
            counts: Counts::default(),
            leaked: Vec::new(),
            left_out: 0,
        }
    }

    fn collect(mut self) -> Dump {
        let record = match self.only {
            None => record::record(),
            Some(_) => Record::default(),
        };
        let runtimes = runtimes();
        for (number, runtime) in runtimes.iter().enumerate() {
            self.look_at(number, runtime);
        }
        if self.only.is_none() {
            self.leaked = leaks::find(&runtimes);
        }
        self.name_holders(&runtimes);
        self.groups
            .sort_by_key(|collected| usize::MAX - collected.group.count);
        let name = |mut collected: Collected| {
            let named = collected.named.as_ref();
            collected.group.stack = named.map_or(Vec::new(), Named::frames);
            collected.group
        };
        Dump {
            alive: self.counts.alive,
            running: self.counts.running,
            runnable: self.counts.runnable,
            parked: self.counts.parked,
            leaked: self.leaked.len(),
            leaks: self
                .leaked
                .iter()
                .take(MOST_LEAKS)
                .map(Leak::to_string)
                .collect(),
            deadlocks: deadlocks(self.only),
            workers: self.workers,
            groups: self.groups.into_iter().map(name).collect(),
            left_out: self.left_out,
            record,
        }
    }

    fn look_at(&mut self, number: usize, runtime: &Arc<Shared>) {
        let only = self.only;
        let is_told_of = |waiter: &Arc<Waiter>| only.is_none_or(|id| waiter.id() == id);
        let mut running = Vec::new();
        let mut workers = Vec::new();
        for (index, worker) in runtime.everybody().enumerate() {
            let thread = runtime.onlookers.look(&worker.running.thread);
            let thread = thread.filter(is_told_of);
            if thread.is_none() && self.only.is_some() {
                continue;
            }
            let since = worker.running.since.load(Ordering::Relaxed);
            self.workers.push(Worker {
                runtime: number,
                worker: index,
                runs: thread.as_ref().map(|thread| Thread {
                    seconds: ticks::elapsed_since(since).map(|time| time.as_secs_f64()),
                    ..Thread::of(thread)
                }),
                does: None,
            });
            workers.extend(thread.is_some().then(|| (self.workers.len() - 1, worker)));
            running.extend(thread);
        }
        let (mut entered, mut runs) = (0, running.len());
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            let (threads, next) = runtime.registry.some_from(from, SLICE);
            for waiter in threads.iter().filter(|waiter| is_told_of(waiter)) {
                entered += 1;
                let ran = running.iter().any(|other| Arc::ptr_eq(other, waiter));
                if self.visit(waiter) {
                    // One that ran, and has parked since.
                    runs -= usize::from(ran);
                } else if !ran {
                    self.counts.runnable += 1;
                    let doing = Doing::Runnable(site(waiter));
                    self.add(doing, waiter, None, None);
                }
            }
            cursor = next;
        }
        let unseen = running.iter().filter(|thread| {
            let green = thread.green().expect("workers run green threads");
            green.key().is_none()
        });
        let known = entered + unseen.count();
        let alive = match self.only {
            None => runtime.registry.len().max(known),
            Some(_) => known,
        };
        self.counts.alive += alive;
        self.counts.running += runs;
        self.counts.runnable += alive - known;
        for ((place, worker), thread) in workers.into_iter().zip(&running) {
            self.workers[place].does = Some(self.look_closer(worker, thread));
        }
    }

    /// What a thread does that a worker has shown.
    fn look_closer(&mut self, worker: &Remote, thread: &Arc<Waiter>) -> Does {
        if worker.os_thread() == processor::os_thread() {
            return Does::unknown("it takes this dump");
        }
        let glimpse = match &mut self.glimpse {
            Ok(glimpse) => glimpse,
            Err(why) => return Does::unknown(why),
        };
        let doing = match glimpse.take(worker, thread) {
            Ok(doing) => doing,
            Err(why) => return Does::unknown(why),
        };
        let (addresses, running) = (&mut self.addresses, &mut self.running);
        let (mut stack, mut same_as) = (Vec::new(), None);
        let walked = glimpse.walk(&mut || {
            let mut walk = || {
                Addresses::here(addresses);
                let own = Glimpse::frames_of_thread(addresses);
                match running.entry(Addresses::of(&addresses[own.clone()])) {
                    Entry::Occupied(other) => same_as = Some(*other.get()),
                    Entry::Vacant(place) => {
                        place.insert(thread.id());
                        stack = Named::here(addresses, own).frames();
                    }
                }
            };
            visit::above_others(&mut walk);
        });
        let is_unknown = stack.is_empty() && same_as.is_none();
        Does {
            doing: Some(doing),
            stack,
            same_as,
            no_stack: (!walked || is_unknown).then_some("nobody knows the code that it is in"),
        }
    }

    /// `true` if the thread is parked, and has been told of.
    fn visit(&mut self, waiter: &Arc<Waiter>) -> bool {
        let Some(epoch) = waiter.word.parked() else {
            return false;
        };
        let Some(held) = Held::take(waiter, epoch) else {
            return false;
        };
        let parked = Parked::of(&held);
        let (mut found, mut named) = (None, None);
        let (addresses, known) = (&mut self.addresses, &self.known);
        let visited = self.visitor.visit(&held, || {
            Addresses::here(addresses);
            let doing = Doing::Parked(Addresses::of(addresses));
            if !known.contains_key(&doing) && known.len() < MOST_GROUPS {
                named = Some(Named::here(addresses, coroutine::frames_of_body(addresses)));
            }
            found = Some(doing);
        });
        drop(held);
        let doing = match visited {
            Ok(()) => found.expect("the visit was made"),
            Err(why) => Doing::Waits(site(waiter), why),
        };
        self.counts.parked += 1;
        self.add(doing, waiter, Some(parked), named);
        true
    }

    fn add(
        &mut self,
        doing: Doing,
        waiter: &Arc<Waiter>,
        parked: Option<Parked>,
        named: Option<Named>,
    ) {
        let place = match self.known.get(&doing) {
            Some(place) => *place,
            None if self.groups.len() == MOST_GROUPS => {
                self.left_out += 1;
                return;
            }
            None => {
                let no_stack = match doing {
                    Doing::Waits(_, why) => Some(why),
                    Doing::Runnable(_) | Doing::Parked(_) => None,
                };
                self.groups.push(Collected {
                    group: Group {
                        count: 0,
                        state: if parked.is_some() {
                            Kind::Parked
                        } else {
                            Kind::Runnable
                        },
                        stack: Vec::new(),
                        no_stack,
                        threads: Vec::new(),
                    },
                    named,
                    holders: Vec::new(),
                });
                self.known.insert(doing, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        let Collected { group, holders, .. } = &mut self.groups[place];
        group.count += 1;
        if group.threads.len() < EXAMPLES {
            holders.push(parked.as_ref().and_then(|parked| parked.holder));
            let mut thread = Thread::of(waiter);
            if let Some(parked) = &parked {
                thread.wait(parked);
            }
            group.threads.push(thread);
        }
    }

    /// Finds out who the holders are, of whom only an address on the stack is known.
    fn name_holders(&mut self, runtimes: &[Arc<Shared>]) {
        let holders = self.groups.iter().flat_map(|group| &group.holders);
        let stacks = holders.flatten().map(|holder| (holder.stack, None));
        let mut wanted: BTreeMap<usize, Option<Arc<Waiter>>> = stacks.collect();
        if wanted.is_empty() {
            return;
        }
        let mut find = |waiter: &Arc<Waiter>| {
            let own_stack = waiter.own_stack().expect("green threads have stacks");
            // SAFETY: it is in the registry, or runs.
            let stack = unsafe { own_stack.started() }.coroutine.stack();
            for (_, found) in wanted.range_mut(stack.range()) {
                *found = Some(waiter.clone());
            }
        };
        for runtime in runtimes {
            for worker in runtime.everybody() {
                let running = runtime.onlookers.look(&worker.running.thread);
                running.iter().for_each(&mut find);
            }
            let mut cursor = Some(Cursor::default());
            while let Some(from) = cursor {
                let (threads, next) = runtime.registry.some_from(from, SLICE);
                threads.iter().for_each(&mut find);
                cursor = next;
            }
        }
        for Collected { group, holders, .. } in &mut self.groups {
            for (thread, holder) in group.threads.iter_mut().zip(holders) {
                thread.held_by = holder.map(|holder| {
                    let found = wanted.get(&holder.stack).and_then(Option::as_ref);
                    HeldBy::of(&holder, found)
                });
            }
        }
    }
}

fn site(waiter: &Waiter) -> &'static Location<'static> {
    waiter.own_stack().expect("green threads have stacks").site
}

/// The threads of each deadlock that there is, or of those that the only one is in.
fn deadlocks(only: Option<u64>) -> Vec<Vec<Thread>> {
    let threads = |found: &Deadlock| -> Vec<_> {
        let threads = found.members.iter();
        threads.map(|member| Thread::of(&member.waiter)).collect()
    };
    let all = deadlock::all();
    let all = all.iter().map(threads);
    all.filter(|threads| only.is_none_or(|only| threads.iter().any(|thread| thread.id == only)))
        .collect()
}

impl HeldBy {
    /// `found` is whose stack it is.
    fn of(holder: &Holder, found: Option<&Arc<Waiter>>) -> Self {
        Self {
            id: found.map(|waiter| waiter.id()),
            name: found.and_then(|waiter| waiter.name().map(str::to_owned)),
            taken_at: holder.place.to_string(),
        }
    }
}

impl Thread {
    /// One that waits for what another has.
    pub(in crate::runtime) fn held_up_by(mut self, holder: &Holder, other: &Arc<Waiter>) -> Self {
        self.held_by = Some(HeldBy::of(holder, Some(other)));
        self
    }

    pub(in crate::runtime) fn of(waiter: &Arc<Waiter>) -> Self {
        Self {
            id: waiter.id(),
            name: waiter.name().map(str::to_owned),
            spawned_at: site(waiter).to_string(),
            why: None,
            waits_at: None,
            seconds: None,
            seconds_left: None,
            held_by: None,
        }
    }
    /// Tells how and why it waits.
    pub(in crate::runtime) fn wait(&mut self, parked: &Parked) {
        self.why = Some(parked.why.clone());
        self.waits_at = parked.place.map(ToString::to_string);
        self.seconds = parked.elapsed.map(|time| time.as_secs_f64());
        self.seconds_left = parked.left.map(|time| time.as_secs_f64());
    }
}
