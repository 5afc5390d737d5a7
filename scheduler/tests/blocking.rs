//! Calls that block in the system, with the place of their worker handed over.
//!
//! - other green threads of the worker go on meanwhile; the call is made in place, and may borrow
//! - results and panics come back
//! - what it takes to start a spare, the caller's stack need not have
//! - nested, on an OS thread, within a future, in a destructor, with a suspension in it: all as one expects
//! - more calls than spares all get their turn, and hundreds are under way at once
//! - at the bound one line says so; where the system has no OS thread for another one, too
//! - a cancellation, a deadline and a shutdown wait for such a call
//! - a spare that has nothing to do ends, but not before a process that is to die with its parent; who has
//!   run on it goes on at the next one

mod common;

use std::hint::black_box;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use common::{
    WORKER_COUNTS, child, is_child, on_each_mode, on_each_worker_count, run, runtime,
    stacks_returned, uses_global_runtime, watchdog,
};
use roving_scheduler::thread::State;
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{
    Builder, Runtime, ThreadLocals, block_on, blocking, deadline, greenly, is_green, thread,
};

/// The runtime has no spare in reserve after the first, and starts one.
#[test]
fn a_small_stack_that_is_nearly_full_will_do() {
    on_each_mode(|| {
        let calls = || {
            let mut kept = [1_u8; 10 << 10];
            black_box(&mut kept);
            blocking::run(|| std::thread::sleep(Duration::from_millis(5)));
            assert_eq!(black_box(&kept)[0], 1);
        };
        let small = || thread::Builder::new().stack_size(16 << 10).spawn(calls);
        let threads = [(); 10].map(|()| small().unwrap());
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// That others of the same worker go on.
fn others_go_on() {
    for n in 0..100 {
        assert_eq!(thread::spawn(move || n).join().unwrap(), n);
        thread::sleep(Duration::from_micros(1));
    }
}

/// With the search for those who are stuck turned off, so that it is the call which hands the place over.
fn on_each_unwatched(test: impl Fn(&Runtime)) {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let builder = || Builder::new().workers(workers).stuck_after(Duration::ZERO);
        let modes = [
            ("as ever", builder()),
            ("pinned", builder().pinned_thread_locals()),
            ("that always migrate", builder().migrate_always(true)),
        ];
        for (mode, builder) in modes {
            let _watchdog = watchdog(format_args!("with {workers} workers, threads {mode}"));
            test(&builder.build().unwrap());
        }
    }
}

#[test]
fn the_others_go_on_meanwhile() {
    on_each_unwatched(|runtime| {
        let (let_go, held) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let blocks = runtime.spawn(move || {
            blocking::run(|| {
                tell.send(()).unwrap();
                held.recv().unwrap()
            })
        });
        told.recv().unwrap();
        runtime.run(others_go_on);
        let_go.send("go").unwrap();
        assert_eq!(blocks.join().unwrap(), "go");
    });
}

/// What waits to migrate to a worker waits no longer when that is found to be stuck.
#[test]
fn those_that_migrate_go_on_while_a_worker_is_stuck() {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(format_args!("with {workers} workers"));
        let builder = Builder::new().workers(workers).migrate_always(true);
        let runtime = builder
            .stuck_after(Duration::from_millis(1))
            .build()
            .unwrap();
        // A call that blocks in the system holds up those who share its worker.
        if runtime.thread_locals() == ThreadLocals::Pinned {
            return;
        }
        for _ in 0..10 {
            let (sender, receiver) = mpsc::channel();
            let others: Vec<_> = (0..workers)
                .map(|n| {
                    let sender = sender.clone();
                    runtime.spawn(move || {
                        for _ in 0..100 {
                            thread::yield_now();
                        }
                        sender.send(n).unwrap();
                    })
                })
                .collect();
            drop(sender);
            // It does not say that it blocks.
            let waits = runtime.spawn(move || receiver.iter().count());
            assert_eq!(waits.join().unwrap(), workers);
            others.into_iter().for_each(|thread| thread.join().unwrap());
        }
    }
}

#[test]
fn it_runs_in_place() {
    on_each_mode(|| {
        let text = String::from("borrowed");
        let id = std::thread::current().id();
        let borrow = blocking::run(|| {
            assert!(is_green());
            assert_eq!(std::thread::current().id(), id);
            std::rc::Rc::new(&text)
        });
        assert_eq!(**borrow, "borrowed");
    });
    assert_eq!(blocking::run(|| 5), 5, "an OS thread just calls it");
}

#[test]
fn panics_go_on_in_the_caller() {
    on_each_mode(|| {
        for n in 0..20u64 {
            let caught = panic::catch_unwind(AssertUnwindSafe(|| {
                blocking::run(|| panic::resume_unwind(Box::new(n)))
            }));
            assert_eq!(caught.unwrap_err().downcast_ref(), Some(&n));
            assert_eq!(blocking::run(|| 1), 1);
        }
    });
}

#[test]
fn it_may_be_nested_and_suspend() {
    on_each_unwatched(|runtime| {
        let calls: Vec<_> = (0..50)
            .map(|n| {
                runtime.spawn(move || {
                    blocking::run(|| {
                        let inner = blocking::run(|| n);
                        std::thread::yield_now();
                        thread::sleep(Duration::from_micros(n));
                        blocking::run(thread::yield_now);
                        std::thread::sleep(Duration::from_micros(100));
                        inner
                    })
                })
            })
            .collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.join().unwrap(), n as u64);
        }
        runtime.run(others_go_on);
    });
}

