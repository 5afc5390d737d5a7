//! The OS threads of the spares: how many there are, and when they start and end.
//!
//! A spare is a [worker](crate::run::worker) that takes part while another one is stuck
//! ([`roster`](crate::protocol::roster)). The first starts with the runtime, and sleeps. Another one is started
//! when one is wanted and none is in reserve, by whoever finds that: a worker that gets stuck, or the last
//! sleeper that gets busy, after which nobody would find who is stuck. At the bound nobody is, and one line on
//! standard error tells so.
//!
//! A spare ends when it has had nothing to do for a while, but for the last one in reserve. It does not while it
//! has green threads that are bound to it; nor while it has children. A process that is to be told of its
//! parent's end (`PR_SET_PDEATHSIG`) is told, or killed, when the OS thread ends that forked it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::protocol::lock::Mutex;

use crate::protocol::outline::{Field, fields};
use crate::protocol::say::say;
use crate::run::deep;
use crate::run::os_thread;
use crate::run::queue::Local;
use crate::run::shared::{Remote, Shared};
use crate::run::worker::Worker;

/// The most spares where nothing else is set.
pub(crate) const DEFAULT_BOUND: usize = 512;

/// How long a spare stays that has nothing to do.
pub(crate) const KEEP_IDLE: Duration = Duration::from_secs(5);

/// See the [module](self).
pub(crate) struct Spares {
    /// The name of the runtime's OS threads.
    name: String,
    /// Those that have ever started. A seat is used again.
    remotes: Box<[OnceLock<Arc<Remote>>]>,
    /// Those from here on have not started, or have ended.
    taken: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seats: Vec<Seat>,
    is_starting: bool,
    closed: bool,
    /// That there are no more has been told.
    told: bool,
}

impl State {
    /// How many sit there.
    fn taken(&self) -> usize {
        let is_taken = |seat: &&Seat| seat.local.is_none();
        self.seats.iter().filter(is_taken).count()
    }
}

/// Where a spare sits.
struct Seat {
    /// Its queues, while nobody sits there.
    local: Option<Local>,
    /// How many have sat there.
    terms: u32,
    /// `None` if nobody does, or will in a moment.
    thread: Option<JoinHandle<()>>,
}

impl Spares {
    pub(crate) const FIELDS: [Field; 2] = fields!(Spares: remotes, taken);

    pub(crate) fn new(name: &str, bound: usize) -> Self {
        Self {
            name: name.to_owned(),
            remotes: (0..bound).map(|_| OnceLock::new()).collect(),
            taken: AtomicUsize::new(0),
            state: Mutex::default(),
        }
    }

    /// How many there may be.
    pub(crate) fn bound(&self) -> usize {
        self.remotes.len()
    }

