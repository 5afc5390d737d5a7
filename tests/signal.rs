//! Signals: heard by all who listen, and left alone where nobody does.
//!
//! Each test runs in a process of its own, whose signals it has.
//!
//! - all who listen are told, once for what came before they looked; blocking, in futures, in a select
//! - what was done with a signal before is done again afterwards, and meanwhile too if it was a handler
//! - handlers that came later stay, and are heard through
//! - SIGQUIT is listened to and takes dumps
//! - a forked child does what was done before, and may listen by itself
//! - the handler does not run on the stack of a green thread
//! - signals that come together do not overflow the stack on which they are handled
//! - listeners come and go under a storm

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::pin::pin;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{
    child, each_worker_count, everywhere, is_child, on_each_mode, on_each_worker_count, printed,
    run, runtime, uses_global_runtime, watchdog,
};
use roving::channel::after;
use roving::signal::{
    SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1,
    SIGUSR2, SIGWINCH, SIGXCPU, Signals, ctrl_c, ctrl_c_async,
};
use roving::{Builder, block_on, deadline, go, select, thread};
use std::os::unix::process::ExitStatusExt;

/// Runs `test` in a process of its own.
fn alone(name: &str, test: impl FnOnce()) {
    let _watchdog = watchdog("");
    if is_child(name) {
        test();
    } else {
        run(child(name));
    }
}

fn send(signal: i32) {
    // SAFETY: a signal to this process.
    assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
}

/// Sends a signal to this OS thread, which has handled it when this returns.
fn raise(signal: i32) {
    // SAFETY: it has no preconditions.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// The handler, or one of the constants.
fn disposition(signal: i32) -> libc::sighandler_t {
    // SAFETY: it asks for what there is.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(signal, ptr::null(), &raw mut action), 0);
        action.sa_sigaction
    }
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

fn install(signal: i32, handler: libc::sighandler_t) {
    // SAFETY: the handlers of these tests do what may be done in one.
    assert_ne!(unsafe { libc::signal(signal, handler) }, libc::SIG_ERR);
}

fn counts() -> libc::sighandler_t {
    count as *const () as libc::sighandler_t
}

#[test]
fn all_who_listen_are_told() {
    alone("all_who_listen_are_told", || {
        uses_global_runtime();
        everywhere(|| {
            let both = Signals::new([SIGUSR1, SIGUSR2]).unwrap();
            let listeners: Vec<_> = (0..5)
                .map(|_| {
                    let signals = Signals::new([SIGUSR1]).unwrap();
                    go!(move || {
                        assert_eq!(signals.recv().unwrap(), SIGUSR1);
                        signals
                    })
                })
                .collect();
            assert_eq!(both.try_recv(), None);
            send(SIGUSR1);
            for listener in listeners {
                let signals = listener.join().unwrap();
                // It has been one, and no other.
                assert_eq!(signals.try_recv(), None);
            }
            assert_eq!(both.recv().unwrap(), SIGUSR1);
            send(SIGUSR2);
            assert_eq!(both.iter().next().unwrap().unwrap(), SIGUSR2);
            assert_eq!(both.try_recv(), None);

            // What comes again before it is taken is one.
            for _ in 0..10 {
                raise(SIGUSR1);
            }
            assert_eq!(both.recv().unwrap(), SIGUSR1);
            assert_eq!(both.try_recv(), None);
        });
    });
}

#[test]
fn each_signal_goes_to_one_who_takes_it() {
    alone("each_signal_goes_to_one_who_takes_it", || {
        on_each_mode(|| {
            let signals = Arc::new(Signals::new([SIGUSR1, SIGHUP]).unwrap());
            let takers: Vec<_> = (0..2)
                .map(|_| {
                    let signals = signals.clone();
                    go!(move || signals.recv().unwrap())
                })
                .collect();
            send(SIGUSR1);
            send(SIGHUP);
            let mut taken: Vec<_> = takers.into_iter().map(|t| t.join().unwrap()).collect();
            taken.sort_unstable();
            assert_eq!(taken, [SIGHUP, SIGUSR1]);
            assert_eq!(signals.try_recv(), None);
        });
    });
}

#[test]
fn waits_end_and_futures_are_dropped() {
    alone("waits_end_and_futures_are_dropped", || {
        uses_global_runtime();
        everywhere(|| {
            let signals = Signals::new([SIGUSR1]).unwrap();
            let late = deadline(Duration::from_millis(2), || signals.recv());
            assert!(!matches!(late, Ok(Ok(_))));
            {
                let waits = pin!(signals.recv_async());
                let context = &mut Context::from_waker(Waker::noop());
                assert!(waits.poll(context).is_pending());
            }
            let first = select! {
                ready(signals) => true,
                recv(after(Duration::from_millis(1))) -> _ => false,
            };
            assert!(!first);
            send(SIGUSR1);
            select! {
                ready(signals) => assert_eq!(signals.try_recv(), Some(SIGUSR1)),
                recv(after(Duration::from_secs(3600))) -> _ => unreachable!(),
            }
            send(SIGUSR1);
            assert_eq!(block_on(signals.recv_async()).unwrap(), SIGUSR1);
        });
        on_each_mode(|| {
            let waits = go!(|| Signals::new([SIGUSR1]).unwrap().recv());
            thread::sleep(Duration::from_millis(2));
            waits.cancel();
            // It was told, or had not begun.
            if let Ok(told) = waits.join() {
                assert_eq!(told.unwrap_err().kind(), ErrorKind::Other);
            }
        });
    });
}

#[test]
fn futures_wait_in_other_executors() {
    alone("futures_wait_in_other_executors", || {
        uses_global_runtime();
        let signals = Signals::new([SIGUSR1]).unwrap();
        send(SIGUSR1);
        assert_eq!(
            futures::executor::block_on(signals.recv_async()).unwrap(),
            SIGUSR1
        );
        let tokio = tokio::runtime::Runtime::new().unwrap();
        let sends = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(5));
            send(SIGUSR1);
        });
        assert_eq!(tokio.block_on(signals.recv_async()).unwrap(), SIGUSR1);
        sends.join().unwrap();
    });
}

