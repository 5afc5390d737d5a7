//! A panic about a misuse names the place in the program where that was done.

mod common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{on_each_worker_count, runtime};
use roving_scheduler::channel::{self, Select};
use roving_scheduler::sync::{self, LazyLock, Once, OnceLock, RwLock, Semaphore, broadcast};
use roving_scheduler::thread::Builder;
use roving_scheduler::{Group, thread, time, wait};

/// A misuse, on one line, and what is said of it.
struct Misuse {
    line: u32,
    says: &'static str,
    commit: fn(),
}

macro_rules! misuse {
    ($says:literal, $misuse:expr) => {
        Misuse {
            line: line!(),
            says: $says,
            commit: || {
                let _unused = $misuse;
            },
        }
    };
}

fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn poisoned() -> Once {
    let once = Once::new();
    let panics = || once.call_once(|| panic::resume_unwind(Box::new(())));
    assert!(panic::catch_unwind(panics).is_err());
    once
}

fn broken() -> LazyLock<u8> {
    let lazy: LazyLock<u8> = LazyLock::new(|| panic::resume_unwind(Box::new(())));
    assert!(panic::catch_unwind(|| *lazy).is_err());
    lazy
}

fn nul() -> Builder {
    Builder::new().name("a\0b".to_owned())
}

fn ended() -> roving_scheduler::Handle {
    runtime(1).handle()
}

/// Lets a thread join itself.
fn join_itself(join: fn(thread::JoinHandle<()>)) {
    let (give, given) = channel::bounded(1);
    let itself = thread::spawn(move || join(given.recv().unwrap()));
    give.send(itself).unwrap();
    while SEEN.lock().unwrap().is_none() {
        thread::yield_now();
    }
}

/// Where the last panic was, and what it said.
static SEEN: Mutex<Option<(String, u32, String)>> = Mutex::new(None);

#[rustfmt::skip]
fn misuses() -> Vec<Misuse> {
    let mut all = Vec::from([
        misuse!("previously been poisoned", poisoned().call_once(|| ())),
        misuse!("previously been poisoned", poisoned().wait()),
        misuse!("previously been poisoned", *broken()),
        misuse!("previously been poisoned", *LazyLock::force(&broken())),
        misuse!("at most usize::MAX permits", Semaphore::new(usize::MAX).add_permits(1)),
        misuse!("capacity of a broadcast channel must not be 0", broadcast::channel::<u8>(0)),
        misuse!("period of an interval must not be 0", time::interval(Duration::ZERO)),
        misuse!("period of an interval must not be 0", time::interval_at(Instant::now(), Duration::ZERO)),
        misuse!("limit of a group must not be 0", Group::new().limit(0)),
        misuse!("interior null bytes", nul().spawn(|| ())),
        misuse!("interior null bytes", thread::scope(|scope| drop(nul().spawn_scoped(scope, || ())))),
        misuse!("failed to spawn a green thread: the runtime has been shut down; spawn before that, or on another runtime", ended().spawn(|| ())),
        misuse!("a scoped thread panicked", thread::scope(|scope| drop(scope.spawn(|| panic::resume_unwind(Box::new(())))))),
        misuse!("cannot join itself", join_itself(|itself| itself.join().unwrap())),
        misuse!("no operations have been added", Select::new().select()),
        misuse!("no operations have been added", Select::new().ready()),
        misuse!("index out of bounds", Select::new().remove(0)),
        misuse!("a sender that wasn't selected", select_another(|selected, sender, _| { let _ = selected.send(sender, 1); })),
        misuse!("a receiver that wasn't selected", select_another(|selected, _, receiver| { let _ = selected.recv(receiver); })),
        misuse!("another was begun", { let outer = wait::begin(); let _inner = wait::begin(); outer.block(None) }),
    ]);
    if cfg!(debug_assertions) {
        all.extend([
            misuse!("holds the lock already", { let mutex = sync::Mutex::new(1); let _held = mutex.lock(); *mutex.lock().unwrap() }),
            misuse!("holds the lock for writing already", { let lock = RwLock::new(1); let _held = lock.write(); *lock.read().unwrap() }),
            misuse!("holds the lock for writing already", { let lock = RwLock::new(1); let _held = lock.write(); *lock.write().unwrap() }),
            misuse!("runs the closure already", { let once = leaked(Once::new()); once.call_once(|| once.call_once(|| ())) }),
            misuse!("runs the closure already", { let once = leaked(Once::new()); once.call_once(|| once.wait()) }),
            misuse!("runs the closure already", { let cell = leaked(OnceLock::new()); *cell.get_or_init(|| *cell.get_or_init(|| 1)) }),
            misuse!("runs the closure already", { let cell = leaked(OnceLock::<u8>::new()); *cell.get_or_init(|| *cell.wait()) }),
        ]);
    }
    all
}

/// Selects, and completes the operation with what was not selected.
fn select_another(
    complete: fn(channel::SelectedOperation<'_>, &channel::Sender<u8>, &channel::Receiver<u8>),
) {
    let (sender, receiver) = channel::bounded::<u8>(1);
    let mut select = Select::new();
    select.send(&sender);
    let (other_sender, other_receiver) = channel::bounded(1);
    complete(select.select(), &other_sender, &other_receiver);
    drop(receiver);
}

#[test]
fn the_place_is_the_callers() {
    panic::set_hook(Box::new(|info| {
        let location = info.location().unwrap();
        let says = info.payload_as_str().unwrap_or("no text").to_owned();
        let mut seen = SEEN.lock().unwrap();
        // What comes of it later says less.
        seen.get_or_insert((location.file().to_owned(), location.line(), says));
    }));
    let all = || {
        let mut wrong = Vec::new();
        for Misuse { line, says, commit } in misuses() {
            SEEN.lock().unwrap().take();
            let _panics = panic::catch_unwind(AssertUnwindSafe(commit));
            let seen = SEEN.lock().unwrap().take();
            let (file, seen_line, said) = seen.unwrap_or_else(|| panic!("nothing is said: {says}"));
            if !said.contains(says) || (file.as_str(), seen_line) != (file!(), line) {
                wrong.push(format!(
                    "line {line}: {says}\n    {file}:{seen_line}: {said}"
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    };
    let caught = panic::catch_unwind(|| on_each_worker_count(all));
    drop(panic::take_hook());
    if let Err(payload) = caught {
        panic!("{}", common::message(&*payload));
    }
}
