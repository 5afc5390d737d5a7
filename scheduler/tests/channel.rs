//! Channels of every kind: each test runs with an unbounded one, one with room, and one without.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{each_worker_count, on_each_worker_count};
use roving_scheduler::channel::{
    self, Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError,
    bounded, unbounded,
};
use roving_scheduler::wait::Cancelled;
use roving_scheduler::{deadline, thread};

fn kinds<T>() -> [(Sender<T>, Receiver<T>); 3] {
    [unbounded(), bounded(3), bounded(0)]
}

#[test]
fn smoke() {
    on_each_worker_count(|| {
        for (sender, receiver) in kinds() {
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            let sends = thread::spawn(move || sender.send(7).unwrap());
            assert_eq!(receiver.recv(), Ok(7));
            sends.join().unwrap();
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        }
        let (sender, receiver) = bounded(1);
        sender.send(1).unwrap();
        assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
        assert!(sender.is_full() && receiver.is_full() && receiver.len() == 1);
        drop(receiver);
        assert_eq!(sender.try_send(2), Err(TrySendError::Disconnected(2)));
    });
}

#[test]
fn spsc() {
    each_worker_count(|runtime| {
        for (sender, receiver) in kinds() {
            let sends = runtime.spawn(move || (0..2000).for_each(|n| sender.send(n).unwrap()));
            let receives = runtime.spawn(move || assert!(receiver.iter().eq(0..2000)));
            sends.join().unwrap();
            receives.join().unwrap();
        }
    });
}

fn many(runtime: &roving_scheduler::Runtime, os: usize) {
    for (sender, receiver) in kinds() {
        let sum = Arc::new(AtomicUsize::new(0));
        let send = |n: usize| {
            let sender = sender.clone();
            move || (0..200).for_each(|m| sender.send(n * 200 + m).unwrap())
        };
        let receive = || {
            let (receiver, sum) = (receiver.clone(), sum.clone());
            move || {
                for n in &receiver {
                    sum.fetch_add(n, Ordering::Relaxed);
                }
            }
        };
        let mut green = Vec::new();
        let mut plain = Vec::new();
        for n in 0..6 {
            if n < os {
                plain.push(std::thread::spawn(send(n)));
                plain.push(std::thread::spawn(receive()));
            } else {
                green.push(runtime.spawn(send(n)));
                green.push(runtime.spawn(receive()));
            }
        }
        drop((sender, receiver));
        green.into_iter().for_each(|t| t.join().unwrap());
        plain.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(sum.load(Ordering::Relaxed), 1200 * 1199 / 2);
    }
}

#[test]
fn mpmc() {
    each_worker_count(|runtime| many(runtime, 0));
}

#[test]
fn mixed_os_and_green() {
    each_worker_count(|runtime| many(runtime, 3));
}

#[test]
fn timeout() {
    on_each_worker_count(|| {
        for (sender, receiver) in kinds::<u32>() {
            let start = Instant::now();
            let limit = Duration::from_millis(2);
            assert_eq!(receiver.recv_timeout(limit), Err(RecvTimeoutError::Timeout));
            assert!(start.elapsed() >= limit);
            while let Some(0..) = sender.capacity()
                && sender.try_send(0).is_ok()
            {}
            if sender.capacity().is_some() {
                assert_eq!(
                    sender.send_timeout(1, limit),
                    Err(SendTimeoutError::Timeout(1))
                );
            }
            drop(receiver);
            assert_eq!(
                sender.send_timeout(1, Duration::MAX),
                Err(SendTimeoutError::Disconnected(1))
            );
        }
    });
}

#[test]
fn disconnect_wakes() {
    each_worker_count(|runtime| {
        for (sender, receiver) in kinds::<u32>() {
            let receives = runtime.spawn(move || receiver.iter().count());
            thread::sleep(Duration::from_millis(1));
            drop(sender);
            assert_eq!(receives.join().unwrap(), 0);
        }
        for (sender, receiver) in [bounded(1), bounded(0)] {
            let sends = runtime.spawn(move || while sender.send(1).is_ok() {});
            thread::sleep(Duration::from_millis(1));
            drop(receiver);
            sends.join().unwrap();
        }
    });
}

/// Those who wait are cancelled at all times; what was sent arrives all the same.
#[test]
fn cancel() {
    each_worker_count(|runtime| {
        for (sender, receiver) in kinds::<usize>() {
            for _ in 0..100 {
                let sent = Arc::new(AtomicUsize::new(0));
                let got = Arc::new(AtomicUsize::new(0));
                let receivers: Vec<_> = (0..4)
                    .map(|_| {
                        let (receiver, got) = (receiver.clone(), got.clone());
                        runtime.spawn(move || {
                            receiver.recv().unwrap();
                            got.fetch_add(1, Ordering::Relaxed);
                        })
                    })
                    .collect();
                let senders: Vec<_> = (0..5)
                    .map(|n| {
                        let (sender, sent) = (sender.clone(), sent.clone());
                        runtime.spawn(move || {
                            sender.send(n).unwrap();
                            sent.fetch_add(1, Ordering::Relaxed);
                        })
                    })
                    .collect();
                receivers[0].cancel();
                senders[1].cancel();
                receivers[2].cancel();
                // As many senders stay as there are receivers: none of these waits for ever.
                for receives in receivers {
                    if let Err(payload) = receives.join() {
                        assert!(payload.is::<Cancelled>());
                    }
                }
                let mut left = 0;
                while senders.iter().any(|sends| !sends.is_finished()) {
                    left += usize::from(receiver.try_recv().is_ok());
                    thread::yield_now();
                }
                senders.into_iter().for_each(|sends| drop(sends.join()));
                left += receiver.try_iter().count();
                assert_eq!(
                    got.load(Ordering::Relaxed) + left,
                    sent.load(Ordering::Relaxed)
                );
            }
        }
    });
}

