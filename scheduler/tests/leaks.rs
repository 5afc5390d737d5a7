//! Threads that nothing can ever wake are told of, and no others.

mod common;

use std::future::{Future, pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use common::on_each_mode;
use roving_scheduler::sync::{Condvar, Mutex, Notify, Semaphore, oneshot};
use roving_scheduler::wait::{self, Ticket};
use roving_scheduler::{CancelToken, Handle, block_on, channel, deadline, thread};

/// What is said of the leaks, when there are so many.
fn leaks(count: usize) -> Vec<String> {
    loop {
        let leaks = Handle::current().unwrap().leaks();
        assert!(leaks.len() <= count, "{leaks:?}");
        if leaks.len() == count {
            return leaks.iter().map(ToString::to_string).collect();
        }
        // One that is about to park, or to let go of a reference.
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `leaks_one` on a thread of which nobody has anything, and checks what is said of it.
fn is_told(name: &str, leaks_one: impl FnOnce() + Send + 'static, why: &str) {
    let before = leaks_of_now();
    let leaker = thread::Builder::new().name(name.to_owned());
    drop(leaker.spawn(leaks_one).unwrap());
    let told = leaks(before + 1);
    let this = told.iter().find(|leak| leak.contains(&format!("{name:?}")));
    let this = this.unwrap_or_else(|| panic!("{name} is not among {told:?}"));
    assert!(this.contains(why) && this.contains("leaks.rs"), "{this}");
}

fn leaks_of_now() -> usize {
    Handle::current().unwrap().leaks().len()
}

/// A future that is pending once it has given its waker to `keep`.
fn waits(mut keep: impl FnMut(&std::task::Waker)) -> impl Future<Output = ()> {
    poll_fn(move |context| {
        keep(context.waker());
        Poll::Pending
    })
}

#[test]
fn what_nobody_has_is_leaked() {
    on_each_mode(|| {
        is_told("parks", || thread::park(), "park");
        is_told(
            "has lost its ticket",
            || {
                let wait = wait::begin();
                drop(wait.ticket());
                wait.block(None);
            },
            "a wait",
        );
        is_told(
            "its ticket went with a thread",
            || {
                let wait = wait::begin();
                let ticket = wait.ticket();
                drop(thread::spawn(move || drop(ticket)));
                wait.why(&"news").block(None);
            },
            "news",
        );
        is_told(
            "its ticket went with a channel",
            || {
                let wait = wait::begin();
                let (sender, receiver) = channel::unbounded::<Ticket>();
                sender.send(wait.ticket()).unwrap();
                drop((sender, receiver));
                wait.block(None);
            },
            "a wait",
        );
        is_told("waits for a future", || block_on(pending()), "block_on");
        is_told(
            "its waker was dropped",
            || block_on(waits(|waker| drop(waker.clone()))),
            "block_on",
        );
        is_told(
            "its waker went with a thread",
            || {
                block_on(waits(|waker| {
                    let waker = waker.clone();
                    drop(thread::spawn(move || drop(waker)));
                }));
            },
            "block_on",
        );
        let dump = roving_scheduler::dump();
        assert!(dump.leaked() >= 7, "{dump}");
        assert!(
            dump.to_string()
                .contains("threads wait for what can never come:"),
            "{dump}"
        );
    });
}

#[test]
fn the_last_reference_keeps_it() {
    on_each_mode(|| {
        let parked = thread::spawn(thread::park);
        let reference = parked.thread().clone();
        drop(parked);
        for _ in 0..20 {
            assert_eq!(leaks_of_now(), 0);
            thread::sleep(Duration::from_millis(1));
        }
        drop(reference);
        leaks(1);
    });
}

/// What looks like a leak and is none, or may be none.
#[test]
fn what_may_be_woken_is_not_leaked() {
    on_each_mode(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let (mutex, changed) = (Arc::new(Mutex::new(false)), Arc::new(Condvar::new()));
        let (notify, permits) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
        let (keeps_open, receiver) = channel::unbounded::<()>();
        let (answers, answer) = oneshot::channel::<()>();
        let token = CancelToken::new();
        let mut threads = Vec::new();
        let mut add = |body: Box<dyn FnOnce() + Send>| {
            let (done, is_done) = channel::bounded(1);
            drop(thread::spawn(move || {
                body();
                let _ = done.send(());
            }));
            threads.push(is_done);
        };
        let flag = stop.clone();
        add(Box::new(move || {
            while !flag.load(Ordering::Acquire) {
                thread::park_timeout(Duration::from_millis(1));
            }
        }));
        add(Box::new(move || {
            assert!(deadline(Duration::from_millis(30), thread::park).is_err());
        }));
        add(Box::new(move || assert!(receiver.recv().is_err())));
        add(Box::new(move || assert!(answer.recv().is_err())));
        let (theirs, change) = (mutex.clone(), changed.clone());
        add(Box::new(move || {
            let mut may_end = theirs.lock().unwrap();
            while !*may_end {
                may_end = change.wait(may_end).unwrap();
            }
        }));
        let theirs = notify.clone();
        add(Box::new(move || theirs.wait()));
        let theirs = permits.clone();
        add(Box::new(move || drop(theirs.acquire())));
        let theirs = token.clone();
        add(Box::new(move || assert!(theirs.run(thread::park).is_err())));
        let theirs = token.clone();
        add(Box::new(move || theirs.wait()));
        let flag = stop.clone();
        add(Box::new(move || {
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !flag.load(Ordering::Acquire) {
                        thread::sleep(Duration::from_millis(1));
                    }
                });
            });
        }));
        let flag = stop.clone();
        add(Box::new(move || {
            let inner = thread::spawn(move || {
                while !flag.load(Ordering::Acquire) {
                    thread::yield_now();
                    thread::sleep(Duration::from_millis(1));
                }
            });
            inner.join().unwrap();
        }));
        for _ in 0..50 {
            assert_eq!(leaks_of_now(), 0);
            thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::Release);
        *mutex.lock().unwrap() = true;
        changed.notify_all();
        notify.notify_one();
        permits.add_permits(1);
        drop((keeps_open, answers));
        token.cancel();
        for is_done in threads {
            let _ended = is_done.recv();
        }
    });
}

