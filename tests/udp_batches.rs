//! Batches of datagrams, and what the system takes apart and puts together, on Linux.
#![cfg(target_os = "linux")]

mod common;
#[path = "../scheduler/tests/common/executors.rs"]
mod executors;

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use common::{everywhere, on_each_mode, on_every_kind, pattern, set_option};
use executors::in_each_executor;
use roving::net::{SocketAddr, UdpSocket};
use roving::os::linux::net::{RecvDatagram, SendDatagram, UdpSocketExt};
use roving::{block_on, deadline, go, thread};

fn socket_at(address: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(address).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn socket() -> (UdpSocket, SocketAddr) {
    socket_at("127.0.0.1:0")
}

/// Receives `count` datagrams, with so many at a time; and where each came from.
fn receive(socket: &UdpSocket, room: usize, count: usize) -> Vec<(Vec<u8>, Option<SocketAddr>)> {
    let mut buffers = vec![[0; 1500]; room];
    let mut datagrams: Vec<_> = buffers.iter_mut().map(|b| RecvDatagram::new(b)).collect();
    let mut received = Vec::new();
    while received.len() < count {
        let len = socket.recv_mmsg(&mut datagrams).unwrap();
        assert!(0 < len && len <= room);
        for datagram in &datagrams[..len] {
            assert!(!datagram.is_truncated());
            assert_eq!(datagram.segment_size(), None);
            received.push((datagram.data().to_vec(), datagram.sender()));
        }
    }
    received
}

#[test]
fn all_come_with_their_senders() {
    everywhere(|| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (server, to) = socket_at(address);
            let (client, from) = socket_at(address);
            // More than one system call takes, and some with nothing in them.
            let mut sent: Vec<_> = (0..100).map(|n| pattern(n, n % 40)).collect();
            let datagrams: Vec<_> = sent
                .iter()
                .map(|data| SendDatagram::new(data).to(to))
                .collect();
            assert_eq!(client.send_mmsg(&datagrams).unwrap(), 100);
            let received = receive(&server, 40, 100);
            assert!(received.iter().all(|(_, sender)| *sender == Some(from)));
            let mut received: Vec<_> = received.into_iter().map(|(data, _)| data).collect();
            // One overtakes another where the sender goes to another processor in between.
            received.sort();
            sent.sort();
            assert!(received == sent);

            client.connect(to).unwrap();
            let datagrams = [SendDatagram::new(b"to the peer")];
            assert_eq!(client.send_mmsg(&datagrams).unwrap(), 1);
            assert_eq!(receive(&server, 1, 1)[0].0, b"to the peer");
        }
    });
}

#[test]
fn nothing_is_a_batch_too() {
    everywhere(|| {
        let (socket, _) = socket();
        assert_eq!(socket.send_mmsg(&[]).unwrap(), 0);
        assert_eq!(socket.recv_mmsg(&mut []).unwrap(), 0);
    });
}

#[test]
fn each_goes_to_its_address() {
    everywhere(|| {
        let (client, _) = socket();
        let servers: Vec<_> = (0..50).map(|_| socket()).collect();
        let names: Vec<_> = servers.iter().map(|(_, to)| to.to_string()).collect();
        let datagrams: Vec<_> = servers
            .iter()
            .zip(&names)
            .map(|((_, to), name)| SendDatagram::new(name.as_bytes()).to(*to))
            .collect();
        assert_eq!(client.send_mmsg(&datagrams).unwrap(), 50);
        for ((server, _), name) in servers.iter().zip(names) {
            assert_eq!(receive(server, 2, 1)[0].0, name.into_bytes());
        }
    });
}

#[test]
fn a_datagram_that_does_not_fit_is_cut_and_the_others_are_not() {
    everywhere(|| {
        let (server, to) = socket();
        let (client, _) = socket();
        let sent = [&b"fits"[..], b"does not fit", b"fits too"];
        let datagrams = sent.map(|data| SendDatagram::new(data).to(to));
        client.send_mmsg(&datagrams).unwrap();
        let mut buffers = [[0; 8]; 4];
        let mut room = buffers.each_mut().map(|buffer| RecvDatagram::new(buffer));
        assert!(room[0].data().is_empty() && room[0].sender().is_none());
        let mut received = 0;
        while received < 3 {
            received += server.recv_mmsg(&mut room[received..]).unwrap();
        }
        let all: Vec<_> = room[..3]
            .iter()
            .map(|one| (one.data(), one.is_truncated()))
            .collect();
        assert_eq!(
            all,
            [
                (&b"fits"[..], false),
                (b"does not", true),
                (b"fits too", false)
            ]
        );
        room[0].data_mut()[0] = b'F';
        assert_eq!(room[0].data(), b"Fits");
    });
}

