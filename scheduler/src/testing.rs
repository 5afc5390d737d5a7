//! For tests of programs that run on green threads.

use std::time::{Duration, Instant};

use crate::run::context;
use crate::run::shared::Shared;
use crate::runtime::dump;
use crate::thread;

/// How long those have to end that are about to.
const GRACE: Duration = Duration::from_secs(2);

/// Panics if green threads are alive in this process, in any runtime, but the one that calls it. Those that are
/// about to end have two seconds for it.
///
/// What a test has spawned and forgotten is found so where it was forgotten, and not as a stack that is missing
/// somewhere else. Tests that run at the same time in one process have their threads in it too: then each is
/// better off with a runtime of its own, whose [`shutdown_timeout`](crate::Runtime::shutdown_timeout) tells.
///
/// # Panics
///
/// Panics if some are alive, with a [dump](crate::dump) in the message.
///
/// # Examples
///
/// ```
/// use roving::{go, testing};
///
/// let sum = go!(|| 1 + 2);
/// drop(go!(|| println!("nobody joins this one, and it ends")));
/// assert_eq!(sum.join().unwrap(), 3);
/// testing::no_green_threads_left();
/// ```
#[track_caller]
pub fn no_green_threads_left() {
    let deadline = Instant::now() + GRACE;
    while others_alive() > 0 {
        if Instant::now() >= deadline {
            let dump = dump::dump();
            assert!(others_alive() == 0, "green threads are left\n{dump}");
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// How many green threads are alive beside the current one.
fn others_alive() -> usize {
    let me = context::with_running(|waiter| waiter.green().is_some());
    let alive = |runtime: &Shared| runtime.registry.len();
    let all: usize = dump::runtimes().iter().map(|runtime| alive(runtime)).sum();
    all.saturating_sub(usize::from(me == Some(true)))
}
