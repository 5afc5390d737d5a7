//! The scheduler of Roving: stackful green threads, which workers, one OS thread for each core, run and steal from one another.
//!
//! Programs use the `roving` crate, which has all of this under shorter names. This crate is for
//! building on the scheduler: another IO driver, another blocking primitive.
//!
//! # Overview
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
//! # Layers
//!
//! A folder is a layer, called a floor. A file imports from its own floor and from those below it, never from above
//! (`tests/floors.rs`). From the top down:
//!
//! | Floor       | What it is                                                                    |
//! |-------------|-------------------------------------------------------------------------------|
//! | `thread/`, `sync/`, `channel/`, `coroutine/`, `future/`, `time`, `group`, `blocking`, `testing` | what users call: the mirrors of `std::thread` and `std::sync`, channels and select, coroutines without a scheduler, futures, intervals, threads that succeed or fail together, calls that block in the system |
//! | `runtime/`  | runtimes from outside: configured, started, ended, and the global one         |
//! | `wait/`     | the one path through which everything blocks, and what may end a wait from outside: deadlines, cancellation |
//! | `run/`      | who runs what: control blocks, tickets, queues, workers                       |
//! | `stack/`    | what a thread stands on: guarded stacks and their pool, thread-locals of its own, the coroutine |
//! | `protocol/` | what is argued and model-checked, and knows no runtime: the wait word, who sleeps and who is woken, timers |
//!
//! If a lower floor must report something to a higher one, the higher one has handed something down: a ticket, a
//! trait, a function.
//!
//! # Invariants
//!
//! - A green thread is in exactly one place: one queue, one worker, or parked (`run/green`).
//! - A wait ends once, and whoever ends a parked one queues its thread (`protocol/word`).
//! - Nothing is locked, borrowed or kept from a thread-local across a suspension (`run/context`).
//! - A started green thread moves only with its own thread-locals, unless its runtime's builder
//!   took an unsafe promise (`stack/mode`, `stack/tls`).
//! - No worker sleeps while there is work that no other worker is on the way to (`protocol/idle`).
//! - The worker loop never runs on a green stack, and user code never on a worker's (`run/worker`).

// What forks, signals and faults in guards take is not asked for there.
#![cfg_attr(windows, allow(dead_code))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![debugger_visualizer(gdb_script_file = "../gdb.py")]

#[cfg(feature = "adopt")]
#[doc(hidden)]
pub mod adopt;
pub mod blocking;
pub mod channel;
pub mod coroutine;
mod future;
mod group;
mod protocol;
mod run;
mod runtime;
mod stack;
pub mod sync;
pub mod testing;
pub mod thread;
pub mod time;
pub mod wait;

pub use future::{Greenly, OnWarmStack, await_, block_on, greenly, on_warm_stack};
pub use group::{Group, Members};
#[doc(hidden)]
pub use protocol::lock;
#[doc(hidden)]
pub use protocol::process::PerProcess;
pub use protocol::process::Process;
pub use run::context::is_green;
#[doc(hidden)]
pub use run::deep;
pub use run::driver;
#[cfg(unix)]
#[doc(hidden)]
pub use run::hearing;
#[doc(hidden)]
pub use run::os_thread::start as start_os_thread;
pub use run::shared::RuntimeId;
pub use runtime::asleep::AllAsleep;
pub use runtime::builder::Builder;
pub use runtime::deadlock::Deadlocks;
pub use runtime::dump::{Dump, dump};
pub use runtime::leaks::Leak;
pub use runtime::metrics::{Histogram, Metrics, WorkerMetrics};
pub use runtime::record::{Record, record};
pub use runtime::{Handle, Runtime, ShutdownTimedOut};
pub use stack::mode::{NoOwnThreadLocals, ThreadLocals};
pub use stack::{Guards, NoCompactStacks, NoGuards, Stacks, stacks};
pub use wait::cancel::{CancelToken, shield};
pub use wait::deadline::{deadline, deadline_at};
pub use wait::interrupt::DeadlineElapsed;
pub use wait::local;
