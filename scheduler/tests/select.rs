//! `select!` and `Select`: one operation is done, no other leaves anything behind.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{each_worker_count, on_each_worker_count, wait_until_parked};
use roving_scheduler::channel::{
    RecvTimeoutError, Select, Sender, TryRecvError, TrySendError, after, bounded, never, unbounded,
};
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{CancelToken, block_on, deadline, select, select_biased, thread};

#[test]
fn smoke() {
    on_each_worker_count(|| {
        let (sender, receiver) = unbounded();
        let nothing = select! {
            recv(receiver) -> message => message.is_ok(),
            default => false,
        };
        assert!(!nothing);
        sender.send(3).unwrap();
        select! {
            recv(receiver) -> message => assert_eq!(message, Ok(3)),
            recv(never::<u32>()) -> _ => unreachable!(),
        }
        select! {
            send(sender, 4) -> sent => sent.unwrap(),
        }
        assert_eq!(receiver.try_recv(), Ok(4));
        select! {
            recv(receiver) -> _ => unreachable!(),
            default(Duration::from_millis(1)) => {}
        }
        drop(sender);
        select! { recv(receiver) -> message => assert!(message.is_err()) }
    });
}

#[test]
fn channels_timers_joins_and_tokens_in_one() {
    on_each_worker_count(|| {
        let token = CancelToken::new();
        let (_sender, receiver) = bounded::<u32>(0);
        for winner in 0..3 {
            let handle = thread::spawn(move || {
                if winner != 0 {
                    thread::sleep(Duration::MAX);
                }
                "ended"
            });
            let timer = after(if winner == 1 {
                Duration::from_millis(1)
            } else {
                Duration::MAX
            });
            if winner == 2 {
                let token = token.clone();
                thread::spawn(move || token.cancel());
            }
            let canceller = handle.thread().clone();
            let selected = select! {
                join(handle) -> result => { assert_eq!(result.unwrap(), "ended"); 0 }
                recv(timer) -> _ => 1,
                ready(token) => 2,
                recv(receiver) -> _ => 3,
            };
            assert_eq!(selected, winner);
            drop(canceller);
        }
    });
}

/// Detached sleepers are cancelled when their runtime ends, so joins that lost left nothing behind.
#[test]
fn a_join_that_lost_can_be_made_later() {
    on_each_worker_count(|| {
        let (release, released) = unbounded();
        let handle = thread::spawn(move || released.recv().unwrap());
        for _ in 0..3 {
            select! {
                ready(handle) => unreachable!(),
                default(Duration::from_micros(100)) => {}
            }
        }
        release.send(5).unwrap();
        select! { ready(handle) => {} }
        assert_eq!(handle.join().unwrap(), 5);
    });
}

#[test]
fn biased_takes_the_first() {
    on_each_worker_count(|| {
        let (one, two) = (unbounded(), unbounded());
        for n in 0..20 {
            one.0.send(n).unwrap();
            two.0.send(n).unwrap();
        }
        for n in 0..20 {
            let first = select_biased! {
                recv(one.1) -> message => message == Ok(n),
                recv(two.1) -> _ => false,
            };
            assert!(first);
        }
    });
}

#[test]
fn fairness() {
    on_each_worker_count(|| {
        let channels: Vec<_> = (0..8).map(|_| unbounded()).collect();
        for (sender, _) in &channels {
            (0..2000).for_each(|n| sender.send(n).unwrap());
        }
        let mut counts = [0; 8];
        for _ in 0..2000 {
            let mut select = Select::new();
            for (_, receiver) in &channels {
                select.recv(receiver);
            }
            let operation = select.select();
            let index = operation.index();
            operation.recv(&channels[index].1).unwrap();
            counts[index] += 1;
        }
        assert!(counts.iter().all(|count| *count > 125), "{counts:?}");
    });
}

