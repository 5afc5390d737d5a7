//! How a coroutine is configured.

use std::io;
use std::panic::Location;

use super::asymmetric::{self, Coroutine};
use super::core::Yielder;
use super::generator::Generator;
use super::scope::Scope;
use super::transfer::{Next, Peer, Transfer};

/// Configures a coroutine, and gives an error where there is no stack for it.
///
/// # Examples
///
/// ```
/// use roving::coroutine::{Builder, State};
///
/// let deep = Builder::new().stack_size(8 << 20).coroutine(|yielder, depth: usize| {
///     yielder.yield_(depth + 1);
/// })?;
/// assert_eq!(deep.resume(1), State::Yielded(2));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct Builder {
    stack_size: Option<usize>,
}

impl Builder {
    /// Starts with the default stack size.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the size of the stack, in bytes of address space: rounded up to a power of two, from 16 KiB
    /// to 1 GiB. The default is 256 KiB, and 1 MiB in debug builds.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Creates a coroutine, as [`Coroutine::new`].
    ///
    /// # Errors
    ///
    /// - [`OutOfMemory`](io::ErrorKind::OutOfMemory): the system refuses a stack or its guard. The message
    ///   names the limit.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the stack is too large.
    #[track_caller]
    pub fn coroutine<F, Input, Yield, Return>(
        self,
        body: F,
    ) -> io::Result<Coroutine<'static, Input, Yield, Return>>
    where
        F: FnOnce(&Yielder<Input, Yield>, Input) -> Return + 'static,
        Input: 'static,
        Yield: 'static,
        Return: 'static,
    {
        let core = asymmetric::free(self.stack_size, Location::caller(), body)?;
        Ok(Coroutine::of(core, None))
    }

    /// Creates a generator, as [`Generator::new`].
    ///
    /// # Errors
    ///
    /// Those of [`coroutine`](Self::coroutine).
    #[track_caller]
    pub fn generator<F, T>(self, body: F) -> io::Result<Generator<'static, T>>
    where
        F: FnOnce(&Yielder<(), T>) + 'static,
        T: 'static,
    {
        let body = move |yielder: &Yielder<(), T>, ()| body(yielder);
        Ok(Generator::of(self.coroutine(body)?))
    }

    /// Creates a coroutine in a scope, as [`Scope::coroutine`].
    ///
    /// # Errors
    ///
    /// Those of [`coroutine`](Self::coroutine).
    #[track_caller]
    pub fn coroutine_in<'scope, F, Input, Yield, Return>(
        self,
        scope: &'scope Scope<'scope, '_>,
        body: F,
    ) -> io::Result<Coroutine<'scope, Input, Yield, Return>>
    where
        F: FnOnce(&Yielder<Input, Yield>, Input) -> Return + 'scope,
        Input: 'scope,
        Yield: 'scope,
        Return: 'scope,
    {
        let (core, membership) = scope
            .members()
            .add(self.stack_size, Location::caller(), body)?;
        Ok(Coroutine::of(core, Some(membership)))
    }

    /// Creates a generator in a scope, as [`Scope::generator`].
    ///
    /// # Errors
    ///
    /// Those of [`coroutine`](Self::coroutine).
    #[track_caller]
    pub fn generator_in<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        body: F,
    ) -> io::Result<Generator<'scope, T>>
    where
        F: FnOnce(&Yielder<(), T>) + 'scope,
        T: 'scope,
    {
        let body = move |yielder: &Yielder<(), T>, ()| body(yielder);
        Ok(Generator::of(self.coroutine_in(scope, body)?))
    }

    /// Says what a peer does, as [`Peer::does`].
    ///
    /// # Errors
    ///
    /// Those of [`coroutine`](Self::coroutine).
    ///
    /// # Panics
    ///
    /// Panics if that has been said before.
    #[track_caller]
    pub fn peer<'scope, F, T, R>(self, peer: Peer<'scope, T, R>, body: F) -> io::Result<()>
    where
        F: FnOnce(&Transfer<'_, 'scope, T, R>, T) -> Next<'scope, R> + 'scope,
    {
        peer.begin(self.stack_size, Location::caller(), body)
    }
}

#[track_caller]
pub(super) fn or_panic<T>(made: io::Result<T>) -> T {
    match made {
        Ok(made) => made,
        Err(error) => panic!("failed to make a coroutine: {error}"),
    }
}
