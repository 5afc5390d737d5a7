//! Coroutines that transfer control to one another: where it goes, with what, and when one of them ends.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use common::drops::Dropped;
use common::{everywhere, panics};
use roving_scheduler::coroutine::{self, Builder, Coroutine, Next, Peer, State};
use roving_scheduler::thread;

#[test]
fn control_goes_where_it_is_sent_with_values_of_each_ones_type() {
    everywhere(|| {
        let log = RefCell::new(Vec::new());
        let result = coroutine::scope(|scope| {
            let log = &log;
            let (one, other) = (scope.peer::<u32, _>(), scope.peer::<&str, _>());
            one.does(move |transfer, mut n| {
                loop {
                    log.borrow_mut().push(format!("one {n}"));
                    n = transfer.transfer(other, if n < 3 { "more" } else { "enough" });
                }
            });
            other.does(move |transfer, mut word| {
                for n in 2.. {
                    log.borrow_mut().push(format!("other {word}"));
                    if word == "enough" {
                        break;
                    }
                    thread::yield_now();
                    word = transfer.transfer(one, n);
                }
                Next::Back("done")
            });
            one.enter(1)
        });
        assert_eq!(result, "done");
        let expected = [
            "one 1",
            "other more",
            "one 2",
            "other more",
            "one 3",
            "other enough",
        ];
        assert_eq!(log.into_inner(), expected);
    });
}

#[test]
fn a_ring_goes_round_for_long_on_the_stacks_that_it_has() {
    const ROUNDS: u32 = 20_000;
    everywhere(|| {
        let sum = coroutine::scope(|scope| {
            let peers: Vec<Peer<'_, u32, u32>> = (0..5).map(|_| scope.peer()).collect();
            for (index, &peer) in peers.iter().enumerate() {
                let next = peers[(index + 1) % peers.len()];
                let small = Builder::new().stack_size(64 << 10);
                let made = small.peer(peer, move |transfer, mut n| {
                    while n < ROUNDS {
                        n = transfer.transfer(next, n + 1);
                    }
                    Next::Back(n)
                });
                made.unwrap();
            }
            peers[2].enter(0)
        });
        assert_eq!(sum, ROUNDS);
    });
}

#[test]
fn one_that_ends_says_who_is_next() {
    everywhere(|| {
        let end = coroutine::scope(|scope| {
            let (first, second, third) = (scope.peer(), scope.peer(), scope.peer());
            first.does(move |_, n: u32| second.next(n + 1));
            second.does(move |_, n: u32| third.next(format!("{n}")));
            third.does(move |_, text: String| Next::Back(text + "!"));
            let end = first.enter(1);
            assert!(first.is_done() && second.is_done() && third.is_done());
            end
        });
        assert_eq!(end, "2!");
    });
}

#[test]
fn those_that_control_was_transferred_from_can_be_entered_again() {
    everywhere(|| {
        coroutine::scope(|scope| {
            let (counts, asks) = (scope.peer(), scope.peer());
            counts.does(move |transfer, step: u32| {
                let (mut step, mut sum) = (step, 0);
                loop {
                    sum += step;
                    step = transfer.transfer(asks, sum);
                }
            });
            asks.does(move |transfer, mut sum| {
                assert!(!transfer.peer().is_done());
                loop {
                    sum = transfer.back(sum);
                }
            });
            assert_eq!(counts.enter(1), 1);
            assert_eq!(counts.enter(10), 11);
            assert_eq!(asks.enter(7), 7);
            assert_eq!(counts.enter(100), 111);
        });
    });
}

#[test]
fn a_panic_goes_to_whoever_entered_and_the_others_stay() {
    everywhere(|| {
        coroutine::scope(|scope| {
            let (one, panicking) = (scope.peer(), scope.peer());
            one.does(move |transfer, (): ()| {
                transfer.transfer(panicking, ());
                Next::Back("gone on")
            });
            panicking.does(move |_, (): ()| panic!("in a peer"));
            assert_eq!(panics(|| one.enter(())), "in a peer");
            assert!(panicking.is_done() && !one.is_done());
            assert_eq!(one.enter(()), "gone on");
            let said = panics(|| panicking.enter(()));
            assert_eq!(said, "cannot enter a coroutine: it has panicked");
        });
    });
}

