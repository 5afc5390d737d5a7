//! The floor of stacks: what green threads and coroutines run on, and what is pooled with it.
//!
//! A green thread runs on a stack that is carved from a slab, guarded, and used again. If it has
//! thread-locals of its own, they lie above its stack.
//!
//! | file        | what it is                                                                   |
//! |-------------|------------------------------------------------------------------------------|
//! | `memory`    | the system's calls for it                                                    |
//! | `page`      | the pages of memory that stacks are made of                                  |
//! | `guard/`    | ranges below stacks that fault                                               |
//! | `class`     | sizes, and the layout of a slot                                              |
//! | `room`      | what is left to the rest of the process                                      |
//! | `slab`      | mappings of many slots, from which stacks are carved                         |
//! | `bounds`    | where a stack is                                                             |
//! | `pool`      | stacks, promises of stacks, and the pool of the process                      |
//! | `cache`     | what one worker keeps at hand                                                |
//! | `cooling`   | free stacks give their pages back                                            |
//! | `borrowed`  | a call on a stack that is borrowed for it                                    |
//! | `compact`   | that a parked thread takes one page                                          |
//! | `numbers`   | how many stacks there are, and how they are guarded                          |
//! | `usage`     | how much of a stack has been used                                            |
//! | `errand`    | what a thread is to do, and then what it leaves                              |
//! | `coroutine` | what a green thread runs as, by the coroutine library                         |
//! | `fp`        | the floating-point environment, which each has of its own                    |
//! | `frames`    | the functions that whoever asks is in                                        |
//! | `copied`    | the stack of a thread that goes on, copied, and walked                       |
//! | `fiber`     | coroutines that are no threads, by the same                                  |
//! | `prefetch`  | memory is brought into the cache before it is used                           |
//! | `plate`     | whose stack an address is on, for those who know nothing else                |
//! | `mode`      | whose thread-locals a green thread uses                                      |
//! | `tls/`      | thread-locals of a green thread's own                                        |
//!
//! With the feature `thread-sanitizer`, `thread_sanitizer` tells ThreadSanitizer of switches.
//!
//! It may use nothing of this crate but [`protocol`](crate::protocol).
//!
//! # Invariants
//!
//! - Every stack has a guard below it, and is used by one green thread or coroutine at a time.
//! - A promise is a stack: whoever has one finds a stack.
//! - Slabs are mapped for ever, so that an address on a stack stays readable memory of ours, whatever
//!   becomes of its thread.

pub(crate) mod borrowed;
mod bounds;
mod cache;
mod class;
pub(crate) mod compact;
mod cooling;
#[cfg(all(
    target_os = "linux",
    target_arch = "x86_64",
    not(feature = "thread-sanitizer")
))]
pub(crate) mod copied;
pub(crate) mod coroutine;
pub(crate) mod errand;
pub(crate) mod fiber;
pub(crate) mod fp;
#[cfg_attr(windows, path = "frames/windows.rs")]
pub(crate) mod frames;
mod guard;
mod memory;
pub(crate) mod mode;
#[cfg(all(test, not(roving_loom)))]
#[path = "../../tests/common/not_tested.rs"]
mod not_tested;
mod numbers;
mod page;
pub(crate) mod plate;
mod pool;
pub(crate) mod prefetch;
pub(crate) mod room;
pub(crate) mod slab;
#[cfg(feature = "thread-sanitizer")]
mod thread_sanitizer;
pub(crate) mod tls;
pub(crate) mod usage;

pub(crate) use self::bounds::Bounds;
pub(crate) use self::cache::Cache;
pub(crate) use self::class::{Class, DEFAULT_SIZE, MIN_SIZE};
pub use self::compact::NoCompactStacks;
pub(crate) use self::cooling::{Cooling, cool_all};
pub(crate) use self::guard::begin_with as begin_with_guards;
pub use self::guard::{Guards, NoGuards};
pub use self::numbers::{Stacks, stacks};
pub(crate) use self::pool::{Promise, Stack, stock};