#[test]
fn one_that_has_suspended_blocks_only_itself() {
    const GREENLY: usize = 2;
    let suspends: [fn(); 3] = [
        || thread::sleep(Duration::from_micros(1)),
        || blocking::run(thread::yield_now),
        || block_on(greenly(|| blocking::run(thread::yield_now))),
    ];
    for (way, suspend) in suspends.into_iter().enumerate() {
        on_each_unwatched(|runtime| {
            // One OS thread must poll it, and this would go to another one.
            if way == GREENLY && runtime.thread_locals() == ThreadLocals::Shared {
                return;
            }
            // One that is pinned may have another one's worker, and waits for it then.
            let calls = match runtime.thread_locals() {
                ThreadLocals::Own => runtime.workers(),
                _ => 1,
            };
            let calls: Vec<_> = (0..calls)
                .map(|_| {
                    let (let_go, held) = mpsc::channel();
                    let (tell, told) = mpsc::channel();
                    let call = runtime.spawn(move || {
                        blocking::run(|| {
                            suspend();
                            tell.send(()).unwrap();
                            held.recv().unwrap()
                        })
                    });
                    (call, told, let_go)
                })
                .collect();
            calls.iter().for_each(|(_, told, _)| told.recv().unwrap());
            runtime.run(others_go_on);
            for (call, _, let_go) in calls {
                let_go.send("go").unwrap();
                assert_eq!(call.join().unwrap(), "go");
            }
            runtime.run(others_go_on);
        });
    }
}

#[test]
fn within_a_future_and_in_a_destructor() {
    struct Blocks(Arc<AtomicUsize>);

    impl Drop for Blocks {
        fn drop(&mut self) {
            let (let_go, held) = mpsc::channel();
            blocking::run(|| {
                // Begun in the call, so that it is not pinned to this worker.
                thread::spawn(move || {
                    others_go_on();
                    let_go.send(()).unwrap();
                });
                held.recv().unwrap();
            });
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    uses_global_runtime();
    assert_eq!(block_on(greenly(|| blocking::run(|| 6))), 6);
    on_each_worker_count(|| {
        assert_eq!(block_on(greenly(|| blocking::run(|| 7))), 7);
        let dropped = Arc::new(AtomicUsize::new(0));
        let blocks = Blocks(dropped.clone());
        let unwinds = thread::spawn(move || {
            let _blocks = blocks;
            panic::resume_unwind(Box::new(()))
        });
        assert!(unwinds.join().is_err());
        assert_eq!(dropped.load(Ordering::Acquire), 1);
    });
}

#[test]
fn many_calls_get_their_turn() {
    on_each_mode(|| {
        let calls = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..200)
            .map(|n| {
                let calls = calls.clone();
                thread::spawn(move || {
                    blocking::run(|| {
                        std::thread::yield_now();
                        calls.fetch_add(1, Ordering::AcqRel);
                        n
                    })
                })
            })
            .collect();
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), n);
        }
        assert_eq!(calls.load(Ordering::Acquire), 200);
    });
}

#[test]
fn hundreds_wait_for_each_other() {
    on_each_unwatched(|runtime| {
        let all = Arc::new(Barrier::new(300));
        let calls: Vec<_> = (0..300)
            .map(|_| {
                let all = all.clone();
                runtime.spawn(move || blocking::run(|| all.wait().is_leader()))
            })
            .collect();
        let leaders = calls.into_iter().map(|call| call.join().unwrap());
        assert_eq!(leaders.filter(|leads| *leads).count(), 1);
    });
}