#[test]
fn ctrl_c_is_waited_for() {
    alone("ctrl_c_is_waited_for", || {
        on_each_mode(|| {
            // So that the process outlives those that come too early, and none is on its way in the end.
            let listens = Signals::new([SIGINT]).unwrap();
            let waits = go!(ctrl_c);
            while !waits.is_finished() {
                send(SIGINT);
                listens.recv().unwrap();
                thread::sleep(Duration::from_millis(1));
            }
            waits.join().unwrap().unwrap();
            let mut waits = pin!(ctrl_c_async());
            let context = &mut Context::from_waker(Waker::noop());
            assert!(waits.as_mut().poll(context).is_pending());
            send(SIGINT);
            while waits.as_mut().poll(context).is_pending() {
                thread::sleep(Duration::from_millis(1));
            }
        });
    });
}

#[test]
fn what_cannot_be_listened_to_is_refused() {
    alone("what_cannot_be_listened_to_is_refused", || {
        let kill = libc::SIGKILL;
        for signal in [
            kill,
            libc::SIGSTOP,
            libc::SIGSEGV,
            0,
            -1,
            32,
            65,
            1000,
            i32::MAX,
        ] {
            let before = disposition(SIGUSR1);
            let error = Signals::new([SIGUSR1, signal]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&signal.to_string()), "{error}");
            // Nothing of it is left.
            assert_eq!(disposition(SIGUSR1), before);
        }
        // Real-time signals have no names.
        let signals = Signals::new([libc::SIGRTMIN() + 1]).unwrap();
        send(libc::SIGRTMIN() + 1);
        assert_eq!(signals.recv().unwrap(), libc::SIGRTMIN() + 1);
    });
}

