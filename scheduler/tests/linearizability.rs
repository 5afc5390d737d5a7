//! Channels are linearizable: what threads see of them could have been seen if each operation had
//! happened at one moment between its call and its return.
//!
//! Random threads do random operations on a few channels, and note when each began and ended, and
//! what it gave. Then an order of all of them is searched (after Wing and Gong, with Lowe's memory of
//! what has been tried) that keeps to these times, and in which a channel that is as simple as can be
//! would have given the same. If there is none, the shortest such history is shown.

mod common;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{WORKER_COUNTS, runtime, watchdog};
use roving_scheduler::Runtime;
use roving_scheduler::channel::{
    Receiver, RecvTimeoutError, Registration, Select, Selectable, SendTimeoutError, Sender, Ticket,
    TryRecvError, TrySendError, bounded, unbounded,
};
use roving_scheduler::thread::yield_now;

/// What a run of the checker may take; it stops before it has done all rounds if the machine is slow.
const BUDGET: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3000;
const SEED: u64 = 0x005e_ed0f_c4a7;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

type Message = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arm {
    Send(usize, Message),
    Receive(usize),
    /// Is never ready, and takes its time to say so.
    Dawdle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    Never,
    /// With a time limit that has passed.
    Zero,
    Shortly,
}

#[derive(Debug, Clone)]
enum Operation {
    One(Arm, Waits),
    Select(Vec<Arm>, Waits),
    DropSender(usize),
    DropReceiver(usize),
}

/// What an operation gave: which arm was done, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Sent(usize),
    Received(usize, Message),
    Disconnected(usize),
    /// Nothing was possible.
    Nothing,
    Dropped,
}

#[derive(Clone)]
struct Event {
    thread: usize,
    operation: Operation,
    outcome: Outcome,
    called: usize,
    returned: usize,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:3}..{:<3} thread {}: {:?} -> {:?}",
            self.called, self.returned, self.thread, self.operation, self.outcome
        )
    }
}

// The model.

#[derive(Clone, PartialEq, Eq, Hash)]
struct Model {
    channels: Vec<Channel>,
    /// Without capacity a send and its receive happen at the same moment: the message, and when the
    /// send had returned. Nothing comes in between.
    on_its_way: Option<(usize, Message, usize)>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Channel {
    capacity: Option<usize>,
    queue: VecDeque<Message>,
    senders: usize,
    receivers: usize,
}

impl Model {
    /// What is left if the operation now gives this; `None` if it would not.
    fn after(&self, event: &Event) -> Option<Self> {
        if let Some((on_its_way, message, sent)) = self.on_its_way {
            let Outcome::Received(place, received) = event.outcome else {
                return None;
            };
            let is_it = received == message
                && arm(event, place) == Arm::Receive(on_its_way)
                && event.called < sent;
            return is_it.then(|| Self {
                on_its_way: None,
                ..self.clone()
            });
        }
        let mut after = self.clone();
        let channel = |n: usize| &self.channels[n];
        let is_right = match event.outcome {
            Outcome::Sent(place) => {
                let Arm::Send(n, message) = arm(event, place) else {
                    return None;
                };
                let has_room = channel(n)
                    .capacity
                    .is_none_or(|capacity| channel(n).queue.len() < capacity);
                if channel(n).capacity == Some(0) {
                    after.on_its_way = Some((n, message, event.returned));
                } else {
                    after.channels[n].queue.push_back(message);
                }
                channel(n).receivers > 0 && (has_room || channel(n).capacity == Some(0))
            }
            Outcome::Received(place, message) => {
                let Arm::Receive(n) = arm(event, place) else {
                    return None;
                };
                after.channels[n].queue.pop_front() == Some(message)
            }
            Outcome::Disconnected(place) => match arm(event, place) {
                Arm::Send(n, _) => channel(n).receivers == 0,
                Arm::Receive(n) => channel(n).senders == 0 && channel(n).queue.is_empty(),
                Arm::Dawdle => false,
            },
            Outcome::Nothing => arms(event).iter().all(|arm| match *arm {
                Arm::Send(n, _) => {
                    let is_full = |capacity| channel(n).queue.len() >= capacity;
                    channel(n).receivers > 0 && channel(n).capacity.is_some_and(is_full)
                }
                Arm::Receive(n) => channel(n).senders > 0 && channel(n).queue.is_empty(),
                Arm::Dawdle => true,
            }),
            Outcome::Dropped => {
                match event.operation {
                    Operation::DropSender(n) => after.channels[n].senders -= 1,
                    Operation::DropReceiver(n) => {
                        after.channels[n].receivers -= 1;
                        if after.channels[n].receivers == 0 {
                            after.channels[n].queue.clear();
                        }
                    }
                    _ => return None,
                }
                true
            }
        };
        is_right.then_some(after)
    }
}

fn arms(event: &Event) -> &[Arm] {
    match &event.operation {
        Operation::One(arm, _) => std::slice::from_ref(arm),
        Operation::Select(arms, _) => arms,
        _ => &[],
    }
}

fn arm(event: &Event, place: usize) -> Arm {
    arms(event)[place]
}

/// Whether the events could have happened one after the other.
fn is_linearizable(history: &[Event], start: &Model) -> bool {
    assert!(history.len() <= 64);
    let all = u64::MAX >> (64 - history.len());
    let mut tried = HashSet::new();
    let mut left = vec![(0u64, start.clone())];
    while let Some((done, model)) = left.pop() {
        if done == all {
            return true;
        }
        if !tried.insert((done, model.clone())) {
            continue;
        }
        let open = || (0..history.len()).filter(|n| done & (1 << n) == 0);
        let first_return = open().map(|n| history[n].returned).min().unwrap();
        for n in open().filter(|n| history[*n].called < first_return) {
            if let Some(after) = model.after(&history[n]) {
                left.push((done | 1 << n, after));
            }
        }
    }
    false
}

// The threads.

/// One thread's ends of the channels.
struct Ends {
    senders: Vec<Option<Sender<Message>>>,
    receivers: Vec<Option<Receiver<Message>>>,
    /// The longest that a select has taken, from before it was begun until what it has selected was done.
    longest: Duration,
}

/// How long somebody who has met one that has selected waits for what that does with it. If it takes longer, it is
/// not done as one operation, nor said to be.
const GRACE: Duration = Duration::from_millis(100);

/// A selectable that makes the time between the looks at two arms longer.
struct Dawdle;

impl Selectable for Dawdle {
    fn is_ready(&self) -> io::Result<bool> {
        yield_now();
        Ok(false)
    }

