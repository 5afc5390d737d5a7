//! Who asks that no green threads are left is told which are.
//!
//! One test, since it asks about the whole process.

mod common;

use common::{WORKER_COUNTS, panics, watchdog};
use roving_scheduler::testing::no_green_threads_left;
use roving_scheduler::{Builder, Runtime, thread};
use std::time::Duration;

fn runtimes() -> impl Iterator<Item = Runtime> {
    let of_size = |workers| Builder::new().workers(workers).build().unwrap();
    WORKER_COUNTS.into_iter().map(of_size)
}

#[test]
fn what_is_left_is_told_and_what_ends_is_not() {
    let _watchdog = watchdog("");
    no_green_threads_left();
    for (number, runtime) in runtimes().enumerate() {
        for _ in 0..100 {
            drop(runtime.spawn(|| thread::sleep(Duration::from_millis(10))));
        }
        no_green_threads_left();
        runtime.run(no_green_threads_left);
        let forgotten = runtime.spawn(|| {
            let builder = thread::Builder::new().name("forgotten".to_owned());
            builder.spawn(thread::park).unwrap()
        });
        let forgotten = forgotten.join().unwrap();
        let told = if number % 2 == 0 {
            panics(no_green_threads_left)
        } else {
            runtime.run(|| panics(no_green_threads_left))
        };
        assert!(told.contains("green threads are left"), "{told}");
        assert!(told.contains("\"forgotten\""), "{told}");
        forgotten.thread().unpark();
        forgotten.join().unwrap();
        no_green_threads_left();
    }
}
