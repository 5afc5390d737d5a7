//! How those who wait for the end of a thread are told of it: the one who joins it, and any number
//! who watch; and who drops its result if nobody takes it.
//!
//! The joiner is the usual case, and has a slot of its own:
//!
//! ```text
//!     no bit --join--> JOINED (the joiner's ticket lies in the slot) --complete--> JOINED | DONE: the finisher fires the ticket
//!       |                 |
//!       |                 +--retract--> no bit                        (the joiner gave up: it takes the ticket back)
//!       +----complete----> DONE                                       (the joiner finds out and does not wait)
//! ```
//!
//! The slot belongs to the joiner while `JOINED` is not set, to nobody while it is, and to the
//! finisher once it has added `DONE` to it. `complete` is a release and what finds `DONE` an
//! acquire, so the result is seen by the joiner.
//!
//! Watchers are in a [list](Watchers) under a lock, which the finisher only looks at if `WATCHED` is
//! set. Whoever watches is in the list before it sets the bit: if the bit comes before `DONE`, the
//! finisher finds it, and otherwise the watcher finds `DONE`.
//!
//! # The result
//!
//! The thread has its result's place until it says that it has [left](Completion::leave) it there, which is before it
//! ends; whoever may join says when nobody will [any more](Completion::detach). Each says so once, by one bit of
//! one word, so one of the two comes second, and the result is that one's: to be dropped. If nobody gives up joining, it is
//! the joiner's once it has found `DONE`.

use super::made::Made;
use super::primitive::{AtomicU32, Ordering, UnsafeCell};
use super::process::Process;
use super::watchers::{Key, Watchers};

const JOINED: u32 = 0b001;
const DONE: u32 = 0b010;
/// Somebody has watched. It stays.
const WATCHED: u32 = 0b100;
/// The result is there.
const LEFT: u32 = 0b1000;
/// Nobody will join.
const DETACHED: u32 = 0b1_0000;
/// What is left is that of a thread that was interrupted. It comes with `LEFT`.
const INTERRUPTED: u32 = 0b10_0000;

/// See the [module](self). `T` is what wakes one who waits.
#[derive(Debug)]
pub(crate) struct Completion<T> {
    state: AtomicU32,
    /// That of the thread: in any other, nobody tells of its end.
    pub(crate) process: Process,
    joiner: UnsafeCell<Option<T>>,
    /// Made by the first who watches.
    watchers: Made<Watchers<T>>,
}

// SAFETY: the slot is only touched by the side that the state gives it to (see the module), so `T`
// is moved between threads and never shared; the rest is `Send` by itself.
unsafe impl<T: Send> Send for Completion<T> {}
// SAFETY: as above; the watchers are under a lock.
unsafe impl<T: Send> Sync for Completion<T> {}

/// Those who must be told that a thread has ended.
#[must_use]
pub(crate) struct Told<T> {
    pub(crate) joiner: Option<T>,
    pub(crate) watchers: Vec<T>,
}

impl<T> Completion<T> {
    pub(crate) fn new(process: Process) -> Self {
        Self {
            state: AtomicU32::new(0),
            process,
            joiner: UnsafeCell::new(None),
            watchers: Made::new(),
        }
    }

