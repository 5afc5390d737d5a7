//! Makes a program from a seed.
//!
//! # Programs end
//!
//! Nobody knows what a program does that is put together at random, but it is known that it ends:
//!
//! - Lists of operations are finite, and so is each operation but for the time that it waits.
//! - An operation that may wait for ever stands only where it can be cancelled, and every program ends
//!   with a shutdown, which cancels all. A thread that catches that goes on, and is cancelled again in
//!   the next one.
//! - Where nothing can be cancelled (below a shield, in what a destructor does) and in programs that
//!   are to end by themselves, all waits have a limit, but for two: those for threads that were spawned
//!   there, which obey the same rules, and those within a [`Pattern`], which ends by its construction.
//! - The closure of a `Once` holds up whoever calls it, so it only does what waits for nobody else.

use std::sync::Arc;

use fastrand::Rng;

use crate::program::{
    Action, Arm, Body, Channel, End, Fate, Host, Micros, OBJECTS, Op, Patience, Pattern, Program,
    Root, Selected,
};

/// Settings that are not left to chance.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fixed {
    pub(crate) workers: Option<usize>,
    pub(crate) pinned: Option<bool>,
}

impl Fixed {
    /// The same, for another process.
    pub(crate) fn arguments(self) -> Vec<String> {
        let mut arguments = Vec::new();
        if let Some(workers) = self.workers {
            arguments.extend(["--workers".to_owned(), workers.to_string()]);
        }
        if let Some(pinned) = self.pinned {
            arguments.extend(["--pinned".to_owned(), pinned.to_string()]);
        }
        arguments
    }
}

/// Makes the program of a seed.
pub(crate) fn program(seed: u64, fixed: Fixed) -> Program {
    let mut random = Rng::with_seed(seed);
    let workers = random
        .choice([1, 1, 2, 2, 3, 4, 8])
        .expect("there are some");
    let workers = fixed.workers.unwrap_or(workers);
    let pinned = fixed.pinned.unwrap_or(random.u8(..4) == 0);
    let migrate = !pinned && random.u8(..3) == 0;
    let bounded = random.bool();
    let channels: Vec<_> = (0..random.usize(1..4))
        .map(|_| Channel {
            capacity: capacity(&mut random),
            kept: random.u8(..3) > 0,
        })
        .collect();
    let mut generator = Generator {
        channels: channels.len(),
        bounded,
        budget: random.usize(8..90),
        random,
    };
    let roots = (0..generator.random.usize(1..6))
        .map(|_| generator.root())
        .collect();
    let random = &mut generator.random;
    let end = match random.u8(..4) {
        0 if !bounded => End::Cancel(micros(random)),
        1 if !bounded => End::ShutDown(micros(random)),
        _ => End::Join,
    };
    Program {
        seed,
        workers,
        pinned,
        migrate,
        bounded,
        channels,
        roots,
        end,
    }
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    depth: usize,
    green: bool,
    /// Nothing interrupts it.
    masked: bool,
    /// Others are held up by it.
    in_once: bool,
}

impl Place {
    fn within(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }

    fn masked(self) -> Self {
        Self {
            masked: true,
            ..self.within()
        }
    }

    /// In a thread that is spawned here.
    fn child(self) -> Self {
        Self {
            green: true,
            ..self.within()
        }
    }
}

struct Generator {
    random: Rng,
    channels: usize,
    bounded: bool,
    /// How many operations may be added.
    budget: usize,
}

impl Generator {
    fn root(&mut self) -> Root {
        let green = self.random.u8(..5) > 0;
        let place = Place {
            depth: 0,
            green,
            masked: false,
            in_once: false,
        };
        Root {
            green,
            body: self.body(place),
        }
    }

    fn body(&mut self, place: Place) -> Body {
        let most = [9, 6, 4, 3, 2, 1][place.depth.min(5)];
        let wanted = self.random.usize(0..=most).min(self.budget);
        self.budget -= wanted;
        let ops = (0..wanted).map(|_| self.op(place)).collect();
        Body(Arc::new(ops))
    }

    fn bodies(&mut self, most: usize, place: Place) -> Vec<Body> {
        let count = self.random.usize(0..=most);
        (0..count).map(|_| self.body(place)).collect()
    }

    fn op(&mut self, place: Place) -> Op {
        let is_leaf = place.depth >= 5 || place.in_once;
        match self.random.u8(..100) {
            0..14 if !is_leaf => self.structure(place),
            14..18 if !is_leaf => self.colour(place),
            18..30 if !is_leaf => self.interruption(place),
            30..36 if !place.in_once => self.about_children(),
            36..62 => self.channel(place),
            62..86 => self.lock(place),
            86..92 if !is_leaf => Op::Pattern(self.pattern()),
            _ => self.simple(place),
        }
    }

    fn simple(&mut self, place: Place) -> Op {
        let patience = self.patience(place);
        let random = &mut self.random;
        match random.u8(..20) {
            0..6 => Op::Yield,
            6..10 => Op::Sleep(micros(random)),
            10..12 => Op::Compute(random.u64(..300)),
            12..14 => Op::Park(patience),
            14..16 => Op::Unpark(random.usize(..16)),
            16 if random.u8(..4) == 0 => Op::Blocking(random.u64(..200)),
            17 if !place.masked => Op::Panic,
            18 if place.green => Op::AtEnd(quiet_action(random)),
            _ => Op::Yield,
        }
    }

