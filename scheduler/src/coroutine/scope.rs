//! Coroutines that borrow: [`scope()`].
//!
//! # Why it is sound
//!
//! A coroutine that is forgotten never runs again, and one might think that it may then borrow what it
//! likes. But other threads may: those of a [`thread::scope`] on its stack, which that
//! call waits for, and it never will. So what a coroutine borrows must stay until it has come to its end,
//! and a value that safe code can forget is no guarantee of that. A scope is:
//!
//! - [`scope()`] does not return, and does not unwind, before all of its coroutines have come to their end,
//!   in the function itself and not in a destructor. It knows them all: each is entered before its handle
//!   exists, and leaves when that is dropped, which ends it.
//! - None of them runs then. Whoever resumes one in the scope does so in the closure, which has returned or
//!   unwound, or on another one's stack, which is above one in the end that was resumed by the closure.
//! - What they may use has the lifetime `'scope`, which is longer than the call: their closures, and the values that
//!   go in and come out and may stay on a stack. Handles, which have it too, cannot leave.
//! - If the stack on which [`scope()`] runs is itself that of a coroutine which is forgotten, then what lies
//!   on that stays there for ever, and what lies elsewhere is longer than that one's own scope, by which it is
//!   ended, or `'static`, or a thread-local, before which it is ended [by its thread](crate::run::unended).

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::panic::{self, AssertUnwindSafe, Location};
use std::rc::Rc;
use std::thread;

use slab::Slab;

use super::asymmetric::Coroutine;
use super::builder::{Builder, or_panic};
use super::core::{Core, Member, Yielder};
use super::generator::Generator;
use super::transfer::Peer;
use crate::run::panicking::contain;

/// Calls `f` with a scope in which coroutines can be made that borrow from outside of it.
///
/// When this returns or unwinds, all of them have come to their end: those that have not are dropped, as
/// [`Coroutine`] tells of its end, be their handles forgotten.
///
/// # Panics
///
/// A panic of `f` goes on when all coroutines have ended; else that of a coroutine which panics as it is
/// dropped. Where panics abort, a coroutine that has been resumed and has not returned aborts the process.
///
/// # Examples
///
/// ```
/// use roving::coroutine;
///
/// let text = String::from("to be or not");
/// let mut asked = 0;
/// coroutine::scope(|scope| {
///     let mut words = scope.generator(|yielder| {
///         for word in text.split(' ') {
///             asked += 1;
///             yielder.yield_(word);
///         }
///     });
///     assert_eq!(words.by_ref().take(2).collect::<Vec<_>>(), ["to", "be"]);
/// });
/// assert_eq!(asked, 2);
/// ```
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        members: Members::default(),
        scope: PhantomData,
        env: PhantomData,
    };
    let result = panic::catch_unwind(AssertUnwindSafe(|| f(&scope)));
    let ended = scope.members.end();
    match (result, ended) {
        (Ok(result), Ok(())) => result,
        (Err(payload), ended) => {
            contain(|| drop(ended));
            panic::resume_unwind(payload)
        }
        (Ok(result), Err(payload)) => {
            contain(|| drop(result));
            panic::resume_unwind(payload)
        }
    }
}

