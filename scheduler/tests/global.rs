//! The global runtime. It never ends, so this is a program of its own.
//!
//! - it starts by itself at the first use, from any OS thread, and everybody gets the same one
//! - on a green thread, what is spawned belongs to the runtime of that thread
//! - once it runs, it can no longer be configured

mod common;

use std::io;

use common::{runtime, watchdog};
use roving_scheduler::thread::{self, Builder};
use roving_scheduler::{Builder as RuntimeBuilder, Handle};

#[test]
fn it_starts_by_itself_and_is_one() {
    let _watchdog = watchdog("");
    let ids: Vec<_> = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let id = || Handle::try_current().map(|handle| handle.id());
                    assert_eq!(id(), None);
                    thread::spawn(id).join().unwrap().unwrap()
                })
            })
            .collect();
        askers.into_iter().map(|a| a.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(Handle::current().unwrap().id(), ids[0]);
}

#[test]
fn spawning_on_a_green_thread_stays_in_its_runtime() {
    let _watchdog = watchdog("");
    let global = Handle::current().unwrap().id();
    let other = runtime(2);
    let here = || Handle::current().unwrap().id();
    assert_ne!(other.run(here), global);
    assert_eq!(
        other.run(|| thread::spawn(here).join().unwrap()),
        other.handle().id()
    );
    assert_eq!(thread::spawn(here).join().unwrap(), global);
}

#[test]
fn os_threads_spawn_and_join() {
    let _watchdog = watchdog("");
    let handles: Vec<_> = (0..200u64)
        .map(|n| {
            Builder::new()
                .name(format!("number {n}"))
                .spawn(move || (n, thread::current().name().map(str::to_owned)))
                .unwrap()
        })
        .collect();
    for (n, handle) in (0..).zip(handles) {
        assert_eq!(handle.join().unwrap(), (n, Some(format!("number {n}"))));
    }
}

#[test]
fn it_cannot_be_configured_once_it_runs() {
    let _watchdog = watchdog("");
    thread::spawn(|| ()).join().unwrap();
    let error = RuntimeBuilder::new().workers(3).build_global().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
}
