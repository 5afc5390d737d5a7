//! [`Peer`]s: coroutines that transfer control to one another.
//!
//! A transfer goes by way of whoever has [entered](Peer::enter) the first of them: the coroutine that is left
//! yields there the one that is to go on, and the value lies in that one's place. So a transfer is two
//! switches where one would do, and in exchange every coroutine has one that it was resumed by, to whom its
//! panic goes, and no switch but the library's is needed. It takes no longer (`docs/performance.md`).

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use super::builder::{Builder, or_panic};
use super::core::{Core, Yielder, refuse};
use super::scope::Members;
use crate::stack::fiber::State;

/// A coroutine that takes control by transfer, with a value of type `T`: a name for it, to be copied freely
/// within its [scope](super::scope()).
///
/// Peers are equals. Control [enters](Self::enter) at one of them, is [transferred](Transfer::transfer) from each
/// to any other, and comes back to whoever has entered when one of them [says so](Transfer::back) or
/// [ends so](Next::Back), with a result of type `R`. Those that control was transferred from stay suspended, and may be
/// transferred to or entered again.
///
/// If one panics, so does [`enter`](Self::enter). All that [`Coroutine`](super::Coroutine) tells of its end is
/// true of a peer; those that have not come to their end are dropped with the scope.
///
/// # Examples
///
/// ```
/// use roving::coroutine::{self, Next};
///
/// let text = coroutine::scope(|scope| {
///     let (reader, writer) = (scope.peer(), scope.peer());
///     reader.does(move |transfer, ()| {
///         for letter in ['a', 'b', 'c'] {
///             transfer.transfer(writer, Some(letter));
///         }
///         writer.next(None)
///     });
///     writer.does(move |transfer, mut letter: Option<char>| {
///         let mut text = String::new();
///         while let Some(known) = letter {
///             text.push(known.to_ascii_uppercase());
///             letter = transfer.transfer(reader, ());
///         }
///         Next::Back(text)
///     });
///     reader.enter(())
/// });
/// assert_eq!(text, "ABC");
/// ```
pub struct Peer<'scope, T, R>(&'scope Place<'scope, T, R>);

impl<T, R> Clone for Peer<'_, T, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, R> Copy for Peer<'_, T, R> {}

/// Where a peer is, and where the value is put that it goes on with. That is done when nothing is in the
/// way any more, and the peer takes it at once: between transfers there is none, and what a scope keeps of
/// its peers has nothing of the user's.
struct Place<'scope, T, R> {
    value: Cell<Option<T>>,
    seat: Seat<'scope, R>,
}

/// What of a peer does not depend on what it takes.
struct Seat<'scope, R> {
    members: &'scope Members,
    core: OnceCell<Rc<PeerCore<'scope, R>>>,
}

type PeerCore<'scope, R> = Core<(), Yielded<'scope, R>, Next<'scope, R>>;

/// What a peer yields to whoever has entered.
enum Yielded<'scope, R> {
    To(&'scope Seat<'scope, R>),
    Back(R),
}

/// What is next when a peer has come to its end.
#[must_use = "it is what a peer's closure returns"]
pub enum Next<'scope, R> {
    /// Whoever has entered goes on, with this.
    Back(R),
    /// Another peer goes on: made by [`Peer::next`].
    To(Delivery<'scope, R>),
}

/// A transfer that is yet to be done.
pub struct Delivery<'scope, R> {
    to: &'scope Seat<'scope, R>,
    deliver: Box<dyn FnOnce() + 'scope>,
}

impl<'scope, T, R> Peer<'scope, T, R> {
    pub(super) fn new(members: &'scope Members) -> Self
    where
        T: 'scope,
        R: 'scope,
    {
        Self(members.keep(Place {
            value: Cell::new(None),
            seat: Seat {
                members,
                core: OnceCell::new(),
            },
        }))
    }

    /// Says what the peer does: it gets the first value that is transferred to it, and what it returns says
    /// who is next.
    ///
    /// # Panics
    ///
    /// Panics if that has been said before, or if the system refuses a stack. [`Builder::peer`] returns an
    /// error instead.
    #[track_caller]
    pub fn does<F>(self, body: F)
    where
        F: FnOnce(&Transfer<'_, 'scope, T, R>, T) -> Next<'scope, R> + 'scope,
    {
        or_panic(Builder::new().peer(self, body));
    }

    #[track_caller]
    pub(super) fn begin<F>(
        self,
        stack_size: Option<usize>,
        site: &'static Location<'static>,
        body: F,
    ) -> io::Result<()>
    where
        F: FnOnce(&Transfer<'_, 'scope, T, R>, T) -> Next<'scope, R> + 'scope,
    {
        let core = &self.0.seat.core;
        assert!(
            core.get().is_none(),
            "cannot say what a peer does: it has been said before"
        );
        let main = move |yielder: &Yielder<(), Yielded<'scope, R>>, ()| {
            let transfer = Transfer {
                yielder,
                peer: self,
            };
            body(&transfer, self.take())
        };
        let (made, _) = self.0.seat.members.add(stack_size, site, main)?;
        let _empty = core.set(made);
        Ok(())
    }

