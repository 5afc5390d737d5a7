//! What a dump tells of all green threads, and that taking one changes nothing.

mod common;

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{
    alone, beside_one_that_computes, compute_until, each_kind, each_worker_count, lone_worker,
    stacks_returned, wait_until_parked, watchdog,
};
use corosensei::stack::DefaultStack;
use roving_scheduler::channel::bounded;
use roving_scheduler::coroutine::Generator;
use roving_scheduler::sync::{Mutex, Notify};
use roving_scheduler::thread::{self, JoinHandle, State, Thread};
use roving_scheduler::{
    Builder, Runtime, ThreadLocals, block_on, blocking, dump, greenly, on_warm_stack, shield,
};

/// Runs `test` on a runtime of each size and mode.
fn each_mode(test: impl Fn(&Runtime)) {
    let _alone = alone();
    let kinds = |builder: Builder| {
        // SAFETY: nothing here uses a thread-local over a suspension, or keeps what is not `Send`.
        let shared = unsafe { builder.clone().shared_thread_locals() };
        [builder.clone(), builder.pinned_thread_locals(), shared]
    };
    each_kind(kinds, test);
}

/// Parks below two functions whose names are looked for.
#[inline(never)]
fn outer_of_two(event: &Notify) {
    inner_of_two(event);
    std::hint::black_box(());
}

#[inline(never)]
fn inner_of_two(event: &Notify) {
    event.wait();
    std::hint::black_box(());
}

/// The paragraph of a dump that has `mark` in it.
fn paragraph(dump: &str, mark: &str) -> String {
    let mut paragraphs = dump.split("\n\n");
    let found = paragraphs.find(|paragraph| paragraph.contains(mark));
    found
        .unwrap_or_else(|| panic!("{mark:?} is missing:\n{dump}"))
        .to_owned()
}

/// That the two functions are there, in their order, and nothing from behind the thread's beginning.
fn assert_has_frames(paragraph: &str) {
    let at = |name: &str| {
        let found = paragraph.find(name);
        found.unwrap_or_else(|| panic!("{name} is missing:\n{paragraph}"))
    };
    assert!(at("inner_of_two") < at("outer_of_two"), "{paragraph}");
    for stranger in ["Worker", "collect", "live", "Suspender"] {
        assert!(!paragraph.contains(stranger), "{stranger}:\n{paragraph}");
    }
}

#[test]
fn threads_that_do_the_same_are_told_of_together() {
    each_mode(|runtime| {
        let event = Arc::new(Notify::new());
        let waits = |_| {
            let event = event.clone();
            runtime.spawn(move || outer_of_two(&event))
        };
        let waiting: Vec<_> = (0..100).map(waits).collect();
        waiting
            .iter()
            .for_each(|waits| wait_until_parked(waits.thread()));
        let dump = dump();
        assert_eq!(dump.parked(), 100, "{dump}");
        let told = paragraph(&dump.to_string(), "inner_of_two");
        assert!(
            told.starts_with("100 threads parked, spawned at "),
            "{told}"
        );
        assert!(told.contains("notification of Notify at 0x"), "{told}");
        assert!(told.contains("  and 95 more\n"), "{told}");
        assert_has_frames(&told);
        event.notify_all();
        for waits in waiting {
            waits.join().unwrap();
        }
    });
}

