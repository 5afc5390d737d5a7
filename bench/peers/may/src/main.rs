//! may's coroutines. Its names differ little from std's, so the work is that of the blocking peers.

use common::{Protocol, absent};
use may::net::{TcpListener, TcpStream, UdpSocket};
use may::os::unix::net::UnixStream;
use may::sync::Mutex;
use serde_json::Value;
use std::process::ExitCode;

#[path = "../../blocking/work.rs"]
mod work;

/// may's coroutines under std's names.
mod thread {
    pub use may::coroutine::{JoinHandle, current, park, sleep, yield_now};
    use std::io;

    pub fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        may::go!(f)
    }

    pub struct Builder(may::coroutine::Builder);

    impl Builder {
        pub fn new() -> Self {
            Self(may::coroutine::Builder::new())
        }

        pub fn spawn<T: Send + 'static>(
            self,
            f: impl FnOnce() -> T + Send + 'static,
        ) -> io::Result<JoinHandle<T>> {
            // SAFETY: the work uses no thread-locals and stays within its stack.
            unsafe { self.0.spawn(f) }
        }
    }
}

/// may's channels, which have no bound.
mod mpsc {
    pub use may::sync::mpsc::{Receiver, Sender};

    pub fn sync_channel<T>(_bound: usize) -> (Sender<T>, Receiver<T>) {
        may::sync::mpsc::channel()
    }
}

fn main() -> ExitCode {
    common::main(run, serve)
}

fn configure(workers: usize) {
    may::config().set_workers(workers).set_worker_pin(false);
}

fn run(name: &str, count: usize, workers: usize) -> Value {
    if name == "mpsc" {
        return absent("its channels have no bound");
    }
    configure(workers);
    let name = name.to_owned();
    may::go!(move || work::work(&name, count))
        .join()
        .expect("it does not panic")
}

fn serve(protocol: Protocol, workers: usize) {
    let serve_connection = match protocol {
        Protocol::Echo => work::echo,
        Protocol::Http => work::http,
        Protocol::Axum => return common::serves_no(protocol),
    };
    configure(workers);
    may::go!(move || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        common::listening(listener.local_addr().expect("it is bound"));
        may::go!(move || work::serve(&listener, serve_connection));
    })
    .join()
    .expect("it does not panic");
}
