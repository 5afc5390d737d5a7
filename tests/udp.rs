//! UDP sockets that many use at once, and what ends a wait for them.
//!
//! - each datagram goes, whole, to one of those who receive, by reference and by clones, green and not
//! - timeouts, deadlines, tokens, cancellation and the end of the runtime end a wait, and no datagram is lost
//! - who sends waits for room
//! - an error wakes those who wait; `select!` and futures take sockets
//! - nothing is left: descriptors that are used again do not disturb each other

mod common;
#[path = "../scheduler/tests/common/executors.rs"]
mod executors;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use common::{
    child_with_few_descriptors, is_child, let_others_wait, lone_worker, on_each_mode,
    on_each_worker_count, on_every_kind, run, runtime, set_option, stacks_returned, watchdog,
};
use executors::in_each_executor;
use roving::channel::{after, bounded};
use roving::net::{SocketAddr, UdpSocket};
use roving::sync::Semaphore;
use roving::{CancelToken, Cancelled, DeadlineElapsed, block_on, deadline, go, select, thread};

const SHORT: Duration = Duration::from_millis(5);

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Two sockets that are each other's peers.
fn pair() -> (UdpSocket, UdpSocket) {
    let (one, from) = socket();
    let (other, to) = socket();
    one.connect(to).unwrap();
    other.connect(from).unwrap();
    (one, other)
}

/// Two sockets with room for few datagrams, unlike those of the loopback interface, where what does not fit is
/// lost.
fn narrow_pair() -> (UdpSocket, UdpSocket) {
    let (one, other) = UnixDatagram::pair().unwrap();
    let ours = |socket| UdpSocket::from(OwnedFd::from(socket));
    (ours(one), ours(other))
}

/// Sends until there is no room. Gives how many it has sent.
fn fill(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    let sent = (0..).find(|_| match socket.send(b"filling") {
        Ok(sent) => sent != 7,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            true
        }
    });
    socket.set_nonblocking(false).unwrap();
    sent.unwrap()
}

/// Sends back what comes, until an empty datagram.
fn echo(socket: &UdpSocket) {
    let mut buffer = [0; 64];
    loop {
        let (len, peer) = socket.recv_from(&mut buffer).unwrap();
        if len == 0 {
            return;
        }
        assert_eq!(socket.send_to(&buffer[..len], peer).unwrap(), len);
    }
}

