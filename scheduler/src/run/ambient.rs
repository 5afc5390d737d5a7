//! What the blocking calls of a thread are subject to: deadlines, cancellations, shields, and the
//! values that its children inherit.
//!
//! Each thread, green or OS, has a stack of *frames*. [`deadline`](crate::deadline()),
//! [`CancelToken::run`](crate::CancelToken::run), [`shield`](crate::shield) and a value's
//! [`set`](crate::wait::local::Local::set) push one for as long as a closure runs. A green thread begins
//! with those that it inherited.
//!
//! A frame has the [depth](crate::run::panicking) at which it was pushed. It is *visible* if no shield
//! lies above it and no frame of a greater depth: what is set up in a destructor bounds the waits of
//! that destructor, and what came from outside of it does not. The thread as a whole is like a frame
//! below all others. A wait ends at the nearest visible deadline, and when a visible frame is
//! cancelled; unless its thread is deeper than its topmost frame, so that unwinding to that would
//! leave a destructor.
//!
//! # Invariants
//!
//! - Only the thread itself pushes and pops. Others mark frames as cancelled, under the lock.
//! - While the lock is free, the bit for cancellation in the thread's wait word is set exactly if a
//!   visible frame is cancelled, or the thread as a whole is and visible. A request that arrives
//!   while its frame is not visible therefore ends no wait, and does so when it is.
//! - Depths never fall from the bottom of the stack to its top: what is pushed in a destructor is
//!   popped before that ends.
//! - A token marks frames under its own lock, and a frame leaves its token before it is popped. So
//!   no request reaches a frame that is gone. The order of locks is: token, frames.
//! - A frame has a number that never comes back. The payload of an unwinding names the frame that
//!   it is on the way to, and frames that are inherited keep their numbers, so a payload that a
//!   parent takes from its child and throws on finds its frame there.

use std::any::Any;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::protocol::lock::{Mutex, MutexGuard};
use crate::protocol::made::Made;

use crate::protocol::word::{Fire, WaitWord};
use crate::run::green::Waiter;

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

pub(crate) struct Frame {
    id: FrameId,
    kind: Kind,
    depth: usize,
    /// Whether an operation has returned an error because of it. The next one unwinds.
    told: bool,
}

impl Frame {
    pub(crate) fn new(id: FrameId, kind: Kind, depth: usize) -> Self {
        Self {
            id,
            kind,
            depth,
            told: false,
        }
    }
}

pub(crate) enum Kind {
    Deadline(Instant),
    Token {
        cancelled: bool,
        token: Arc<dyn Canceller>,
    },
    Shield,
    /// The value of the variable at this address.
    Value(usize, Arc<dyn Any + Send + Sync>),
}

/// What cancels frames: it knows those that are subject to it.
pub(crate) trait Canceller: Send + Sync {
    /// Makes the frame `id` of `waiter`, which is there, subject to this.
    fn enter(&self, waiter: &Arc<Waiter>, id: FrameId);

    /// Lets go of a frame that is about to be popped.
    fn leave(&self, waiter: &Arc<Waiter>, id: FrameId);
}

impl Kind {
    /// Subject to `token`, which has not cancelled it.
    pub(crate) fn token(token: Arc<dyn Canceller>) -> Self {
        Self::Token {
            cancelled: false,
            token,
        }
    }
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
    fn depth(&self) -> usize {
        self.stack.last().map_or(0, |frame| frame.depth)
    }

    /// Whether the thread as a whole is visible.
    fn sees_thread(&self) -> bool {
        let is_shield = |frame: &Frame| matches!(frame.kind, Kind::Shield);
        self.depth() == 0 && !self.stack.iter().any(is_shield)
    }

    fn visible(&self) -> impl Iterator<Item = &Frame> {
        let depth = self.depth();
        let hides = |frame: &Frame| matches!(frame.kind, Kind::Shield) || frame.depth != depth;
        let hidden = self.stack.iter().rposition(hides);
        self.stack[hidden.map_or(0, |hidden| hidden + 1)..].iter()
    }

