//! Who runs what.
//!
//! A green thread is a control block with a stack, and the right to run it is passed from hand to
//! hand: from whoever spawned or woke it to a queue, from there to a worker, and back.
//!
//! | file        | what it is                                                               |
//! |-------------|--------------------------------------------------------------------------|
//! | `green`     | the control block of a thread, and the right to run it                    |
//! | `belongs`   | the runtime that a green thread belongs to                               |
//! | `own_stack` | what a thread has that runs on a stack of its own                        |
//! | `lent_stack` | a call on a stack that the worker lends                                 |
//! | `guest`     | threads that are run by whoever polls them                               |
//! | `alarm`     | timers of what is polled                                                 |
//! | `ambient`   | what the blocking calls of a thread are subject to                       |
//! | `ticket`    | the right to end a wait                                                  |
//! | `enclosure` | what green threads must not outlive                                      |
//! | `reason`    | why a thread waits                                                       |
//! | `hold`      | a parked thread, held for a moment                                       |
//! | `ticks`     | for how long                                                             |
//! | `event`     | what happens, told where it happens                                      |
//! | `recorder`  | the last events of each worker                                           |
//! | `stopwatch` | for how long all in all                                                  |
//! | `counts`    | what workers count of themselves                                         |
//! | `listeners` | those who hear by `tracing` what green threads tell                      |
//! | `spans`     | the spans of `tracing` that a thread is in                               |
//! | `queue`     | where runnable green threads are                                         |
//! | `whereabouts` | where in memory they are, for the cache                                 |
//! | `registry`  | how many green threads are alive, and which of them have suspended       |
//! | `driver`    | the seam to IO                                                           |
//! | `lead`      | the right to call the driver                                             |
//! | `shared`    | what all threads of one runtime reach                                    |
//! | `wake`      | how a thread gets to run again whose wait has ended                      |
//! | `worker`    | the loop: find work, switch to it, do what it asked for                  |
//! | `context`   | what the current OS thread is to the runtime: all the thread-locals      |
//! | `silence`   | who looks, when all sleep, whether anybody could wake them               |
//! | `watch`     | who is stuck                                                            |
//! | `overlong`  | who has been so for so long that it is told                              |
//! | `deep`      | calls that go deeper than the stack of a small green thread may          |
//! | `spares`    | the OS threads of those who take the places of the stuck                |
//! | `processor` | how long an OS thread has run, and whether it waits                     |
//! | `os_thread` | how the runtime starts an OS thread                                      |
//! | `panicking` | how deep a thread is in unwindings, and panics that may not go on        |
//! | `panic_state` | what std knows of a thread's panics                                    |
//! | `panic_message` | what the message of a panic says of a green thread                   |
//! | `lookout`   | when a runtime looks for deadlocks                                       |
//! | `reclaim`   | long-parked green threads give back what they do not use of their stacks |
//! | `overflow`  | what is said when a stack overflows                                      |
//! | `glimpse`   | what a thread does that runs, seen from outside                          |
//! | `signal_handler` | handlers of signals, and those that were there before them             |
//! | `signal_stack` | where the handler of an overflow runs                              |
//! | `hearing`   | signals that the program listens to                                      |
//! | `signals`   | the mask of signals of a green thread, and what is pending for it        |
//! | `stack_use` | how much of their stacks green threads use                               |
//! | `thread_end` | whether the current thread drops its thread-locals                      |
//! | `unended`   | what a thread has begun on other stacks, and ends before its thread-locals |
//! | `first_destructor` | when that is                                                      |
//!
//! It may use the floors below: `stack` and `protocol`. What it must tell those above, it does by what
//! they have handed down: a [`Ticket`](ticket::Ticket), an [`Enclosure`](enclosure::Enclosure) that counts
//! its threads, a [`Canceller`](ambient::Canceller) that knows its frames, a
//! [`Driver`](driver::Driver), a [`Look`](lookout::Look) for deadlocks.

pub(crate) mod alarm;
pub(crate) mod ambient;
pub(crate) mod belongs;
pub(crate) mod context;
pub(crate) mod counts;
pub mod deep;
pub mod driver;
pub(crate) mod enclosure;
pub(crate) mod event;
#[cfg_attr(
    not(all(
        target_os = "linux",
        target_env = "gnu",
        not(target_feature = "crt-static"),
        not(roving_loom)
    )),
    path = "first_destructor/none.rs"
)]
pub(crate) mod first_destructor;
pub(crate) mod given_name;
pub(crate) mod glimpse;
pub(crate) mod green;
pub(crate) mod guest;
#[cfg(unix)]
pub mod hearing;
pub(crate) mod hold;
pub(crate) mod lead;
pub(crate) mod lent_stack;
#[cfg(feature = "tracing")]
mod listeners;
pub(crate) mod lookout;
pub(crate) mod os_thread;
#[cfg_attr(windows, path = "overflow/windows.rs")]
pub(crate) mod overflow;
pub(crate) mod overlong;
pub(crate) mod own_stack;
pub(crate) mod panic_message;
pub(crate) mod panic_state;
pub(crate) mod panicking;
pub(crate) mod processor;
pub(crate) mod queue;
pub(crate) mod reason;
pub(crate) mod reclaim;
pub(crate) mod recorder;
pub(crate) mod registry;
pub(crate) mod shared;
#[cfg(unix)]
pub(crate) mod signal_handler;
#[cfg_attr(windows, path = "signal_stack/windows.rs")]
mod signal_stack;
#[cfg_attr(
    not(all(feature = "adopt", target_os = "linux")),
    path = "signals/none.rs"
)]
pub(crate) mod signals;
pub(crate) mod silence;
#[cfg(feature = "tracing")]
mod spans;
pub(crate) mod spares;
pub(crate) mod stack_use;
mod stopwatch;
pub(crate) mod thread_end;
pub(crate) mod ticket;
pub(crate) mod ticks;
pub(crate) mod unended;
pub(crate) mod wake;
pub(crate) mod watch;
pub(crate) mod whereabouts;
pub(crate) mod worker;
