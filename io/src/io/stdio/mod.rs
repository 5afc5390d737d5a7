//! The standard streams. Mirrors what `std::io` has of them.

#[cfg_attr(windows, path = "raw/windows.rs")]
mod raw;
mod raw_output;
mod reentrant;
#[cfg_attr(unix, path = "system/descriptors.rs")]
#[cfg_attr(windows, path = "system/handles.rs")]
mod system;

use std::any::Any;
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, LineWriter, Lines, Read, Write};
use std::panic::{self, RefUnwindSafe, UnwindSafe};
use std::process::Stdio;
use std::sync::{LazyLock, OnceLock, PoisonError};

use roving_scheduler::DeadlineElapsed;
use roving_scheduler::sync::{Mutex, MutexGuard};
use roving_scheduler::wait::Cancelled;

use self::raw::{RawStdin, Stream};
use self::raw_output::RawOutput;
use self::reentrant::{ReentrantGuard, ReentrantLock};
pub use self::system::IsTerminal;

/// The standard input of the process, with a buffer that all its handles share. Mirrors [`std::io::Stdin`].
///
/// A read from a pipe, a socket or a terminal blocks the green thread alone; one from a file is handed over. The open file
/// description, which other processes share, is not changed; and if one of them has made it non-blocking, reads wait all the same.
///
/// The buffer is not that of [`std::io::stdin`]: who reads by both may find a part of a line here and the rest there.
///
/// # Examples
///
/// ```no_run
/// use roving::io;
///
/// for line in io::stdin().lines() {
///     println!("{}", line?.len());
/// }
/// # Ok::<(), io::Error>(())
/// ```
pub struct Stdin {
    buffer: &'static Mutex<BufReader<RawStdin>>,
}

/// The [standard input](Stdin), locked. Mirrors [`std::io::StdinLock`].
#[must_use = "if unused stdin will immediately unlock"]
pub struct StdinLock<'a> {
    buffer: MutexGuard<'a, BufReader<RawStdin>>,
}

/// Returns a handle to the [standard input](Stdin). Mirrors [`std::io::stdin`].
#[must_use]
pub fn stdin() -> Stdin {
    static BUFFER: OnceLock<Mutex<BufReader<RawStdin>>> = OnceLock::new();
    Stdin {
        buffer: BUFFER.get_or_init(|| Mutex::new(BufReader::new(RawStdin))),
    }
}

impl Stdin {
    /// Locks the standard input and its buffer. Other green threads that want it park until the lock is dropped.
    #[track_caller]
    pub fn lock(&self) -> StdinLock<'static> {
        StdinLock {
            buffer: self.buffer.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Reads a line, with its end, and appends it to `buf`. Gives 0 at the end of the input.
    ///
    /// # Errors
    ///
    /// Those of [`BufRead::read_line`].
    #[track_caller]
    pub fn read_line(&self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_line(buf)
    }

    /// Returns the lines of the input, which it locks.
    #[must_use = "`self` will be dropped if the result is not used"]
    #[track_caller]
    pub fn lines(self) -> Lines<StdinLock<'static>> {
        self.lock().lines()
    }
}

/// The standard output of the process, with a buffer that all its handles share and that is written at the end of each line.
/// Mirrors [`std::io::Stdout`].
///
/// A write to a pipe that is full, to a socket or to a terminal blocks the green thread alone; one to a file is handed over. The
/// open file description, which other processes share, is not changed; and if one of them has made it non-blocking, writes wait all
/// the same. What is left in the buffer is written when the process ends by itself.
///
/// The buffer is not that of [`std::io::stdout`]: between parts of a line that come from both, the order is not kept. Nor does the
/// harness of tests capture what is written here, for which std has a way of its own.
pub struct Stdout {
    buffer: &'static ReentrantLock<RefCell<LineWriter<RawOutput>>>,
}

/// The [standard output](Stdout), locked. Mirrors [`std::io::StdoutLock`].
#[must_use = "if unused stdout will immediately unlock"]
pub struct StdoutLock<'a> {
    buffer: ReentrantGuard<RefCell<LineWriter<RawOutput>>>,
    _borrows: std::marker::PhantomData<&'a ()>,
}

