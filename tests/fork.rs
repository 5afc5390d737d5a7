//! Processes that fork and go on without executing another program.
//!
//! - the child has a runtime of its own, which starts when it is first used there, on the thread that
//!   forked, be it an OS thread or a green one
//! - sockets that it has inherited work there, and nothing that it drops takes anything from its parent
//! - coroutines of the thread that forks go on there
//! - OS threads of a runtime that start or end meanwhile leave it whole
//! - what is left behind in the parent is told: its runtimes, its green threads, its scopes, what `greenly` has made
//! - an overflow is told there too, whatever guards the stack
//! - nothing there looks at the stack of the worker, which is the C library's to give to others

mod common;

use std::backtrace::Backtrace;
use std::future::Future;
use std::hint::black_box;
use std::io::{Read, Write};
use std::mem;
use std::os::unix::process::ExitStatusExt;
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::process::{Command, ExitStatus};
use std::sync::{Barrier, OnceLock, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{
    WORKER_COUNTS, child, is_child, message, run, runtime, watchdog, with_each_kind_of_guards,
};
use roving::coroutine::{Generator, Yielder};
use roving::net::{SocketAddr, TcpListener, TcpStream};
use roving::sync::{Arc, Mutex};
use roving::thread::State;
use roving::{
    Builder, Greenly, Handle, Runtime, ThreadLocals, block_on, blocking, channel, deadline, dump,
    go, greenly, is_green, on_warm_stack, thread,
};

/// Calls `test` in processes of its own, with global runtimes of each size.
fn in_each_process(name: &str, test: impl FnOnce()) {
    let _watchdog = watchdog("");
    if is_child(name) {
        return test();
    }
    for workers in WORKER_COUNTS {
        let mut process = child(name);
        process.env("ROVING_WORKERS", workers.to_string());
        run(process);
    }
}

/// A forked child. If it hangs, the system ends it.
struct Forked(libc::pid_t);

/// Forks; `None` in the child.
fn fork() -> Option<Forked> {
    // SAFETY: what the child then does is what these tests are about.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: it has no preconditions.
            unsafe { libc::alarm(200) };
            None
        }
        child => {
            assert!(child > 0);
            Some(Forked(child))
        }
    }
}

/// Calls `f` in a forked child, and ends that.
fn in_fork(f: impl FnOnce()) -> Forked {
    fork().unwrap_or_else(|| exit_after(f))
}

/// Calls `f` in the child, which a panic ends badly.
fn abort_on_panic(f: impl FnOnce()) {
    if panic::catch_unwind(AssertUnwindSafe(f)).is_err() {
        std::process::abort();
    }
}

/// Calls `f` in the child, and ends that.
fn exit_after(f: impl FnOnce()) -> ! {
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(if result.is_ok() { 0 } else { 101 }) }
}

impl Forked {
    fn status(self) -> ExitStatus {
        let mut status = 0;
        // SAFETY: a child of this process; the status is written to a variable.
        assert_eq!(unsafe { libc::waitpid(self.0, &raw mut status, 0) }, self.0);
        ExitStatus::from_raw(status)
    }

    fn must_end_well(self) {
        let status = self.status();
        assert!(
            status.success(),
            "the child ended by itself and well: {status}"
        );
    }

    fn must_abort(self) {
        let status = self.status();
        assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}");
    }
}