#[test]
fn who_receives_waits_and_takes_what_has_come() {
    on_every_kind(|| {
        const DATAGRAMS: usize = 200;
        let (server, to) = socket();
        let (client, _) = socket();
        let receives = go!(move || {
            let mut buffers = [[0; 8]; 7];
            let mut room = buffers.each_mut().map(|buffer| RecvDatagram::new(buffer));
            let mut received: Vec<usize> = Vec::new();
            while received.len() < DATAGRAMS {
                // Sometimes more has come than there is room for, and sometimes less.
                let most = 1 + received.len() % 7;
                let len = server.recv_mmsg(&mut room[..most]).unwrap();
                assert!(0 < len && len <= most);
                for datagram in &room[..len] {
                    let number = std::str::from_utf8(datagram.data()).unwrap();
                    received.push(number.parse().unwrap());
                }
            }
            // One overtakes another where the sender goes to another processor in between.
            received.sort();
            assert!(received.into_iter().eq(0..DATAGRAMS));
        });
        for first in (0..DATAGRAMS).step_by(5) {
            let data: Vec<_> = (first..first + 5).map(|n| n.to_string()).collect();
            let datagrams: Vec<_> = data
                .iter()
                .map(|data| SendDatagram::new(data.as_bytes()).to(to))
                .collect();
            assert_eq!(client.send_mmsg(&datagrams).unwrap(), 5);
            if first % 3 == 0 {
                thread::yield_now();
            }
        }
        receives.join().unwrap();
    });
}

/// Two sockets with room for few datagrams, unlike those of the loopback interface, where what does not fit is
/// lost.
fn narrow_pair() -> (UdpSocket, UdpSocket) {
    let (one, other) = UnixDatagram::pair().unwrap();
    let ours = |socket| UdpSocket::from(OwnedFd::from(socket));
    (ours(one), ours(other))
}

#[test]
fn who_sends_waits_for_room() {
    on_every_kind(|| {
        let (near, far) = narrow_pair();
        let data = [SendDatagram::new(b"room"); 500];
        let sends = go!(move || assert_eq!(near.send_mmsg(&data).unwrap(), 500));
        thread::yield_now();
        for (data, sender) in receive(&far, 16, 500) {
            assert_eq!((&data[..], sender), (&b"room"[..], None));
        }
        sends.join().unwrap();
    });
}

