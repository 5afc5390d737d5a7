//! How long the operations on a socket may wait.
//!
//! Non-blocking mode and timeouts belong to the open file description, as in std, so the clones of
//! a socket share them. The system is told of every change, and a socket that leaves Roving takes
//! them along. It does not act on them, since every system call is made non-blocking: what it says
//! is remembered here, and acted on when an operation would block. Of a socket that comes from
//! elsewhere it is asked then, once. A change that somebody makes later through a descriptor of
//! their own is not noticed.
//!
//! Nearly all sockets have no timeout, are in blocking mode and are never cloned; they remember
//! nothing.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::fd::BorrowedFd;
use rustix::io::ioctl_fionbio;
use rustix::net::sockopt::{self, Timeout};

use crate::error::zero_timeout;
use crate::mode;
use crate::readiness::Direction;
use crate::source::Patience;

/// See the [module](self). Unset, it is the settings of a new socket.
#[derive(Debug, Default)]
pub(crate) struct Settings(OnceLock<Arc<Shared>>);

/// What the clones of a socket share.
#[derive(Debug)]
struct Shared {
    /// A [`Mode`].
    mode: AtomicU8,
    /// In nanoseconds, or one of the two constants below.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
    /// The description of a listener has been made non-blocking, whatever its mode.
    prepared: AtomicBool,
}

const NO_TIMEOUT: u64 = u64::MAX;
const UNKNOWN_TIMEOUT: u64 = u64::MAX - 1;
const LONGEST_TIMEOUT: u64 = u64::MAX - 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Unknown,
    Blocking,
    Nonblocking,
}

impl Mode {
    fn of(nonblocking: bool) -> Self {
        if nonblocking {
            Self::Nonblocking
        } else {
            Self::Blocking
        }
    }
}

impl Settings {
    /// Those of a socket that comes from elsewhere.
    pub(crate) fn unknown() -> Self {
        Self(OnceLock::from(Arc::new(Shared {
            mode: AtomicU8::new(Mode::Unknown as u8),
            read_timeout: AtomicU64::new(UNKNOWN_TIMEOUT),
            write_timeout: AtomicU64::new(UNKNOWN_TIMEOUT),
            prepared: AtomicBool::new(false),
        })))
    }

    /// Those of a socket that a listener of these has accepted. It has inherited the timeouts but
    /// not the mode.
    pub(crate) fn of_accepted(&self) -> Self {
        match self.0.get() {
            None => Self::default(),
            Some(_) => {
                let accepted = Self::unknown();
                accepted.shared().set_mode(Mode::Blocking);
                accepted
            }
        }
    }

    /// Those of a clone.
    pub(crate) fn share(&self) -> Self {
        Self(OnceLock::from(self.shared().clone()))
    }

    /// Whether no clone shares them. Lasts as long as the borrow.
    fn unshared(&mut self) -> bool {
        self.0
            .get()
            .is_none_or(|shared| Arc::strong_count(shared) == 1)
    }

    fn shared(&self) -> &Arc<Shared> {
        self.0.get_or_init(|| {
            Arc::new(Shared {
                mode: AtomicU8::new(Mode::Blocking as u8),
                read_timeout: AtomicU64::new(NO_TIMEOUT),
                write_timeout: AtomicU64::new(NO_TIMEOUT),
                prepared: AtomicBool::new(true),
            })
        })
    }

    /// How long an operation on `fd` that begins to wait now may wait.
    pub(crate) fn patience(
        &self,
        fd: BorrowedFd<'_>,
        direction: Direction,
    ) -> io::Result<Patience> {
        let Some(shared) = self.0.get() else {
            return Ok(Patience::Forever);
        };
        if shared.mode(fd)? == Mode::Nonblocking {
            return Ok(Patience::None);
        }
        let deadline = shared
            .timeout(fd, direction)?
            .and_then(|timeout| Instant::now().checked_add(timeout));
        Ok(deadline.map_or(Patience::Forever, Patience::Until))
    }

