//! Sockets that are made with options: each option is there when the system is asked, and what is made works.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::Ipv6Addr;
use std::time::Duration;

use common::{everywhere, uses_global_runtime};
use roving::net::{SocketAddr, SocketOptions, TcpListener, TcpStream, UdpSocket};
use roving::{block_on, thread};
use rustix::net::sockopt;

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A connection of `near` works.
fn works(mut near: TcpStream, listener: &TcpListener) -> TcpStream {
    let (mut far, _) = listener.accept().unwrap();
    near.write_all(b"hello").unwrap();
    far.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(far.peer_addr().unwrap(), near.local_addr().unwrap());
    far
}

#[test]
fn without_options_it_is_as_without_them() {
    everywhere(|| {
        let listener = SocketOptions::new().listen("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        works(SocketOptions::new().connect(address).unwrap(), &listener);
        let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(
            sockopt::socket_reuseaddr(&listener).unwrap(),
            sockopt::socket_reuseaddr(&theirs).unwrap()
        );
        let socket = SocketOptions::new().bind_udp("127.0.0.1:0").unwrap();
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);
        let nowhere: &[SocketAddr] = &[];
        for error in [
            SocketOptions::new().listen(nowhere).unwrap_err(),
            SocketOptions::new().connect(nowhere).unwrap_err(),
            SocketOptions::new().bind_udp(nowhere).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn listeners_share_a_port() {
    everywhere(|| {
        let mut options = SocketOptions::new();
        options.reuse_port(true).backlog(16);
        let first = options.listen("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let second = options.listen(address).unwrap();
        let error = TcpListener::bind(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        // The system gives each connection to one of them.
        let clients: Vec<_> = (0..16)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        for listener in [&first, &second] {
            listener.set_nonblocking(true).unwrap();
        }
        // Who has connected may not be there to be accepted yet.
        let mut accepted = 0;
        while accepted < clients.len() {
            for listener in [&first, &second] {
                match listener.accept() {
                    Ok(_) => accepted += 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            thread::yield_now();
        }
        for listener in [&first, &second] {
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        }

        let one = options.bind_udp("127.0.0.1:0").unwrap();
        options.bind_udp(one.local_addr().unwrap()).unwrap();
        let error = UdpSocket::bind(one.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn an_address_is_used_again() {
    everywhere(|| {
        let strict = SocketOptions::new()
            .reuse_address(false)
            .listen("127.0.0.1:0")
            .unwrap();
        assert!(!sockopt::socket_reuseaddr(&strict).unwrap());
        let mut options = SocketOptions::new();
        options.reuse_address(true);
        let one = options.bind_udp("127.0.0.1:0").unwrap();
        assert!(sockopt::socket_reuseaddr(&one).unwrap());
        #[cfg(target_os = "linux")]
        options.bind_udp(one.local_addr().unwrap()).unwrap();
        let near = options.connect(strict.local_addr().unwrap()).unwrap();
        assert!(sockopt::socket_reuseaddr(&near).unwrap());
    });
}

#[test]
fn an_ipv6_listener_takes_ipv4_or_not() {
    everywhere(|| {
        for only_v6 in [false, true] {
            let mut options = SocketOptions::new();
            options.only_v6(only_v6);
            // It says nothing of IPv4.
            options.listen("127.0.0.1:0").unwrap();
            let Ok(listener) = options.listen((Ipv6Addr::UNSPECIFIED, 0)) else {
                return;
            };
            let port = listener.local_addr().unwrap().port();
            assert_eq!(sockopt::ipv6_v6only(&listener).unwrap(), only_v6);
            let connected = TcpStream::connect(("127.0.0.1", port));
            if only_v6 {
                // If it is connected, then to somebody else who has that port there.
                listener.set_nonblocking(true).unwrap();
                assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
            } else {
                let (_, peer) = listener.accept().unwrap();
                assert_eq!(peer.port(), connected.unwrap().local_addr().unwrap().port());
            }
            let socket = options.bind_udp((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
            assert_eq!(sockopt::ipv6_v6only(&socket).unwrap(), only_v6);
        }
    });
}

#[test]
fn streams_have_the_options_of_those_who_made_them() {
    everywhere(|| {
        let mut options = SocketOptions::new();
        options
            .nodelay(true)
            .keepalive(Duration::from_secs(61))
            .keepalive_interval(Duration::from_secs(11))
            .keepalive_retries(4)
            .recv_buffer_size(40_000)
            .send_buffer_size(30_000);
        let listener = options.listen("127.0.0.1:0").unwrap();
        let near = options.connect(listener.local_addr().unwrap()).unwrap();
        let clone = near.try_clone().unwrap();
        let far = works(near, &listener);
        for stream in [clone, far] {
            assert!(stream.nodelay().unwrap());
            assert!(sockopt::socket_keepalive(&stream).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&stream).unwrap().as_secs(), 61);
            assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap().as_secs(), 11);
            assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), 4);
            assert!(sockopt::socket_recv_buffer_size(&stream).unwrap() >= 40_000);
            assert!(sockopt::socket_send_buffer_size(&stream).unwrap() >= 30_000);
        }
        // What is said of TCP is nothing to UDP.
        let socket = options.bind_udp("127.0.0.1:0").unwrap();
        assert!(sockopt::socket_recv_buffer_size(&socket).unwrap() >= 40_000);
    });
}

#[test]
fn a_stream_connects_from_where_it_is_told() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let from = SocketAddr::from(([127, 0, 0, 9], 0));
        let mut options = SocketOptions::new();
        options.local_addr(from);
        let streams = [
            options.connect(address).unwrap(),
            options
                .connect_timeout(&address, Duration::from_secs(60))
                .unwrap(),
        ];
        for stream in streams {
            assert_eq!(stream.local_addr().unwrap().ip(), from.ip());
            works(stream, &listener);
        }
        let both = [SocketAddr::from((Ipv6Addr::LOCALHOST, 9)), address];
        works(options.connect(&both[..]).unwrap(), &listener);
        let error = options
            .connect_timeout(&address, Duration::ZERO)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = SocketOptions::new()
            .local_addr(([192, 0, 2, 1], 0).into())
            .connect(address)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn a_future_connects_with_options() {
    uses_global_runtime();
    everywhere(|| {
        let listener = TcpListener::bind(loopback()).unwrap();
        let mut options = SocketOptions::new();
        options.nodelay(true);
        let address = listener.local_addr().unwrap();
        let stream = block_on(options.connect_async(&address)).unwrap();
        assert!(stream.nodelay().unwrap());
        works(stream, &listener);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn linux_has_options_of_its_own() {
    use roving::os::linux::net::SocketOptionsExt;

    everywhere(|| {
        let mut options = SocketOptions::new();
        options.device("lo");
        let listener = match options.listen("127.0.0.1:0") {
            // Before Linux 5.7 it takes a privilege.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return,
            result => result.unwrap(),
        };
        works(
            options.connect(listener.local_addr().unwrap()).unwrap(),
            &listener,
        );
        options.bind_udp("127.0.0.1:0").unwrap();
        let error = options.device("no such").listen("127.0.0.1:0").unwrap_err();
        // ENODEV
        assert_eq!(error.raw_os_error(), Some(19));
        // The system would cut them to one that is there, or to none.
        for name in ["", "lo\0and more", "a name of 16 byt"] {
            let error = options.device(name).bind_udp("127.0.0.1:0").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}");
            assert_eq!(
                error.to_string(),
                format!(
                    "cannot bind to the network interface {name:?}: its name must have 1 to 15 bytes, none of them zero"
                )
            );
        }

        let listener = SocketOptions::new()
            .defer_accept(Duration::from_secs(30))
            .listen("127.0.0.1:0")
            .unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        listener.set_nonblocking(false).unwrap();
        client.write_all(b"x").unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        assert_eq!((&stream).read(&mut [0; 8]).unwrap(), 1);
    });
}
