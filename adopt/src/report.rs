//! What a program has had of its adoption.

use std::cmp::Reverse;
use std::collections::BTreeMap;
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
        let made = |calls: &Calls| (calls.name == "pthread_create").then_some(calls.all);
        let os_threads: u64 = next::counted().filter_map(|calls| made(&calls)).sum();
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
        let mut by_name = BTreeMap::<_, u64>::new();
        for calls in next::counted().filter(|calls| calls.handed_over > 0) {
            *by_name.entry(calls.name).or_default() += calls.handed_over;
        }
        let mut calls: Vec<_> = by_name.into_iter().collect();
        calls.sort_by_key(|&(_, handed_over)| Reverse(handed_over));
        if !calls.is_empty() {
            writeln!(
                f,
                "  for calls of these functions that were known to wait in the system:"
            )?;
        }
        for (name, handed_over) in calls {
            writeln!(f, "  {handed_over:9}  {name}")?;
        }
        Ok(())
    }
}