#[test]
fn what_ends_waits_waits_for_the_call() {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let (let_go, held) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let late = runtime.spawn({
            let tell = tell.clone();
            move || {
                deadline(Duration::from_millis(1), || {
                    blocking::run(|| std::thread::sleep(Duration::from_millis(2)));
                    tell.send(()).unwrap();
                    thread::park();
                })
            }
        });
        told.recv().unwrap();
        assert!(late.join().unwrap().is_err());
        let blocks = runtime.spawn(move || {
            blocking::run(|| {
                tell.send(()).unwrap();
                held.recv().unwrap();
            });
            tell.send(()).unwrap();
            thread::park();
        });
        told.recv().unwrap();
        blocks.cancel();
        let ends = std::thread::spawn(|| runtime.shutdown());
        assert!(told.try_recv().is_err());
        let_go.send(()).unwrap();
        told.recv().unwrap();
        assert!(blocks.join().unwrap_err().is::<Cancelled>());
        ends.join().unwrap();
    }
}

/// Calls that hold all workers and both spares of `runtime`, and some more.
fn at_the_bound(runtime: &Runtime) {
    let (let_go, held) = mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let (tell, told) = mpsc::channel();
    let at_once = runtime.workers() + 2;
    let calls: Vec<_> = (0..at_once + 2)
        .map(|_| {
            let (tell, held) = (tell.clone(), held.clone());
            runtime.spawn(move || {
                blocking::run(|| {
                    tell.send(()).unwrap();
                    let _ = held.lock().unwrap().recv();
                });
            })
        })
        .collect();
    (0..at_once).for_each(|_| told.recv().unwrap());
    std::thread::sleep(Duration::from_millis(30));
    assert!(told.try_recv().is_err(), "no further call is under way");
    drop(let_go);
    for call in calls {
        call.join().unwrap();
    }
}

#[test]
fn calls_beyond_the_bound_wait_and_are_told() {
    const NAME: &str = "calls_beyond_the_bound_wait_and_are_told";
    let _watchdog = watchdog("");
    if is_child(NAME) {
        for workers in WORKER_COUNTS {
            let builder = Builder::new().workers(workers);
            at_the_bound(&builder.clone().max_spares(2).build().unwrap());
            // The environment says so too.
            at_the_bound(&builder.build().unwrap());
        }
        return;
    }
    let mut process = child(NAME);
    process.env("ROVING_MAX_SPARES", "2");
    let printed = run(process);
    let told = printed.matches("ROVING_MAX_SPARES").count();
    assert_eq!(told, 2 * WORKER_COUNTS.len(), "{printed}");
}

#[test]
fn without_spares_it_just_calls() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    for workers in WORKER_COUNTS {
        let runtime = Builder::new()
            .workers(workers)
            .max_spares(0)
            .build()
            .unwrap();
        let calls: Vec<_> = (0..20)
            .map(|n| runtime.spawn(move || blocking::run(|| n)))
            .collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.join().unwrap(), n);
        }
    }
}

/// How many OS threads of this process have a name that begins so.
#[cfg(target_os = "linux")]
fn os_threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|comm| comm.starts_with(name)).count()
}