#[test]
fn two_mutexes_in_the_wrong_order_are_seen_at_once() {
    each_mode(|runtime| {
        let locks = Arc::new((Mutex::new('a'), Mutex::new('b')));
        let (first, second) = (bounded::<()>(0), bounded::<()>(0));
        let (one, other) = (locks.clone(), locks);
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let threads = runtime.run(|| {
            let (first, second) = (first.clone(), second.clone());
            let forward = named("forward").spawn(move || {
                let _a = one.0.lock().unwrap();
                first.0.send(()).unwrap();
                second.1.recv().unwrap();
                drop(one.1.lock());
            });
            [forward.unwrap()]
        });
        let backward = runtime.run(|| {
            named("backward").spawn(move || {
                let _b = other.1.lock().unwrap();
                first.1.recv().unwrap();
                second.0.send(()).unwrap();
                drop(other.0.lock());
            })
        });
        let threads: Vec<_> = threads.into_iter().chain([backward.unwrap()]).collect();
        let wait_for_lock = |thread: &Thread| {
            while !matches!(thread.state(), State::Parked(parked) if parked.why().starts_with("lock"))
            {
                std::thread::yield_now();
            }
        };
        threads
            .iter()
            .for_each(|thread| wait_for_lock(thread.thread()));
        let dump = dump().to_string();
        let told = paragraph(&dump, "\"forward\", for");
        assert!(told.contains("lock of Mutex<char> at 0x"), "{told}");
        assert!(told.contains("\"backward\", taken at "), "{told}");
        let told = paragraph(&dump, "\"backward\", for");
        assert!(told.contains("\"forward\", taken at "), "{told}");
        // With the first that gives up, the other one has what it waits for.
        threads.iter().for_each(JoinHandle::cancel);
        let ended = threads.into_iter().map(JoinHandle::join);
        assert!(ended.filter(Result::is_err).count() > 0);
    });
}

#[test]
fn one_that_computes_and_has_never_waited_is_told_of() {
    let _alone = alone();
    each_worker_count(|runtime| {
        let (stop, started) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (seen, starts) = (stop.clone(), started.clone());
        let line = line!() + 1;
        let computes = runtime.spawn(move || {
            starts.store(true, Ordering::Release);
            compute_until(&seen);
        });
        while !started.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let taken = dump();
        assert_eq!((taken.running(), taken.green_threads()), (1, 1), "{taken}");
        let text = taken.to_string();
        assert!(
            text.contains(" runs thread ") && text.contains(&format!("dump.rs:{line}:")),
            "{text}"
        );
        stop.store(true, Ordering::Release);
        computes.join().unwrap();
    });
}

#[test]
fn one_that_waits_for_a_worker_is_told_of() {
    let _alone = alone();
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let runtime = lone_worker();
    beside_one_that_computes(&runtime, || {
        let _waits = runtime.spawn(|| ());
        let taken = dump();
        assert_eq!((taken.runnable(), taken.green_threads()), (1, 2), "{taken}");
    });
    runtime.shutdown();
}

#[test]
fn one_may_be_taken_on_a_green_thread_with_a_small_stack() {
    each_mode(|runtime| {
        let takes = || {
            let takes = thread::Builder::new()
                .stack_size(16 << 10)
                .spawn(|| dump().to_string());
            takes.unwrap().join().unwrap()
        };
        let text = runtime.run(takes);
        assert!(text.contains(" runs thread "), "{text}");
    });
}

extern "C" fn compare(_: *const c_void, _: *const c_void) -> c_int {
    EVENT
        .with_borrow(Clone::clone)
        .expect("it was left there")
        .wait();
    0
}

thread_local! {
    static EVENT: RefCell<Option<Arc<Notify>>> = const { RefCell::new(None) };
}

/// Waits in a callback that C calls.
#[inline(never)]
fn waits_in_c(event: Arc<Notify>) {
    EVENT.set(Some(event));
    let mut numbers = [1_u8, 2];
    // SAFETY: two numbers of a byte each.
    unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 2, 1, Some(compare)) };
    std::hint::black_box(());
}

#[inline(never)]
fn waits_elsewhere(event: &Notify) {
    let stack = DefaultStack::new(64 << 10).unwrap();
    corosensei::on_stack(stack, || outer_of_two(event));
    std::hint::black_box(());
}

#[inline(never)]
fn waits_on_a_warm_stack(event: &Notify) {
    block_on(on_warm_stack(async { outer_of_two(event) }));
    std::hint::black_box(());
}

