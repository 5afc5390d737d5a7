//! What the blocking calls of a thread are subject to: deadlines, cancellations, shields, and the
//! values that its children inherit.
//!
//! Each thread, green or OS, has a stack of *frames*. [`deadline`](crate::deadline()),
//! [`CancelToken::run`](crate::CancelToken::run), [`shield`](crate::shield) and a value's
//! [`set`](crate::wait::local::Local::set) push one for as long as a closure runs. A green thread begins
//! with those that it inherited.
//!
//! A frame is *visible* if no shield lies above it. A wait ends at the nearest visible deadline,
//! and when a visible frame is cancelled.
//!
//! # Invariants
//!
//! - Only the thread itself pushes and pops. Others mark frames as cancelled, under the lock.
//! - While the lock is free, the bit for cancellation in the thread's wait word is set exactly if a
//!   visible frame is cancelled, or the thread as a whole is and no shield is there. A request that
//!   arrives under a shield therefore ends no wait, and does so when the shield goes.
//! - A token marks frames under its own lock, and a frame leaves its token before it is popped. So
//!   no request reaches a frame that is gone. The order of locks is: token, frames.
//! - A frame has a number that never comes back. The payload of an unwinding names the frame that
//!   it is on the way to, and frames that are inherited keep their numbers, so a payload that a
//!   parent takes from its child and throws on finds its frame there.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use crate::protocol::word::{Fire, WaitWord};
use crate::run::context;
use crate::run::green::Waiter;
use crate::wait;
use crate::wait::cancel::Token;

/// The number of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FrameId(u64);

impl FrameId {
    /// What stands below all frames: the thread as a whole.
    pub(crate) const THREAD: Self = Self(0);

    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

struct Frame {
    id: FrameId,
    kind: Kind,
    /// Whether an operation has returned an error because of it. The next one unwinds.
    told: bool,
}

pub(crate) enum Kind {
    Deadline(Instant),
    Token {
        cancelled: bool,
        token: Arc<Token>,
    },
    Shield,
    /// The value of the variable at this address.
    Value(usize, Arc<dyn Any + Send + Sync>),
}

#[derive(Default)]
struct Frames {
    stack: Vec<Frame>,
    /// Whether the thread as a whole is cancelled.
    cancelled: bool,
    /// As in a frame.
    told: bool,
}

impl Frames {
    fn shielded(&self) -> bool {
        self.stack
            .iter()
            .any(|frame| matches!(frame.kind, Kind::Shield))
    }

    fn visible(&self) -> impl Iterator<Item = &Frame> {
        let shield = self
            .stack
            .iter()
            .rposition(|frame| matches!(frame.kind, Kind::Shield));
        self.stack[shield.map_or(0, |shield| shield + 1)..].iter()
    }

    /// The outermost visible frame that is cancelled.
    fn cancellation(&self) -> Option<FrameId> {
        if self.cancelled && !self.shielded() {
            return Some(FrameId::THREAD);
        }
        let is_cancelled = |frame: &&Frame| {
            matches!(
                frame.kind,
                Kind::Token {
                    cancelled: true,
                    ..
                }
            )
        };
        self.visible().find(is_cancelled).map(|frame| frame.id)
    }

    /// The earliest visible deadline.
    fn deadline(&self) -> Option<(Instant, FrameId)> {
        let deadlines = self.visible().filter_map(|frame| match frame.kind {
            Kind::Deadline(at) => Some((at, frame.id)),
            _ => None,
        });
        deadlines.min_by_key(|(at, _)| *at)
    }

    /// Restores the invariant of the wait word. Called by the thread itself.
    fn settle(&self, word: &WaitWord) {
        if self.cancellation().is_some() {
            // Nobody waits, so nobody is woken.
            let _: Fire = word.request_cancel();
        } else if word.cancel_requested() {
            word.withdraw_cancel();
        }
    }
}

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Ambient {
    /// Whether there are frames, for the thread itself, which nearly always has none.
    any: AtomicBool,
    frames: Mutex<Frames>,
}

impl Ambient {
    fn lock(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock()
    }

    /// Whether the thread, which is the current one, has frames.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// The earliest visible deadline of the current thread.
    pub(crate) fn deadline(&self) -> Option<(Instant, FrameId)> {
        if self.any() {
            self.lock().deadline()
        } else {
            None
        }
    }

    /// On behalf of which frame a wait of the current thread was cancelled.
    pub(crate) fn cancellation(&self) -> FrameId {
        self.lock().cancellation().unwrap_or(FrameId::THREAD)
    }

    /// Notes that an operation returns an error because of the frame `id`. `false` if one has done
    /// so before.
    pub(crate) fn tell(&self, id: FrameId) -> bool {
        let mut frames = self.lock();
        let told = match frames.stack.iter_mut().find(|frame| frame.id == id) {
            Some(frame) => &mut frame.told,
            None => &mut frames.told,
        };
        !mem::replace(told, true)
    }

