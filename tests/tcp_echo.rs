//! An echo server as everybody writes it, and what its clients see.
//!
//! - many clients at once, green and not, each with messages of its own
//! - transfers much larger than what the system buffers
//! - the adapters of std that are generic over `Read` and `Write`

mod common;

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::sync::Arc;

use common::{connection, each_worker_count, pattern};
use roving::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use roving::{Runtime, go};

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 1000];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

/// Starts a server that accepts `clients` connections.
fn echo_server(runtime: &Runtime, clients: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(move || {
        for stream in listener.incoming().take(clients) {
            go!(move || serve(stream.unwrap()).unwrap());
        }
    });
    address
}

fn converse(address: SocketAddr, seed: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    for n in 0..10 {
        let message = pattern(seed + n, 1 + (seed * 37 + n * 211) % 3000);
        stream.write_all(&message).unwrap();
        let mut answer = vec![0; message.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, message);
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
}

#[test]
fn many_clients_are_served() {
    each_worker_count(|runtime| {
        let address = echo_server(runtime, 220);
        let green: Vec<_> = (0..200)
            .map(|seed| runtime.spawn(move || converse(address, seed)))
            .collect();
        let plain: Vec<_> = (200..220)
            .map(|seed| std::thread::spawn(move || converse(address, seed)))
            .collect();
        green.into_iter().for_each(|c| c.join().unwrap());
        plain.into_iter().for_each(|c| c.join().unwrap());
    });
}

#[test]
fn large_transfers_arrive_whole() {
    each_worker_count(|runtime| {
        let address = echo_server(runtime, 3);
        let clients: Vec<_> = (0..3)
            .map(|seed| {
                runtime.spawn(move || {
                    let sent = Arc::new(pattern(seed, 3 << 20));
                    let stream = Arc::new(TcpStream::connect(address).unwrap());
                    let (data, writer) = (sent.clone(), stream.clone());
                    let writes = go!(move || {
                        (&*writer).write_all(&data).unwrap();
                        writer.shutdown(Shutdown::Write).unwrap();
                    });
                    let mut echoed = Vec::new();
                    (&*stream).read_to_end(&mut echoed).unwrap();
                    writes.join().unwrap();
                    assert!(echoed == *sent);
                })
            })
            .collect();
        clients.into_iter().for_each(|c| c.join().unwrap());
    });
}

#[test]
fn the_adapters_of_std_work() {
    each_worker_count(|runtime| {
        runtime.run(|| {
            let (client, server) = connection();
            let serves = go!(move || {
                let mut writer = BufWriter::new(server.try_clone().unwrap());
                let mut lines = 0;
                for line in BufReader::new(server).lines() {
                    writeln!(writer, "{}", line.unwrap().to_uppercase()).unwrap();
                    writer.flush().unwrap();
                    lines += 1;
                }
                lines
            });
            let mut answers = BufReader::new(&client);
            for n in 0..50 {
                writeln!(&client, "line {n}").unwrap();
                let mut answer = String::new();
                answers.read_line(&mut answer).unwrap();
                assert_eq!(answer, format!("LINE {n}\n"));
            }
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(io::copy(&mut answers, &mut io::sink()).unwrap(), 0);
            assert_eq!(serves.join().unwrap(), 50);
        });
    });
}

#[test]
fn copying_from_one_socket_to_another() {
    each_worker_count(|runtime| {
        let data = pattern(5, 500_000);
        runtime.run(|| {
            let (source, mut relay_in) = connection();
            let (mut relay_out, mut sink) = connection();
            let relays = go!(move || io::copy(&mut relay_in, &mut relay_out).unwrap());
            let sent = data.clone();
            go!(move || (&source).write_all(&sent).unwrap());
            let mut received = Vec::new();
            sink.read_to_end(&mut received).unwrap();
            assert_eq!(relays.join().unwrap(), 500_000);
            assert!(received == data);
        });
    });
}