#[inline(never)]
fn waits_in_a_generator(event: &Arc<Notify>) {
    let event = event.clone();
    let generator = Generator::new(move |own| {
        outer_of_two(&event);
        own.yield_(7);
    });
    assert_eq!(generator.into_iter().next(), Some(7));
    std::hint::black_box(());
}

#[inline(never)]
fn waits_in_a_future(event: &Arc<Notify>) {
    let event = event.clone();
    block_on(greenly(move || outer_of_two(&event)));
}

/// What is above and below a switch to another stack is told of.
#[test]
fn stacks_are_walked_wherever_a_thread_waits() {
    each_mode(|runtime| {
        let event = Arc::new(Notify::new());
        let other = event.clone();
        let mut waiting = vec![runtime.spawn(move || waits_elsewhere(&other))];
        let other = event.clone();
        waiting.push(runtime.spawn(move || waits_on_a_warm_stack(&other)));
        let other = event.clone();
        waiting.push(runtime.spawn(move || waits_in_a_generator(&other)));
        // With thread-locals that others have too, a thread that moves must not use one, and what `greenly` runs
        // must not be moved.
        let shares = runtime.thread_locals() == ThreadLocals::Shared;
        if !shares {
            let other = event.clone();
            waiting.push(runtime.spawn(move || waits_in_c(other)));
            let other = event.clone();
            waiting.push(runtime.spawn(move || waits_in_a_future(&other)));
        }
        waiting
            .iter()
            .for_each(|waits| wait_until_parked(waits.thread()));
        let text = dump().to_string();
        for function in [
            "waits_elsewhere",
            "waits_on_a_warm_stack",
            "waits_in_a_generator",
        ] {
            let told = paragraph(&text, function);
            assert_has_frames(&told);
            assert!(told.find("outer_of_two") < told.find(function), "{told}");
        }
        if !shares {
            let told = paragraph(&text, "waits_in_c");
            assert!(told.find("compare") < told.find("waits_in_c"), "{told}");
            let told = paragraph(&text, "waits_in_a_future");
            assert!(told.contains("block_on of a future"), "{told}");
        }
        while waiting.iter().any(|waits| !waits.is_finished()) {
            event.notify_all();
            std::thread::yield_now();
        }
    });
}

/// Goes as deep as its stack lets it, by what it knows of it, and waits there.
#[inline(never)]
fn deep(left: usize, event: &Notify) -> usize {
    let frame = std::hint::black_box([left as u8; 64]);
    let usage = thread::stack_usage().unwrap();
    let deepest = if usage.size - usage.high_water < left {
        event.wait();
        0
    } else {
        deep(left, event)
    };
    deepest + usize::from(frame[0])
}

#[test]
fn stacks_that_are_nearly_full_are_walked_or_left_alone() {
    each_mode(|runtime| {
        let event = Arc::new(Notify::new());
        let left = [4096, 5120, 6144, 8192, 12288];
        let waiting = left.map(|left| {
            let event = event.clone();
            let spawn = move || {
                thread::Builder::new()
                    .stack_size(32 << 10)
                    .spawn(move || deep(left, &event))
            };
            runtime.run(spawn).unwrap()
        });
        waiting
            .iter()
            .for_each(|waits| wait_until_parked(waits.thread()));
        for _ in 0..100 {
            // A scan for memory that can be given back may have hold of one for a moment.
            while dump().parked() < left.len() {
                std::thread::yield_now();
            }
        }
        event.notify_all();
        for waits in waiting {
            waits.join().unwrap();
        }
    });
}