    /// Cancels the thread as a whole; it will be told by unwinding if it `must_unwind`, else by an
    /// error where there is one to give.
    pub(crate) fn cancel_thread(&self, word: &WaitWord, must_unwind: bool) -> Fire {
        let mut frames = self.lock();
        frames.cancelled = true;
        frames.told |= must_unwind;
        if frames.shielded() {
            return Fire::Lost;
        }
        word.request_cancel()
    }

    /// Cancels the frame `id`, which is there.
    pub(crate) fn cancel_frame(&self, word: &WaitWord, id: FrameId) -> Fire {
        let mut frames = self.lock();
        for frame in &mut frames.stack {
            if let Kind::Token { cancelled, .. } = &mut frame.kind
                && frame.id == id
            {
                *cancelled = true;
            }
        }
        if frames.visible().any(|frame| frame.id == id) {
            word.request_cancel()
        } else {
            Fire::Lost
        }
    }

    /// The value of the variable at `key` in the current thread.
    pub(crate) fn value(&self, key: usize) -> Option<Arc<dyn Any + Send + Sync>> {
        if !self.any() {
            return None;
        }
        let frames = self.lock();
        frames
            .stack
            .iter()
            .rev()
            .find_map(|frame| match &frame.kind {
                Kind::Value(variable, value) if *variable == key => Some(value.clone()),
                _ => None,
            })
    }

    /// Pushes a frame for `waiter`, whose frames these are.
    fn push(&self, waiter: &Arc<Waiter>, id: FrameId, kind: Kind) {
        let token = match &kind {
            Kind::Token { token, .. } => Some(token.clone()),
            _ => None,
        };
        let mut frames = self.lock();
        frames.stack.push(Frame {
            id,
            kind,
            told: false,
        });
        frames.settle(&waiter.word);
        self.any.store(true, Ordering::Relaxed);
        drop(frames);
        if let Some(token) = token {
            token.enter(waiter, id);
        }
    }

    /// Pops the topmost frame of `waiter`, whose frames these are.
    fn pop(&self, waiter: &Arc<Waiter>) {
        let token = match self.lock().stack.last() {
            Some(Frame {
                kind: Kind::Token { token, .. },
                id,
                ..
            }) => Some((token.clone(), *id)),
            _ => None,
        };
        if let Some((token, id)) = token {
            token.leave(waiter, id);
        }
        let mut frames = self.lock();
        let popped = frames.stack.pop();
        frames.settle(&waiter.word);
        self.any.store(!frames.stack.is_empty(), Ordering::Relaxed);
        drop(frames);
        drop(popped);
    }

    /// Takes all frames away, at the end of `waiter`, whose frames these are.
    pub(crate) fn clear(&self, waiter: &Arc<Waiter>) {
        while self.any() {
            self.pop(waiter);
        }
    }
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ambient").finish_non_exhaustive()
    }
}

/// A frame of the current thread, which goes when this is dropped.
pub(crate) struct Entered {
    waiter: Arc<Waiter>,
    pub(crate) id: FrameId,
    /// Frames are popped by the thread that pushed them.
    this_thread: PhantomData<*const ()>,
}

/// Pushes a frame for the current thread.
pub(crate) fn enter(kind: Kind) -> Entered {
    let waiter = context::current();
    let id = FrameId::next();
    waiter.ambient.push(&waiter, id, kind);
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
    /// what it waits for is not interrupted either.
    pub(crate) fn everything() -> Self {
        Self::of_current(true)
    }

    fn of_current(everything: bool) -> Self {
        let mut inherited = Vec::new();
        context::with_current(|waiter| {
            if !waiter.ambient.any() {
                return;
            }
            let everything = everything && wait::is_interruptible(waiter);
            let frames = waiter.ambient.lock();
            let hidden = frames.stack.len() - frames.visible().count();
            for (index, frame) in frames.stack.iter().enumerate() {
                let visible = index >= hidden;
                let kind = match &frame.kind {
                    Kind::Value(key, value) => Kind::Value(*key, value.clone()),
                    Kind::Deadline(at) if everything && visible => Kind::Deadline(*at),
                    Kind::Token { token, .. } if everything && visible => Kind::Token {
                        cancelled: false,
                        token: token.clone(),
                    },
                    _ => continue,
                };
                inherited.push((frame.id, kind));
            }
        });
        Self(inherited)
    }

    /// Adds a token that the spawning thread is not subject to.
    pub(crate) fn and_token(&mut self, id: FrameId, token: Arc<Token>) {
        let cancelled = false;
        self.0.push((id, Kind::Token { cancelled, token }));
    }

    /// Gives it to a thread that has not started.
    pub(crate) fn give_to(self, waiter: &Arc<Waiter>) {
        for (id, kind) in self.0 {
            waiter.ambient.push(waiter, id, kind);
        }
    }
}
