//! What may be held over channels of every capacity, and over selects with every kind of arm.

use std::time::{Duration, Instant};

use roving::channel::{self, Receiver, Select, Sender, bounded, unbounded};
use roving::{CancelToken, select, select_biased, thread};
use roving_soundness::{ROUNDS, THREADS, many_holding, migrate};

/// The rounds of what suspends several times in each.
const SOME: usize = ROUNDS / 5;
const MOMENT: Duration = Duration::from_micros(30);

type Channel = (Sender<usize>, Receiver<usize>);

/// Each capacity in its turn, as many of each as there are pairs of threads.
fn kinds() -> [fn() -> Channel; 4] {
    [|| bounded(0), || bounded(1), || bounded(4), unbounded]
}

/// A channel for each two threads.
fn one_for_two(make: fn() -> Channel) -> Vec<Channel> {
    (0..THREADS / 2).map(|_| make()).collect()
}

#[test]
fn messages_go_from_one_that_holds_something_to_another() {
    for make in kinds() {
        many_holding(
            || one_for_two(make),
            |number, held, channels| {
                let (sender, receiver) = &channels[number / 2];
                for round in 0..ROUNDS {
                    if number % 2 == 0 {
                        sender.send(round).unwrap();
                    } else {
                        assert_eq!(receiver.recv(), Ok(round));
                    }
                    held.is_mine();
                }
                // Where there is room for all, nobody has waited yet.
                migrate(number);
            },
        );
    }
}

#[test]
fn many_send_to_many() {
    for make in kinds() {
        many_holding(make, |number, held, (sender, receiver)| {
            for round in 0..ROUNDS {
                if number % 2 == 0 {
                    sender.send(number).unwrap();
                } else {
                    assert_eq!(receiver.recv().unwrap() % 2, 0);
                }
                held.is_mine();
                if round % 16 == 0 {
                    migrate(number + round);
                    held.is_mine();
                }
            }
        });
    }
}

#[test]
fn operations_that_come_to_nothing_leave_the_thread_as_it_was() {
    many_holding(
        || (bounded::<usize>(0), bounded::<usize>(1)),
        |number, held, (nobody, full)| {
            let _ = full.0.try_send(number);
            for _ in 0..SOME {
                assert!(full.0.send_timeout(number, MOMENT).is_err());
                held.is_mine();
                if number % 2 == 0 {
                    assert!(nobody.0.send_timeout(number, MOMENT).is_err());
                } else {
                    assert!(nobody.0.try_send(number).is_err());
                    assert!(channel::never::<()>().recv_timeout(MOMENT).is_err());
                }
                held.is_mine();
            }
        },
    );
}

#[test]
fn a_receiver_iterates_until_the_senders_are_gone() {
    for make in kinds() {
        many_holding(
            || (),
            move |number, held, ()| {
                let (sender, receiver) = make();
                thread::spawn(move || {
                    for n in 0..SOME {
                        sender.send(n * number).unwrap();
                        migrate(n);
                    }
                });
                let mut sum = 0;
                for n in &receiver {
                    held.is_mine();
                    sum += n;
                }
                assert_eq!(sum, number * SOME * (SOME - 1) / 2);
            },
        );
    }
}

#[test]
fn clocks_tick_for_those_that_move() {
    many_holding(
        || (),
        |_, held, ()| {
            let ticks = channel::tick(MOMENT);
            for _ in 0..SOME {
                assert!(ticks.recv().unwrap() <= Instant::now());
                held.is_mine();
                assert!(channel::after(MOMENT).recv().unwrap() <= Instant::now());
                held.is_mine();
            }
        },
    );
}

#[test]
fn a_select_sends_and_receives() {
    for make in kinds() {
        many_holding(
            || (one_for_two(make), one_for_two(make)),
            |number, held, (one, other)| {
                let (one, other) = (&one[number / 2], &other[number / 2]);
                let (to, from) = if number % 2 == 0 {
                    (&one.0, &other.1)
                } else {
                    (&other.0, &one.1)
                };
                let (mut sent, mut received) = (0, 0);
                while sent < ROUNDS || received < ROUNDS {
                    if sent == ROUNDS {
                        assert_eq!(from.recv(), Ok(received));
                        received += 1;
                    } else if received == ROUNDS {
                        to.send(sent).unwrap();
                        sent += 1;
                    } else {
                        select! {
                            send(to, sent) -> result => {
                                result.unwrap();
                                sent += 1;
                            }
                            recv(from) -> message => {
                                assert_eq!(message, Ok(received));
                                received += 1;
                            }
                        }
                    }
                    held.is_mine();
                }
                // Where there is room for all, nobody has waited yet.
                migrate(number);
            },
        );
    }
}

#[test]
fn a_select_waits_for_threads_tokens_and_clocks() {
    many_holding(
        || (),
        |number, held, ()| {
            let nothing = bounded::<usize>(0);
            for round in 0..SOME {
                let token = CancelToken::new();
                let cancels = token.clone();
                let child = thread::spawn(move || {
                    migrate(round);
                    if number % 2 == 0 {
                        cancels.cancel();
                        thread::park();
                    }
                    number
                });
                held.is_mine();
                let this = child.thread().clone();
                let by_token = {
                    let mut select = Select::new();
                    let ended = select.ready_of(&child);
                    let cancelled = select.ready_of(&token);
                    select.recv(&nothing.1);
                    let operation = select.select();
                    let index = operation.index();
                    operation.done();
                    assert!(index == ended || index == cancelled);
                    index == cancelled
                };
                held.is_mine();
                assert_eq!(by_token, number % 2 == 0);
                this.unpark();
                let result = select_biased! {
                    join(child) -> result => result.unwrap(),
                    recv(channel::after(Duration::from_secs(60))) -> _ => unreachable!("it ends"),
                };
                held.is_mine();
                assert_eq!(result, number);
            }
        },
    );
}

#[test]
fn a_select_that_finds_nothing_leaves_the_thread_as_it_was() {
    many_holding(
        || (bounded::<usize>(0), CancelToken::new()),
        |_, held, (nothing, token)| {
            for _ in 0..SOME {
                select! {
                    recv(nothing.1) -> _ => unreachable!("nobody sends"),
                    ready(*token) => unreachable!("nobody cancels"),
                    recv(channel::never::<()>()) -> _ => unreachable!("never"),
                    default(MOMENT) => held.is_mine(),
                }
                select! {
                    recv(nothing.1) -> _ => unreachable!("nobody sends"),
                    recv(channel::after(MOMENT)) -> due => assert!(due.unwrap() <= Instant::now()),
                }
                held.is_mine();
                let mut select = Select::new_biased();
                select.recv(&nothing.1);
                assert!(select.ready_timeout(MOMENT).is_err());
                held.is_mine();
            }
        },
    );
}
