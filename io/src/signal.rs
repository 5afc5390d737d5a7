//! Signals: what the system, a terminal or another process has to say to a program.
//!
//! Whoever has [`Signals`] listens to them, and they no longer do what they do by default, which for most is to end
//! the program. Any number of threads, green and not, may listen to the same signals, each by its own `Signals`: each of
//! these is told of every signal. A signal that comes again before the first was taken is one, as the system has it.
//!
//! - Nothing is taken that was not asked for. A handler that was there before is called too; and when the last who
//!   listens to a signal is dropped, what was done with it before is done again.
//! - Who installs a handler afterwards, in another language or by another crate, should call the one that was there,
//!   as signal-hook and tokio do, or nobody here hears anything. Such a handler stays where it is.
//! - The handler counts, and writes to a descriptor. It runs on the alternate signal stack where the OS thread has one, as
//!   those of Roving and of std have.
//! - Blocking calls of std are not interrupted: they are begun anew (`SA_RESTART`).
//! - A child that a program [starts](crate::process) has the default for what its parent listens to. One that is forked
//!   and executes nothing does what was done before; it listens by `Signals` of its own.
//! - SIGPIPE is ignored in programs whose `main` is Rust's, with std as here: a write to what nobody reads gives an error.
//! - SIGQUIT may be listened to and [take dumps](roving_scheduler::Builder::dump_on_signal) at the same time.
//!
//! # Examples
//!
//! A server that ends gracefully:
//!
//! ```
//! use std::io;
//!
//! use roving::net::TcpListener;
//! use roving::signal::{SIGINT, SIGTERM, Signals};
//! use roving::{go, select};
//!
//! # fn main() -> io::Result<()> {
//! let ends = Signals::new([SIGINT, SIGTERM])?;
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let this = roving::process::id().to_string();
//! # roving::process::Command::new("kill").arg(this).status()?;
//! loop {
//!     select! {
//!         readable(listener) => {
//!             let (stream, _) = listener.accept()?;
//!             go!(move || drop(stream));
//!         }
//!         ready(ends) => break,
//!     }
//! }
//! assert_eq!(ends.recv()?, SIGTERM);
//! # Ok(())
//! # }
//! ```

use std::borrow::Borrow;
use std::fmt;
use std::io;
use std::iter::FusedIterator;

use roving_scheduler::block_on;
use roving_scheduler::channel::{Registration, Selectable, Ticket};
use roving_scheduler::hearing::{self, Hearing};
use roving_scheduler::wait::Why;
use rustix::process::Signal;

use crate::readiness::Direction;
use crate::source::{Attempt, Patience, Source, waits_alone};

macro_rules! numbers {
    ($($name:ident = $number:ident: $what:literal;)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`: ", $what)]
            pub const $name: i32 = Signal::$number.as_raw();
        )*

        /// As C calls it, if it is one of these.
        fn name(signal: i32) -> Option<&'static str> {
            match signal {
                $($name => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

numbers! {
    SIGALRM = ALARM: "a timer of the system.";
    SIGCHLD = CHILD: "a child has ended, or stopped.";
    SIGCONT = CONT: "the process goes on after a stop.";
    SIGHUP = HUP: "the terminal is gone; by custom, servers read their configuration again.";
    SIGINT = INT: "Ctrl-C.";
    SIGPIPE = PIPE: "a write to what nobody reads.";
    SIGQUIT = QUIT: "Ctrl-\\\\.";
    SIGTERM = TERM: "the process is asked to end.";
    SIGTSTP = TSTP: "Ctrl-Z.";
    SIGTTIN = TTIN: "a process in the background reads from the terminal.";
    SIGTTOU = TTOU: "a process in the background writes to the terminal.";
    SIGURG = URG: "urgent data has come on a socket.";
    SIGUSR1 = USR1: "for the program's own use.";
    SIGUSR2 = USR2: "for the program's own use.";
    SIGWINCH = WINCH: "the terminal has another size.";
    SIGXCPU = XCPU: "the limit of processor time is reached.";
    SIGXFSZ = XFSZ: "the limit of a file's size is reached.";
}

/// Listens to some signals for as long as it is there. See the [module](self).
///
/// Several threads may take from one by reference: each signal goes to one of them. As an arm of
/// [`select!`](roving_scheduler::select!), `ready(signals)` waits until there is one.
///
/// # Examples
///
/// ```
/// use roving::go;
/// use roving::process::{Command, id};
/// use roving::signal::{SIGHUP, Signals};
///
/// # fn main() -> std::io::Result<()> {
/// let hangups = Signals::new([SIGHUP])?;
/// let reloads = go!(move || hangups.iter().take(1).count());
/// Command::new("kill").args(["-HUP", &id().to_string()]).status()?;
/// assert_eq!(reloads.join().unwrap(), 1);
/// # Ok(())
/// # }
/// ```
pub struct Signals {
    hearings: Box<[Hearing]>,
    /// A duplicate of the bell, so that it has edges of its own.
    source: Source,
}

impl Signals {
    /// Listens to `signals` from now on. Other numbers than those of this module may be given.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is no such signal, or it cannot be listened to: SIGKILL and SIGSTOP, and those that a
    /// thread causes by a fault (SIGSEGV, SIGBUS, SIGILL, SIGFPE). Those of `eventfd` and `dup`.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::signal::Signals;
    ///
    /// let error = Signals::new([9]).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// ```
    pub fn new<I>(signals: I) -> io::Result<Self>
    where
        I: IntoIterator,
        I::Item: Borrow<i32>,
    {
        let bell = hearing::bell()?.try_clone_to_owned()?;
        let signals = signals.into_iter();
        Ok(Self {
            hearings: signals
                .map(|signal| Hearing::begin(*signal.borrow()))
                .collect::<io::Result<_>>()?,
            source: Source::new(bell),
        })
    }

    /// Waits for a signal and takes it.
    ///
    /// On a plain OS thread this waits with the global runtime, which starts by itself.
    ///
    /// # Errors
    ///
    /// The thread is cancelled, or a deadline comes. There is no descriptor for the IO driver. This is a forked
    /// child, and it is its parent that listens.
    #[track_caller]
    pub fn recv(&self) -> io::Result<i32> {
        if waits_alone()? {
            // The bell stays readable, and only drivers tell of edges.
            return block_on(self.recv_async());
        }
        let why = || OneOf(&self.hearings);
        let patience = || Ok(Patience::Forever);
        self.source
            .operate_for(why, Direction::Read, patience, |_| self.attempt())
    }

    /// Takes a signal if one has come.
    pub fn try_recv(&self) -> Option<i32> {
        let taken = self.hearings.iter().find(|hearing| hearing.take());
        if taken.is_none() {
            self.source.operations().take_turn();
        }
        taken.map(Hearing::signal)
    }

    /// Waits for a signal and takes it: [`recv`](Self::recv) as a future, in any executor. If it is dropped before it
    /// is ready, it has taken none.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), but for cancellations and deadlines of threads.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::block_on;
    /// use roving::process::{Command, id};
    /// use roving::signal::{SIGUSR1, Signals};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let signals = Signals::new([SIGUSR1])?;
    /// Command::new("kill").args(["-USR1", &id().to_string()]).status()?;
    /// assert_eq!(block_on(signals.recv_async())?, SIGUSR1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn recv_async(&self) -> io::Result<i32> {
        let attempt = |_| self.attempt();
        self.source.operate_async(Direction::Read, attempt).await
    }

    /// Returns the signals as they come. It never ends.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self)
    }

    fn attempt(&self) -> io::Result<Attempt<i32>> {
        self.check()?;
        let taken = self.try_recv();
        Ok(taken.map_or(Attempt::WouldBlock, Attempt::Done))
    }

    fn check(&self) -> io::Result<()> {
        self.hearings.iter().try_for_each(Hearing::check)
    }
}

