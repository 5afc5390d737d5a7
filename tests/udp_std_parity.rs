//! One script, played with std's UDP sockets and with Roving's, on green threads and on OS threads: it must go
//! the same way, step by step, down to the numbers and texts of the errors.

mod common;

use std::time::Duration;

use common::everywhere;
use common::script::{Script, TIMEOUTS, assert_same, without_numbers};

macro_rules! script {
    ($name:ident, $($net:ident)::+) => {
        mod $name {
            use super::*;
            use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
            use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
            use $($net)::+::UdpSocket;

            pub(crate) fn play() -> Vec<String> {
                let mut script = Script::default();
                binding(&mut script);
                settings(&mut script);
                datagrams(&mut script);
                peers(&mut script);
                refusals(&mut script);
                groups(&mut script);
                conversions(&mut script);
                script.lines
            }

            fn socket() -> (UdpSocket, SocketAddr) {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let address = socket.local_addr().unwrap();
                (socket, address)
            }

            fn binding(s: &mut Script) {
                let (socket, address) = socket();
                s.note("ip", address.ip());
                s.step("in use", UdpSocket::bind(address).map(drop));
                s.step("not ours", UdpSocket::bind("192.0.2.1:0").map(drop));
                s.step("no address", UdpSocket::bind(&[][..] as &[SocketAddr]).map(drop));
                s.step("no port", UdpSocket::bind("127.0.0.1").map(drop));
                let two = [SocketAddr::from(([192, 0, 2, 1], 0)), SocketAddr::from(([127, 0, 0, 1], 0))];
                let second = UdpSocket::bind(&two[..]).map(|l| l.local_addr().unwrap().ip());
                s.step("the second of two", second);
                s.step("no peer", socket.peer_addr());
                s.note("debug", without_numbers(&format!("{socket:?}")));
                s.note("debug", without_numbers(&format!("{socket:#?}")));
                s.step("v6", UdpSocket::bind("[::1]:0").and_then(|l| Ok(l.local_addr()?.ip())));
                drop(socket);
                s.step("free again", UdpSocket::bind(address).map(drop));
            }

            fn settings(s: &mut Script) {
                let (socket, _) = socket();
                s.step("ttl", socket.ttl());
                s.step("set ttl", socket.set_ttl(42));
                s.step("ttl again", socket.ttl());
                s.step("a ttl that cannot be", socket.set_ttl(256));
                s.step("broadcast", socket.broadcast());
                s.step("set broadcast", socket.set_broadcast(true));
                s.step("broadcast again", socket.broadcast());
                s.step("loop v4", socket.multicast_loop_v4());
                s.step("set loop v4", socket.set_multicast_loop_v4(false));
                s.step("loop v4 again", socket.multicast_loop_v4());
                s.step("ttl v4", socket.multicast_ttl_v4());
                s.step("set ttl v4", socket.set_multicast_ttl_v4(55));
                s.step("ttl v4 again", socket.multicast_ttl_v4());
                s.step("a ttl that cannot be", socket.set_multicast_ttl_v4(256));
                s.step("loop v6 of v4", socket.multicast_loop_v6());
                s.step("set loop v6 of v4", socket.set_multicast_loop_v6(false));
                if let Ok(six) = UdpSocket::bind("[::1]:0") {
                    s.step("loop v6", six.multicast_loop_v6());
                    s.step("set loop v6", six.set_multicast_loop_v6(false));
                    s.step("loop v6 again", six.multicast_loop_v6());
                    s.step("loop v4 of v6", six.multicast_loop_v4());
                    s.step("ttl of v6", six.ttl());
                    s.step("debug", Ok(without_numbers(&format!("{six:?}"))));
                }
                s.step("error", socket.take_error().map(|error| error.map(|e| e.kind())));
                for timeout in TIMEOUTS {
                    s.step("set read timeout", socket.set_read_timeout(timeout));
                    s.step("set write timeout", socket.set_write_timeout(timeout));
                    s.step("read timeout", socket.read_timeout());
                    s.step("write timeout", socket.write_timeout());
                }
                let clone = socket.try_clone().unwrap();
                clone.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
                s.step("shared", socket.read_timeout());
                s.step("too late", socket.recv(&mut [0]));
                s.step("too late", socket.recv_from(&mut [0]));
                s.step("too late", socket.peek(&mut [0]));
                s.step("too late", socket.peek_from(&mut [0]));
                s.step("set nonblocking", clone.set_nonblocking(true));
                s.step("nothing to receive", socket.recv(&mut [0]));
                s.step("nothing to receive", socket.recv_from(&mut [0]));
                s.step("nothing to peek", socket.peek(&mut [0]));
                s.step("nothing to peek", socket.peek_from(&mut [0]));
                s.step("set blocking", socket.set_nonblocking(false));
            }

            fn datagrams(s: &mut Script) {
                let (one, from) = socket();
                let (other, to) = socket();
                let mut buffer = [0; 8];
                s.step("send", one.send_to(b"hello", to));
                s.step("peek", other.peek(&mut buffer));
                s.step("peek from", other.peek_from(&mut buffer).map(|(n, who)| (n, who == from)));
                s.step("peek from into nothing", other.peek_from(&mut []).map(|(n, who)| (n, who == from)));
                s.step("receive", other.recv_from(&mut buffer).map(|(n, who)| (n, who == from)));
                s.note("bytes", buffer);
                s.step("send too much for them", one.send_to(b"more than there is room for", to));
                s.step("receive a part", other.recv_from(&mut buffer).map(|(n, who)| (n, who == from)));
                s.note("bytes", buffer);
                s.step("send nothing", one.send_to(b"", to));
                s.step("receive nothing", other.recv_from(&mut buffer).map(|(n, who)| (n, who == from)));
                s.step("send", one.send_to(b"x", to));
                s.step("receive into nothing", other.recv(&mut []));
                s.step("the largest", one.send_to(&[7; 65_507], to));
                let mut large = vec![0; 70_000];
                s.step("the largest", other.recv(&mut large));
                s.step("too large", one.send_to(&[7; 65_508], to));
                s.step("to several", one.send_to(b"to the first", &[to, from][..]));
                s.step("to the first", other.recv(&mut large));
                s.step("to nobody", one.send_to(b"x", &[][..] as &[SocketAddr]));
                s.step("to no port", one.send_to(b"x", "127.0.0.1"));
                s.step("to port zero", one.send_to(b"x", "127.0.0.1:0"));
                s.step("to a name", one.send_to(b"x", "127.0.0.1:http"));
                s.step("to everybody", one.send_to(b"x", "255.255.255.255:9"));
                s.step("to another family", one.send_to(b"x", "[::1]:9"));
                s.step("without a peer", one.send(b"x"));
            }

            fn peers(s: &mut Script) {
                let (one, from) = socket();
                let (other, to) = socket();
                let (third, third_address) = socket();
                s.step("to no address", one.connect(&[][..] as &[SocketAddr]));
                s.step("to another family", one.connect("[::1]:9"));
                s.step("to everybody", one.connect("255.255.255.255:9"));
                let several = [SocketAddr::from((Ipv6Addr::LOCALHOST, 9)), to];
                s.step("the second", one.connect(&several[..]));
                s.step("peer", one.peer_addr().map(|peer| peer == to));
                s.note("debug", without_numbers(&format!("{one:?}")));
                s.step("send", one.send(b"hello"));
                let mut buffer = [0; 8];
                s.step("receive", other.recv_from(&mut buffer).map(|(n, who)| (n, who == from)));
                third.send_to(b"a stranger's", from).unwrap();
                other.send_to(b"answer", from).unwrap();
                s.step("receive", one.recv(&mut buffer));
                s.note("bytes", buffer);
                s.step("send elsewhere", one.send_to(b"x", third_address));
                s.step("elsewhere", third.recv_from(&mut buffer).map(|(n, who)| (n, who == from)));
                s.step("another peer", one.connect(third_address));
                s.step("peer", one.peer_addr().map(|peer| peer == third_address));
                s.step("clone's peer", one.try_clone().unwrap().peer_addr().map(|peer| peer == third_address));
                third.send_to(b"no stranger", from).unwrap();
                s.step("receive from", one.recv_from(&mut buffer).map(|(n, who)| (n, who == third_address)));
            }

            /// Nobody is where a datagram goes, and the system says so.
            fn refusals(s: &mut Script) {
                let refused = || {
                    let (one, _) = socket();
                    // Nobody else gets this port meanwhile, and nobody is there for this peer.
                    let (other, nobody) = socket();
                    other.connect("127.0.0.1:9").unwrap();
                    one.connect(nobody).unwrap();
                    one.send(b"anybody?").unwrap();
                    (one, other)
                };
                let (one, _other) = refused();
                s.step("receive", one.recv(&mut [0]));
                let (one, _other) = refused();
                s.step("receive from", one.recv_from(&mut [0]));
                let (one, _other) = refused();
                s.step("peek", one.peek(&mut [0]));
                let (one, _other) = refused();
                s.step("send", one.send(b"again"));
                s.step("the next one", one.send(b"again"));
                let (one, _other) = refused();
                s.step("error", one.take_error().map(|error| error.map(|e| (e.kind(), e.raw_os_error()))));
                s.step("taken", one.take_error().map(|error| error.map(|e| e.kind())));
            }

            fn groups(s: &mut Script) {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                let group = Ipv4Addr::new(224, 0, 0, 251);
                let here = Ipv4Addr::LOCALHOST;
                s.step("leave before", socket.leave_multicast_v4(&group, &here));
                s.step("join", socket.join_multicast_v4(&group, &here));
                s.step("join again", socket.join_multicast_v4(&group, &here));
                s.step("leave", socket.leave_multicast_v4(&group, &here));
                s.step("no group", socket.join_multicast_v4(&Ipv4Addr::new(10, 1, 2, 3), &here));
                s.step("v6 on v4", socket.join_multicast_v6(&Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb), 0));
                if let Ok(six) = UdpSocket::bind("[::1]:0") {
                    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
                    s.step("join v6", six.join_multicast_v6(&group, 1));
                    s.step("join v6 again", six.join_multicast_v6(&group, 1));
                    s.step("no such interface", six.join_multicast_v6(&group, 999_999));
                    s.step("no group", six.join_multicast_v6(&Ipv6Addr::LOCALHOST, 1));
                    s.step("leave v6", six.leave_multicast_v6(&group, 1));
                    s.step("leave v6 again", six.leave_multicast_v6(&group, 1));
                }
            }

            fn conversions(s: &mut Script) {
                let (one, from) = socket();
                let (other, to) = socket();
                s.note("raw", one.as_raw_fd() == one.as_fd().as_raw_fd());
                let one = UdpSocket::from(OwnedFd::from(one));
                let raw = one.into_raw_fd();
                // SAFETY: the descriptor has just been given away by its only owner.
                let one = unsafe { UdpSocket::from_raw_fd(raw) };
                s.step("send", one.send_to(b"through descriptors", to));
                s.step("receive", other.recv_from(&mut [0; 30]).map(|(n, who)| (n, who == from)));
                one.set_nonblocking(true).unwrap();
                let one = UdpSocket::from(OwnedFd::from(one));
                s.step("it keeps its mode", one.recv(&mut [0]));
                one.set_nonblocking(false).unwrap();
                one.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
                let one = UdpSocket::from(OwnedFd::from(one));
                s.step("it keeps its timeout", one.recv(&mut [0]));

                let file = UdpSocket::from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
                s.step("no socket", file.recv(&mut [0]));
                s.step("no socket", file.recv_from(&mut [0]));
                s.step("no socket", file.send(&[0]));
                s.step("no socket", file.send_to(&[0], to));
                s.step("no socket", file.connect(to));
                s.step("no socket", file.local_addr());
                s.step("no socket", file.set_read_timeout(Some(Duration::from_secs(1))));
                s.note("debug", without_numbers(&format!("{file:?}")));

                let (near, far) = std::os::unix::net::UnixDatagram::pair().unwrap();
                let near = UdpSocket::from(OwnedFd::from(near));
                s.step("no address", near.local_addr());
                s.step("no address", near.peer_addr());
                s.step("send", near.send(b"hello"));
                far.send(b"hello").unwrap();
                far.send(b"hello").unwrap();
                s.step("from no address", near.recv_from(&mut [0; 8]));
                s.step("receive", near.recv(&mut [0; 8]));
                drop(far);
                s.step("to nobody", near.send(b"hello"));
            }
        }
    };
}

script!(theirs, std::net);
script!(ours, roving::net);

#[test]
fn everywhere_it_goes_as_with_std() {
    let theirs = theirs::play();
    assert!(theirs.len() > 100);
    everywhere(|| assert_same(&ours::play(), &theirs));
}
