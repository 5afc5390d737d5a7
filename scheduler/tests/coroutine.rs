//! Coroutines and generators: values both ways, and each of their ends; on plain OS threads and on green
//! threads of every mode.

mod common;

use std::cell::{Cell, RefCell};
use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::drops::{Dropped, OnDrop};
use common::{
    child, everywhere, is_child, on_each_mode, panics, printed, run, stacks_returned, watchdog,
};
use roving_scheduler::coroutine::{self, Builder, Coroutine, Generator, State, Yielder};
use roving_scheduler::{
    CancelToken, await_, deadline, greenly, local, shield, stacks, sync, thread,
};

#[test]
fn values_go_both_ways() {
    everywhere(|| {
        let coroutine = Coroutine::new(|yielder, first: u32| {
            let second = yielder.yield_(format!("first {first}"));
            let third = yielder.yield_(format!("second {second}"));
            [first, second, third]
        });
        assert!(!coroutine.is_done());
        assert_eq!(coroutine.resume(1), State::Yielded("first 1".to_owned()));
        assert_eq!(coroutine.resume(2), State::Yielded("second 2".to_owned()));
        assert!(!coroutine.is_done());
        assert_eq!(coroutine.resume(3), State::Complete([1, 2, 3]));
        assert!(coroutine.is_done());
    });
}

#[test]
fn values_of_every_size_and_none_go_both_ways() {
    everywhere(|| {
        let large = Coroutine::new(|yielder, mut input: [u64; 100]| {
            loop {
                input = yielder.yield_(input.map(|n| n + 1));
            }
        });
        for n in 0..10 {
            assert_eq!(
                large.resume([n; 100]),
                State::<_, ()>::Yielded([n + 1; 100])
            );
        }
        let small = Coroutine::new(|yielder, (): ()| {
            yielder.yield_(Box::new(1_u8));
            yielder.yield_(Box::new(2));
        });
        assert_eq!(small.resume(()), State::Yielded(Box::new(1)));
        assert_eq!(small.resume(()), State::Yielded(Box::new(2)));
        assert_eq!(small.resume(()), State::Complete(()));
    });
}

#[test]
fn one_that_never_yields_is_a_call() {
    everywhere(|| {
        let coroutine = Coroutine::<_, (), _>::new(|_, n: u32| n + 1);
        assert_eq!(coroutine.resume(1), State::Complete(2));
    });
}

#[test]
fn plain_functions_yield_from_any_depth() {
    fn descend(depth: u32, yielder: &Yielder<(), u32>) {
        if depth > 0 {
            descend(depth - 1, yielder);
            yielder.yield_(depth);
            descend(depth - 1, yielder);
        }
    }
    everywhere(|| {
        let ruler = Generator::new(|yielder| descend(4, yielder));
        let marks: Vec<_> = ruler.collect();
        assert_eq!(marks, [1, 2, 1, 3, 1, 2, 1, 4, 1, 2, 1, 3, 1, 2, 1]);
    });
}

#[test]
fn a_generator_is_an_iterator_that_is_fused() {
    everywhere(|| {
        let mut generator = Generator::new(|yielder| {
            for n in 0..3 {
                yielder.yield_(n);
            }
        });
        assert_eq!(generator.size_hint(), (0, None));
        let mut seen = Vec::new();
        for n in &mut generator {
            seen.push(n);
        }
        assert_eq!(seen, [0, 1, 2]);
        assert!(generator.is_done());
        assert_eq!(generator.size_hint(), (0, Some(0)));
        assert_eq!((generator.next(), generator.next()), (None, None));
        let mut both = Generator::new(|y| y.yield_(1)).zip(Generator::new(|y| y.yield_(2)));
        assert_eq!(both.next(), Some((1, 2)));
    });
}

