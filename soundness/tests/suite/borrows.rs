//! What safe code may hold over a call that blocks: borrows of thread-locals, `Rc`s, guards. And
//! what the compiler holds by itself: the address of a thread-local in a loop.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Mutex;

use roving_soundness::{ROUNDS, many_moving_threads, migrate, migrate_inlined};

thread_local! {
    static LIST: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    static SHARED: Rc<Cell<usize>> = Rc::new(Cell::new(0));
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn a_borrow_of_a_thread_local_spans_migrations_and_meets_no_neighbour() {
    many_moving_threads(|number| {
        // All hold the mutable borrow of "the same" thread-local at the same time.
        LIST.with_borrow_mut(|list| {
            for round in 0..ROUNDS {
                list.push(number * ROUNDS + round);
                migrate(number + round);
            }
        });
        LIST.with_borrow(|list| {
            assert!(
                (0..ROUNDS)
                    .map(|round| number * ROUNDS + round)
                    .eq(list.iter().copied())
            );
        });
    });
}

#[test]
fn references_into_a_thread_local_stay_where_they_point() {
    many_moving_threads(|number| {
        COUNT.with(|count| {
            let address = &raw const *count;
            for round in 0..ROUNDS {
                count.set(count.get() + 1);
                migrate(number + round);
                COUNT.with(|again| assert_eq!(address, &raw const *again));
            }
            assert_eq!(count.get(), ROUNDS);
        });
    });
}

#[test]
fn an_rc_of_a_thread_local_is_counted_by_one_thread() {
    many_moving_threads(|number| {
        let mut clones = Vec::new();
        for round in 0..ROUNDS {
            let clone = SHARED.with(Rc::clone);
            clone.set(clone.get() + 1);
            clones.push(clone);
            migrate(number + round);
            SHARED.with(|shared| assert_eq!(Rc::strong_count(shared), 1 + clones.len()));
        }
        assert!(clones.iter().all(|clone| clone.get() == ROUNDS));
        drop(clones);
        SHARED.with(|shared| assert_eq!(Rc::strong_count(shared), 1));
    });
}

#[test]
fn guards_are_held_over_migrations() {
    many_moving_threads(|number| {
        let cell = Rc::new(RefCell::new(0));
        let mutex = Mutex::new(0);
        for round in 0..ROUNDS {
            let mut borrowed = cell.borrow_mut();
            let mut locked = mutex.lock().unwrap();
            migrate(number + round);
            *borrowed += 1;
            *locked += 1;
            assert!(cell.try_borrow().is_err());
        }
        assert_eq!((*cell.borrow(), *mutex.lock().unwrap()), (ROUNDS, ROUNDS));
    });
}

#[test]
fn a_loop_whose_thread_local_the_compiler_hoists_counts_right() {
    many_moving_threads(|number| {
        for round in 0..ROUNDS {
            for _ in 0..100 {
                COUNT.set(black_box(COUNT.get() + 1));
            }
            migrate_inlined(number + round);
            for _ in 0..100 {
                COUNT.set(black_box(COUNT.get() + 1));
            }
            migrate(number + round);
        }
        assert_eq!(COUNT.get(), 200 * ROUNDS);
    });
}
