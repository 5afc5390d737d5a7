//! Coroutines without a scheduler: functions that can be suspended and resumed.
//!
//! They are not threads. A coroutine runs when it is resumed, as part of the resuming thread and with its
//! thread-locals, and a switch costs a few nanoseconds.
//!
//! | Type | What runs after a yield |
//! |------|---------------|
//! | [`Generator`]: an iterator, from a closure that yields | the code that asked for the value |
//! | [`Coroutine`]: values both ways, and a result | the code that resumed it |
//! | [`Peer`]: symmetric coroutines | the one that it names |
//!
//! Each has a stack of its own, so code may yield from any depth of calls: from a recursion, from a callback.
//! What they borrow must be `'static`, unless they are created in a [`scope()`].
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
//! All of this works on either. A blocking call in a coroutine blocks the thread that resumed it: a green
//! thread is suspended with all its coroutines, and resumes on whichever worker takes it. Deadlines and
//! cancellations of that thread end a blocking call in a coroutine as anywhere; if that unwinds, the
//! coroutine ends.
//!
//! The floating-point environment is the thread's, too: what a coroutine sets stays set when it yields.
//!
//! # Stacks
//!
//! Stacks are guarded, and come from the pool that green threads have theirs from: 256 KiB of address
//! space, 1 MiB in debug builds, or what [`Builder::stack_size`] sets. An overflow ends the process with a
//! message that says where the coroutine was created, on every thread that has an alternate signal stack: green
//! threads, the main thread of a Rust program, and threads started by std. A coroutine that has ended has no stack any more.
//!
//! # Scopes in thread-locals
//!
//! Some libraries keep the current scope in a thread-local (`scoped_tls`, `tracing`) and assume that the
//! scope entered last is left first. A coroutine that yields inside such a scope leaves it entered for the code
//! that resumed it, and two coroutines may leave their scopes in any order. **Do not yield inside a scope of a library whose `unsafe`
//! code relies on the order**, such as `scoped_tls`: this is undefined behaviour that safe code can cause, and neither the
//! compiler nor Roving detects it. Roving's own deadlines, shields and locals [check it](Yielder::yield_) themselves.
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