#[test]
fn control_goes_to_none_that_cannot_go_on() {
    everywhere(|| {
        coroutine::scope(|scope| {
            let (one, done, undone) = (
                scope.peer(),
                scope.peer::<u32, ()>(),
                scope.peer::<u32, ()>(),
            );
            done.does(move |_, _| Next::Back(()));
            done.enter(1);
            one.does(move |transfer, ()| {
                let said = panics(|| transfer.transfer(done, 1));
                assert_eq!(said, "cannot transfer to a coroutine: it has returned");
                let said = panics(|| transfer.transfer(one, ()));
                assert_eq!(said, "cannot transfer to a coroutine: it is running");
                let said = panics(|| one.enter(()));
                assert_eq!(said, "cannot enter a coroutine: it is running");
                let said = panics(|| transfer.transfer(undone, 1));
                assert_eq!(
                    said,
                    "cannot transfer to a coroutine: it has not been told what it does"
                );
                done.next(1)
            });
            let said = panics(|| one.enter(()));
            assert_eq!(said, "cannot transfer to a coroutine: it has returned");
            assert!(one.is_done());
            let said = panics(|| done.does(move |_, _| Next::Back(())));
            assert_eq!(said, "cannot say what a peer does: it has been said before");
        });
    });
}

#[test]
fn those_that_have_not_ended_are_dropped_with_the_scope() {
    everywhere(|| {
        let drops = Cell::new(0);
        coroutine::scope(|scope| {
            let drops = &drops;
            let (one, other, never) = (scope.peer(), scope.peer(), scope.peer::<u32, ()>());
            one.does(move |transfer, (): ()| {
                let _dropped = Dropped(drops);
                transfer.transfer(other, ());
                unreachable!("nobody transfers back");
            });
            other.does(move |transfer, (): ()| {
                let _dropped = Dropped(drops);
                transfer.back(());
                unreachable!("nobody enters it again");
            });
            let captured = Dropped(drops);
            never.does(move |_, _| {
                drop(captured);
                Next::Back(())
            });
            one.enter(());
            assert_eq!(drops.get(), 0);
        });
        assert_eq!(drops.get(), 3);
    });
}

/// A coroutine may enter peers, and they may resume coroutines; each goes back to whoever it came from.
#[test]
fn peers_and_coroutines_in_one_another() {
    everywhere(|| {
        let outer = Coroutine::new(|yielder, ()| {
            coroutine::scope(|scope| {
                let (one, other) = (scope.peer(), scope.peer());
                one.does(move |transfer, mut n: u32| {
                    loop {
                        // From the peer's stack, in the name of the coroutine that has entered it.
                        yielder.yield_(n);
                        n = transfer.transfer(other, n + 1);
                    }
                });
                other.does(move |transfer, mut n: u32| {
                    let odd = scope.generator(|y| (1..).step_by(2).for_each(|n| y.yield_(n)));
                    for step in odd.take(3) {
                        n = transfer.transfer(one, n + step);
                    }
                    Next::Back(n)
                });
                one.enter(0)
            })
        });
        let mut seen = Vec::new();
        let end = loop {
            match outer.resume(()) {
                State::Yielded(n) => seen.push(n),
                State::Complete(end) => break end,
            }
        };
        assert_eq!((seen.as_slice(), end), (&[0, 2, 6, 12][..], 13));
    });
}

#[test]
fn a_value_that_is_never_delivered_is_dropped_once() {
    everywhere(|| {
        let value = Rc::new(());
        coroutine::scope(|scope| {
            let peer = scope.peer();
            peer.does(move |_, _: Rc<()>| Next::Back(()));
            drop(peer.next(value.clone()));
            assert_eq!(Rc::strong_count(&value), 1);
            peer.enter(value.clone());
            assert!(peer.is_done());
            panics(|| peer.enter(value.clone()));
        });
        assert_eq!(Rc::strong_count(&value), 1);
    });
}