#[test]
fn timeouts_modes_and_deadlines_end_a_wait() {
    everywhere(|| {
        let (near, far) = narrow_pair();
        let data = [SendDatagram::new(b"room"); 5000];
        let mut buffer = [0; 8];
        let mut room = [RecvDatagram::new(&mut buffer)];
        let short = Some(Duration::from_millis(2));
        far.set_read_timeout(short).unwrap();
        let error = far.recv_mmsg(&mut room).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        // What has been sent is told, and then why it is no more.
        near.set_write_timeout(short).unwrap();
        let sent = near.send_mmsg(&data).unwrap();
        assert!(0 < sent && sent < 5000, "{sent}");
        let error = near.send_mmsg(&data).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        near.set_write_timeout(None).unwrap();
        let told = deadline(Duration::from_millis(2), || near.send_mmsg(&data));
        assert_eq!(told.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);

        assert_eq!(receive(&far, 7, sent).len(), sent);
        far.set_read_timeout(None).unwrap();
        let told = deadline(Duration::from_millis(2), || far.recv_mmsg(&mut room));
        assert_eq!(told.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
        far.set_nonblocking(true).unwrap();
        let error = far.recv_mmsg(&mut room).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

/// Many on both sides wait again and again: there is room for few.
#[test]
fn futures_receive_and_send_batches() {
    const DATAGRAMS: usize = 300;
    in_each_executor(|| async {
        let (near, far) = narrow_pair();
        // None of these is for futures.
        for socket in [&near, &far] {
            let short = Some(Duration::from_nanos(1));
            socket.set_read_timeout(short).unwrap();
            socket.set_write_timeout(short).unwrap();
            socket.set_nonblocking(true).unwrap();
        }
        let sends = async {
            let data: Vec<_> = (0..DATAGRAMS).map(|n| n.to_string()).collect();
            let datagrams: Vec<_> = data
                .iter()
                .map(|data| SendDatagram::new(data.as_bytes()))
                .collect();
            let mut sent = 0;
            while sent < DATAGRAMS {
                let more = near.send_mmsg_async(&datagrams[sent..]).await.unwrap();
                assert!(0 < more && more <= 32);
                sent += more;
            }
            assert_eq!(near.send_mmsg_async(&[]).await.unwrap(), 0);
        };
        let receives = async {
            let mut buffers = [[0; 8]; 7];
            let mut room = buffers.each_mut().map(|buffer| RecvDatagram::new(buffer));
            let mut received = 0;
            while received < DATAGRAMS {
                let most = 1 + received % 7;
                let len = far.recv_mmsg_async(&mut room[..most]).await.unwrap();
                assert!(0 < len && len <= most);
                for datagram in &room[..len] {
                    assert_eq!(datagram.data(), received.to_string().as_bytes());
                    received += 1;
                }
            }
            assert_eq!(far.recv_mmsg_async(&mut []).await.unwrap(), 0);
        };
        futures::join!(sends, receives);
    });
}

#[test]
fn futures_that_are_dropped_have_moved_nothing() {
    everywhere(|| {
        let (near, far) = narrow_pair();
        let context = &mut Context::from_waker(Waker::noop());
        for n in 0..20_u8 {
            let mut buffers = [[0; 8]; 2];
            let mut room = buffers.each_mut().map(|buffer| RecvDatagram::new(buffer));
            {
                let mut receives = pin!(far.recv_mmsg_async(&mut room));
                assert!(receives.as_mut().poll(context).is_pending());
            }
            let sent = [[n], [n + 100]];
            let datagrams = sent.each_ref().map(|data| SendDatagram::new(data));
            assert_eq!(near.send_mmsg(&datagrams).unwrap(), 2);
            assert_eq!(block_on(far.recv_mmsg_async(&mut room)).unwrap(), 2);
            assert_eq!((room[0].data(), room[1].data()), (&[n][..], &[n + 100][..]));
        }

        let filler = [SendDatagram::new(b"filler"); 32];
        near.set_nonblocking(true).unwrap();
        let mut filled = 0;
        while let Ok(more) = near.send_mmsg(&filler) {
            filled += more;
        }
        {
            let lost = [SendDatagram::new(b"is not sent")];
            let mut sends = pin!(near.send_mmsg_async(&lost));
            assert!(sends.as_mut().poll(context).is_pending());
        }
        assert_eq!(receive(&far, 7, filled).len(), filled);
        near.send(b"is").unwrap();
        assert_eq!(receive(&far, 7, 1)[0].0, b"is");
    });
}

#[test]
fn an_error_comes_with_the_datagram_that_has_it() {
    everywhere(|| {
        let (server, to) = socket();
        let (client, _) = socket();
        let large = vec![0; 65_508];
        let datagrams = [&b"one"[..], b"two", &large, b"four"];
        let datagrams = datagrams.map(|data| SendDatagram::new(data).to(to));
        assert_eq!(client.send_mmsg(&datagrams).unwrap(), 2);
        let error = client.send_mmsg(&datagrams[2..]).unwrap_err();
        // EMSGSIZE
        assert_eq!(error.raw_os_error(), Some(90));
        let error = block_on(client.send_mmsg_async(&datagrams[2..])).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(90));
        assert_eq!(client.send_mmsg(&datagrams[3..]).unwrap(), 1);
        assert_eq!(receive(&server, 8, 3).len(), 3);

        let file = UdpSocket::from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        let mut buffer = [0; 8];
        let error = file.recv_mmsg(&mut [RecvDatagram::new(&mut buffer)]);
        // ENOTSOCK
        assert_eq!(error.unwrap_err().raw_os_error(), Some(88));
        let mut room = [RecvDatagram::new(&mut buffer)];
        let error = block_on(file.recv_mmsg_async(&mut room)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(88));
        assert_eq!(file.gro().unwrap_err().raw_os_error(), Some(88));
        assert_eq!(file.set_gro(true).unwrap_err().raw_os_error(), Some(88));
    });
}

#[test]
fn a_piece_is_taken_apart_and_put_together() {
    everywhere(|| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (server, to) = socket_at(address);
            let (client, from) = socket_at(address);
            let data = pattern(1, 5000);
            let piece = [SendDatagram::new(&data).to(to).segmented(1200)];
            assert_eq!(client.send_mmsg(&piece).unwrap(), 1);
            let apart: Vec<_> = receive(&server, 8, 5)
                .into_iter()
                .map(|one| one.0)
                .collect();
            let lens: Vec<_> = apart.iter().map(Vec::len).collect();
            assert_eq!(lens, [1200, 1200, 1200, 1200, 200]);
            assert_eq!(apart.concat(), data);

            assert!(!server.gro().unwrap());
            server.set_gro(true).unwrap();
            assert!(server.gro().unwrap());
            // What is no piece arrives as it is.
            let three = [piece[0], SendDatagram::new(b"alone").to(to), piece[0]];
            assert_eq!(client.send_mmsg(&three).unwrap(), 3);
            let mut buffers = vec![vec![0; 65_536]; 20];
            let mut room: Vec<_> = buffers.iter_mut().map(|b| RecvDatagram::new(b)).collect();
            let mut segments = Vec::new();
            while segments.len() < 11 {
                let len = server.recv_mmsg(&mut room).unwrap();
                for one in &room[..len] {
                    assert_eq!(one.sender(), Some(from));
                    assert!(one.segment_size().is_none_or(|size| size == 1200));
                    segments.extend(one.segments().map(<[u8]>::to_vec));
                }
            }
            let expected = [&apart[..], &[b"alone".to_vec()], &apart].concat();
            assert!(segments == expected);

            // Nothing is one datagram, too.
            client.send_to(&[], to).unwrap();
            assert_eq!(server.recv_mmsg(&mut room).unwrap(), 1);
            assert_eq!(room[0].segments().collect::<Vec<_>>(), [&[] as &[u8]]);
        }
    });
}

/// Somebody has asked for time stamps, which come before what this crate asks for.
#[test]
fn other_control_messages_are_passed_over() {
    let (server, to) = socket();
    let (client, _) = socket();
    for option in [libc::SO_TIMESTAMPNS, libc::SO_RXQ_OVFL] {
        set_option(&server, libc::SOL_SOCKET, option, &1_i32);
    }
    server.set_gro(true).unwrap();
    let data = pattern(2, 4000);
    client
        .send_mmsg(&[SendDatagram::new(&data).to(to).segmented(1000)])
        .unwrap();
    let mut buffer = vec![0; 65_536];
    let mut room = [RecvDatagram::new(&mut buffer)];
    let mut segments = 0;
    while segments < 4 {
        assert_eq!(server.recv_mmsg(&mut room).unwrap(), 1);
        assert!(room[0].segments().all(|one| one.len() == 1000));
        segments += room[0].segments().count();
    }
    assert_eq!(segments, 4);
}

/// Receivers of batches and of single datagrams share a socket.
#[test]
fn batches_and_single_calls_share_a_socket() {
    on_each_mode(|| {
        let (near, far) = narrow_pair();
        let far = Arc::new(far);
        let receivers: Vec<_> = (0..6)
            .map(|n| {
                let far = far.clone();
                go!(move || {
                    let mut counts = HashMap::new();
                    loop {
                        let datagrams = match n % 2 {
                            0 => receive(&far, 5, 1),
                            _ => {
                                let mut buffer = [0; 8];
                                let len = far.recv(&mut buffer).unwrap();
                                vec![(buffer[..len].to_vec(), None)]
                            }
                        };
                        let ends = datagrams.iter().filter(|(data, _)| data.is_empty()).count();
                        for (data, _) in datagrams.into_iter().filter(|(data, _)| !data.is_empty())
                        {
                            *counts.entry(data).or_insert(0) += 1;
                        }
                        if ends > 0 {
                            return counts;
                        }
                    }
                })
            })
            .collect();
        for n in 0..500_u32 {
            near.send(&n.to_ne_bytes()).unwrap();
        }
        // As many as it takes: one who receives a batch may get several.
        let ends = go!(move || while near.send(&[]).is_ok() {});
        let mut all = HashMap::new();
        for receiver in receivers {
            for (data, count) in receiver.join().unwrap() {
                *all.entry(data).or_insert(0) += count;
            }
        }
        assert_eq!(all.len(), 500);
        assert!(all.values().all(|count| *count == 1));
        ends.cancel();
        let _ = ends.join();
    });
}

/// Those that are for who receives, and cannot be told to a batch, are closed.
#[test]
fn descriptors_that_come_along_stay_with_nobody() {
    everywhere(|| {
        let (near, far) = roving::os::unix::net::UnixDatagram::pair().unwrap();
        let far = UdpSocket::from(OwnedFd::from(far));
        let (mut reader, writer) = roving::io::pipe().unwrap();
        near.send_with_fds(b"with one", &[writer.as_fd()]).unwrap();
        drop(writer);
        let mut buffer = [0; 100];
        let mut room = [RecvDatagram::new(&mut buffer)];
        assert_eq!(far.recv_mmsg(&mut room).unwrap(), 1);
        assert_eq!(room[0].data(), b"with one");
        let end = deadline(Duration::from_secs(60), || reader.read(&mut [0]));
        assert_eq!(end.unwrap().unwrap(), 0);
    });
}