static STDOUT: OnceLock<ReentrantLock<RefCell<LineWriter<RawOutput>>>> = OnceLock::new();

/// Returns a handle to the [standard output](Stdout). Mirrors [`std::io::stdout`].
///
/// # Examples
///
/// ```
/// use roving::io::{self, Write};
///
/// let mut output = io::stdout().lock();
/// writeln!(output, "these lines")?;
/// writeln!(output, "stay together")?;
/// # Ok::<(), io::Error>(())
/// ```
#[must_use]
pub fn stdout() -> Stdout {
    let make = || {
        // SAFETY: the function is there for as long as this crate, with which the system takes it off its list.
        let refused = unsafe { libc::atexit(finish) };
        debug_assert_eq!(refused, 0, "the system keeps room for one");
        let output = RawOutput::new(Stream::Stdout);
        ReentrantLock::new(RefCell::new(LineWriter::new(output)))
    };
    Stdout {
        buffer: STDOUT.get_or_init(make),
    }
}

/// Writes what the buffer has when the process ends, unless somebody has it locked. From then on it keeps nothing back.
extern "C" fn finish() {
    let Some(buffer) = STDOUT.get().and_then(|stdout| stdout.try_lock()) else {
        return;
    };
    // The thread that ends the process may be in the middle of a write.
    let Ok(mut buffer) = buffer.try_borrow_mut() else {
        return;
    };
    buffer.get_mut().set_last();
    // There is nobody to tell.
    let _ = buffer.flush();
    let mut output = RawOutput::new(Stream::Stdout);
    output.set_last();
    *buffer = LineWriter::with_capacity(0, output);
}

impl Stdout {
    /// Locks the standard output and its buffer. Other green threads that want it park until the lock is dropped; the thread
    /// that has it can lock it again.
    #[track_caller]
    pub fn lock(&self) -> StdoutLock<'static> {
        StdoutLock {
            buffer: self.buffer.lock(),
            _borrows: std::marker::PhantomData,
        }
    }
}

/// The standard error of the process, without a buffer. Mirrors [`std::io::Stderr`].
///
/// As for [`Stdout`], a write blocks the green thread alone.
pub struct Stderr(());

/// The [standard error](Stderr), locked. Mirrors [`std::io::StderrLock`].
#[must_use = "if unused stderr will immediately unlock"]
pub struct StderrLock<'a> {
    output: ReentrantGuard<RefCell<RawOutput>>,
    _borrows: std::marker::PhantomData<&'a ()>,
}

static STDERR: LazyLock<ReentrantLock<RefCell<RawOutput>>> =
    LazyLock::new(|| ReentrantLock::new(RefCell::new(RawOutput::new(Stream::Stderr))));

/// Returns a handle to the [standard error](Stderr). Mirrors [`std::io::stderr`].
#[must_use]
pub fn stderr() -> Stderr {
    Stderr(())
}

impl Stderr {
    /// Locks the standard error. Other green threads that want it park until the lock is dropped; the thread that has it can
    /// lock it again.
    #[track_caller]
    pub fn lock(&self) -> StderrLock<'static> {
        StderrLock {
            output: STDERR.lock(),
            _borrows: std::marker::PhantomData,
        }
    }
}

/// What `print!` and `println!` call.
#[doc(hidden)]
#[track_caller]
pub fn print_to_stdout(args: fmt::Arguments<'_>) {
    printed("stdout", stdout().write_fmt(args));
}

/// What `eprint!` and `eprintln!` call.
#[doc(hidden)]
#[track_caller]
pub fn print_to_stderr(args: fmt::Arguments<'_>) {
    printed("stderr", stderr().write_fmt(args));
}

/// Panics if printing has failed, as std does; unwinds if the thread has been interrupted.
#[track_caller]
fn printed(stream: &str, result: io::Result<()>) {
    let Err(error) = result else { return };
    if let Some(interrupt) = interrupt_of(&error)
        && cfg!(panic = "unwind")
    {
        panic::resume_unwind(interrupt);
    }
    panic!("failed printing to {stream}: {error}");
}

