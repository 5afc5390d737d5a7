//! Names and addresses.
//!
//! - names are looked up, on green threads and on OS threads, and sockets take them
//! - what a lookup needs of a stack, a green thread need not have
//! - while a lookup runs, the others on the same worker go on
//! - the errors are std's
//! - what a runtime that ends has unwound, or leaves to end, looks names up

mod common;

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{
    WORKER_COUNTS, each_worker_count, on_each_mode, on_each_worker_count, runtime, stacks_returned,
    watchdog,
};
use roving::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use roving::{CancelToken, channel, go, shield, thread};

fn look_up_localhost() {
    let addresses: Vec<SocketAddr> = "localhost:0".to_socket_addrs().unwrap().collect();
    assert!(!addresses.is_empty());
    assert!(
        addresses
            .iter()
            .all(|a| a.ip().is_loopback() && a.port() == 0)
    );
    let again: Vec<SocketAddr> = ("localhost", 7).to_socket_addrs().unwrap().collect();
    assert_eq!(again.len(), addresses.len());
    assert!(again.iter().all(|a| a.port() == 7));
}

#[test]
fn a_name_is_looked_up() {
    let _watchdog = watchdog("");
    look_up_localhost();
    on_each_worker_count(look_up_localhost);
}

#[test]
fn sockets_take_names() {
    on_each_worker_count(|| {
        let listener = TcpListener::bind("localhost:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // A name may have addresses of both kinds, and only one of them is listened on.
        let stream = TcpStream::connect(("localhost", port)).unwrap();
        assert_eq!(stream.peer_addr().unwrap().port(), port);
        assert!(
            listener
                .accept()
                .unwrap()
                .0
                .local_addr()
                .unwrap()
                .ip()
                .is_loopback()
        );
    });
}

#[test]
fn the_others_go_on_meanwhile() {
    each_worker_count(|runtime| {
        runtime.run(|| {
            let done = Arc::new(AtomicBool::new(false));
            let looking: Vec<_> = (0..50)
                .map(|_| {
                    let done = done.clone();
                    go!(move || {
                        look_up_localhost();
                        done.load(Ordering::Acquire)
                    })
                })
                .collect();
            let yields = go!(move || {
                for _ in 0..100 {
                    thread::yield_now();
                }
                done.store(true, Ordering::Release);
            });
            yields.join().unwrap();
            for handle in looking {
                handle.join().unwrap();
            }
        });
    });
}

#[test]
fn a_small_stack_that_is_nearly_full_will_do() {
    on_each_mode(|| {
        let looks_up = || {
            // The C library takes more than what is left then.
            let mut kept = [1_u8; 10 << 10];
            black_box(&mut kept);
            look_up_localhost();
            assert_eq!(black_box(&kept)[0], 1);
        };
        let threads = [(); 10].map(|()| go!(stack_size = 16 << 10, looks_up));
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn errors_are_those_of_std() {
    fn kinds<A>(address: A) -> [(io::ErrorKind, String); 2]
    where
        A: ToSocketAddrs + std::net::ToSocketAddrs + Copy,
    {
        let of = |error: io::Error| (error.kind(), error.to_string());
        [
            of(ToSocketAddrs::to_socket_addrs(&address).err().unwrap()),
            of(std::net::ToSocketAddrs::to_socket_addrs(&address)
                .err()
                .unwrap()),
        ]
    }
    on_each_worker_count(|| {
        for wrong in [
            "",
            "localhost",
            "localhost:",
            "localhost:http",
            "localhost:99999",
        ] {
            let [ours, theirs] = kinds(wrong);
            assert_eq!(ours, theirs, "{wrong}");
        }
        // Refused before anybody is asked.
        let [ours, theirs] = kinds(("nu\0ll", 80));
        assert_eq!(ours, theirs);
    });
}

#[test]
fn destructors_and_shields_look_up_while_the_runtime_ends() {
    struct LooksUp(Arc<AtomicBool>);

    impl Drop for LooksUp {
        fn drop(&mut self) {
            look_up_localhost();
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let (_stacks, _watchdog) = (stacks_returned(), watchdog(""));
    for workers in WORKER_COUNTS {
        let runtime = runtime(workers);
        let looked_up = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let (parks, parked) = channel::unbounded();
        let (in_drop, of_drop) = (LooksUp(looked_up[0].clone()), parks.clone());
        runtime.spawn(move || {
            let _in_drop = in_drop;
            of_drop.send(()).unwrap();
            thread::park();
        });
        let (in_shield, ends) = (looked_up[1].clone(), CancelToken::new());
        let ending = ends.clone();
        runtime.spawn(move || {
            shield(|| {
                parks.send(()).unwrap();
                while !ending.is_cancelled() {
                    thread::sleep(Duration::from_millis(1));
                }
                look_up_localhost();
                in_shield.store(true, Ordering::Relaxed);
            });
        });
        (0..2).for_each(|_| parked.recv().unwrap());
        let ender = std::thread::spawn(move || runtime.shutdown());
        while !looked_up[0].load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        ends.cancel();
        ender.join().unwrap();
        assert!(looked_up[1].load(Ordering::Relaxed));
    }
}
