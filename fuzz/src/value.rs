//! Values that are counted: each must be dropped once. Some do something then that destructors of
//! real programs do: they block, spawn, lock, panic.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roving::sync::TryLockError;
use roving::thread;

use crate::oracle::Oracle;
use crate::program::Action;

/// A value.
#[derive(Debug)]
pub(crate) struct Item {
    state: Arc<ItemState>,
    oracle: Arc<Oracle>,
    action: Action,
}

/// What is known of a value.
#[derive(Debug)]
pub(crate) struct ItemState {
    pub(crate) what: &'static str,
    number: u64,
    /// The thread that made it.
    pub(crate) owner: u64,
    /// Whether its channel has a receiver to the end.
    must_arrive: bool,
    sent: AtomicBool,
    received: AtomicBool,
    dropped: AtomicBool,
}

impl ItemState {
    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.must_arrive
            && self.sent.load(Ordering::SeqCst)
            && !self.received.load(Ordering::SeqCst)
    }
}

impl fmt::Display for ItemState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of thread {}", self.what, self.number, self.owner)
    }
}

impl Item {
    pub(crate) fn new(oracle: &Arc<Oracle>, what: &'static str, owner: u64) -> Self {
        Self::with_action(oracle, what, owner, Action::Nothing)
    }

    pub(crate) fn with_action(
        oracle: &Arc<Oracle>,
        what: &'static str,
        owner: u64,
        action: Action,
    ) -> Self {
        Self::make(oracle, what, owner, action, false)
    }

    fn make(
        oracle: &Arc<Oracle>,
        what: &'static str,
        owner: u64,
        action: Action,
        must_arrive: bool,
    ) -> Self {
        let state = Arc::new(ItemState {
            what,
            number: oracle.number(),
            owner,
            must_arrive,
            sent: AtomicBool::new(false),
            received: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
        });
        oracle.add_item(&state);
        Self {
            state,
            oracle: oracle.clone(),
            action,
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.state.number
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        if self.state.dropped.swap(true, Ordering::SeqCst) {
            self.oracle
                .violated(format_args!("{} was dropped twice", self.state));
        }
        act(self.action, &self.oracle, self.state.owner);
    }
}

/// What the destructor of a value does.
fn act(action: Action, oracle: &Arc<Oracle>, owner: u64) {
    let sleep = |micros| thread::sleep(Duration::from_micros(micros));
    match action {
        Action::Nothing => {}
        Action::Yield => thread::yield_now(),
        Action::Sleep(micros) => sleep(micros),
        // On an OS thread that would be the global runtime's, which never ends.
        Action::Spawn | Action::SpawnAndJoin if !roving::is_green() => {}
        Action::Spawn | Action::SpawnAndJoin => {
            let captured = Item::new(oracle, "what a destructor's thread captures", owner);
            let spawned = thread::Builder::new().spawn(move || {
                thread::yield_now();
                drop(captured);
            });
            // A runtime that ends refuses.
            if let (Ok(child), Action::SpawnAndJoin) = (spawned, action)
                && let Err(payload) = child.join()
            {
                oracle.caught(payload);
            }
        }
        Action::Lock(micros) => {
            let _held = match oracle.lock.try_lock_for(Duration::from_micros(micros)) {
                Ok(held) => held,
                Err(TryLockError::Poisoned(error)) => error.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            sleep(micros);
        }
        Action::Catch(micros) => {
            let caught = panic::catch_unwind(AssertUnwindSafe(|| {
                let _sleeps = Item::with_action(
                    oracle,
                    "local of a destructor",
                    owner,
                    Action::Sleep(micros),
                );
                panic::panic_any(Payload::new(oracle, owner));
            }));
            let Err(payload) = caught;
            oracle.caught(payload);
        }
        Action::Panic if std::thread::panicking() => {}
        Action::Panic => panic::panic_any(Payload::new(oracle, owner)),
    }
}

/// What panics carry.
#[derive(Debug)]
pub(crate) struct Payload(#[allow(dead_code, reason = "it is dropped")] Item);

impl Payload {
    /// What it is called.
    pub(crate) const WHAT: &str = "payload";

    pub(crate) fn new(oracle: &Arc<Oracle>, owner: u64) -> Self {
        Self(Item::new(oracle, Self::WHAT, owner))
    }
}

/// A value that goes through a channel.
#[derive(Debug)]
pub(crate) struct Message {
    item: Item,
    /// Grows with the messages of a thread.
    sequence: u64,
}

impl Message {
    pub(crate) fn new(
        oracle: &Arc<Oracle>,
        sender: u64,
        sequence: u64,
        action: Action,
        must_arrive: bool,
    ) -> Self {
        Self {
            item: Item::make(oracle, "message", sender, action, must_arrive),
            sequence,
        }
    }

    /// For a sender that will have given it away when it knows whether that was a success.
    pub(crate) fn ticket(&self) -> Sent {
        Sent(self.item.state.clone())
    }

    pub(crate) fn sender(&self) -> u64 {
        self.item.state.owner
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Notes that it has been received.
    pub(crate) fn received(&self) {
        if self.item.state.received.swap(true, Ordering::SeqCst) {
            let oracle = &self.item.oracle;
            oracle.violated(format_args!("{} was received twice", self.item.state));
        }
    }
}

/// Notes that a send has succeeded.
#[derive(Debug)]
pub(crate) struct Sent(Arc<ItemState>);

impl Sent {
    pub(crate) fn note(self) {
        self.0.sent.store(true, Ordering::SeqCst);
    }
}