    fn structure(&mut self, place: Place) -> Op {
        match self.random.u8(..16) {
            0..5 => Op::Spawn(self.body(place.child())),
            5..8 => Op::Scope {
                children: self.bodies(4, place.child()),
                body: self.body(place.child()),
                fate: self.fate(),
            },
            8..10 => {
                let members = self.bodies(4, place.child());
                Op::Group {
                    limit: self.random.bool().then(|| self.random.usize(1..4)),
                    members: members
                        .into_iter()
                        .map(|body| (body, self.random.u8(..4) == 0))
                        .collect(),
                    take: self.random.usize(..3),
                    cancel: self.random.u8(..4) == 0,
                }
            }
            10 if place.depth < 3 => Op::Nested {
                workers: self.random.usize(1..4),
                pinned: self.random.u8(..4) == 0,
                children: self.bodies(3, place.child()),
                body: self.body(place.child()),
            },
            11..14 => Op::AtDrop {
                action: action(&mut self.random),
                body: self.body(place.within()),
            },
            14 => Op::Borrow(self.body(place.within())),
            _ => Op::Inherit(self.body(place.within())),
        }
    }

    fn colour(&mut self, place: Place) -> Op {
        match self.random.u8(..8) {
            0..3 => Op::AsFutures(self.body(place.within())),
            3..6 => Op::Greenly {
                host: match self.random.u8(..6) {
                    0 | 1 => Host::BlockOn,
                    2 => Host::Await,
                    3 => Host::Moves,
                    _ => Host::Drops(self.random.usize(..12)),
                },
                body: self.body(place.child()),
            },
            _ => Op::Coroutine {
                resumes: self.random.usize(..8),
                transfers: self.random.bool(),
                body: self.body(place.within()),
            },
        }
    }

    fn interruption(&mut self, place: Place) -> Op {
        match self.random.u8(..14) {
            0..3 => Op::Catch {
                swallow: self.random.bool(),
                body: self.body(place.within()),
            },
            3..6 => Op::RunIn {
                token: self.random.usize(..OBJECTS),
                child: self.random.bool(),
                body: self.body(place.within()),
            },
            6..8 => Op::Cancel(self.random.usize(..OBJECTS)),
            8..11 => Op::Deadline {
                micros: micros(&mut self.random),
                body: self.body(place.within()),
            },
            11..13 => Op::Shield(self.body(place.masked())),
            _ if self.may_wait(place) => Op::AwaitCancel(self.random.usize(..OBJECTS)),
            _ => Op::Cancel(self.random.usize(..OBJECTS)),
        }
    }

    fn about_children(&mut self) -> Op {
        match self.random.u8(..8) {
            0..3 => Op::Join,
            3..5 => Op::CancelChild,
            5 => Op::Detach,
            6 => Op::ForgetChild,
            _ => Op::Join,
        }
    }

    fn channel(&mut self, place: Place) -> Op {
        let channel = self.random.usize(..self.channels);
        let patience = self.patience(place);
        match self.random.u8(..20) {
            0..6 => Op::Send {
                channel,
                patience,
                action: quiet_action(&mut self.random),
            },
            6..11 => Op::Receive { channel, patience },
            11 => Op::ReceiveMany {
                channel,
                most: self.random.usize(..6),
                patience: match patience {
                    Patience::Forever => Patience::Forever,
                    _ => Patience::Never,
                },
            },
            12 => Op::DropSender(channel),
            13 => Op::DropReceiver(channel),
            14..18 => Op::Select {
                arms: (0..self.random.usize(1..5)).map(|_| self.arm()).collect(),
                biased: self.random.bool(),
                patience,
                then: match self.random.u8(..12) {
                    0 => Selected::Abandon,
                    1 => Selected::Forget,
                    2 | 3 => Selected::Observe,
                    _ => Selected::Complete,
                },
            },
            _ => Op::SelectMacro {
                send: channel,
                receive: self.random.usize(..self.channels),
                micros: micros(&mut self.random),
                biased: self.random.bool(),
            },
        }
    }

    fn arm(&mut self) -> Arm {
        match self.random.u8(..12) {
            0..4 => Arm::Send(self.random.usize(..self.channels)),
            4..8 => Arm::Receive(self.random.usize(..self.channels)),
            8 => Arm::After(micros(&mut self.random)),
            9 => Arm::Never,
            10 => Arm::Child,
            _ => Arm::Token(self.random.usize(..OBJECTS)),
        }
    }