/// Threads that park and are woken at a high rate go on, and lose nothing, while dumps are taken.
#[test]
fn a_thousand_dumps_change_nothing() {
    let dumps = 1000 / (3 * common::WORKER_COUNTS.len()) + 1;
    each_mode(|runtime| {
        let (stop, sum) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (sender, receiver) = bounded::<usize>(3);
        let mutex = Arc::new(Mutex::new(0_usize));
        let senders: Vec<_> = (0..8)
            .map(|number| {
                let (sender, stop, mutex) = (sender.clone(), stop.clone(), mutex.clone());
                runtime.spawn(move || {
                    let mut sent = 0;
                    while !stop.load(Ordering::Acquire) {
                        sender.send(1).unwrap();
                        sent += 1;
                        let mut count = mutex.lock().unwrap();
                        *count += 1;
                        if sent % 7 == number % 7 {
                            thread::yield_now();
                        }
                        drop(count);
                        if sent % 64 == 0 {
                            thread::sleep(Duration::from_micros(50));
                            // Threads begin and end meanwhile.
                            thread::spawn(thread::yield_now).join().unwrap();
                        }
                    }
                    sent
                })
            })
            .collect();
        drop(sender);
        let counted = sum.clone();
        let receives = runtime.spawn(move || {
            for one in receiver.iter() {
                counted.fetch_add(one, Ordering::Relaxed);
            }
        });
        for round in 0..dumps {
            let taken = dump();
            // While threads begin and end, their number is about right.
            assert!(taken.green_threads() > 0, "{taken}");
            if round % 16 == 0 {
                assert!(!taken.to_string().is_empty());
            }
        }
        stop.store(true, Ordering::Release);
        let sent: usize = senders.into_iter().map(|sends| sends.join().unwrap()).sum();
        receives.join().unwrap();
        assert_eq!(sum.load(Ordering::Relaxed), sent);
        assert_eq!(*mutex.lock().unwrap(), sent);
    });
}

/// Takes one when it is dropped.
struct Takes;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Drop for Takes {
    fn drop(&mut self) {
        assert!(dump().to_string().contains(" green thread"));
        TAKEN.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    static TAKES: Takes = const { Takes };
}

#[test]
fn one_may_be_taken_wherever_a_program_is() {
    each_mode(|runtime| {
        let takes = |place: &str, f: fn()| {
            let before = TAKEN.load(Ordering::Relaxed);
            let thread = runtime.spawn(f);
            if place == "cancelled" {
                wait_until_parked(thread.thread());
                thread.cancel();
            }
            let _ = thread.join();
            assert_eq!(TAKEN.load(Ordering::Relaxed), before + 1, "{place}");
        };
        takes("blocking", || blocking::run(|| drop(Takes)));
        takes("shield", || shield(|| drop(Takes)));
        takes("panic", || {
            let _takes = Takes;
            std::panic::resume_unwind(Box::new(()));
        });
        takes("cancelled", || {
            let _takes = Takes;
            thread::park();
        });
        takes("generator", || {
            let _ = Generator::new(|own| {
                drop(Takes);
                own.yield_(7);
            })
            .next();
        });
        takes("OS thread", || {
            std::thread::spawn(|| TAKES.with(|_| ())).join().unwrap();
        });
        // With thread-locals that others have too, they end with the worker, and what `greenly` runs must not be moved.
        if runtime.thread_locals() != ThreadLocals::Shared {
            takes("greenly", || block_on(greenly(|| drop(Takes))));
        }
        if runtime.thread_locals() == ThreadLocals::Own {
            takes("thread-local", || TAKES.with(|_| ()));
        }
        let before = TAKEN.load(Ordering::Relaxed);
        drop(runtime.spawn(|| Takes));
        while TAKEN.load(Ordering::Relaxed) == before {
            std::thread::yield_now();
        }
    });
}

#[test]
fn one_may_be_taken_while_a_runtime_shuts_down() {
    each_mode(|runtime| {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let other = Builder::new().workers(1).build().unwrap();
        let started = Arc::new(AtomicBool::new(false));
        let starts = started.clone();
        let _computes = other.spawn(move || {
            starts.store(true, Ordering::Release);
            compute_until(&seen);
        });
        while !started.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let ends = std::thread::spawn(move || other.shutdown());
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            let taken = dump();
            assert_eq!(taken.running(), 1, "{taken}");
        }
        stop.store(true, Ordering::Release);
        ends.join().unwrap();
        assert_eq!(runtime.green_threads(), 0);
    });
}