/// Uses what a runtime is made of, which is of one kind in all processes.
fn use_the_runtime() {
    static THREAD_LOCALS: OnceLock<ThreadLocals> = OnceLock::new();
    let thread_locals = Handle::current().unwrap().thread_locals();
    assert_eq!(*THREAD_LOCALS.get_or_init(|| thread_locals), thread_locals);
    let (sender, receiver) = channel::bounded(1);
    let counter = Arc::new(Mutex::new(0));
    let threads: Vec<_> = (0..20)
        .map(|n| {
            let (sender, counter) = (sender.clone(), counter.clone());
            go!(move || {
                for _ in 0..10 {
                    let mut counter = counter.lock().unwrap();
                    thread::yield_now();
                    *counter += 1;
                }
                thread::sleep(Duration::from_millis(1));
                sender.send(n).unwrap();
            })
        })
        .collect();
    assert_eq!((0..20).map(|_| receiver.recv().unwrap()).sum::<u32>(), 190);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(*counter.lock().unwrap(), 200);

    assert_eq!(go!(|| blocking(|| 7)).join().unwrap(), 7);
    let late = deadline(Duration::from_millis(1), || thread::sleep(Duration::MAX));
    assert!(late.is_err());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = go!(move || greet(&listener));
    assert_eq!(greeting(address), "hello");
    server.join().unwrap();
}

/// Accepts a connection and says hello.
fn greet(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = [0];
    stream.read_exact(&mut request).unwrap();
    assert_eq!(request, *b"?");
    stream.write_all(b"hello").unwrap();
}

fn greeting(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"?").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A listener at which a green thread of the global runtime serves, and waits.
fn served() -> (&'static TcpListener, SocketAddr) {
    let listener: &TcpListener = Box::leak(Box::new(TcpListener::bind("127.0.0.1:0").unwrap()));
    let address = listener.local_addr().unwrap();
    go!(|| loop {
        greet(listener);
    });
    assert_eq!(greeting(address), "hello");
    (listener, address)
}

#[test]
fn the_child_has_a_runtime_of_its_own() {
    in_each_process("the_child_has_a_runtime_of_its_own", || {
        use_the_runtime();
        let id = Handle::current().unwrap().id();
        for _ in 0..3 {
            let child = in_fork(|| {
                use_the_runtime();
                assert_ne!(Handle::current().unwrap().id(), id);
                // And so has the child of the child.
                in_fork(use_the_runtime).must_end_well();
                use_the_runtime();
            });
            use_the_runtime();
            child.must_end_well();
        }
        assert_eq!(Handle::current().unwrap().id(), id);
    });
}

#[test]
fn the_child_starts_the_runtime_as_its_parent_did() {
    in_each_process("the_child_starts_the_runtime_as_its_parent_did", || {
        let named = || {
            thread::spawn(os_thread_name)
                .join()
                .unwrap()
                .starts_with("mine")
        };
        let builder = || Builder::new().workers(3).thread_name("mine");
        builder().build_global().unwrap();
        assert!(named());
        in_fork(|| {
            assert!(named());
            assert!(builder().build_global().is_err());
        })
        .must_end_well();
        in_fork(|| {
            let other = Builder::new().thread_name("other");
            other.build_global().unwrap();
            assert!(!named());
        })
        .must_end_well();
    });
}

fn os_thread_name() -> String {
    common::os_thread_name()
}

#[test]
fn a_green_thread_that_forks_goes_on_alone() {
    in_each_process("a_green_thread_that_forks_goes_on_alone", || {
        let forks = |exit: fn()| {
            go!(move || {
                use_the_runtime();
                assert!(is_green());
                match fork() {
                    Some(child) => child.must_end_well(),
                    None => abort_on_panic(|| {
                        assert!(!is_green());
                        use_the_runtime();
                        thread::sleep(Duration::from_millis(1));
                        exit();
                    }),
                }
                use_the_runtime();
            })
        };
        let exits: [fn(); 3] = [
            // The child ends with its only thread.
            || (),
            || std::process::exit(0),
            || in_fork(use_the_runtime).must_end_well(),
        ];
        for exit in exits {
            forks(exit).join().unwrap();
        }
        let together: Vec<_> = exits.into_iter().map(forks).collect();
        together.into_iter().for_each(|forks| forks.join().unwrap());
    });
}

