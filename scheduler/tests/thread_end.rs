//! What a thread leaves suspended on other stacks, coroutines and what `greenly` runs, has ended before its thread-locals are
//! destroyed; and what `exit` does to it.
//!
//! Only with glibc is anything sure to run before all destructors.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod common;

use std::cell::{Cell, RefCell};
use std::future::Future as _;
use std::mem;
use std::pin::Pin;
use std::process;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use common::drops::OnDrop;
use common::{child, is_child, panics, printed, run, watchdog};
use roving_scheduler::coroutine::{self, Coroutine, Generator, State, Yielder};
use roving_scheduler::{Builder, Greenly, Runtime, ThreadLocals, greenly, thread, wait};

type Plain = Coroutine<'static, (), (), ()>;
type Calls = OnDrop<fn()>;

/// What is in a thread-local: it says whether it is there, and when it goes.
struct Local {
    is_there: AtomicBool,
}

impl Local {
    const fn new() -> Self {
        Self {
            is_there: AtomicBool::new(true),
        }
    }

    fn look(&self, who: &str) {
        let state = if self.is_there.load(Ordering::SeqCst) {
            "there"
        } else {
            "gone"
        };
        println!("{who}: {state}");
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.is_there.store(false, Ordering::SeqCst);
        println!("it goes");
    }
}

thread_local! {
    static LOCAL: Local = const { Local::new() };
    /// Used for the first time by a destructor.
    static LATE: Local = const { Local::new() };
    static KEPT: RefCell<Option<Plain>> = const { RefCell::new(None) };
    static KEPT_FUTURE: RefCell<Option<Pin<Box<Greenly<()>>>>> = const { RefCell::new(None) };
    static SHARED: RefCell<Option<Rc<Plain>>> = const { RefCell::new(None) };
    static ENDS_WITH_IT: RefCell<Option<Rc<Plain>>> = const { RefCell::new(None) };
    static WAIT: RefCell<Option<wait::Wait<'static>>> = const { RefCell::new(None) };
    static LAST: RefCell<Option<Calls>> = const { RefCell::new(None) };
}

/// Lends `local` to another thread, which uses it until this goes on; and then uses it itself.
fn lend(local: &Local, suspend: impl FnOnce()) {
    std::thread::scope(|scope| {
        let is_over = AtomicBool::new(false);
        let is_over = &*Box::leak(Box::new(is_over));
        scope.spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                assert!(local.is_there.load(Ordering::SeqCst), "it was lent");
                std::thread::yield_now();
            }
            local.look("who was lent it");
        });
        let _looks = OnDrop(|| {
            local.look("who has lent it");
            is_over.store(true, Ordering::SeqCst);
        });
        suspend();
    });
}

const WELL: &str = "who has lent it: there\nwho was lent it: there\nit goes\n";

fn lends(yielder: &Yielder<(), ()>) {
    LOCAL.with(|local| lend(local, || yielder.yield_(())));
}

fn begun(body: impl FnOnce(&Yielder<(), ()>) + 'static) -> Plain {
    let coroutine = Coroutine::new(move |yielder, ()| body(yielder));
    assert_eq!(coroutine.resume(()), State::Yielded(()));
    coroutine
}

fn pinned(workers: usize) -> Runtime {
    let builder = Builder::new().workers(workers).pinned_thread_locals();
    builder.build().unwrap()
}

/// The kinds of threads that there are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Os,
    Green,
    Pinned,
    Guest,
}

impl Kind {
    /// Runs `f` on one that ends.
    fn run(self, f: fn()) {
        match self {
            Self::Os => std::thread::spawn(f).join().unwrap(),
            Self::Green => common::runtime(2).run(|| thread::spawn(f).join().unwrap()),
            // The thread-locals end with the worker.
            Self::Pinned => pinned(1).run(|| thread::spawn(f).join().unwrap()),
            Self::Guest => {
                let ends = move || futures::executor::block_on(greenly(f));
                std::thread::spawn(ends).join().unwrap();
            }
        }
    }
}

