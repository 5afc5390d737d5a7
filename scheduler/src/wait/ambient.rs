//! Frames of the current thread, for as long as a closure runs, and what children inherit of them.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::run::ambient::{Canceller, Frame, FrameId, Kind};
use crate::run::context;
use crate::run::green::Waiter;
use crate::run::panicking;
use crate::wait;

/// A frame of the current thread, which goes when this is dropped.
pub(crate) struct Entered {
    waiter: Arc<Waiter>,
    pub(crate) id: FrameId,
    /// Frames are popped by the thread that pushed them.
    this_thread: PhantomData<*const ()>,
}

/// Whether any thread has ever had a frame.
static USED: AtomicBool = AtomicBool::new(false);

fn push(waiter: &Arc<Waiter>, frame: Frame) {
    // Nearly always it has been set, and then it stays in all caches.
    if !USED.load(Ordering::Relaxed) {
        USED.store(true, Ordering::Relaxed);
    }
    waiter.ambient.push(waiter, frame);
}

/// How many frames the current thread has. It costs nothing in a process that uses none.
#[inline]
pub(crate) fn height() -> usize {
    // Relaxed: it was set before the current thread got its first frame, be it by who has spawned it.
    if USED.load(Ordering::Relaxed) {
        context::with_current(|waiter| waiter.ambient.height())
    } else {
        0
    }
}

/// Pushes a frame for the current thread.
pub(crate) fn enter(kind: Kind) -> Entered {
    let waiter = context::current();
    let id = FrameId::next();
    // Where nothing may unwind, no wait is as deep as this.
    let depth = panicking::depth(&waiter).unwrap_or(usize::MAX);
    push(&waiter, Frame::new(id, kind, depth));
    Entered {
        waiter,
        id,
        this_thread: PhantomData,
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.waiter.ambient.pop(&self.waiter);
    }
}

/// What a thread that is being spawned takes over from the one that spawns it.
#[derive(Default)]
pub(crate) struct Inheritance(Vec<(FrameId, Kind)>);

impl Inheritance {
    /// The values only: what a thread gets that may outlive the one that spawns it.
    pub(crate) fn values() -> Self {
        Self::of_current(false)
    }

    /// Values, deadlines and tokens: what a thread gets that ends before the one that spawns it.
    ///
    /// A thread whose waits are not interrupted, since it unwinds or ends, hands on the values only:
    /// what it waits for is not interrupted either. What it has set up in the destructor that it is
    /// in interrupts both.
    pub(crate) fn everything() -> Self {
        Self::of_current(true)
    }

    /// It costs nothing in a process where no thread has frames, as [`height`].
    #[inline]
    fn of_current(everything: bool) -> Self {
        if USED.load(Ordering::Relaxed) {
            Self::of_frames(everything)
        } else {
            Self::default()
        }
    }

    #[inline(never)]
    fn of_frames(everything: bool) -> Self {
        Self(context::with_current(|waiter| {
            if !waiter.ambient.any() {
                return Vec::new();
            }
            let everything = everything && wait::is_interruptible(waiter);
            waiter.ambient.inherited(everything)
        }))
    }

    /// Adds a token that the spawning thread is not subject to.
    pub(crate) fn and_token(&mut self, id: FrameId, token: Arc<dyn Canceller>) {
        self.0.push((id, Kind::token(token)));
    }

    /// Gives it to a thread that has not started. Nearly always there is nothing, which is seen in one step.
    #[inline]
    pub(crate) fn give_to(self, waiter: &Arc<Waiter>) {
        if !self.0.is_empty() {
            self.give_some_to(waiter);
        }
    }

    #[inline(never)]
    fn give_some_to(self, waiter: &Arc<Waiter>) {
        for (id, kind) in self.0 {
            push(waiter, Frame::new(id, kind, 0));
        }
    }
}
