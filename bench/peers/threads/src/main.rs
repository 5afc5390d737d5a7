//! OS threads, as std gives them. As many processors as there are to be workers run them.

use common::{Protocol, absent};
use serde_json::Value;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;

#[path = "../../blocking/work.rs"]
mod work;

/// With more at a time, others on the machine could start none.
const MOST: usize = 20_000;

/// Who blocks or computes here holds up nobody but himself.
fn blocking<T>(f: impl FnOnce() -> T) -> T {
    f()
}

fn main() -> ExitCode {
    common::main(run, serve)
}

fn run(name: &str, count: usize, workers: usize) -> Value {
    if common::most_at_a_time(name, count) > MOST {
        return absent(&format!(
            "more than {MOST} OS threads at a time are too many here"
        ));
    }
    common::bind_to_processors(workers);
    work::work(name, count)
}

fn serve(protocol: Protocol, _workers: usize) {
    let serve_connection = match protocol {
        Protocol::Echo => work::echo,
        Protocol::Http => work::http,
        Protocol::Framework => return common::serves_no(protocol),
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    common::listening(listener.local_addr().expect("it is bound"));
    thread::spawn(move || work::serve(&listener, serve_connection));
}