/// Runs `f` in a process of its own, on each kind of thread, with own thread-locals and without. Checks whether it is a green
/// thread that shares thread-locals, and what it printed.
fn on_each_kind(name: &str, f: fn(), check: fn(bool, &str)) {
    const KIND: &str = "ROVING_TEST_KIND";
    let kinds = [Kind::Os, Kind::Green, Kind::Pinned, Kind::Guest];
    if is_child(name) {
        let number: usize = std::env::var(KIND).unwrap().parse().unwrap();
        println!("begins");
        kinds[number].run(f);
        println!("ends");
        return;
    }
    let _watchdog = watchdog(name);
    let runtime_shares = common::runtime(1).thread_locals() != ThreadLocals::Own;
    for (number, kind) in kinds.into_iter().enumerate() {
        for mode in ["own", "pinned"] {
            let mut child = child(name);
            child.env(KIND, number.to_string());
            if mode == "pinned" {
                child.env("ROVING_THREAD_LOCALS", mode);
            }
            let output = child.output().unwrap();
            let all = printed(&output);
            assert!(
                output.status.success(),
                "{kind:?}, {mode}: {}\n{all}",
                output.status
            );
            let (_, printed) = all.split_once("begins\n").unwrap();
            let printed = printed
                .split_once("ends\n")
                .map_or(printed, |(printed, _)| printed);
            println!("{kind:?}, {mode}: {printed}");
            let shares = match kind {
                Kind::Pinned => true,
                Kind::Green => mode == "pinned" || runtime_shares,
                Kind::Os | Kind::Guest => false,
            };
            check(shares, printed);
        }
    }
}

#[test]
fn one_that_is_forgotten() {
    on_each_kind(
        "one_that_is_forgotten",
        || mem::forget(begun(lends)),
        |_, printed| assert_eq!(printed, WELL),
    );
}

#[test]
fn one_in_a_thread_local_that_goes_last() {
    on_each_kind(
        "one_in_a_thread_local_that_goes_last",
        || {
            KEPT.set(None);
            KEPT.set(Some(begun(lends)));
        },
        |_, printed| assert_eq!(printed, WELL),
    );
}

#[test]
fn one_that_is_kept_by_itself() {
    on_each_kind(
        "one_that_is_kept_by_itself",
        || {
            let cycle = Rc::new(RefCell::new(None));
            let own = cycle.clone();
            cycle.replace(Some(begun(move |yielder| {
                let _own = own;
                lends(yielder);
            })));
        },
        |_, printed| assert_eq!(printed, WELL),
    );
}

/// The thread-local is younger than all that the coroutine has done before.
#[test]
fn one_that_has_yielded_before_it_borrows() {
    on_each_kind(
        "one_that_has_yielded_before_it_borrows",
        || {
            let coroutine = begun(|yielder| {
                yielder.yield_(());
                lends(yielder);
            });
            assert_eq!(coroutine.resume(()), State::Yielded(()));
            mem::forget(coroutine);
        },
        |_, printed| assert_eq!(printed, WELL),
    );
}

#[test]
fn one_in_one_and_one_beside_it() {
    on_each_kind(
        "one_in_one_and_one_beside_it",
        || {
            let outer = begun(|outer| {
                mem::forget(begun(lends));
                // It yields on the stack of another, which runs.
                coroutine::scope(|scope| {
                    let mut runs = scope.generator::<_, ()>(|_| outer.yield_(()));
                    runs.next();
                });
            });
            mem::forget(outer);
        },
        |_, printed| assert_eq!(printed, WELL),
    );
}

/// What a destructor has begun has ended before the next one runs.
#[test]
fn one_that_a_destructor_has_begun() {
    on_each_kind(
        "one_that_a_destructor_has_begun",
        || {
            LATE.with(|_| ());
            LAST.set(Some(OnDrop(|| {
                mem::forget(begun(|yielder| {
                    LATE.with(|late| lend(late, || yielder.yield_(())));
                }));
            })));
        },
        |_, printed| assert_eq!(printed, WELL),
    );
}

