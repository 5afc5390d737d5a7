//! Sockets are served whatever else the runtime is made to do. Each test ends only if they are.
//!
//! - beside some that yield for ever, and a pair that wakes each other for ever
//! - beside one that computes for ever, with more than one worker
//! - a connection that always has more data starves no other

mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{
    beside_one_that_computes, connection, each_plural_worker_count, each_worker_count,
    on_each_worker_count,
};
use roving::{Runtime, go, thread};

/// A conversation between two green threads, with a deadline that does not come.
fn converse() {
    let (mut one, mut other) = connection();
    one.set_read_timeout(Some(Duration::from_secs(3600)))
        .unwrap();
    let echoes = go!(move || {
        let mut byte = [0];
        while other.read(&mut byte).unwrap() == 1 {
            other.write_all(&byte).unwrap();
        }
    });
    for n in 0..20 {
        one.write_all(&[n]).unwrap();
        let mut byte = [0];
        one.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [n]);
        thread::sleep(Duration::from_micros(10));
    }
    drop(one);
    echoes.join().unwrap();
}

fn converse_while(runtime: &Runtime, others: Vec<Box<dyn Fn() + Send + 'static>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = others
        .into_iter()
        .map(|step| {
            let stop = stop.clone();
            runtime.spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    step();
                }
            })
        })
        .collect();
    let conversations: Vec<_> = (0..3).map(|_| runtime.spawn(converse)).collect();
    conversations.into_iter().for_each(|c| c.join().unwrap());
    stop.store(true, Ordering::Release);
    for other in others {
        other.thread().unpark();
        other.join().unwrap();
    }
}

#[test]
fn beside_some_that_yield_for_ever() {
    each_worker_count(|runtime| {
        let yielders = (0..2 * runtime.workers())
            .map(|_| Box::new(thread::yield_now) as Box<dyn Fn() + Send>)
            .collect();
        converse_while(runtime, yielders);
    });
}

#[test]
fn beside_some_that_wake_each_other_for_ever() {
    each_worker_count(|runtime| {
        let wakers = (0..2 * runtime.workers())
            .map(|_| {
                Box::new(|| {
                    let main = thread::current();
                    go!(move || main.unpark());
                    thread::park();
                }) as Box<dyn Fn() + Send>
            })
            .collect();
        converse_while(runtime, wakers);
    });
}

#[test]
fn beside_one_that_computes_for_ever() {
    each_plural_worker_count(|runtime| {
        for _ in 0..3 {
            // What starts now starts on another worker, and stays there.
            beside_one_that_computes(runtime, || converse_while(runtime, Vec::new()));
        }
    });
}

#[test]
fn beside_a_connection_that_always_has_more() {
    on_each_worker_count(|| {
        let (mut source, mut sink) = connection();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let floods = go!(move || {
            while !seen.load(Ordering::Acquire) {
                source.write_all(&[1; 100_000]).unwrap();
            }
        });
        let drains = go!(move || {
            let mut buffer = [0; 10_000];
            while sink.read(&mut buffer).unwrap() > 0 {}
        });
        converse();
        stop.store(true, Ordering::Release);
        floods.join().unwrap();
        drains.join().unwrap();
    });
}