#[test]
fn a_panic_goes_to_whoever_resumes_and_is_the_end() {
    everywhere(|| {
        let coroutine = Coroutine::new(|yielder, (): ()| {
            yielder.yield_(1);
            panic_any("its own payload");
        });
        assert_eq!(coroutine.resume(()), State::<_, ()>::Yielded(1));
        assert_eq!(panics(|| coroutine.resume(())), "its own payload");
        assert!(coroutine.is_done());
        assert!(!std::thread::panicking());
        let again = panics(|| coroutine.resume(()));
        assert_eq!(again, "cannot resume a coroutine: it has panicked");
        let mut generator = Generator::<u8>::new(|_| panic!("no value"));
        assert_eq!(panics(|| generator.next()), "no value");
        assert_eq!(generator.next(), None);
    });
}

#[test]
fn one_that_has_returned_is_not_resumed() {
    everywhere(|| {
        let coroutine = Coroutine::<(), (), ()>::new(|_, ()| ());
        let _ = coroutine.resume(());
        let again = panics(|| coroutine.resume(()));
        assert_eq!(again, "cannot resume a coroutine: it has returned");
    });
}

#[test]
fn one_that_runs_is_not_resumed() {
    type Shared = Rc<RefCell<Option<Rc<Coroutine<'static, (), (), ()>>>>>;
    everywhere(|| {
        let shared = Shared::default();
        let own = shared.clone();
        let coroutine = Rc::new(Coroutine::new(move |_, ()| {
            let this = own.borrow().clone().unwrap();
            // Directly, and from one that it has resumed.
            let said = panics(|| this.resume(()));
            assert_eq!(said, "cannot resume a coroutine: it is running");
            let inner = Coroutine::<(), (), _>::new(move |_, ()| this.resume(()));
            let said = panics(|| inner.resume(()));
            assert_eq!(said, "cannot resume a coroutine: it is running");
            own.take();
        }));
        *shared.borrow_mut() = Some(coroutine.clone());
        assert_eq!(coroutine.resume(()), State::Complete(()));
    });
}

#[test]
fn a_misuse_is_reported_where_it_is() {
    let name = "a_misuse_is_reported_where_it_is";
    if is_child(name) {
        let coroutine = Coroutine::<(), (), ()>::new(|_, ()| ());
        let _ = coroutine.resume(());
        panics(|| coroutine.resume(()));
        return;
    }
    let printed = run(child(name));
    assert!(
        printed.contains("panicked at scheduler/tests/coroutine.rs"),
        "{printed}"
    );
}

#[test]
fn one_that_is_dropped_unwinds() {
    everywhere(|| {
        let drops = Rc::new(Cell::new(0));
        let suspended = |depth: u32| {
            let drops = drops.clone();
            fn nested(depth: u32, drops: &Cell<u32>, yielder: &Yielder<(), u32>) {
                let _dropped = Dropped(drops);
                if depth == 0 {
                    yielder.yield_(1);
                    unreachable!("it is not resumed");
                }
                nested(depth - 1, drops, yielder);
            }
            Coroutine::new(move |yielder, ()| nested(depth, &drops, yielder))
        };
        let coroutine = suspended(9);
        drop(suspended(5));
        assert_eq!(drops.get(), 0);
        assert_eq!(coroutine.resume(()), State::Yielded(1));
        drop(coroutine);
        assert_eq!(drops.get(), 10);
        assert!(!std::thread::panicking());
        // What one that never ran has captured goes with it.
        assert_eq!(Rc::strong_count(&drops), 1);
    });
}

#[test]
fn one_may_be_dropped_while_its_thread_unwinds() {
    everywhere(|| {
        let drops = Cell::new(0);
        coroutine::scope(|scope| {
            let said = panics(|| {
                let coroutine = scope.coroutine(|yielder, ()| {
                    let _dropped = Dropped(&drops);
                    yielder.yield_(());
                });
                let _: State<(), ()> = coroutine.resume(());
                panic!("outside");
            });
            assert_eq!(said, "outside");
            assert_eq!(drops.get(), 1);
        });
    });
}

