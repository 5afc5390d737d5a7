//! `sync::{oneshot, broadcast, watch}` and `time`.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{each_worker_count, on_each_worker_count};
use roving_scheduler::channel::RecvTimeoutError;
use roving_scheduler::sync::{Semaphore, broadcast, oneshot, watch};
use roving_scheduler::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};
use roving_scheduler::{Builder, deadline, select, thread};

const SHORT: Duration = Duration::from_millis(1);

#[test]
fn a_oneshot_has_one_message() {
    on_each_worker_count(|| {
        let (sender, receiver) = oneshot::channel();
        assert!(receiver.try_recv().is_err() && !sender.is_closed());
        thread::spawn(move || sender.send(Arc::new(1)));
        let message = receiver.recv().unwrap();
        assert_eq!(Arc::strong_count(&message), 1);
        let (sender, receiver) = oneshot::channel::<u8>();
        drop(sender);
        assert!(receiver.recv().is_err());
        let (sender, receiver) = oneshot::channel();
        assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        select! {
            recv(receiver.as_channel()) -> _ => unreachable!(),
            default => {}
        }
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send(3), Err(3));
    });
}

#[test]
fn a_broadcast_reaches_all() {
    each_worker_count(|runtime| {
        let (sender, first) = broadcast::channel(1000);
        let mut receivers: Vec<_> = (0..5).map(|_| first.resubscribe()).collect();
        receivers.push(first);
        let receivers: Vec<_> = receivers
            .into_iter()
            .map(|receiver| {
                runtime.spawn(move || {
                    let mut sum = 0;
                    loop {
                        match receiver.recv() {
                            Ok(n) => sum += n,
                            Err(broadcast::RecvError::Closed) => return sum,
                            Err(lagged) => panic!("{lagged}"),
                        }
                    }
                })
            })
            .collect();
        for n in 0..500 {
            assert_eq!(sender.send(n), Ok(6));
        }
        drop(sender);
        for receiver in receivers {
            assert_eq!(receiver.join().unwrap(), 500 * 499 / 2);
        }
    });
}

#[test]
fn slow_receivers_of_a_broadcast_are_told() {
    on_each_worker_count(|| {
        let (sender, receiver) = broadcast::channel(2);
        assert_eq!(receiver.try_recv(), Err(broadcast::TryRecvError::Empty));
        (0..5).for_each(|n| assert!(sender.send(n).is_ok()));
        assert_eq!(receiver.len(), 5);
        assert_eq!(receiver.recv(), Err(broadcast::RecvError::Lagged(3)));
        assert_eq!(receiver.recv(), Ok(3));
        let late = sender.subscribe();
        assert!(late.is_empty() && sender.receiver_count() == 2);
        assert_eq!(
            late.recv_timeout(SHORT),
            Err(broadcast::TryRecvError::Empty)
        );
        assert!(deadline(SHORT, || late.recv()).is_err());
        drop((receiver, late));
        assert_eq!(sender.send(9), Err(broadcast::SendError(9)));
    });
}

#[test]
fn a_watch_shows_the_last_value() {
    each_worker_count(|runtime| {
        let (sender, mut receiver) = watch::channel(0);
        let watches = runtime.spawn(move || {
            let mut last = 0;
            while receiver.changed().is_ok() {
                let value = *receiver.borrow_and_update();
                assert!(value >= last);
                last = value;
            }
            last
        });
        for n in 1..200 {
            sender.send(n).unwrap();
            std::thread::yield_now();
        }
        sender.send_modify(|value| *value += 1);
        drop(sender);
        assert_eq!(watches.join().unwrap(), 200);
    });
}

#[test]
fn a_watch_waits_for_what_is_asked() {
    on_each_worker_count(|| {
        let (sender, mut receiver) = watch::channel(1);
        assert_eq!(receiver.has_changed(), Ok(false));
        assert_eq!(
            receiver.changed_timeout(SHORT),
            Err(watch::RecvTimeoutError::Timeout)
        );
        assert!(deadline(SHORT, || receiver.changed()).is_err());
        let mut waits = sender.subscribe();
        let waits = thread::spawn(move || waits.wait_for(|n| *n == 3).map(|n| *n));
        sender.send(2).unwrap();
        // Unless the one who waits looks at it just now.
        let last = sender.send_replace(3);
        assert!(last.is_none_or(|last| last == 2));
        assert_eq!(waits.join().unwrap(), Ok(3));
        assert!(!sender.send_if_modified(|_| false));
        assert_eq!(receiver.has_changed(), Ok(true));
        let looked = receiver.borrow();
        sender.send(4).unwrap();
        assert_eq!((*looked, *sender.borrow()), (3, 4));
        let mut receiver = receiver.clone();
        drop(sender);
        assert_eq!(receiver.changed(), Ok(()));
        assert_eq!(receiver.changed(), Err(watch::RecvError));
    });
}