    fn watch(&self, _: Ticket) -> io::Result<Option<Registration<'_>>> {
        Ok(Some(Registration::new(|| {})))
    }
}

const SHORTLY: Duration = Duration::from_micros(300);

fn perform(operation: &Operation, ends: &mut Ends) -> Outcome {
    let sender = |n: usize| ends.senders[n].as_ref().unwrap();
    let receiver = |n: usize| ends.receivers[n].as_ref().unwrap();
    match operation {
        Operation::One(Arm::Send(n, message), waits) => {
            let timeout = match waits {
                Waits::Never => {
                    return match sender(*n).try_send(*message) {
                        Ok(()) => Outcome::Sent(0),
                        Err(TrySendError::Full(_)) => Outcome::Nothing,
                        Err(TrySendError::Disconnected(_)) => Outcome::Disconnected(0),
                    };
                }
                Waits::Zero => Duration::ZERO,
                Waits::Shortly => SHORTLY,
            };
            match sender(*n).send_timeout(*message, timeout) {
                Ok(()) => Outcome::Sent(0),
                Err(SendTimeoutError::Timeout(_)) => Outcome::Nothing,
                Err(SendTimeoutError::Disconnected(_)) => Outcome::Disconnected(0),
            }
        }
        Operation::One(Arm::Receive(n), waits) => {
            let timeout = match waits {
                Waits::Never => {
                    return match receiver(*n).try_recv() {
                        Ok(message) => Outcome::Received(0, message),
                        Err(TryRecvError::Empty) => Outcome::Nothing,
                        Err(TryRecvError::Disconnected) => Outcome::Disconnected(0),
                    };
                }
                Waits::Zero => Duration::ZERO,
                Waits::Shortly => SHORTLY,
            };
            match receiver(*n).recv_timeout(timeout) {
                Ok(message) => Outcome::Received(0, message),
                Err(RecvTimeoutError::Timeout) => Outcome::Nothing,
                Err(RecvTimeoutError::Disconnected) => Outcome::Disconnected(0),
            }
        }
        Operation::One(Arm::Dawdle, _) => unreachable!("only in a select"),
        Operation::Select(arms, waits) => {
            let mut select = Select::new();
            for arm in arms {
                match arm {
                    Arm::Send(n, _) => select.send(sender(*n)),
                    Arm::Receive(n) => select.recv(receiver(*n)),
                    Arm::Dawdle => select.ready_of(&Dawdle),
                };
            }
            let begun = Instant::now();
            let selected = match waits {
                Waits::Never => select.try_select().ok(),
                Waits::Zero => select.select_timeout(Duration::ZERO).ok(),
                Waits::Shortly => select.select_timeout(SHORTLY).ok(),
            };
            let Some(selected) = selected else {
                return Outcome::Nothing;
            };
            let place = selected.index();
            let outcome = match arms[place] {
                Arm::Send(n, message) => match selected.send(sender(n), message) {
                    Ok(()) => Outcome::Sent(place),
                    Err(_) => Outcome::Disconnected(place),
                },
                Arm::Receive(n) => match selected.recv(receiver(n)) {
                    Ok(message) => Outcome::Received(place, message),
                    Err(_) => Outcome::Disconnected(place),
                },
                Arm::Dawdle => unreachable!("it is never ready"),
            };
            ends.longest = ends.longest.max(begun.elapsed());
            outcome
        }
        Operation::DropSender(n) => {
            ends.senders[*n] = None;
            Outcome::Dropped
        }
        Operation::DropReceiver(n) => {
            ends.receivers[*n] = None;
            Outcome::Dropped
        }
    }
}

