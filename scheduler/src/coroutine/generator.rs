//! [`Generator`]: a coroutine as an iterator.

use std::fmt;
use std::iter::FusedIterator;

use super::asymmetric::Coroutine;
use super::builder::{Builder, or_panic};
use super::core::Yielder;
use crate::stack::fiber::State;
use crate::thread::StackUsage;

/// An iterator over what a closure [yields](Yielder::yield_), on a stack of its own.
///
/// What would be a state machine in [`Iterator::next`] is a loop, a recursion, or a function that never
/// heard of iterators and is handed a callback. It is a [`Coroutine`] in all else: not `Send`, unwound if it
/// is dropped in the middle. It ends when the closure returns, and then for good; if the closure panics,
/// so does [`next`](Iterator::next), and that was its end.
///
/// # Examples
///
/// ```
/// use roving::coroutine::Generator;
///
/// let fibonacci = Generator::new(|yielder| {
///     let (mut a, mut b) = (0_u64, 1);
///     loop {
///         yielder.yield_(a);
///         (a, b) = (b, a + b);
///     }
/// });
/// let even: Vec<u64> = fibonacci.filter(|n| n % 2 == 0).take(4).collect();
/// assert_eq!(even, [0, 2, 8, 34]);
/// ```
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Generator<'scope, T> {
    coroutine: Coroutine<'scope, (), T, ()>,
}

impl<T: 'static> Generator<'static, T> {
    /// Makes a generator. Its closure runs when the first value is asked for.
    ///
    /// # Panics
    ///
    /// Panics if the system refuses a stack. [`Builder::generator`] returns an error instead.
    #[track_caller]
    pub fn new<F>(body: F) -> Self
    where
        F: FnOnce(&Yielder<(), T>) + 'static,
    {
        or_panic(Builder::new().generator(body))
    }
}

impl<'scope, T> Generator<'scope, T> {
    pub(super) fn of(coroutine: Coroutine<'scope, (), T, ()>) -> Self {
        Self { coroutine }
    }

    /// Returns whether there is no further value. One that has not found out yet says `false`.
    pub fn is_done(&self) -> bool {
        self.coroutine.is_done()
    }

    /// As [`Coroutine::stack_usage`].
    pub fn stack_usage(&self) -> Option<StackUsage> {
        self.coroutine.stack_usage()
    }
}

impl<T> Iterator for Generator<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.coroutine.is_done() {
            return None;
        }
        match self.coroutine.resume(()) {
            State::Yielded(value) => Some(value),
            State::Complete(()) => None,
        }
    }

    /// Nobody knows how many values there are before there are no more.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.is_done().then_some(0))
    }
}

impl<T> FusedIterator for Generator<'_, T> {}

impl<T> fmt::Debug for Generator<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("is_done", &self.is_done())
            .finish_non_exhaustive()
    }
}