#[test]
fn destructors_of_one_that_is_dropped_may_block() {
    everywhere(|| {
        let blocked = Rc::new(Cell::new(false));
        let noted = blocked.clone();
        let mut generator = Generator::new(move |yielder| {
            let _blocks = OnDrop(|| {
                thread::sleep(Duration::from_millis(1));
                let (sends, receives) = roving_scheduler::channel::bounded(0);
                let sender = std::thread::spawn(move || sends.send(()).unwrap());
                receives.recv().unwrap();
                sender.join().unwrap();
                noted.set(true);
            });
            yielder.yield_(1);
        });
        generator.next();
        drop(generator);
        assert!(blocked.get());
    });
}

#[test]
fn a_panic_of_a_destructor_of_one_that_is_dropped_goes_on() {
    everywhere(|| {
        // While it does not unwind: it has caught that.
        let coroutine = Coroutine::new(|yielder, ()| {
            let caught = catch_unwind(AssertUnwindSafe(|| yielder.yield_(1)));
            assert!(caught.is_err());
            panic!("while it was dropped");
        });
        let _: State<_, ()> = coroutine.resume(());
        assert_eq!(panics(|| drop(coroutine)), "while it was dropped");
        // That of what one has captured that never ran.
        let captured = OnDrop(|| panic!("captured"));
        let fresh = Coroutine::<(), (), ()>::new(move |_, ()| drop(captured));
        assert_eq!(panics(|| drop(fresh)), "captured");
    });
}

#[test]
fn one_that_catches_its_end_may_return_and_may_not_yield() {
    everywhere(|| {
        let coroutine = Coroutine::new(|yielder, ()| {
            let ends = catch_unwind(AssertUnwindSafe(|| yielder.yield_(1)));
            assert!(ends.is_err());
            let said = panics(|| yielder.yield_(2));
            assert_eq!(said, "cannot yield from a coroutine: it is being dropped");
            "a result that nobody wants"
        });
        assert_eq!(coroutine.resume(()), State::Yielded(1));
        drop(coroutine);
    });
}

#[test]
fn one_that_unwinds_does_not_yield() {
    everywhere(|| {
        let said = Rc::new(RefCell::new(String::new()));
        let heard = said.clone();
        let coroutine = Coroutine::<(), (), ()>::new(move |yielder, ()| {
            let _yields = OnDrop(|| *heard.borrow_mut() = panics(|| yielder.yield_(())));
            panic!("it unwinds");
        });
        assert_eq!(panics(|| coroutine.resume(())), "it unwinds");
        assert_eq!(*said.borrow(), "cannot yield from a coroutine: it unwinds");
    });
}

/// A destructor may use coroutines, those that were made before too: its thread unwinds, and they do not.
#[test]
fn one_that_is_resumed_by_a_thread_that_unwinds_yields() {
    everywhere(|| {
        let outer = Coroutine::new(|yielder, n: u32| {
            let mut n = n;
            loop {
                n = yielder.yield_(n + 1);
            }
        });
        assert_eq!(outer.resume(1), State::<_, ()>::Yielded(2));
        let said = panics(|| {
            let _resumes = OnDrop(|| {
                assert!(std::thread::panicking());
                assert_eq!(outer.resume(2), State::Yielded(3));
                let inner: Vec<_> = Generator::new(|y| (0..5).for_each(|n| y.yield_(n))).collect();
                assert_eq!(inner, [0, 1, 2, 3, 4]);
                let mut halfway = Generator::new(|y| (0..5).for_each(|n| y.yield_(n)));
                halfway.next();
            });
            panic!("it unwinds");
        });
        assert_eq!(said, "it unwinds");
        assert_eq!(outer.resume(3), State::Yielded(4));
    });
}

#[test]
fn what_is_the_threads_is_not_left_to_whoever_resumes() {
    local! {
        static COLOUR: u32;
    }
    const REFUSED: &str = "cannot yield from a coroutine: it is inside of a deadline, a token, a shield or a \
                           local's value, which belong to the thread";
    everywhere(|| {
        let hour = Duration::from_secs(3600);
        let refuse = |enter: fn(&dyn Fn())| {
            let coroutine = Coroutine::<(), u32, ()>::new(move |yielder, ()| {
                yielder.yield_(1);
                let said = panics(|| enter(&|| yielder.yield_(2)));
                assert_eq!(said, REFUSED);
                yielder.yield_(3);
            });
            // Whoever resumes may be within as many as it likes, and in others each time.
            let resume = || coroutine.resume(());
            assert_eq!(resume(), State::Yielded(1));
            assert_eq!(
                deadline(hour, || shield(resume)).unwrap(),
                State::Yielded(3)
            );
            assert_eq!(COLOUR.set(1, resume), State::Complete(()));
        };
        refuse(|f| deadline(Duration::from_secs(3600), f).unwrap());
        refuse(|f| shield(f));
        refuse(|f| COLOUR.set(7, f));
        refuse(|f| CancelToken::new().run(f).unwrap());
    });
}

