//! Runs a program's threads.
//!
//! | file        | what it does                                                          |
//! |-------------|-----------------------------------------------------------------------|
//! | this one    | a thread's life, and what it knows                                     |
//! | `structure` | children, scopes, groups, runtimes, cancellation, deadlines, panics    |
//! | `channels`  | channels and select                                                    |
//! | `colours`   | futures, threads in futures, coroutines                               |
//! | `locks`     | everything else in `sync`                                              |
//! | `patterns`  | threads that work together on something of their own                   |

mod channels;
mod colours;
mod locks;
mod patterns;
mod structure;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::panic;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roving::sync::broadcast;
use roving::sync::watch;
use roving::thread::{self, JoinHandle};

use crate::oracle::{Closure, Status};
use crate::program::{Body, Op, Patience};
use crate::value::{Item, Payload};
use crate::world::{Ends, World};

thread_local! {
    /// The number of the thread whose thread-locals these are.
    static THREAD: Cell<u64> = const { Cell::new(0) };
    /// What a thread borrows while it does something else.
    static BORROWED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    /// What is dropped at the end of a thread.
    static LATE: RefCell<Vec<Item>> = const { RefCell::new(Vec::new()) };
}

roving::local! {
    /// What children inherit.
    static INHERITED: u64;
}

/// What a thread is spawned with.
pub(crate) struct Start {
    world: Arc<World>,
    ends: Ends,
    body: Body,
    range: Range<usize>,
    inherited: Option<u64>,
    /// Whether it will have thread-locals of its own.
    owns: bool,
    children_own: bool,
    /// Whether it is in a future, or comes from one: then its runtime may be the global one, which does not
    /// end with the program.
    is_of_guest: bool,
    closure: Closure,
}

impl Start {
    /// A thread that the program begins with.
    pub(crate) fn root(world: &Arc<World>, green: bool, ends: Ends, body: &Body) -> Self {
        let kind = if green { "green root" } else { "OS root" };
        Self {
            world: world.clone(),
            ends,
            body: body.clone(),
            range: 0..body.0.len(),
            inherited: None,
            owns: !green || world.owns,
            children_own: world.owns,
            is_of_guest: false,
            closure: Closure(world.oracle.add_thread(kind, 0)),
        }
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        self.closure.0.clone()
    }

    /// The thread's life.
    pub(crate) fn live(self) -> Item {
        self.closure.runs();
        let status = self.status();
        let oracle = self.world.oracle.clone();
        if self.owns {
            let before = THREAD.replace(status.number);
            oracle.check(
                before == 0 && !std::thread::panicking(),
                format_args!("a new thread finds thread-locals of thread {before}"),
            );
        }
        self.world.has_thread(thread::current());
        let mut thread = Thread {
            world: &self.world,
            status: &status,
            ends: self.ends,
            owns: self.owns,
            children_own: self.children_own,
            is_of_guest: self.is_of_guest,
            as_futures: false,
            inherited: self.inherited,
            children: Vec::new(),
            held: Vec::new(),
            borrows: 0,
            sequence: 0,
            seen: HashMap::new(),
            broadcast: None,
            watch: None,
        };
        thread.run_part(&self.body, self.range.clone());
        drop(thread);
        let result = Item::new(&oracle, "result", status.number);
        status.returns(&result);
        result
    }
}

/// A thread that was spawned, and can be joined.
struct Child {
    handle: JoinHandle<Item>,
    status: Arc<Status>,
}

/// What a thread knows.
struct Thread<'a> {
    world: &'a Arc<World>,
    status: &'a Arc<Status>,
    ends: Ends,
    owns: bool,
    children_own: bool,
    is_of_guest: bool,
    /// Whether it waits in futures.
    as_futures: bool,
    inherited: Option<u64>,
    children: Vec<Child>,
    /// The addresses of the locks that it holds.
    held: Vec<usize>,
    borrows: usize,
    sequence: u64,
    /// The last message that it has received, by channel and sender.
    seen: HashMap<(usize, u64), u64>,
    broadcast: Option<broadcast::Receiver<Arc<Item>>>,
    watch: Option<watch::Receiver<Item>>,
}

