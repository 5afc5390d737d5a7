//! How much of its stack a green thread uses: measured, reported, and given back.

mod common;

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{child, is_child, on_each_worker_count, run, runtime, unwatched, watchdog};
use roving_scheduler::thread::{self, State, stack_usage};
use roving_scheduler::{Builder, blocking, coroutine, stacks};

/// Uses `bytes` of the stack, and a frame more.
fn dig(bytes: usize) -> u8 {
    let here = 0_u8;
    dig_down_to((&raw const here).addr() - bytes)
}

#[inline(never)]
fn dig_down_to(address: usize) -> u8 {
    let frame = black_box([1_u8; 512]);
    if (&raw const frame).addr() > address {
        black_box(dig_down_to(address)) & frame[0]
    } else {
        frame[0]
    }
}

#[test]
fn a_debug_build_has_room_for_its_larger_frames() {
    let default = if cfg!(debug_assertions) {
        1 << 20
    } else {
        256 << 10
    };
    on_each_worker_count(|| {
        let deep = thread::spawn(move || dig(default - (64 << 10)));
        assert_eq!(deep.join().unwrap(), 1);
        let usage = thread::spawn(stack_usage).join().unwrap().unwrap();
        assert_eq!(usage.size, default);
    });
}

#[test]
fn the_mark_rises_with_the_deepest_use() {
    assert_eq!(stack_usage(), None);
    on_each_worker_count(|| {
        let deep = thread::Builder::new().stack_size(1 << 20).spawn(|| {
            dig(500 << 10);
            stack_usage().unwrap()
        });
        let usage = deep.unwrap().join().unwrap();
        assert_eq!(usage.size, 1 << 20);
        assert!(
            (500 << 10..1 << 20).contains(&usage.high_water),
            "{usage:?}"
        );
    });
}

fn shallow() {
    let used = stack_usage().unwrap().high_water;
    assert!(used < 50 << 10, "{used} of an earlier thread");
}