    fn lock(&mut self, place: Place) -> Op {
        let object = self.random.usize(..OBJECTS);
        let patience = self.patience(place);
        let inner = match place.depth {
            0..5 => place.within(),
            _ => Place { depth: 5, ..place },
        };
        match self.random.u8(..24) {
            0..4 => Op::Lock {
                mutex: object,
                patience,
                fate: self.fate(),
                body: self.body(inner),
            },
            4..6 => Op::Read {
                lock: object,
                patience,
                fate: self.fate(),
                body: self.body(inner),
            },
            6..8 => Op::Write {
                lock: object,
                patience,
                downgrade: self.random.bool(),
                fate: self.fate(),
                body: self.body(inner),
            },
            8..10 => Op::CondvarWait {
                condvar: object,
                patience,
            },
            10..12 => Op::CondvarNotify {
                condvar: object,
                all: self.random.bool(),
            },
            12..14 => Op::Acquire {
                semaphore: object,
                permits: self.random.usize(1..3),
                patience,
                fate: self.fate(),
                body: self.body(inner),
            },
            14 if self.may_wait(place) => Op::BarrierWait(object),
            15 => Op::NotifyWait {
                notify: object,
                patience,
            },
            16 => Op::Notify {
                notify: object,
                all: self.random.bool(),
            },
            17 if !place.in_once => Op::Once {
                once: object,
                body: self.body(Place {
                    in_once: true,
                    ..inner
                }),
            },
            18 => Op::OneshotSend(object),
            19 => Op::OneshotReceive {
                oneshot: object,
                patience,
            },
            20 => Op::Broadcast,
            21 => Op::BroadcastReceive(patience),
            22 => Op::WatchSend,
            _ => Op::WatchWait(patience),
        }
    }

    fn pattern(&mut self) -> Pattern {
        let capacity = capacity(&mut self.random);
        let random = &mut self.random;
        let mut threads = || random.usize(1..5);
        let (some, others) = (threads(), threads());
        let rounds = random.u64(1..30);
        match random.u8(..23) {
            0..3 => Pattern::Pipeline {
                capacity,
                producers: some,
                consumers: others,
                messages: rounds,
            },
            3 | 4 => Pattern::Select {
                capacity,
                producers: some,
                messages: rounds,
                biased: random.bool(),
            },
            5 => Pattern::Exchange { messages: rounds },
            6 => Pattern::Mutex {
                threads: some,
                rounds,
            },
            7 => Pattern::RwLock {
                threads: some,
                rounds,
            },
            8 => Pattern::Semaphore {
                permits: others,
                threads: some,
                rounds,
            },
            9 => match random.bool() {
                true => Pattern::Turns { rounds },
                false => Pattern::CondvarAll { threads: some },
            },
            10 => Pattern::ParkPingPong { rounds },
            11 => Pattern::NotifyPingPong { rounds },
            12 => Pattern::Barrier {
                threads: some,
                rounds,
            },
            13 => Pattern::Once { threads: some },
            14 => Pattern::Oneshots { threads: some },
            15 => match random.bool() {
                true => Pattern::Broadcast {
                    receivers: some,
                    messages: rounds,
                },
                false => Pattern::Watch {
                    receivers: some,
                    values: rounds,
                },
            },
            16 => Pattern::WaitGroup { threads: some },
            17 => match random.bool() {
                true => Pattern::CancelTree { threads: some },
                false => Pattern::DeadlineTree {
                    threads: some,
                    micros: micros(random),
                },
            },
            18 => Pattern::GroupMap {
                items: some + others,
                limit: others,
                fails: random.bool().then(|| random.usize(..8)),
            },
            19 => Pattern::JoinAny { threads: some },
            _ => Pattern::Colours {
                members: some + others,
                rounds,
            },
        }
    }

    /// Whether an operation may wait for ever.
    fn may_wait(&self, place: Place) -> bool {
        !self.bounded && !place.masked
    }

    fn patience(&mut self, place: Place) -> Patience {
        match self.random.u8(..4) {
            0 => Patience::Never,
            1 | 2 if self.may_wait(place) => Patience::Forever,
            _ => Patience::For(micros(&mut self.random)),
        }
    }

    fn fate(&mut self) -> Fate {
        match self.random.u8(..20) {
            0 => Fate::Forget,
            _ => Fate::Drop,
        }
    }
}

fn capacity(random: &mut Rng) -> Option<usize> {
    random
        .choice([Some(0), Some(0), Some(1), Some(1), Some(2), Some(7), None])
        .expect("there are some")
}

/// A time that is long enough for something to happen, sometimes.
fn micros(random: &mut Rng) -> Micros {
    match random.u8(..8) {
        0 => 0,
        1..5 => random.u64(1..60),
        5..7 => random.u64(60..600),
        _ => random.u64(600..2500),
    }
}

fn action(random: &mut Rng) -> Action {
    match random.u8(..16) {
        0..7 => Action::Nothing,
        7..9 => Action::Yield,
        9 => Action::Sleep(micros(random)),
        10 => Action::Spawn,
        11 => Action::SpawnAndJoin,
        12 => Action::Lock(micros(random)),
        13 => Action::Catch(micros(random)),
        _ => Action::Panic,
    }
}

/// For a value that others drop: if they panicked, the process would rightly end.
fn quiet_action(random: &mut Rng) -> Action {
    match action(random) {
        Action::Panic => Action::Nothing,
        other => other,
    }
}