#[test]
fn what_lasts_on_purpose_is_not_leaked() {
    on_each_mode(|| {
        let token = CancelToken::new();
        drop(thread::spawn(|| thread::sleep(Duration::MAX)));
        drop(thread::spawn(|| channel::never::<()>().recv()));
        for _ in 0..20 {
            assert_eq!(leaks_of_now(), 0);
            thread::sleep(Duration::from_millis(1));
        }
        token.cancel();
    });
}

/// Threads are asked about, all the time, while they wake one another.
#[test]
fn no_false_alarm_in_a_storm() {
    on_each_mode(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let asks = {
            let stop = stop.clone();
            thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    let leaks = Handle::current().unwrap().leaks();
                    assert!(leaks.is_empty(), "{leaks:?}");
                    thread::yield_now();
                }
            })
        };
        let pairs: Vec<_> = (0..20)
            .map(|_| {
                thread::spawn(|| {
                    for _ in 0..100 {
                        // The last reference goes with the wake-up.
                        let wait = wait::begin();
                        let ticket = wait.ticket();
                        drop(thread::spawn(move || ticket.fire()));
                        wait.block(None);
                        let me = thread::current();
                        drop(thread::spawn(move || me.unpark()));
                        thread::park();
                        let mut woken = false;
                        block_on(poll_fn(|context| {
                            if std::mem::replace(&mut woken, true) {
                                return Poll::Ready(());
                            }
                            let waker = context.waker().clone();
                            drop(thread::spawn(move || waker.wake()));
                            Poll::Pending
                        }));
                    }
                })
            })
            .collect();
        for pair in pairs {
            pair.join().unwrap();
        }
        stop.store(true, Ordering::Release);
        asks.join().unwrap();
    });
}
