//! Sockets and calls that block, in blocking code inside futures.

mod common;

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use roving::net::{TcpListener, TcpStream, ToSocketAddrs};
use roving::{await_, blocking, greenly};

fn tokio(workers: usize) -> tokio::runtime::Runtime {
    let mut builder = match workers {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(workers.max(1));
    builder.enable_time().build().unwrap()
}

/// How many worker threads executors have here: without thread-locals of its own, what `greenly` runs
/// stays where it was polled first.
fn sizes() -> &'static [usize] {
    let runtime = roving::Builder::new().workers(1).build().unwrap();
    match runtime.thread_locals() {
        roving::ThreadLocals::Own => &[0, 1, 4],
        _ => &[0],
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 100];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

#[test]
fn blocking_sockets_serve_many_connections_on_a_few_os_threads() {
    const CONNECTIONS: usize = 50;

    for &workers in sizes() {
        tokio(workers).block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let serves = greenly(move || {
                let accepted = listener.incoming().take(CONNECTIONS);
                accepted.map(Result::unwrap).collect::<Vec<_>>()
            });
            let connects = (0..CONNECTIONS).map(|number| {
                greenly(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    for round in 0..10 {
                        let message = format!("{number}, {round}");
                        stream.write_all(message.as_bytes()).unwrap();
                        let mut answer = vec![0; message.len()];
                        stream.read_exact(&mut answer).unwrap();
                        assert_eq!(answer, message.as_bytes());
                    }
                })
            });
            let clients = futures::future::join_all(connects);
            let servers = async {
                let streams = serves.await;
                let echoes = streams
                    .into_iter()
                    .map(|stream| greenly(move || echo(stream)));
                futures::future::join_all(echoes).await
            };
            let (_, echoed) = futures::join!(clients, servers);
            echoed.into_iter().for_each(Result::unwrap);
        });
    }
}

#[test]
fn a_timeout_of_a_socket_comes_and_the_executor_goes_on() {
    for &workers in sizes() {
        tokio(workers).block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let times_out = greenly(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream
                    .set_read_timeout(Some(Duration::from_millis(5)))
                    .unwrap();
                let start = Instant::now();
                let error = stream.read(&mut [0]).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                assert!(start.elapsed() >= Duration::from_millis(5));
            });
            let goes_on = greenly(|| {
                for _ in 0..10 {
                    await_(tokio::task::yield_now());
                }
            });
            futures::join!(times_out, goes_on);
            drop(listener);
        });
    }
}

#[test]
fn calls_that_block_in_the_system_are_made_in_place() {
    for &workers in sizes() {
        tokio(workers).block_on(async {
            let in_place = greenly(move || {
                let here = std::thread::current().id();
                blocking(|| std::thread::current().id()) == here
            });
            assert!(in_place.await);
            let found = greenly(|| "localhost:80".to_socket_addrs().map(|found| found.count()));
            assert!(found.await.unwrap() > 0);
        });
    }
}
