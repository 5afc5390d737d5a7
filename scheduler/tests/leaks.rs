//! Threads that nothing can ever wake are told of, and no others.

mod common;

use std::future::{Future, pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use common::on_each_mode;
use roving_scheduler::sync::{Condvar, Mutex, Notify, Once, OnceLock, RwLock, Semaphore, oneshot};
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

/// Runs `leaks_one` on a thread of which nobody has anything, and checks what is said of it, and of the `leaked` before.
///
/// These are counted and not asked for: a look that is under way has references of its own, so there may be
/// fewer leaks than there will be.
fn is_told(leaked: &mut usize, name: &str, leaks_one: impl FnOnce() + Send + 'static, why: &str) {
    let leaker = thread::Builder::new().name(name.to_owned());
    drop(leaker.spawn(leaks_one).unwrap());
    *leaked += 1;
    let told = leaks(*leaked);
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
        let mut leaked = 0;
        is_told(&mut leaked, "parks", || thread::park(), "park");
        is_told(
            &mut leaked,
            "has lost its ticket",
            || {
                let wait = wait::begin();
                drop(wait.ticket());
                wait.block(None);
            },
            "a wait",
        );
        is_told(
            &mut leaked,
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
            &mut leaked,
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
        is_told(
            &mut leaked,
            "waits for a future",
            || block_on(pending()),
            "block_on",
        );
        is_told(
            &mut leaked,
            "its waker was dropped",
            || block_on(waits(|waker| drop(waker.clone()))),
            "block_on",
        );
        is_told(
            &mut leaked,
            "its waker went with a thread",
            || {
                block_on(waits(|waker| {
                    let waker = waker.clone();
                    drop(thread::spawn(move || drop(waker)));
                }));
            },
            "block_on",
        );
        let dump = loop {
            let dump = roving_scheduler::dump();
            if dump.leaked() >= leaked {
                break dump;
            }
            thread::sleep(Duration::from_millis(1));
        };
        assert!(
            dump.to_string()
                .contains("threads wait for what can never come:"),
            "{dump}"
        );
    });
}

/// Waits for ever, with what was taken before.
fn forget<T>(_kept: T) {
    thread::park();
}