/// It is the thread's, so a panic of it is told and goes nowhere.
#[test]
fn one_that_panics_as_it_ends() {
    on_each_kind(
        "one_that_panics_as_it_ends",
        || {
            mem::forget(begun(|yielder| {
                let caught =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| yielder.yield_(())));
                assert!(caught.is_err());
                panic!("as it ends");
            }));
            mem::forget(begun(lends));
        },
        |_, printed| assert!(printed.contains(WELL), "{printed}"),
    );
}

/// `exit` destroys the thread-locals of the thread that calls it; not those that a green thread shares.
#[test]
fn one_of_a_thread_that_exits() {
    on_each_kind(
        "one_of_a_thread_that_exits",
        || {
            KEPT.set(None);
            KEPT.set(Some(begun(lends)));
            process::exit(0);
        },
        |shares, printed| assert_eq!(printed, if shares { "" } else { WELL }),
    );
}

/// It never goes on, and is dropped with its thread-local.
#[test]
fn one_that_exits() {
    on_each_kind(
        "one_that_exits",
        || {
            KEPT.set(Some(Coroutine::new(|_, ()| process::exit(0))));
            KEPT.with_borrow(|kept| kept.as_ref().unwrap().resume(()));
        },
        |_, printed| assert_eq!(printed, ""),
    );
}

/// A neighbour has a thread-local of their worker, while another one is in `exit`.
#[test]
fn thread_locals_that_neighbours_share_stay_in_an_exit() {
    let name = "thread_locals_that_neighbours_share_stay_in_an_exit";
    if is_child(name) {
        let runtime = pinned(1);
        runtime.run(|| {
            thread::spawn(|| {
                LOCAL.with(|local| {
                    thread::sleep(Duration::from_millis(1));
                    local.look("the neighbour");
                });
            });
            thread::yield_now();
            LAST.set(Some(OnDrop(|| thread::sleep(Duration::from_millis(50)))));
            process::exit(0);
        });
    }
    let _watchdog = watchdog("");
    let output = child(name).output().unwrap();
    let printed = printed(&output);
    assert!(output.status.success(), "{printed}");
    assert!(!printed.contains("it goes"), "{printed}");
}

/// Without thread-locals of its own it has those of the OS thread that polls it.
#[test]
fn what_greenly_runs_and_is_left() {
    fn polled() -> Pin<Box<Greenly<()>>> {
        let future = greenly(|| LOCAL.with(|local| lend(local, || thread::sleep(Duration::MAX))));
        let mut future = Box::pin(future);
        let mut context = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
        future
    }
    let name = "what_greenly_runs_and_is_left";
    let ways: [fn(); 3] = [
        || mem::forget(polled()),
        || {
            KEPT_FUTURE.set(None);
            KEPT_FUTURE.set(Some(polled()));
        },
        // Another one may not run it.
        || {
            let future = polled();
            std::thread::spawn(|| drop(future)).join().unwrap();
        },
    ];
    if is_child(name) {
        for way in ways {
            println!("begins");
            std::thread::spawn(way).join().unwrap();
            println!("ends");
        }
        return;
    }
    let _watchdog = watchdog("");
    let mut child = child(name);
    child.env("ROVING_THREAD_LOCALS", "pinned");
    let printed = run(child);
    let each: Vec<_> = printed.split("begins\n").skip(1).collect();
    assert_eq!(each.len(), ways.len(), "{printed}");
    for each in each {
        assert_eq!(each.split_once("ends\n").unwrap().0, WELL);
    }
}

