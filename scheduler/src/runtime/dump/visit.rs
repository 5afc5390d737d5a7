//! Walking the stacks of parked threads.

use std::fmt::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process;

use corosensei::stack::DefaultStack;

use super::frames::{Addresses, Frame, Named};
use crate::run::hold::Held;
use crate::stack::coroutine;

const STACK: usize = 1 << 20;

pub(super) const NO_MEMORY: &str = "there is no memory to walk its stack";

/// Whoever walks stacks, on one that was made for that: a green thread may have little of its own.
pub(in crate::runtime) struct Visitor {
    /// `None` if there is no memory for it.
    stack: Option<DefaultStack>,
}

impl Visitor {
    /// Calls `f` with a visitor, on a stack that was made for it too.
    pub(in crate::runtime) fn with<R>(f: impl FnOnce(Self) -> R) -> R {
        match (DefaultStack::new(STACK), DefaultStack::new(STACK)) {
            (Ok(own), Ok(of_visits)) => corosensei::on_stack(own, || {
                f(Self {
                    stack: Some(of_visits),
                })
            }),
            _ => f(Self { stack: None }),
        }
    }

    /// Whether there is memory for it.
    pub(super) fn can_walk(&self) -> bool {
        self.stack.is_some()
    }

    /// Calls `see` above the frames of a thread.
    ///
    /// # Errors
    ///
    /// Why they cannot be seen.
    pub(super) fn visit(
        &mut self,
        held: &Held<'_>,
        mut see: impl FnMut(),
    ) -> Result<(), &'static str> {
        let coroutine = held.coroutine();
        let Some(stack) = &mut self.stack else {
            return Err(NO_MEMORY);
        };
        if !coroutine.has_room_for_visits() {
            return Err("its stack is nearly full, and is left alone");
        }
        // SAFETY: it is held.
        unsafe { coroutine.visit(stack, &mut || above_others(&mut see)) };
        Ok(())
    }

    /// The frames of a thread, as they are known while it is held.
    ///
    /// # Errors
    ///
    /// As `visit`.
    pub(in crate::runtime) fn named(&mut self, held: &Held<'_>) -> Result<Named, &'static str> {
        let mut named = None;
        self.visit(held, || {
            let mut addresses = Vec::new();
            Addresses::here(&mut addresses);
            named = Some(Named::here(
                &addresses,
                coroutine::frames_of_body(&addresses),
            ));
        })?;
        Ok(named.expect("the visit was made"))
    }
}

/// Calls `see` where the frames above are not its own to unwind.
pub(super) fn above_others(see: impl FnMut()) {
    if panic::catch_unwind(AssertUnwindSafe(see)).is_err() {
        process::abort();
    }
}

/// Writes a stack as people read it, or why there is none.
pub(in crate::runtime) fn write_stack(
    stack: &Result<Vec<Frame>, &'static str>,
    out: &mut impl Write,
) -> fmt::Result {
    match stack {
        Ok(frames) => frames
            .iter()
            .try_for_each(|frame| writeln!(out, "    {frame}")),
        Err(why) => writeln!(out, "    {why}"),
    }
}