/// What a thread that is interrupted unwinds with, if it was told of it by `error`.
fn interrupt_of(error: &io::Error) -> Option<Box<dyn Any + Send>> {
    let cause: &(dyn Error + Send + Sync + 'static) = error.get_ref()?;
    let cancelled = cause.downcast_ref::<Cancelled>();
    let elapsed = cause.downcast_ref::<DeadlineElapsed>();
    match (cancelled, elapsed) {
        (Some(cancelled), _) => Some(Box::new(*cancelled)),
        (_, Some(elapsed)) => Some(Box::new(*elapsed)),
        _ => None,
    }
}

/// Reads by a lock.
macro_rules! read_by_lock {
    ($Stdin:ty) => {
        impl Read for $Stdin {
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.lock().read(buf)
            }

            #[track_caller]
            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.lock().read_vectored(bufs)
            }

            #[track_caller]
            fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
                self.lock().read_to_end(buf)
            }

            #[track_caller]
            fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
                self.lock().read_to_string(buf)
            }

            #[track_caller]
            fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
                self.lock().read_exact(buf)
            }
        }
    };
}

read_by_lock!(Stdin);
read_by_lock!(&Stdin);

impl Read for StdinLock<'_> {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.buffer.read(buf)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.buffer.read_vectored(bufs)
    }

    #[track_caller]
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.buffer.read_to_end(buf)
    }

    #[track_caller]
    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.buffer.read_to_string(buf)
    }

    #[track_caller]
    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.buffer.read_exact(buf)
    }
}

impl BufRead for StdinLock<'_> {
    #[track_caller]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.buffer.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.buffer.consume(amount);
    }

    #[track_caller]
    fn read_until(&mut self, byte: u8, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.buffer.read_until(byte, buf)
    }

    #[track_caller]
    fn read_line(&mut self, buf: &mut String) -> io::Result<usize> {
        self.buffer.read_line(buf)
    }
}

/// Writes by a lock, or by what a lock has.
macro_rules! write_by {
    ($lock:ident, $Output:ty, $($step:tt)*) => {
        impl Write for $Output {
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.$($step)*.write(buf)
            }

            #[track_caller]
            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.$($step)*.write_vectored(bufs)
            }

            #[track_caller]
            fn flush(&mut self) -> io::Result<()> {
                self.$($step)*.flush()
            }

            #[track_caller]
            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                self.$($step)*.write_all(buf)
            }

            write_by!(@$lock);
        }
    };
    // One lock for all that is written.
    (@locks) => {
        #[track_caller]
        fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
            self.lock().write_fmt(args)
        }
    };
    // What is displayed may print too, so nothing is borrowed meanwhile.
    (@locked) => {};
}

write_by!(locks, Stdout, lock());
write_by!(locks, &Stdout, lock());
write_by!(locked, StdoutLock<'_>, buffer.borrow_mut());
write_by!(locks, Stderr, lock());
write_by!(locks, &Stderr, lock());
write_by!(locked, StderrLock<'_>, output.borrow_mut());

macro_rules! stream {
    ($($Type:ident $(<$a:lifetime>)?),*) => {
        $(
            impl fmt::Debug for $Type $(<$a>)? {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct(stringify!($Type)).finish_non_exhaustive()
                }
            }

            // What unwinds leaves nothing half done: the buffer is as it was before or after.
            impl UnwindSafe for $Type $(<$a>)? {}
            impl RefUnwindSafe for $Type $(<$a>)? {}
        )*
    };
}

stream!(Stdin, StdinLock<'_>);
stream!(Stdout, StdoutLock<'_>);
stream!(Stderr, StderrLock<'_>);

impl From<Stdout> for Stdio {
    /// The standard output of this process becomes one of the child's.
    fn from(_: Stdout) -> Self {
        io::stdout().into()
    }
}

impl From<Stderr> for Stdio {
    /// The standard error of this process becomes one of the child's.
    fn from(_: Stderr) -> Self {
        io::stderr().into()
    }
}
