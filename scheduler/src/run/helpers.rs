//! Helpers: the OS threads of a runtime on which its green threads make calls that block in the system.
//!
//! There is a [`Lane`] for each kind of call, with helpers and a bound of its own, so that calls of one
//! kind that take long hold up none of another. A helper is started when a call comes for which none is
//! idle, up to the bound. At the bound, calls wait for their turn, and one line on standard error
//! tells so.
//!
//! A helper ends when it has had nothing to do for a while, or when the runtime has ended; but not
//! while it has children. A process that is to be told of its parent's end (`PR_SET_PDEATHSIG`) is told,
//! or killed, when the OS thread ends that forked it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::protocol::process::Process;
use crate::protocol::say::say;
use crate::run::os_thread;

/// The most calls of a kind at once where nothing else is set.
pub(crate) const DEFAULT_BOUND: usize = 512;

/// How long a helper stays that has nothing to do.
const KEEP_IDLE: Duration = Duration::from_secs(5);

/// One call. It does not unwind.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A kind of call that blocks in the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What a program calls through [`blocking`](crate::blocking::run).
    Call,
    /// The look-up of a name.
    Lookup,
    /// The close of a descriptor.
    Close,
}

impl Kind {
    /// As messages have it.
    fn name(self) -> &'static str {
        match self {
            Self::Call => "calls of roving::blocking",
            Self::Lookup => "look-ups of names",
            Self::Close => "closes that linger",
        }
    }

    fn thread_name(self) -> &'static str {
        match self {
            Self::Call => "roving-blocking",
            Self::Lookup => "roving-lookup",
            Self::Close => "roving-close",
        }
    }
}

/// The helpers of one runtime.
#[derive(Debug)]
pub(crate) struct Helpers {
    lanes: [Arc<Lane>; 3],
}

impl Helpers {
    /// At most `bound` for each kind of call.
    pub(crate) fn new(bound: usize) -> Self {
        let lanes = [Kind::Call, Kind::Lookup, Kind::Close];
        Self {
            lanes: lanes.map(|kind| Arc::new(Lane::new(kind, bound))),
        }
    }

    pub(crate) fn lane(&self, kind: Kind) -> &Arc<Lane> {
        &self.lanes[kind as usize]
    }

    /// Lets the helpers end that have nothing to do.
    pub(crate) fn close(&self) {
        for lane in &self.lanes {
            lane.state().closed = true;
            lane.changed.notify_all();
        }
    }
}

/// The helpers for one kind of call.
pub(crate) struct Lane {
    kind: Kind,
    bound: usize,
    // std's, which a thread may sleep in while another one forks.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    helpers: usize,
    idle: usize,
    closed: bool,
    /// That calls wait for helpers has been told.
    told: bool,
}

impl Lane {
    fn new(kind: Kind, bound: usize) -> Self {
        Self {
            kind,
            bound,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a helper do `job`.
    ///
    /// # Errors
    ///
    /// There is no helper, and the system refuses another OS thread.
    pub(crate) fn submit(self: &Arc<Self>, job: Job) -> io::Result<()> {
        let mut state = self.state();
        if state.idle <= state.jobs.len() {
            let complaint = if state.helpers < self.bound {
                self.start_helper(&mut state)?
            } else {
                Some(String::from(
                    "to have more, raise Builder::max_blocking or ROVING_MAX_BLOCKING",
                ))
            };
            if let Some(complaint) = complaint
                && !state.told
            {
                state.told = true;
                self.tell(state.helpers, &complaint);
            }
        }
        state.jobs.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    /// Starts a helper. If the system refuses its thread, but there are others, gives the reason.
    fn start_helper(self: &Arc<Self>, state: &mut State) -> io::Result<Option<String>> {
        let lane = self.clone();
        let name = self.kind.thread_name().to_owned();
        let started = os_thread::start(name, move || lane.help());
        match started {
            Ok(_) => {
                state.helpers += 1;
                Ok(None)
            }
            Err(error) if state.helpers == 0 => Err(io::Error::new(
                error.kind(),
                format!("no OS thread for a call that blocks: {error}"),
            )),
            Err(error) => Ok(Some(format!("the system refuses another one: {error}"))),
        }
    }

    #[cold]
    fn tell(&self, helpers: usize, complaint: &str) {
        let calls = self.kind.name();
        say(&format!(
            "roving: all {helpers} OS threads for {calls} are in use, and others wait: {complaint}\n"
        ));
    }

    fn help(&self) {
        let home = Process::current();
        let mut state = self.state();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                home.end_child();
                state = self.state();
            }
            if state.closed && !has_children() {
                break;
            }
            state.idle += 1;
            let waited = self.changed.wait_timeout(state, KEEP_IDLE);
            let (guard, result) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if result.timed_out() && state.jobs.is_empty() && !has_children() {
                break;
            }
        }
        state.helpers -= 1;
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("kind", &self.kind)
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}

/// Whether this OS thread has forked processes that it is the parent of. If the system does not say,
/// it may have.
#[cfg(target_os = "linux")]
fn has_children() -> bool {
    !std::fs::read("/proc/thread-self/children").is_ok_and(|children| children.is_empty())
}

/// Elsewhere children belong to the process.
#[cfg(not(target_os = "linux"))]
fn has_children() -> bool {
    false
}
