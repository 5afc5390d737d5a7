//! Threads that work together on something of their own. Whatever surrounds them, they come to an end
//! by themselves, with a result that is known; so a wake-up that is lost shows, which a timeout would
//! hide elsewhere.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use roving::channel::{self, Receiver, Select, Sender};
use roving::sync::{
    Barrier, Condvar, Mutex, Notify, Once, RwLock, Semaphore, WaitGroup, broadcast, oneshot, watch,
};
use roving::{CancelToken, Group, deadline, select, thread};

use super::Thread;
use crate::oracle::{Caught, Closure};
use crate::program::Pattern;
use crate::world::Inside;

/// What one of the threads does. It gives `None` if it cannot go on because of another.
pub(super) type Part<'a> = Box<dyn FnOnce() -> Option<u64> + Send + 'a>;

pub(super) fn part<'a>(run: impl FnOnce() -> Option<u64> + Send + 'a) -> Part<'a> {
    Box::new(run)
}

fn channel<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    match capacity {
        Some(capacity) => channel::bounded(capacity),
        None => channel::unbounded(),
    }
}

impl Thread<'_> {
    #[inline(never)]
    pub(super) fn pattern(&mut self, pattern: Pattern) {
        let what = format!("{pattern:?}");
        let expect = |found: Option<u64>, expected: u64| {
            // Nothing is known if somebody was interrupted.
            if let Some(found) = found {
                self.world.oracle.check(
                    found == expected,
                    format_args!("{what}: {found} instead of {expected}"),
                );
            }
        };
        match pattern {
            Pattern::Pipeline {
                capacity,
                producers,
                consumers,
                messages,
            } => expect(
                self.pipeline(capacity, producers, consumers, messages),
                producers as u64 * sum(messages),
            ),
            Pattern::Select {
                capacity,
                producers,
                messages,
                biased,
            } => expect(
                self.select_among(capacity, producers, messages, biased),
                producers as u64 * sum(messages),
            ),
            Pattern::Exchange { messages } => expect(self.exchange(messages), 2 * messages),
            Pattern::Mutex { threads, rounds } => {
                expect(
                    self.add_under_a_mutex(threads, rounds),
                    threads as u64 * rounds,
                );
            }
            Pattern::RwLock { threads, rounds } => {
                expect(
                    self.read_and_write(threads, rounds),
                    threads as u64 * rounds,
                );
            }
            Pattern::Semaphore {
                permits,
                threads,
                rounds,
            } => expect(
                self.share_permits(permits, threads, rounds),
                threads as u64 * rounds,
            ),
            Pattern::Turns { rounds } => expect(self.take_turns(rounds), 2 * rounds),
            Pattern::CondvarAll { threads } => expect(self.notify_all(threads), threads as u64),
            Pattern::ParkPingPong { rounds } => expect(self.park_ping_pong(rounds), 2 * rounds),
            Pattern::NotifyPingPong { rounds } => expect(self.notify_ping_pong(rounds), 2 * rounds),
            Pattern::Barrier { threads, rounds } => expect(self.barrier(threads, rounds), rounds),
            Pattern::Once { threads } => expect(self.once_among(threads), threads as u64),
            Pattern::Oneshots { threads } => expect(self.oneshots(threads), sum(threads as u64)),
            Pattern::Broadcast {
                receivers,
                messages,
            } => expect(
                self.broadcast_to(receivers, messages),
                receivers as u64 * sum(messages),
            ),
            Pattern::Watch { receivers, values } => {
                expect(self.watch_by(receivers, values), receivers as u64 * values);
            }
            Pattern::WaitGroup { threads } => expect(self.wait_group(threads), threads as u64),
            Pattern::CancelTree { threads } => expect(self.cancel_tree(threads), threads as u64),
            Pattern::DeadlineTree { threads, micros } => self.deadline_tree(threads, micros),
            Pattern::GroupMap {
                items,
                limit,
                fails,
            } => self.group_map(items, limit, fails),
            Pattern::JoinAny { threads } => expect(self.join_any(threads), sum(threads as u64)),
            Pattern::Colours { members, rounds } => {
                expect(self.colours(members, rounds), 2 * members as u64 * rounds);
            }
        }
    }

    /// Runs threads to their end. Gives the sum of what they gave, if none of them was interrupted.
    pub(super) fn crew<'a>(&self, parts: impl IntoIterator<Item = Part<'a>>) -> Option<u64> {
        let oracle = &self.world.oracle;
        let at = self.status.op();
        thread::scope(|scope| {
            let handles: Vec<_> = parts
                .into_iter()
                .map(|part| {
                    let closure = Closure(oracle.add_thread("in a pattern", at));
                    scope.spawn(move || {
                        closure.runs();
                        closure.0.is_at(at);
                        part()
                    })
                })
                .collect();
            let mut sum = Some(0);
            let mut interrupted = false;
            for handle in handles {
                match handle.join() {
                    Ok(value) => sum = sum.zip(value).map(|(sum, value)| sum + value),
                    Err(payload) => {
                        interrupted |= matches!(oracle.caught(payload), Caught::Interrupt(_));
                    }
                }
            }
            if interrupted {
                return None;
            }
            oracle.check(
                sum.is_some(),
                "a thread of a pattern had to give up, though none was interrupted",
            );
            sum
        })
    }

    fn pipeline(
        &self,
        capacity: Option<usize>,
        producers: usize,
        consumers: usize,
        messages: u64,
    ) -> Option<u64> {
        let (sender, receiver) = channel(capacity);
        let mut parts = Vec::new();
        for _ in 0..producers {
            let sender = sender.clone();
            parts.push(part(move || {
                (1..=messages).try_for_each(|n| sender.send(n)).ok()?;
                Some(0)
            }));
        }
        for _ in 0..consumers {
            let receiver = receiver.clone();
            parts.push(part(move || Some(receiver.iter().sum())));
        }
        drop((sender, receiver));
        self.crew(parts)
    }

    fn select_among(
        &self,
        capacity: Option<usize>,
        producers: usize,
        messages: u64,
        biased: bool,
    ) -> Option<u64> {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..producers).map(|_| channel::<u64>(capacity)).unzip();
        let producers = senders.into_iter().map(|sender| {
            part(move || {
                (1..=messages).try_for_each(|n| sender.send(n)).ok()?;
                Some(0)
            })
        });
        let consumer = part(move || {
            let mut select = if biased {
                Select::new_biased()
            } else {
                Select::new()
            };
            for receiver in &receivers {
                select.recv(receiver);
            }
            let (mut open, mut sum) = (receivers.len(), 0);
            while open > 0 {
                let operation = select.select();
                let index = operation.index();
                match operation.recv(&receivers[index]) {
                    Ok(n) => sum += n,
                    Err(_) => {
                        select.remove(index);
                        open -= 1;
                    }
                }
            }
            Some(sum)
        });
        self.crew(producers.chain([consumer]))
    }

    fn exchange(&self, messages: u64) -> Option<u64> {
        let ((to_one, of_one), (to_other, of_other)) =
            (channel::bounded::<()>(0), channel::bounded::<()>(0));
        let trade = move |sender: Sender<()>, receiver: Receiver<()>| {
            let (mut sent, mut received) = (0, 0);
            while sent < messages || received < messages {
                let sender = if sent < messages { Some(&sender) } else { None };
                let outcome = match sender {
                    Some(sender) if received < messages => select! {
                        send(sender, ()) -> result => result.map(|()| sent += 1).ok(),
                        recv(receiver) -> message => message.map(|()| received += 1).ok(),
                    },
                    Some(sender) => sender.send(()).map(|()| sent += 1).ok(),
                    None => receiver.recv().map(|()| received += 1).ok(),
                };
                outcome?;
            }
            Some(received)
        };
        self.crew([
            part(move || trade(to_other, of_one)),
            part(move || trade(to_one, of_other)),
        ])
    }

    fn add_under_a_mutex(&self, threads: usize, rounds: u64) -> Option<u64> {
        let number = Mutex::new(0_u64);
        let number = &number;
        let parts = (0..threads).map(|_| {
            part(move || {
                for round in 0..rounds {
                    let mut number = number.lock().ok()?;
                    let before = *number;
                    if round % 3 == 0 {
                        thread::yield_now();
                    }
                    *number = before + 1;
                }
                Some(0)
            })
        });
        self.crew(parts)?;
        Some(*number.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read_and_write(&self, threads: usize, rounds: u64) -> Option<u64> {
        let pair = RwLock::new((0_u64, 0_u64));
        let pair = &pair;
        let oracle = &self.world.oracle;
        let parts = (0..threads).flat_map(|_| {
            let writes = part(move || {
                for _ in 0..rounds {
                    let mut pair = pair.write().ok()?;
                    pair.0 += 1;
                    thread::yield_now();
                    pair.1 += 1;
                }
                Some(0)
            });
            let reads = part(move || {
                for _ in 0..rounds {
                    let pair = pair.read().ok()?;
                    thread::yield_now();
                    oracle.check(pair.0 == pair.1, "a reader sees a writer's work");
                }
                Some(0)
            });
            [writes, reads]
        });
        self.crew(parts)?;
        Some(pair.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    fn share_permits(&self, permits: usize, threads: usize, rounds: u64) -> Option<u64> {
        let semaphore = Semaphore::new(permits);
        let inside = AtomicUsize::new(0);
        let (semaphore, inside, oracle) = (&semaphore, &inside, &self.world.oracle);
        let parts = (0..threads).map(|number| {
            part(move || {
                for _ in 0..rounds {
                    let wanted = 1 + number % permits;
                    let _permits = semaphore.acquire_many(wanted);
                    let (_inside, before) = Inside::enter(inside, wanted);
                    oracle.check(before + wanted <= permits, "too many permits are taken");
                    thread::yield_now();
                }
                Some(rounds)
            })
        });
        let sum = self.crew(parts)?;
        oracle.check(
            semaphore.available_permits() == permits,
            "permits of a semaphore are lost",
        );
        Some(sum)
    }

    fn take_turns(&self, rounds: u64) -> Option<u64> {
        let turn = Mutex::new(0_u64);
        let changed = Condvar::new();
        let (turn, changed) = (&turn, &changed);
        let parts = (0..2).map(|side| {
            part(move || {
                for _ in 0..rounds {
                    let mut turn = changed
                        .wait_while(turn.lock().ok()?, |turn| *turn % 2 != side)
                        .ok()?;
                    *turn += 1;
                    changed.notify_one();
                }
                Some(rounds)
            })
        });
        self.crew(parts)
    }

    fn notify_all(&self, threads: usize) -> Option<u64> {
        let ready = Mutex::new(false);
        let changed = Condvar::new();
        let (ready, changed) = (&ready, &changed);
        let waiting = (0..threads).map(|_| {
            part(move || {
                let ready = changed
                    .wait_while(ready.lock().ok()?, |ready| !*ready)
                    .ok()?;
                Some(u64::from(*ready))
            })
        });
        let notifies = part(move || {
            *ready.lock().ok()? = true;
            changed.notify_all();
            Some(0)
        });
        self.crew(waiting.chain([notifies]))
    }

    fn park_ping_pong(&self, rounds: u64) -> Option<u64> {
        let ball = AtomicU64::new(0);
        let threads = Mutex::new([None, None]);
        let both = Barrier::new(2);
        let (ball, threads, both) = (&ball, &threads, &both);
        let parts = (0..2).map(|side| {
            part(move || {
                threads.lock().ok()?[side] = Some(thread::current());
                both.wait();
                let other = threads.lock().ok()?[1 - side].clone()?;
                for _ in 0..rounds {
                    while ball.load(Ordering::Acquire) % 2 != side as u64 {
                        thread::park();
                    }
                    ball.fetch_add(1, Ordering::AcqRel);
                    other.unpark();
                }
                Some(rounds)
            })
        });
        self.crew(parts)
    }

    fn notify_ping_pong(&self, rounds: u64) -> Option<u64> {
        let (ping, pong) = (Notify::new(), Notify::new());
        let (ping, pong) = (&ping, &pong);
        self.crew([
            part(move || {
                for _ in 0..rounds {
                    ping.notify_one();
                    pong.wait();
                }
                Some(rounds)
            }),
            part(move || {
                for _ in 0..rounds {
                    ping.wait();
                    pong.notify_one();
                }
                Some(rounds)
            }),
        ])
    }

    /// Gives how many leaders there were.
    fn barrier(&self, threads: usize, rounds: u64) -> Option<u64> {
        let barrier = Barrier::new(threads);
        let round = AtomicU64::new(0);
        let (barrier, round, oracle) = (&barrier, &round, &self.world.oracle);
        let parts = (0..threads).map(|_| {
            part(move || {
                let mut led = 0;
                for number in 0..rounds {
                    let now = round.load(Ordering::SeqCst);
                    oracle.check(now == number, "a thread has passed a barrier alone");
                    if barrier.wait().is_leader() {
                        led += 1;
                        round.fetch_add(1, Ordering::SeqCst);
                    }
                    barrier.wait();
                }
                Some(led)
            })
        });
        self.crew(parts)
    }

    fn once_among(&self, threads: usize) -> Option<u64> {
        let once = Once::new();
        let runs = AtomicU64::new(0);
        let (once, runs, oracle) = (&once, &runs, &self.world.oracle);
        let parts = (0..threads).map(|_| {
            part(move || {
                once.call_once_force(|_| {
                    thread::yield_now();
                    thread::sleep(Duration::from_micros(20));
                    runs.fetch_add(1, Ordering::SeqCst);
                });
                oracle.check(runs.load(Ordering::SeqCst) == 1, "a once ran not once");
                Some(1)
            })
        });
        self.crew(parts)
    }

    fn oneshots(&self, threads: usize) -> Option<u64> {
        let (requests, served) = channel::bounded(1);
        let clients: Vec<_> = (1..=threads as u64)
            .map(|number| {
                let requests = requests.clone();
                part(move || {
                    let (answer, answered) = oneshot::channel();
                    requests.send((number, answer)).ok()?;
                    answered.recv().ok()
                })
            })
            .collect();
        drop(requests);
        let server = part(move || {
            for (number, answer) in served {
                answer.send(number).ok()?;
            }
            Some(0)
        });
        self.crew(clients.into_iter().chain([server]))
    }

    fn broadcast_to(&self, receivers: usize, messages: u64) -> Option<u64> {
        let capacity = usize::try_from(messages).unwrap_or(1).max(1);
        let (sender, first) = broadcast::channel(capacity);
        let receivers: Vec<_> = (0..receivers).map(|_| sender.subscribe()).collect();
        drop(first);
        let receivers = receivers.into_iter().map(|receiver| {
            part(move || {
                let mut sum = 0;
                loop {
                    match receiver.recv() {
                        Ok(n) => sum += n,
                        Err(broadcast::RecvError::Closed) => return Some(sum),
                        Err(broadcast::RecvError::Lagged(_)) => return None,
                    }
                }
            })
        });
        let sends = part(move || {
            (1..=messages)
                .try_for_each(|n| sender.send(n).map(drop))
                .ok()?;
            Some(0)
        });
        self.crew(receivers.chain([sends]))
    }

    fn watch_by(&self, receivers: usize, values: u64) -> Option<u64> {
        let (sender, first) = watch::channel(0_u64);
        let receivers: Vec<_> = (0..receivers).map(|_| first.clone()).collect();
        drop(first);
        let oracle = &self.world.oracle;
        let receivers = receivers.into_iter().map(|mut receiver| {
            part(move || {
                let mut last = 0;
                while receiver.changed().is_ok() {
                    let value = *receiver.borrow_and_update();
                    oracle.check(value >= last, "a watched value goes back");
                    last = value;
                }
                Some(*receiver.borrow())
            })
        });
        let sends = part(move || {
            for value in 1..=values {
                sender.send(value).ok()?;
                if value % 4 == 0 {
                    thread::yield_now();
                }
            }
            Some(0)
        });
        self.crew(receivers.chain([sends]))
    }

    fn wait_group(&self, threads: usize) -> Option<u64> {
        let group = WaitGroup::new();
        let ended = AtomicU64::new(0);
        let ended = &ended;
        let parts: Vec<_> = (0..threads)
            .map(|_| {
                let group = group.clone();
                part(move || {
                    thread::yield_now();
                    ended.fetch_add(1, Ordering::SeqCst);
                    drop(group);
                    Some(0)
                })
            })
            .collect();
        let waits = part(move || {
            group.wait();
            Some(ended.load(Ordering::SeqCst))
        });
        self.crew(parts.into_iter().chain([waits]))
    }

    fn cancel_tree(&self, threads: usize) -> Option<u64> {
        let token = CancelToken::new();
        let begun = Semaphore::new(0);
        let begun = &begun;
        let sleeping: Vec<_> = (0..threads)
            .map(|number| {
                let token = if number % 2 == 0 {
                    token.child()
                } else {
                    token.clone()
                };
                part(move || {
                    let result = token.run(|| {
                        begun.add_permits(1);
                        thread::sleep(Duration::MAX);
                    });
                    Some(u64::from(result.is_err()))
                })
            })
            .collect();
        let cancels = part(move || {
            drop(begun.acquire_many(threads));
            token.cancel();
            Some(0)
        });
        self.crew(sleeping.into_iter().chain([cancels]))
    }

    fn deadline_tree(&self, threads: usize, micros: u64) {
        let result = deadline(Duration::from_micros(micros), || {
            self.crew((0..threads).map(|number| {
                part(move || {
                    match number % 3 {
                        0 => thread::sleep(Duration::MAX),
                        1 => thread::park(),
                        _ => drop(channel::never::<()>().recv()),
                    }
                    Some(0)
                })
            }))
        });
        // Somebody may have unparked one, but nobody wakes them all if there are several.
        self.world.oracle.check(
            result.is_err() || threads == 0 || result == Ok(None),
            "threads that sleep for ever have ended before their deadline",
        );
    }

    fn group_map(&self, items: usize, limit: usize, fails: Option<usize>) {
        let result = Group::new().limit(limit).map(0..items, |item| {
            if item % 2 == 0 {
                thread::yield_now();
            }
            if Some(item) == fails {
                Err(item)
            } else {
                Ok(item)
            }
        });
        let expected = match fails {
            Some(item) if item < items => Err(item),
            _ => Ok((0..items).collect()),
        };
        // A shutdown interrupts the members of a group that is shielded against it.
        let oracle = &self.world.oracle;
        oracle.check(
            result == expected || oracle.closing.load(Ordering::SeqCst),
            format_args!("a group gave {result:?} instead of {expected:?}"),
        );
    }

    fn join_any(&self, threads: usize) -> Option<u64> {
        thread::scope(|scope| {
            let handles = (1..=threads as u64).map(|number| {
                scope.spawn(move || {
                    thread::sleep(Duration::from_micros(number % 3 * 10));
                    number
                })
            });
            let mut handles: Vec<_> = handles.collect();
            let mut sum = Some(0);
            while !handles.is_empty() {
                let mut select = Select::new();
                for handle in &handles {
                    select.ready_of(handle);
                }
                let operation = select.select();
                let index = operation.index();
                operation.done();
                let joined = handles.swap_remove(index).join();
                let value = match joined {
                    Ok(value) => Some(value),
                    Err(payload) => {
                        self.world.oracle.caught(payload);
                        None
                    }
                };
                sum = sum.zip(value).map(|(sum, value)| sum + value);
            }
            sum
        })
    }
}

/// One to `n`.
fn sum(n: u64) -> u64 {
    n * (n + 1) / 2
}
