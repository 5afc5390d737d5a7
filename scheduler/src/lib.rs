//! The scheduler of Roving: stackful green threads, stolen by one worker OS thread a core.
//!
//! Programs use the `roving` crate, which has all of this under shorter names. This crate is for
//! those who build on the scheduler: another IO driver, another primitive that blocks.
//!
//! # The way through the house
//!
//! ```text
//!     thread::spawn ---> promise of a stack ---> queue ---> worker ---> stack, coroutine ---> your code
//!                                                          ^           |                          |
//!                                                          |           | commit            wait::begin, block
//!                                                          |           v                          |
//!     driver, timer, lock, channel: Ticket::fire ----------+-------- word  <----------------------+
//!                                                          |
//!                                                        idle, parker: who sleeps, who is woken
//! ```
//!
//! | file          | what it is                                                                  |
//! |---------------|-----------------------------------------------------------------------------|
//! | `thread/`     | the mirror of `std::thread`: spawn, join, park, sleep, yield                |
//! | `sync/`       | the mirror of `std::sync`                                                   |
//! | `channel/`    | channels, and select                                                        |
//! | `group`       | green threads that succeed or fail together                                 |
//! | `time`        | intervals                                                                   |
//! | `ambient`     | what the blocking calls of a thread are subject to                          |
//! | `deadline`    | deadlines over whatever blocks                                              |
//! | `cancel`      | tokens that cancel, and shields                                             |
//! | `local`       | values that children inherit                                                |
//! | `wait`        | the one door through which everything blocks                                |
//! | `word`        | the wait word: who may end a wait, and who then may run the waiter           |
//! | `fired`       | what a fired ticket leaves to do when a lock is free                        |
//! | `completion`  | the hand-over from a thread that ends to the one that joins it              |
//! | `green`       | the control block of a thread                                               |
//! | `coroutine`   | the one file that knows the coroutine library                               |
//! | `stack`       | slabs of guarded stacks, and their pool                                     |
//! | `tls`         | thread-locals of a green thread's own                                      |
//! | `overflow`    | what is said when a stack overflows                                         |
//! | `reclaim`     | long-parked green threads give back what they do not use of their stacks    |
//! | `queue`       | where runnable green threads are                                            |
//! | `worker`      | the loop: find work, switch to it, do what it asked for                     |
//! | `idle`        | who sleeps, who searches, who is woken: no lost wake-up                     |
//! | `parker`      | how a worker sleeps                                                         |
//! | `timer`       | deadlines                                                                   |
//! | `driver`      | the seam to IO                                                              |
//! | `blocking`    | calls that block in the system, off the workers                             |
//! | `shared`      | what all threads of one runtime reach                                       |
//! | `registry`    | how many green threads are alive, and which of them have suspended          |
//! | `runtime`     | runtimes from outside: the global one, those of one's own, and their end    |
//! | `builder`     | how a runtime is configured                                                 |
//! | `mode`        | whose thread-locals a green thread uses, and so where it may go on          |
//! | `panicking`   | whether *this* green thread is unwinding                                    |
//! | `context`     | what the current OS thread is to the runtime: all the thread-locals         |
//! | `primitive`   | the switch to the model checker                                             |
//!
//! # Invariants
//!
//! - A green thread is in exactly one place: one queue, one worker, or parked (`green`).
//! - A wait ends once, and whoever ends a parked one queues its thread (`word`).
//! - Nothing is locked, borrowed or kept from a thread-local across a suspension (`context`).
//! - A started green thread moves only with its own thread-locals, unless its runtime's builder
//!   took an unsafe promise (`mode`, `tls`).
//! - Nobody sleeps while there is work that nobody is on the way to (`idle`).
//! - The worker loop never runs on a green stack, and user code never on a worker's (`worker`).

pub mod blocking;
pub mod channel;
mod group;
mod protocol;
mod run;
mod runtime;
mod stack;
pub mod sync;
pub mod thread;
pub mod time;
pub mod wait;

pub use group::{Group, Members};
pub use run::context::is_green;
pub use run::driver;
pub use run::shared::RuntimeId;
pub use runtime::builder::Builder;
pub use runtime::{Handle, Runtime, ShutdownTimedOut};
pub use stack::mode::{NoOwnThreadLocals, ThreadLocals};
pub use stack::stacks_in_use;
pub use wait::cancel::{CancelToken, shield};
pub use wait::deadline::{DeadlineElapsed, deadline, deadline_at};
pub use wait::local;