#[test]
fn who_waits_for_a_value_keeps_none_meanwhile() {
    on_each_worker_count(|| {
        let (sender, mut receiver) = watch::channel(1);
        let waits = thread::spawn(move || receiver.wait_for(|n| *n == 3).map(|n| *n));
        common::wait_until_parked(waits.thread());
        assert_eq!(sender.send_replace(3), Some(1));
        assert_eq!(waits.join().unwrap(), Ok(3));
    });
}

#[test]
fn intervals() {
    on_each_worker_count(|| {
        let start = Instant::now();
        let mut ticks = interval(SHORT);
        assert!(ticks.tick() >= start);
        assert!((0..3).all(|_| ticks.tick() > start));
        assert!(start.elapsed() >= 3 * SHORT);
        for behavior in [
            MissedTickBehavior::Burst,
            MissedTickBehavior::Delay,
            MissedTickBehavior::Skip,
        ] {
            let first = Instant::now();
            let period = Duration::from_millis(2);
            let mut ticks = interval_at(first, period);
            ticks.set_missed_tick_behavior(behavior);
            thread::sleep(Duration::from_millis(7));
            assert_eq!(ticks.tick(), first);
            let second = ticks.tick();
            match behavior {
                MissedTickBehavior::Burst => assert_eq!(second, first + period),
                MissedTickBehavior::Delay => assert!(second >= first + 4 * period),
                MissedTickBehavior::Skip => {
                    let nanos = second.duration_since(first).as_nanos();
                    assert_eq!(nanos % period.as_nanos(), 0);
                    assert!(second >= first + 4 * period);
                }
            }
        }
        assert_eq!(timeout(Duration::MAX, || 1), Ok(1));
        assert!(timeout(SHORT, || thread::sleep(Duration::MAX)).is_err());
    });
}

/// A message that leads to its own channel.
#[derive(Clone)]
struct LeadsBack(#[expect(dead_code)] broadcast::Sender<Self>);

#[test]
fn a_copy_of_a_broadcast_message_may_use_the_channel() {
    on_each_worker_count(|| {
        let (sender, receiver) = broadcast::channel(4);
        let other = sender.subscribe();
        assert!(sender.send(LeadsBack(sender.clone())).is_ok());
        receiver.recv().unwrap();
        other.try_recv().unwrap();
    });
}

#[test]
fn what_a_receiver_has_before_it_is_counted_beside_one_that_receives() {
    on_each_worker_count(|| {
        let (sender, receiver) = broadcast::channel(4);
        let receiver = Arc::new(receiver);
        let counts = {
            let receiver = receiver.clone();
            thread::spawn(move || (0..2000).map(|_| receiver.len()).max())
        };
        for n in 0..2000 {
            sender.send(n).unwrap();
            let _ = receiver.recv();
        }
        assert!(counts.join().unwrap() <= Some(4));
    });
}

#[test]
fn an_interval_may_be_longer_than_the_clock() {
    on_each_worker_count(|| {
        for behavior in [
            MissedTickBehavior::Burst,
            MissedTickBehavior::Delay,
            MissedTickBehavior::Skip,
        ] {
            let mut never_again = interval(Duration::MAX);
            never_again.set_missed_tick_behavior(behavior);
            never_again.tick();
        }
    });
}

/// Without a wait, and with nobody to take the place of the only worker.
#[test]
fn who_asks_in_vain_lets_others_run() {
    let builder = Builder::new().workers(1).stuck_after(Duration::ZERO);
    let runtime = builder.build().unwrap();
    runtime.run(|| {
        let (sender, receiver) = broadcast::channel(1);
        thread::spawn(move || sender.send(1));
        while receiver.try_recv().is_err() {}
        let (sender, receiver) = watch::channel(1);
        thread::spawn(move || sender.send(2));
        while receiver.has_changed() == Ok(false) {}
        let semaphore = Arc::new(Semaphore::new(0));
        let adds = semaphore.clone();
        thread::spawn(move || adds.add_permits(1));
        while semaphore.try_acquire().is_none() {}
    });
}
