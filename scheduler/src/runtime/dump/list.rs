//! All green threads one by one, without their stacks.
//!
//! They are found as a [dump](super::collect) finds them.

use std::sync::Arc;

use super::Thread;
use super::collect::{SLICE, runtimes};
use crate::run::green::Waiter;
use crate::run::registry::Cursor;
use crate::run::shared::Shared;
use crate::runtime::state::State;

/// The green threads of this process.
#[derive(Debug, serde::Serialize)]
pub(in crate::runtime) struct Threads {
    threads: Vec<Listed>,
    /// How many more there are, those included that have not begun.
    left_out: usize,
}

/// One of them.
#[derive(Debug, serde::Serialize)]
struct Listed {
    /// The number of its runtime, from 0.
    runtime: usize,
    state: &'static str,
    /// Which runs it.
    worker: Option<usize>,
    #[serde(flatten)]
    thread: Thread,
}

impl Threads {
    /// So many at most.
    pub(in crate::runtime) fn list(most: usize) -> Self {
        let mut list = Self {
            threads: Vec::new(),
            left_out: 0,
        };
        for (number, runtime) in runtimes().iter().enumerate() {
            list.look_at(number, runtime, most);
        }
        list
    }

    fn look_at(&mut self, number: usize, runtime: &Arc<Shared>, most: usize) {
        let before = self.threads.len();
        // One that runs for the first time is in no registry.
        for worker in runtime.everybody() {
            let running = runtime.onlookers.look(&worker.running.thread);
            if let Some(thread) = running.filter(is_not_entered)
                && self.threads.len() < most
            {
                self.threads.push(Listed::of(&thread, number));
            }
        }
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor
            && self.threads.len() < most
        {
            let (threads, next) = runtime.registry.some_from(from, SLICE);
            let room = most - self.threads.len();
            let listed = threads.iter().take(room);
            self.threads
                .extend(listed.map(|thread| Listed::of(thread, number)));
            cursor = next;
        }
        let listed = self.threads.len() - before;
        self.left_out += runtime.registry.len().saturating_sub(listed);
    }
}

fn is_not_entered(thread: &Arc<Waiter>) -> bool {
    thread.green().is_some_and(|green| green.key().is_none())
}

impl Listed {
    fn of(waiter: &Arc<Waiter>, runtime: usize) -> Self {
        let mut thread = Thread::of(waiter);
        let (state, worker) = match State::of(waiter) {
            State::Running(worker, elapsed) => {
                thread.seconds = Some(elapsed.as_secs_f64());
                ("running", Some(worker))
            }
            State::Runnable => ("runnable", None),
            State::Parked(parked) => {
                thread.wait(&parked);
                ("parked", None)
            }
            State::Ended => ("ended", None),
        };
        Self {
            runtime,
            state,
            worker,
            thread,
        }
    }
}
