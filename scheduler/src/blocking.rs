//! Calls that block in the system, off the workers.
//!
//! A worker that sits in `getaddrinfo` runs no green thread. [`run`] hands such a call to a helper
//! OS thread and parks the green thread meanwhile. Helpers are started when they are needed,
//! sixteen at most for the process, and end when they have had nothing to do for a while.

use std::collections::VecDeque;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::run::context;
use crate::run::panicking;
use crate::stack::fp::{Environment, Saved};
use crate::wait;

const MAX_HELPERS: usize = 16;
const KEEP_IDLE: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

struct Helpers {
    state: Mutex<State>,
    job_came: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    helpers: usize,
    idle: usize,
}

static HELPERS: Helpers = Helpers {
    state: Mutex::new(State {
        jobs: VecDeque::new(),
        helpers: 0,
        idle: 0,
    }),
    job_came: Condvar::new(),
};

/// Calls `f` on a helper OS thread and waits for its result, so that the other green threads of
/// this worker go on. On a plain OS thread it just calls `f`.
///
/// If the green thread is cancelled meanwhile, it unwinds, and the call ends on its own. Its result is
/// dropped then; a panic of its destructor is printed, and harms nobody.
///
/// # Errors
///
/// No helper is there, and the system refuses another OS thread.
///
/// # Panics
///
/// A panic of `f` goes on in the caller.
///
/// # Examples
///
/// ```
/// let sum = roving::blocking(|| (1..=10).sum::<u32>())?;
/// assert_eq!(sum, 55);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    if !context::is_green() {
        return Ok(f());
    }
    let wait = wait::begin();
    let ticket = wait.ticket();
    let result = Arc::new(Slot(Mutex::new(None)));
    let slot = result.clone();
    let environment = Saved::new(Environment::current());
    HELPERS.submit(Box::new(move || {
        let call = || panic::catch_unwind(AssertUnwindSafe(f));
        let outcome = environment.run_in(Environment::current(), call);
        *slot.0.lock() = Some(outcome);
        ticket.fire();
    }))?;
    wait.block(None);
    let outcome = result.0.lock().take();
    match outcome.expect("the helper wrote it before it fired") {
        Ok(value) => Ok(value),
        Err(payload) => panic::resume_unwind(payload),
    }
}

/// The way of a result from the helper to the green thread. If that has been cancelled, the last of
/// the two to let go drops the result, be it unwinding or be it the helper, which others need: so
/// a panic of its destructor ends there.
struct Slot<T>(Mutex<Option<thread::Result<T>>>);

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        if let Some(result) = self.0.get_mut().take() {
            panicking::contain(|| drop(result));
        }
    }
}

impl Helpers {
    fn submit(&'static self, job: Job) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.idle <= state.jobs.len() && state.helpers < MAX_HELPERS {
            let started = thread::Builder::new()
                .name("roving-blocking".to_owned())
                .spawn(|| self.help());
            match started {
                Ok(_) => state.helpers += 1,
                Err(error) if state.helpers == 0 => {
                    return Err(io::Error::new(
                        error.kind(),
                        format!("no OS thread for a call that blocks: {error}"),
                    ));
                }
                Err(_) => {}
            }
        }
        state.jobs.push_back(job);
        self.job_came.notify_one();
        Ok(())
    }

    fn help(&self) {
        let mut state = self.state.lock();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.state.lock();
            }
            state.idle += 1;
            let timed_out = self.job_came.wait_for(&mut state, KEEP_IDLE).timed_out();
            state.idle -= 1;
            if timed_out && state.jobs.is_empty() {
                state.helpers -= 1;
                return;
            }
        }
    }
}
