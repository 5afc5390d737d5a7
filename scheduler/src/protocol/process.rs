//! Which process this is.
//!
//! `fork` copies the memory of the process, and of its threads only the one that calls it. What the
//! child finds there of workers and drivers is theirs of the parent: their threads do not
//! exist in it, a lock that one of them held stays locked, and what is registered with the system is
//! shared with the parent. So whatever belongs to a process remembers [which](Process), and is left as
//! it is in any other: never unlocked, woken, joined or dropped. What every process has one of is made
//! anew in the child ([`PerProcess`]).
//!
//! The C library tells the child of it, in the thread that called `fork`. It does not for processes
//! that `vfork`, `posix_spawn` or the bare system call make: they must not do more than to execute
//! another program.

use std::fmt;
use std::io;
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crate::protocol::outline::Field;

#[cfg_attr(unix, path = "process/forks.rs")]
#[cfg_attr(windows, path = "process/no_forks.rs")]
mod forks;

pub(crate) use self::forks::watch_forks;

pub(crate) static FORKS: AtomicU32 = AtomicU32::new(0);

/// Whether this process, or one from which it was forked, has begun to fork.
static HAS_FORKED: AtomicBool = AtomicBool::new(false);

/// A process, among those from which this one was forked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    /// This process.
    pub fn current() -> Self {
        // Relaxed: it changes while there is one thread.
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Whether this is the process still, and not one that was forked from it.
    pub fn is_current(self) -> bool {
        self == Self::current()
    }

    /// Whether other processes may have what this one has, its descriptors for example: one has been forked, or is
    /// being forked.
    pub fn has_forked() -> bool {
        HAS_FORKED.load(Ordering::Relaxed)
    }

    /// Whether it was forked from none that has used the runtime.
    pub(crate) fn is_first(self) -> bool {
        self.0 == 0
    }

    /// Ends this process if the current green thread, which began in the process `self`, has forked
    /// it. It is the child's only thread, and there is no worker to go back to; and the C library,
    /// too, ends a process with its last thread.
    pub(crate) fn end_child(self) {
        if !self.is_current() {
            std::process::exit(0);
        }
    }

    /// # Errors
    ///
    /// This is another process, which has only a copy of `what`.
    #[inline]
    pub(crate) fn check(self, what: &str) -> io::Result<()> {
        if self.is_current() {
            Ok(())
        } else {
            Err(only_a_copy(what))
        }
    }

    /// Panics if this is another process, in which the caller would wait for `what` for ever.
    #[track_caller]
    pub(crate) fn insist(self, what: &str) {
        if let Err(error) = self.check(what) {
            panic!("cannot wait: {error}");
        }
    }
}

#[cold]
#[inline(never)]
fn only_a_copy(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "{what} is in the process that this one was forked from: of its threads, fork copies only the one that calls it"
        ),
    )
}

/// A value that each process makes for itself when it first asks for it. It is never dropped.
pub struct PerProcess<T: 'static>(AtomicPtr<Made<T>>);

struct Made<T> {
    process: Process,
    value: T,
}

impl<T> PerProcess<T> {
    pub(crate) const FIELDS: [Field; 2] = [
        Field::new("PerProcess.process", offset_of!(Made<T>, process)),
        Field::new("PerProcess.value", offset_of!(Made<T>, value)),
    ];

    /// Nobody has made it.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// The value, if this process has made it.
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or what `set` has leaked. Acquire: it is there whole.
        let made = unsafe { self.0.load(Ordering::Acquire).as_ref() }?;
        made.process.is_current().then_some(&made.value)
    }

    /// The value that this process has made, or has a copy of: within `fork`, that of its parent.
    pub(crate) fn get_or_inherited(&self) -> Option<&'static T> {
        // SAFETY: as in `get`.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }.map(|made| &made.value)
    }

    /// Gives this process its value. If it has one, gives `value` back.
    pub fn set(&self, value: T) -> Result<&'static T, T> {
        let process = Process::current();
        let made = Box::into_raw(Box::new(Made { process, value }));
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            // SAFETY: as in `get`.
            if unsafe { seen.as_ref() }.is_some_and(|other| other.process == process) {
                // SAFETY: it has just been made, and nobody has seen it.
                let made = unsafe { Box::from_raw(made) };
                return Err(made.value);
            }
            // Release: whoever finds it finds it whole.
            match self
                .0
                .compare_exchange(seen, made, Ordering::AcqRel, Ordering::Acquire)
            {
                // SAFETY: it stays for ever.
                Ok(_) => return Ok(unsafe { &(*made).value }),
                Err(other) => seen = other,
            }
        }
    }

    /// The value, made by `make` if there is none. If several threads make one at once, all but one
    /// are dropped.
    pub fn get_or_make(&self, make: impl FnOnce() -> T) -> &'static T {
        match self.get() {
            Some(value) => value,
            None => self.make(make),
        }
    }

    // Not inlined: a value may be large, and whoever asks for it may be on a small stack.
    #[cold]
    #[inline(never)]
    fn make(&self, make: impl FnOnce() -> T) -> &'static T {
        match self.set(make()) {
            Ok(value) => value,
            Err(_) => self.get().expect("somebody else has made it"),
        }
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerProcess").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_made_once() {
        static VALUE: PerProcess<u32> = PerProcess::new();
        assert!(VALUE.get().is_none());
        assert_eq!(*VALUE.get_or_make(|| 1), 1);
        assert_eq!(VALUE.set(2), Err(2));
        assert_eq!(*VALUE.get_or_make(|| 3), 1);
    }
}