    /// Enters the peer: runs it, and those that it transfers to, until one says that control comes back.
    ///
    /// # Panics
    ///
    /// Panics if one of them does, with the same payload; and if the peer, or one that an ending one names, cannot go on, since
    /// it runs, has returned or panicked, or has not been told what it does.
    #[track_caller]
    pub fn enter(self, value: T) -> R {
        self.0.seat.insist("enter");
        self.0.value.set(Some(value));
        let mut seat = &self.0.seat;
        loop {
            let core = seat.insist("transfer to");
            seat = match core.resume(()) {
                State::Yielded(Yielded::To(to)) => to,
                State::Complete(Next::To(Delivery { to, deliver })) => {
                    to.insist("transfer to");
                    deliver();
                    to
                }
                State::Yielded(Yielded::Back(result)) | State::Complete(Next::Back(result)) => {
                    return result;
                }
            };
        }
    }

    /// Returns what a peer returns that ends, and transfers to this one.
    pub fn next(self, value: T) -> Next<'scope, R> {
        Next::To(Delivery {
            to: &self.0.seat,
            deliver: Box::new(move || self.0.value.set(Some(value))),
        })
    }

    /// Returns whether it has returned or panicked.
    pub fn is_done(self) -> bool {
        self.0.seat.core.get().is_some_and(|core| core.is_done())
    }

    fn take(self) -> T {
        self.0.value.take().expect("who goes on is given a value")
    }
}

impl<'scope, R> Seat<'scope, R> {
    /// Gives its coroutine, which can go on.
    #[track_caller]
    #[inline]
    fn insist(&self, what: &str) -> &PeerCore<'scope, R> {
        let Some(core) = self.core.get() else {
            refuse(what, "it has not been told what it does");
        };
        if let Some(obstacle) = core.obstacle() {
            refuse(what, obstacle);
        }
        core
    }
}

/// What a [`Peer`] transfers control with. It is lent to the peer's closure.
pub struct Transfer<'y, 'scope, T, R> {
    yielder: &'y Yielder<(), Yielded<'scope, R>>,
    peer: Peer<'scope, T, R>,
}

impl<'scope, T, R> Transfer<'_, 'scope, T, R> {
    /// Transfers control to another peer, with a value, and waits until control is transferred back, by
    /// whomever. Gives the value that it comes with.
    ///
    /// # Panics
    ///
    /// As [`Yielder::yield_`]; and if the other one cannot go on, since it runs, which is so for the one that
    /// transfers, has returned or panicked, or has not been told what it does.
    // As `Yielder::suspend`.
    #[track_caller]
    #[inline(always)]
    pub fn transfer<U>(&self, to: Peer<'scope, U, R>, value: U) -> T {
        self.yielder.insist();
        to.0.seat.insist("transfer to");
        to.0.value.set(Some(value));
        // SAFETY: it may yield, as has just been seen.
        unsafe { self.yielder.suspend(Yielded::To(&to.0.seat)) };
        self.peer.take()
    }

    /// Gives control back to whoever has entered, with a result, and waits until control is transferred
    /// here, or enters here.
    ///
    /// # Panics
    ///
    /// As [`Yielder::yield_`].
    #[track_caller]
    pub fn back(&self, result: R) -> T {
        self.yielder.yield_(Yielded::Back(result));
        self.peer.take()
    }

    /// Returns the one that this belongs to.
    pub fn peer(&self) -> Peer<'scope, T, R> {
        self.peer
    }
}

impl<T, R> fmt::Debug for Peer<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("is_done", &self.is_done())
            .finish_non_exhaustive()
    }
}

impl<T, R> fmt::Debug for Transfer<'_, '_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer").finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for Next<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Back(_) => "Back(..)",
            Self::To(_) => "To(..)",
        })
    }
}

impl<R> fmt::Debug for Delivery<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}
