//! Adopting a program from within, and the message if that is refused.

use std::fmt::Display;
use std::io;
use std::process::{self, ExitCode, Termination};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What the main thread of a process has for its stack, unless somebody has asked for another one.
const MAIN_STACK_SIZE: usize = 8 << 20;

/// Adopts the program: threads created from now on are green, whether by `std::thread::spawn` or by a C library. The
/// chapter [`adoption`](crate::adoption) says what that means. Adopting it again does nothing.
///
/// The macro [`adopt!`](crate::adopt!) does the same and exits the program if it is refused. With this function a program may continue
/// with OS threads.
///
/// # Errors
///
/// Returns an error if the platform does not support adoption, green threads have no [thread-locals of their own](crate::ThreadLocals::Own), or
/// the global runtime cannot start. The error says which, and nothing has changed then.
///
/// # Examples
///
/// ```
/// if let Err(error) = roving::adopt() {
///     eprintln!("{error}; threads are OS threads");
/// }
/// assert_eq!(std::thread::spawn(|| 1 + 2).join().unwrap(), 3);
/// ```
pub fn adopt() -> io::Result<()> {
    #[cfg(all(
        target_os = "linux",
        target_env = "gnu",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ))]
    return roving_adopt::adopt();
    #[cfg(not(all(
        target_os = "linux",
        target_env = "gnu",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )))]
    return Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "cannot adopt the program: that requires Linux with glibc, on x86-64 or aarch64",
    ));
}

/// What `adopt!()` does.
#[doc(hidden)]
pub fn adopt_or_exit() {
    if let Err(error) = adopt() {
        refuse(&error);
    }
}

/// Whether this is the first call.
#[doc(hidden)]
pub fn main_begins() -> bool {
    static HAS_BEGUN: AtomicBool = AtomicBool::new(false);
    !HAS_BEGUN.swap(true, Ordering::Relaxed)
}

/// Adopts the program, calls `main` on a thread of it, and exits with its result.
#[doc(hidden)]
pub fn run_main<T: Termination + 'static>(main: fn() -> T) -> T {
    adopt_or_exit();
    let spawned = thread::Builder::new()
        .name("main".to_owned())
        .stack_size(MAIN_STACK_SIZE)
        .spawn(move || main().report());
    match spawned {
        Ok(thread) => process::exit(thread.join().map_or(101, number)),
        Err(error) => refuse(&format_args!(
            "cannot go on with `main` on a green thread with a stack of {} MiB: {error}",
            MAIN_STACK_SIZE >> 20
        )),
    }
}

fn number(code: ExitCode) -> i32 {
    let known = (0..=u8::MAX).find(|&number| ExitCode::from(number) == code);
    known.unwrap_or(1).into()
}

fn refuse(why: &dyn Display) -> ! {
    std::eprintln!("roving: {why}");
    process::exit(1);
}

/// Adopts the program: threads created from now on are green, whether by `std::thread::spawn` or by
/// a C library. The chapter [`adoption`](crate::adoption) says what that means.
///
/// With `adopt!(main)`, `main` itself is a green thread too, so that its waits block no OS thread: `main` is called a second time, on a
/// green thread with a stack of 8 MiB; the first call waits for it, and the process exits with its result. So `adopt!(main)` must be the
/// first statement of `main`: whatever precedes it runs twice.
///
/// If adoption is refused, a line on standard error says why, and the program exits with status 1. The function
/// [`adopt`](crate::adopt()) returns an error instead.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// fn main() {
///     roving::adopt!();
///     let threads: Vec<_> = (0..1000)
///         .map(|_| std::thread::spawn(|| std::thread::sleep(Duration::from_millis(20))))
///         .collect();
///     for thread in threads {
///         thread.join().unwrap();
///     }
/// }
/// ```
///
/// ```
/// fn main() -> std::io::Result<()> {
///     roving::adopt!(main);
///     assert!(roving::is_green());
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! adopt {
    () => {
        $crate::adopt_or_exit()
    };
    (main) => {
        if $crate::main_begins() {
            return $crate::run_main(main);
        }
    };
}
