//! tokio's tasks, on its multi-threaded runtime; with `TOKIO_PEER_RUNTIME=current_thread` servers run on
//! that which has one thread and one queue.

mod serve;
mod work;

use common::Protocol;
use serde_json::Value;
use std::future;
use std::process::ExitCode;
use std::thread;
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    common::main(run, serve)
}

fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

fn run(name: &str, count: usize, workers: usize) -> Value {
    let runtime = runtime(workers);
    let name = name.to_owned();
    // A task of the workers, which the caller of `block_on` is not.
    let work = runtime.spawn(async move { work::work(&name, count).await });
    let figures = runtime.block_on(work).expect("it does not panic");
    runtime.shutdown_background();
    figures
}

fn serve(protocol: Protocol, workers: usize) {
    if std::env::var("TOKIO_PEER_RUNTIME").as_deref() == Ok("current_thread") {
        thread::spawn(move || serve_on_this_thread(protocol));
        return;
    }
    let runtime = runtime(workers);
    runtime.block_on(serve::start(protocol));
    std::mem::forget(runtime);
}

fn serve_on_this_thread(protocol: Protocol) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        serve::start(protocol).await;
        future::pending::<()>().await;
    });
}
