//! Guards by write protection: a userfaultfd protects pages of the guard which hold the system's page of
//! zeroes, so that a write gives SIGBUS. A slab of any number of stacks is one mapping.
//!
//! The protection is there as long as the descriptor is open. So one descriptor stays open, and two things
//! are to be looked after:
//!
//! - A forked child has a descriptor of its own, which protects the stacks that it makes. That of its parent
//!   it never uses. See [`hold_in_child`](super::hold_in_child) for the only stack it has of its parent's.
//! - A program may close descriptors that are not its own. Then all guards are gone, and the number may belong
//!   to somebody else. So before it is used the descriptor is [identified](Identity), and if it is not there
//!   any more all guards are made anew with another one.

use std::ptr;

use crate::protocol::lock::Mutex;

use super::userfault::{Identity, Userfault};
use super::why::Why;
use super::{Slots, protect};
use crate::protocol::process::PerProcess;
use crate::protocol::say::say;

#[derive(Debug)]
struct Protected {
    userfault: Userfault,
    identity: Identity,
    /// All that it protects.
    slots: Vec<Slots>,
}

fn protected() -> &'static Mutex<Option<Protected>> {
    static PROTECTED: PerProcess<Mutex<Option<Protected>>> = PerProcess::new();
    PROTECTED.get_or_make(Mutex::default)
}

/// Guards all of `slots`.
pub(super) fn install(slots: Slots) -> Result<usize, Why> {
    let mut state = protected().lock();
    look_after_it(&mut state);
    let protected = match &mut *state {
        Some(protected) => protected,
        none => none.insert(Protected::new()?),
    };
    let done = protected.protect_new(slots);
    if protected.slots.is_empty() {
        // It is of no use, and does not stay open.
        *state = None;
    }
    done.map(|()| slots.count)
}

/// Makes the guards anew if they are gone.
pub(super) fn look_after() {
    look_after_it(&mut protected().lock());
}

fn look_after_it(protected: &mut Option<Protected>) {
    let Some(lost) = protected.take_if(|protected| !protected.holds()) else {
        return;
    };
    lost.userfault.abandon();
    let made = Protected::new().and_then(|new| {
        let new = protected.insert(new);
        lost.slots
            .iter()
            .try_for_each(|&slots| new.protect(slots, false))
    });
    let guards: usize = lost.slots.iter().map(|slots| slots.count).sum();
    let result = match made {
        Ok(()) => "made anew with another one".to_owned(),
        Err(why) => {
            let by_mappings = |&slots| protect::install(slots).unwrap_or(0);
            let made: usize = lost.slots.iter().map(by_mappings).sum();
            let why = super::NoGuards::new(super::Guards::WriteProtect, why);
            format!(
                "made anew by mprotect but for {} of them ({why})",
                guards - made
            )
        }
    };
    say(&format!(
        "roving: somebody has closed the descriptor of the guards below {guards} stacks (a userfaultfd), and so taken \
         them away; they are {result}. ROVING_STACK_GUARDS chooses guards of another kind\n"
    ));
}

impl Protected {
    fn new() -> Result<Self, Why> {
        let userfault = Userfault::to_write_protect()?;
        let identity = userfault.identity().ok_or_else(Why::last_os_error)?;
        Ok(Self {
            userfault,
            identity,
            slots: Vec::new(),
        })
    }

    /// Whether its descriptor is the one that it has opened, and what it has protected is so still.
    fn holds(&self) -> bool {
        let protects = |slots: &Slots| {
            let again = self
                .userfault
                .write_protect(slots.bottom, slots.guard_bytes);
            again.is_ok()
        };
        self.userfault.identity() == Some(self.identity) && self.slots.first().is_none_or(protects)
    }

    /// Protects the guards of `slots`, which nobody uses yet.
    fn protect_new(&mut self, slots: Slots) -> Result<(), Why> {
        // Twice as fast as to populate them, but to be done only where nobody may touch a page meanwhile.
        let is_zeroed = self.zero(slots).is_ok();
        self.protect(slots, is_zeroed)
    }

    fn zero(&self, slots: Slots) -> Result<(), Why> {
        self.userfault
            .register_to_zero(slots.bottom, slots.bytes())?;
        let mut guards = slots.guards();
        guards.try_for_each(|guard| self.userfault.zero(guard, slots.guard_bytes))
    }

    /// Protects the guards of `slots`, of which each may be in use. `are_there` tells whether their pages
    /// are.
    fn protect(&mut self, slots: Slots, are_there: bool) -> Result<(), Why> {
        self.userfault.register(slots.bottom, slots.bytes())?;
        for guard in slots.guards() {
            if !are_there {
                populate(guard, slots.guard_bytes)?;
            }
            self.userfault.write_protect(guard, slots.guard_bytes)?;
        }
        self.remember(slots);
        Ok(())
    }

    fn remember(&mut self, slots: Slots) {
        match self.slots.last_mut() {
            Some(last)
                if last.bottom + last.bytes() == slots.bottom
                    && last.slot_bytes == slots.slot_bytes =>
            {
                last.count += slots.count;
            }
            _ => self.slots.push(slots),
        }
    }
}

/// Makes the pages of a guard be there, as those of zeroes that nobody has written to are.
fn populate(guard: usize, bytes: usize) -> Result<(), Why> {
    // SAFETY: it reads a guard, in a slab of ours.
    match unsafe {
        libc::madvise(
            ptr::without_provenance_mut(guard),
            bytes,
            libc::MADV_POPULATE_READ,
        )
    } {
        0 => Ok(()),
        _ => Err(Why::last_os_error()),
    }
}