#[test]
fn a_deadline_ends_the_wait() {
    on_each_worker_count(|| {
        for (sender, receiver) in kinds::<u32>() {
            let limit = Duration::from_millis(1);
            assert!(deadline(limit, || receiver.recv()).is_err());
            assert_eq!(
                deadline(limit, || receiver.recv_timeout(Duration::MAX)),
                Ok(Err(RecvTimeoutError::Timeout))
            );
            if sender.capacity().is_some() {
                let fills = deadline(limit, || while sender.send(1).is_ok() {});
                assert!(fills.is_err());
            }
        }
        assert!(deadline(Duration::from_millis(1), || channel::never::<u8>().recv()).is_err());
    });
}

#[test]
fn drops() {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    each_worker_count(|runtime| {
        for (sender, receiver) in kinds() {
            let dropped = Arc::new(AtomicUsize::new(0));
            let made = Arc::new(AtomicUsize::new(0));
            let senders: Vec<_> = (0..3)
                .map(|_| {
                    let (sender, dropped, made) = (sender.clone(), dropped.clone(), made.clone());
                    runtime.spawn(move || {
                        for _ in 0..50 {
                            made.fetch_add(1, Ordering::Relaxed);
                            if sender.send(Counts(dropped.clone())).is_err() {
                                return;
                            }
                        }
                    })
                })
                .collect();
            runtime.run(|| receiver.iter().take(20).for_each(drop));
            senders[0].cancel();
            drop((sender, receiver));
            senders.into_iter().for_each(|t| drop(t.join()));
            assert_eq!(
                dropped.load(Ordering::Relaxed),
                made.load(Ordering::Relaxed)
            );
        }
    });
}

#[test]
fn clocks() {
    on_each_worker_count(|| {
        let far = channel::after(Duration::from_secs(3600));
        assert_eq!(far.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(
            far.recv_timeout(Duration::from_millis(1)),
            Err(RecvTimeoutError::Timeout)
        );
        let start = Instant::now();
        let after = channel::after(Duration::from_millis(3));
        assert!(after.recv().unwrap() >= start + Duration::from_millis(3));
        assert!(after.try_recv().is_err());
        let ticks = channel::tick(Duration::from_millis(1));
        assert_eq!(ticks.iter().take(3).count(), 3);
        assert!(channel::after(Duration::MAX).try_recv().is_err());
    });
}

#[test]
fn stress() {
    each_worker_count(|runtime| {
        for (sender, receiver) in kinds::<usize>() {
            let senders: Vec<_> = (0..8)
                .map(|n| {
                    let sender = sender.clone();
                    runtime.spawn(move || {
                        let mut sent = 0;
                        for round in 0..200 {
                            sent += usize::from(match (n + round) % 3 {
                                0 => sender.send(1).is_ok(),
                                1 => sender.try_send(1).is_ok(),
                                _ => sender.send_timeout(1, Duration::from_micros(30)).is_ok(),
                            });
                        }
                        sent
                    })
                })
                .collect();
            drop(sender);
            let receivers: Vec<_> = (0..4)
                .map(|n| {
                    let receiver = receiver.clone();
                    runtime.spawn(move || {
                        let mut got = 0;
                        loop {
                            let next = match n % 2 {
                                0 => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                                _ => receiver.recv_timeout(Duration::from_micros(20)),
                            };
                            match next {
                                Ok(one) => got += one,
                                Err(RecvTimeoutError::Timeout) => {}
                                Err(RecvTimeoutError::Disconnected) => return got,
                            }
                        }
                    })
                })
                .collect();
            let sent: usize = senders.into_iter().map(|t| t.join().unwrap()).sum();
            let got: usize = receivers.into_iter().map(|t| t.join().unwrap()).sum();
            assert_eq!(sent, got);
        }
    });
}

/// Sleeps, or panics, while it is dropped.
struct Drops {
    count: Arc<AtomicUsize>,
    panics: bool,
}

impl Drop for Drops {
    fn drop(&mut self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        if self.panics {
            std::panic::resume_unwind(Box::new("dropped"));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn messages_nobody_received_are_all_dropped_whatever_the_destructor_of_one_does() {
    on_each_worker_count(|| {
        for panics in [false, true] {
            for (sender, receiver) in [unbounded(), bounded(3)] {
                let count = Arc::new(AtomicUsize::new(0));
                for _ in 0..3 {
                    let count = count.clone();
                    assert!(sender.send(Drops { count, panics }).is_ok());
                }
                let this = thread::current();
                let drops = thread::spawn(move || {
                    this.unpark();
                    // Until it is cancelled, so that the first destructor is interrupted.
                    let _ = std::panic::catch_unwind(thread::park);
                    drop(receiver);
                });
                thread::park();
                drops.cancel();
                let payload = drops.join().unwrap_err();
                assert_eq!(payload.is::<Cancelled>(), !panics);
                assert_eq!(payload.is::<&str>(), panics);
                assert_eq!(count.load(Ordering::SeqCst), 3);
            }
        }
    });
}