#[test]
fn a_call_that_forks_goes_on_alone() {
    in_each_process("a_call_that_forks_goes_on_alone", || {
        go!(|| {
            let child = blocking(|| {
                let child = fork();
                if child.is_none() {
                    abort_on_panic(use_the_runtime);
                }
                child
            });
            match child {
                Some(child) => child.must_end_well(),
                None => abort_on_panic(use_the_runtime),
            }
        })
        .join()
        .unwrap();
    });
}

/// Waits until all other OS threads of this process are asleep at a time.
#[cfg(target_os = "linux")]
fn until_all_others_wait() {
    use std::fs;

    // What the system says of each that counts how often it began to wait, and was made to.
    let look = || -> Option<Vec<String>> {
        let this = fs::read_link("/proc/thread-self").unwrap();
        let mut others = Vec::new();
        for task in fs::read_dir("/proc/self/task").unwrap() {
            let task = task.unwrap();
            if Some(&*task.file_name()) == this.file_name() {
                continue;
            }
            // One that has ended since is none.
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            let is_asleep = status.lines().any(|line| line.starts_with("State:\tS"));
            let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
            others.push(is_asleep.then(|| counts.collect())?);
        }
        Some(others)
    };
    // Who was asleep in both, and has not run between them, was asleep when the first ended.
    while look().is_none_or(|before| look() != Some(before)) {
        std::thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_child_drops_is_there_in_the_parent() {
    in_each_process("what_the_child_drops_is_there_in_the_parent", || {
        let (listener, address) = served();
        let isolated = runtime(2);
        let (sender, receiver) = channel::bounded::<u32>(0);
        let receives = isolated.spawn(move || receiver.recv());
        let sleeps = go!(|| thread::sleep(Duration::MAX));
        // The child takes them out of its own memory.
        let mut all = Some((isolated, sender, sleeps));
        for _ in 0..5 {
            // What waits should wait, which is when there is something to be taken away. Nor is a lock held then that the
            // child would find locked for ever.
            until_all_others_wait();
            in_fork(|| {
                let (isolated, sender, sleeps) = all.take().unwrap();
                // SAFETY: whoever serves does so in the parent, and nobody here uses it any more.
                drop(unsafe { std::ptr::read(listener) });
                drop(sender);
                sleeps.cancel();
                drop(sleeps);
                isolated.shutdown();
                use_the_runtime();
            })
            .must_end_well();
            assert_eq!(greeting(address), "hello");
        }
        let (_isolated, sender, sleeps) = all.unwrap();
        assert!(!receives.is_finished() && !sleeps.is_finished());
        sender.send(7).unwrap();
        assert_eq!(receives.join().unwrap(), Ok(7));
        sleeps.cancel();
        assert!(sleeps.join().is_err());
    });
}

#[test]
fn children_accept_at_an_inherited_listener() {
    in_each_process("children_accept_at_an_inherited_listener", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = || {
            thread::scope(|scope| {
                scope.spawn(|| greet(&listener));
                greet(&listener);
            });
        };
        let be_served = |times| (0..times).for_each(|_| assert_eq!(greeting(address), "hello"));
        for _ in 0..3 {
            thread::scope(|scope| {
                scope.spawn(serve);
                be_served(2);
            });
            let children = [in_fork(serve), in_fork(serve)];
            be_served(4);
            children.into_iter().for_each(Forked::must_end_well);
        }
    });
}

#[test]
fn what_is_left_behind_is_told() {
    in_each_process("what_is_left_behind_is_told", || {
        let isolated = runtime(2);
        let ended = go!(|| 1);
        while !ended.is_finished() {
            std::thread::yield_now();
        }
        let sleeps = go!(|| thread::sleep(Duration::MAX));
        let mut handles = Some((ended, sleeps));
        in_fork(|| {
            told(|| drop(isolated.spawn(|| ())));
            told(|| isolated.run(|| ()));
            assert_eq!(
                isolated.metrics().spawned,
                0,
                "its locks may be held for ever"
            );
            let (ended, sleeps) = handles.take().unwrap();
            assert_eq!(ended.join().unwrap(), 1);
            told(|| drop(sleeps.join()));
        })
        .must_end_well();
    });
}

/// Calls `f`, which must panic and say that it is because of a fork.
fn told<T>(f: impl FnOnce() -> T) {
    let payload = panic::catch_unwind(AssertUnwindSafe(f)).err().unwrap();
    let message = message(&*payload);
    let why = " is in the process that this one was forked from: of its threads, fork copies only the one that calls it";
    assert!(message.ends_with(why), "{message}");
}

#[test]
fn a_future_that_waits_for_a_lock_goes_on_in_the_child_and_in_the_parent() {
    let name = "a_future_that_waits_for_a_lock_goes_on_in_the_child_and_in_the_parent";
    in_each_process(name, || {
        let mutex = Mutex::new(0);
        let held = mutex.lock().unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut waits = [(); 3].map(|()| Box::pin(mutex.lock_async()));
        for waits in &mut waits {
            assert!(waits.as_mut().poll(&mut context).is_pending());
        }
        let [one, two, mut three] = waits;
        match fork() {
            Some(child) => {
                child.must_end_well();
                drop((one, held));
                let adds = block_on(two).map(|mut count| *count += 1);
                adds.unwrap();
                assert_eq!(*block_on(three).unwrap(), 1);
            }
            None => exit_after(|| {
                // It takes nobody out of the line of the parent, and has a place in its own.
                drop(one);
                assert!(three.as_mut().poll(&mut context).is_pending());
                drop(held);
                assert_eq!(*block_on(three).unwrap(), 0);
                assert_eq!(*block_on(two).unwrap(), 0);
            }),
        }
    });
}

#[test]
fn a_destructor_of_what_a_thread_has_inherited_may_fork() {
    struct Forks(mpsc::Sender<Forked>);

    impl Drop for Forks {
        fn drop(&mut self) {
            if let Some(child) = fork() {
                self.0.send(child).unwrap();
            }
        }
    }

    roving::local! {
        static FORKS: Forks;
    }

    in_each_process(
        "a_destructor_of_what_a_thread_has_inherited_may_fork",
        || {
            let (told, children) = mpsc::channel();
            let (open, closed) = channel::bounded::<()>(0);
            let has_it_last = FORKS.set(Forks(told), || go!(move || closed.recv()));
            drop(open);
            has_it_last.join().unwrap().unwrap_err();
            children.recv().unwrap().must_end_well();
        },
    );
}

#[test]
fn a_scope_is_left_behind() {
    in_each_process("a_scope_is_left_behind", || {
        let (_open, never) = channel::bounded::<()>(0);
        let mut child = None;
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            thread::scope(|scope| {
                let waits = scope.spawn(|| never.recv());
                child = fork();
                match child {
                    Some(_) => waits.cancel(),
                    None => told(|| scope.spawn(|| ())),
                }
            });
        }));
        match child {
            Some(child) => {
                result.unwrap();
                child.must_end_well();
            }
            None => exit_after(|| told(|| panic::resume_unwind(result.unwrap_err()))),
        }
    });
}

