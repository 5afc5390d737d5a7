//! What a program has had of its adoption.

use std::fmt::{self, Display};

use roving_scheduler::Handle;

use crate::is_adopted;
use crate::next::{self, Calls};

/// Counts from now on what a [`Report`] tells. Functions that were called before are left out.
#[doc(hidden)]
pub fn count() {
    next::count();
}

/// What has been counted until it is shown, in lines that are indented.
#[doc(hidden)]
#[derive(Debug)]
pub struct Report;

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut calls: Vec<Calls> = next::counted().collect();
        let os_threads = calls.iter().find(|calls| calls.name == "pthread_create");
        let os_threads = os_threads.map_or(0, |calls| calls.all);
        let runtime = is_adopted().then(Handle::current).and_then(Result::ok);
        let Some(metrics) = runtime.map(|runtime| runtime.metrics()) else {
            return writeln!(
                f,
                "  it was not adopted: {os_threads} threads were made, all of them OS threads"
            );
        };
        writeln!(
            f,
            "  {} green threads were made, on {} workers; {os_threads} OS threads, those of the runtime among them",
            metrics.spawned,
            metrics
                .workers
                .iter()
                .filter(|worker| !worker.is_spare)
                .count(),
        )?;
        writeln!(
            f,
            "  green threads have waited {} times without an OS thread; a worker was handed over {} times",
            metrics.parks, metrics.hand_overs,
        )?;
        calls.retain(|calls| calls.handed_over > 0);
        calls.sort_by_key(|calls| (u64::MAX - calls.handed_over, calls.name));
        if !calls.is_empty() {
            writeln!(
                f,
                "  for calls of these functions that were known to wait in the system:"
            )?;
        }
        for calls in calls {
            writeln!(f, "  {:9}  {}", calls.handed_over, calls.name)?;
        }
        Ok(())
    }
}
