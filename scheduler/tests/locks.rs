//! The locks of the runtime itself, in a forked child.
//!
//! - those that wait for one in the parent, which the child does not have, are in nothing that it looks at

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use common::{child, is_child, run, watchdog};
use roving_scheduler::lock::Mutex;

/// With more stacks than the C library keeps for others.
const IN_PARENT: usize = 80;
/// With fewer.
const IN_CHILD: usize = 16;

/// Locks that are held while a thread waits for each.
struct Contended {
    locks: &'static [Mutex<usize>],
    threads: Vec<JoinHandle<()>>,
}

impl Contended {
    /// Locks so many, and calls `f` when all the threads wait for them.
    fn with(count: usize, f: impl FnOnce()) {
        let locks: Vec<_> = (0..count).map(|_| Mutex::new(0)).collect();
        let locks: &'static [_] = locks.leak();
        let held: Vec<_> = locks.iter().map(Mutex::lock).collect();
        let this = Self::waited_for(locks);
        f();
        drop(held);
        for thread in this.threads {
            thread.join().unwrap();
        }
        assert!(this.locks.iter().all(|lock| *lock.lock() == 1));
    }

    fn waited_for(locks: &'static [Mutex<usize>]) -> Self {
        let come: &'static AtomicUsize = Box::leak(Box::default());
        let takes = |lock: &'static Mutex<usize>| {
            thread::spawn(move || {
                come.fetch_add(1, Ordering::SeqCst);
                *lock.lock() += 1;
            })
        };
        let threads = locks.iter().map(takes).collect();
        while come.load(Ordering::SeqCst) < locks.len() || !all_others_wait() {
            thread::yield_now();
        }
        Self { locks, threads }
    }
}

/// Whether each of the other OS threads of this process was asleep when it was looked at. Where the system does not tell, it is
/// said to be.
fn all_others_wait() -> bool {
    use std::fs;

    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return true;
    };
    let sleeps = |task: &fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tS"))
    };
    tasks.flatten().filter(|task| !sleeps(task)).count() == 1
}

#[test]
fn who_waits_in_the_parent_is_in_nothing_of_the_child() {
    let _watchdog = watchdog("");
    let name = "who_waits_in_the_parent_is_in_nothing_of_the_child";
    if !is_child(name) {
        run(child(name));
        return;
    }
    Contended::with(IN_PARENT, || {
        // SAFETY: all other threads of this process wait, and have nothing locked.
        let forked = unsafe { libc::fork() };
        if forked == 0 {
            // SAFETY: it has no preconditions.
            unsafe { libc::alarm(100) };
            // With it the oldest of the stacks go that were those of the parent's threads.
            thread::spawn(|| ()).join().unwrap();
            Contended::with(IN_CHILD, || ());
            // SAFETY: it has no preconditions.
            unsafe { libc::_exit(7) };
        }
        let mut status = 0;
        // SAFETY: a child of this process; the status is written to a variable.
        assert_eq!(unsafe { libc::waitpid(forked, &raw mut status, 0) }, forked);
        let ended_well = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7;
        assert!(ended_well, "the child: {status:#x}");
    });
}
