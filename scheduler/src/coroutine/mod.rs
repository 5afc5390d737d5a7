//! Coroutines without a scheduler: functions that stop in the middle and are gone on with.
//!
//! They are no threads. A coroutine runs when somebody resumes it, as part of that thread and with its
//! thread-locals, and a switch costs a few nanoseconds.
//!
//! | what | who runs next |
//! |------|---------------|
//! | [`Generator`]: an iterator, from a closure that yields | whoever asked for the value |
//! | [`Coroutine`]: values both ways, and a result | whoever resumed it |
//! | [`Peer`]: coroutines that are equals | the one that it names |
//!
//! Each has a stack of its own, so code may yield from any depth of calls: from a recursion, from a callback.
//! What they borrow must be `'static`, or they are made in a [`scope()`].
//!
//! ```
//! use roving::coroutine::{self, Yielder};
//!
//! enum Tree {
//!     Leaf(u32),
//!     Fork(Box<Tree>, Box<Tree>),
//! }
//!
//! fn leaves(tree: &Tree, yielder: &Yielder<(), u32>) {
//!     match tree {
//!         Tree::Leaf(leaf) => yielder.yield_(*leaf),
//!         Tree::Fork(left, right) => {
//!             leaves(left, yielder);
//!             leaves(right, yielder);
//!         }
//!     }
//! }
//!
//! let tree = Tree::Fork(Box::new(Tree::Leaf(1)), Box::new(Tree::Leaf(2)));
//! let sum: u32 = coroutine::scope(|scope| scope.generator(|y| leaves(&tree, y)).sum());
//! assert_eq!(sum, 3);
//! ```
//!
//! # On green threads and on plain OS threads
//!
//! All of this works on either. What blocks in a coroutine blocks the thread that has resumed it: a green
//! thread is suspended with all its coroutines, and goes on wherever a worker takes it up. Deadlines and
//! cancellations of that thread end a blocking call in a coroutine as anywhere; if that unwinds, it is the
//! end of the coroutine.
//!
//! The floating-point environment is the thread's, too: what a coroutine sets stays set when it yields.
//!
//! # Stacks
//!
//! Stacks are guarded, and come from the pool that green threads have theirs from: 256 KiB of address
//! space, 1 MiB in debug builds, or what [`Builder::stack_size`] says. An overflow ends the process with a
//! message that tells where the coroutine was made, on every thread that has an alternate signal stack: green
//! threads, and where `main` is Rust's also that, and those that std starts. A coroutine that has come to its end has no stack any more.
//!
//! # What libraries may take for granted
//!
//! A library that keeps in a thread-local what is entered at the moment (`scoped_tls`, `tracing`) takes for
//! granted that what is entered last is left first. A coroutine that yields inside of such a call leaves it
//! to whoever resumed it; two of them may leave in any order. Do not, where that is built on with `unsafe`
//! code. Roving's own deadlines, shields and locals [see to it](Yielder::yield_) themselves.
//!
//! # The files
//!
//! | file         | what it is                                              |
//! |--------------|---------------------------------------------------------|
//! | `core`       | what every coroutine is: a fiber, and how far it has come |
//! | `nesting`    | what must be as it was when a coroutine yields          |
//! | `asymmetric` | `Coroutine`                                             |
//! | `generator`  | `Generator`                                             |
//! | `transfer`   | `Peer`                                                  |
//! | `scope`      | coroutines that borrow                                  |
//! | `builder`    | how one is configured                                   |
//!
//! It may use the floors below; the switch is in `stack/fiber`.

mod asymmetric;
mod builder;
mod core;
mod generator;
mod nesting;
mod scope;
mod transfer;

pub use self::asymmetric::Coroutine;
pub use self::builder::Builder;
pub use self::core::Yielder;
pub use self::generator::Generator;
pub use self::scope::{Scope, scope};
pub use self::transfer::{Delivery, Next, Peer, Transfer};
pub use crate::stack::fiber::State;
