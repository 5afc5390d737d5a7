//! The numbers of the stacks of this process.

use std::fmt;

use super::compact::{self, NoCompactStacks};
use super::guard::{self, Guards, NoGuards};
use super::pool;

/// The stacks of this process, of all its runtimes: how many there are, how they are guarded, and
/// what that limits. Returned by [`stacks`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stacks {
    /// How many are out of the pool: those of the green threads that have started and are alive, and those
    /// that workers keep at hand. A runtime that has shut down keeps none.
    pub in_use: usize,
    /// What guards the newest ones; `None` before the first one is created.
    pub guards: Option<Guards>,
    /// How many there can be with guards of that kind; `None` if only memory limits them.
    pub limit: Option<usize>,
    /// Kinds of guards that the system has refused, and why. Those before the one that `ROVING_STACK_GUARDS`
    /// names were not asked for, and are not here.
    pub refused: Vec<NoGuards>,
    /// Whether they are [compact](crate::Builder::compact_stacks), which is known when the first runtime has started.
    pub is_compact: bool,
    /// Why they are not, if a runtime has asked for it.
    pub not_compact: Option<NoCompactStacks>,
}

/// Returns the numbers of the stacks of this process.
///
/// # Examples
///
/// ```
/// let thread = roving::spawn(|| roving::stacks());
/// let stacks = thread.join().unwrap();
/// assert!(stacks.in_use > 0);
/// assert!(stacks.guards.is_some());
/// println!("{stacks}"); // for example: 1 stack in use, guards by madvise
/// ```
pub fn stacks() -> Stacks {
    let compact = compact::is_had();
    Stacks {
        in_use: pool::stock().0.stacks,
        guards: guard::in_use(),
        limit: guard::limit(),
        refused: guard::refused(),
        is_compact: matches!(compact, Some(Ok(()))),
        not_compact: compact.and_then(Result::err),
    }
}

impl fmt::Display for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.in_use == 1 { "" } else { "s" };
        write!(f, "{} stack{plural} in use", self.in_use)?;
        if let Some(guards) = self.guards {
            write!(f, ", guards by {guards}")?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", at most {limit}")?;
        }
        let mut before = " (refused: ";
        for refusal in &self.refused {
            write!(f, "{before}{refusal}")?;
            before = "; ";
        }
        f.write_str(if self.refused.is_empty() { "" } else { ")" })?;
        if self.is_compact {
            f.write_str(", compact")?;
        }
        match &self.not_compact {
            Some(why) => write!(f, " ({why})"),
            None => Ok(()),
        }
    }
}
