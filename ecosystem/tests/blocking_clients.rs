//! Clients that block the OS thread they are called on, from two hundred green threads: whoever serves answers
//! nobody until all have asked.

mod common;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::clients::{
    CLIENTS, ask_http, ask_postgres, ask_redis, connect_postgres, serve_http, serve_redis,
};
use common::on_each_mode;
use common::server::Server;

/// Has all ask at once on green threads.
fn all(ask: impl Fn() + Sync) {
    roving::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(&ask);
        }
    });
}

/// Serves each client on an OS thread of its own, and answers it when all have asked.
fn answer_all_at_once(
    serve: fn(&TcpStream, &Barrier) -> io::Result<()>,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let all_have_asked = Arc::new(Barrier::new(CLIENTS));
    let serves = thread::spawn(move || {
        let serve = |stream: io::Result<TcpStream>| {
            let (stream, all_have_asked) = (stream.unwrap(), all_have_asked.clone());
            // It may end with an error, when there is no next question.
            thread::spawn(move || drop(serve(&stream, &all_have_asked)))
        };
        let servers: Vec<_> = listener.incoming().take(CLIENTS).map(serve).collect();
        servers
            .into_iter()
            .for_each(|server| server.join().unwrap());
    });
    (address, serves)
}

#[test]
fn two_hundred_wait_for_http_at_a_time() {
    on_each_mode(|| {
        let (address, serves) = answer_all_at_once(|stream, all| {
            serve_http(stream, || {
                all.wait();
            })
        });
        all(|| ask_http(address));
        serves.join().unwrap();
    });
}

#[test]
fn two_hundred_wait_for_redis_at_a_time() {
    on_each_mode(|| {
        let (address, serves) = answer_all_at_once(|stream, all| {
            serve_redis(stream, || {
                all.wait();
            })
        });
        all(|| ask_redis(address));
        serves.join().unwrap();
    });
}

/// Holds a lock that all want, until they do.
fn unlock_when_all_wait(folder: &Path) {
    let mut client = connect_postgres(folder);
    client.query("select pg_advisory_lock(1)", &[]).unwrap();
    let folder = folder.to_owned();
    let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted";
    let unlocks = move || {
        let mut looks = connect_postgres(&folder);
        let mut count = || looks.query_one(waiting, &[]).unwrap().get::<_, i64>(0);
        while count() < CLIENTS as i64 {
            thread::sleep(Duration::from_millis(5));
        }
        client.query("select pg_advisory_unlock(1)", &[]).unwrap();
    };
    thread::spawn(unlocks);
}

#[test]
fn two_hundred_wait_for_postgres_at_a_time() {
    let Some(server) = Server::start(CLIENTS + 2).unwrap() else {
        println!("not tested: PostgreSQL is not installed (apt-get install postgresql)");
        return;
    };
    on_each_mode(|| {
        unlock_when_all_wait(server.folder());
        all(|| {
            ask_postgres(server.folder(), "select pg_advisory_lock_shared(1)");
        });
    });
}
