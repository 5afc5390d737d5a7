//! `select!` over sockets, channels, timers and threads in one call.

mod common;

use std::io::{Read, Write};
use std::time::Duration;

use common::{connection, on_each_worker_count, uses_global_runtime};
use roving::channel::{after, unbounded};
use roving::net::{TcpListener, TcpStream};
use roving::{go, select, thread};

fn whichever_comes_first() {
    let (mut near, mut far) = connection();
    let (sender, receiver) = unbounded();
    for round in 0..3 {
        if round == 0 {
            far.write_all(b"x").unwrap();
        } else if round == 1 {
            sender.send(1).unwrap();
        }
        let handle = go!(move || {
            if round != 2 {
                thread::sleep(Duration::MAX);
            }
        });
        let canceller = handle.thread().id();
        let first = select! {
            readable(near) => 0,
            recv(receiver) -> message => { message.unwrap(); 1 }
            ready(handle) => 2,
            recv(after(Duration::from_secs(3600))) -> _ => 3,
        };
        assert_eq!(first, round, "{canceller:?}");
        handle.cancel();
        if round == 0 {
            assert_eq!(near.read(&mut [0; 8]).unwrap(), 1);
        }
    }
    select! { writable(near) => {} }
    let writes = go!(move || {
        thread::sleep(Duration::from_millis(2));
        far.write_all(b"y").unwrap();
        far
    });
    select! {
        readable(near) => assert_eq!(near.read(&mut [0; 8]).unwrap(), 1),
        recv(after(Duration::from_secs(3600))) -> _ => unreachable!(),
    }
    drop(writes.join().unwrap());
    // The end of the stream is ready too.
    select! { readable(near) => assert_eq!(near.read(&mut [0; 8]).unwrap(), 0) }
}

#[test]
fn one_of_all_kinds_is_selected() {
    on_each_worker_count(whichever_comes_first);
}

#[test]
fn an_os_thread_selects_too() {
    uses_global_runtime();
    whichever_comes_first();
}

#[test]
fn a_listener_gets_ready() {
    on_each_worker_count(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let idle = select! {
            readable(listener) => false,
            default(Duration::from_millis(1)) => true,
        };
        assert!(idle);
        let connects = go!(move || TcpStream::connect(address).unwrap());
        select! { readable(listener) => drop(listener.accept().unwrap()) }
        connects.join().unwrap();
    });
}