/// Asks `server` until it answers, since datagrams may be lost.
fn ask(socket: &UdpSocket, server: SocketAddr, question: &[u8]) {
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut answer = [0; 64];
    loop {
        socket.send_to(question, server).unwrap();
        match socket.recv_from(&mut answer) {
            Ok((len, from)) if answer[..len] == *question => return assert_eq!(from, server),
            // The answer to a question that was asked twice.
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn each_datagram_goes_to_one_of_the_receivers() {
    everywhere_with_children(|| {
        const RECEIVERS: usize = 8;
        let (server, address) = socket();
        let server = Arc::new(server);
        let receivers: Vec<_> = (0..RECEIVERS)
            .map(|n| {
                let server = server.clone();
                go!(move || match n % 2 {
                    0 => echo(&server.try_clone().unwrap()),
                    _ => echo(&server),
                })
            })
            .collect();
        let clients: Vec<_> = (0..10_u8)
            .map(|n| {
                go!(move || {
                    let (client, _) = socket();
                    for round in 0..10 {
                        ask(&client, address, &vec![n; 1 + round]);
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|c| c.join().unwrap());
        let (client, _) = socket();
        for _ in 0..RECEIVERS {
            client.send_to(&[], address).unwrap();
        }
        receivers.into_iter().for_each(|r| r.join().unwrap());
    });
}

/// On runtimes of every size and mode, and on an OS thread, whose children belong to the global runtime.
fn everywhere_with_children(test: impl Fn() + Send + Sync) {
    on_every_kind(&test);
    common::on_pinned_threads(test);
}

/// What many tell one at once arrives whole, and nothing arrives twice.
#[test]
fn several_runtimes_and_os_threads_share_a_socket() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    const DATAGRAMS: usize = 2_000;
    let runtimes = [runtime(1), runtime(2), runtime(8)];
    let (near, far) = narrow_pair();
    let far = Arc::new(far);
    let receive = |far: Arc<UdpSocket>| {
        move || {
            let mut got = Vec::new();
            let mut buffer = [0; 16];
            loop {
                match far.recv(&mut buffer).unwrap() {
                    0 => return got,
                    8 => got.push(u64::from_ne_bytes(buffer[..8].try_into().unwrap())),
                    len => panic!("{len}"),
                }
            }
        }
    };
    let green: Vec<_> = runtimes
        .iter()
        .flat_map(|runtime| (0..4).map(|_| runtime.spawn(receive(far.clone()))))
        .collect();
    let plain: Vec<_> = (0..2)
        .map(|_| std::thread::spawn(receive(far.clone())))
        .collect();
    for n in 0..DATAGRAMS as u64 {
        near.send(&n.to_ne_bytes()).unwrap();
    }
    for _ in 0..green.len() + plain.len() {
        near.send(&[]).unwrap();
    }
    let got = green.into_iter().map(|reads| reads.join().unwrap());
    let got: Vec<_> = got
        .chain(plain.into_iter().map(|reads| reads.join().unwrap()))
        .flatten()
        .collect();
    assert_eq!(got.len(), DATAGRAMS);
    assert_eq!(got.iter().collect::<HashSet<_>>().len(), DATAGRAMS);
    drop(far);
    runtimes.into_iter().for_each(|r| r.shutdown());
}

#[test]
fn ten_thousand_peers_are_served() {
    const PEERS: usize = 10_000;
    let _stacks = stacks_returned();
    for workers in [1, 8] {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let (server, address) = socket();
        let serves = runtime.spawn(move || echo(&server));
        // So many have a descriptor at a time.
        let turns = Arc::new(Semaphore::new(200));
        let peers: Vec<_> = (0..PEERS)
            .map(|n| {
                let turns = turns.clone();
                runtime.spawn(move || {
                    let _turn = turns.acquire();
                    ask(&socket().0, address, n.to_string().as_bytes());
                })
            })
            .collect();
        peers.into_iter().for_each(|p| p.join().unwrap());
        socket().0.send_to(&[], address).unwrap();
        serves.join().unwrap();
        runtime.shutdown();
    }
}

#[test]
fn a_group_gets_what_is_sent_to_it() {
    everywhere_with_children(|| {
        let group = Ipv4Addr::new(239, 255, 77, 1);
        let member = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = member.local_addr().unwrap().port();
        member
            .join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
            .unwrap();
        let (sender, from) = socket();
        let receives = go!(move || {
            let received = member.recv_from(&mut [0; 8]).unwrap();
            assert_eq!(received, (2, from));
            member
        });
        thread::yield_now();
        sender.send_to(b"to", (group, port)).unwrap();
        let member = receives.join().unwrap();
        member
            .leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
            .unwrap();
        sender.send_to(b"too late", (group, port)).unwrap();
        member.set_nonblocking(true).unwrap();
        let error = member.recv(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn who_sends_waits_for_room() {
    everywhere_with_children(|| {
        let (near, far) = narrow_pair();
        let filled = fill(&near);
        near.set_write_timeout(Some(SHORT)).unwrap();
        let error = near.send(b"late").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        near.set_write_timeout(None).unwrap();
        let sends = go!(move || {
            for _ in 0..100 {
                near.send(b"room").unwrap();
            }
        });
        thread::yield_now();
        let mut buffer = [0; 8];
        for _ in 0..filled {
            assert_eq!(far.recv(&mut buffer).unwrap(), 7);
        }
        for _ in 0..100 {
            assert_eq!(far.recv(&mut buffer).unwrap(), 4);
        }
        sends.join().unwrap();
    });
}

#[test]
fn timeouts_that_race_with_datagrams_lose_none() {
    everywhere_with_children(|| {
        const DATAGRAMS: usize = 200;
        let (near, far) = pair();
        let sends = go!(move || {
            for n in 0..DATAGRAMS {
                near.send(&[n as u8]).unwrap();
                thread::sleep(Duration::from_micros(n as u64 % 5 * 50));
            }
            near.send(&[]).unwrap();
        });
        far.set_read_timeout(Some(Duration::from_micros(100)))
            .unwrap();
        let mut got = Vec::new();
        let mut buffer = [0; 8];
        loop {
            match far.recv(&mut buffer) {
                Ok(0) => break,
                Ok(len) => got.extend_from_slice(&buffer[..len]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        sends.join().unwrap();
        assert!(got.into_iter().eq((0..DATAGRAMS).map(|n| n as u8)));
    });
}

/// A worker that has better to do than to look hears of both too late, the datagram and the end of the time.
#[test]
fn what_came_in_time_is_received() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let runtime = lone_worker();
    let waits = || loop {
        let (near, far) = pair();
        far.set_read_timeout(Some(SHORT)).unwrap();
        let receives = go!(move || far.recv(&mut [0; 8]));
        loop {
            match receives.thread().state() {
                thread::State::Parked(_) => return (near, receives),
                // The machine was so slow that its time is over.
                thread::State::Ended => break,
                _ => thread::yield_now(),
            }
        }
    };
    runtime.run(|| {
        for _ in 0..10 {
            let (near, receives) = waits();
            // From here on the worker does nothing else.
            let start = Instant::now();
            near.send(b"x").unwrap();
            while start.elapsed() < 4 * SHORT {
                std::hint::spin_loop();
            }
            assert_eq!(receives.join().unwrap().unwrap(), 1);
        }
    });
    runtime.shutdown();
}

#[test]
fn an_error_wakes_who_waits() {
    everywhere_with_children(|| {
        let (near, _) = socket();
        // Keeps its port, and takes nothing from us.
        let (deaf, nobody) = socket();
        deaf.connect("127.0.0.1:9").unwrap();
        near.connect(nobody).unwrap();
        let near = Arc::new(near);
        let waits = {
            let near = near.clone();
            go!(move || near.recv(&mut [0]))
        };
        thread::yield_now();
        near.send(b"anybody?").unwrap();
        let error = waits.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        // It was told once; and the socket is as good as before.
        near.set_read_timeout(Some(SHORT)).unwrap();
        let error = near.recv(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let (other, address) = socket();
        near.connect(address).unwrap();
        other.send_to(b"x", near.local_addr().unwrap()).unwrap();
        near.set_read_timeout(None).unwrap();
        assert_eq!(near.recv(&mut [0]).unwrap(), 1);
    });
}

fn a_deadline_is_told_once() {
    let (near, far) = pair();
    let told = deadline(Duration::from_millis(2), || far.recv(&mut [0; 8]));
    let error = told.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.get_ref().unwrap().is::<DeadlineElapsed>());
    let ignores = deadline(Duration::from_millis(2), || {
        loop {
            let _ = far.recv_from(&mut [0; 8]);
        }
    });
    assert!(ignores.is_err());
    near.send(b"late").unwrap();
    assert_eq!(far.recv(&mut [0; 8]).unwrap(), 4);

    let (full, _far) = narrow_pair();
    fill(&full);
    let told = deadline(Duration::from_millis(2), || full.send(b"x"));
    assert_eq!(told.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
}

fn a_token_is_told_once() {
    let (_near, far) = pair();
    let token = CancelToken::new();
    let cancels = {
        let token = token.clone();
        go!(move || {
            thread::sleep(Duration::from_millis(2));
            token.cancel();
        })
    };
    let mut told = None;
    let ended = token.run(|| {
        loop {
            match far.peek_from(&mut [0; 8]) {
                Err(error) if told.is_none() => told = Some(error),
                other => panic!("{other:?}"),
            }
        }
    });
    assert!(ended.is_err());
    assert!(told.unwrap().get_ref().unwrap().is::<Cancelled>());
    cancels.join().unwrap();
}

#[test]
fn deadlines_and_tokens_end_a_wait() {
    everywhere_with_children(|| {
        a_deadline_is_told_once();
        a_token_is_told_once();
    });
}

/// As std's do: through whatever descriptor somebody has shut it down.
#[test]
fn a_receive_meets_a_shutdown() {
    everywhere_with_children(|| {
        let (near, far) = pair();
        let shut_down = || rustix::net::shutdown(&far, rustix::net::Shutdown::Read).unwrap();
        near.send(b"last").unwrap();
        thread::scope(|scope| {
            assert_eq!(far.recv(&mut [0; 9]).unwrap(), 4);
            let waits = scope.spawn(|| far.recv(&mut [0; 9]));
            let_others_wait();
            shut_down();
            assert_eq!(waits.join().unwrap().unwrap(), 0);
        });
        assert_eq!(far.peek(&mut [0; 9]).unwrap(), 0);
        assert_eq!(block_on(far.recv_async(&mut [0; 9])).unwrap(), 0);
    });
}

/// The system, and a process that is started meanwhile, may have a socket for a moment after it was closed.
fn until_it_is_free(address: SocketAddr) {
    while let Err(error) = UdpSocket::bind(address) {
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        thread::yield_now();
    }
}

#[test]
fn a_cancelled_thread_closes_its_socket() {
    on_each_mode(|| {
        let (socket, address) = socket();
        let waits = go!(move || socket.recv(&mut [0]).is_err());
        thread::yield_now();
        waits.cancel();
        match waits.join() {
            Ok(told) => assert!(told),
            Err(payload) => assert!(payload.is::<Cancelled>()),
        }
        until_it_is_free(address);
    });
}

#[test]
fn a_runtime_that_shuts_down_closes_what_waits() {
    let _stacks = stacks_returned();
    for workers in common::WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let (socket, address) = socket();
        let started = Arc::new(AtomicUsize::new(0));
        let waits = {
            let started = started.clone();
            runtime.spawn(move || {
                started.store(1, Ordering::Release);
                socket.recv(&mut [0])
            })
        };
        while started.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        runtime.shutdown();
        assert!(waits.join().is_err());
        until_it_is_free(address);
    }
}

#[test]
fn a_select_takes_sockets() {
    everywhere_with_children(|| {
        let (near, far) = pair();
        let (sender, receiver) = bounded(1);
        for round in 0..3 {
            match round {
                0 => drop(near.send(b"x").unwrap()),
                1 => sender.send(()).unwrap(),
                _ => {}
            }
            let patience = match round {
                2 => SHORT,
                _ => Duration::from_secs(3600),
            };
            let first = select! {
                readable(far) => 0,
                recv(receiver) -> _ => 1,
                recv(after(patience)) -> _ => 2,
            };
            assert_eq!(first, round);
            if round == 0 {
                assert_eq!(far.recv(&mut [0; 8]).unwrap(), 1);
            }
        }
        let sends = go!(move || {
            thread::sleep(Duration::from_millis(1));
            near.send(b"y").unwrap();
        });
        select! { readable(far) => assert_eq!(far.recv(&mut [0; 8]).unwrap(), 1) }
        sends.join().unwrap();

        let (full, far) = narrow_pair();
        select! { writable(full) => {} }
        let filled = fill(&full);
        let writable = select! {
            writable(full) => true,
            recv(after(Duration::from_millis(1))) -> _ => false,
        };
        assert!(!writable);
        let reads = go!(move || {
            for _ in 0..filled {
                far.recv(&mut [0; 8]).unwrap();
            }
            far
        });
        select! { writable(full) => assert_eq!(full.send(b"z").unwrap(), 1) }
        reads.join().unwrap();
    });
}

#[test]
fn futures_send_and_receive() {
    in_each_executor(|| async {
        let (server, address) = socket();
        let serves = async {
            let mut buffer = [0; 64];
            for _ in 0..100 {
                let (len, peer) = server.recv_from_async(&mut buffer).await.unwrap();
                server.send_to_async(&buffer[..len], &peer).await.unwrap();
            }
        };
        let asks = async {
            let (client, _) = socket();
            client.connect(address).unwrap();
            // Neither is for futures.
            client
                .set_read_timeout(Some(Duration::from_nanos(1)))
                .unwrap();
            client.set_nonblocking(true).unwrap();
            let mut buffer = [0; 64];
            for n in 0..100_u8 {
                assert_eq!(client.send_async(&[n]).await.unwrap(), 1);
                assert_eq!(client.recv_async(&mut buffer).await.unwrap(), 1);
                assert_eq!(buffer[0], n);
            }
        };
        futures::join!(serves, asks);
    });
}

#[test]
fn futures_that_are_dropped_lose_nothing() {
    everywhere_with_children(|| {
        let (near, far) = pair();
        let context = &mut Context::from_waker(Waker::noop());
        for n in 0..20 {
            let mut buffer = [0; 8];
            {
                let mut receives = pin!(far.recv_async(&mut buffer));
                assert!(receives.as_mut().poll(context).is_pending());
            }
            near.send(&[n]).unwrap();
            assert_eq!(roving::block_on(far.recv_async(&mut buffer)).unwrap(), 1);
            assert_eq!(buffer[0], n);
        }
    });
}

/// Descriptors and slots are used again at once, by sockets that are busy in other ways.
#[test]
fn sockets_that_come_and_go_do_not_disturb_each_other() {
    on_each_mode(|| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                go!(move || {
                    for round in 0..30_u8 {
                        let (near, far) = pair();
                        match (n + round) % 3 {
                            0 => {
                                far.set_read_timeout(Some(Duration::from_micros(200)))
                                    .unwrap();
                                assert!(far.recv(&mut [0]).is_err());
                            }
                            1 => drop(near.send(b"unread").unwrap()),
                            _ => {
                                let reads = go!(move || {
                                    let mut byte = [0];
                                    far.recv(&mut byte).unwrap();
                                    byte
                                });
                                near.send(&[round]).unwrap();
                                assert_eq!(reads.join().unwrap(), [round]);
                            }
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
    });
}

#[test]
fn a_socket_comes_from_std_and_goes_back_while_a_duplicate_is_kept() {
    on_each_worker_count(|| {
        let (near, mut far) = pair();
        let mut duplicates = Vec::new();
        for n in 0..5 {
            // Keeps the open file description, and whatever is registered for it, alive.
            duplicates.push(std::net::UdpSocket::from(far.try_clone().unwrap()));
            let reads = go!(move || {
                let mut byte = [0];
                far.recv(&mut byte).unwrap();
                (far, byte[0])
            });
            thread::yield_now();
            near.send(&[n]).unwrap();
            let (socket, byte) = reads.join().unwrap();
            assert_eq!(byte, n);
            far = std::net::UdpSocket::from(socket).into();
        }
    });
}

#[test]
fn descriptors_run_out() {
    const NAME: &str = "descriptors_run_out";
    if !is_child(NAME) {
        run(child_with_few_descriptors(NAME));
        return;
    }
    /// `EMFILE`, too many open files, on Linux.
    const EMFILE: Option<i32> = Some(24);
    on_every_kind(|| {
        let mut sockets = Vec::new();
        let error = loop {
            match UdpSocket::bind("127.0.0.1:0") {
                Ok(socket) => sockets.push(socket),
                Err(error) => break error,
            }
        };
        assert_eq!(error.raw_os_error(), EMFILE);
        assert_eq!(sockets[0].try_clone().unwrap_err().raw_os_error(), EMFILE);
        drop(sockets);
        let (near, far) = pair();
        near.send(b"x").unwrap();
        assert_eq!(far.recv(&mut [0]).unwrap(), 1);
    });
}

/// With an offset for peeks, which goes on with each: they find nothing, and there is something.
#[cfg(target_os = "linux")]
#[test]
fn what_was_peeked_at_is_received() {
    on_each_mode(|| {
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        near.connect(far.local_addr().unwrap()).unwrap();
        set_option(&far, libc::SOL_SOCKET, libc::SO_PEEK_OFF, &0_i32);
        far.set_read_timeout(Some(Duration::from_millis(2)))
            .unwrap();
        let mut buffer = [0; 8];
        far.recv(&mut buffer).unwrap_err();
        near.send(b"once").unwrap();
        assert_eq!(far.peek(&mut buffer).unwrap(), 4);
        far.peek(&mut buffer).unwrap_err();
        far.set_read_timeout(None).unwrap();
        let received = deadline(Duration::from_secs(60), || far.recv(&mut buffer));
        assert_eq!(received.unwrap().unwrap(), 4);
    });
}
