//! Descriptors run out, in processes of their own that may have few.
//!
//! - `connect` and `accept` give the system's error, and work again when descriptors are free
//! - the loop that the documentation of `accept` shows outlives that, and serves everybody in the
//!   end
//! - where the runtime's driver cannot be made, the operation that needed it says so, and it is
//!   made later

mod common;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::time::Duration;

use common::{WORKER_COUNTS, child_with_few_descriptors, is_child, run, runtime, watchdog};
use roving::net::{SocketAddr, TcpListener, TcpStream};
use roving::{go, thread};

/// `EMFILE`, too many open files, on Linux.
const EMFILE: i32 = 24;

/// In a child that may have 64 descriptors, calls `test`; elsewhere, starts that child.
fn with_few_descriptors(name: &str, test: impl FnOnce()) {
    let _watchdog = watchdog("");
    if is_child(name) {
        test();
    } else {
        run(child_with_few_descriptors(name));
    }
}

/// All descriptors that there are.
fn take_all() -> Vec<File> {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EMFILE));
                return files;
            }
        }
    }
}

fn connect_until_there_are_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..3 {
        let mut streams = Vec::new();
        let error = loop {
            match TcpStream::connect(address) {
                Ok(stream) => streams.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.raw_os_error(), Some(EMFILE));
        assert!(!streams.is_empty());
        let error = streams[0].try_clone().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EMFILE));
        let error = TcpListener::bind("127.0.0.1:0").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EMFILE));
        drop(streams);
        TcpStream::connect(address).unwrap();
    }
}

#[test]
fn connecting() {
    with_few_descriptors("connecting", || {
        connect_until_there_are_none();
        for workers in WORKER_COUNTS {
            runtime(workers).run(connect_until_there_are_none);
        }
    });
}

fn accept_while_there_are_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..10)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let taken = take_all();
    for _ in 0..100 {
        let error = listener.accept().map(drop).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EMFILE));
    }
    drop(taken);
    for client in &clients {
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from, client.local_addr().unwrap());
    }
}

#[test]
fn accepting() {
    with_few_descriptors("accepting", || {
        accept_while_there_are_none();
        for workers in WORKER_COUNTS {
            runtime(workers).run(accept_while_there_are_none);
        }
    });
}

/// The server of the documentation, until it has served so many.
fn serve(listener: &TcpListener, clients: usize) -> usize {
    let mut refusals = 0;
    let mut served = Vec::new();
    while served.len() < clients {
        match listener.accept() {
            Ok((mut stream, _)) => served.push(go!(move || {
                let mut said = Vec::new();
                stream.read_to_end(&mut said).unwrap();
                stream.write_all(&said).unwrap();
            })),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EMFILE));
                refusals += 1;
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    served.into_iter().for_each(|handle| handle.join().unwrap());
    refusals
}

fn converse(address: SocketAddr, n: usize) {
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EMFILE));
                thread::sleep(Duration::from_millis(1));
            }
        }
    };
    let said = n.to_string();
    stream.write_all(said.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(2));
    stream.shutdown(roving::net::Shutdown::Write).unwrap();
    assert_eq!(io::read_to_string(stream).unwrap(), said);
}

#[test]
fn a_server_goes_on() {
    with_few_descriptors("a_server_goes_on", || {
        // Those who are connected leave some descriptors to the server, so that it gets on.
        const CLIENTS: usize = 40;
        const TIMES: usize = 4;
        for workers in WORKER_COUNTS {
            let runtime = runtime(workers);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            // Takes the driver's descriptors while there are some.
            runtime.run(|| converse_once(&listener, address));
            let serves = runtime.spawn(move || serve(&listener, CLIENTS * TIMES));
            let clients: Vec<_> = (0..CLIENTS)
                .map(|n| runtime.spawn(move || (0..TIMES).for_each(|_| converse(address, n))))
                .collect();
            clients.into_iter().for_each(|c| c.join().unwrap());
            serves.join().unwrap();
        }
    });
}

fn converse_once(listener: &TcpListener, address: SocketAddr) {
    let client = go!(move || converse(address, 0));
    assert_eq!(serve(listener, 1), 0);
    client.join().unwrap();
}

#[test]
fn no_descriptors_for_the_driver() {
    with_few_descriptors("no_descriptors_for_the_driver", || {
        let open = || fs::read_dir("/proc/self/fd").unwrap().count();
        for workers in WORKER_COUNTS {
            let before = open();
            let runtime = runtime(workers);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let (reader, writer) = common::connection();
            // With none left, and with too few, it is the same.
            for free in 0..3 {
                let mut taken = take_all();
                taken.truncate(taken.len() - free);
                for _ in 0..50 {
                    let refused = runtime.run(|| (&reader).read(&mut [0]));
                    let message = refused.unwrap_err().to_string();
                    assert!(message.contains("driver"), "{message}");
                    assert!(message.contains("os error 24"), "{message}");
                    assert!(message.contains("ulimit -n"), "{message}");
                }
            }
            // A plain OS thread needs no driver.
            let waits = std::thread::spawn({
                let listener = listener.try_clone().unwrap();
                move || listener.accept().map(drop)
            });
            drop(TcpStream::connect(address).unwrap());
            waits.join().unwrap().unwrap();
            // Now there is one to be had.
            runtime.run(|| converse_once(&listener, address));
            drop((runtime, listener, reader, writer));
            assert_eq!(open(), before, "with {workers} workers");
        }
    });
}