#[test]
fn a_deadline_ends_what_blocks_in_a_coroutine() {
    everywhere(|| {
        let mut generator = Generator::new(|yielder| {
            yielder.yield_(1);
            thread::sleep(Duration::MAX);
            yielder.yield_(2);
        });
        let next = |g: &mut Generator<'_, u32>| deadline(Duration::from_millis(1), || g.next());
        assert_eq!(next(&mut generator).unwrap(), Some(1));
        assert!(next(&mut generator).is_err());
        assert!(generator.is_done());
        assert_eq!(generator.next(), None);
    });
}

#[test]
fn one_that_is_forgotten_keeps_its_stack() {
    let name = "one_that_is_forgotten_keeps_its_stack";
    if !is_child(name) {
        run(child(name));
        return;
    }
    let coroutine = Coroutine::new(|yielder, address: usize| {
        let local = Cell::new(address);
        yielder.yield_((&raw const local).expose_provenance());
    });
    let State::Yielded(address) = coroutine.resume(7) else {
        unreachable!("it yields");
    };
    std::mem::forget(coroutine);
    assert_eq!(stacks().in_use, 1);
    for _ in 0..100 {
        let others: Vec<_> = (0..10)
            .map(|_| Generator::new(|y| (0..3).for_each(|n| y.yield_(n))))
            .collect();
        others
            .into_iter()
            .for_each(|other| assert_eq!(other.take(2).count(), 2));
    }
    assert_eq!(stacks().in_use, 1);
    let kept = std::ptr::with_exposed_provenance::<usize>(address);
    // SAFETY: the stack is never used again, and has on it what it had.
    assert_eq!(unsafe { *kept }, 7);
}

