//! OS threads, as std gives them; there are no workers to choose.

use common::{Protocol, absent};
use serde_json::Value;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Mutex, mpsc};
use std::thread;

#[path = "../../blocking/work.rs"]
mod work;

/// More threads at a time end in the system's limits.
const MOST: usize = 20_000;

fn main() -> ExitCode {
    common::main(run, serve)
}

fn run(name: &str, count: usize, _workers: usize) -> Value {
    match name {
        "yield_100000" => absent("more threads than the system has room for"),
        "spawn_all" | "skynet" | "timers" if count > MOST => {
            absent("more threads than the system has room for")
        }
        _ => work::work(name, count),
    }
}

fn serve(protocol: Protocol, _workers: usize) {
    let serve_connection = match protocol {
        Protocol::Echo => work::echo,
        Protocol::Http => work::http,
        Protocol::Axum => return common::serves_no(protocol),
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    common::listening(listener.local_addr().expect("it is bound"));
    thread::spawn(move || work::serve(&listener, serve_connection));
}
