//! What the tests share: what the scheduler's tests do, and a thousand green threads that await.

// Each file of tests is a program of its own, and uses a part of this.
#![allow(dead_code, unused_imports)]

pub(crate) mod clients;
pub(crate) mod resp;
#[path = "../../../scheduler/tests/common/mod.rs"]
mod scheduler;
#[path = "../../../examples/bookshop/src/server.rs"]
pub(crate) mod server;

use std::fs;
use std::future::Future;

use async_compat::CompatExt;
use roving::net::{SocketAddr, TcpListener, TcpStream};
use roving::{Group, block_on, thread};

pub(crate) use scheduler::on_each_mode;

pub(crate) const THREADS: usize = 1_000;

/// The names of the OS threads of this process, without the spares: how many of those there are is decided by how long
/// others keep their workers, which on a busy machine is long.
fn os_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm"));
    // One that has ended meanwhile has no name.
    let names = tasks.filter_map(|task| name(task.unwrap()).ok());
    names
        .filter(|name| !name.starts_with("roving-spare"))
        .collect()
}

/// Awaits a future of `make` on each of a thousand green threads, and sees that
/// no OS thread comes of it.
pub(crate) fn a_thousand_await<F: Future<Output = ()>>(make: impl Fn(usize) -> F + Sync) {
    // The first that needs tokio starts it. Its OS thread has its name when it runs a task.
    block_on(async { tokio::spawn(async {}).await }.compat()).unwrap();
    let before = os_threads();
    let of_tokio = |name: &&String| name.starts_with("async-compat");
    assert_eq!(before.iter().filter(of_tokio).count(), 1, "{before:?}");
    let counts = Group::new().map(0..THREADS, |number| {
        block_on(make(number).compat());
        Ok::<_, ()>(os_threads().len())
    });
    let most = counts.unwrap().into_iter().max();
    assert!(most <= Some(before.len()), "{before:?}, {:?}", os_threads());
}

/// Serves each connection on a green thread, until the test ends.
pub(crate) fn listen(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, serve) = (stream.unwrap(), serve.clone());
            thread::spawn(move || serve(stream));
        }
    });
    address
}
