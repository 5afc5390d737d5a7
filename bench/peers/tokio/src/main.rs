//! tokio's tasks, on its multi-threaded runtime; with `TOKIO_PEER_RUNTIME=current_thread` on that which has
//! one thread and one queue.

mod serve;
mod work;

use common::Protocol;
use serde_json::Value;
use std::future;
use std::mem;
use std::process::ExitCode;
use std::thread;
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    common::main(run, serve)
}

fn is_current_thread() -> bool {
    std::env::var("TOKIO_PEER_RUNTIME").as_deref() == Ok("current_thread")
}

fn runtime(workers: usize) -> Runtime {
    let mut builder = if is_current_thread() {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    let builder = builder.worker_threads(workers).enable_all();
    builder.build().expect("a runtime starts")
}

fn run(name: &str, count: usize, workers: usize) -> Value {
    let runtime = runtime(workers);
    let name = name.to_owned();
    // A task, which the caller of `block_on` is not.
    let work = runtime.spawn(async move { work::work(&name, count).await });
    let figures = runtime.block_on(work).expect("it does not panic");
    runtime.shutdown_background();
    figures
}

fn serve(protocol: Protocol, workers: usize) {
    let runtime = runtime(workers);
    runtime.block_on(serve::start(protocol));
    if is_current_thread() {
        // Its tasks run where somebody blocks on it.
        thread::spawn(move || runtime.block_on(future::pending::<()>()));
    } else {
        mem::forget(runtime);
    }
}