/// In it are no threads that were lent anything, and nobody could be waited for.
#[test]
fn one_in_a_forked_child() {
    on_each_kind(
        "one_in_a_forked_child",
        || {
            KEPT.set(None);
            KEPT.set(Some(begun(|yielder| {
                LOCAL.with(|local| {
                    lend(local, || {
                        yielder.yield_(());
                        yielder.yield_(());
                    });
                });
            })));
            // SAFETY: what the child does may be done in a child of a process with many threads: it holds no lock.
            let forked = unsafe { libc::fork() };
            if forked == 0 {
                KEPT.with_borrow(|kept| {
                    let resumed = kept.as_ref().unwrap().resume(());
                    assert_eq!(resumed, State::Yielded(()));
                });
                process::exit(7);
            }
            let mut status = 0;
            // SAFETY: of the child.
            assert_eq!(unsafe { libc::waitpid(forked, &raw mut status, 0) }, forked);
            assert_eq!(libc::WEXITSTATUS(status), 7);
        },
        |_, printed| assert!(printed.ends_with(WELL), "{printed}"),
    );
}

/// What a green thread has polled first may go on with a neighbour when that has ended.
#[test]
fn what_greenly_runs_goes_on_with_a_neighbour() {
    let name = "what_greenly_runs_goes_on_with_a_neighbour";
    if is_child(name) {
        pinned(1).run(|| {
            let (sender, receiver) = roving_scheduler::channel::bounded(1);
            let polls = || {
                let mut future = Box::pin(greenly(move || {
                    let mut two = Generator::new(|yielder| (0..2).for_each(|n| yielder.yield_(n)));
                    let first = two.next();
                    assert_eq!(receiver.recv(), Ok(7));
                    (first, two.next())
                }));
                let mut context = Context::from_waker(Waker::noop());
                assert!(future.as_mut().poll(&mut context).is_pending());
                mem::forget(begun(lends));
                future
            };
            let future = thread::spawn(polls).join().unwrap();
            println!("the first has ended");
            sender.send(7).unwrap();
            let goes_on = || roving_scheduler::block_on(future);
            let seen = thread::spawn(goes_on).join().unwrap();
            assert_eq!(seen, (Some(0), Some(1)));
        });
        return;
    }
    let _watchdog = watchdog("");
    let mut child = child(name);
    child.env("ROVING_THREAD_LOCALS", "pinned");
    let printed = run(child);
    let lent = WELL.trim_end_matches("it goes\n");
    assert!(
        printed.contains(&format!("{lent}the first has ended\n")),
        "{printed}"
    );
}

/// Green threads of one worker may find one another's coroutines and waits in its thread-locals.
#[test]
fn what_is_anothers_is_refused() {
    let _watchdog = watchdog("");
    let runtime = pinned(1);
    runtime.run(|| {
        let has_dropped = Rc::new(Cell::new(false));
        let noted = has_dropped.clone();
        SHARED.set(Some(Rc::new(begun(move |yielder| {
            let _notes = OnDrop(|| noted.set(true));
            yielder.yield_(());
        }))));
        WAIT.set(Some(wait::begin()));
        ENDS_WITH_IT.set(Some(Rc::new(begun(|yielder| yielder.yield_(())))));
        let neighbour = thread::spawn(|| {
            let shared = SHARED.take().unwrap();
            let said = panics(|| shared.resume(()));
            assert_eq!(
                said,
                "cannot resume a coroutine: it belongs to another thread"
            );
            drop(shared);
            let said = panics(|| WAIT.take().unwrap().block(None));
            assert_eq!(said, "cannot block in a wait that another thread has begun");
        });
        while !neighbour.is_finished() {
            thread::yield_now();
        }
        neighbour.join().unwrap();
        assert!(!has_dropped.get(), "it is left to its own thread");
    });
    runtime.run(|| {
        let ended = ENDS_WITH_IT.take().unwrap();
        assert!(ended.is_done());
        let said = panics(|| ended.resume(()));
        assert_eq!(
            said,
            "cannot resume a coroutine: it has ended with its thread"
        );
    });
}