/// What one thread will do; it ends by dropping its ends.
fn program(random: &mut Random, channels: usize, next: &mut Message) -> Vec<Operation> {
    let mut senders = vec![true; channels];
    let mut receivers = vec![true; channels];
    let mut operations = Vec::new();
    for _ in 0..2 + random.below(4) {
        let any_arm = |random: &mut Random, next: &mut Message| {
            let n = random.below(channels);
            *next += 1;
            if random.one_in(2) {
                senders[n].then_some(Arm::Send(n, *next))
            } else {
                receivers[n].then_some(Arm::Receive(n))
            }
        };
        let waits = [Waits::Never, Waits::Zero, Waits::Shortly][random.below(3)];
        if random.one_in(12) {
            let n = random.below(channels);
            let (ends, operation) = if random.one_in(2) {
                (&mut senders, Operation::DropSender(n))
            } else {
                (&mut receivers, Operation::DropReceiver(n))
            };
            if std::mem::take(&mut ends[n]) {
                operations.push(operation);
            }
        } else if random.one_in(2) {
            let arm = any_arm(random, next);
            operations.extend(arm.map(|arm| Operation::One(arm, waits)));
        } else {
            let count = 1 + random.below(3);
            let mut arms: Vec<_> = (0..count).filter_map(|_| any_arm(random, next)).collect();
            if !arms.is_empty() && random.one_in(3) {
                arms.insert(random.below(arms.len() + 1), Arm::Dawdle);
            }
            if !arms.is_empty() {
                operations.push(Operation::Select(arms, waits));
            }
        }
    }
    for n in 0..channels {
        operations.extend(senders[n].then_some(Operation::DropSender(n)));
        operations.extend(receivers[n].then_some(Operation::DropReceiver(n)));
    }
    operations
}

