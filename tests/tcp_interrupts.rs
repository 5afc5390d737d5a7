//! Socket operations under deadlines and cancellation: an error once, then unwinding.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use common::on_each_worker_count;
use roving::net::{TcpListener, TcpStream};
use roving::{CancelToken, Cancelled, DeadlineElapsed, deadline, go, thread};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn a_deadline_is_told_once() {
    let (mut client, server) = pair();
    let told = deadline(Duration::from_millis(2), || client.read(&mut [0; 8]));
    let error = told.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.get_ref().unwrap().is::<DeadlineElapsed>());

    let errors = std::cell::Cell::new(0);
    let ignores = deadline(Duration::from_millis(2), || {
        loop {
            errors.set(errors.get() + u32::from(client.read(&mut [0; 8]).is_err()));
        }
    });
    assert!(ignores.is_err());
    assert_eq!(errors.get(), 1);

    (&server).write_all(b"late").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
}

fn a_token_is_told_once() {
    let (mut client, _server) = pair();
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
            match client.read(&mut [0; 8]) {
                Err(error) if told.is_none() => told = Some(error),
                other => panic!("{other:?}"),
            }
        }
    });
    assert!(ended.is_err());
    let error = told.unwrap();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(error.get_ref().unwrap().is::<Cancelled>());
    cancels.join().unwrap();
}

#[test]
fn deadlines_end_reads() {
    on_each_worker_count(a_deadline_is_told_once);
}

#[test]
fn deadlines_end_reads_on_an_os_thread() {
    common::uses_global_runtime();
    a_deadline_is_told_once();
}

#[test]
fn tokens_end_reads() {
    on_each_worker_count(a_token_is_told_once);
}

#[test]
fn tokens_end_reads_on_an_os_thread() {
    common::uses_global_runtime();
    a_token_is_told_once();
}

#[test]
fn a_cancelled_accept_gives_an_error_and_then_unwinds() {
    on_each_worker_count(|| {
        let accepts = go!(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.incoming().filter(|stream| stream.is_err()).count()
        });
        thread::yield_now();
        accepts.cancel();
        assert!(accepts.join().unwrap_err().is::<Cancelled>());

        let returns = go!(|| TcpListener::bind("127.0.0.1:0").unwrap().accept().is_err());
        thread::yield_now();
        returns.cancel();
        match returns.join() {
            Ok(told) => assert!(told),
            // It had not started.
            Err(payload) => assert!(payload.is::<Cancelled>()),
        }
    });
}
