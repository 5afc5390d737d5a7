//! What the environment sets where a builder is silent.
//!
//! A program does not fail for what cannot be read there: that is told of on standard error, once, and is as if it were not
//! set. What can be read, and cannot be had, is an error as it is where a builder asks for it.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::protocol::say::say;

pub(super) static ALL_ASLEEP: Variable = Variable::new("ROVING_ALL_ASLEEP");
pub(super) static COMPACT_STACKS: Variable = Variable::new("ROVING_COMPACT_STACKS");
pub(super) static CONSOLE: Variable = Variable::new("ROVING_CONSOLE");
pub(super) static DEADLOCKS: Variable = Variable::new("ROVING_DEADLOCKS");
pub(super) static DUMP: Variable = Variable::new("ROVING_DUMP");
pub(super) static MAX_SPARES: Variable = Variable::new("ROVING_MAX_SPARES");
pub(super) static MIGRATE_ALWAYS: Variable = Variable::new("ROVING_MIGRATE_ALWAYS");
pub(super) static RECLAIM_SECONDS: Variable = Variable::new("ROVING_RECLAIM_SECONDS");
pub(super) static RECORD: Variable = Variable::new("ROVING_RECORD");
pub(super) static STACK_GUARDS: Variable = Variable::new("ROVING_STACK_GUARDS");
pub(super) static STACK_REPORT: Variable = Variable::new("ROVING_STACK_REPORT");
pub(super) static STACK_SIZE: Variable = Variable::new("ROVING_STACK_SIZE");
pub(super) static STUCK_AFTER: Variable = Variable::new("ROVING_STUCK_AFTER");
pub(super) static THREAD_LOCALS: Variable = Variable::new("ROVING_THREAD_LOCALS");
pub(super) static WARN_STUCK: Variable = Variable::new("ROVING_WARN_STUCK");
pub(super) static WORKERS: Variable = Variable::new("ROVING_WORKERS");

pub(super) struct Variable {
    name: &'static str,
    /// That it cannot be read.
    told: AtomicBool,
}

impl Variable {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            told: AtomicBool::new(false),
        }
    }

    /// What `parse` makes of it, if it is set; else it says what is wrong.
    pub(super) fn read<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = env::var_os(self.name)?;
        let read = match value.to_str() {
            Some(text) => parse(text.trim()),
            None => Err("it is not UTF-8".to_owned()),
        };
        read.inspect_err(|why| self.tell(&value, why)).ok()
    }

    pub(super) fn number<N: FromStr, T>(
        &self,
        check: impl FnOnce(N) -> Result<T, String>,
    ) -> Option<T> {
        self.read(|text| check(parsed(text, "a whole number")?))
    }

    /// Whether it is set to another number than 0.
    pub(super) fn flag(&self) -> bool {
        self.number(|number: u8| Ok(number != 0)).unwrap_or(false)
    }

    pub(super) fn one_of<T: Copy>(&self, all: &[T], name: impl Fn(T) -> &'static str) -> Option<T> {
        self.read(|text| {
            let found = all.iter().copied().find(|&one| name(one) == text);
            found.ok_or_else(|| {
                let names: Vec<_> = all.iter().map(|&one| name(one)).collect();
                format!("expected one of {}", names.join(", "))
            })
        })
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        let path = env::var_os(self.name)?;
        (!path.is_empty()).then(|| path.into())
    }

    fn tell(&self, value: &OsStr, why: &str) {
        if !self.told.swap(true, Ordering::Relaxed) {
            let (name, value) = (self.name, value.display());
            say(&format!(
                "roving: {name}={value}: {why}; it is as if it were not set\n"
            ));
        }
    }
}

/// A time as `10ms`, `1.5s` or `0`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(millis), _) => (millis, 0.001),
        (None, Some(seconds)) => (seconds, 1.0),
        (None, None) => (text, 0.0),
    };
    let time = || {
        let number = number.trim_end().parse::<f64>().ok();
        let number = number.filter(|number| unit > 0.0 || *number == 0.0)?;
        let time = Duration::try_from_secs_f64(number * unit).ok();
        time.filter(|time| !time.is_zero() || number == 0.0)
    };
    time().ok_or_else(|| "expected a time as 10ms, 1.5s or 0".to_owned())
}

/// A number of seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "a number of seconds, or 0 for never";
    Duration::try_from_secs_f64(parsed(text, EXPECTED)?).map_err(|_| format!("expected {EXPECTED}"))
}

fn parsed<N: FromStr>(text: &str, expected: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("expected {expected}"))
}
