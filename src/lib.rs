#![doc = include_str!("../docs/tour.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "adopt")]
mod adopted;

#[cfg(feature = "hyper")]
pub use roving_io::hyper;
pub use roving_io::{fs, io, net, process};
#[cfg(unix)]
pub use roving_io::{os, signal};
pub use roving_scheduler::{
    AllAsleep, Builder, CancelToken, DeadlineElapsed, Deadlocks, Dump, Greenly, Group, Guards,
    Handle, Histogram, Leak, Members, Metrics, NoCompactStacks, NoGuards, NoOwnThreadLocals,
    Record, Runtime, RuntimeId, ShutdownTimedOut, Stacks, ThreadLocals, WorkerMetrics, await_,
    block_on, channel, coroutine, deadline, deadline_at, dump, greenly, is_green, local, record,
    select, select_biased, shield, stacks, sync, testing, thread, time,
};

#[cfg(feature = "adopt")]
pub use adopted::adopt;
#[cfg(feature = "adopt")]
#[doc(hidden)]
pub use adopted::{adopt_or_exit, main_begins, run_main};
pub use roving_scheduler::blocking::run as blocking;
pub use roving_scheduler::thread::spawn;
pub use roving_scheduler::wait::Cancelled;
pub use roving_scheduler::{OnWarmStack, on_warm_stack};

#[cfg(feature = "adopt")]
#[doc = include_str!("../docs/adoption.md")]
pub mod adoption {}
#[doc = include_str!("../docs/colours.md")]
pub mod colours {}
#[doc = include_str!("../docs/features.md")]
pub mod features {}
#[doc = include_str!("../docs/parity.md")]
pub mod parity {}
#[doc = include_str!("../docs/performance.md")]
pub mod performance {}
#[doc = include_str!("../docs/platforms.md")]
pub mod platforms {}
#[doc = include_str!("../docs/porting.md")]
pub mod porting {}
#[doc = include_str!("../docs/soundness.md")]
pub mod soundness {}
#[doc = include_str!("../docs/watching.md")]
pub mod watching {}

/// Spawns a green thread: `go!(|| ...)`.
///
/// Returns a [`JoinHandle`](thread::JoinHandle); dropping it detaches the green thread. May be used
/// anywhere: on a green thread, on any OS thread, in `main`. The closure and what it captures must be
/// `Send + 'static`, as with [`std::thread::spawn`], so it is usually a `move` closure.
///
/// Options precede the closure, each of them optional, in any order:
///
/// - `name = ...`: anything that is `Into<String>`;
/// - `stack_size = ...`: bytes of address space, as [`thread::Builder::stack_size`].
///
/// # Panics
///
/// Panics if the system refuses a stack, or the global runtime cannot be started, as [`spawn`] does. It also panics if the stack is
/// too large or the name contains a null byte. [`thread::Builder::spawn`] returns errors instead, except for the name, for which it panics.
///
/// # Examples
///
/// ```
/// use roving::go;
///
/// let sum = go!(|| 1 + 2);
/// let deep = go!(name = "deep", stack_size = 1 << 20, || {
///     roving::thread::current().name().map(str::to_owned)
/// });
/// assert_eq!(sum.join().unwrap(), 3);
/// assert_eq!(deep.join().unwrap().as_deref(), Some("deep"));
/// ```
#[macro_export]
macro_rules! go {
    (name = $name:expr, stack_size = $bytes:expr, $f:expr $(,)?) => {
        $crate::thread::spawn_with(
            $crate::thread::Builder::new()
                .name(::std::convert::Into::into($name))
                .stack_size($bytes),
            $f,
        )
    };
    (stack_size = $bytes:expr, name = $name:expr, $f:expr $(,)?) => {
        $crate::go!(name = $name, stack_size = $bytes, $f)
    };
    (name = $name:expr, $f:expr $(,)?) => {
        $crate::thread::spawn_with(
            $crate::thread::Builder::new().name(::std::convert::Into::into($name)),
            $f,
        )
    };
    (stack_size = $bytes:expr, $f:expr $(,)?) => {
        $crate::thread::spawn_with($crate::thread::Builder::new().stack_size($bytes), $f)
    };
    ($option:ident = $value:expr $(,)?) => {
        $crate::__go_expects!($option = $value)
    };
    ($f:expr $(,)?) => {
        $crate::spawn($f)
    };
    ($($found:tt)*) => {
        $crate::__go_expects!($($found)*)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __go_expects {
    ($($found:tt)*) => {
        ::std::compile_error!(::std::concat!(
            "`go!` expects a closure, and before it none, one or both of the options `name = ...` and \
             `stack_size = ...`, found: ",
            ::std::stringify!($($found)*)
        ))
    };
}

/// Prints to the [standard output](io::Stdout), which may block the green thread but not its worker. Mirrors [`std::print!`].
///
/// # Panics
///
/// Panics if writing fails. A thread that has been cancelled unwinds if it would have to wait.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => {
        $crate::io::print_to_stdout(::std::format_args!($($arg)*))
    };
}

/// Prints a line to the [standard output](io::Stdout), which may block the green thread but not its worker. Mirrors
/// [`std::println!`].
///
/// # Panics
///
/// As [`print!`](crate::print!).
///
/// # Examples
///
/// ```
/// use roving::println;
///
/// let name = "world";
/// println!("hello, {name}");
/// println!();
/// ```
#[macro_export]
macro_rules! println {
    () => {
        $crate::print!("\n")
    };
    ($($arg:tt)*) => {
        $crate::print!("{}\n", ::std::format_args!($($arg)*))
    };
}

/// Prints to the [standard error](io::Stderr), which may block the green thread but not its worker. Mirrors [`std::eprint!`].
///
/// # Panics
///
/// As [`print!`](crate::print!).
#[macro_export]
macro_rules! eprint {
    ($($arg:tt)*) => {
        $crate::io::print_to_stderr(::std::format_args!($($arg)*))
    };
}

/// Prints a line to the [standard error](io::Stderr), which may block the green thread but not its worker. Mirrors
/// [`std::eprintln!`].
///
/// # Panics
///
/// As [`print!`](crate::print!).
#[macro_export]
macro_rules! eprintln {
    () => {
        $crate::eprint!("\n")
    };
    ($($arg:tt)*) => {
        $crate::eprint!("{}\n", ::std::format_args!($($arg)*))
    };
}

/// Prints the value of an expression with its source location to the [standard error](io::Stderr), and returns it. This may
/// block the green thread but not its worker. Mirrors [`std::dbg!`].
///
/// Given several expressions it prints each and returns a tuple; given none, it prints only the location.
///
/// # Panics
///
/// As [`print!`](crate::print!).
///
/// # Examples
///
/// ```
/// use roving::dbg;
///
/// // Prints `[src/main.rs:4:19] 2 + 3 = 5`.
/// let product = 7 * dbg!(2 + 3);
/// assert_eq!(product, 35);
/// ```
#[macro_export]
macro_rules! dbg {
    () => {
        $crate::eprintln!("[{}:{}:{}]", ::std::file!(), ::std::line!(), ::std::column!())
    };
    ($value:expr $(,)?) => {
        // What the expression borrows from its temporaries lives as long as it would without this.
        match $value {
            value => {
                $crate::eprintln!(
                    "[{}:{}:{}] {} = {:#?}",
                    ::std::file!(),
                    ::std::line!(),
                    ::std::column!(),
                    ::std::stringify!($value),
                    &value,
                );
                value
            }
        }
    };
    ($($value:expr),+ $(,)?) => {
        ($($crate::dbg!($value)),+,)
    };
}

/// The examples in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
