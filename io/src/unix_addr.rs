//! The addresses of Unix sockets, as std has them and as the system has.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::slice;

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, getpeername, getsockname};

/// Where the name begins: behind the family, and on some systems its length, which share two bytes everywhere.
const NAME: usize = 2;

pub(crate) fn local_addr(fd: impl AsFd) -> io::Result<SocketAddr> {
    to_std(Some(getsockname(fd)?))
}

pub(crate) fn peer_addr(fd: impl AsFd) -> io::Result<SocketAddr> {
    to_std(getpeername(fd)?)
}

/// Fails, as std does, for a socket of another kind. None is the address of a socket without a name.
pub(crate) fn to_std(address: Option<SocketAddrAny>) -> io::Result<SocketAddr> {
    let Some(address) = address else {
        return unnamed();
    };
    if address.address_family() != AddressFamily::UNIX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "file descriptor did not correspond to a Unix socket",
        ));
    }
    // rustix panics at names that are not as it expects, and any peer may have one.
    // SAFETY: an address is initialised as far as it is long, and is borrowed meanwhile.
    let bytes = unsafe {
        slice::from_raw_parts(address.as_ptr().cast::<u8>(), address.addr_len() as usize)
    };
    let name = bytes.get(NAME..).unwrap_or_default();
    #[cfg(target_os = "linux")]
    if let [0, name @ ..] = name {
        return SocketAddr::from_abstract_name(name);
    }
    let path = name.split(|byte| *byte == 0).next().unwrap_or_default();
    // One that fills the system's address leaves no room for the zero that std wants at its end.
    SocketAddr::from_pathname(OsStr::from_bytes(path)).or_else(|_| unnamed())
}

fn unnamed() -> io::Result<SocketAddr> {
    SocketAddr::from_pathname("")
}

pub(crate) fn to_system(address: &SocketAddr) -> io::Result<SocketAddrUnix> {
    if let Some(path) = address.as_pathname() {
        return Ok(SocketAddrUnix::new(path)?);
    }
    #[cfg(target_os = "linux")]
    {
        match address.as_abstract_name() {
            Some(name) => Ok(SocketAddrUnix::new_abstract_name(name)?),
            None => Ok(SocketAddrUnix::new_unnamed()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "the address has no name",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From std's to the system's, through a socket that is bound to it.
    #[test]
    fn addresses_come_back() {
        let path = std::env::temp_dir().join(format!("roving-addr-{}", std::process::id()));
        let by_path = SocketAddr::from_pathname(&path).unwrap();
        let socket = std::os::unix::net::UnixDatagram::bind_addr(&by_path).unwrap();
        assert_eq!(local_addr(&socket).unwrap().as_pathname(), Some(&*path));
        std::fs::remove_file(path).unwrap();
        assert!(unnamed().unwrap().is_unnamed());
        let (one, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        assert!(local_addr(&one).unwrap().is_unnamed());
        assert!(peer_addr(&one).unwrap().is_unnamed());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn abstract_addresses_come_back() {
        // All on the machine share these names.
        let own = format!("roving {}", std::process::id());
        let zeroes = [own.as_bytes(), b" \0 \xff"].concat();
        let longest = format!("{own:x<107}").into_bytes();
        for name in [zeroes, longest] {
            let address = SocketAddr::from_abstract_name(&name).unwrap();
            let name = Some(&*name);
            let socket = std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap();
            assert_eq!(local_addr(&socket).unwrap().as_abstract_name(), name);
            let system = SocketAddrAny::from(to_system(&address).unwrap());
            assert_eq!(to_std(Some(system)).unwrap().as_abstract_name(), name);
        }
    }

    /// Such a name is the peer's choice.
    #[test]
    fn a_path_without_a_zero_at_its_end_is_no_error() {
        let directory = std::env::temp_dir();
        let left = 107 - directory.as_os_str().len();
        let path = directory.join(format!("{:x<left$}", std::process::id()));
        let address = SocketAddrUnix::new(&*path).unwrap();
        let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
        rustix::net::bind(&socket, &address).unwrap();
        let found = local_addr(&socket);
        std::fs::remove_file(&path).unwrap();
        assert!(found.unwrap().is_unnamed());
    }

    #[test]
    fn an_address_of_the_internet_is_refused() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = local_addr(&socket).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
