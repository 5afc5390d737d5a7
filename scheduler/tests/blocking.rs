//! Calls that block in the system, off the workers.
//!
//! - other green threads of the worker go on meanwhile; results and panics come back
//! - more calls than helper threads all get their turn, and hundreds are under way at once
//! - at the bound calls wait and one line says so, and calls of other kinds go on
//! - a shutdown does not wait for such a call
//! - a helper does not end before a process that is to die with its parent

mod common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use common::{
    WORKER_COUNTS, child, is_child, on_each_worker_count, run, runtime, stacks_returned, watchdog,
};
use roving_scheduler::blocking::Kind;
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{Builder, Runtime, blocking, is_green, thread};

#[test]
fn the_others_go_on_meanwhile() {
    on_each_worker_count(|| {
        let (let_go, held) = mpsc::channel();
        let blocks = thread::spawn(move || blocking::run(move || held.recv().unwrap()).unwrap());
        // On one worker too, so this is where the call does not block.
        for n in 0..100 {
            assert_eq!(thread::spawn(move || n).join().unwrap(), n);
        }
        let_go.send("go").unwrap();
        assert_eq!(blocks.join().unwrap(), "go");
    });
}

#[test]
fn it_runs_on_an_os_thread() {
    on_each_worker_count(|| assert!(!blocking::run(is_green).unwrap()));
    assert_eq!(
        blocking::run(|| std::thread::current().id()).unwrap(),
        std::thread::current().id(),
        "an OS thread just calls it"
    );
}

#[test]
fn panics_go_on_in_the_caller() {
    on_each_worker_count(|| {
        for n in 0..20u64 {
            let caught = panic::catch_unwind(AssertUnwindSafe(|| {
                blocking::run(move || panic::resume_unwind(Box::new(n)))
            }));
            assert_eq!(caught.unwrap_err().downcast_ref(), Some(&n));
            assert_eq!(blocking::run(|| 1).unwrap(), 1);
        }
    });
}

#[test]
fn more_calls_than_helpers_get_their_turn() {
    on_each_worker_count(|| {
        let calls = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..200)
            .map(|n| {
                let calls = calls.clone();
                thread::spawn(move || {
                    blocking::run(move || {
                        std::thread::yield_now();
                        calls.fetch_add(1, Ordering::AcqRel);
                        n
                    })
                    .unwrap()
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
fn a_shutdown_does_not_wait_for_the_call() {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let (let_go, held) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let blocks = runtime.spawn(move || {
            blocking::run(move || {
                tell.send(()).unwrap();
                held.recv()
            })
        });
        told.recv().unwrap();
        runtime.shutdown();
        assert!(blocks.join().unwrap_err().is::<Cancelled>());
        let_go.send(()).unwrap();
    }
}

#[test]
fn hundreds_wait_for_each_other() {
    on_each_worker_count(|| {
        let all = Arc::new(Barrier::new(300));
        let calls: Vec<_> = (0..300)
            .map(|_| {
                let all = all.clone();
                thread::spawn(move || blocking::run(move || all.wait().is_leader()).unwrap())
            })
            .collect();
        let leaders = calls.into_iter().map(|call| call.join().unwrap());
        assert_eq!(leaders.filter(|leads| *leads).count(), 1);
    });
}

/// With two calls that hold the two helpers of `runtime`, a third one and calls of the other kinds.
fn at_the_bound(runtime: &Runtime) {
    let (let_go, held) = mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let (tell, told) = mpsc::channel();
    let holds = || {
        let (tell, held) = (tell.clone(), held.clone());
        runtime.spawn(move || {
            blocking::run(move || {
                tell.send(()).unwrap();
                let _ = held.lock().unwrap().recv();
            })
            .unwrap();
        })
    };
    let holding = [holds(), holds()];
    (0..2).for_each(|_| told.recv().unwrap());
    let waiting = [holds(), holds()];
    for kind in [Kind::Lookup, Kind::Close] {
        assert_eq!(runtime.run(|| blocking::run_as(kind, || 7)).unwrap(), 7);
    }
    assert!(told.try_recv().is_err(), "no third call is under way");
    drop(let_go);
    for call in holding.into_iter().chain(waiting) {
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
            at_the_bound(&builder.clone().max_blocking(2).build().unwrap());
            // The environment says so too.
            at_the_bound(&builder.build().unwrap());
        }
        return;
    }
    let mut process = child(NAME);
    process.env("ROVING_MAX_BLOCKING", "2");
    let printed = run(process);
    let told = printed.matches("ROVING_MAX_BLOCKING").count();
    assert_eq!(told, 2 * WORKER_COUNTS.len(), "{printed}");
}

/// How many OS threads of this process have a name.
#[cfg(target_os = "linux")]
fn os_threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|comm| comm.trim_end() == name).count()
}

#[cfg(target_os = "linux")]
fn wait_until_none_is_left(name: &str) {
    while os_threads(name) > 0 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_helper_does_not_end_before_its_child() {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const NAME: &str = "a_helper_does_not_end_before_its_child";
    let _watchdog = watchdog("");
    if !is_child(NAME) {
        run(child(NAME));
        return;
    }
    let runtime = runtime(2);
    let mut sleeps = runtime.run(|| {
        blocking::run(|| {
            let mut command = Command::new("sleep");
            command.arg("1000");
            // SAFETY: the call may be made between fork and exec.
            unsafe {
                command.pre_exec(|| {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    Ok(())
                });
            }
            command.spawn().unwrap()
        })
        .unwrap()
    });
    // One that has become idle later, and has no child, ends.
    runtime
        .run(|| blocking::run_as(Kind::Lookup, || ()))
        .unwrap();
    wait_until_none_is_left("roving-lookup");
    assert_eq!(sleeps.try_wait().unwrap(), None);
    runtime.shutdown();
    assert_eq!(sleeps.try_wait().unwrap(), None);
    assert_eq!(os_threads("roving-blocking"), 1);
    sleeps.kill().unwrap();
    sleeps.wait().unwrap();
    wait_until_none_is_left("roving-blocking");
}
