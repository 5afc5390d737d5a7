//! What `Thread::state` tells of a thread: that it runs, waits to run, or waits, and why.

mod common;

use std::fmt;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{
    beside_one_that_computes, beside_some_that_yield, compute_until, each_worker_count,
    lone_worker, on_each_mode, stacks_returned, watchdog,
};
use roving_scheduler::channel::bounded;
use roving_scheduler::sync::{Barrier, Condvar, Mutex, Notify, Once, RwLock, Semaphore};
use roving_scheduler::thread::{self, JoinHandle, Parked, State, Thread};
use roving_scheduler::wait::{self, Why};

/// Waits until the thread is parked, and tells how.
fn parked(thread: &Thread) -> Parked {
    loop {
        match thread.state() {
            State::Parked(parked) => return parked,
            State::Ended => panic!("it has ended"),
            _ => thread::yield_now(),
        }
    }
}

/// What somebody says who waits in `wait`, who is cancelled then.
fn told<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> String {
    let waits = thread::spawn(wait);
    let told = parked(waits.thread());
    assert!(told.place().unwrap().file().ends_with("state.rs"), "{told}");
    waits.cancel();
    let _ = waits.join();
    told.why().to_owned()
}

#[test]
fn each_wait_tells_what_it_is_for() {
    on_each_mode(|| {
        assert_eq!(told(|| thread::sleep(Duration::MAX)), "sleep");
        assert_eq!(told(thread_park), "park");
        let (sender, receiver) = bounded::<u32>(1);
        let others = [sender.clone(), sender];
        assert_eq!(
            told(move || receiver.recv()),
            "recv on a channel with 2 senders"
        );
        drop(others);
        let (sender, receiver) = bounded::<u32>(0);
        assert_eq!(
            told(move || sender.send(1)),
            "send on a channel with 1 receiver"
        );
        drop(receiver);
        assert!(told(|| Notify::new().wait()).starts_with("notification of Notify"));
        assert!(told(|| drop(Semaphore::new(0).acquire())).starts_with("permits of Semaphore"));
        assert!(told(|| Barrier::new(2).wait()).starts_with("the others at Barrier"));
        let never = || {
            let (mutex, condvar) = (Mutex::new(()), Condvar::new());
            drop(condvar.wait(mutex.lock().unwrap()));
        };
        assert!(told(never).starts_with("notification of Condvar"));
        let sleeps = || {
            thread::Builder::new()
                .name("sleeper".to_owned())
                .spawn(|| thread::sleep(Duration::MAX))
                .unwrap()
        };
        let joins = told(move || sleeps().join());
        assert!(
            joins.starts_with("join of thread ") && joins.ends_with("\"sleeper\""),
            "{joins}"
        );
        assert_eq!(
            told(|| roving_scheduler::block_on(std::future::pending::<()>())),
            "block_on of a future"
        );
    });
}

/// A program may have reasons of its own.
#[test]
fn a_reason_that_fails_or_panics_is_told_as_far_as_it_goes() {
    struct Fails;
    impl Why for Fails {
        fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half of it")?;
            Err(fmt::Error)
        }
    }
    struct Panics;
    impl Why for Panics {
        fn describe(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic::resume_unwind(Box::new("no reason"))
        }
    }
    on_each_mode(|| {
        let fails = || wait::begin().why(&Fails).block(None);
        assert_eq!(told(fails), "half of it");
        let panics = || wait::begin().why(&Panics).block(None);
        assert_eq!(told(panics), "a wait whose reason panics");
    });
}

fn thread_park() {
    thread::park();
}

/// Spawns one who waits for what is held, and tells why it waits.
fn of_lock<T: Send + 'static>(
    wait: impl FnOnce() -> T + Send + 'static,
) -> (Parked, JoinHandle<T>) {
    let waits = thread::spawn(wait);
    (parked(waits.thread()), waits)
}

