//! What std makes of threads, in a program that is adopted: all of it runs on the workers.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// How many threads the kernel knows in this process.
fn os_threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// More than there are workers, spares and threads of the test harness.
const MANY: usize = 300;

/// Adopts this program, and runs `body` on a thread of it.
fn adopted<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    roving_adopt::adopt().unwrap();
    thread::spawn(body).join().unwrap()
}

#[test]
fn threads_that_sleep_take_no_os_threads() {
    adopted(|| {
        let threads: Vec<_> = (0..MANY)
            .map(|n| {
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(50));
                    n
                })
            })
            .collect();
        assert!(os_threads() < MANY / 2, "{} OS threads", os_threads());
        let sum: usize = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        assert_eq!(sum, MANY * (MANY - 1) / 2);
    });
}

#[test]
fn a_barrier_of_many_opens() {
    adopted(|| {
        let barrier = Arc::new(Barrier::new(MANY));
        let waits = || {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait().is_leader())
        };
        let threads: Vec<_> = (0..MANY).map(|_| waits()).collect();
        let leaders = threads
            .into_iter()
            .filter(|_| true)
            .map(|thread| thread.join().unwrap());
        assert_eq!(leaders.filter(|&leads| leads).count(), 1);
    });
}

#[test]
fn locks_exclude_threads_of_both_kinds() {
    roving_adopt::adopt().unwrap();
    let counters = Arc::new((Mutex::new(0), RwLock::new(0)));
    let counts = {
        let counters = counters.clone();
        move || {
            for _ in 0..1000 {
                let mut counter = counters.0.lock().unwrap();
                let seen = *counter;
                thread::yield_now();
                *counter = seen + 1;
                drop(counter);
                assert!(*counters.1.read().unwrap() <= 1000 * 9);
                *counters.1.write().unwrap() += 1;
            }
        }
    };
    let threads: Vec<_> = (0..8).map(|_| thread::spawn(counts.clone())).collect();
    // This one is an OS thread.
    counts();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(*counters.0.lock().unwrap(), 9000);
    assert_eq!(*counters.1.read().unwrap(), 9000);
}

#[test]
fn a_condition_variable_wakes_threads_of_both_kinds() {
    roving_adopt::adopt().unwrap();
    let turn = Arc::new((Mutex::new(0), Condvar::new()));
    let takes_turns = |turn: &(Mutex<u32>, Condvar), mine: u32| {
        for _ in 0..300 {
            let mut now = turn.0.lock().unwrap();
            while *now % 3 != mine {
                now = turn.1.wait(now).unwrap();
            }
            *now += 1;
            turn.1.notify_all();
        }
    };
    let threads: Vec<_> = [1, 2]
        .map(|mine| {
            let turn = turn.clone();
            thread::spawn(move || takes_turns(&turn, mine))
        })
        .into();
    takes_turns(&turn, 0);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(*turn.0.lock().unwrap(), 900);
}

#[test]
fn a_wait_ends_in_time() {
    adopted(|| {
        let (_sender, receiver) = mpsc::channel::<()>();
        let begin = Instant::now();
        let soon = Duration::from_millis(20);
        assert_eq!(receiver.recv_timeout(soon), Err(RecvTimeoutError::Timeout));
        let lock = Mutex::new(());
        let guard = lock.lock().unwrap();
        let (_guard, result) = Condvar::new().wait_timeout(guard, soon).unwrap();
        assert!(result.timed_out());
        thread::park_timeout(soon);
        assert!(begin.elapsed() >= 3 * soon);
    });
}

#[test]
fn messages_come_in_order() {
    adopted(|| {
        let (sender, receiver) = mpsc::sync_channel(0);
        let sends = thread::spawn(move || (0..1000).for_each(|n| sender.send(n).unwrap()));
        assert!(receiver.iter().eq(0..1000));
        sends.join().unwrap();
    });
}

#[test]
fn what_is_made_once_is_made_once() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static LAZY: LazyLock<usize> = LazyLock::new(|| {
        thread::sleep(Duration::from_millis(10));
        MADE.fetch_add(1, Ordering::Relaxed)
    });
    static CELL: OnceLock<usize> = OnceLock::new();
    static ONCE: Once = Once::new();
    adopted(|| {
        let threads: Vec<_> = (0..MANY)
            .map(|_| {
                thread::spawn(|| {
                    ONCE.call_once(|| thread::sleep(Duration::from_millis(10)));
                    *LAZY + CELL.get_or_init(|| 0)
                })
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 0);
        }
        assert_eq!(MADE.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn each_has_thread_locals_a_name_and_an_id() {
    thread_local! {
        static OWN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }
    adopted(|| {
        let threads: Vec<_> = (0..MANY)
            .map(|n| {
                let named = thread::Builder::new().name(format!("number {n}"));
                named.spawn(move || {
                    OWN.with_borrow_mut(|own| {
                        own.push(n);
                        thread::sleep(Duration::from_millis(5));
                        own.push(n);
                    });
                    assert_eq!(OWN.take(), [n, n]);
                    let name = format!("number {n}");
                    assert_eq!(thread::current().name(), Some(&*name));
                    thread::current().id()
                })
            })
            .collect();
        let ids = threads
            .into_iter()
            .map(|thread| thread.unwrap().join().unwrap());
        assert_eq!(ids.collect::<HashSet<_>>().len(), MANY);
    });
}

#[test]
fn a_panic_is_joined() {
    adopted(|| {
        let panics = thread::spawn(|| -> () { panic!("of the thread") });
        let payload = panics.join().unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"of the thread"));
    });
}

#[test]
fn scopes_lend() {
    adopted(|| {
        let mut numbers = vec![0; MANY];
        thread::scope(|scope| {
            for (n, number) in numbers.iter_mut().enumerate() {
                scope.spawn(move || {
                    thread::sleep(Duration::from_millis(5));
                    *number = n;
                });
            }
        });
        assert!(numbers.into_iter().eq(0..MANY));
    });
}

#[test]
fn who_parks_is_unparked() {
    adopted(|| {
        let threads: Vec<_> = (0..MANY).map(|_| thread::spawn(thread::park)).collect();
        for thread in &threads {
            thread.thread().unpark();
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}
