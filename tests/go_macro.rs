//! `go!` in all its forms, from wherever it may be used.
//!
//! - a closure, a `move` closure, a function, with and without a trailing comma, with each option
//!   and with both in either order
//! - from `main`'s kind of thread, from an OS thread, from a green thread
//! - results and panics; where it was used is known

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use common::{child, is_child, on_each_worker_count, printed, uses_global_runtime, watchdog};
use roving::{Cancelled, go, is_green, thread};

fn name() -> Option<String> {
    thread::current().name().map(str::to_owned)
}

#[test]
fn every_form() {
    uses_global_runtime();
    let _watchdog = watchdog("");
    let n = 20;
    assert_eq!(go!(|| 1).join().unwrap(), 1);
    assert_eq!(go!(|| 2,).join().unwrap(), 2);
    assert_eq!(go!(move || n + 1).join().unwrap(), 21);
    assert_eq!(go!(name).join().unwrap(), None);
    let closure = move || n * 2;
    assert_eq!(go!(closure).join().unwrap(), 40);

    let named = Some("weaver".to_owned());
    assert_eq!(go!(name = "weaver", name).join().unwrap(), named);
    assert_eq!(go!(name = "weaver", name,).join().unwrap(), named);
    assert_eq!(
        go!(name = named.clone().unwrap(), name).join().unwrap(),
        named
    );
    assert_eq!(
        go!(name = format!("weav{}", "er"), name).join().unwrap(),
        named
    );
    assert_eq!(go!(name = 'w', name).join().unwrap().as_deref(), Some("w"));

    assert_eq!(go!(stack_size = 1 << 20, move || n).join().unwrap(), 20);
    assert_eq!(go!(stack_size = 65536, || 3,).join().unwrap(), 3);
    assert_eq!(
        go!(name = "weaver", stack_size = 65536, name)
            .join()
            .unwrap(),
        named
    );
    assert_eq!(
        go!(stack_size = 65536, name = "weaver", name)
            .join()
            .unwrap(),
        named
    );
    assert_eq!(
        go!(name = "weaver", stack_size = 65536, name,)
            .join()
            .unwrap(),
        named
    );
    assert_eq!(
        go!(stack_size = 65536, name = "weaver", name,)
            .join()
            .unwrap(),
        named
    );
}

#[test]
fn a_block_with_a_type_is_a_closure() {
    uses_global_runtime();
    let _watchdog = watchdog("");
    let handle = go!(|| -> Result<u8, std::num::ParseIntError> {
        let n: u8 = "12".parse()?;
        Ok(n)
    });
    assert_eq!(handle.join().unwrap(), Ok(12));
}

#[test]
fn the_stack_has_the_size_asked_for() {
    uses_global_runtime();
    let _watchdog = watchdog("");
    let large = go!(stack_size = 8 << 20, || {
        let bytes = std::hint::black_box([7u8; 2 << 20]);
        bytes.iter().filter(|byte| **byte == 7).count()
    });
    assert_eq!(large.join().unwrap(), 2 << 20);
}

#[test]
fn from_an_os_thread_and_from_a_green_one() {
    uses_global_runtime();
    let _watchdog = watchdog("");
    assert!(!is_green());
    let os = std::thread::spawn(|| go!(is_green).join().unwrap());
    assert!(os.join().unwrap());
    on_each_worker_count(|| {
        assert!(is_green());
        assert!(go!(is_green).join().unwrap());
        let nested = go!(|| go!(|| go!(|| 9).join().unwrap() + 1).join().unwrap() + 1);
        assert_eq!(nested.join().unwrap(), 11);
    });
}

#[test]
fn a_handle_that_is_dropped_detaches() {
    on_each_worker_count(|| {
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let count = count.clone();
            go!(move || {
                thread::yield_now();
                count.fetch_add(1, Ordering::AcqRel)
            });
        }
        while count.load(Ordering::Acquire) < 100 {
            thread::yield_now();
        }
    });
}

#[test]
fn panics_come_out_of_join() {
    uses_global_runtime();
    let _watchdog = watchdog("");
    let panics = go!(name = "unlucky", || -> u8 { std::panic::panic_any(13u64) });
    assert_eq!(panics.join().unwrap_err().downcast_ref(), Some(&13u64));
}

/// The other form of spawning, on a runtime of one's own, with the end of that runtime.
#[test]
fn the_facade_has_what_belongs_to_it() {
    uses_global_runtime();
    let _watchdog = watchdog("");
    let runtime = roving::Builder::new().workers(1).build().unwrap();
    let (tell, told) = mpsc::channel();
    let parked = runtime.spawn(move || {
        let inner = roving::spawn(|| roving::blocking(|| 5));
        tell.send(inner.join().unwrap()).unwrap();
        thread::park();
    });
    assert_eq!(told.recv().unwrap(), 5);
    runtime.shutdown();
    assert!(parked.join().unwrap_err().is::<Cancelled>());
}

/// In a process of its own, which the overflow ends.
#[test]
fn where_it_was_used_is_reported_with_an_overflow() {
    let name = "where_it_was_used_is_reported_with_an_overflow";
    fn overflow(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 64]);
        match depth {
            0 => 0,
            _ => overflow(depth - 1) + frame[0],
        }
    }
    if is_child(name) {
        let deep = go!(name = "deep", || overflow(u64::MAX));
        let _ = deep.join();
        return;
    }
    uses_global_runtime();
    let _watchdog = watchdog("");
    let output = child(name).output().unwrap();
    let printed = printed(&output);
    assert!(!output.status.success());
    assert!(printed.contains("green thread 'deep'"), "{printed}");
    assert!(printed.contains("tests/go_macro.rs"), "{printed}");
}
