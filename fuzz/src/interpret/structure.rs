//! Children, scopes, groups, runtimes, cancellation, deadlines, panics.

use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roving::thread;
use roving::{Builder, Group, ThreadLocals, deadline, shield};

use super::{BORROWED, Child, INHERITED, LATE, Thread};
use crate::oracle::Caught;
use crate::program::{Action, Body, Fate, Op};
use crate::value::Item;

/// Something that children borrow, for as long as it is there.
struct Lent(AtomicU64);

const THERE: u64 = 0x7be5_e1ea;

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

impl Thread<'_> {
    #[inline(never)]
    pub(super) fn structure(&mut self, body: &Body, index: usize, op: &Op) {
        match op {
            Op::Catch { swallow, body } => self.catch(*swallow, body),
            Op::AtDrop { action, body } => {
                let oracle = &self.world.oracle;
                let _dropped = Item::with_action(oracle, "local", self.status.number, *action);
                self.run(body);
            }
            Op::AtEnd(action) => self.at_end(*action),
            Op::Borrow(body) => self.borrow(body),
            Op::Inherit(body) => self.inherit(body),
            Op::Spawn(body) => self.spawn(body),
            Op::Join => {
                if let Some(Child { handle, status }) = self.children.pop() {
                    self.world.oracle.joined(&status, handle.join());
                }
            }
            Op::CancelChild => {
                if let Some(child) = self.children.last() {
                    child.handle.cancel();
                }
            }
            Op::Detach => drop(self.children.pop()),
            Op::ForgetChild => {
                if let Some(Child { handle, status }) = self.children.pop() {
                    status.forget();
                    mem::forget(handle);
                }
            }
            Op::Scope { .. } | Op::Group { .. } if !roving::is_green() => {
                self.on_green(body, index)
            }
            Op::Scope {
                children,
                body,
                fate,
            } => self.scope(children, body, *fate),
            Op::Group {
                limit,
                members,
                take,
                cancel,
            } => self.group(*limit, members, *take, *cancel),
            Op::Nested {
                workers,
                pinned,
                children,
                body,
            } => self.nested(*workers, *pinned, children, body),
            Op::RunIn { token, child, body } => self.run_in(*token, *child, body),
            Op::Cancel(token) => self.world.tokens[*token].cancel(),
            Op::AwaitCancel(token) => self.world.tokens[*token].wait(),
            Op::Deadline { micros, body } => self.deadline(Duration::from_micros(*micros), body),
            Op::Shield(body) => shield(|| self.run(body)),
            _ => unreachable!("another file does the rest"),
        }
    }

    /// What this thread knows of itself, to be known again when it has unwound to here.
    pub(super) fn known(&self) -> Known {
        Known {
            held: self.held.len(),
            borrows: self.borrows,
            inherited: self.inherited,
            as_futures: self.as_futures,
        }
    }

    pub(super) fn is_again(&mut self, known: Known) {
        self.held.truncate(known.held);
        self.borrows = known.borrows;
        self.inherited = known.inherited;
        self.as_futures = known.as_futures;
    }

    fn catch(&mut self, swallow: bool, body: &Body) {
        let known = self.known();
        let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| self.run(body))) else {
            return;
        };
        self.is_again(known);
        match self.world.oracle.caught(payload) {
            Caught::Interrupt(payload) if !swallow => panic::resume_unwind(payload),
            Caught::Interrupt(_) | Caught::Panic => {}
        }
    }

    fn at_end(&mut self, action: Action) {
        // Those of a worker are dropped when it ends, on no green thread.
        if self.owns && roving::is_green() {
            let oracle = &self.world.oracle;
            let item = Item::with_action(oracle, "thread-local", self.status.number, action);
            LATE.with_borrow_mut(|late| late.push(item));
        }
    }

    fn borrow(&mut self, body: &Body) {
        let number = self.status.number;
        let oracle = self.world.oracle.clone();
        BORROWED.with(|borrowed| match borrowed.try_borrow_mut() {
            Ok(mut borrowed) => {
                borrowed.push(number);
                let count = borrowed.len();
                self.borrows += 1;
                self.run(body);
                self.borrows -= 1;
                oracle.check(
                    borrowed.len() == count && borrowed.pop() == Some(number),
                    format_args!("what thread {number} has borrowed was changed"),
                );
            }
            Err(_) => {
                oracle.check(
                    !self.owns || self.borrows > 0,
                    format_args!("what thread {number} borrows is borrowed by another"),
                );
                self.run(body);
            }
        });
    }

    fn inherit(&mut self, body: &Body) {
        let before = self.inherited;
        let number = self.world.oracle.number();
        self.inherited = Some(number);
        INHERITED.set(number, || self.run(body));
        self.inherited = before;
    }

    fn spawn(&mut self, body: &Body) {
        let mut start = self.start("spawned", body);
        let status = start.status();
        let handle = if roving::is_green() && !self.is_of_guest {
            thread::spawn(move || start.live())
        } else {
            start.owns = self.world.owns;
            start.children_own = self.world.owns;
            self.world.runtime.spawn(move || start.live())
        };
        self.children.push(Child { handle, status });
    }

    fn scope(&mut self, children: &[Body], body: &Body, fate: Fate) {
        let oracle = self.world.oracle.clone();
        let lent = Lent(AtomicU64::new(THERE));
        let is_there = |when: &str| {
            oracle.check(
                lent.0.load(Ordering::SeqCst) == THERE,
                format_args!("what a scope lends is gone when its thread {when}"),
            );
        };
        let is_there = &is_there;
        thread::scope(|scope| {
            let mut handles = Vec::new();
            for child in children {
                let start = self.start("in a scope", child);
                let status = start.status();
                let handle = scope.spawn(move || {
                    is_there("begins");
                    let result = start.live();
                    is_there("ends");
                    result
                });
                handles.push((handle, status));
            }
            self.run(body);
            // The scope waits for the others.
            for (number, (handle, status)) in handles.into_iter().enumerate() {
                match number % 2 {
                    0 => self.world.oracle.joined(&status, handle.join()),
                    _ if fate == Fate::Forget => {
                        status.forget();
                        mem::forget(handle);
                    }
                    _ => handle.cancel(),
                }
            }
        });
    }

    fn group(&mut self, limit: Option<usize>, members: &[(Body, bool)], take: usize, cancel: bool) {
        let mut group = Group::new();
        if let Some(limit) = limit {
            group = group.limit(limit);
        }
        let result: Result<Vec<Item>, Item> = group.run(|group| {
            for (body, fails) in members {
                let start = self.start("in a group", body);
                group.spawn(move || {
                    let result = start.live();
                    if *fails { Err(result) } else { Ok(result) }
                });
            }
            for _ in 0..take {
                drop(group.next());
            }
            if cancel {
                group.cancel();
            }
            Ok(())
        });
        let oracle = &self.world.oracle;
        match result {
            Ok(values) => oracle.check(
                values.len() <= members.len(),
                "a group gave more values than it has members",
            ),
            Err(_) => oracle.check(
                members.iter().any(|(_, fails)| *fails),
                "a group failed of which no member fails",
            ),
        }
    }

    fn nested(&mut self, workers: usize, pinned: bool, children: &[Body], body: &Body) {
        // Sooner or later, what spawns in it is refused.
        self.world.oracle.closing.store(true, Ordering::SeqCst);
        let mut builder = Builder::new()
            .workers(workers)
            .thread_name(crate::execute::WORKERS)
            .migrate_always(false);
        if pinned {
            builder = builder.pinned_thread_locals();
        }
        let runtime = match builder.build() {
            Ok(runtime) => runtime,
            Err(error) => {
                self.world
                    .oracle
                    .violated(format_args!("no runtime in a runtime: {error}"));
                return;
            }
        };
        let owns = runtime.thread_locals() == ThreadLocals::Own;
        let start = |body: &Body| {
            let mut start = self.start("in a runtime of its own", body);
            start.owns = owns;
            start.children_own = owns;
            start
        };
        for child in children {
            let start = start(child);
            drop(runtime.spawn(move || start.live()));
        }
        let start = start(body);
        drop(runtime.run(move || start.live()));
        runtime.shutdown();
    }

    fn run_in(&mut self, token: usize, child: bool, body: &Body) {
        let token = &self.world.tokens[token];
        let token = if child { token.child() } else { token.clone() };
        let known = self.known();
        if token.run(|| self.run(body)).is_err() {
            self.is_again(known);
            self.world.oracle.check(
                token.is_cancelled(),
                "a token's run was cancelled, and the token was not",
            );
        }
    }

    fn deadline(&mut self, limit: Duration, body: &Body) {
        let start = Instant::now();
        let known = self.known();
        if deadline(limit, || self.run(body)).is_err() {
            self.is_again(known);
            self.world
                .oracle
                .check(start.elapsed() >= limit, "a deadline came before its time");
        }
    }
}

/// See [`Thread::known`].
pub(super) struct Known {
    held: usize,
    borrows: usize,
    inherited: Option<u64>,
    as_futures: bool,
}