/// One round: the history, and what it started from. `None` if a select was held up for so long that it tells nothing.
fn round(runtime: &Runtime, random: &mut Random) -> Option<(Vec<Event>, Model)> {
    let capacities = [Some(0), Some(1), Some(2), None];
    let capacities: Vec<_> = (0..1 + random.below(2))
        .map(|_| capacities[random.below(4)])
        .collect();
    let threads = 2 + random.below(3);
    let ends: Vec<_> = capacities
        .iter()
        .map(|capacity| capacity.map_or_else(unbounded, bounded))
        .collect();
    let (clock, ready) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(threads + 1)),
    );
    let mut next = 0;
    let threads: Vec<_> = (0..threads)
        .map(|thread| {
            let program = program(random, capacities.len(), &mut next);
            let mut ends = Ends {
                senders: ends.iter().map(|(s, _)| Some(s.clone())).collect(),
                receivers: ends.iter().map(|(_, r)| Some(r.clone())).collect(),
                longest: Duration::ZERO,
            };
            let (clock, ready) = (clock.clone(), ready.clone());
            let mut pauses = Random(random.0 + thread as u64);
            let run = move || {
                ready.fetch_sub(1, Ordering::SeqCst);
                while ready.load(Ordering::SeqCst) > 0 {
                    yield_now();
                }
                let mut events = Vec::with_capacity(program.len());
                for operation in program {
                    match pauses.below(4) {
                        0 => yield_now(),
                        1 => (0..pauses.below(200)).for_each(|_| std::hint::spin_loop()),
                        _ => {}
                    }
                    let called = clock.fetch_add(1, Ordering::SeqCst);
                    let outcome = perform(&operation, &mut ends);
                    let returned = clock.fetch_add(1, Ordering::SeqCst);
                    events.push(Event {
                        thread,
                        operation,
                        outcome,
                        called,
                        returned,
                    });
                }
                (events, ends.longest)
            };
            if random.one_in(4) {
                Err(std::thread::spawn(run))
            } else {
                Ok(runtime.spawn(run))
            }
        })
        .collect();
    let count = threads.len();
    let start = Model {
        channels: capacities
            .iter()
            .map(|capacity| Channel {
                capacity: *capacity,
                queue: VecDeque::new(),
                senders: count,
                receivers: count,
            })
            .collect(),
        on_its_way: None,
    };
    // The threads wait for that, so that they have the only ends.
    drop(ends);
    ready.fetch_sub(1, Ordering::SeqCst);
    let (mut history, mut longest) = (Vec::new(), Duration::ZERO);
    for thread in threads {
        let (events, longest_here) = match thread {
            Ok(green) => green.join().unwrap(),
            Err(os) => os.join().unwrap(),
        };
        history.extend(events);
        longest = longest.max(longest_here);
    }
    history.sort_by_key(|event| event.called);
    (longest < GRACE).then_some((history, start))
}

/// Leaves out what can be left out: an operation that found nothing has changed nothing.
fn reduced(mut history: Vec<Event>, start: &Model) -> Vec<Event> {
    let mut n = 0;
    while n < history.len() {
        let event = history.remove(n);
        if event.outcome != Outcome::Nothing || is_linearizable(&history, start) {
            history.insert(n, event);
            n += 1;
        }
    }
    history
}

fn check(workers: usize, seed: u64) {
    let _watchdog = watchdog(format_args!("with {workers} workers"));
    let runtime = runtime(workers);
    let mut random = Random(seed);
    let begun = Instant::now();
    let mut shortest: Option<(Vec<Event>, Model)> = None;
    for _ in 0..ROUNDS {
        if begun.elapsed() > BUDGET {
            break;
        }
        let Some((history, start)) = round(&runtime, &mut random) else {
            continue;
        };
        if !is_linearizable(&history, &start) {
            let history = reduced(history, &start);
            let is_shorter = |(shortest, _): &(Vec<Event>, _)| history.len() < shortest.len();
            if shortest.as_ref().is_none_or(is_shorter) {
                shortest = Some((history, start));
            }
        }
    }
    if let Some((history, start)) = shortest {
        let capacities: Vec<_> = start.channels.iter().map(|c| c.capacity).collect();
        let events: Vec<_> = history.iter().map(ToString::to_string).collect();
        panic!(
            "not linearizable, with {workers} workers, capacities {capacities:?}:\n{}",
            events.join("\n")
        );
    }
}

#[test]
fn random_histories() {
    for workers in WORKER_COUNTS {
        check(workers, SEED + workers as u64);
    }
}