#[test]
fn the_report_tells_the_use_by_the_place_of_the_spawn() {
    const NAME: &str = "the_report_tells_the_use_by_the_place_of_the_spawn";
    if is_child(NAME) {
        let runtime = Box::leak(Box::new(runtime(1)));
        for _ in 0..10 {
            runtime.spawn(|| dig(100 << 10)).join().unwrap();
        }
        // On the same stack, with a mark of its own.
        for _ in 0..5 {
            runtime.spawn(shallow).join().unwrap();
        }
        // Alive when the process exits.
        let parks = runtime.spawn(|| {
            dig(30 << 10);
            thread::park();
        });
        while !matches!(parks.thread().state(), State::Parked(_)) {
            std::thread::yield_now();
        }
        return;
    }
    let _watchdog = watchdog("");
    let mut child = child(NAME);
    child.env("ROVING_STACK_REPORT", "1");
    let printed = run(child);
    let rows: Vec<Vec<&str>> = printed
        .lines()
        .filter(|line| line.contains("stack_use.rs:"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let number = |text: &str| text.parse::<usize>().unwrap();
    let threads: Vec<_> = rows.iter().map(|row| number(row[1])).collect();
    assert_eq!(rows.len(), 3, "{printed}");
    let deep = &rows[0];
    assert_eq!(threads[0], 10, "the deepest comes first: {printed}");
    assert!(
        (100 << 10..200 << 10).contains(&number(deep[3])),
        "{printed}"
    );
    assert_eq!(number(deep[5]), (2 * number(deep[3])).next_power_of_two());
    let parked = &rows[1];
    assert_eq!(threads[1], 1);
    assert!(
        (30 << 10..100 << 10).contains(&number(parked[3])),
        "{printed}"
    );
    let shallow = rows.iter().find(|row| number(row[1]) == 5).unwrap();
    assert!(number(shallow[3]) < 30 << 10, "{printed}");
}

/// A sanitizer has memory of its own for each stack, which is not given back.
const TELLS_WHAT_STACKS_TAKE: bool = !cfg!(any(
    feature = "address-sanitizer",
    feature = "thread-sanitizer"
));

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

const DEEP: usize = 100 << 10;
const THREADS: usize = 500;

#[cfg(target_os = "linux")]
#[test]
fn long_parked_threads_give_back_what_they_do_not_use() {
    const NAME: &str = "long_parked_threads_give_back_what_they_do_not_use";
    if !TELLS_WHAT_STACKS_TAKE {
        return;
    }
    static DUG: AtomicUsize = AtomicUsize::new(0);
    if is_child(NAME) {
        for pinned in [true, false] {
            let builder = Builder::new().workers(2);
            let builder = if pinned {
                builder.pinned_thread_locals()
            } else {
                builder
            };
            let runtime = builder.build().unwrap();
            DUG.store(0, Ordering::SeqCst);
            let before = resident();
            let threads: Vec<_> = (0..THREADS)
                .map(|number| {
                    runtime.spawn(move || {
                        let kept = black_box([number; 100]);
                        dig(DEEP);
                        DUG.fetch_add(1, Ordering::SeqCst);
                        thread::park();
                        assert!(kept.iter().all(|&kept| kept == number));
                        dig(DEEP)
                    })
                })
                .collect();
            while DUG.load(Ordering::SeqCst) < THREADS || resident() > before + THREADS * DEEP / 4 {
                std::thread::yield_now();
            }
            threads.iter().for_each(|t| t.thread().unpark());
            threads
                .into_iter()
                .for_each(|t| assert!(t.join().unwrap() > 0));
        }
        return;
    }
    let _watchdog = watchdog("");
    let mut child = child(NAME);
    child.env("ROVING_RECLAIM_SECONDS", "0.05");
    run(child);
}

#[cfg(target_os = "linux")]
#[test]
fn a_burst_of_large_stacks_gives_its_memory_back() {
    const NAME: &str = "a_burst_of_large_stacks_gives_its_memory_back";
    if !TELLS_WHAT_STACKS_TAKE {
        return;
    }
    const LARGE: usize = 4 << 20;
    const THREADS: usize = 100;
    if is_child(NAME) {
        for workers in common::WORKER_COUNTS {
            let before = resident();
            // Those of the runtime's own size, which workers keep at hand, and others.
            let builder = Builder::new().workers(workers).stack_size(LARGE);
            let runtime = builder.build().unwrap();
            for size in [LARGE, 2 * LARGE] {
                runtime.run(|| {
                    let handles: Vec<_> = (0..THREADS)
                        .map(|_| {
                            let deep = || {
                                dig(LARGE / 2);
                                thread::park();
                            };
                            let sized = thread::Builder::new().stack_size(size);
                            sized.spawn(deep).unwrap()
                        })
                        .collect();
                    for handle in handles {
                        handle.thread().unpark();
                        handle.join().unwrap();
                    }
                });
            }
            // Of each size 32 MiB may stay, of which half has been used of the one, and a quarter of the
            // other.
            while resident() > before + (32 << 20) {
                std::thread::yield_now();
            }
        }
        return;
    }
    let _watchdog = watchdog("");
    let mut child = child(NAME);
    child.env("ROVING_RECLAIM_SECONDS", "0.05");
    run(child);
}

/// Waits until nobody keeps any.
fn until_no_stacks_are_in_use() {
    while stacks().in_use > 0 {
        std::thread::yield_now();
    }
}

/// It sleeps as long as nobody needs it, which may be for ever.
#[test]
fn a_spare_that_is_not_needed_any_more_keeps_no_stacks() {
    const NAME: &str = "a_spare_that_is_not_needed_any_more_keeps_no_stacks";
    if is_child(NAME) {
        for workers in common::WORKER_COUNTS {
            // With one spare, of which there is always one.
            let runtime = unwatched(workers);
            let is_over = &*Box::leak(Box::new(AtomicUsize::new(0)));
            runtime.run(|| {
                let (let_go, held) = std::sync::mpsc::channel();
                let computes = || {
                    // So that there are stacks to keep.
                    let threads = [(); 20].map(|()| thread::spawn(|| ()));
                    threads.into_iter().for_each(|t| t.join().unwrap());
                    let_go.send(()).unwrap();
                    // It has given its place back before it sees that.
                    while is_over.load(Ordering::SeqCst) == 0 {
                        std::thread::yield_now();
                    }
                };
                thread::scope(|scope| {
                    // With one worker, on the spare.
                    scope.spawn(computes);
                    blocking::run(|| held.recv().unwrap());
                    is_over.store(1, Ordering::SeqCst);
                });
            });
            until_no_stacks_are_in_use();
        }
        return;
    }
    let _watchdog = watchdog("");
    let mut child = child(NAME);
    child.env("ROVING_RECLAIM_SECONDS", "0.05");
    run(child);
}

/// Whoever falls asleep while others look through the threads is not left with what it keeps.
#[test]
fn one_that_falls_asleep_during_a_scan_keeps_no_stacks() {
    const NAME: &str = "one_that_falls_asleep_during_a_scan_keeps_no_stacks";
    if is_child(NAME) {
        for workers in common::WORKER_COUNTS {
            let runtime = unwatched(workers);
            for _ in 0..300 {
                let threads = [(); 20].map(|()| runtime.spawn(thread::yield_now));
                threads.into_iter().for_each(|t| t.join().unwrap());
                until_no_stacks_are_in_use();
            }
        }
        return;
    }
    let _watchdog = watchdog("");
    let mut child = child(NAME);
    // A scan is due as soon as it is scheduled.
    child.env("ROVING_RECLAIM_SECONDS", "0.000001");
    run(child);
}

#[test]
fn wake_ups_meet_those_who_reclaim() {
    const NAME: &str = "wake_ups_meet_those_who_reclaim";
    if is_child(NAME) {
        on_each_worker_count(|| {
            let threads: Vec<_> = (0..50)
                .map(|number| {
                    thread::spawn(move || {
                        for round in 0..200_usize {
                            let kept = black_box([round + number; 50]);
                            dig(20 << 10);
                            match round % 3 {
                                0 => thread::sleep(std::time::Duration::from_micros(50)),
                                1 => {
                                    let this = thread::current();
                                    thread::spawn(move || this.unpark());
                                    thread::park();
                                }
                                _ => thread::spawn(|| ()).join().unwrap(),
                            }
                            assert!(kept.iter().all(|&kept| kept == round + number));
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
        });
        return;
    }
    let _watchdog = watchdog("");
    let mut child = child(NAME);
    child.env("ROVING_RECLAIM_SECONDS", "0.000001");
    run(child);
}

/// A coroutine has a row of its own, and the next user of its stack does not find its mark.
#[test]
fn coroutines_are_in_the_table_and_leave_no_mark() {
    let name = "coroutines_are_in_the_table_and_leave_no_mark";
    if is_child(name) {
        const SIZE: usize = 256 << 10;
        let builder = Builder::new().workers(1).stack_size(SIZE);
        let runtime = builder.pinned_thread_locals().build().unwrap();
        runtime.run(|| {
            let sized = coroutine::Builder::new().stack_size(SIZE);
            let deep = sized.generator(|y| y.yield_(dig(150 << 10)));
            assert_eq!(deep.unwrap().sum::<u8>(), 1);
            let usage = thread::spawn(|| stack_usage().unwrap()).join().unwrap();
            assert!(usage.high_water < 100 << 10, "{usage:?}");
        });
        return;
    }
    let mut child = child(name);
    child.env("ROVING_STACK_REPORT", "1");
    let printed = run(child);
    let rows = printed
        .lines()
        .filter(|line| line.contains("tests/stack_use.rs"));
    let most: Vec<usize> = rows
        .map(|row| row.split_whitespace().nth(3).unwrap().parse().unwrap())
        .collect();
    let deep = most.iter().filter(|&&most| most > 150 << 10).count();
    assert_eq!(deep, 1, "{printed}");
}
