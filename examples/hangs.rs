//! The four commonest ways in which a program hangs, and the dump that tells of each why.
//!
//! `hangs deadlock`, `hangs leak`, `hangs loop` and `hangs blocked` show one; without an argument it shows all. Here
//! the program itself takes the dump, and then helps itself out. One that does not is asked from outside:
//!
//! ```text
//! ROVING_DUMP=quit target/release/my-program &
//! kill -QUIT $!
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roving::sync::{Mutex, PoisonError};
use roving::thread::{self, JoinHandle};
use roving::{Builder, Runtime, go};

/// Two threads take two locks, each in an order of its own.
fn deadlock() {
    let accounts = Arc::new((Mutex::new(100), Mutex::new(100)));
    let one = accounts.clone();
    let pays = go!(name = "pays", move || {
        let mut from = one.0.lock().unwrap_or_else(PoisonError::into_inner);
        thread::sleep(Duration::from_millis(10));
        *one.1.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        *from -= 1;
    });
    let refunds = go!(name = "refunds", move || {
        let mut from = accounts.1.lock().unwrap_or_else(PoisonError::into_inner);
        thread::sleep(Duration::from_millis(10));
        *accounts.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        *from -= 1;
    });
    show("two mutexes in the wrong order");
    // By then the runtime has told it by itself, on standard error.
    std::thread::sleep(Duration::from_millis(2500));
    let threads = [pays, refunds];
    threads.iter().for_each(JoinHandle::cancel);
    for thread in threads {
        let _ = thread.join();
    }
}

/// Nobody unparks a thread, or has what could.
fn leak() {
    let waits = go!(name = "waits for ever", wait_for_news);
    show("a park that was forgotten");
    waits.thread().unpark();
    waits.join().unwrap();
}

fn wait_for_news() {
    thread::park();
}

/// A thread computes and never ends.
fn in_a_loop() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let computes = go!(name = "computes", || {
        while !STOP.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    });
    show("a worker in a loop");
    STOP.store(true, Ordering::Relaxed);
    computes.join().unwrap();
}

/// A thread calls what blocks its OS thread.
fn blocked() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let waits = go!(name = "waits in std", move || receiver.recv());
    show("a blocking call of std");
    sender.send(()).unwrap();
    waits.join().unwrap().unwrap();
}

fn show(what: &str) {
    // For all to be where they hang.
    std::thread::sleep(Duration::from_millis(100));
    println!("== {what}\n\n{}", roving::dump());
}

fn main() -> std::io::Result<()> {
    let runtime: Runtime = Builder::new().workers(2).build()?;
    let which = std::env::args().nth(1);
    let all: [(&str, fn()); 4] = [
        ("deadlock", deadlock),
        ("leak", leak),
        ("loop", in_a_loop),
        ("blocked", blocked),
    ];
    for (name, hang) in all {
        if which.as_ref().is_none_or(|which| which == name) {
            runtime.run(hang);
        }
    }
    Ok(())
}