/// The checker finds what it is for.
#[test]
fn the_checker_tells() {
    let event = |thread, operation, outcome, called, returned| Event {
        thread,
        operation,
        outcome,
        called,
        returned,
    };
    let send = |n, m| Operation::One(Arm::Send(n, m), Waits::Never);
    let receive = |n| Operation::One(Arm::Receive(n), Waits::Never);
    let start = |capacity| Model {
        channels: vec![
            Channel {
                capacity,
                queue: VecDeque::new(),
                senders: 2,
                receivers: 2,
            };
            2
        ],
        on_its_way: None,
    };
    // Hand to hand: both are there at one time, and the message is the other's.
    let meets = |called| {
        [
            event(0, send(0, 1), Outcome::Sent(0), 0, 3),
            event(1, receive(0), Outcome::Received(0, 1), called, 5),
        ]
    };
    assert!(is_linearizable(&meets(1), &start(Some(0))));
    assert!(!is_linearizable(&meets(4), &start(Some(0))));
    assert!(is_linearizable(&meets(4), &start(Some(1))));
    // Full and empty at once.
    let full_and_empty = [
        event(0, send(0, 1), Outcome::Sent(0), 0, 9),
        event(1, send(0, 2), Outcome::Nothing, 1, 2),
        event(1, receive(0), Outcome::Nothing, 3, 4),
    ];
    assert!(!is_linearizable(&full_and_empty, &start(Some(1))));
    assert!(is_linearizable(&full_and_empty[..2], &start(Some(1))));
    // One of two is full at each moment.
    let both = Operation::Select(vec![Arm::Receive(0), Arm::Receive(1)], Waits::Never);
    let nothing = [
        event(0, send(0, 1), Outcome::Sent(0), 0, 1),
        event(1, both, Outcome::Nothing, 2, 7),
        event(0, send(1, 2), Outcome::Sent(0), 3, 4),
        event(0, receive(0), Outcome::Received(0, 1), 5, 6),
    ];
    assert!(!is_linearizable(&nothing, &start(None)));
}

/// Lets something happen when it is asked for the first time, and is never ready.
struct Meanwhile<F>(F, AtomicBool);

impl<F: Fn()> Selectable for Meanwhile<F> {
    fn is_ready(&self) -> io::Result<bool> {
        if !self.1.swap(true, Ordering::Relaxed) {
            (self.0)();
        }
        Ok(false)
    }

    fn watch(&self, _: Ticket) -> io::Result<Option<Registration<'_>>> {
        Ok(Some(Registration::new(|| {})))
    }
}

/// At every moment at least one of two channels has a message, so a select that does not wait finds
/// one: though the second gets its message after it was looked at, and the first loses its before.
#[test]
fn one_of_two_is_found() {
    let (one, two) = (unbounded(), unbounded());
    for is_done in [true, false] {
        one.0.send(1).unwrap();
        let meanwhile = || {
            two.0.send(2).unwrap();
            one.1.recv().unwrap();
        };
        let meanwhile = Meanwhile(meanwhile, AtomicBool::new(false));
        let mut select = Select::new_biased();
        select.recv(&two.1);
        select.ready_of(&meanwhile);
        select.recv(&one.1);
        if is_done {
            let found = select.try_select().expect("the second has a message");
            assert_eq!(found.recv(&two.1), Ok(2));
        } else {
            assert_eq!(select.try_ready(), Ok(0));
            assert_eq!(two.1.recv(), Ok(2));
        }
    }
}

/// The same while another thread does it, as fast as it can.
#[test]
fn one_of_two_is_found_in_a_race() {
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(format_args!("with {workers} workers"));
        let runtime = runtime(workers);
        for on_os_threads in [true, false] {
            let (one, two) = (unbounded::<u8>(), unbounded::<u8>());
            let (begins, begun) = bounded::<()>(0);
            let (ends, ended) = bounded::<()>(0);
            let (to_two, from_one) = (two.0.clone(), one.1.clone());
            let other = move || {
                while begun.recv().is_ok() {
                    to_two.send(2).unwrap();
                    let _ = from_one.try_recv();
                    ends.send(()).unwrap();
                }
            };
            let mine = move || {
                for _ in 0..3000 {
                    one.0.send(1).unwrap();
                    begins.send(()).unwrap();
                    let mut select = Select::new();
                    let of_two = select.recv(&two.1);
                    select.recv(&one.1);
                    let found = select.try_select().expect("one of them has a message");
                    let receiver = [&two.1, &one.1][usize::from(found.index() != of_two)];
                    found.recv(receiver).unwrap();
                    ended.recv().unwrap();
                    while one.1.try_recv().is_ok() || two.1.try_recv().is_ok() {}
                }
            };
            if on_os_threads {
                let other = std::thread::spawn(other);
                std::thread::spawn(mine).join().unwrap();
                other.join().unwrap();
            } else {
                let other = runtime.spawn(other);
                runtime.spawn(mine).join().unwrap();
                other.join().unwrap();
            }
        }
    }
}
