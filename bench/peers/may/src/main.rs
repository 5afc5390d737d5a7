//! may's coroutines. Its names differ little from std's, so the work is that of the blocking peers.

use common::{Protocol, absent, most_at_a_time, other_work, too_many_mappings};
use may::net::{TcpListener, TcpStream, UdpSocket};
use may::os::unix::net::UnixStream;
use may::sync::{Barrier, Mutex};
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

/// It has no such call.
fn blocking<T>(_: impl FnOnce() -> T) -> T {
    unreachable!("such work is absent")
}

fn main() -> ExitCode {
    common::main(run, serve)
}

/// Where anybody else uses the processors, workers that are pinned, its default, wait for them.
fn configure(workers: usize) -> may::Config {
    let config = may::config();
    config.set_workers(workers).set_worker_pin(false);
    config
}

fn run(name: &str, count: usize, workers: usize) -> Value {
    if name == "slow_neighbour_told" {
        return absent("it has no call to tell that one computes");
    }
    let coroutines = most_at_a_time(name, count);
    if let Some(absent) = too_many_mappings(coroutines) {
        return absent;
    }
    let config = configure(workers);
    match name {
        // Pooled stacks have been touched before they are counted.
        "sleepers" => config.set_pool_capacity(1),
        _ => config.set_pool_capacity(coroutines),
    };
    let work = name.to_owned();
    let figures = may::go!(move || work::work(&work, count))
        .join()
        .expect("it does not panic");
    match name {
        "mpsc" => other_work(
            figures,
            "through a channel without a bound, since it has no other",
        ),
        _ => figures,
    }
}

fn serve(protocol: Protocol, workers: usize) {
    let serve_connection = match protocol {
        Protocol::Echo => work::echo,
        Protocol::Http => work::http,
        Protocol::Framework => return common::serves_no(protocol),
    };
    // What a burst needs again, and few enough to hide little of what a connection takes.
    configure(workers).set_pool_capacity(100);
    may::go!(move || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        common::listening(listener.local_addr().expect("it is bound"));
        may::go!(move || work::serve(&listener, serve_connection));
    })
    .join()
    .expect("it does not panic");
}