/// Recurses until there is no stack left.
fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if depth == u64::MAX {
        return frame[0];
    }
    black_box(overflow(depth + 1)) + frame[15]
}

#[test]
fn an_overflow_in_the_child_is_told() {
    let name = "an_overflow_in_the_child_is_told";
    let _watchdog = watchdog("");
    if !is_child(name) {
        for process in with_each_kind_of_guards(|| child(name)) {
            let printed = run(process);
            let told = printed.matches("'forks' has overflowed its stack").count();
            assert_eq!(told, 7, "{printed}");
        }
        return;
    }
    // What executes another program takes nothing from this one.
    let execute = || assert!(Command::new("true").status().unwrap().success());
    fn overflows() {
        black_box(overflow(black_box(0)));
    }
    let forks = |f: fn()| go!(name = "forks", f).join();
    let tests: [fn(); 7] = [
        // On the stack of the thread that forked.
        || in_fork(overflows).must_abort(),
        // On that of one which begins in the child.
        || in_fork(|| drop(go!(name = "forks", overflows).join())).must_abort(),
        // On the same in a child of the child.
        || in_fork(|| in_fork(overflows).must_abort()).must_end_well(),
        || {
            let begins_and_forks = || in_fork(overflows).must_abort();
            let in_child = move || go!(name = "forks", begins_and_forks).join().unwrap();
            in_fork(in_child).must_end_well();
        },
        // On what it was lent,
        || block_on(on_warm_stack(async { in_fork(overflows).must_abort() })),
        // and after that on its own.
        || match block_on(on_warm_stack(async { fork() })) {
            Some(child) => child.must_abort(),
            None => exit_after(overflows),
        },
        // And here still.
        || (),
    ];
    for test in tests {
        execute();
        forks(test).unwrap();
    }
    in_fork(move || drop(forks(overflows))).must_abort();
}