#[test]
fn what_was_done_before_is_done_again() {
    alone("what_was_done_before_is_done_again", || {
        on_each_mode(|| {
            for before in [libc::SIG_DFL, libc::SIG_IGN, counts()] {
                install(SIGWINCH, before);
                let calls = CALLS.load(Ordering::Relaxed);
                for round in 1..=3 {
                    let one = Signals::new([SIGWINCH]).unwrap();
                    let other = Signals::new([SIGWINCH, SIGUSR2]).unwrap();
                    assert_ne!(disposition(SIGWINCH), before);
                    drop(one);
                    assert_ne!(disposition(SIGWINCH), before);
                    send(SIGWINCH);
                    assert_eq!(other.recv().unwrap(), SIGWINCH);
                    if before == counts() {
                        // The handler is called after it was heard.
                        while CALLS.load(Ordering::Relaxed) < calls + round {
                            thread::yield_now();
                        }
                    }
                    drop(other);
                    assert_eq!(disposition(SIGWINCH), before);
                }
                let called = CALLS.load(Ordering::Relaxed) - calls;
                assert_eq!(called, if before == counts() { 3 } else { 0 });
            }
            assert_eq!(disposition(SIGUSR2), libc::SIG_DFL);
            assert_eq!(disposition(SIGHUP), libc::SIG_DFL);
        });
    });
}

/// The one that came last is called by the system, and calls the one before.
#[test]
fn a_handler_that_came_later_stays() {
    static BELOW: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn passes_on(signal: libc::c_int) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        let below = BELOW.load(Ordering::Relaxed);
        // SAFETY: it is the handler that was there before, which looks at no more of what comes with the signal.
        unsafe {
            let below: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                std::mem::transmute(below);
            below(signal, ptr::null_mut(), ptr::null_mut());
        }
    }
    alone("a_handler_that_came_later_stays", || {
        let later = passes_on as *const () as libc::sighandler_t;
        let first = Signals::new([SIGTERM]).unwrap();
        BELOW.store(disposition(SIGTERM), Ordering::Relaxed);
        install(SIGTERM, later);
        for round in 1..=3 {
            raise(SIGTERM);
            assert_eq!(first.recv().unwrap(), SIGTERM);
            let again = Signals::new([SIGTERM]).unwrap();
            raise(SIGTERM);
            assert_eq!(again.recv().unwrap(), SIGTERM);
            assert_eq!(first.recv().unwrap(), SIGTERM);
            assert_eq!(CALLS.load(Ordering::Relaxed), 2 * round);
        }
        drop(first);
        assert_eq!(disposition(SIGTERM), later);
        // It is that handler's business whether the process ends.
        raise(SIGTERM);
        assert_eq!(CALLS.load(Ordering::Relaxed), 7);
        let again = Signals::new([SIGTERM]).unwrap();
        raise(SIGTERM);
        assert_eq!(again.recv().unwrap(), SIGTERM);
        drop(again);
        // One that takes it away, and calls nobody, is not asked.
        install(SIGTERM, libc::SIG_DFL);
        let again = Signals::new([SIGTERM]).unwrap();
        raise(SIGTERM);
        assert_eq!(again.recv().unwrap(), SIGTERM);
    });
}

#[test]
fn the_signal_ends_a_process_that_listens_no_more() {
    const NAME: &str = "the_signal_ends_a_process_that_listens_no_more";
    let _watchdog = watchdog("");
    if is_child(NAME) {
        runtime(2).run(|| {
            let signals = Signals::new([SIGTERM]).unwrap();
            send(SIGTERM);
            assert_eq!(signals.recv().unwrap(), SIGTERM);
            println!("heard");
            drop(signals);
            send(SIGTERM);
            thread::sleep(Duration::from_secs(300));
        });
    }
    let output = child(NAME).output().unwrap();
    assert!(printed(&output).contains("heard"));
    assert_eq!(
        output.status.signal(),
        Some(SIGTERM),
        "{}",
        printed(&output)
    );
}

