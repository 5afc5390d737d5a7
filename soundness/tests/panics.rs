//! Panics and migrations: the count of panics is the green thread's own.

use std::panic::{self, AssertUnwindSafe};

use roving_soundness::{ROUNDS, many_moving_threads, migrate};

/// Suspends while it is dropped, and looks whether its thread panics.
struct MovesInDrop(bool);

impl Drop for MovesInDrop {
    fn drop(&mut self) {
        for way in 0..4 {
            assert_eq!(std::thread::panicking(), self.0);
            assert_eq!(roving::thread::panicking(), self.0);
            migrate(way);
        }
        assert_eq!(std::thread::panicking(), self.0);
    }
}

fn quietly() {
    panic::set_hook(Box::new(|_| ()));
}

#[test]
fn destructors_move_while_their_thread_unwinds_and_its_neighbours_do_not() {
    quietly();
    many_moving_threads(|number| {
        for round in 0..ROUNDS / 10 {
            let panics = (number + round) % 2 == 0;
            let outcome = panic::catch_unwind(|| {
                let _moves = MovesInDrop(panics);
                migrate(round);
                if panics {
                    panic::panic_any((number, round));
                }
            });
            assert!(!std::thread::panicking());
            match outcome {
                Ok(()) => assert!(!panics),
                Err(payload) => assert_eq!(payload.downcast_ref(), Some(&(number, round))),
            }
            migrate(number);
        }
    });
}

#[test]
fn a_panic_is_caught_within_an_unwinding_that_moves() {
    /// Panics and catches that, suspending all the while, in an unwinding.
    struct CatchesInDrop;
    impl Drop for CatchesInDrop {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            let inner = panic::catch_unwind(|| {
                let _moves = MovesInDrop(true);
                migrate(1);
                panic::panic_any("inner");
            });
            assert_eq!(inner.unwrap_err().downcast_ref(), Some(&"inner"));
            assert!(std::thread::panicking());
        }
    }
    quietly();
    many_moving_threads(|number| {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            let _catches = CatchesInDrop;
            migrate(number);
            panic::panic_any("outer");
        }));
        assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&"outer"));
        assert!(!std::thread::panicking());
    });
}

#[test]
fn a_panic_ends_the_green_thread_after_it_has_moved() {
    quietly();
    many_moving_threads(|number| {
        let ends = roving::thread::spawn(move || {
            let _moves = MovesInDrop(true);
            migrate(number);
            panic::panic_any(number);
        });
        migrate(number);
        assert_eq!(ends.join().unwrap_err().downcast_ref(), Some(&number));
    });
}
