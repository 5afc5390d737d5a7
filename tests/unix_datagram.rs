//! Unix datagram sockets, beside std's.
//!
//! - what std says of addresses, errors, short buffers and conversions
//! - nothing is lost, and each sender's datagrams come in order, connected or not
//! - a send waits for room in the queue, and can be interrupted
//! - shutdowns, closes and timeouts meet those who wait

mod common;

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::unix::net as theirs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{
    Place, each_worker_count, let_others_wait, on_each_mode, on_each_worker_count, on_every_kind,
};
use roving::os::unix::net::UnixDatagram;
use roving::{CancelToken, block_on, channel, deadline, go, select, thread};

const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(5);

fn bound() -> (Place, UnixDatagram) {
    let place = Place::new();
    let socket = UnixDatagram::bind(&place).unwrap();
    (place, socket)
}

/// Sends until there is no room, and gives how many it were.
fn fill(place: &Place) -> usize {
    let filler = theirs::UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    let sent = (0..).find(|n| filler.send_to(&[*n as u8], place).is_err());
    sent.unwrap()
}

fn empty(socket: &UnixDatagram, count: usize) {
    for n in 0..count {
        let mut byte = [0];
        assert_eq!(socket.recv(&mut byte).unwrap(), 1);
        assert_eq!(byte[0], n as u8);
    }
}

/// How a datagram is sent to a place.
type Way = fn(&UnixDatagram, &[u8], &Place) -> io::Result<usize>;

const WAYS: [Way; 4] = [
    |socket, data, place| socket.send_to(data, place),
    |socket, data, place| {
        socket.connect(place)?;
        socket.send(data)
    },
    |socket, data, place| block_on(socket.send_to_async(data, place)),
    |socket, data, place| {
        socket.connect(place)?;
        block_on(socket.send_async(data))
    },
];

#[test]
fn nothing_is_lost() {
    on_each_mode(|| {
        const SENDERS: usize = 8;
        const DATAGRAMS: usize = 200;
        let (place, socket) = bound();
        thread::scope(|scope| {
            for sender in 0..SENDERS {
                let place = &place;
                scope.spawn(move || {
                    let socket = UnixDatagram::unbound().unwrap();
                    for n in 0..DATAGRAMS {
                        let data = [sender as u8, n as u8];
                        let way = WAYS[sender % WAYS.len()];
                        assert_eq!(way(&socket, &data, place).unwrap(), 2);
                    }
                });
            }
            let mut next = [0; SENDERS];
            for n in 0..SENDERS * DATAGRAMS {
                let mut data = [0; 10];
                let count = if n % 2 == 0 {
                    socket.recv(&mut data).unwrap()
                } else {
                    block_on(socket.recv_from_async(&mut data)).unwrap().0
                };
                assert_eq!(count, 2);
                let next = &mut next[usize::from(data[0])];
                assert_eq!(data[1], *next);
                *next += 1;
            }
        });
    });
}

#[test]
fn several_receive_from_one_socket() {
    on_every_kind(|| {
        let (near, far) = UnixDatagram::pair().unwrap();
        let received = AtomicUsize::new(0);
        thread::scope(|scope| {
            for n in 0..4 {
                let (far, received) = (&far, &received);
                scope.spawn(move || {
                    let clone = far.try_clone().unwrap();
                    let far = if n % 2 == 0 { far } else { &clone };
                    // The last ones are empty and end each of the four.
                    while far.recv(&mut [0; 10]).unwrap() > 0 {
                        received.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..100 {
                near.send(b"x").unwrap();
            }
            for _ in 0..4 {
                near.send(b"").unwrap();
            }
        });
        assert_eq!(received.into_inner(), 100);
    });
}

#[test]
fn a_send_waits_for_room() {
    on_every_kind(|| {
        for way in WAYS {
            let (place, socket) = bound();
            let filled = fill(&place);
            let place = Arc::new(place);
            let waiting: Vec<_> = (0..3)
                .map(|_| {
                    let place = place.clone();
                    go!(move || way(&UnixDatagram::unbound().unwrap(), b"last", &place))
                })
                .collect();
            let_others_wait();
            empty(&socket, filled);
            for _ in 0..3 {
                let mut data = [0; 4];
                assert_eq!(socket.recv(&mut data).unwrap(), 4);
                assert_eq!(&data, b"last");
            }
            for sends in waiting {
                assert_eq!(sends.join().unwrap().unwrap(), 4);
            }
        }
    });
}

/// The sender's socket is always ready, and each try in vain makes an edge of it.
#[test]
fn who_waits_for_room_elsewhere_does_not_spin() {
    each_worker_count(|runtime| {
        let (place, socket) = bound();
        let filled = fill(&place);
        let place = Arc::new(place);
        let there = place.clone();
        let start = Instant::now();
        let sends = runtime.spawn(move || UnixDatagram::unbound()?.send_to(b"x", &*there));
        while runtime.metrics().parks == 0 {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(100));
        let runs = runtime.metrics().runs;
        let passed = start.elapsed();
        let most = 3 * passed.as_millis();
        assert!(
            u128::from(runs) < most,
            "it has run {runs} times in {passed:?}"
        );
        empty(&socket, filled);
        assert_eq!(socket.recv(&mut [0]).unwrap(), 1);
        assert_eq!(sends.join().unwrap().unwrap(), 1);
    });
}

/// What fills up is one's own allowance, while the receiver's queue has room.
#[test]
fn a_send_waits_for_room_of_its_own() {
    on_every_kind(|| {
        let (near, far) = UnixDatagram::pair().unwrap();
        let data = vec![7; 50_000];
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(near.send(&data).unwrap(), data.len());
                }
            });
            let_others_wait();
            let mut buffer = vec![0; 60_000];
            for _ in 0..50 {
                assert_eq!(far.recv(&mut buffer).unwrap(), data.len());
            }
        });
        let error = near.send(&vec![0; 16 << 20]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    });
}

