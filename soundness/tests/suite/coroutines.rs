//! What a coroutine of a green thread holds while that blocks, in the coroutine and outside of it: borrows
//! of the green thread's thread-locals, on the coroutine's stack.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use roving::coroutine::{self, Coroutine, Generator, Next, State, Yielder};
use roving_soundness::{
    Held, ROUNDS, holding, many_holding, many_moving_threads, migrate, migrate_inlined,
};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static LIST: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn a_generator_and_whoever_asks_it_move_in_turn() {
    many_holding(
        || (),
        |number, outside, ()| {
            coroutine::scope(|scope| {
                let generator = scope.generator(|yielder| {
                    LIST.with_borrow_mut(|list| {
                        for round in 0..ROUNDS {
                            list.push(round);
                            migrate(number + round);
                            outside.is_mine();
                            yielder.yield_(list.len());
                            outside.is_mine();
                        }
                    });
                });
                for (round, length) in generator.enumerate() {
                    assert_eq!(length, round + 1);
                    migrate(number);
                    outside.is_mine();
                    // What the generator has borrowed is borrowed here, too.
                    assert!(LIST.with(|list| list.try_borrow().is_err()));
                }
            });
            LIST.with_borrow_mut(|list| {
                assert!((0..ROUNDS).eq(list.drain(..)));
            });
        },
    );
}

/// The compiler may keep the address of a thread-local over a resume, and over a yield.
#[test]
fn a_thread_local_that_is_hoisted_over_a_resume_and_over_a_yield_counts_right() {
    many_moving_threads(|number| {
        let coroutine = Coroutine::new(move |yielder, mut way| {
            loop {
                COUNT.set(COUNT.get() + 1);
                migrate_inlined(way);
                COUNT.set(COUNT.get() + 1);
                way = yielder.yield_(COUNT.get());
                COUNT.set(COUNT.get() + 1);
            }
        });
        for round in 0..ROUNDS {
            COUNT.set(COUNT.get() + 1);
            let State::<usize, ()>::Yielded(seen) = coroutine.resume(number + round) else {
                unreachable!("it never returns");
            };
            assert_eq!(seen, COUNT.get());
            COUNT.set(COUNT.get() + 1);
            migrate_inlined(round);
        }
        assert_eq!(COUNT.get(), 5 * ROUNDS - 1);
    });
}

/// Each of many levels moves before it asks the next, and after.
fn descend(depth: usize, held: &Held<'_>, yielder: &Yielder<(), usize>) {
    migrate(depth);
    held.is_mine();
    if depth > 0 {
        coroutine::scope(|scope| {
            for n in scope.generator(|inner| descend(depth - 1, held, inner)) {
                migrate(n);
                yielder.yield_(n + 1);
                held.is_mine();
            }
        });
    }
    yielder.yield_(0);
}

#[test]
fn ten_coroutines_in_one_another_move_together() {
    many_holding(
        || (),
        |_, held, ()| {
            coroutine::scope(|scope| {
                let seen = scope.generator(|yielder| descend(10, held, yielder));
                assert!(seen.eq((0..=10).rev()));
            });
        },
    );
}

#[test]
fn peers_move_wherever_control_is() {
    many_holding(
        || (),
        |number, outside, ()| {
            let rounds = coroutine::scope(|scope| {
                let (one, other) = (scope.peer(), scope.peer());
                one.does(move |transfer, mut round: usize| {
                    while round < ROUNDS {
                        migrate(number + round);
                        outside.is_mine();
                        round = transfer.transfer(other, round + 1);
                    }
                    Next::Back(round)
                });
                other.does(move |transfer, mut round: usize| {
                    loop {
                        outside.is_mine();
                        migrate(number);
                        round = transfer.transfer(one, round + 1);
                    }
                });
                one.enter(0)
            });
            assert_eq!(rounds, ROUNDS);
        },
    );
}

/// Moves while it is dropped.
struct Moves<'a>(&'a Held<'a>);

impl Drop for Moves<'_> {
    fn drop(&mut self) {
        for way in 0..4 {
            self.0.is_mine_in_a_panic();
            migrate(way);
        }
        // Nor is one disturbed that is asked meanwhile.
        let sum: usize = Generator::new(|yielder| {
            for n in 0..4 {
                migrate(n);
                yielder.yield_(n);
            }
        })
        .sum();
        assert_eq!(sum, 6);
        self.0.is_mine_in_a_panic();
    }
}

#[test]
fn one_that_is_dropped_unwinds_wherever_its_thread_is() {
    many_holding(
        || (),
        |number, held, ()| {
            coroutine::scope(|scope| {
                for round in 0..10 {
                    let mut generator = scope.generator(|yielder| {
                        let _moves = Moves(held);
                        migrate(number);
                        yielder.yield_(());
                    });
                    assert!(generator.next().is_some());
                    migrate(round);
                    drop(generator);
                    held.is_mine();
                }
            });
        },
    );
}

#[test]
fn a_panic_that_moves_on_its_way_goes_to_whoever_resumed() {
    many_moving_threads(|number| {
        holding(number, |held| {
            coroutine::scope(|scope| {
                for _ in 0..10 {
                    let coroutine = scope.coroutine(|_: &Yielder<(), ()>, ()| {
                        let _moves = Moves(held);
                        resume_unwind(Box::new(number));
                    });
                    let resumed = catch_unwind(AssertUnwindSafe(|| coroutine.resume(())));
                    let resumed: Result<State<(), ()>, _> = resumed;
                    assert_eq!(*resumed.unwrap_err().downcast::<usize>().unwrap(), number);
                    held.is_mine();
                }
            });
        });
    });
}