/// Where coroutines are made that borrow: see [`scope()`].
pub struct Scope<'scope, 'env: 'scope> {
    members: Members,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope> Scope<'scope, '_> {
    /// Creates a coroutine that may borrow from outside of the scope.
    ///
    /// # Panics
    ///
    /// Panics if the system refuses a stack. [`Builder::coroutine_in`] returns an error instead.
    #[track_caller]
    pub fn coroutine<F, Input, Yield, Return>(
        &'scope self,
        body: F,
    ) -> Coroutine<'scope, Input, Yield, Return>
    where
        F: FnOnce(&Yielder<Input, Yield>, Input) -> Return + 'scope,
        Input: 'scope,
        Yield: 'scope,
        Return: 'scope,
    {
        or_panic(Builder::new().coroutine_in(self, body))
    }

    /// Creates a generator that may borrow from outside of the scope.
    ///
    /// # Panics
    ///
    /// Panics if the system refuses a stack. [`Builder::generator_in`] returns an error instead.
    #[track_caller]
    pub fn generator<F, T>(&'scope self, body: F) -> Generator<'scope, T>
    where
        F: FnOnce(&Yielder<(), T>) + 'scope,
        T: 'scope,
    {
        or_panic(Builder::new().generator_in(self, body))
    }

    /// Gives a name to a coroutine that takes control by [transfer](Peer), with values of type `T`, and is
    /// [yet to be told](Peer::does) what it does, since it and others may want to know one another.
    pub fn peer<T, R>(&'scope self) -> Peer<'scope, T, R>
    where
        T: 'scope,
        R: 'scope,
    {
        Peer::new(&self.members)
    }

    pub(super) fn members(&'scope self) -> &'scope Members {
        &self.members
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// The coroutines of a scope.
#[derive(Default)]
pub(super) struct Members {
    coroutines: RefCell<Slab<Rc<dyn Member>>>,
    /// What is kept as long as the scope is.
    kept: RefCell<Vec<*mut dyn Kept>>,
}

/// What a scope keeps: something with a destructor.
trait Kept {}
impl<T> Kept for T {}

impl Members {
    /// Makes a coroutine that may borrow what the scope may.
    pub(super) fn add<'scope, F, I, Y, R>(
        &'scope self,
        stack_size: Option<usize>,
        site: &'static Location<'static>,
        body: F,
    ) -> io::Result<Added<'scope, I, Y, R>>
    where
        F: FnOnce(&Yielder<I, Y>, I) -> R + 'scope,
        I: 'scope,
        Y: 'scope,
        R: 'scope,
    {
        // SAFETY: it is entered below, and `end` ends it before `'scope` is over: see the module.
        let core = unsafe { Core::new(stack_size, site, true, body) }?;
        let member: Rc<dyn Member + 'scope> = core.clone();
        // SAFETY: only the lifetime changes, and it is gone from here before `'scope` is over.
        let member = unsafe { mem::transmute::<Rc<dyn Member + 'scope>, Rc<dyn Member>>(member) };
        let key = self.coroutines.borrow_mut().insert(member);
        Ok((core, Membership { members: self, key }))
    }

    /// Keeps `value`, which has nothing of the user's when all have ended, for as long as the scope is there.
    pub(super) fn keep<'scope, T: 'scope>(&'scope self, value: T) -> &'scope T {
        let value = Box::into_raw(Box::new(value));
        let kept: *mut (dyn Kept + 'scope) = value;
        // SAFETY: only the lifetime changes, and it is gone from here before `'scope` is over.
        let kept = unsafe { mem::transmute::<*mut (dyn Kept + 'scope), *mut dyn Kept>(kept) };
        self.kept.borrow_mut().push(kept);
        // SAFETY: it is there until `end`, when nothing runs any more that has the lifetime.
        unsafe { &*value }
    }

    /// Ends all, and those that these make meanwhile, and drops what was kept.
    fn end(&self) -> thread::Result<()> {
        let mut first = Ok(());
        let mut note = |ended: thread::Result<()>| match (&first, ended) {
            (_, Ok(())) => {}
            (Ok(()), ended) => first = ended,
            (Err(_), other) => contain(|| drop(other)),
        };
        while let Some(coroutine) = self.any_coroutine() {
            note(coroutine.end());
        }
        for kept in self.kept.take() {
            // SAFETY: it came from a box, and nothing runs any more that knows of it, nor does its
            // destructor run anything.
            drop(unsafe { Box::from_raw(kept) });
        }
        first
    }

    fn any_coroutine(&self) -> Option<Rc<dyn Member>> {
        let mut coroutines = self.coroutines.borrow_mut();
        let key = coroutines.iter().next()?.0;
        Some(coroutines.remove(key))
    }
}

/// A coroutine that is one of a scope.
pub(super) type Added<'scope, I, Y, R> = (Rc<Core<I, Y, R>>, Membership<'scope>);

/// That a coroutine is one of a scope.
pub(super) struct Membership<'scope> {
    members: &'scope Members,
    key: usize,
}

impl Membership<'_> {
    /// Takes `core`, whose membership this is, out of the scope, if the scope has it still.
    pub(super) fn leave<I, Y, R>(&self, core: &Rc<Core<I, Y, R>>) {
        let mut coroutines = self.members.coroutines.borrow_mut();
        let is_it =
            |member: &Rc<dyn Member>| std::ptr::addr_eq(Rc::as_ptr(member), Rc::as_ptr(core));
        if coroutines.get(self.key).is_some_and(is_it) {
            coroutines.remove(self.key);
        }
    }
}