/// What one waits for who waits for one of these.
struct OneOf<'a>(&'a [Hearing]);

impl Why for OneOf<'_> {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no signal");
        }
        f.write_str("signal ")?;
        let last = self.0.len() - 1;
        for (place, hearing) in self.0.iter().enumerate() {
            match place {
                0 => {}
                _ if place == last => f.write_str(" or ")?,
                _ => f.write_str(", ")?,
            }
            match name(hearing.signal()) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "{}", hearing.signal())?,
            }
        }
        Ok(())
    }

    fn in_short(&self) -> &'static str {
        "signal"
    }
}

impl Selectable for Signals {
    fn is_ready(&self) -> io::Result<bool> {
        self.check()?;
        Ok(self.hearings.iter().any(Hearing::is_pending))
    }

    fn watch(&self, ticket: Ticket) -> io::Result<Option<Registration<'_>>> {
        self.source
            .watch(Direction::Read, ticket, || self.is_ready())
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signals = self.hearings.iter().map(Hearing::signal);
        f.debug_tuple("Signals")
            .field(&signals.collect::<Vec<_>>())
            .finish()
    }
}

/// The signals that come: see [`Signals::iter`].
#[derive(Debug)]
pub struct Iter<'a>(&'a Signals);

impl Iterator for Iter<'_> {
    type Item = io::Result<i32>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<i32>> {
        Some(self.0.recv())
    }
}

impl FusedIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Signals {
    type Item = io::Result<i32>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Waits for Ctrl-C, as [`Signals`] of SIGINT that are dropped then: if nobody else listens, the next one ends the
/// program, so that a user can end one that takes its time.
///
/// # Errors
///
/// Those of [`Signals::new`] and [`Signals::recv`].
///
/// # Examples
///
/// ```
/// use roving::process::{Command, id};
/// use roving::signal::{SIGINT, Signals, ctrl_c};
/// use roving::{go, thread};
///
/// # fn main() -> std::io::Result<()> {
/// # let _listens = Signals::new([SIGINT])?;
/// let waits = go!(ctrl_c);
/// while !waits.is_finished() {
///     Command::new("kill").args(["-INT", &id().to_string()]).status()?;
/// }
/// waits.join().unwrap()
/// # }
/// ```
#[track_caller]
pub fn ctrl_c() -> io::Result<()> {
    Signals::new([SIGINT])?.recv().map(drop)
}

/// Waits for Ctrl-C: [`ctrl_c`] as a future, in any executor. It listens from its first poll on.
///
/// # Errors
///
/// Those of [`Signals::new`] and [`Signals::recv_async`].
pub async fn ctrl_c_async() -> io::Result<()> {
    Signals::new([SIGINT])?.recv_async().await.map(drop)
}