/// What the caller's stack is made of, while other OS threads have all the memory that the C library keeps
/// for their stacks, and have written to it.
fn frames_while_stacks_are_reused() -> String {
    fn writes(depth: u32) -> u8 {
        let frame = black_box([0x51_u8; 4096]);
        let below = if depth > 0 { writes(depth - 1) } else { 0 };
        black_box(frame)[0] ^ below
    }
    const OTHERS: usize = 24;
    let barrier = Barrier::new(OTHERS + 1);
    std::thread::scope(|scope| {
        for _ in 0..OTHERS {
            scope.spawn(|| {
                black_box(writes(100));
                barrier.wait();
                barrier.wait();
            });
        }
        barrier.wait();
        let frames = Backtrace::force_capture().to_string();
        barrier.wait();
        frames
    })
}

#[test]
fn the_stack_of_the_child_ends_where_its_thread_began() {
    in_each_process("the_stack_of_the_child_ends_where_its_thread_began", || {
        let forks = || {
            in_fork(|| {
                let frames = frames_while_stacks_are_reused();
                assert!(
                    frames.contains("frames_while_stacks_are_reused"),
                    "{frames}"
                );
                let goes_on = ["::worker::", "block_on"]
                    .iter()
                    .any(|caller| frames.contains(caller));
                assert!(!goes_on, "{frames}");
            })
            .must_end_well();
        };
        let in_guest = move || block_on(greenly(forks));
        go!(forks).join().unwrap();
        in_guest();
        go!(in_guest).join().unwrap();
        std::thread::spawn(in_guest).join().unwrap();
        let in_coroutine =
            move || Generator::new(move |_: &Yielder<(), ()>| forks()).for_each(drop);
        go!(in_coroutine).join().unwrap();
    });
}