    /// Whether the thread has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) & DONE != 0
    }

    /// Whether the thread has ended, and left its result before.
    pub(crate) fn has_result(&self) -> bool {
        self.state.load(Ordering::Acquire) & (DONE | LEFT) == DONE | LEFT
    }

    /// Whether somebody waits to join it, if the thread is held and so does not end.
    pub(crate) fn is_joined(&self) -> bool {
        self.state.load(Ordering::Relaxed) & JOINED != 0
    }

    /// Leaves `joiner` for the finisher; `false` if the thread has ended already.
    ///
    /// # Safety
    ///
    /// There is one joiner, and it has nothing in the slot.
    pub(crate) unsafe fn join(&self, joiner: T) -> bool {
        // SAFETY: `JOINED` is not set, since the only joiner has nothing in the slot; so the finisher
        // leaves it alone.
        self.joiner.with_mut(|slot| unsafe { *slot = Some(joiner) });
        self.change_running(|state| state | JOINED).is_some()
    }

    /// Takes the joiner back; `false` if there is none, or the thread has ended, in which case the
    /// finisher may still be using it.
    ///
    /// # Safety
    ///
    /// The caller is the one joiner.
    pub(crate) unsafe fn retract(&self) -> bool {
        let before = self.change_running(|state| state & !JOINED);
        let taken = before.is_some_and(|state| state & JOINED != 0);
        if taken {
            // SAFETY: `JOINED` is not set, and only the one joiner sets it.
            self.joiner.with_mut(|slot| unsafe { *slot = None });
        }
        taken
    }

    /// Changes the state of a thread that has not ended, and gives what it was; `None` if it has.
    fn change_running(&self, change: impl Fn(u32) -> u32) -> Option<u32> {
        let mut seen = self.state.load(Ordering::Acquire);
        while seen & DONE == 0 {
            match self.state.compare_exchange_weak(
                seen,
                change(seen),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(seen),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Adds one who wants to be told, who is told by `complete` unless it is taken back before.
    /// `None` if the thread has ended.
    pub(crate) fn watch(&self, watcher: T) -> Option<Key> {
        if self.is_done() {
            return None;
        }
        let watchers = self.watchers.get_or_make(Watchers::new);
        let key = watchers.add(watcher);
        if self.state.fetch_or(WATCHED, Ordering::AcqRel) & DONE != 0 {
            drop(watchers.remove(&key));
            return None;
        }
        Some(key)
    }

    /// Takes one back who watches, if it has not been told.
    pub(crate) fn unwatch(&self, key: &Key) {
        let watcher = self.watchers.get().and_then(|all| all.remove(key));
        drop(watcher);
    }

    /// Says that the thread, which has not ended, has left its result, and whether that tells of an interrupt. `false` if
    /// nobody will take it: then it is the caller's, once more. Called once.
    #[must_use]
    pub(crate) fn leave(&self, is_interrupted: bool) -> bool {
        let left = if is_interrupted {
            LEFT | INTERRUPTED
        } else {
            LEFT
        };
        // Release: whoever takes it finds it whole.
        self.state.fetch_or(left, Ordering::AcqRel) & DETACHED == 0
    }

    /// Says that nobody will join. If the thread has left its result, that is the caller's from now on, and this gives
    /// whether it tells of an interrupt. Called once, by whoever could join.
    #[must_use]
    pub(crate) fn detach(&self) -> Option<bool> {
        let before = self.state.fetch_or(DETACHED, Ordering::AcqRel);
        (before & LEFT != 0).then_some(before & INTERRUPTED != 0)
    }

    /// Marks the thread as ended, and gives those that must be told. Called once.
    pub(crate) fn complete(&self) -> Told<T> {
        let before = self.state.fetch_or(DONE, Ordering::AcqRel);
        let joiner = if before & JOINED == 0 {
            None
        } else {
            // SAFETY: adding `DONE` to `JOINED` gave the slot to this caller.
            self.joiner.with_mut(|slot| unsafe { (*slot).take() })
        };
        let watchers = match self.watchers.get() {
            Some(watchers) if before & WATCHED != 0 => watchers.take_all().collect(),
            _ => Vec::new(),
        };
        Told { joiner, watchers }
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_finisher_gets_the_joiner_and_a_late_joiner_is_told() {
        let completion = Completion::new(Process::current());
        // SAFETY: the only joiner.
        assert!(unsafe { completion.join(1) });
        // SAFETY: as above.
        assert!(unsafe { completion.retract() });
        // SAFETY: the only joiner, which has taken its first ticket back.
        assert!(unsafe { completion.join(2) });
        assert_eq!(completion.complete().joiner, Some(2));
        // SAFETY: as above.
        assert!(!unsafe { completion.retract() });
        assert!(completion.is_done());
        // SAFETY: the only joiner.
        assert!(!unsafe { completion.join(3) });
    }

    #[test]
    fn each_who_watches_is_told_unless_it_has_changed_its_mind() {
        let completion = Completion::new(Process::current());
        let keys: Vec<_> = (0..4).map(|n| completion.watch(n).unwrap()).collect();
        // SAFETY: the only joiner.
        assert!(unsafe { completion.join(9) });
        completion.unwatch(&keys[1]);
        let told = completion.complete();
        assert_eq!((told.joiner, told.watchers), (Some(9), vec![0, 2, 3]));
        completion.unwatch(&keys[0]);
        assert_eq!(completion.watch(5), None);
    }

    #[test]
    fn a_result_is_that_of_whoever_comes_second() {
        let (first, second) = (
            Completion::<()>::new(Process::current()),
            Completion::<()>::new(Process::current()),
        );
        assert!(first.leave(true));
        assert_eq!(first.detach(), Some(true));
        assert_eq!(second.detach(), None);
        assert!(!second.leave(false));
        let joined = Completion::<()>::new(Process::current());
        assert!(joined.leave(false));
        assert!(!joined.is_done());
        let _ = joined.complete();
        assert!(joined.is_done());
    }
}

#[cfg(all(test, roving_loom))]
mod models {
    use super::*;
    use crate::protocol::word::{By, Commit, Fire, WaitWord};
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize as Count;
    use loom::thread;

    struct Model {
        completion: Completion<crate::protocol::word::Epoch>,
        result: UnsafeCell<u32>,
        word: WaitWord,
        runs: Count,
    }

    // SAFETY: what the models check.
    unsafe impl Sync for Model {}

    /// Writes the result, completes, and wakes the joiner; gives `true` if it holds the right to
    /// run the joiner.
    fn finish_thread(model: &Model) -> bool {
        // SAFETY: not complete yet, so the result is the finisher's.
        model.result.with_mut(|result| unsafe { *result = 9 });
        let told = model.completion.complete();
        let waiting = told.joiner.into_iter().chain(told.watchers);
        let mut is_mine = false;
        for epoch in waiting {
            is_mine |= model.word.fire(epoch, By::Ticket) == Fire::Parked;
        }
        is_mine
    }

    fn model(joiner: impl Fn(&Model) + Sync + Send + Copy + 'static) {
        loom::model(move || {
            let model = Arc::new(Model {
                completion: Completion::new(Process::current()),
                result: UnsafeCell::new(0),
                word: WaitWord::new(),
                runs: Count::new(0),
            });
            let finisher = {
                let model = model.clone();
                thread::spawn(move || {
                    if finish_thread(&model) {
                        model.runs.fetch_add(1, Ordering::Relaxed);
                    }
                })
            };
            joiner(&model);
            finisher.join().unwrap();
            // SAFETY: the finisher is gone.
            model
                .result
                .with_mut(|result| assert_eq!(unsafe { *result }, 9));
        });
    }

    #[test]
    fn a_joiner_is_told_once_or_finds_out() {
        model(|model| {
            let epoch = model.word.begin(false);
            // SAFETY: the only joiner.
            if unsafe { model.completion.join(epoch) } {
                block(model);
            } else {
                assert!(model.word.finish().is_none());
            }
            assert!(model.completion.is_done());
            // SAFETY: the thread has ended, so the result is the joiner's.
            model
                .result
                .with_mut(|result| assert_eq!(unsafe { *result }, 9));
        });
    }

    #[test]
    fn a_joiner_that_gives_up_leaves_nothing_behind() {
        model(|model| {
            let epoch = model.word.begin(false);
            // SAFETY: the only joiner.
            if unsafe { model.completion.join(epoch) && model.completion.retract() } {
                assert!(model.word.finish().is_none());
            } else {
                let _ = model.word.finish();
                assert!(model.completion.is_done());
            }
        });
    }

    /// Waits for a ticket of the wait that is open.
    fn block(model: &Model) {
        if model.word.commit() == Commit::Parked {
            while model.runs.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
        }
        assert_eq!(model.word.finish(), Some(By::Ticket));
    }

    /// A result that nobody takes is dropped by one, who finds it whole.
    #[test]
    fn a_result_is_dropped_by_the_thread_or_by_whoever_detaches_it() {
        loom::model(|| {
            let model = Arc::new(Model {
                completion: Completion::new(Process::current()),
                result: UnsafeCell::new(0),
                word: WaitWord::new(),
                runs: Count::new(0),
            });
            let drops = |model: &Model| {
                // SAFETY: the one of the two whose it is.
                model.result.with_mut(|result| {
                    assert_eq!(unsafe { *result }, 9);
                    // SAFETY: as above.
                    unsafe { *result = 0 };
                });
                model.runs.fetch_add(1, Ordering::Relaxed);
            };
            let thread = {
                let model = model.clone();
                thread::spawn(move || {
                    // SAFETY: it has not been left.
                    model.result.with_mut(|result| unsafe { *result = 9 });
                    if !model.completion.leave(false) {
                        drops(&model);
                    }
                    let told = model.completion.complete();
                    assert!(told.joiner.is_none());
                })
            };
            if model.completion.detach().is_some() {
                drops(&model);
            }
            thread.join().unwrap();
            assert_eq!(model.runs.load(Ordering::Relaxed), 1);
        });
    }

    #[test]
    fn one_who_watches_is_told_or_finds_out() {
        model(|model| {
            let epoch = model.word.begin(false);
            match model.completion.watch(epoch) {
                Some(_) => block(model),
                None => assert!(model.word.finish().is_none()),
            }
            assert!(model.completion.is_done());
            // SAFETY: the thread has ended, and nobody else is there.
            model
                .result
                .with_mut(|result| assert_eq!(unsafe { *result }, 9));
        });
    }

    #[test]
    fn watchers_come_and_go_beside_one_another() {
        loom::model(|| {
            let completion = Arc::new(Completion::new(Process::current()));
            let other = {
                let completion = completion.clone();
                thread::spawn(move || {
                    if let Some(key) = completion.watch(1) {
                        completion.unwatch(&key);
                    }
                })
            };
            let finisher = {
                let completion = completion.clone();
                thread::spawn(move || completion.complete().watchers)
            };
            let watches = completion.watch(2).is_some();
            other.join().unwrap();
            let told = finisher.join().unwrap();
            // One who has found out may be told all the same.
            assert!(told.contains(&2) || !watches, "one who watches is told");
        });
    }
}