#[cfg(target_os = "linux")]
fn wait_until_so_many_are_left(spares: usize) {
    while os_threads("kept-spare") != spares {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An OS thread gives itself its name.
#[cfg(target_os = "linux")]
fn wait_until_there_are(os_threads_of_the_runtime: usize) {
    while os_threads("kept") != os_threads_of_the_runtime {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Has as many OS threads block at once as there are `calls`.
#[cfg(target_os = "linux")]
fn call_at_once(runtime: &Runtime, calls: usize) {
    let all = Arc::new(Barrier::new(calls));
    let calls: Vec<_> = (0..calls)
        .map(|_| {
            let all = all.clone();
            runtime.spawn(move || {
                blocking::run(|| all.wait());
            })
        })
        .collect();
    calls.into_iter().for_each(|call| call.join().unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn spares_end_when_they_are_idle_but_for_one() {
    const NAME: &str = "spares_end_when_they_are_idle_but_for_one";
    let _watchdog = watchdog("");
    if !is_child(NAME) {
        run(child(NAME));
        return;
    }
    let builder = Builder::new().workers(2).thread_name("kept");
    let runtime = builder.clone().build().unwrap();
    // The workers, and one that watches.
    wait_until_there_are(3);
    for _ in 0..2 {
        call_at_once(&runtime, 30);
        assert!(os_threads("kept-spare") >= 28);
        wait_until_so_many_are_left(1);
    }
    drop(runtime);
    for builder in [
        builder.clone().max_spares(0),
        builder.stuck_after(Duration::ZERO),
    ] {
        // Whoever has been joined is still listed for a moment.
        wait_until_there_are(0);
        let _runtime = builder.build().unwrap();
        wait_until_there_are(2);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(os_threads("kept"), 2);
    }
}

/// It is another OS thread that sits where one has sat: with a cache of the allocator of its own, for one.
#[cfg(target_os = "linux")]
#[test]
fn who_has_run_on_a_spare_goes_on_at_another_when_it_has_ended() {
    const NAME: &str = "who_has_run_on_a_spare_goes_on_at_another_when_it_has_ended";
    const SPARES: usize = 30;
    let _watchdog = watchdog("");
    if !is_child(NAME) {
        run(child(NAME));
        return;
    }
    let builder = Builder::new().workers(1).thread_name("kept");
    let runtime = builder.build().unwrap();
    if runtime.thread_locals() != ThreadLocals::Own {
        // A spare to which threads are bound does not end.
        return;
    }
    wait_until_there_are(2);
    let some = |_| {
        let all = Arc::new(Barrier::new(SPARES));
        let calls = || {
            let all = all.clone();
            runtime.spawn(move || {
                let me = std::thread::current().id();
                for _ in 0..2 {
                    blocking::run(|| all.wait());
                    thread::park();
                    let text: Vec<_> = (0_u8..50).map(|n| vec![n; usize::from(n)]).collect();
                    assert_eq!(black_box(text).concat().len(), 49 * 25);
                }
                assert_eq!(std::thread::current().id(), me);
            })
        };
        let calls: Vec<_> = (0..SPARES).map(|_| calls()).collect();
        let is_parked =
            |call: &thread::JoinHandle<()>| matches!(call.thread().state(), State::Parked(_));
        while !calls.iter().all(is_parked) {
            std::thread::yield_now();
        }
        calls
    };
    let have_run: Vec<_> = (0..10).map(some).collect();
    wait_until_so_many_are_left(1);
    for calls in have_run {
        while !calls.iter().all(thread::JoinHandle::is_finished) {
            calls.iter().for_each(|call| call.thread().unpark());
            std::thread::yield_now();
        }
        calls.into_iter().for_each(|call| call.join().unwrap());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_spare_does_not_end_before_its_child() {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const NAME: &str = "a_spare_does_not_end_before_its_child";
    let _watchdog = watchdog("");
    if !is_child(NAME) {
        run(child(NAME));
        return;
    }
    let builder = Builder::new().workers(1).thread_name("kept");
    let runtime = builder.build().unwrap();
    let (tell, told) = mpsc::channel();
    // With the first in its call, the next one is on a spare.
    let (let_go, held) = mpsc::channel::<()>();
    let blocks = runtime.spawn(move || {
        blocking::run(|| {
            tell.send(()).unwrap();
            held.recv().unwrap();
        });
    });
    told.recv().unwrap();
    let mut sleeps = runtime.run(|| {
        assert!(common::os_thread_name().starts_with("kept-spare"));
        let mut command = Command::new("sleep");
        command.arg("1000");
        // SAFETY: the call may be made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        blocking::run(|| command.spawn()).unwrap()
    });
    let_go.send(()).unwrap();
    blocks.join().unwrap();
    call_at_once(&runtime, 10);
    // The one that has a child, and perhaps another one in reserve.
    while os_threads("kept-spare") > 2 {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(sleeps.try_wait().unwrap(), None);
    sleeps.kill().unwrap();
    sleeps.wait().unwrap();
    wait_until_so_many_are_left(1);
}

/// Nobody looks for a long time who is stuck, so whoever has the place is told of the timers that it has to see to.
#[test]
fn timers_of_one_that_blocks_are_seen_to_where_nobody_looks_soon() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    for _ in 0..10 {
        let builder = Builder::new().workers(1).warn_stuck(Duration::ZERO);
        let runtime = builder
            .stuck_after(Duration::from_secs(1000))
            .build()
            .unwrap();
        if runtime.thread_locals() == ThreadLocals::Pinned {
            continue;
        }
        runtime.run(|| {
            blocking::run(|| ());
            let (ends, blocks) = std::sync::mpsc::channel();
            let blocks = thread::spawn(move || blocking::run(|| blocks.recv().unwrap()));
            thread::sleep(Duration::from_millis(20));
            ends.send(()).unwrap();
            blocks.join().unwrap();
        });
    }
}
