//! What the message of a panic says of a green thread.
//!
//! std's message has the name of an OS thread: `std::thread::current()` has a name only if std has started
//! the thread, and there is no way to give it one otherwise. So std's panic hook is wrapped in one
//! that first tells which green thread it is and where it was spawned, in a line of its own. The
//! number of the OS thread, which both have, shows what belongs together if several panic at once.
//!
//! A hook that the program has set stays as it is, be it set before or after: it runs on the green
//! thread, and can ask for its name.

use std::panic::{self, PanicHookInfo};
use std::ptr;
use std::sync::Once;
use std::thread;

use crate::protocol::say::say;
use crate::run::context;
use crate::run::green::Waiter;

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// Wraps std's hook, once for the process. It waits for panic hooks that run, so nothing may be locked
/// that one may want.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    // While it panics, a thread may not change the hook; another runtime will.
    if !thread::panicking() {
        INSTALLED.call_once(|| {
            let current = panic::take_hook();
            // There is none but std's now.
            let of_std = panic::take_hook();
            panic::set_hook(if is_same(&current, &of_std) {
                Box::new(move |info| {
                    context::with_running(tell);
                    of_std(info);
                })
            } else {
                current
            });
        });
    }
}

/// Whether two hooks are one function without a state, as std's is.
fn is_same(one: &Hook, other: &Hook) -> bool {
    // The addresses of functions tell: those of values without a size do not matter. If it is wrong,
    // a line more or less is printed.
    let same = ptr::eq(&raw const **one, &raw const **other);
    same && size_of_val(&**one) == 0
}

fn tell(waiter: &Waiter) {
    let Some(own_stack) = waiter.own_stack() else {
        return;
    };
    let name = waiter.name().unwrap_or("<unnamed>");
    let line = format!(
        "\ngreen thread '{name}'{}, spawned at {}:",
        on_os_thread(),
        own_stack.site
    );
    say(&line);
}

#[cfg(target_os = "linux")]
fn on_os_thread() -> String {
    format!(" on OS thread {}", super::processor::os_thread())
}

#[cfg(not(target_os = "linux"))]
fn on_os_thread() -> &'static str {
    ""
}