#[test]
fn what_its_worker_shares_with_the_system_is_not_the_childs() {
    in_each_process(
        "what_its_worker_shares_with_the_system_is_not_the_childs",
        || {
            // Later than the runtime's, and more stacks than the C library keeps: the child unmaps the oldest.
            const OTHERS: usize = 64;
            let (begun, stop) = (Barrier::new(OTHERS + 2), Barrier::new(OTHERS + 1));
            go!(|| ()).join().unwrap();
            let forks = || {
                let child = in_fork(|| {
                    for _ in 0..3 {
                        std::thread::spawn(|| ()).join().unwrap();
                        // When it has been away, the system writes down where it is.
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
                child.status()
            };
            let in_guest = move || block_on(greenly(forks));
            std::thread::scope(|scope| {
                let host = scope.spawn(|| {
                    begun.wait();
                    in_guest()
                });
                for _ in 0..OTHERS {
                    scope.spawn(|| {
                        begun.wait();
                        stop.wait();
                    });
                }
                begun.wait();
                let ends = [host.join(), go!(forks).join(), go!(in_guest).join()];
                stop.wait();
                for end in ends {
                    assert!(end.as_ref().is_ok_and(ExitStatus::success), "{end:?}");
                }
            });
        },
    );
}

#[test]
fn a_dump_in_the_child_tells_of_its_own_threads() {
    in_each_process("a_dump_in_the_child_tells_of_its_own_threads", || {
        let sleeps = go!(|| thread::sleep(Duration::MAX));
        let ended = go!(|| ());
        while !ended.is_finished() || !matches!(sleeps.thread().state(), State::Parked(_)) {
            std::thread::yield_now();
        }
        let forks = || {
            in_fork(|| {
                assert_eq!(dump().green_threads(), 0, "{}", dump());
                assert!(matches!(ended.thread().state(), State::Ended));
                assert!(!sleeps.thread().state().to_string().is_empty());
                use_the_runtime();
                let waits = go!(thread::park);
                while dump().parked() == 0 {
                    std::thread::yield_now();
                }
                waits.thread().unpark();
                waits.join().unwrap();
            })
            .must_end_well();
        };
        forks();
        thread::scope(|scope| scope.spawn(forks).join().unwrap());
        sleeps.cancel();
    });
}

#[test]
fn coroutines_go_on_in_the_child_and_in_the_parent() {
    in_each_process("coroutines_go_on_in_the_child_and_in_the_parent", || {
        let forks = || {
            let counts = || Generator::new(|y| (0..4).for_each(|n| y.yield_(n)));
            let (mut goes_on, mut is_dropped) = (counts(), Some(counts()));
            assert_eq!(goes_on.next(), Some(0));
            assert_eq!(is_dropped.as_mut().unwrap().next(), Some(0));
            let child = in_fork(|| {
                assert_eq!(goes_on.next(), Some(1));
                drop(is_dropped.take());
                assert_eq!(counts().zip(&mut goes_on).last(), Some((1, 3)));
            });
            child.must_end_well();
            assert!(goes_on.eq(1..4));
            assert_eq!(is_dropped.unwrap().next(), Some(1));
        };
        forks();
        go!(forks).join().unwrap();
    });
}

/// Polls once.
fn poll<T>(future: &mut Greenly<T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn guests_are_left_behind() {
    in_each_process("guests_are_left_behind", || {
        let forks = || {
            let (sender, receiver) = channel::bounded::<u32>(4);
            let receives = || {
                let receiver = receiver.clone();
                greenly(move || receiver.recv().unwrap())
            };
            let mut ended = receives();
            sender.send(1).unwrap();
            assert_eq!(poll(&mut ended), Poll::Ready(1));
            let mut fresh: Vec<_> = (0..3).map(|_| receives()).collect();
            let mut begun: Vec<_> = (0..3).map(|_| receives()).collect();
            assert!(begun.iter_mut().all(|guest| poll(guest).is_pending()));
            let child = in_fork(|| {
                sender.send(2).unwrap();
                told(|| poll(&mut fresh[0]));
                told(|| poll(&mut begun[0]));
                drop((mem::take(&mut fresh), mem::take(&mut begun)));
                assert_eq!(block_on(greenly(|| 3)), 3);
                use_the_runtime();
            });
            child.must_end_well();
            for guest in begun.iter_mut().chain(&mut fresh) {
                sender.send(4).unwrap();
                assert_eq!(poll(guest), Poll::Ready(4));
            }
        };
        forks();
        go!(forks).join().unwrap();
    });
}

#[test]
fn a_guest_that_forks_goes_on_alone() {
    in_each_process("a_guest_that_forks_goes_on_alone", || {
        let forks = || {
            use_the_runtime();
            let child = block_on(greenly(|| {
                let child = fork();
                if child.is_none() {
                    abort_on_panic(use_the_runtime);
                }
                child
            }));
            let child = child.expect("the child does not come back to the host");
            child.must_end_well();
        };
        forks();
        go!(forks).join().unwrap();
    });
}

#[test]
fn a_runtime_that_starts_meanwhile_leaves_nothing_half_made() {
    again_and_again(
        "a_runtime_that_starts_meanwhile_leaves_nothing_half_made",
        || {
            let _starts = runtime(8);
            in_fork(use_the_runtime).must_end_well();
        },
    );
}

#[test]
fn a_runtime_that_ends_meanwhile_leaves_nothing_half_made() {
    again_and_again(
        "a_runtime_that_ends_meanwhile_leaves_nothing_half_made",
        || {
            let ends = runtime(8);
            let (begins, has_begun) = mpsc::channel();
            let (forks, has_forked) = mpsc::channel::<()>();
            // As it starts and ends, it is not the runtime's.
            let ender = std::thread::spawn(move || {
                begins.send(()).unwrap();
                drop(ends);
                assert!(has_forked.recv().is_err());
            });
            has_begun.recv().unwrap();
            let children: Vec<_> = (0..10).map(|_| in_fork(use_the_runtime)).collect();
            drop(forks);
            children.into_iter().for_each(Forked::must_end_well);
            ender.join().unwrap();
        },
    );
}

#[test]
fn the_first_runtime_that_starts_meanwhile_leaves_nothing_half_made() {
    again_and_again(
        "the_first_runtime_that_starts_meanwhile_leaves_nothing_half_made",
        || {
            let (begins, has_begun) = mpsc::channel();
            let (forks, has_forked) = mpsc::channel::<()>();
            let starter = std::thread::spawn(move || {
                begins.send(()).unwrap();
                let starts = runtime(8);
                assert!(has_forked.recv().is_err());
                starts
            });
            has_begun.recv().unwrap();
            let children: Vec<_> = (0..10).map(|_| in_fork(use_the_runtime)).collect();
            drop(forks);
            children.into_iter().for_each(Forked::must_end_well);
            starter.join().unwrap();
        },
    );
}

/// Those that were registered before the runtime's own run while that waits for nobody.
#[test]
fn what_is_called_within_a_fork_may_stop_and_start_a_runtime() {
    static RUNTIME: std::sync::Mutex<Option<Runtime>> = std::sync::Mutex::new(None);
    extern "C" fn stop() {
        drop(RUNTIME.lock().unwrap().take());
    }
    extern "C" fn start() {
        *RUNTIME.lock().unwrap() = Some(runtime(2));
    }
    in_each_process(
        "what_is_called_within_a_fork_may_stop_and_start_a_runtime",
        || {
            // SAFETY: the functions stay.
            let registered = unsafe { libc::pthread_atfork(Some(stop), Some(start), None) };
            assert_eq!(registered, 0);
            start();
            in_fork(use_the_runtime).must_end_well();
            let runtime = RUNTIME.lock().unwrap();
            assert_eq!(runtime.as_ref().unwrap().run(|| 7), 7);
        },
    );
}

/// Where that is the first use, and the child is as good as forked.
#[test]
fn what_is_called_within_a_fork_may_start_the_first_runtime() {
    extern "C" fn start() {
        go!(|| ()).join().unwrap();
    }
    let name = "what_is_called_within_a_fork_may_start_the_first_runtime";
    in_each_process(name, || {
        // SAFETY: the function stays.
        let registered = unsafe { libc::pthread_atfork(Some(start), None, None) };
        assert_eq!(registered, 0);
        for _ in 0..3 {
            in_fork(use_the_runtime).must_end_well();
        }
        use_the_runtime();
    });
}

/// Calls `test` in many processes of its own.
fn again_and_again(name: &str, test: impl FnOnce()) {
    let _watchdog = watchdog("");
    if is_child(name) {
        return test();
    }
    for _ in 0..40 {
        run(child(name));
    }
}