impl Thread<'_> {
    fn run(&mut self, body: &Body) {
        self.run_part(body, 0..body.0.len());
    }

    fn run_part(&mut self, body: &Body, range: Range<usize>) {
        for index in range {
            let op = &body.0[index];
            self.status.is_at(op.address());
            self.step(body, index, op);
            self.is_itself();
        }
    }

    /// Whatever it did, it is the same thread.
    fn is_itself(&self) {
        let oracle = &self.world.oracle;
        if self.owns {
            let found = THREAD.get();
            oracle.check(
                found == self.status.number,
                format_args!(
                    "thread {} finds thread-locals of thread {found}",
                    self.status.number
                ),
            );
            oracle.check(
                !std::thread::panicking(),
                format_args!("thread {} is said to panic", self.status.number),
            );
        }
        let inherited = INHERITED.get();
        oracle.check(
            inherited == self.inherited,
            format_args!(
                "thread {} inherited {:?}, and finds {inherited:?}",
                self.status.number, self.inherited
            ),
        );
    }

    fn step(&mut self, body: &Body, index: usize, op: &Op) {
        match op {
            Op::Yield => thread::yield_now(),
            Op::Sleep(micros) => thread::sleep(Duration::from_micros(*micros)),
            Op::Compute(micros) => compute(*micros),
            Op::Park(patience) => match limit(*patience) {
                Some(limit) => thread::park_timeout(limit),
                None => thread::park(),
            },
            Op::Unpark(number) => {
                if let Some(thread) = self.world.thread(*number) {
                    thread.unpark();
                }
            }
            Op::Blocking(micros) => {
                let limit = Duration::from_micros(*micros);
                roving::blocking(|| std::thread::sleep(limit));
            }
            Op::Panic => panic::panic_any(Payload::new(&self.world.oracle, self.status.number)),
            Op::Catch { .. }
            | Op::AtDrop { .. }
            | Op::AtEnd(_)
            | Op::Borrow(_)
            | Op::Inherit(_)
            | Op::Spawn(_)
            | Op::Join
            | Op::CancelChild
            | Op::Detach
            | Op::ForgetChild
            | Op::Scope { .. }
            | Op::Group { .. }
            | Op::Nested { .. }
            | Op::RunIn { .. }
            | Op::Cancel(_)
            | Op::AwaitCancel(_)
            | Op::Deadline { .. }
            | Op::Shield(_) => self.structure(body, index, op),
            Op::AsFutures(_) | Op::Greenly { .. } | Op::Coroutine { .. } => self.colour(op),
            Op::Send { .. }
            | Op::Receive { .. }
            | Op::ReceiveMany { .. }
            | Op::DropSender(_)
            | Op::DropReceiver(_)
            | Op::Select { .. }
            | Op::SelectMacro { .. } => self.channel(op),
            Op::Pattern(pattern) if roving::is_green() => self.pattern(*pattern),
            Op::Pattern(_) => self.on_green(body, index),
            _ => self.lock(op),
        }
    }

    /// Does an operation on a green thread, which it joins.
    fn on_green(&mut self, body: &Body, index: usize) {
        let start = Start {
            range: index..index + 1,
            ..self.start("of an OS thread", body)
        };
        let status = start.status();
        let handle = self.world.runtime.spawn(move || start.live());
        let result = handle.join();
        self.world.oracle.joined(&status, result);
    }

    /// A thread that this one spawns.
    fn start(&self, kind: &'static str, body: &Body) -> Start {
        let oracle = &self.world.oracle;
        Start {
            world: self.world.clone(),
            ends: self.ends.clone(),
            body: body.clone(),
            range: 0..body.0.len(),
            inherited: self.inherited,
            owns: self.children_own,
            children_own: self.children_own,
            is_of_guest: self.is_of_guest,
            closure: Closure(oracle.add_thread(kind, self.status.op())),
        }
    }
}

fn compute(micros: u64) {
    let end = Instant::now() + Duration::from_micros(micros);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// `None` if it waits for ever.
fn limit(patience: Patience) -> Option<Duration> {
    match patience {
        Patience::Never => Some(Duration::ZERO),
        Patience::For(micros) => Some(Duration::from_micros(micros)),
        Patience::Forever => None,
    }
}
