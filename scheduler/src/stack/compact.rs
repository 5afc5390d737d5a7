//! Compact stacks: those on which a thread that is parked takes one page of memory.
//!
//! A thread has thread-locals and the C library's data of its own above its frames. Usually they take two pages, because the C
//! library keeps [room](super::tls) between the thread-locals and the frames for libraries that are loaded later. A process that
//! loads none gives that up, and then all is in one page.
//!
//! It is so for all stacks of the process or for none: what decides is what the first runtime asks for whose threads
//! have thread-locals of their own.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::tls;

/// That somebody has asked for it, in this process or in a parent.
static ASKED: AtomicBool = AtomicBool::new(false);

pub(crate) fn ask() {
    ASKED.store(true, Ordering::Relaxed);
}

/// Whether stacks are compact, or why not; `None` if nobody has asked for that.
pub(super) fn is_had() -> Option<Result<(), NoCompactStacks>> {
    let is_asked = ASKED.load(Ordering::Relaxed);
    let because = |why| is_asked.then(|| Err(NoCompactStacks::because(why)));
    match tls::own() {
        Some(own) => match own.compact() {
            Some(had) => Some(had.clone()),
            None => because("the first runtime of the process has not asked for it"),
        },
        None => because("green threads have no thread-locals of their own"),
    }
}

/// Why stacks are not [compact](crate::Builder::compact_stacks) though that was requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCompactStacks(Cow<'static, str>);

impl NoCompactStacks {
    pub(super) fn because(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for NoCompactStacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stacks are not compact: {}", self.0)
    }
}

impl Error for NoCompactStacks {}
