//! tokio's tasks, on its multi-threaded runtime.

mod serve;
mod work;

use common::Protocol;
use serde_json::Value;
use std::process::ExitCode;
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
    let runtime = runtime(workers);
    runtime.block_on(serve::start(protocol));
    std::mem::forget(runtime);
}