#[test]
fn a_send_that_waits_ends_with_its_time() {
    on_every_kind(|| {
        let (place, _socket) = bound();
        fill(&place);
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_write_timeout(Some(SHORT)).unwrap();
        for way in &WAYS[..2] {
            let error = way(&sender, b"x", &place).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        sender.set_write_timeout(None).unwrap();
        sender.set_nonblocking(true).unwrap();
        for way in &WAYS[..2] {
            let error = way(&sender, b"x", &place).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        sender.set_nonblocking(false).unwrap();
        for way in &WAYS[..2] {
            let ended = deadline(SHORT, || way(&sender, b"x", &place));
            assert_eq!(ended.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
        }
        let zero = sender.set_read_timeout(Some(Duration::ZERO));
        assert_eq!(zero.unwrap_err().kind(), ErrorKind::InvalidInput);
        sender.set_read_timeout(Some(SHORT)).unwrap();
        let error = sender.recv(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_send_that_waits_is_cancelled() {
    on_each_mode(|| {
        let (place, _socket) = bound();
        fill(&place);
        let place = Arc::new(place);
        for way in WAYS {
            let (token, place) = (CancelToken::new(), place.clone());
            let cancels = token.clone();
            let waits = go!(move || {
                let socket = UnixDatagram::unbound().unwrap();
                token.run(|| way(&socket, b"x", &place)).map_err(drop)
            });
            let_others_wait();
            cancels.cancel();
            let ended = waits.join().unwrap();
            assert!(!matches!(ended, Ok(Ok(_))), "{ended:?}");
        }
    });
}

#[test]
fn a_send_that_waits_meets_the_end() {
    on_every_kind(|| {
        for way in WAYS {
            let (place, socket) = bound();
            fill(&place);
            let place = Arc::new(place);
            let there = place.clone();
            let waits = go!(move || way(&UnixDatagram::unbound().unwrap(), b"x", &there));
            let_others_wait();
            drop(socket);
            let error = waits.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
        // And its own.
        let (place, _socket) = bound();
        fill(&place);
        let sender = Arc::new(UnixDatagram::unbound().unwrap());
        sender.connect(&place).unwrap();
        let shuts = sender.clone();
        let waits = go!(move || sender.send(b"x"));
        let_others_wait();
        shuts.shutdown(Shutdown::Write).unwrap();
        match waits.join().unwrap() {
            Err(error) => assert_eq!(error.kind(), ErrorKind::BrokenPipe),
            Ok(sent) => panic!("{sent} bytes were sent"),
        }
    });
}

/// Who has shut down receiving gets what is there, and then nothing, at once: as std's do, and as Linux tells those who block.
#[test]
fn a_receive_meets_a_shutdown() {
    on_every_kind(|| {
        for waits_first in [false, true] {
            let (near, far) = UnixDatagram::pair().unwrap();
            let far = Arc::new(far);
            if waits_first {
                let reads = far.clone();
                let reads = go!(move || reads.recv(&mut [0; 9]));
                let_others_wait();
                near.send(b"first").unwrap();
                assert_eq!(reads.join().unwrap().unwrap(), 5);
            }
            near.send(b"last").unwrap();
            far.shutdown(Shutdown::Read).unwrap();
            assert_eq!(near.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
            assert_eq!(far.recv(&mut [0; 9]).unwrap(), 4);
            for _ in 0..3 {
                assert_eq!(far.recv(&mut [0; 9]).unwrap(), 0);
                let (count, address) = far.recv_from(&mut [0; 9]).unwrap();
                assert!(count == 0 && address.is_unnamed());
                assert_eq!(block_on(far.recv_async(&mut [0; 9])).unwrap(), 0);
            }
        }
        let (_near, far) = UnixDatagram::pair().unwrap();
        let far = Arc::new(far);
        let reads = far.clone();
        let reads = go!(move || reads.recv(&mut [0; 9]));
        let_others_wait();
        far.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reads.join().unwrap().unwrap(), 0);
    });
}

#[test]
fn addresses_errors_and_conversions_are_those_of_std() {
    on_every_kind(|| {
        let (place, socket) = bound();
        let std = theirs::UnixDatagram::unbound().unwrap();
        let nowhere = Place::new();
        for (ours, std) in [
            (socket.send(b"x").map(drop), std.send(b"x").map(drop)),
            (
                socket.send_to(b"x", &nowhere).map(drop),
                std.send_to(b"x", &nowhere).map(drop),
            ),
            (socket.connect(&nowhere), std.connect(&nowhere)),
            (
                UnixDatagram::bind(&place).map(drop),
                theirs::UnixDatagram::bind(&place).map(drop),
            ),
            (socket.peer_addr().map(drop), std.peer_addr().map(drop)),
        ] {
            let (ours, std) = (ours.unwrap_err(), std.unwrap_err());
            assert_eq!(ours.to_string(), std.to_string());
            assert_eq!(ours.kind(), std.kind());
        }
        let other_place = Place::new();
        let other = theirs::UnixDatagram::bind(&other_place).unwrap();
        other.set_read_timeout(Some(LONG)).unwrap();
        let other = UnixDatagram::from(other);
        assert_eq!(other.read_timeout().unwrap(), Some(LONG));
        other
            .send_to_addr(b"hello", &socket.local_addr().unwrap())
            .unwrap();
        let mut short = [0; 3];
        let (count, from) = socket.recv_from(&mut short).unwrap();
        assert_eq!((count, &short), (3, b"hel"));
        assert_eq!(from.as_pathname(), Some(other_place.as_ref()));
        // What did not fit is lost, and back it goes to whom it came from.
        socket.connect_addr(&from).unwrap();
        assert_eq!(
            socket.peer_addr().unwrap().as_pathname(),
            Some(other_place.as_ref())
        );
        socket.send(b"back").unwrap();
        let std = theirs::UnixDatagram::from(other);
        assert_eq!(std.read_timeout().unwrap(), Some(LONG));
        assert_eq!(std.recv(&mut [0; 9]).unwrap(), 4);
        assert!(format!("{socket:?}").starts_with("UnixDatagram { fd: "));
        assert!(socket.take_error().unwrap().is_none());
    });
}

#[test]
fn a_select_waits_for_datagrams_and_room() {
    on_each_worker_count(|| {
        let (place, socket) = bound();
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(&place).unwrap();
        select! {
            readable(socket) => panic!("nothing was sent"),
            recv(channel::after(SHORT)) -> _ => {}
        }
        let filled = fill(&place);
        select! {
            writable(sender) => panic!("there is no room"),
            recv(channel::after(SHORT)) -> _ => {}
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                let_others_wait();
                select! {
                    readable(socket) => empty(&socket, filled),
                    recv(channel::after(LONG)) -> _ => panic!("something is there"),
                }
            });
            select! {
                writable(sender) => {}
                recv(channel::after(LONG)) -> _ => panic!("there is room"),
            }
        });
    });
}

#[cfg(target_os = "linux")]
#[test]
fn descriptors_go_along() {
    use std::os::fd::AsFd;
    on_every_kind(|| {
        let (near, far) = UnixDatagram::pair().unwrap();
        assert_eq!(near.send_with_fds(b"", &[near.as_fd()]).unwrap(), 0);
        near.send_with_fds(b"none", &[]).unwrap();
        let mut fds = Vec::new();
        assert_eq!(far.recv_with_fds(&mut [0; 9], &mut fds).unwrap(), 0);
        assert_eq!(far.recv_with_fds(&mut [0; 9], &mut fds).unwrap(), 4);
        assert_eq!(fds.len(), 1);
        UnixDatagram::from(fds.pop().unwrap()).send(b"!").unwrap();
        assert_eq!(far.recv(&mut [0; 9]).unwrap(), 1);
        let many = [near.as_fd(); 254];
        let error = near.send_with_fds(b"x", &many).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}
