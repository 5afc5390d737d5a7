//! The socket of a console: a file that nobody else may connect to, and that is not left behind.
//!
//! Its mode is 0600, and who connects must be of the same user: before the mode is set, and where it does not count, others
//! are sent away.
//!
//! A file that is there is left alone, unless it is a socket of this user's at which nobody listens: one that
//! was killed has left it. At its exit a process removes the file if it is the one that it has made.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{self, Path, PathBuf};

/// The file of a socket, and which it is.
pub(super) struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    fn of(path: PathBuf) -> io::Result<Self> {
        let file = fs::symlink_metadata(&path)?;
        Ok(Self {
            path,
            device: file.dev(),
            inode: file.ino(),
        })
    }

    /// Removes the file, if it is there still.
    pub(super) fn remove(&self) {
        let is_own = |now: Self| (now.device, now.inode) == (self.device, self.inode);
        if Self::of(self.path.clone()).is_ok_and(is_own) {
            // If it cannot be done, nobody is left who could do anything about it.
            let _ = fs::remove_file(&self.path);
        }
    }

    pub(super) fn remove_at_exit(&self, remove: extern "C" fn()) {
        // SAFETY: the function has the right type, and does not unwind.
        unsafe { libc::atexit(remove) };
    }
}

/// Makes the socket.
pub(super) fn listen(path: &Path) -> io::Result<(UnixListener, Place)> {
    // The process may go elsewhere.
    let path = path::absolute(path)?;
    let listener = match UnixListener::bind(&path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            must_be_left_behind(&path)?;
            fs::remove_file(&path)?;
            UnixListener::bind(&path)?
        }
        bound => bound?,
    };
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok((listener, Place::of(path)?))
}

/// # Errors
///
/// The file is something else than a socket of this user's at which nobody listens.
fn must_be_left_behind(path: &Path) -> io::Result<()> {
    let file = fs::symlink_metadata(path)?;
    let why = if !file.file_type().is_socket() {
        "there is a file that is no socket"
    } else if file.uid() != own_user() {
        "there is a socket of another user"
    } else if somebody_listens(path)? {
        "somebody listens there"
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::AddrInUse, why))
}

/// Asked without waiting for whoever does, who may be stuck.
fn somebody_listens(path: &Path) -> io::Result<bool> {
    // SAFETY: it has no preconditions.
    let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it has just been made, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all zero is an address.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let path = CString::new(path.as_os_str().as_bytes())?;
    // The path was short enough to be bound to, so its end is copied too.
    for (to, from) in address.sun_path.iter_mut().zip(path.as_bytes_with_nul()) {
        *to = *from as libc::c_char;
    }
    // SAFETY: flags of a descriptor that is there, and an address of that size.
    let connected = unsafe {
        libc::fcntl(socket.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC);
        libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK);
        let size = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        libc::connect(socket.as_raw_fd(), (&raw const address).cast(), size)
    };
    Ok(connected == 0 || io::Error::last_os_error().kind() != io::ErrorKind::ConnectionRefused)
}

fn own_user() -> libc::uid_t {
    // SAFETY: it has no preconditions.
    unsafe { libc::geteuid() }
}

/// Whether who has connected is of the user that this process is of.
pub(super) fn is_same_user(client: &UnixStream) -> bool {
    user_of(client) == Some(own_user())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn user_of(client: &UnixStream) -> Option<libc::uid_t> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: it writes at most as many bytes as there are.
    let got = unsafe {
        libc::getsockopt(
            client.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut size,
        )
    };
    (got == 0 && size as usize == size_of::<libc::ucred>()).then_some(peer.uid)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn user_of(client: &UnixStream) -> Option<libc::uid_t> {
    let (mut user, mut group) = (0, 0);
    // SAFETY: it writes both.
    let got = unsafe { libc::getpeereid(client.as_raw_fd(), &raw mut user, &raw mut group) };
    (got == 0).then_some(user)
}