/// Whichever comes first.
#[test]
fn a_signal_takes_a_dump_and_is_heard() {
    alone("a_signal_takes_a_dump_and_is_heard", || {
        let file = std::env::temp_dir().join(format!("roving-heard-{}", std::process::id()));
        let dumps = || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            text.matches("green thread").count()
        };
        let before = Signals::new([SIGQUIT]).unwrap();
        let builder = Builder::new().workers(2).dump_on_signal(Some(file.clone()));
        let runtime = builder.build().unwrap();
        let after = Signals::new([SIGQUIT]).unwrap();
        runtime.run(|| {
            for _ in 0..3 {
                let seen = dumps();
                send(SIGQUIT);
                assert_eq!(before.recv().unwrap(), SIGQUIT);
                assert_eq!(after.recv().unwrap(), SIGQUIT);
                while dumps() == seen {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            drop((before, after));
            let seen = dumps();
            send(SIGQUIT);
            while dumps() == seen {
                thread::sleep(Duration::from_millis(1));
            }
            let listens = Signals::new([SIGQUIT]).unwrap();
            send(SIGQUIT);
            assert_eq!(listens.recv().unwrap(), SIGQUIT);
        });
        runtime.shutdown();
        fs::remove_file(file).unwrap();
    });
}

/// Calls `f` in a forked child, and gives how that ended.
fn in_fork(f: impl FnOnce()) -> std::process::ExitStatus {
    // SAFETY: what the child does is what this test is about.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: it has no preconditions.
        unsafe { libc::alarm(200) };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        // SAFETY: as above.
        unsafe { libc::_exit(if result.is_ok() { 0 } else { 101 }) }
    }
    let mut status = 0;
    // SAFETY: a child of this process; the status is written to a variable.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    std::process::ExitStatus::from_raw(status)
}

#[test]
fn a_forked_child_listens_by_itself() {
    alone("a_forked_child_listens_by_itself", || {
        let signals = Signals::new([SIGTERM]).unwrap();
        assert_eq!(in_fork(|| send(SIGTERM)).signal(), Some(SIGTERM));
        let status = in_fork(|| {
            let error = signals.recv().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let own = Signals::new([SIGTERM]).unwrap();
            for _ in 0..3 {
                send(SIGTERM);
                assert_eq!(own.recv().unwrap(), SIGTERM);
                assert_eq!(signals.try_recv(), None);
            }
            drop(own);
            assert_eq!(disposition(SIGTERM), libc::SIG_DFL);
        });
        assert!(status.success(), "{status}");
        // The parent has heard nothing of it.
        assert_eq!(signals.try_recv(), None);
        send(SIGTERM);
        assert_eq!(signals.recv().unwrap(), SIGTERM);
    });
}

/// A green thread whose stack is nearly used up is interrupted as any other. The handler that was there before shows
/// where handlers run.
#[test]
fn handlers_do_not_run_on_green_stacks() {
    static WHERE: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn tell_where(_: libc::c_int) {
        let here = 0_u8;
        WHERE.store((&raw const here).addr(), Ordering::Relaxed);
    }
    alone("handlers_do_not_run_on_green_stacks", || {
        on_each_mode(|| {
            install(SIGUSR1, tell_where as *const () as libc::sighandler_t);
            let signals = Signals::new([SIGUSR1]).unwrap();
            let interrupted = go!(stack_size = 64 << 10, move || {
                let here = 0_u8;
                raise(SIGUSR1);
                let distance = WHERE
                    .load(Ordering::Relaxed)
                    .abs_diff((&raw const here).addr());
                assert!(distance > 64 << 10, "{distance}");
                assert_eq!(signals.recv().unwrap(), SIGUSR1);
            });
            interrupted.join().unwrap();
            install(SIGUSR1, libc::SIG_DFL);
        });
    });
}

