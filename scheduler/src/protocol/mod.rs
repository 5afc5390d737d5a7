//! The ground floor: what is argued and model-checked, and knows no runtime.
//!
//! A protocol is a small state machine that several threads share. Each is in a file that opens with
//! its argument, takes its concurrency from [`primitive`] and from nowhere else, and has its models
//! beside it, which run the real code under loom.
//!
//! | file         | what it is                                                          |
//! |--------------|---------------------------------------------------------------------|
//! | `primitive`  | the switch to the model checker                                     |
//! | `lock`       | the locks of the runtime itself                                     |
//! | `sleep`      | how an OS thread of ours sleeps                                     |
//! | `word`       | the wait word: who may end a wait, and who then may run the waiter  |
//! | `nudge`      | what makes a thread look up from its wait                           |
//! | `token`      | the token of a thread that parks                                    |
//! | `completion` | how those who wait for the end of a thread are told of it           |
//! | `watchers`   | those who want to be told of one event                              |
//! | `idle`       | who sleeps, who searches, who is woken: no lost wake-up             |
//! | `vigil`      | who looks whether anybody is left who could wake the others         |
//! | `pace`       | whether a worker gets on                                            |
//! | `roster`     | who takes part: workers, and spares for those who are stuck         |
//! | `nap`        | how long a worker sleeps that was woken for nothing                 |
//! | `parker`     | how a worker sleeps                                                 |
//! | `task`       | a waiter that is polled, and woken instead of resumed               |
//! | `slot`       | what a worker runs next, unless that waits too long                 |
//! | `shown`      | what one thread uses, and others may look at                        |
//! | `ring`       | the last of what several threads write down                         |
//! | `timer`      | deadlines, in shards                                                |
//! | `spare`      | memory that was used in a burst goes back                           |
//! | `made`       | what hardly anybody needs, and who does first makes                 |
//! | `list`       | a list of nodes that lie on the stacks of those who wait            |
//! | `outline`    | where the fields of types are, for those who read memory from outside |
//! | `process`    | which process this is, after a fork                                 |
//! | `passage`    | when OS threads of ours start and end, and no fork may fall between |
//! | `say`        | what the runtime says on standard error                             |
//!
//! It may use nothing of this crate.

pub(crate) mod completion;
#[cfg(all(test, not(roving_loom)))]
mod hammer;
pub(crate) mod idle;
pub(crate) mod list;
pub mod lock;
pub(crate) mod made;
pub(crate) mod nap;
#[cfg(any(feature = "adopt", all(test, roving_loom)))]
pub(crate) mod nudge;
pub(crate) mod outline;
pub(crate) mod pace;
pub(crate) mod parker;
pub(crate) mod passage;
pub(crate) mod primitive;
pub(crate) mod process;
pub(crate) mod ring;
pub(crate) mod roster;
pub(crate) mod say;
pub(crate) mod shown;
#[cfg(not(roving_loom))]
mod sleep;
pub(crate) mod slot;
pub(crate) mod spare;
pub(crate) mod task;
pub(crate) mod timer;
pub(crate) mod token;
pub(crate) mod vigil;
pub(crate) mod watchers;
pub(crate) mod word;
pub(crate) mod written;
