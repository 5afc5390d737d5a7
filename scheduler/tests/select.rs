//! `select!` and `Select`: one operation is done, no other leaves anything behind.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{each_worker_count, on_each_worker_count};
use roving_scheduler::channel::{Select, after, bounded, never, unbounded};
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{CancelToken, deadline, select, select_biased, thread};

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
