//! Times at which the wait of a future ends.
//!
//! A future has no worker. One that is polled by a green thread has its timer with the worker that runs
//! it, as that thread has; any other with a worker of the global runtime, which is woken if the
//! timer is its next.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::protocol::timer::TimerKey;
use crate::run::context;
use crate::run::shared::Shared;
use crate::runtime;
use crate::wait::Ticket;

/// A timer that fires a ticket. Dropping it takes the ticket back.
///
/// If its runtime ends before its time, it fires then.
#[derive(Debug)]
pub(crate) struct Alarm {
    runtime: Arc<Shared>,
    shard: usize,
    key: TimerKey,
}

impl Alarm {
    /// `None` if the time will never come.
    ///
    /// # Errors
    ///
    /// The current thread is not green, and the global runtime cannot be started.
    pub(crate) fn set(time: Instant, ticket: Ticket) -> io::Result<Option<Self>> {
        let runtime = runtime::current()?;
        let shard = context::home_shard(&runtime);
        let armed = runtime.arm_timer(shard, time, ticket);
        Ok(armed.map(|key| Self {
            runtime,
            shard,
            key,
        }))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let ticket = self.runtime.workers[self.shard].timers.cancel(self.key);
        drop(ticket);
    }
}
