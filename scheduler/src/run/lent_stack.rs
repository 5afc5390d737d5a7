//! Stacks that a worker lends for a call: [`on`].
//!
//! What lies below the stack pointer of a suspended thread is dead. A thread that goes deep at each of its turns,
//! when thousands of others have had theirs, does so in memory that has long left the processor's caches. A
//! stack that the worker has in its hands was in use a moment ago.
//!
//! The call is one of the thread as any other: it has the thread's thread-locals, unwinds into it, and its frames
//! are found from one stack to the next. If the thread suspends meanwhile, it keeps the stack until the call has
//! returned, and gives it to the worker that runs it then.
//!
//! A stack is lent to a green thread that is on its own, which is not larger. Where the use of stacks is to be
//! [reported](super::stack_use), each is to use its own, and none is lent.

use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use crate::protocol::process::Process;
use crate::run::context;
use crate::run::own_stack::OwnStack;
use crate::stack::{Bounds, Stack};

/// Calls `call` on a stack that the worker lends, or where there is none to be had, on the current one.
pub(crate) fn on<R>(call: impl FnOnce() -> R) -> R {
    let Some((stack, own_stack)) = borrow() else {
        return call();
    };
    let mut lent = Lent {
        bounds: stack.bounds(),
        stack: ManuallyDrop::new(stack),
        own_stack,
        process: Process::current(),
    };
    // SAFETY: the current thread is there while it is in this call, and the bounds until `lent` is dropped.
    unsafe { own_stack.as_ref() }.set_lent(&raw const lent.bounds);
    lent.stack.call(call)
}

/// A stack for the current thread, if it is to have one, and what it has itself.
fn borrow() -> Option<(Stack, NonNull<OwnStack>)> {
    context::with_running(|waiter| {
        let own_stack = &waiter.green()?.own_stack;
        // SAFETY: it is the current thread.
        let own = unsafe { own_stack.started() }.coroutine.stack();
        let here = 0_u8;
        if !own.holds((&raw const here).addr()) {
            return None;
        }
        let stack = context::with_worker(|worker| worker?.lend_stack(own.size()))?;
        Some((stack, NonNull::from(own_stack)))
    })?
}

/// A stack that is lent to the current thread. Dropping this gives it back.
struct Lent {
    stack: ManuallyDrop<Stack>,
    bounds: Bounds,
    /// That of the thread.
    own_stack: NonNull<OwnStack>,
    /// In which it was lent. A child that is forked meanwhile has a copy, but no worker to give it to.
    process: Process,
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: as in `on`; in a forked child nothing of the parent's threads goes before the process.
        unsafe { self.own_stack.as_ref() }.set_lent(ptr::null());
        if self.process.is_current() {
            // SAFETY: it is taken here only.
            let stack = unsafe { ManuallyDrop::take(&mut self.stack) };
            context::with_worker(|worker| {
                let worker = worker.expect("a green thread runs on a worker");
                worker.take_back(stack);
            });
        }
    }
}