/// They are all handled at once when they are let through, on OS threads with little room for that and on workers.
#[test]
fn many_come_together() {
    const TOGETHER: [i32; 12] = [
        SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
        SIGWINCH, SIGXCPU,
    ];

    alone("many_come_together", || {
        uses_global_runtime();
        everywhere(|| {
            let signals = Signals::new(TOGETHER).unwrap();
            // SAFETY: zeroes are a set, which is filled and given back as it was, on the same OS thread.
            unsafe {
                let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
                libc::sigfillset(&raw mut all);
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
                TOGETHER.into_iter().for_each(raise);
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
            }
            let taken: BTreeSet<_> = TOGETHER.map(|_| signals.recv().unwrap()).into();
            assert_eq!(taken, BTreeSet::from(TOGETHER));
        });
    });
}

/// Whoever listens before a signal is sent hears it, whatever comes and goes beside.
#[test]
fn listeners_come_and_go_under_a_storm() {
    alone("listeners_come_and_go_under_a_storm", || {
        // So that it does not end the process while nobody listens.
        install(SIGUSR1, counts());
        each_worker_count(|runtime| {
            let stop = Arc::new(AtomicBool::new(false));
            let storm = std::thread::spawn({
                let stop = stop.clone();
                move || {
                    while !stop.load(Ordering::Acquire) {
                        send(SIGUSR1);
                    }
                }
            });
            let listeners: Vec<_> = (0..8)
                .map(|n| {
                    runtime.spawn(move || {
                        for round in 0..50 {
                            let signals = Signals::new([SIGUSR1, SIGUSR2]).unwrap();
                            if (n + round) % 3 == 0 {
                                select! { ready(signals) => {} }
                            }
                            assert_eq!(signals.recv().unwrap(), SIGUSR1);
                        }
                    })
                })
                .collect();
            listeners.into_iter().for_each(|l| l.join().unwrap());
            stop.store(true, Ordering::Release);
            storm.join().unwrap();
            assert_eq!(disposition(SIGUSR1), counts());
        });
        on_each_worker_count(|| {
            let signals = Signals::new([SIGHUP]).unwrap();
            let (sender, told) = roving::channel::bounded(1);
            let hears = go!(move || {
                for _ in 0..300 {
                    assert_eq!(signals.recv().unwrap(), SIGHUP);
                    sender.send(()).unwrap();
                }
            });
            for _ in 0..300 {
                send(SIGHUP);
                told.recv().unwrap();
            }
            hears.join().unwrap();
        });
    });
}

#[test]
fn a_poll_that_is_ready_takes_it_at_once() {
    alone("a_poll_that_is_ready_takes_it_at_once", || {
        uses_global_runtime();
        let signals = Signals::new([SIGUSR1]).unwrap();
        raise(SIGUSR1);
        let waits = pin!(signals.recv_async());
        let context = &mut Context::from_waker(Waker::noop());
        assert!(matches!(waits.poll(context), Poll::Ready(Ok(SIGUSR1))));
    });
}

#[test]
fn a_handler_that_was_there_before_finds_blocked_what_it_asked_for() {
    static BLOCKED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn looks(_: libc::c_int) {
        // SAFETY: it asks for what is blocked; zeroes are a valid set.
        let is_blocked = unsafe {
            let mut blocked: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &raw mut blocked);
            [SIGUSR1, SIGUSR2, SIGTERM].map(|signal| libc::sigismember(&raw const blocked, signal))
        };
        assert_eq!(is_blocked, [1, 1, 0]);
        BLOCKED.fetch_add(1, Ordering::Relaxed);
    }
    alone(
        "a_handler_that_was_there_before_finds_blocked_what_it_asked_for",
        || {
            // SAFETY: the handler does what may be done in one; zeroes are a valid action.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = looks as *const () as usize;
                libc::sigaddset(&raw mut action.sa_mask, SIGUSR2);
                assert_eq!(
                    libc::sigaction(SIGUSR1, &raw const action, ptr::null_mut()),
                    0
                );
            }
            let signals = Signals::new([SIGUSR1]).unwrap();
            raise(SIGUSR1);
            assert_eq!(BLOCKED.load(Ordering::Relaxed), 1);
            assert_eq!(signals.recv().unwrap(), SIGUSR1);
        },
    );
}
