//! Unmodified blocking programs on green threads.
//!
//! A program that calls [`adopt`] at its start has its threads, made by `std::thread::spawn` or by `pthread_create` in whatever
//! library, run as green threads: where one blocks, it is parked, and its worker runs others.
//!
//! # How
//!
//! This crate defines functions of the C library anew. The linker and the loader find a program's own definition before the
//! library's, so whatever is in the program and in its shared libraries calls the one here, std included. Each does the
//! same for all callers:
//!
//! - if the program is not adopted, it goes on to the next definition (`next`), the C library's;
//! - if its caller [may be parked](roving_scheduler::adopt::may_park), it does what the C library promises by parking it;
//! - otherwise it is on an OS thread, or inside of the runtime, and the next definition does it, but where threads of both
//!   kinds meet: there both wait in one place.
//!
//! No panic leaves these functions: their callers may be C. A thread that ends in one unwinds through it, as through the C library's: it
//! is cancelled there, or exits in the handler of a signal that comes there. So those in which either may be are `extern "C-unwind"`, and
//! are called, and call the next ones, as such. Otherwise a wait in them is not interrupted, unless the function has an error to give for that.
//!
//! # The files
//!
//! | file     | what it is                                                     |
//! |----------|----------------------------------------------------------------|
//! | this one | whether the program is adopted                                 |
//! | `reach`  | whether the program's calls come here                         |
//! | `first`  | adoption when the first thread is made                         |
//! | `report` | what a program has had of it                                   |
//! | `stack`  | stacks that are executed, which is refused                     |
//! | `loader` | loading libraries, whose constructors may make threads          |
//! | `next`   | the C library's own definitions                                |
//! | `errno`  | how a function tells of an error                               |
//! | `clock`  | times as the C library gives them                              |
//! | `clock_set` | who waits for a time of a clock that is set                 |
//! | `futex`  | the system call in which std's locks, threads and channels wait |
//! | `numbered` | system calls that the program makes by their numbers         |
//! | `lock`   | mutexes, condition variables and whatever else threads wait for of each other |
//! | `time`   | sleeping, and letting others run                               |
//! | `thread` | threads                                                        |
//! | `hand_over` | what blocks in the system, with the worker handed over      |
//! | `name`   | looking up names                                               |
//! | `file`   | locks on files, FIFOs, and what is to be written out           |
//! | `queue`  | queues and semaphores of the system                            |
//! | `process` | making other processes                                        |
//! | `vfork`  | those that run in the memory of their parent               |
//! | `child`  | waiting for them                                               |
//! | `command` | commands that a shell runs                                    |
//! | `signal` | waiting for signals                                            |
//! | `memory` | memory of the program that may not be there                    |
//! | `kept`   | descriptors of the runtime, which the program does not close    |
//! | `slot`   | what is known of each descriptor                               |
//! | `waiting` | a call that tries, waits, and tries again                     |
//! | `descriptor` | how a number comes to stand for another descriptor         |
//! | `stream` | reading and writing                                            |
//! | `connect` | connections made and accepted                                 |
//! | `poll`   | waiting for many descriptors                                   |
//! | `handler` | handlers of signals                                           |
//! | `system_action` | what the system has of them                            |
//! | `mask`   | which signals a thread has blocked                              |
//! | `signal_stack` | the alternate stack on which they run                    |
//!
//! # Invariants
//!
//! - A function that is defined here does in a program that is not adopted what the next one does, and nothing else.
//! - What waits for something that a thread of either kind may do waits where both find it.

#![cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

mod child;
mod clock;
mod clock_set;
mod command;
mod connect;
mod descriptor;
mod errno;
mod file;
mod first;
mod futex;
mod hand_over;
mod handler;
mod kept;
mod loader;
mod lock;
mod mask;
mod memory;
mod name;
mod next;
mod numbered;
mod poll;
mod process;
mod queue;
mod reach;
mod report;
mod signal;
mod signal_stack;
mod slot;
mod stack;
mod stream;
mod system_action;
mod thread;
mod time;
mod vfork;
mod waiting;

use std::fmt::Display;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use roving_scheduler::{Handle, PerProcess, ThreadLocals};

pub use first::adopt_at_first_thread;
pub use report::{Report, aside, count};

static ADOPTED: AtomicBool = AtomicBool::new(false);

/// Locked by who adopts the program.
static ADOPTING: PerProcess<Mutex<()>> = PerProcess::new();

/// Whether the program is adopted.
pub(crate) fn is_adopted() -> bool {
    ADOPTED.load(Ordering::Acquire)
}

/// Whether the caller is a thread of an adopted program that may be parked.
pub(crate) fn parks() -> bool {
    is_adopted() && roving_scheduler::adopt::may_park()
}

/// Adopts the program: from now on the threads that it makes are green ones of the global runtime, which starts if it has not.
/// Those that there are, `main`'s among them, stay what they are. To do so again does nothing.
///
/// # Errors
///
/// The global runtime cannot start, or its green threads have no thread-locals of their own, or this is in a library that the program has
/// loaded later: the error says why.
///
/// # Examples
///
/// ```
/// roving_adopt::adopt()?;
/// let threads: Vec<_> = (0..1000)
///     .map(|_| std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_millis(20))))
///     .collect();
/// for thread in threads {
///     thread.join().unwrap();
/// }
/// # std::io::Result::Ok(())
/// ```
pub fn adopt() -> io::Result<()> {
    let cannot =
        |kind, why: &dyn Display| io::Error::new(kind, format!("cannot adopt the program: {why}"));
    let refused = |why: &dyn Display| cannot(io::ErrorKind::Unsupported, why);
    let failed = |error: io::Error| cannot(error.kind(), &error);
    if let Some((function, file)) = reach::calls_elsewhere() {
        return Err(refused(&format_args!(
            "its calls of {function} go to {file}: only the program itself, or a library that is preloaded (LD_PRELOAD), can \
             adopt"
        )));
    }
    if let Some(file) = stack::executed_by() {
        return Err(refused(&format_args!(
            "{file} needs an executable stack (PT_GNU_STACK; GCC's nested functions, or objects without a note on their \
             stack), which green threads do not have"
        )));
    }
    next::find_all();
    let runtime = Handle::current().map_err(failed)?;
    if runtime.thread_locals() != ThreadLocals::Own {
        return Err(match runtime.no_own_thread_locals() {
            Some(why) => refused(why),
            None => refused(
                &"the global runtime was asked for green threads without thread-locals of their own \
                  (Builder::thread_locals, ROVING_THREAD_LOCALS)",
            ),
        });
    }
    // Who asked while another one adopts would ask what has changed by then.
    let adopting = ADOPTING.get_or_make(Mutex::default);
    let _one_at_a_time = adopting.lock().unwrap_or_else(PoisonError::into_inner);
    if is_adopted() {
        return Ok(());
    }
    lock::begin().map_err(failed)?;
    roving_scheduler::adopt::begin().map_err(failed)?;
    roving_scheduler::adopt::ask_for_ids(thread::real_id);
    roving_scheduler::adopt::call_at_end(thread::end_current);
    roving_scheduler::adopt::destroy_by(thread::destroy_by);
    thread::watch_forks();
    thread::begin_to_interrupt();
    thread::note_affinity();
    roving_scheduler::adopt::tell_attributes(thread::tell_attributes);
    thread::except();
    slot::wait_with(runtime);
    ADOPTED.store(true, Ordering::Release);
    lock::have_begun();
    handler::take_over();
    Ok(())
}