/// One that lies in a thread-local has borrowed another, which goes first. Either it has ended before, or it is forgotten.
#[test]
fn one_in_a_thread_local_does_not_find_another_that_is_gone() {
    struct Local(Cell<&'static str>);

    impl Drop for Local {
        fn drop(&mut self) {
            self.0.set("gone");
        }
    }

    thread_local! {
        static COROUTINE: RefCell<Option<Coroutine<'static, (), (), ()>>> = const { RefCell::new(None) };
        static FRESH: RefCell<Option<Coroutine<'static, (), (), ()>>> = const { RefCell::new(None) };
        static LOCAL: Local = const { Local(Cell::new("there")) };
    }

    let name = "one_in_a_thread_local_does_not_find_another_that_is_gone";
    if !is_child(name) {
        run(child(name));
        return;
    }
    fn keep_one(seen: &std::sync::mpsc::Sender<&'static str>) {
        let (looks, drops) = (seen.clone(), seen.clone());
        COROUTINE.set(Some(Coroutine::new(move |yielder, ()| {
            LOCAL.with(|local| {
                let _looks = OnDrop(|| looks.send(local.0.get()).unwrap());
                yielder.yield_(());
            });
        })));
        COROUTINE.with_borrow(|coroutine| {
            let _: State<(), ()> = coroutine.as_ref().unwrap().resume(());
        });
        // Where it has borrowed nothing yet, it is dropped.
        let captured = OnDrop(move || drops.send("dropped").unwrap());
        FRESH.set(Some(Coroutine::new(move |_, ()| drop(captured))));
    }
    let (sender, seen) = std::sync::mpsc::channel();
    for_each_kind_of_thread(|| keep_one(&sender));
    drop(sender);
    let seen: Vec<_> = seen.try_iter().collect();
    assert!(
        seen.contains(&"dropped") && !seen.contains(&"gone"),
        "{seen:?}"
    );
}

/// Runs `f` on an OS thread and on green threads, which end.
fn for_each_kind_of_thread(f: impl Fn() + Sync + Send) {
    std::thread::scope(|scope| {
        // A scope does not wait for the end of thread-locals.
        scope.spawn(&f).join().unwrap();
    });
    let runtime = common::runtime(2);
    runtime.run(|| {
        thread::scope(|scope| {
            scope.spawn(&f).join().unwrap();
        });
    });
}

#[test]
fn coroutines_in_coroutines() {
    fn count(depth: u32, y: &Yielder<(), u32>) {
        y.yield_(depth);
        if depth > 0 {
            let inner = Generator::new(move |y| count(depth - 1, y));
            for n in inner {
                thread::yield_now();
                y.yield_(n);
            }
        }
        y.yield_(depth);
    }
    everywhere(|| {
        let all: Vec<_> = Generator::new(|y| count(10, y)).collect();
        assert!(all.iter().copied().eq((0..=10).rev().chain(0..=10)));
        // A panic passes through all of them, and so does a drop.
        let mut halfway = Generator::new(|y| count(10, y));
        assert_eq!(halfway.by_ref().take(11).last(), Some(0));
        drop(halfway);
        let deep = Generator::<u32>::new(|y| {
            for n in Generator::new(|y| {
                y.yield_(1);
                resume_unwind(Box::new("from below"));
            }) {
                y.yield_(n);
            }
        });
        assert_eq!(panics(|| deep.count()), "from below");
    });
}

/// One may yield from above another that it has resumed, in its own name.
#[test]
fn an_outer_one_yields_from_an_inner_one() {
    everywhere(|| {
        let outer = |end: u32| {
            let drops = Rc::new(Cell::new(0));
            let counted = drops.clone();
            let outer = Generator::new(move |outer| {
                coroutine::scope(|scope| {
                    let inner = scope.generator(|inner| {
                        let _dropped = Dropped(&counted);
                        outer.yield_(1);
                        inner.yield_(2);
                        outer.yield_(3);
                    });
                    inner.for_each(|n| outer.yield_(n * 10));
                });
            });
            let seen: Vec<_> = outer.take(end as usize).collect();
            assert_eq!(drops.get(), u32::from(end > 0));
            seen
        };
        assert_eq!(outer(9), [1, 20, 3]);
        for end in 0..3 {
            assert_eq!(outer(end), [1, 20, 3][..end as usize]);
        }
    });
}

#[test]
fn a_scope_ends_what_was_made_in_it() {
    everywhere(|| {
        let drops = Cell::new(0);
        let mut text = String::from("a");
        coroutine::scope(|scope| {
            let forgotten = scope.coroutine(|yielder, ()| {
                let _dropped = Dropped(&drops);
                yielder.yield_(());
            });
            let _: State<(), ()> = forgotten.resume(());
            std::mem::forget(forgotten);
            let pushes = scope.coroutine(|yielder, mut letter: char| {
                loop {
                    text.push(letter);
                    letter = yielder.yield_(());
                }
            });
            for letter in "bcd".chars() {
                let _: State<(), ()> = pushes.resume(letter);
            }
            let dropped = scope.generator(|yielder| {
                let _dropped = Dropped(&drops);
                yielder.yield_(());
            });
            drop(dropped);
            assert_eq!(drops.get(), 0);
        });
        assert_eq!((drops.get(), text.as_str()), (1, "abcd"));
    });
}

/// What is on the stack of a coroutine may be used by threads that it waits for.
#[test]
fn a_scope_of_threads_in_one_that_is_forgotten_is_waited_for() {
    everywhere(|| {
        let mut numbers = vec![1; 1000];
        coroutine::scope(|scope| {
            let forgotten = scope.coroutine(|yielder, ()| {
                std::thread::scope(|threads| {
                    threads.spawn(|| {
                        for number in &mut numbers {
                            std::thread::yield_now();
                            *number += 1;
                        }
                    });
                    yielder.yield_(());
                });
            });
            let _: State<(), ()> = forgotten.resume(());
            std::mem::forget(forgotten);
        });
        assert_eq!(numbers, [2; 1000]);
    });
}

#[test]
fn a_scope_that_unwinds_ends_what_was_made_in_it_first() {
    everywhere(|| {
        let drops = Cell::new(0);
        let said = panics(|| {
            coroutine::scope(|scope| {
                for _ in 0..3 {
                    let coroutine = scope.coroutine(|yielder, ()| {
                        let _dropped = Dropped(&drops);
                        yielder.yield_(());
                    });
                    let _: State<(), ()> = coroutine.resume(());
                    std::mem::forget(coroutine);
                }
                panic!("in the scope");
            });
        });
        assert_eq!((said.as_str(), drops.get()), ("in the scope", 3));
        // A panic at the end comes after all have ended.
        let said = panics(|| {
            coroutine::scope(|scope| {
                for number in 0..3 {
                    let dropped = &drops;
                    let coroutine = scope.coroutine(move |yielder, ()| {
                        let _ = catch_unwind(AssertUnwindSafe(|| yielder.yield_(())));
                        let _dropped = Dropped(dropped);
                        panic!("at the end {number}");
                    });
                    let _: State<(), ()> = coroutine.resume(());
                    std::mem::forget(coroutine);
                }
            });
        });
        assert_eq!((said.as_str(), drops.get()), ("at the end 0", 6));
    });
}

/// A destructor that runs at the end of a scope may make another coroutine in it.
#[test]
fn a_scope_ends_what_is_made_as_it_ends() {
    everywhere(|| {
        let drops = Cell::new(0);
        coroutine::scope(|scope| {
            let drops = &drops;
            let make = move || {
                let coroutine = scope.coroutine(move |yielder, ()| {
                    let _dropped = Dropped(drops);
                    yielder.yield_(());
                });
                let _: State<(), ()> = coroutine.resume(());
                std::mem::forget(coroutine);
            };
            let first = scope.coroutine(move |yielder, ()| {
                let _makes = OnDrop(make);
                yielder.yield_(());
            });
            let _: State<(), ()> = first.resume(());
            std::mem::forget(first);
        });
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn many_in_one_scope_leave_nothing_behind() {
    everywhere(|| {
        coroutine::scope(|scope| {
            for n in 0..3000_usize {
                let generator = scope.generator(move |y| (0..n).for_each(|n| y.yield_(n)));
                assert_eq!(generator.take(2).count(), n.min(2));
            }
        });
    });
}

#[test]
fn locks_are_held_over_a_yield() {
    everywhere(|| {
        let lock = sync::Mutex::new(0);
        coroutine::scope(|scope| {
            let holds = scope.coroutine(|yielder, ()| {
                let mut guard = lock.lock().unwrap();
                *guard += 1;
                yielder.yield_(());
                *guard += 1;
            });
            let _: State<(), ()> = holds.resume(());
            assert!(lock.try_lock().is_err());
            let _: State<(), ()> = holds.resume(());
            assert!(lock.try_lock().is_ok());
        });
        assert_eq!(lock.into_inner().unwrap(), 2);
    });
}

#[test]
fn what_blocks_in_a_generator_blocks_its_thread_alone() {
    everywhere(|| {
        let (sender, receiver) = roving_scheduler::channel::bounded(0);
        let sends = std::thread::spawn(move || (0..10).for_each(|n| sender.send(n).unwrap()));
        let squares = Generator::new(move |yielder| {
            for n in receiver {
                thread::yield_now();
                yielder.yield_(n * n);
            }
        });
        assert_eq!(squares.sum::<u32>(), 285);
        sends.join().unwrap();
    });
}

#[test]
fn a_cancelled_thread_unwinds_through_its_coroutines() {
    on_each_mode(|| {
        let (sender, begun) = roving_scheduler::channel::bounded(0);
        let (dropped, drops) = roving_scheduler::channel::unbounded();
        let handle = thread::spawn(move || {
            let inside = dropped.clone();
            let mut generator = Generator::<u8>::new(move |_| {
                let _inside = OnDrop(|| inside.send("inside").unwrap());
                sender.send(()).unwrap();
                thread::park();
                unreachable!("nobody unparks it");
            });
            let _outside = OnDrop(|| dropped.send("outside").unwrap());
            generator.next();
        });
        begun.recv().unwrap();
        handle.cancel();
        assert!(handle.join().is_err());
        assert_eq!(drops.iter().collect::<Vec<_>>(), ["inside", "outside"]);
    });
}

#[test]
fn stacks_have_the_size_that_was_asked_for_and_go_back() {
    everywhere(|| {
        let builder = Builder::new().stack_size(100_000);
        let coroutine = builder.coroutine(|yielder, ()| {
            let deep = std::hint::black_box([1_u8; 20_000]);
            yielder.yield_(deep.len());
        });
        let coroutine = coroutine.unwrap();
        let _: State<_, ()> = coroutine.resume(());
        let usage = coroutine.stack_usage().unwrap();
        assert_eq!(usage.size, 128 << 10);
        assert!((20_000..128 << 10).contains(&usage.high_water), "{usage:?}");
        let _ = coroutine.resume(());
        assert!(coroutine.stack_usage().is_none());
        let error = Builder::new()
            .stack_size(usize::MAX)
            .generator(|y| y.yield_(1));
        assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    });
}

/// Whoever is refused a stack is told so, and can go on.
#[cfg(not(any(feature = "address-sanitizer", feature = "thread-sanitizer")))]
#[test]
fn no_stack_is_an_error() {
    let name = "no_stack_is_an_error";
    if is_child(name) {
        let mut made = Vec::new();
        let error = loop {
            match Builder::new()
                .stack_size(64 << 20)
                .generator(|y| y.yield_(1))
            {
                Ok(generator) => made.push(generator),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory, "{error}");
        assert_eq!(made.pop().unwrap().sum::<i32>(), 1);
        return;
    }
    let _watchdog = watchdog("");
    let output = common::child_with_limits(name, "ulimit -v 4000000")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", printed(&output));
}

/// In a destructor, what panics aborts.
#[test]
fn a_yield_in_a_destructor_of_one_that_is_dropped_says_so_and_aborts() {
    let name = "a_yield_in_a_destructor_of_one_that_is_dropped_says_so_and_aborts";
    if is_child(name) {
        let coroutine = Coroutine::<(), (), ()>::new(|yielder, ()| {
            let _yields = OnDrop(|| yielder.yield_(()));
            yielder.yield_(());
        });
        let _ = coroutine.resume(());
        drop(coroutine);
        return;
    }
    use std::os::unix::process::ExitStatusExt;

    let _watchdog = watchdog("");
    let output = child(name).output().unwrap();
    let printed = printed(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{printed}");
    assert!(
        printed.contains("cannot yield from a coroutine: it is being dropped"),
        "{printed}"
    );
}

/// In blocking code that somebody else's executor polls, a coroutine waits for futures of that.
#[test]
fn a_generator_in_a_future_waits_for_futures() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let (sender, receiver) = futures::channel::oneshot::channel();
    let sends = std::thread::spawn(move || sender.send(3).unwrap());
    let future = greenly(move || {
        let values = Generator::new(move |yielder| {
            yielder.yield_(1);
            thread::sleep(Duration::from_millis(1));
            yielder.yield_(2);
            yielder.yield_(await_(receiver).unwrap());
        });
        values.sum::<u32>()
    });
    assert_eq!(futures::executor::block_on(future), 6);
    sends.join().unwrap();
    // And one that is dropped in the middle takes its coroutines along.
    let dropped = Arc::new(AtomicU32::new(0));
    let counted = dropped.clone();
    let mut future = Box::pin(greenly(move || {
        let mut values = Generator::<()>::new(move |_| {
            let _dropped = OnDrop(|| _ = counted.fetch_add(1, Ordering::Relaxed));
            await_(futures::future::pending::<()>());
        });
        values.next();
    }));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    drop(future);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}
