//! Roving's green threads.

use common::Protocol;
use roving::io::Async;
use roving::net::{TcpListener, TcpStream, UdpSocket};
use roving::os::unix::net::UnixStream;
use roving::sync::{Barrier, Mutex, mpsc};
use roving::{Builder, Runtime, block_on, blocking, on_warm_stack, thread};
use serde_json::Value;
use std::io;
use std::process::ExitCode;

#[path = "../../blocking/work.rs"]
mod work;

fn main() -> ExitCode {
    common::main(run, serve)
}

fn runtime(workers: usize) -> Runtime {
    let builder = Builder::new().workers(workers);
    let builder = match std::env::var("ROVING_PEER_MODE").as_deref() {
        // SAFETY: no green thread here holds a borrow of a thread-local, nor what is not `Send`,
        // across a suspension.
        Ok("shared") => unsafe { builder.shared_thread_locals() },
        _ => builder,
    };
    builder.build().expect("a runtime starts")
}

fn run(name: &str, count: usize, workers: usize) -> Value {
    let runtime = runtime(workers);
    let figures = runtime.run(|| work::work(name, count));
    // Shutting down would unwind the threads that still sleep.
    std::mem::forget(runtime);
    figures
}

fn serve(protocol: Protocol, workers: usize) {
    let serve_connection = match protocol {
        Protocol::Echo => work::echo,
        Protocol::Http => work::http,
        Protocol::Framework => serve_axum,
    };
    let runtime = runtime(workers);
    runtime.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        common::listening(listener.local_addr().expect("it is bound"));
        thread::spawn(move || work::serve(&listener, serve_connection));
    });
    std::mem::forget(runtime);
}

fn serve_axum(stream: TcpStream) -> io::Result<()> {
    let serves = web::serve_connection(Async::from(stream));
    block_on(on_warm_stack(serves)).map_err(io::Error::other)
}