    /// The outermost visible frame that is cancelled.
    fn cancellation(&self) -> Option<FrameId> {
        if self.cancelled && self.sees_thread() {
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
///
/// Nearly all threads are never cancelled and have no frames, and so have nothing but the place for them.
pub(crate) struct Ambient(Made<Needed>);

/// What a thread has from then on when it has had a frame or was cancelled.
#[derive(Default)]
struct Needed {
    /// Whether there are frames, for the thread itself.
    any: AtomicBool,
    frames: Mutex<Frames>,
}

impl Ambient {
    #[inline]
    pub(crate) fn new() -> Self {
        Self(Made::new())
    }

    #[inline]
    fn needed(&self) -> Option<&Needed> {
        self.0.get()
    }

    fn needed_or_made(&self) -> &Needed {
        self.0.get_or_make(Needed::default)
    }

    fn lock(&self) -> MutexGuard<'_, Frames> {
        self.needed_or_made().frames.lock()
    }

    /// Whether the thread, which is the current one, has frames.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.needed()
            .is_some_and(|needed| needed.any.load(Ordering::Relaxed))
    }

    /// How many frames the current thread has.
    pub(crate) fn height(&self) -> usize {
        if self.any() {
            self.lock().stack.len()
        } else {
            0
        }
    }

    /// The depth of the topmost frame of the current thread.
    pub(crate) fn depth(&self) -> usize {
        if self.any() { self.lock().depth() } else { 0 }
    }

    /// The earliest visible deadline of the current thread.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<(Instant, FrameId)> {
        if self.any() {
            self.deadline_of_frames()
        } else {
            None
        }
    }

    #[cold]
    fn deadline_of_frames(&self) -> Option<(Instant, FrameId)> {
        self.lock().deadline()
    }

    /// On behalf of which frame a wait of the current thread was cancelled.
    pub(crate) fn cancellation(&self) -> FrameId {
        self.lock().cancellation().unwrap_or(FrameId::THREAD)
    }

    /// Whether the thread has the frame `id`, or, if that is the thread as a whole, is cancelled.
    pub(crate) fn is_subject_to(&self, id: FrameId) -> bool {
        let Some(needed) = self.needed() else {
            return false;
        };
        let frames = needed.frames.lock();
        if id == FrameId::THREAD {
            frames.cancelled
        } else {
            frames.stack.iter().any(|frame| frame.id == id)
        }
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
        if frames.sees_thread() {
            word.request_cancel()
        } else {
            Fire::Lost
        }
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

    /// What of the frames a thread gets that the current one spawns: the values, and if it gets
    /// `everything`, the visible deadlines and cancellers.
    pub(crate) fn inherited(&self, everything: bool) -> Vec<(FrameId, Kind)> {
        let frames = self.lock();
        let hidden = frames.stack.len() - frames.visible().count();
        let inherited = frames
            .stack
            .iter()
            .enumerate()
            .filter_map(|(index, frame)| {
                let visible = index >= hidden;
                let kind = match &frame.kind {
                    Kind::Value(key, value) => Kind::Value(*key, value.clone()),
                    Kind::Deadline(at) if everything && visible => Kind::Deadline(*at),
                    Kind::Token { token, .. } if everything && visible => {
                        Kind::token(token.clone())
                    }
                    _ => return None,
                };
                Some((frame.id, kind))
            });
        inherited.collect()
    }

    /// Pushes a frame for `waiter`, whose frames these are.
    pub(crate) fn push(&self, waiter: &Arc<Waiter>, frame: Frame) {
        let id = frame.id;
        let token = match &frame.kind {
            Kind::Token { token, .. } => Some(token.clone()),
            _ => None,
        };
        let needed = self.needed_or_made();
        let mut frames = needed.frames.lock();
        frames.stack.push(frame);
        frames.settle(&waiter.word);
        needed.any.store(true, Ordering::Relaxed);
        drop(frames);
        if let Some(token) = token {
            token.enter(waiter, id);
        }
    }

    /// Pops the topmost frame of `waiter`, whose frames these are.
    pub(crate) fn pop(&self, waiter: &Arc<Waiter>) {
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
        let needed = self.needed_or_made();
        let mut frames = needed.frames.lock();
        let popped = frames.stack.pop();
        frames.settle(&waiter.word);
        needed
            .any
            .store(!frames.stack.is_empty(), Ordering::Relaxed);
        drop(frames);
        drop(popped);
    }
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ambient").finish_non_exhaustive()
    }
}