    /// The timeout as the system has it, which may be rounded.
    pub(crate) fn timeout(
        &self,
        fd: BorrowedFd<'_>,
        direction: Direction,
    ) -> io::Result<Option<Duration>> {
        Ok(sockopt::socket_timeout(fd, timeout_option(direction))?)
    }

    pub(crate) fn set_timeout(
        &self,
        fd: BorrowedFd<'_>,
        direction: Direction,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(zero_timeout());
        }
        sockopt::set_socket_timeout(fd, timeout_option(direction), timeout)?;
        self.shared()
            .timeout_of(direction)
            .store(pack(timeout), Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn set_nonblocking(&self, fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
        if !mode::IS_REMEMBERED {
            ioctl_fionbio(fd, nonblocking)?;
        }
        self.shared().set_mode(Mode::of(nonblocking));
        Ok(())
    }

    /// Makes the description of a listener non-blocking, since there is no flag for one `accept`.
    pub(crate) fn prepare_listener(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let Some(shared) = self.0.get() else {
            return Ok(());
        };
        if !shared.prepared.load(Ordering::Acquire) {
            // The mode cannot be asked for afterwards.
            shared.mode(fd)?;
            ioctl_fionbio(fd, true)?;
            shared.prepared.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Sets the mode of a listener, whose description stays non-blocking.
    pub(crate) fn set_listener_nonblocking(
        &self,
        fd: BorrowedFd<'_>,
        nonblocking: bool,
    ) -> io::Result<()> {
        self.prepare_listener(fd)?;
        self.shared().set_mode(Mode::of(nonblocking));
        Ok(())
    }

    /// Lets the description of a socket that leaves Roving have the mode that its user gave it, where it has another.
    pub(crate) fn release(self, fd: BorrowedFd<'_>) {
        if mode::IS_REMEMBERED {
            self.release_listener(fd);
        }
    }

    /// Lets the description of a listener that leaves Roving have the mode that its user gave it,
    /// unless clones need it as it is.
    pub(crate) fn release_listener(mut self, fd: BorrowedFd<'_>) {
        if !self.unshared() {
            return;
        }
        let nonblocking = self.0.get().is_some_and(|shared| {
            // Of a listener that has not been prepared, the description has its mode already.
            shared.mode(fd).is_ok_and(|mode| mode == Mode::Nonblocking)
        });
        // Fails only for what is no descriptor.
        let _ = ioctl_fionbio(fd, nonblocking);
    }
}

impl Shared {
    fn mode(&self, fd: BorrowedFd<'_>) -> io::Result<Mode> {
        const BLOCKING: u8 = Mode::Blocking as u8;
        const NONBLOCKING: u8 = Mode::Nonblocking as u8;
        match self.mode.load(Ordering::Acquire) {
            BLOCKING => Ok(Mode::Blocking),
            NONBLOCKING => Ok(Mode::Nonblocking),
            unknown => {
                let mode = Mode::of(mode::is_nonblocking(fd)?);
                // Who has stored one meanwhile may have changed the description since, and knows
                // better.
                let stored = self.mode.compare_exchange(
                    unknown,
                    mode as u8,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                );
                Ok(match stored {
                    Err(BLOCKING) => Mode::Blocking,
                    Err(_) => Mode::Nonblocking,
                    Ok(_) => mode,
                })
            }
        }
    }

    fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Release);
    }

    fn timeout_of(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Read | Direction::Priority => &self.read_timeout,
            Direction::Write => &self.write_timeout,
        }
    }