/// Begins something that leaks threads of these names beside those `leaked` before, and checks what is said of them.
fn are_told(leaked: &mut usize, names: &[&str], begin: impl FnOnce(), why: &str) {
    begin();
    *leaked += names.len();
    let told = leaks(*leaked);
    for name in names {
        let mut told = told.iter();
        let is_this = |leak: &&String| leak.contains(&format!("{name:?}")) && leak.contains(why);
        assert!(told.any(|leak| is_this(&leak)), "{name}: {told:?}");
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(body).unwrap()
}

#[test]
fn who_waits_for_one_that_is_leaked_is_leaked() {
    on_each_mode(|| {
        let mut leaked = 0;
        are_told(
            &mut leaked,
            &["joins", "joins the first", "joins the second"],
            || {
                let parks = spawn("joins", thread::park);
                let first = spawn("joins the first", move || parks.join().unwrap());
                drop(spawn("joins the second", move || first.join().unwrap()));
            },
            "",
        );
        let mutex = Arc::new(Mutex::new(0));
        are_told(
            &mut leaked,
            &["keeps a mutex", "wants it", "wants it too"],
            || {
                let theirs = mutex.clone();
                drop(spawn("keeps a mutex", move || {
                    forget(theirs.lock().unwrap())
                }));
                while mutex.try_lock().is_ok() {
                    thread::yield_now();
                }
                for name in ["wants it", "wants it too"] {
                    let theirs = mutex.clone();
                    drop(spawn(name, move || drop(theirs.lock())));
                }
            },
            "",
        );
        let lock = Arc::new(RwLock::new(0));
        are_told(
            &mut leaked,
            &["writes", "wants to read", "wants to write"],
            || {
                let theirs = lock.clone();
                drop(spawn("writes", move || forget(theirs.write().unwrap())));
                while lock.try_write().is_ok() {
                    thread::yield_now();
                }
                let theirs = lock.clone();
                drop(spawn("wants to read", move || drop(theirs.read())));
                let theirs = lock.clone();
                drop(spawn("wants to write", move || drop(theirs.write())));
            },
            "",
        );
        let once = Arc::new(Once::new());
        are_told(
            &mut leaked,
            &["begins", "waits for the end"],
            || {
                let (began, begins) = channel::bounded(1);
                let theirs = once.clone();
                drop(spawn("begins", move || {
                    theirs.call_once(|| {
                        began.send(()).unwrap();
                        thread::park();
                    });
                }));
                begins.recv().unwrap();
                let theirs = once.clone();
                drop(spawn("waits for the end", move || theirs.wait()));
            },
            "",
        );
        let value = Arc::new(OnceLock::new());
        are_told(
            &mut leaked,
            &["makes", "wants the value"],
            || {
                let (began, begins) = channel::bounded(1);
                let theirs = value.clone();
                drop(spawn("makes", move || {
                    theirs.get_or_init(|| {
                        began.send(()).unwrap();
                        thread::park();
                    });
                }));
                begins.recv().unwrap();
                let theirs = value.clone();
                drop(spawn("wants the value", move || {
                    theirs.get_or_init(|| ());
                }));
            },
            "",
        );
    });
}

#[test]
fn those_that_wait_for_one_another_are_leaked() {
    on_each_mode(|| {
        let mut leaked = 0;
        are_told(
            &mut leaked,
            &["joins its joiner", "is joined by whom it joins"],
            || {
                let (gives, given) = oneshot::channel::<thread::JoinHandle<()>>();
                let one = spawn("joins its joiner", move || {
                    given.recv().unwrap().join().unwrap()
                });
                let other = spawn("is joined by whom it joins", move || one.join().unwrap());
                gives.send(other).unwrap();
            },
            "join of thread",
        );
        are_told(
            &mut leaked,
            &["from the left", "from the right"],
            || {
                let locks = Arc::new((Mutex::new(()), Mutex::new(())));
                let (here, there) = (channel::bounded(0), channel::bounded(0));
                let (first, meet) = (locks.clone(), (here.0, there.1));
                drop(spawn("from the left", move || {
                    let _left = first.0.lock().unwrap();
                    meet.0.send(()).unwrap();
                    meet.1.recv().unwrap();
                    let _right = first.1.lock().unwrap();
                }));
                let meet = (there.0, here.1);
                drop(spawn("from the right", move || {
                    let _right = locks.1.lock().unwrap();
                    meet.1.recv().unwrap();
                    meet.0.send(()).unwrap();
                    let _left = locks.0.lock().unwrap();
                }));
            },
            "lock of Mutex",
        );
    });
}

/// Whoever has a reference to one of a chain may wake it, and with it the others.
#[test]
fn a_reference_to_one_keeps_those_before_it() {
    on_each_mode(|| {
        let parks = spawn("parks", thread::park);
        let first = spawn("joins", move || parks.join().unwrap());
        let reference = first.thread().clone();
        drop(spawn("joins the one that joins", move || {
            first.join().unwrap()
        }));
        for _ in 0..20 {
            assert_eq!(leaks_of_now(), 0);
            thread::sleep(Duration::from_millis(1));
        }
        drop(reference);
        leaks(3);
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
                        let (lock, theirs) = (Arc::new(Mutex::new(())), Arc::new(Once::new()));
                        let (other, once) = (lock.clone(), theirs.clone());
                        let takes = thread::spawn(move || {
                            let _taken = other.lock();
                            thread::yield_now();
                            once.call_once(thread::yield_now);
                        });
                        drop(lock.lock());
                        theirs.call_once(thread::yield_now);
                        let joins = thread::spawn(move || takes.join().unwrap());
                        joins.join().unwrap();
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