/// Selects that send meet selects that receive, over channels of every kind: each message arrives
/// once.
#[test]
fn stress() {
    each_worker_count(|runtime| {
        for capacity in [0, 1, 4] {
            let (one, two) = (bounded(capacity), bounded(capacity));
            let sum = Arc::new(AtomicUsize::new(0));
            let senders: Vec<_> = (0..4)
                .map(|_| {
                    let (one, two) = (one.0.clone(), two.0.clone());
                    runtime.spawn(move || {
                        for n in 0..200 {
                            select! {
                                send(one, n) -> sent => sent.unwrap(),
                                send(two, n) -> sent => sent.unwrap(),
                            }
                        }
                    })
                })
                .collect();
            let receivers: Vec<_> = (0..4)
                .map(|kind| {
                    let (one, two, sum) = (one.1.clone(), two.1.clone(), sum.clone());
                    runtime.spawn(move || {
                        let (mut first, mut second) = (true, true);
                        while first || second {
                            let none = never();
                            let message = if kind == 0 {
                                select! {
                                    recv(if first { &one } else { &none }) -> m => { first = m.is_ok(); m }
                                    recv(if second { &two } else { &none }) -> m => { second = m.is_ok(); m }
                                }
                            } else if first {
                                one.recv().inspect_err(|_| first = false)
                            } else {
                                two.recv().inspect_err(|_| second = false)
                            };
                            sum.fetch_add(message.unwrap_or(0), Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            drop((one, two));
            senders.into_iter().for_each(|t| t.join().unwrap());
            receivers.into_iter().for_each(|t| t.join().unwrap());
            assert_eq!(sum.load(Ordering::Relaxed), 4 * 199 * 100);
        }
    });
}

#[test]
fn mixed_os_and_green() {
    each_worker_count(|runtime| {
        let (to_os, from_green) = bounded(0);
        let (to_green, from_os) = bounded(0);
        let os = std::thread::spawn(move || {
            (0..300)
                .map(|_| {
                    select! {
                        recv(from_green) -> n => n.unwrap(),
                        send(to_green, 1) -> sent => { sent.unwrap(); 0 }
                    }
                })
                .sum::<u32>()
        });
        let green = runtime.spawn(move || {
            let mut sum = 0;
            loop {
                sum += select! {
                    recv(from_os) -> n => match n { Ok(n) => n, Err(_) => return sum },
                    send(to_os, 1) -> _ => 0,
                };
            }
        });
        let (os, green) = (os.join().unwrap(), green.join().unwrap());
        assert_eq!(os + green, 300);
    });
}

#[test]
fn losing_arms_leave_nothing() {
    on_each_worker_count(|| {
        let kept = Arc::new(());
        let (loser, receiver) = bounded::<Arc<()>>(0);
        let (sender, winner) = unbounded();
        for _ in 0..100 {
            let sender = sender.clone();
            thread::spawn(move || sender.send(()).unwrap());
            select! {
                recv(receiver) -> _ => unreachable!(),
                recv(winner) -> message => message.unwrap(),
            }
            // Nobody is left who would receive.
            assert!(loser.try_send(kept.clone()).is_err());
        }
        assert_eq!(Arc::strong_count(&kept), 1);
    });
}

#[test]
fn cancel() {
    each_worker_count(|runtime| {
        for _ in 0..100 {
            let (sender, receiver) = bounded(0);
            let selects = {
                let receiver = receiver.clone();
                runtime.spawn(move || {
                    select! {
                        recv(receiver) -> message => message.unwrap(),
                        recv(never::<u32>()) -> _ => unreachable!(),
                    }
                })
            };
            let sends = runtime.spawn(move || sender.send(1).unwrap());
            selects.cancel();
            match selects.join() {
                Ok(got) => assert_eq!(got, 1),
                Err(payload) => {
                    assert!(payload.is::<Cancelled>());
                    assert_eq!(receiver.recv(), Ok(1), "the message was not lost");
                }
            }
            sends.join().unwrap();
        }
    });
}

#[test]
fn a_deadline_ends_the_wait() {
    on_each_worker_count(|| {
        let late = deadline(Duration::from_millis(1), || {
            select! { recv(never::<u32>()) -> _ => {} }
        });
        assert!(late.is_err());
        let told = deadline(Duration::from_millis(1), || {
            Select::new().select_timeout(Duration::MAX).is_err()
        });
        assert_eq!(told, Ok(true));
    });
}

#[test]
fn an_operation_that_is_not_done_gives_its_promise_back() {
    on_each_worker_count(|| {
        let (sender, receiver) = bounded(1);
        let mut select = Select::new();
        select.send(&sender);
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            drop(select.select());
        }));
        assert!(dropped.is_err());
        assert!(sender.try_send(1).is_ok(), "there is room again");
        assert_eq!(receiver.try_recv(), Ok(1));
    });
}

/// A thread that has offered its message in a select never gets that message itself.
#[test]
fn nobody_gets_a_message_of_ones_own() {
    each_worker_count(|runtime| {
        for _ in 0..50 {
            let (sender, receiver) = bounded(0);
            let (other_sender, other_receiver) = (sender.clone(), receiver.clone());
            let (to_both, of_both) = (sender.clone(), receiver.clone());
            let both = runtime.spawn(move || {
                select! { send(sender, 'a') -> sent => sent.unwrap() }
                receiver.recv().unwrap()
            });
            let mut select = Select::new();
            select.recv(&other_receiver);
            assert_eq!(select.ready(), 0, "it is there, and the first");
            let sends = runtime.spawn(move || {
                select! { send(other_sender, 'b') -> sent => sent.unwrap() }
            });
            runtime.run(|| (0..3).for_each(|_| thread::yield_now()));
            let receives = runtime.spawn(move || other_receiver.recv().unwrap());
            if receives.join().unwrap() == 'b' {
                // Whoever sends that was there first after all: the other one was just about to wait again.
                assert_eq!(of_both.recv(), Ok('a'));
                to_both.send('b').unwrap();
            }
            assert_eq!(both.join().unwrap(), 'b');
            sends.join().unwrap();
        }
    });
}

/// Selects an operation that sends, and forgets it.
fn forget_to_send<T>(sender: &Sender<T>) {
    let mut select = Select::new();
    select.send(sender);
    std::mem::forget(select.select());
}

/// The same, if it meets somebody in that time. `false` if not.
fn forget_to_send_within<T>(sender: &Sender<T>, time: Duration) -> bool {
    let mut select = Select::new();
    select.send(sender);
    select.select_timeout(time).map(std::mem::forget).is_ok()
}

#[test]
fn a_selected_operation_that_is_forgotten_holds_nobody_up() {
    each_worker_count(|runtime| {
        let (sender, receiver) = bounded(0);
        // With a time limit it ends by itself, and else when it is cancelled.
        let meets_limited = || {
            const LIMIT: Duration = Duration::from_secs(1);
            let clone = receiver.clone();
            let limited = runtime.spawn(move || clone.recv_timeout(LIMIT));
            let is_met = runtime.run(|| forget_to_send_within(&sender, LIMIT));
            assert_eq!(limited.join().unwrap(), Err(RecvTimeoutError::Timeout));
            is_met
        };
        while !meets_limited() {}
        let clone = receiver.clone();
        let tries = runtime.spawn(move || {
            loop {
                match clone.try_recv() {
                    Err(TryRecvError::Empty) => thread::sleep(Duration::from_millis(1)),
                    other => return other.map_err(|_| RecvTimeoutError::Disconnected),
                }
            }
        });
        runtime.run(|| forget_to_send(&sender));
        tries.cancel();
        assert!(tries.join().unwrap_err().is::<Cancelled>());
        let clone = receiver.clone();
        let cancelled = runtime.spawn(move || clone.recv());
        runtime.run(|| forget_to_send(&sender));
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is::<Cancelled>());
        // One that waits for something else too goes on with that.
        let clone = receiver.clone();
        let (other, of_other) = bounded(1);
        let selects = runtime.spawn(move || {
            select! {
                recv(clone) -> message => message,
                recv(of_other) -> message => message,
            }
        });
        runtime.run(|| forget_to_send(&sender));
        other.send(5).unwrap();
        assert_eq!(selects.join().unwrap(), Ok(5));
        // And the channel is as good as before.
        let sends = runtime.spawn(move || sender.send(6));
        assert_eq!(receiver.recv(), Ok(6));
        sends.join().unwrap().unwrap();
    });
}

/// The room that was promised stays lost, but nobody waits for it for ever.
#[test]
fn room_that_is_promised_and_forgotten_is_full() {
    on_each_worker_count(|| {
        let (sender, receiver) = bounded(1);
        forget_to_send(&sender);
        for _ in 0..1000 {
            assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
            select! { send(sender, 1) -> _ => unreachable!(), default => {} }
        }
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        // A promise that is kept is waited for.
        let (sender, receiver) = bounded(1);
        let mut select = Select::new();
        select.send(&sender);
        let operation = select.select();
        thread::scope(|scope| {
            let tries = scope.spawn(|| sender.try_send(2));
            thread::yield_now();
            operation.send(&sender, 1).unwrap();
            assert_eq!(tries.join().unwrap(), Err(TrySendError::Full(2)));
        });
        assert_eq!(receiver.try_recv(), Ok(1));
    });
}

/// Room that was promised is free again if its message finds somebody who waits: whoever waits for room
/// gets it, though nobody receives any more.
#[test]
fn room_that_was_promised_and_not_used_is_given_on() {
    let ways: [fn(&Sender<u32>); 4] = [
        |sender| sender.send(2).unwrap(),
        |sender| select! { send(sender, 2) -> sent => sent.unwrap() },
        |sender| {
            let mut select = Select::new();
            select.send(sender);
            select.ready();
            sender.send(2).unwrap();
        },
        |sender| block_on(sender.send_async(2)).unwrap(),
    ];
    on_each_worker_count(|| {
        for way in ways {
            let (sender, receiver) = bounded(1);
            let mut select = Select::new();
            select.send(&sender);
            let operation = select.select();
            thread::scope(|scope| {
                let sends = scope.spawn(|| way(&sender));
                (0..3).for_each(|_| thread::yield_now());
                let receives = scope.spawn(|| receiver.recv().unwrap());
                (0..3).for_each(|_| thread::yield_now());
                operation.send(&sender, 1).unwrap();
                sends.join().unwrap();
                // Which is first depends on who came first.
                assert_eq!(receives.join().unwrap() + receiver.try_recv().unwrap(), 3);
            });
        }
    });
}

/// One who has been selected and finds that the other has left sends as if they had not met.
#[test]
fn one_who_is_left_meets_another() {
    each_worker_count(|runtime| {
        for _ in 0..20 {
            let (sender, receiver) = bounded(0);
            let clone = receiver.clone();
            let leaves = runtime.spawn(move || clone.recv());
            let sends = runtime.spawn(move || {
                let mut select = Select::new();
                select.send(&sender);
                let operation = select.select();
                leaves.cancel();
                let left = leaves.join();
                (left.is_err(), operation.send(&sender, 7).is_ok())
            });
            let got = receiver.recv_timeout(Duration::from_secs(100));
            let (left, sent) = sends.join().unwrap();
            assert!(left && sent && got == Ok(7));
        }
    });
}

#[test]
fn one_who_is_cancelled_while_a_select_brings_it_a_message_receives_it() {
    on_each_worker_count(|| {
        // A select that takes its time is left alone after a while, and then another receives.
        let received = (0..100).any(|_| {
            let (sender, receiver) = bounded(0);
            let token = CancelToken::new();
            let receives = {
                let (token, receiver) = (token.clone(), receiver.clone());
                thread::spawn(move || token.run(|| receiver.recv()))
            };
            let mut select = Select::new();
            select.send(&sender);
            let operation = loop {
                match select.try_select() {
                    Ok(operation) => break operation,
                    Err(_) => thread::yield_now(),
                }
            };
            token.cancel();
            let another = thread::spawn(move || receiver.recv());
            thread::yield_now();
            assert_eq!(operation.send(&sender, 7), Ok(()));
            drop(select);
            drop(sender);
            let (one, other) = (receives.join().unwrap(), another.join().unwrap());
            let ways = [one == Ok(Ok(7)), other == Ok(7)];
            assert!(ways[0] != ways[1], "{one:?}, {other:?}");
            ways[0]
        });
        assert!(received);
    });
}

/// As in crossbeam-channel: what was selected may be done with a clone, and with nothing else.
#[test]
fn a_clone_does_what_was_selected() {
    let (sender, receiver) = bounded(1);
    let mut select = Select::new();
    select.send(&sender);
    select.select().send(&sender.clone(), 1).unwrap();
    let mut select = Select::new();
    select.recv(&receiver);
    assert_eq!(select.select().recv(&receiver.clone()), Ok(1));
    let (_another, of_another) = bounded::<i32>(1);
    sender.send(2).unwrap();
    let operation = select.select();
    let wrong =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| operation.recv(&of_another)));
    assert!(common::message(&*wrong.unwrap_err()).contains("wasn't selected"));
    assert_eq!(receiver.recv(), Ok(2), "it was given back");
}

/// What is sent and received by others does not wait for one who was selected and takes its time.
#[test]
fn others_meet_while_the_only_room_is_promised() {
    on_each_worker_count(|| {
        let (sender, receiver) = bounded(1);
        let mut select = Select::new();
        select.send(&sender);
        let operation = select.select();
        let sends = {
            let sender = sender.clone();
            thread::spawn(move || sender.send(1))
        };
        wait_until_parked(sends.thread());
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(sends.join().unwrap(), Ok(()));
        let sends = {
            let sender = sender.clone();
            thread::spawn(move || sender.send(2))
        };
        let mut by_select = Select::new();
        by_select.recv(&receiver);
        assert_eq!(by_select.select().recv(&receiver), Ok(2));
        assert_eq!(sends.join().unwrap(), Ok(()));
        assert_eq!(operation.send(&sender, 3), Ok(()));
        assert_eq!(receiver.recv(), Ok(3));
    });
}