#[test]
fn who_waits_for_a_lock_knows_where_it_was_taken() {
    on_each_mode(|| {
        let mutex = Arc::new(Mutex::new(7_u32));
        let (held, line) = (mutex.lock().unwrap(), line!());
        let other = mutex.clone();
        let (told, waits) = of_lock(move || drop(other.lock().unwrap()));
        assert!(told.why().starts_with("lock of Mutex<u32> at 0x"), "{told}");
        assert_eq!(told.taken_at().unwrap().line(), line);
        drop(held);
        waits.join().unwrap();

        let lock = Arc::new(RwLock::new(7_u32));
        let (held, line) = (lock.write().unwrap(), line!());
        let other = lock.clone();
        let (told, waits) = of_lock(move || drop(other.read().unwrap()));
        assert!(
            told.why().starts_with("read lock of RwLock<u32> at 0x"),
            "{told}"
        );
        assert_eq!(told.taken_at().unwrap().line(), line);
        drop(held);
        waits.join().unwrap();
        let held = lock.read().unwrap();
        let other = lock.clone();
        let (told, waits) = of_lock(move || drop(other.write().unwrap()));
        assert!(told.why().ends_with(", which one reads"), "{told}");
        assert_eq!(told.taken_at(), None);
        drop(held);
        waits.join().unwrap();
    });
}

#[test]
fn who_waits_for_a_once_knows_where_it_was_called() {
    on_each_mode(|| {
        let (once, let_go) = (Arc::new(Once::new()), Arc::new(Notify::new()));
        let (runs, goes) = (once.clone(), let_go.clone());
        let runs = thread::spawn(move || runs.call_once(|| goes.wait()));
        parked(runs.thread());
        let other = once.clone();
        let (told, waits) = of_lock(move || other.call_once(|| ()));
        assert!(
            told.why().starts_with("the closure of Once at 0x"),
            "{told}"
        );
        assert!(told.taken_at().is_some());
        let_go.notify_one();
        runs.join().unwrap();
        waits.join().unwrap();
    });
}

#[test]
fn a_deadline_tells_how_much_is_left_and_how_long_it_took() {
    on_each_mode(|| {
        let hour = Duration::from_secs(3600);
        let sleeps = thread::spawn(move || thread::sleep_until(Instant::now() + hour));
        parked(sleeps.thread());
        let start = Instant::now();
        thread::sleep(Duration::from_millis(20));
        let told = parked(sleeps.thread());
        let left = told.left().unwrap();
        assert!(left < hour && left > hour / 2, "{told}");
        if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            let elapsed = told.elapsed().unwrap();
            assert!(
                elapsed > Duration::from_millis(10) && elapsed < hour,
                "{elapsed:?} {:?}",
                start.elapsed()
            );
        }
        sleeps.cancel();
        assert!(sleeps.join().is_err());
    });
}

#[test]
fn running_and_ended_threads_say_so() {
    each_worker_count(|runtime| {
        let (stop, started) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (seen, starts) = (stop.clone(), started.clone());
        let computes = runtime.spawn(move || {
            starts.store(true, Ordering::Release);
            compute_until(&seen);
        });
        while !started.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        assert!(matches!(computes.thread().state(), State::Running(..)));
        stop.store(true, Ordering::Release);
        let thread = computes.thread().clone();
        computes.join().unwrap();
        assert_eq!(thread.state(), State::Ended);
        let itself = runtime.run(|| thread::current().state());
        assert!(matches!(itself, State::Running(..)), "{itself}");
    });
}

#[test]
fn one_that_waits_for_a_worker_is_runnable() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let runtime = lone_worker();
    beside_one_that_computes(&runtime, || {
        let waits = runtime.spawn(|| ());
        assert_eq!(waits.thread().state(), State::Runnable);
    });
    runtime.shutdown();
}

/// Threads that are held when their waits end go on all the same.
#[test]
fn to_ask_changes_nothing() {
    each_worker_count(|runtime| {
        let (sender, receiver) = bounded::<u32>(0);
        let (begin, begun) = bounded(1);
        let sends = runtime.spawn(move || {
            begun.recv().unwrap();
            (0..2000).try_for_each(|n| sender.send(n)).unwrap();
        });
        let receives = runtime.spawn(move || receiver.iter().map(u64::from).sum::<u64>());
        let threads = [sends.thread().clone(), receives.thread().clone()];
        let done = Arc::new(AtomicBool::new(false));
        let seen = done.clone();
        let asks = std::thread::spawn(move || {
            let ask = || {
                for thread in &threads {
                    let _ = thread.state().to_string();
                }
            };
            ask();
            begin.send(()).unwrap();
            while !seen.load(Ordering::Acquire) {
                ask();
            }
        });
        beside_some_that_yield(runtime, || {
            sends.join().unwrap();
            assert_eq!(receives.join().unwrap(), 1999 * 1000);
        });
        done.store(true, Ordering::Release);
        asks.join().unwrap();
    });
}
