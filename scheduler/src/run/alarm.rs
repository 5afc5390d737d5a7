//! Times at which the wait of what is polled ends.
//!
//! What is polled has no worker to look at its timers, so it has them with a worker of some runtime,
//! which is woken if the timer is its next.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::protocol::timer::TimerKey;
use crate::run::context;
use crate::run::shared::Shared;
use crate::run::ticket::Ticket;

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
    /// Sets a timer of `runtime`. `None` if the time will never come.
    ///
    /// # Panics
    ///
    /// Panics if there is no runtime, and says why.
    pub(crate) fn set(
        runtime: io::Result<Arc<Shared>>,
        time: Instant,
        ticket: Ticket,
    ) -> Option<Self> {
        let runtime = runtime.unwrap_or_else(|error| panic!("cannot wait for a time: {error}"));
        let shard = context::home_shard(&runtime);
        let key = runtime.arm_timer(shard, time, ticket)?;
        Some(Self {
            runtime,
            shard,
            key,
        })
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let ticket = self.runtime.timers[self.shard].cancel(self.key);
        drop(ticket);
    }
}
