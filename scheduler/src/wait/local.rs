//! Values that children inherit: [`Local`] and [`local!`](crate::local!).

use std::fmt;
use std::sync::Arc;

use crate::run::ambient::Kind;
use crate::run::context;
use crate::wait::ambient;

/// A variable whose value holds while a closure runs, and in the green threads that it spawns.
///
/// Declared with [`local!`](crate::local!). Plain `thread_local!`s belong to one green thread; this
/// is for what a whole tree of them should know: a trace id, a user, a configuration. A child keeps
/// the values that were set where it was spawned, also when it outlives that, and lets go of them at
/// its end. A panic of the destructor of a value is that of whoever was last to have it.
///
/// # Examples
///
/// ```
/// use roving::{local, thread};
///
/// local! {
///     static REQUEST: u64;
/// }
///
/// let seen = REQUEST.set(7, || thread::spawn(|| REQUEST.get()).join().unwrap());
/// assert_eq!(seen, Some(7));
/// assert_eq!(REQUEST.get(), None);
/// ```
pub struct Local<T: 'static> {
    /// Gives this variable an address of its own.
    address: u8,
    value: std::marker::PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> Local<T> {
    #[doc(hidden)]
    pub const fn new() -> Self {
        Self {
            address: 0,
            value: std::marker::PhantomData,
        }
    }

    /// Calls `f` while the variable has the value `value`.
    pub fn set<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        let _frame = ambient::enter(Kind::Value(self.key(), Arc::new(value)));
        f()
    }

    /// Calls `f` with the value, if there is one.
    pub fn with<R>(&'static self, f: impl FnOnce(Option<&T>) -> R) -> R {
        let value = context::with_current(|waiter| waiter.ambient.value(self.key()));
        f(value.as_deref().and_then(|value| value.downcast_ref()))
    }

    /// A copy of the value, if there is one.
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.with(|value| value.cloned())
    }

    fn key(&'static self) -> usize {
        (&raw const self.address).addr()
    }
}

impl<T: Send + Sync + 'static> Default for Local<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

/// Declares variables whose values children inherit: see [`Local`].
///
/// # Examples
///
/// ```
/// use roving::local;
///
/// local! {
///     /// Whose request this is.
///     pub static USER: String;
/// }
/// USER.set("ada".to_owned(), || assert_eq!(USER.get().as_deref(), Some("ada")));
/// ```
#[macro_export]
macro_rules! local {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty;)*) => {
        $(
            $(#[$attribute])*
            $visibility static $name: $crate::wait::local::Local<$type> = $crate::wait::local::Local::new();
        )*
    };
    ($($found:tt)*) => {
        ::std::compile_error!(::std::concat!(
            "`local!` expects declarations such as `static NAME: Type;`, without a value, found: ",
            ::std::stringify!($($found)*)
        ));
    };
}