    /// What the other threads reach of each, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Remote>> {
        let taken = self.taken.load(Ordering::Acquire);
        self.remotes[..taken]
            .iter()
            .map(|remote| remote.get().expect("seats are taken from the first one on"))
    }

    /// The same, those included that have ended.
    pub(crate) fn ever(&self) -> impl Iterator<Item = &Arc<Remote>> {
        // Seats are taken from the first one on.
        self.remotes.iter().map_while(OnceLock::get)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().taken()
    }

    /// The numbers of those that there are, or will be in a moment.
    pub(crate) fn seated(&self) -> Vec<usize> {
        let state = self.state.lock();
        let seats = state.seats.iter().enumerate();
        seats
            .filter_map(|(spare, seat)| seat.local.is_none().then_some(spare))
            .collect()
    }

    pub(crate) fn get(&self, spare: usize) -> &Arc<Remote> {
        self.remotes[spare].get().expect("it has started")
    }

    /// Takes the first seat that is free.
    fn take_seat(&self, state: &mut State) -> Option<(usize, u32, Local)> {
        let free = state.seats.iter().position(|seat| seat.local.is_some());
        let spare = free.unwrap_or(state.seats.len());
        let remote = self.remotes.get(spare)?;
        if free.is_none() {
            let local = Local::new();
            remote.get_or_init(|| Arc::new(Remote::new(local.stealable())));
            state.seats.push(Seat {
                local: Some(local),
                terms: 0,
                thread: None,
            });
        }
        self.taken.fetch_max(spare + 1, Ordering::Release);
        let seat = &mut state.seats[spare];
        let local = seat.local.take()?;
        seat.terms += 1;
        Some((spare, seat.terms, local))
    }

    fn leave_seat(&self, state: &mut State, spare: usize, local: Local) {
        let seat = &mut state.seats[spare];
        seat.local = Some(local);
        if !state.closed {
            drop(seat.thread.take());
        }
        let last = state.seats.iter().rposition(|seat| seat.local.is_none());
        self.taken
            .store(last.map_or(0, |last| last + 1), Ordering::Release);
    }

    /// Lets no more of them start.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
    }

    /// Waits for the end of all. The workers have ended, and none may start.
    ///
    /// Whoever has started one has left its handle here before it ended itself.
    pub(crate) fn join(&self) {
        let next = || {
            let mut state = self.state.lock();
            state.seats.iter_mut().find_map(|seat| seat.thread.take())
        };
        while let Some(spare) = next() {
            // A spare that panics aborts the process, so it has ended well.
            let _ = spare.join();
        }
    }

    #[cold]
    fn tell(&self, state: &mut State, why: &str) {
        if !std::mem::replace(&mut state.told, true) {
            let spares = state.taken();
            say(&format!(
                "roving: all workers and {} spares run green threads that block in the system or compute for long, \
                 and what waits may have to wait for them: {why}\n",
                spares
            ));
        }
    }
}

/// Starts another spare of `shared`, unless there is one in reserve, or will be in a moment.
pub(crate) fn start(shared: &Arc<Shared>) {
    if shared.spares.bound() > 0 && shared.roster.has_no_reserve() {
        // A green thread's stack may have no room for that.
        if let Err(error) = deep::call(|| start_one(shared)) {
            let why = format!("the system refuses a stack: {error}");
            shared.spares.tell(&mut shared.spares.state.lock(), &why);
        }
    }
}

fn start_one(shared: &Arc<Shared>) {
    let spares = &shared.spares;
    let mut state = spares.state.lock();
    if state.is_starting || state.closed {
        return;
    }
    let Some((spare, term, local)) = spares.take_seat(&mut state) else {
        let raise = "to have more spares, raise Builder::max_spares or ROVING_MAX_SPARES";
        return spares.tell(&mut state, raise);
    };
    state.is_starting = true;
    drop(state);
    // If its thread is not started, what that would have taken along is dropped, and this is not.
    let queues = Arc::new(Mutex::new(Some(local)));
    let (its_queues, its_shared) = (queues.clone(), shared.clone());
    let body = move || {
        let local = its_queues.lock().take().expect("it is taken once");
        work(&its_shared, (spare, term), local);
    };
    let started = os_thread::start(format!("{}-spare-{spare}", spares.name), body);
    let mut state = spares.state.lock();
    match started {
        Ok(thread) => state.seats[spare].thread = Some(thread),
        Err(error) => {
            let local = queues.lock().take().expect("no thread has started");
            state.is_starting = false;
            spares.leave_seat(&mut state, spare, local);
            spares.tell(
                &mut state,
                &format!("the system refuses another one: {error}"),
            );
        }
    }
}

/// What the OS thread of a spare does.
fn work(shared: &Arc<Shared>, (spare, term): (usize, u32), local: Local) {
    let spares = &shared.spares;
    let worker = Worker::new(shared.clone(), shared.workers.len() + spare, term, local);
    let takes_part = shared.roster.join(&shared.idle, worker.index());
    spares.state.lock().is_starting = false;
    if takes_part {
        shared.has_watcher();
    }
    worker.run();
    let local = worker.into_local();
    spares.leave_seat(&mut spares.state.lock(), spare, local);
}

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spares")
            .field("bound", &self.bound())
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}