    fn timeout(&self, fd: BorrowedFd<'_>, direction: Direction) -> io::Result<Option<Duration>> {
        let timeout = self.timeout_of(direction);
        let mut packed = timeout.load(Ordering::Relaxed);
        if packed == UNKNOWN_TIMEOUT {
            packed = pack(sockopt::socket_timeout(fd, timeout_option(direction))?);
            let stored = timeout.compare_exchange(
                UNKNOWN_TIMEOUT,
                packed,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            packed = stored.err().unwrap_or(packed);
        }
        Ok((packed != NO_TIMEOUT).then(|| Duration::from_nanos(packed)))
    }
}

fn timeout_option(direction: Direction) -> Timeout {
    match direction {
        Direction::Read | Direction::Priority => Timeout::Recv,
        Direction::Write => Timeout::Send,
    }
}

fn pack(timeout: Option<Duration>) -> u64 {
    timeout.map_or(NO_TIMEOUT, |timeout| {
        u64::try_from(timeout.as_nanos())
            .map_or(LONGEST_TIMEOUT, |nanos| nanos.min(LONGEST_TIMEOUT))
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use rustix::fd::AsFd;
    use rustix::fs::{OFlags, fcntl_getfl};

    fn socket() -> std::net::TcpListener {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap()
    }

    fn is_nonblocking(fd: impl AsFd) -> bool {
        fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
    }

    #[test]
    fn a_foreign_socket_is_asked() {
        let socket = socket();
        let fd = socket.as_fd();
        let settings = Settings::unknown();
        assert_eq!(
            settings.patience(fd, Direction::Read).unwrap(),
            Patience::Forever
        );

        sockopt::set_socket_timeout(fd, Timeout::Send, Some(Duration::from_secs(100))).unwrap();
        let before = Instant::now();
        let Patience::Until(deadline) = settings.patience(fd, Direction::Write).unwrap() else {
            panic!("there is a timeout");
        };
        assert!(deadline >= before + Duration::from_secs(100));

        socket.set_nonblocking(true).unwrap();
        assert_eq!(
            Settings::unknown().patience(fd, Direction::Read).unwrap(),
            Patience::None
        );
    }

    #[test]
    fn clones_share() {
        let socket = socket();
        let fd = socket.as_fd();
        let settings = Settings::default();
        let clone = settings.share();
        clone
            .set_timeout(fd, Direction::Read, Some(Duration::MAX))
            .unwrap();
        // Centuries, as the system counts them, are not for ever.
        assert!(matches!(
            settings.patience(fd, Direction::Read).unwrap(),
            Patience::Until(_)
        ));
        clone.set_timeout(fd, Direction::Read, None).unwrap();
        assert_eq!(
            settings.patience(fd, Direction::Read).unwrap(),
            Patience::Forever
        );
        clone.set_nonblocking(fd, true).unwrap();
        assert_eq!(
            settings.patience(fd, Direction::Write).unwrap(),
            Patience::None
        );
    }

    #[test]
    fn a_zero_timeout_is_refused() {
        let socket = socket();
        let error = Settings::default()
            .set_timeout(socket.as_fd(), Direction::Read, Some(Duration::ZERO))
            .unwrap_err();
        let std_error = std::net::TcpStream::connect(socket.local_addr().unwrap())
            .unwrap()
            .set_read_timeout(Some(Duration::ZERO))
            .unwrap_err();
        assert_eq!(error.kind(), std_error.kind());
        assert_eq!(error.to_string(), std_error.to_string());
    }

    #[test]
    fn a_listener_gets_its_mode_back() {
        for nonblocking in [false, true] {
            let socket = socket();
            socket.set_nonblocking(nonblocking).unwrap();
            let settings = Settings::unknown();
            settings.prepare_listener(socket.as_fd()).unwrap();
            settings.prepare_listener(socket.as_fd()).unwrap();
            assert!(is_nonblocking(&socket));
            settings.release_listener(socket.as_fd());
            assert_eq!(is_nonblocking(&socket), nonblocking);
        }
    }

    #[test]
    fn a_listener_stays_as_its_clones_need_it() {
        let socket = socket();
        let settings = Settings::unknown();
        settings.prepare_listener(socket.as_fd()).unwrap();
        let clone = settings.share();
        settings.release_listener(socket.as_fd());
        assert!(is_nonblocking(&socket));
        clone.release_listener(socket.as_fd());
        assert!(!is_nonblocking(&socket));
    }
}
