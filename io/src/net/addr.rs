//! What can be resolved to socket addresses.

use std::io;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::option;
use std::slice;
use std::vec;

use super::look_up::look_up;

/// What can be resolved to one or more [`SocketAddr`]s. Mirrors [`std::net::ToSocketAddrs`].
///
/// It has the implementations that std's has. An address that is written out is parsed where it
/// stands; a host name is looked up by the system (`getaddrinfo`), while another OS thread runs the other green
/// threads. A small stack will do: another green thread asks. With [pinned](roving_scheduler::ThreadLocals::Pinned)
/// thread-locals, green threads that have begun on the worker of the look-up wait for it.
///
/// # Examples
///
/// ```
/// use roving::net::{SocketAddr, ToSocketAddrs};
///
/// # fn main() -> std::io::Result<()> {
/// let mut addresses = "127.0.0.1:443".to_socket_addrs()?;
/// assert_eq!(addresses.next(), Some(SocketAddr::from(([127, 0, 0, 1], 443))));
/// assert_eq!(addresses.next(), None);
///
/// let addresses = ("localhost", 443).to_socket_addrs()?;
/// assert!(addresses.into_iter().all(|address| address.ip().is_loopback()));
/// # Ok(())
/// # }
/// ```
pub trait ToSocketAddrs {
    /// The addresses, one after the other.
    type Iter: Iterator<Item = SocketAddr>;

    /// Resolves to addresses, which may take long.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if a string is not of the form `host:port`; those of the look-up; or there is no stack for it. `TimedOut` if
    /// a [deadline](roving_scheduler::deadline()) comes, and `Other` if the thread is cancelled: the look-up goes on by itself then,
    /// and is of no consequence. With pinned thread-locals the error may be late.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;
}

impl ToSocketAddrs for SocketAddr {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(Some(*self).into_iter())
    }
}

impl ToSocketAddrs for SocketAddrV4 {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::V4(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for SocketAddrV6 {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::V6(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (IpAddr, u16) {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::from(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (Ipv4Addr, u16) {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::from(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (Ipv6Addr, u16) {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::from(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (&str, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(address) => Ok(vec![SocketAddr::new(address, port)].into_iter()),
            Err(_) => look_up(host, port),
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (&*self.0, self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        if let Ok(address) = self.parse() {
            return Ok(vec![address].into_iter());
        }
        let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidInput, what);
        let (host, port) = self
            .rsplit_once(':')
            .ok_or_else(|| invalid("invalid socket address"))?;
        let port = port.parse().map_err(|_| invalid("invalid port value"))?;
        look_up(host, port)
    }
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }
}

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = iter::Cloned<slice::Iter<'a, SocketAddr>>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().cloned())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    type Iter = T::Iter;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }
}

/// Calls `f` with each address until it succeeds, and returns its last error otherwise.
pub(crate) fn first_of<T>(
    addresses: impl ToSocketAddrs,
    mut f: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for address in addresses.to_socket_addrs()? {
        match f(address) {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "could not resolve to any addresses",
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same_as_std<T: ToSocketAddrs + std::net::ToSocketAddrs + ?Sized>(addresses: &T) {
        let ours = ToSocketAddrs::to_socket_addrs(addresses);
        let theirs = std::net::ToSocketAddrs::to_socket_addrs(addresses);
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => assert!(ours.eq(theirs)),
            (Err(ours), Err(theirs)) => {
                assert_eq!(ours.kind(), theirs.kind());
                assert_eq!(ours.to_string(), theirs.to_string());
            }
            (ours, theirs) => panic!("ours succeeds: {}, std's: {}", ours.is_ok(), theirs.is_ok()),
        }
    }

    #[test]
    fn addresses_are_those_of_std() {
        same_as_std("127.0.0.1:80");
        same_as_std("[::1]:80");
        same_as_std("localhost:80");
        same_as_std(&"localhost:80".to_owned());
        same_as_std(&("localhost", 80));
        same_as_std(&("::1", 80));
        same_as_std(&("127.0.0.1".to_owned(), 80));
        same_as_std(&(Ipv4Addr::LOCALHOST, 80));
        same_as_std(&(Ipv6Addr::LOCALHOST, 80));
        same_as_std(&(IpAddr::V6(Ipv6Addr::LOCALHOST), 80));
        same_as_std(&SocketAddr::from(([1, 2, 3, 4], 5)));
        same_as_std(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80));
        same_as_std(&SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 1, 2));
        same_as_std(
            &&[
                SocketAddr::from(([1, 2, 3, 4], 5)),
                SocketAddr::from(([6, 7, 8, 9], 0)),
            ][..],
        );
    }

    #[test]
    fn errors_are_those_of_std() {
        same_as_std("localhost");
        same_as_std("localhost:http");
        same_as_std("localhost:65536");
        same_as_std("");
        same_as_std(&("no\0host", 80));
    }

    #[test]
    fn the_first_that_works_is_taken() {
        let addresses: Vec<_> = (1..=3)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect();
        let taken = first_of(&*addresses, |address| match address.port() {
            1 => Err(io::ErrorKind::AddrInUse.into()),
            port => Ok(port),
        });
        assert_eq!(taken.unwrap(), 2);

        let none = first_of(&*addresses, |address| -> io::Result<()> {
            Err(io::Error::other(address.port().to_string()))
        });
        assert_eq!(none.unwrap_err().to_string(), "3");
    }

    #[test]
    fn no_address_is_an_error_of_its_own() {
        let nothing: &[SocketAddr] = &[];
        let ours = first_of(nothing, |_| Ok(())).unwrap_err();
        let theirs = std::net::TcpStream::connect(nothing).unwrap_err();
        assert_eq!(ours.kind(), theirs.kind());
        assert_eq!(ours.to_string(), theirs.to_string());
    }
}
